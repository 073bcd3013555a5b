//! Latency of jobs:
//!
//! ```sh
//! cargo bench -p brotr --bench jobs
//! ```
//!
//! A million lifelike events in SQLite with full text, served by `brotr run` as a relay, to which customers send requests.
//! Prints the median and the 99th percentile from the request to its result, for each kind of job, and the number of jobs per
//! second with many concurrent customers.

use std::time::{Duration, Instant};

use brotr_core::{Event, Network};
use brotr_storage::{Batch, Options};
use brotr_tests::lifelike::{authors, lifelike};
use futures::{SinkExt, StreamExt};
use nostr::{EventBuilder, Keys, Kind, Tag, TagKind};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

const ASKED: usize = 100;
/// Customers at once, and jobs of each.
const CUSTOMERS: usize = 40;
const EACH: usize = 15;

type Socket = tokio_tungstenite::WebSocketStream<tokio_tungstenite::MaybeTlsStream<tokio::net::TcpStream>>;

fn main() -> anyhow::Result<()> {
    let number = std::env::args().find_map(|arg| arg.parse().ok());
    let events: usize = number.unwrap_or(1_000_000);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let dir = tempfile::tempdir()?;
    runtime.block_on(fill(&format!("sqlite://{}", dir.path().join("brotr-data/brotr.db").display()), events))?;
    let config = json!({"version": 1, "network": {"allow": ["127.0.0.0/8"]}, "initializer": {"seeds": []},
        "monitor": {"enabled": false}, "synchronizer": {"enabled": false}, "finder": {"enabled": false},
        "http": {"enabled": false}, "relay": {"enabled": true, "listen": "127.0.0.1:17777"},
        "dvm": {"limits": {"per_minute": 100_000, "all_per_minute": 100_000, "open": 1_000}}});
    std::fs::write(dir.path().join("brotr.yaml"), config.to_string())?;
    let log = std::fs::File::create(dir.path().join("log"))?;
    let mut daemon = std::process::Command::new(env!("CARGO_BIN_EXE_brotr"))
        .arg("run")
        .current_dir(dir.path())
        .env_clear()
        .stderr(log)
        .spawn()?;
    let measured = runtime.block_on(measure("ws://127.0.0.1:17777"));
    brotr_tests::signal(&daemon, brotr_tests::Signal::TERM)?;
    daemon.wait()?;
    if measured.is_err() {
        eprintln!("{}", std::fs::read_to_string(dir.path().join("log"))?);
    }
    measured
}

async fn fill(url: &str, events: usize) -> anyhow::Result<()> {
    const PART: usize = 50_000;
    let archive = brotr_storage::open(url, Options { search: true, ..Options::default() }).await?;
    let authors = authors(events / 20, 2);
    for part in 0..events.div_ceil(PART) {
        let lines = lifelike(PART.min(events - part * PART), part as u64, &authors);
        for page in lines.chunks(5_000) {
            let page =
                page.iter().map(|line| Event::from_json(line).expect("an event").verify().expect("signed")).collect();
            let relay = Some(("wss://relay.example/".to_owned(), Network::Clearnet));
            archive.store(Batch { relay, events: page, ..Batch::default() }).await?;
        }
    }
    println!("{} events", archive.stats().await?.events);
    archive.close().await;
    Ok(())
}

