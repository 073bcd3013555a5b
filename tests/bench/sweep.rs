//! How long it takes to check ten thousand relays:
//!
//! ```sh
//! cargo bench -p brotr --bench sweep
//! ```
//!
//! Ten thousand relays by name, each with a document, all of them this process on loopback, which answers everything 200 ms late:
//! upgrade, request, document. `brotr monitor` checks them as a process of its own, once with `robots.txt` and once without, as
//! when it was read a short time ago. Printed are the time, connections for each relay, the most memory it had, and what its
//! history takes on disk.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use brotr_tests::Dns;
use brotr_tests::dns::Answer;
use futures::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_tungstenite::tungstenite::Message;

const RELAYS: usize = 10_000;
/// What a round trip takes.
const TRIP: Duration = Duration::from_millis(200);
const DOCUMENT: &str = r#"{"name":"one of many","supported_nips":[1,11],"limitation":{"max_limit":500}}"#;

fn main() -> anyhow::Result<()> {
    let number = std::env::args().find_map(|arg| arg.parse().ok());
    let relays: usize = number.unwrap_or(RELAYS);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let connections = Arc::new(AtomicUsize::new(0));
    let (address, dns, listener) = runtime.block_on(async {
        let dns = Dns::start(|name, _| name.ends_with(".example").then(|| Answer::of(&["127.0.0.1"]))).await?;
        let socket = tokio::net::TcpSocket::new_v4()?;
        socket.bind("127.0.0.1:0".parse()?)?;
        let listener = socket.listen(4_096)?;
        let address = listener.local_addr()?;
        anyhow::Ok((address, dns, listener))
    })?;
    let mut house = JoinSet::new();
    house.spawn_on(serve(listener, connections.clone()), runtime.handle());
    let dir = tempfile::tempdir()?;
    write(dir.path(), relays, address, dns.address, true)?;
    let brotr = |args: &[&str]| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_brotr"));
        command.args(args).current_dir(dir.path()).env_clear().stderr(std::process::Stdio::null());
        command
    };
    let added = brotr(&["relays", "add", "relays.txt"]).stderr(std::process::Stdio::piped()).output()?;
    anyhow::ensure!(added.status.success(), "no relays were added: {}", String::from_utf8_lossy(&added.stderr));
    for sweep in 1..=2 {
        connections.store(0, Ordering::Relaxed);
        let began = Instant::now();
        let mut child = brotr(&["monitor", "--json"]).stdout(std::process::Stdio::piped()).spawn()?;
        let memory = watch(child.id());
        let mut text = String::new();
        std::io::Read::read_to_string(&mut child.stdout.take().expect("piped"), &mut text)?;
        anyhow::ensure!(child.wait()?.success(), "the sweep failed");
        let took = began.elapsed();
        let total: Value = serde_json::from_str(text.lines().last().unwrap_or_default())?;
        let peak = memory.join().expect("no panic");
        let each = connections.load(Ordering::Relaxed) as f64 / relays as f64;
        println!(
            "sweep {sweep}: {} of {relays} relays up, {:.1} s, {each:.2} connections each, {} MiB at most",
            total["total"]["up"],
            took.as_secs_f64(),
            peak >> 10
        );
        // All are due again.
        write(dir.path(), relays, address, dns.address, false)?;
        let file = dir.path().join("brotr-data/brotr.db");
        let shell = |sql: &str| std::process::Command::new("sqlite3").arg(&file).arg(sql).output();
        shell("update relay set check_due_at = 0")?;
        let weight = shell(
            "select (select count(*) from visit) || ' checks kept, ' || \
             ((select sum(pgsize) from dbstat where name = 'visit') / (select count(*) from visit)) || ' bytes each'",
        )?;
        print!("         {}", String::from_utf8_lossy(&weight.stdout));
    }
    Ok(())
}

/// The most memory a process has while it runs, in KiB.
fn watch(pid: u32) -> std::thread::JoinHandle<u64> {
    std::thread::spawn(move || {
        let mut most = 0;
        while let Ok(status) = std::fs::read_to_string(format!("/proc/{pid}/status")) {
            let Some(line) = status.lines().find_map(|line| line.strip_prefix("VmHWM:")) else { break };
            most = line.trim().trim_end_matches(" kB").parse().unwrap_or(most).max(most);
            std::thread::sleep(Duration::from_millis(50));
        }
        most
    })
}

fn write(
    dir: &std::path::Path,
    relays: usize,
    address: SocketAddr,
    dns: SocketAddr,
    robots: bool,
) -> anyhow::Result<()> {
    let port = address.port();
    let list: Vec<String> = (0..relays).map(|n| format!("ws://r{n}.example:{port}")).collect();
    std::fs::write(dir.join("relays.txt"), list.join("\n"))?;
    let config = json!({"version": 1,
        "network": {"allow": ["127.0.0.0/8"], "nameservers": [dns], "max_connections": 2_000, "dials_per_minute": 100_000,
            "robots": robots,
            "clearnet": {"max_connections": 2_000}},
        "initializer": {"seeds": []}, "monitor": {"concurrency": 500}});
    Ok(std::fs::write(dir.join("brotr.yaml"), config.to_string())?)
}

async fn serve(listener: TcpListener, connections: Arc<AtomicUsize>) {
    let mut guests = JoinSet::new();
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        connections.fetch_add(1, Ordering::Relaxed);
        guests.spawn(async move {
            let _ = answer(stream).await;
        });
        while guests.try_join_next().is_some() {}
    }
}

async fn answer(mut stream: TcpStream) -> anyhow::Result<()> {
    let mut head = [0; 1_024];
    let n = stream.peek(&mut head).await?;
    tokio::time::sleep(TRIP).await;
    if !String::from_utf8_lossy(&head[..n]).to_lowercase().contains("upgrade: websocket") {
        let _ = stream.read(&mut head).await?;
        let text =
            format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{DOCUMENT}", DOCUMENT.len());
        return Ok(stream.write_all(text.as_bytes()).await?);
    }
    let mut socket = tokio_tungstenite::accept_async(stream).await?;
    while let Some(message) = socket.next().await {
        let Message::Text(text) = message? else { continue };
        let request: Value = serde_json::from_str(&text)?;
        if request[0] == "REQ" {
            tokio::time::sleep(TRIP).await;
            socket.send(Message::text(json!(["EOSE", request[1]]).to_string())).await?;
        }
    }
    Ok(())
}
