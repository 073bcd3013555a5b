//! How many connections an agent opens to relays that it follows, and to others:
//!
//! ```sh
//! cargo bench -p brotr --profile dev --bench connections
//! ```
//!
//! Two thousand relays by name (or as many as the first argument says), all of them this process on loopback, accept WebSockets
//! and requests for documents, which are counted for each. `brotr run` checks, synchronizes and follows half of them for three
//! intervals of a minute, after everything was read once and all that can be is followed.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use brotr_tests::dns::Answer;
use brotr_tests::{Dns, Signal, signal};
use futures::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_tungstenite::tungstenite::Message;

const RELAYS: usize = 2_000;
const DOCUMENT: &str = r#"{"name":"one of many","supported_nips":[1,11],"limitation":{"max_limit":500}}"#;
/// The interval of checks and passes, and how many of them are measured.
const INTERVAL: Duration = Duration::from_secs(60);
const INTERVALS: u32 = 3;

/// What one relay saw.
#[derive(Debug, Default, Clone, Copy)]
struct Seen {
    upgrades: u64,
    /// WebSockets that are open.
    open: u64,
    documents: u64,
    /// Requests for stored events in a window of time, as passes send them.
    windows: u64,
}

type All = Arc<Mutex<HashMap<String, Seen>>>;

fn main() -> anyhow::Result<()> {
    let relays: usize = std::env::args().find_map(|arg| arg.parse().ok()).unwrap_or(RELAYS);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let seen = All::default();
    let (address, dns, listener) = runtime.block_on(async {
        let dns = Dns::start(|name, _| name.ends_with(".example").then(|| Answer::of(&["127.0.0.1"]))).await?;
        let socket = tokio::net::TcpSocket::new_v4()?;
        socket.bind("127.0.0.1:0".parse()?)?;
        let listener = socket.listen(4_096)?;
        anyhow::Ok((listener.local_addr()?, dns, listener))
    })?;
    let mut house = JoinSet::new();
    house.spawn_on(serve(listener, seen.clone()), runtime.handle());
    let dir = tempfile::tempdir()?;
    write(dir.path(), relays, address, dns.address)?;
    let brotr = |args: &[&str]| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_brotr"));
        command.args(args).current_dir(dir.path()).env_clear().stderr(std::process::Stdio::null());
        command
    };
    anyhow::ensure!(brotr(&["relays", "add", "relays.txt"]).status()?.success(), "no relays were added");
    let mut agent = brotr(&["run"]).stdout(std::process::Stdio::null()).spawn()?;
    let measured = measure(&seen, relays);
    signal(&agent, Signal::TERM)?;
    agent.wait()?;
    measured
}

fn measure(seen: &All, relays: usize) -> anyhow::Result<()> {
    let snapshot = || seen.lock().expect("no holder panics").clone();
    let began = Instant::now();
    loop {
        let now = snapshot();
        let read = now.values().filter(|one| one.documents > 0 && one.windows > 0).count();
        let followed = now.values().filter(|one| one.open > 0).count();
        if read == relays && followed >= relays / 2 {
            break;
        }
        anyhow::ensure!(began.elapsed() < Duration::from_secs(900), "{read} read and {followed} followed of {relays}");
        std::thread::sleep(Duration::from_secs(1));
    }
    println!("everything was read once after {:.0} s", began.elapsed().as_secs_f64());
    // What is under way ends.
    std::thread::sleep(INTERVAL);
    let mut shots = vec![snapshot()];
    for _ in 0..INTERVALS {
        std::thread::sleep(INTERVAL);
        shots.push(snapshot());
    }
    let (before, after) = (&shots[0], &shots[INTERVALS as usize]);
    println!("relays            | number | checks | passes | WebSockets opened | for each check and pass");
    for (name, is_followed) in [("followed", true), ("not followed", false)] {
        let mut total = Seen::default();
        let mut number = 0;
        for (host, then) in before {
            // Of those that are followed a WebSocket is open after a minute of rest.
            if (then.open > 0) != is_followed {
                continue;
            }
            number += 1;
            total.upgrades += after[host].upgrades - then.upgrades;
            total.documents += after[host].documents - then.documents;
            // Intervals in which there was a pass.
            total.windows += shots.windows(2).filter(|two| two[1][host].windows > two[0][host].windows).count() as u64;
        }
        let visits = (total.documents + total.windows).max(1);
        println!(
            "{name:17} | {number:6} | {:6} | {:6} | {:17} | {:.4}",
            total.documents,
            total.windows,
            total.upgrades,
            total.upgrades as f64 / visits as f64
        );
    }
    Ok(())
}

fn write(dir: &std::path::Path, relays: usize, address: SocketAddr, dns: SocketAddr) -> anyhow::Result<()> {
    let port = address.port();
    let list: Vec<String> = (0..relays).map(|n| format!("ws://r{n}.example:{port}")).collect();
    std::fs::write(dir.join("relays.txt"), list.join("\n"))?;
    let interval = format!("{}s", INTERVAL.as_secs());
    let config = json!({"version": 1,
        "network": {"allow": ["127.0.0.0/8"], "nameservers": [dns], "max_connections": 4_000, "dials_per_minute": 100_000,
            "robots": false, "clearnet": {"max_connections": 4_000}},
        "initializer": {"seeds": []}, "finder": {"enabled": false}, "dvm": {"enabled": false},
        "monitor": {"concurrency": 200, "interval": interval},
        "synchronizer": {"interval": interval, "live_relays": relays / 2, "concurrency": 100}});
    Ok(std::fs::write(dir.join("brotr.yaml"), config.to_string())?)
}

async fn serve(listener: TcpListener, seen: All) {
    let mut guests = JoinSet::new();
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        let seen = seen.clone();
        guests.spawn(async move {
            let _ = answer(stream, &seen).await;
        });
        while guests.try_join_next().is_some() {}
    }
}

async fn answer(mut stream: TcpStream, seen: &All) -> anyhow::Result<()> {
    let mut head = [0; 1_024];
    let n = stream.peek(&mut head).await?;
    let text = String::from_utf8_lossy(&head[..n]).to_lowercase();
    let Some((_, host)) = text.split_once("host: ") else { return Ok(()) };
    let host = host.lines().next().unwrap_or_default().trim().to_owned();
    let count = |add: &dyn Fn(&mut Seen)| add(seen.lock().expect("no holder panics").entry(host.clone()).or_default());
    if !text.contains("upgrade: websocket") {
        count(&|one| one.documents += 1);
        let _ = stream.read(&mut head).await?;
        let text =
            format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{DOCUMENT}", DOCUMENT.len());
        return Ok(stream.write_all(text.as_bytes()).await?);
    }
    let mut socket = tokio_tungstenite::accept_async(stream).await?;
    count(&|one| (one.upgrades, one.open) = (one.upgrades + 1, one.open + 1));
    while let Some(Ok(message)) = socket.next().await {
        let Message::Text(text) = message else { continue };
        let request: Value = serde_json::from_str(&text)?;
        if request[0] == "REQ" {
            if request[2].get("until").is_some() {
                count(&|one| one.windows += 1);
            }
            if socket.send(Message::text(json!(["EOSE", request[1]]).to_string())).await.is_err() {
                break;
            }
        }
    }
    count(&|one| one.open -= 1);
    Ok(())
}