async fn connect(url: &str) -> anyhow::Result<Socket> {
    for _ in 0..100 {
        if let Ok((socket, _)) = tokio_tungstenite::connect_async_with_config(url, None, true).await {
            return Ok(socket);
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    anyhow::bail!("the daemon does not listen")
}

fn request(kind: u16, content: &str, tags: &[&[&str]]) -> nostr::Event {
    let tags = tags.iter().map(|tag| Tag::custom(TagKind::custom(tag[0]), tag[1..].iter().copied()));
    let builder = EventBuilder::new(Kind::from(kind), content).tags(tags);
    builder.sign_with_keys(&Keys::generate()).expect("signed")
}

/// Returns the time from the request to its result.
async fn ask(socket: &mut Socket, request: &nostr::Event) -> anyhow::Result<Duration> {
    let id = request.id.to_hex();
    let kinds = [request.kind.as_u16() + 1_000, 7_000];
    let began = Instant::now();
    socket.send(Message::text(json!(["REQ", &id, {"kinds": kinds, "#e": [&id]}]).to_string())).await?;
    socket.send(Message::text(json!(["EVENT", request]).to_string())).await?;
    loop {
        let message = tokio::time::timeout(Duration::from_secs(60), socket.next()).await?;
        let Some(Ok(Message::Text(text))) = message else { anyhow::bail!("hung up on") };
        let said: Value = serde_json::from_str(&text)?;
        anyhow::ensure!(said[0] != "OK" || said[2] == true, "{said}");
        if said[0] == "EVENT" && said[2]["kind"] == kinds[0] {
            break;
        }
        let failed = said[0] == "EVENT" && said.to_string().contains("\"error\"");
        anyhow::ensure!(!failed, "{said}");
    }
    let took = began.elapsed();
    socket.send(Message::text(json!(["CLOSE", id]).to_string())).await?;
    Ok(took)
}

/// Makes the n-th request of its kind.
type Make = Box<dyn Fn(usize) -> nostr::Event>;

async fn measure(url: &str) -> anyhow::Result<()> {
    let mut socket = connect(url).await?;
    println!("{:<44}{:>10}{:>10}", "", "median", "p99");
    let kinds: [(&str, Make); 6] = [
        ("count of everything (5400)", Box::new(|_| request(5_400, "", &[]))),
        ("count of kind 7 (5400)", Box::new(|_| request(5_400, r#"{"kinds":[7]}"#, &[]))),
        ("count of a topic (5400)", Box::new(|n| request(5_400, &format!(r##"{{"#t":["topic{n}"]}}"##), &[]))),
        (
            "search (5302)",
            Box::new(|n| request(5_302, "", &[&["i", ["strre you", "zap is", "sat ev key", "coin"][n % 4]]])),
        ),
        ("people by name (5303)", Box::new(|n| request(5_303, "", &[&["i", ["no", "zaplay", "relay"][n % 3]]]))),
        ("popular of a day (5300)", Box::new(|_| request(5_300, "", &[&["param", "until", "1760000000"]]))),
    ];
    for (name, make) in kinds {
        let mut times = Vec::new();
        for n in 0..ASKED {
            times.push(ask(&mut socket, &make(n)).await?);
            // Three messages each, of the twenty a second that one client may send.
            tokio::time::sleep(Duration::from_millis(160)).await;
        }
        report(name, &mut times);
    }
    let began = Instant::now();
    let mut times = burst(url).await?;
    let rate = (CUSTOMERS * EACH) as f64 / began.elapsed().as_secs_f64();
    report(&format!("{CUSTOMERS} customers at once, counts: {rate:.0} jobs/s"), &mut times);
    Ok(())
}

/// Many customers, each on a connection of its own, one job after the other.
async fn burst(url: &str) -> anyhow::Result<Vec<Duration>> {
    let customers = (0..CUSTOMERS).map(|_| async {
        let mut socket = connect(url).await?;
        let mut times = Vec::new();
        for n in 0..EACH {
            times.push(ask(&mut socket, &request(5_400, &format!(r##"{{"#t":["topic{n}"]}}"##), &[])).await?);
        }
        anyhow::Ok(times)
    });
    let all = futures::future::try_join_all(customers).await?;
    Ok(all.into_iter().flatten().collect())
}

fn report(name: &str, times: &mut [Duration]) {
    times.sort_unstable();
    let ms = |hundredth: usize| times[(times.len() * hundredth).div_ceil(100).max(1) - 1].as_secs_f64() * 1_000.0;
    println!("{name:<44}{:>7.1} ms{:>7.1} ms", ms(50), ms(99));
}
