//! Slow readers and subscribers of the relay server:
//!
//! ```sh
//! cargo bench -p brotr --bench readers                      # 1,000 readers, 400 subscribers, 2,000 events per second
//! cargo bench -p brotr --bench readers -- 100 50 500
//! ```
//!
//! First a thousand slow readers request everything from a `brotr run`, in events of 100 KB, and read 20 KB per second each.
//! Prints the memory of the daemon, how many readers stayed, and how long an honest client waits for 50 small events.
//!
//! Then events are stored at a steady rate while 400 clients subscribe to all of them. Prints how many each received, and the
//! delay from the store to the client.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use brotr::agent::Agent;
use brotr::config::Config;
use brotr_core::{Event, Verified};
use brotr_storage::{Batch, Options};
use futures::{SinkExt, StreamExt};
use nostr::{EventBuilder, Keys, Kind, Timestamp};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::json;
use tokio::io::AsyncReadExt;
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

const FIRST: u64 = 1_600_000_000;
const LARGE: u64 = 500;
/// How long readers read, and events come in.
const READING: Duration = Duration::from_secs(60);
const LIVE: Duration = Duration::from_secs(10);
/// Batches a second in which events are stored.
const BATCHES: u32 = 10;

fn main() -> Result<()> {
    let numbers: Vec<usize> = std::env::args().filter_map(|arg| arg.parse().ok()).collect();
    let number = |n: usize, usual| numbers.get(n).copied().unwrap_or(usual);
    let (readers, subscribers, rate) = (number(0, 1_000), number(1, 400), number(2, 2_000));
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    slow(&runtime, readers)?;
    runtime.block_on(live(subscribers, rate))
}

fn signed(author: &Keys, kind: u16, at: u64, content: &str) -> Result<Verified> {
    let builder = EventBuilder::new(Kind::from(kind), content).custom_created_at(Timestamp::from(at));
    Ok(Event::from(&builder.sign_with_keys(author)?).verify()?)
}

/// Opens a subscription on a socket with a small buffer.
async fn subscribe(to: SocketAddr, request: &str) -> Result<WebSocketStream<TcpStream>> {
    let socket = TcpSocket::new_v4()?;
    socket.set_recv_buffer_size(16 << 10)?;
    let stream = socket.connect(to).await?;
    let (mut socket, _) = tokio_tungstenite::client_async(format!("ws://{to}/"), stream).await?;
    socket.send(Message::text(request.to_owned())).await?;
    Ok(socket)
}

fn percentile(times: &mut [Duration], hundredth: usize) -> f64 {
    times.sort_unstable();
    times[(times.len() * hundredth).div_ceil(100).max(1) - 1].as_secs_f64() * 1_000.0
}

fn slow(runtime: &tokio::runtime::Runtime, readers: usize) -> Result<()> {
    let dir = tempfile::tempdir()?;
    let to: SocketAddr = "127.0.0.1:17778".parse()?;
    runtime.block_on(fill(&format!("sqlite://{}", dir.path().join("brotr-data/brotr.db").display())))?;
    let config = json!({"version": 1, "network": {"allow": ["127.0.0.0/8"]}, "initializer": {"seeds": []},
        "monitor": {"enabled": false}, "synchronizer": {"enabled": false}, "finder": {"enabled": false},
        "http": {"enabled": false}, "relay": {"enabled": true, "listen": to, "max_connections": readers + 24}});
    std::fs::write(dir.path().join("brotr.yaml"), config.to_string())?;
    let log = std::fs::File::create(dir.path().join("log"))?;
    let mut daemon = std::process::Command::new(env!("CARGO_BIN_EXE_brotr"))
        .arg("run")
        .current_dir(dir.path())
        .env_clear()
        .stderr(log)
        .spawn()?;
    let measured = runtime.block_on(read_slowly(to, readers, daemon.id()));
    brotr_tests::signal(&daemon, brotr_tests::Signal::TERM)?;
    let status = daemon.wait()?;
    if measured.is_err() || !status.success() {
        eprintln!("{}", std::fs::read_to_string(dir.path().join("log"))?);
    }
    ensure!(status.success(), "the daemon ended with {status}");
    measured
}

