//! A name server that answers by script and records its queries.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};

use tokio::net::UdpSocket;
use tokio::task::JoinHandle;

/// The answer for a name.
#[derive(Debug, Clone, Default)]
pub struct Answer {
    /// The canonical name, if the name is an alias.
    pub cname: Option<String>,
    /// The addresses.
    pub addresses: Vec<IpAddr>,
    /// Whether the server does not answer.
    pub silent: bool,
}

impl Answer {
    /// Returns an answer with these addresses.
    ///
    /// # Panics
    /// Panics if one of them is invalid.
    #[must_use]
    pub fn of(addresses: &[&str]) -> Self {
        let addresses = addresses.iter().map(|ip| ip.parse().expect("an address")).collect();
        Self { addresses, ..Self::default() }
    }
}

/// A name server on a port of 127.0.0.1, over UDP; it ends when this is dropped.
pub struct Dns {
    /// The listening address.
    pub address: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
    server: JoinHandle<()>,
}

/// The TTL of answers, in seconds.
pub const TTL: u32 = 300;

impl Dns {
    /// Starts a server. `zone` is called with a name in lower case and the number of earlier lookups of it; `None` means that
    /// the name does not exist.
    ///
    /// # Errors
    /// Fails if no port is free.
    pub async fn start(zone: impl Fn(&str, usize) -> Option<Answer> + Send + Sync + 'static) -> std::io::Result<Self> {
        let socket = UdpSocket::bind("127.0.0.1:0").await?;
        let address = socket.local_addr()?;
        let asked = Arc::new(Mutex::new(Vec::new()));
        let heard = asked.clone();
        let server = tokio::spawn(async move {
            let mut before = HashMap::<(String, u16), usize>::new();
            let mut packet = [0; 1_500];
            while let Ok((n, from)) = socket.recv_from(&mut packet).await {
                let Some((question, name, kind)) = parse(&packet[..n]) else { continue };
                heard.lock().expect("no holder panics").push(name.clone());
                let times = before.entry((name.clone(), kind)).or_default();
                let answer = zone(&name, *times);
                *times += 1;
                if answer.as_ref().is_some_and(|answer| answer.silent) {
                    continue;
                }
                let _ = socket.send_to(&write(&packet[..2], question, kind, answer.as_ref()), from).await;
            }
        });
        Ok(Self { address, asked, server })
    }

    /// Returns the names that were looked up, in order, each once for IPv4 and once for IPv6.
    #[must_use]
    pub fn asked(&self) -> Vec<String> {
        self.asked.lock().expect("no holder panics").clone()
    }
}

impl Drop for Dns {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// The question as it came, the name in lower case, and the type that is asked for.
fn parse(packet: &[u8]) -> Option<(&[u8], String, u16)> {
    let (mut at, mut name) = (12, String::new());
    loop {
        let length = usize::from(*packet.get(at)?);
        at += 1;
        if length == 0 {
            break;
        }
        if !name.is_empty() {
            name.push('.');
        }
        name.push_str(&String::from_utf8_lossy(packet.get(at..at + length)?).to_lowercase());
        at += length;
    }
    let kind = u16::from_be_bytes(packet.get(at..at + 2)?.try_into().ok()?);
    Some((packet.get(12..at + 4)?, name, kind))
}

fn write(id: &[u8], question: &[u8], kind: u16, answer: Option<&Answer>) -> Vec<u8> {
    let mut records = Vec::new();
    // The name as it was asked for, by a pointer to it.
    let mut owner = vec![0xC0, 12];
    if let Some(cname) = answer.and_then(|answer| answer.cname.as_ref()) {
        let mut target = Vec::new();
        for label in cname.split('.') {
            target.push(label.len() as u8);
            target.extend_from_slice(label.as_bytes());
        }
        target.push(0);
        records.push(record(&owner, 5, &target));
        owner = target;
    }
    for ip in answer.iter().flat_map(|answer| &answer.addresses) {
        match ip {
            IpAddr::V4(ip) if kind == 1 => records.push(record(&owner, 1, &ip.octets())),
            IpAddr::V6(ip) if kind == 28 => records.push(record(&owner, 28, &ip.octets())),
            _ => {}
        }
    }
    let status = if answer.is_some() { 0x80 } else { 0x83 };
    let mut out = vec![id[0], id[1], 0x85, status, 0, 1, 0, records.len() as u8, 0, 0, 0, 0];
    out.extend_from_slice(question);
    out.extend(records.concat());
    out
}

fn record(owner: &[u8], kind: u16, data: &[u8]) -> Vec<u8> {
    let head = [&kind.to_be_bytes()[..], &1_u16.to_be_bytes(), &TTL.to_be_bytes(), &(data.len() as u16).to_be_bytes()];
    [owner, &head.concat(), data].concat()
}
