//! Rate of storing, beside the rate of verification:
//!
//! ```sh
//! cargo bench -p brotr --bench ingest
//! ```
//!
//! One run creates signed events, verifies them on all cores and nothing else (the ceiling), and then stores them like the
//! synchronizer, from JSON to the committed batch, on SQLite and on a throwaway PostgreSQL: once as new, and once with 95 % of
//! them known; and by `brotr import` and `brotr export`. The result is the ratio to the ceiling.

use std::sync::Arc;
use std::time::Instant;

use brotr::ingest::Ingest;
use brotr_core::{Network, RawEvent};
use brotr_storage::{Archive, Batch, Options};
use brotr_tests::lifelike::{authors, lifelike};
use futures::StreamExt;
use nostr::JsonUtil;

const EVENTS: usize = 200_000;
/// Events per page.
const PAGE: usize = 500;
/// Pages in flight, as from this many relays.
const BESIDE: usize = 64;

fn main() -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let authors = authors(EVENTS / 10, 1);
    let lines = lifelike(EVENTS, 2, &authors);
    // One page in twenty is new.
    let mut mixed = lifelike(EVENTS / 20, 3, &authors);
    mixed.extend_from_slice(&lines[..EVENTS - mixed.len()]);
    let only = std::env::args().nth(1).filter(|arg| !arg.starts_with('-')).unwrap_or_default();
    let mean = lines.iter().map(String::len).sum::<usize>() / lines.len();
    let first = ceiling(&lines, cores);
    println!("{EVENTS} events of {mean} B mean JSON, {cores} cores");
    println!("{:<28}{:>10} {:>8}", "", "events/s", "ratio");
    println!("{:<28}{first:>10.0} {:>8.2}", "verification alone", 1.0);
    let dir = tempfile::tempdir()?;
    let server = brotr_tests::Postgres::start()?;
    let cluster = brotr_tests::Cluster::is_installed().then(brotr_tests::Cluster::start).transpose()?;
    let mut places = vec![
        ("SQLite", format!("sqlite://{}", dir.path().join("brotr.db").display())),
        ("PostgreSQL", server.database("bench")?),
    ];
    if let Some(cluster) = &cluster {
        places.push(("Citus", cluster.database("bench")?));
    }
    for (name, url) in places {
        if !name.contains(&only) {
            continue;
        }
        // Machines are not always equally fast: the ceiling is measured before and after.
        let before = ceiling(&lines, cores);
        let (new, bytes, known, again) = runtime.block_on(async {
            let archive = brotr_storage::open(&url, Options::default()).await?;
            let new = take(&archive, lines.clone(), "wss://first.example/").await?;
            let bytes = archive.stats().await?.disk_bytes / i64::try_from(EVENTS)?;
            // As another relay gives them, and as the same relay gives them again.
            let known = take(&archive, mixed.clone(), "wss://second.example/").await?;
            let again = take(&archive, mixed.clone(), "wss://second.example/").await?;
            archive.close().await;
            anyhow::Ok((new, bytes, known, again))
        })?;
        let ceiling = f64::midpoint(before, ceiling(&lines, cores));
        println!("{:<28}{ceiling:>10.0} {:>8.2}", "verification alone", 1.0);
        println!("{:<28}{new:>10.0} {:>8.2}   {bytes} B an event on disk", format!("{name}, new"), new / ceiling);
        println!("{:<28}{known:>10.0} {:>8.2}", format!("{name}, 95 % known"), known / ceiling);
        println!("{:<28}{again:>10.0} {:>8.2}", format!("{name}, read again"), again / ceiling);
        let url = url.replace("brotr.db", "import.db").replace("/bench", "/import");
        match (name, &cluster) {
            ("PostgreSQL", _) => drop(server.database("import")?),
            ("Citus", Some(cluster)) => drop(cluster.database("import")?),
            _ => {}
        }
        let file = dir.path().join("events.jsonl");
        std::fs::write(&file, lines.join("\n"))?;
        for what in ["import", "export"] {
            let began = Instant::now();
            let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_brotr"));
            command.env("BROTR_STORAGE__URL", &url).current_dir(dir.path()).arg(what);
            match what {
                "import" => command.arg(&file),
                _ => command.arg("--output").arg(dir.path().join("out.jsonl")),
            };
            let output = command.output()?;
            anyhow::ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            let rate = EVENTS as f64 / began.elapsed().as_secs_f64();
            println!("{:<28}{rate:>10.0} {:>8.2}", format!("{name}, {what}"), rate / ceiling);
        }
        std::fs::remove_file(dir.path().join("out.jsonl"))?;
    }
    Ok(())
}

/// Returns the events per second that this machine verifies on all cores, already parsed, each by itself as rust-nostr does it.
fn ceiling(lines: &[String], cores: usize) -> f64 {
    let parsed: Vec<nostr::Event> = lines.iter().map(|line| nostr::Event::from_json(line).expect("an event")).collect();
    let began = Instant::now();
    std::thread::scope(|scope| {
        for part in parsed.chunks(parsed.len().div_ceil(cores)) {
            scope.spawn(move || part.iter().for_each(|event| event.verify().expect("signed")));
        }
    });
    lines.len() as f64 / began.elapsed().as_secs_f64()
}

/// Returns the events per second from JSON to the committed batch.
async fn take(archive: &Arc<dyn Archive>, lines: Vec<String>, relay: &str) -> anyhow::Result<f64> {
    let ingest = Ingest::new(archive.clone());
    let began = Instant::now();
    let pages = lines.chunks(PAGE).map(|page| {
        let (archive, ingest) = (archive, &ingest);
        async move {
            let events = page.iter().map(|line| RawEvent::from_json(line)).collect::<Result<Vec<_>, _>>()?;
            let checked = ingest.check(relay, events).await?;
            let known = checked.known_ids();
            let relay = Some((relay.to_owned(), Network::Clearnet));
            archive.store(Batch { relay, prepared: checked.new, known, ..Batch::default() }).await?;
            anyhow::Ok(())
        }
    });
    let done: Vec<anyhow::Result<()>> = futures::stream::iter(pages).buffer_unordered(BESIDE).collect().await;
    done.into_iter().collect::<anyhow::Result<()>>()?;
    Ok(lines.len() as f64 / began.elapsed().as_secs_f64())
}
