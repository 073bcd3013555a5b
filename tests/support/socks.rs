//! A SOCKS5 proxy that connects every name to one port of this machine, like one of I2P or Lokinet that resolves names itself.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

/// A proxy on a port of 127.0.0.1; it ends when this is dropped.
pub struct Socks {
    /// The listening address.
    pub address: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
    server: JoinHandle<()>,
}

impl Socks {
    /// Starts a proxy whose every connection ends at `backend`.
    ///
    /// # Errors
    /// Fails if no port is free.
    pub async fn start(backend: u16) -> std::io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let asked = Arc::new(Mutex::new(Vec::new()));
        let heard = asked.clone();
        let server = tokio::spawn(async move {
            let mut guests = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let heard = heard.clone();
                guests.spawn(async move {
                    let _ = lead(stream, backend, &heard).await;
                });
            }
        });
        Ok(Self { address, asked, server })
    }

    /// Returns the names that were requested.
    #[must_use]
    pub fn asked(&self) -> Vec<String> {
        self.asked.lock().expect("no holder panics").clone()
    }
}

impl Drop for Socks {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn lead(mut guest: TcpStream, backend: u16, heard: &Mutex<Vec<String>>) -> std::io::Result<()> {
    // Version 5; whatever ways to log in there are: none is needed.
    let mut head = [0; 2];
    guest.read_exact(&mut head).await?;
    guest.read_exact(&mut vec![0; usize::from(head[1])]).await?;
    guest.write_all(&[5, 0]).await?;
    // Connect, to a name.
    let mut request = [0; 5];
    guest.read_exact(&mut request).await?;
    if request[..4] != [5, 1, 0, 3] {
        return guest.write_all(&[5, 8, 0, 1, 0, 0, 0, 0, 0, 0]).await;
    }
    let mut name = vec![0; usize::from(request[4]) + 2];
    guest.read_exact(&mut name).await?;
    name.truncate(name.len() - 2);
    heard.lock().expect("no holder panics").push(String::from_utf8_lossy(&name).into_owned());
    let mut host = TcpStream::connect((Ipv4Addr::LOCALHOST, backend)).await?;
    guest.write_all(&[5, 0, 0, 1, 0, 0, 0, 0, 0, 0]).await?;
    tokio::io::copy_bidirectional(&mut guest, &mut host).await?;
    Ok(())
}
