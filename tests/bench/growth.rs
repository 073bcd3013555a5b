//! How storing fares as an archive grows:
//!
//! ```sh
//! cargo bench -p brotr-storage --bench growth -- [EVENTS] [in-order|shuffled] [sqlite|postgres]
//! ```
//!
//! Takes 1,000,000 events unless told otherwise, on SQLite, in windows of 100,000. A window is generated first; then it is
//! parsed, verified and stored as if one relay had given it in pages of 500, 64 of them under way. All windows cover the same
//! dates, newest first or shuffled. Of each window it prints the rate, its ratio to one-by-one verification on all cores (measured
//! again for each window), what this process wrote to the disk for an event until the next window began (SQLite; merges that
//! go on while that is generated are counted), what an event takes on disk, the size of the write-ahead log, and the memory that
//! is resident without the window itself.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use brotr_storage::{Archive, Batch, Event, Identified, Network, Options, Verified, open};
use brotr_tests::lifelike::{Dice, authors, lifelike};
use futures::StreamExt;

const WINDOW: usize = 100_000;
const PAGE: usize = 500;
const BESIDE: usize = 64;

#[tokio::main]
async fn main() {
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).collect();
    let events: usize = args.iter().find_map(|arg| arg.replace('_', "").parse().ok()).unwrap_or(1_000_000);
    let is_shuffled = args.iter().any(|arg| arg == "shuffled");
    let dir = tempfile::tempdir().expect("a directory");
    let server = args.iter().any(|arg| arg == "postgres");
    let server = server.then(|| brotr_tests::Postgres::start().expect("PostgreSQL started"));
    let file = dir.path().join("growth.db");
    let url = match &server {
        Some(server) => server.database("growth").expect("a database"),
        None => format!("sqlite://{}", file.display()),
    };
    let archive = open(&url, Options::default()).await.expect("opened");
    let keys = authors(events / 10, 1);
    println!(
        "{:>11}{:>10}{:>7}{:>12}{:>9}{:>9}{:>9}",
        "events", "events/s", "ratio", "B written", "B disk", "MB log", "MB"
    );
    let mut dice = Dice::new(7);
    let mut written = bytes_written();
    for window in 0..events.div_ceil(WINDOW) {
        let mut lines = lifelike(WINDOW.min(events - window * WINDOW), 100 + window as u64, &keys);
        if is_shuffled {
            (1..lines.len()).rev().for_each(|place| lines.swap(place, dice.below(place + 1)));
        }
        let (count, ceiling) = (lines.len(), ceiling(&lines));
        let began = Instant::now();
        take(&archive, lines).await;
        let rate = count as f64 / began.elapsed().as_secs_f64();
        let stats = archive.stats().await.expect("stats");
        let before = std::mem::replace(&mut written, bytes_written());
        println!(
            "{:>11}{rate:>10.0}{:>7.2}{:>12}{:>9}{:>9}{:>9}",
            stats.events,
            rate / ceiling,
            (written - before) / count as u64,
            stats.disk_bytes / stats.events,
            size(&file.with_extension("db-wal")) >> 20,
            status("VmRSS:") >> 10,
        );
    }
    let stored = archive.stats().await.expect("stats").events;
    assert_eq!(stored, i64::try_from(events).expect("fewer"), "every event is counted");
    archive.close().await;
}

/// Events a second that this machine verifies one by one on all cores.
fn ceiling(lines: &[String]) -> f64 {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let sample: Vec<Identified> = lines.iter().step_by(20).map(|line| identified(line)).collect();
    let began = Instant::now();
    std::thread::scope(|scope| {
        for part in sample.chunks(sample.len().div_ceil(cores)) {
            scope.spawn(|| part.iter().cloned().for_each(|event| drop(event.verify().expect("signed"))));
        }
    });
    sample.len() as f64 / began.elapsed().as_secs_f64()
}

fn identified(line: &str) -> Identified {
    Event::from_json(line).expect("an event").identify().expect("its id")
}

async fn take(archive: &Arc<dyn Archive>, lines: Vec<String>) {
    let pages: Vec<Vec<String>> = lines.chunks(PAGE).map(<[String]>::to_vec).collect();
    drop(lines);
    let pages = pages.into_iter().map(|page| async move {
        let verify = move || -> Vec<Verified> {
            let events = page.iter().map(|line| identified(line)).collect();
            Identified::verify_all(events).into_iter().collect::<Result<_, _>>().expect("signed")
        };
        let events = tokio::task::spawn_blocking(verify).await.expect("verified");
        let relay = Some(("wss://relay.example/".to_owned(), Network::Clearnet));
        archive.store(Batch { relay, events, ..Batch::default() }).await.expect("stored");
    });
    futures::stream::iter(pages).buffer_unordered(BESIDE).for_each(|()| std::future::ready(())).await;
}

/// Bytes that this process gave to the disk.
fn bytes_written() -> u64 {
    let io = std::fs::read_to_string("/proc/self/io").expect("Linux");
    let line = io.lines().find_map(|line| line.strip_prefix("write_bytes: "));
    line.and_then(|bytes| bytes.parse().ok()).expect("a number")
}

fn size(file: &Path) -> u64 {
    file.metadata().map_or(0, |file| file.len())
}

/// A figure of `/proc/self/status`, in KiB.
fn status(name: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|kib| kib.split_whitespace().next()?.parse().ok()).expect("a number")
}