async fn fill(url: &str) -> Result<()> {
    let archive = brotr_storage::open(url, Options { search: true, ..Options::default() }).await?;
    let author = Keys::generate();
    let text = "x".repeat(100_000);
    let large = (0..LARGE).map(|n| signed(&author, 9_999, FIRST + n, &format!("{n} {text}")));
    let small = (0..2_000).map(|n| signed(&author, 1, FIRST + n, &format!("note {n}")));
    let events: Vec<Verified> = large.chain(small).collect::<Result<_>>()?;
    archive.store(Batch { events, ..Batch::default() }).await?;
    archive.close().await;
    Ok(())
}

async fn read_slowly(to: SocketAddr, readers: usize, daemon: u32) -> Result<()> {
    let end = Instant::now() + Duration::from_secs(30);
    while let Err(error) = subscribe(to, r#"["REQ","first",{"limit":1}]"#).await {
        ensure!(Instant::now() < end, "the daemon does not listen: {error}");
        sleep(Duration::from_millis(100)).await;
    }
    let before = memory(daemon, "VmRSS:")?;
    let filters: Vec<String> = (0..20).map(|n| format!(r#"{{"kinds":[9999,{}],"limit":500}}"#, n + 20_000)).collect();
    let request = format!(r#"["REQ","all",{}]"#, filters.join(","));
    let (read, refused) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let mut tasks = JoinSet::new();
    for _ in 0..readers {
        let socket = timeout(Duration::from_secs(10), subscribe(to, &request)).await??;
        let (read, refused) = (read.clone(), refused.clone());
        tasks.spawn(async move {
            let mut stream = socket.into_inner();
            let mut bytes = [0; 4_096];
            while let Ok(n @ 1..) = stream.read(&mut bytes).await {
                read.fetch_add(n, Ordering::Relaxed);
                if bytes[..n].windows(8).any(|bytes| bytes == b"[\"CLOSED") {
                    refused.fetch_add(1, Ordering::Relaxed);
                }
                sleep(Duration::from_millis(200)).await;
            }
        });
    }
    let (began, mut times) = (Instant::now(), Vec::new());
    let mut socket = subscribe(to, r#"["CLOSE","none"]"#).await?;
    while began.elapsed() < READING {
        let asked = Instant::now();
        socket.send(Message::text(r#"["REQ","few",{"kinds":[1],"limit":50}]"#)).await?;
        let mut events = 0;
        loop {
            let text = timeout(Duration::from_secs(30), socket.next()).await?.context("hung up on")??.into_text()?;
            match text.as_str() {
                r#"["EOSE","few"]"# => break,
                text if text.starts_with(r#"["EVENT","few","#) => events += 1,
                text => anyhow::bail!("{text}"),
            }
        }
        ensure!(events == 50, "{events} of 50 events");
        times.push(asked.elapsed());
        socket.send(Message::text(r#"["CLOSE","few"]"#)).await?;
        // Of the twenty messages a second that one client may send.
        sleep(Duration::from_millis(150)).await;
    }
    while tasks.try_join_next().is_some() {}
    println!(
        "{readers} slow readers, {} of whom stayed and {} were refused more, read {} MB: {} MiB, {} MiB at most, {} MiB before",
        tasks.len(),
        refused.load(Ordering::Relaxed),
        read.load(Ordering::Relaxed) / 1_000_000,
        memory(daemon, "VmRSS:")?,
        memory(daemon, "VmHWM:")?,
        before
    );
    println!("an honest client: p50 {:.1} ms, p99 {:.1} ms", percentile(&mut times, 50), percentile(&mut times, 99));
    Ok(())
}

/// A line of the daemon's status, in MiB.
fn memory(daemon: u32, line: &str) -> Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{daemon}/status"))?;
    let value = status.lines().find_map(|text| text.strip_prefix(line)).context("Linux says so")?;
    Ok(value.trim().trim_end_matches(" kB").parse::<u64>()? >> 10)
}

async fn live(subscribers: usize, rate: usize) -> Result<()> {
    let dir = tempfile::tempdir()?;
    let file = dir.path().join("brotr.yaml");
    std::fs::write(&file, "version: 1\n")?;
    let agent = Agent::open(Config::load(Some(&file), None)?).await?;
    let listener = brotr::services::relay_server::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await?;
    let to = listener.local_addr()?;
    let mut tasks = JoinSet::new();
    let service = brotr::services::relay_server::serve(agent.with(agent.archive.clone()), None, Arc::new(listener));
    tasks.spawn(async move {
        service.await?;
        anyhow::Ok(Vec::new())
    });
    let each = rate / BATCHES as usize;
    let batches = LIVE.as_secs() as usize * BATCHES as usize;
    let author = Keys::generate();
    let mut events =
        (0..(each * batches) as u64).map(|n| signed(&author, 1, FIRST + n, &format!("note {n}: {:200}", "")));
    let events: Vec<Vec<Verified>> =
        (0..batches).map(|_| events.by_ref().take(each).collect()).collect::<Result<_>>()?;
    let mut sockets = Vec::new();
    for _ in 0..subscribers {
        let mut socket = subscribe(to, r#"["REQ","live",{"kinds":[1],"limit":0}]"#).await?;
        socket.next().await.context("no EOSE")??;
        sockets.push(socket.into_inner());
    }
    let begin = Instant::now() + Duration::from_millis(500);
    let due = move |batch: usize| begin + Duration::from_secs(1) / BATCHES * batch as u32;
    for stream in sockets {
        tasks.spawn(async move {
            let mut frames = Frames { stream, buffer: vec![0; 64 << 10], filled: 0, skip: 0 };
            let mut delays = Vec::new();
            for batch in 0..batches {
                for _ in 0..each {
                    timeout(Duration::from_secs(20), frames.skip()).await.context("an event did not come")??;
                }
                delays.push(due(batch).elapsed());
            }
            anyhow::Ok(delays)
        });
    }
    for (batch, events) in events.into_iter().enumerate() {
        tokio::time::sleep_until(due(batch).into()).await;
        agent.archive.store(Batch { events, ..Batch::default() }).await?;
    }
    let stored = begin.elapsed();
    let (mut served, mut delays) = (0, Vec::new());
    while served < subscribers {
        delays.extend(tasks.join_next().await.context("the service ended")???);
        served += 1;
    }
    println!(
        "{subscribers} subscribers, {} events stored in {:.1} s: all got all, the last {:.1} s after the first was stored",
        each * batches,
        stored.as_secs_f64(),
        begin.elapsed().as_secs_f64()
    );
    println!("from the store: p50 {:.0} ms, p99 {:.0} ms", percentile(&mut delays, 50), percentile(&mut delays, 99));
    Ok(())
}

/// The frames of a server, skipped one by one: parsing them would cost more than sending them.
struct Frames {
    stream: TcpStream,
    buffer: Vec<u8>,
    filled: usize,
    skip: usize,
}

impl Frames {
    async fn skip(&mut self) -> Result<()> {
        let (header, length) = loop {
            let start = self.skip.min(self.filled);
            self.skip -= start;
            self.buffer.copy_within(start..self.filled, 0);
            self.filled -= start;
            match &self.buffer[..self.filled] {
                [_, n, ..] if self.skip == 0 && *n < 126 => break (2, usize::from(*n)),
                [_, 126, a, b, ..] if self.skip == 0 => break (4, usize::from(u16::from_be_bytes([*a, *b]))),
                _ => {}
            }
            let n = self.stream.read(&mut self.buffer[self.filled..]).await?;
            ensure!(n > 0, "hung up on");
            self.filled += n;
        };
        self.skip = header + length;
        Ok(())
    }
}
