//! Rate of storing as an archive grows:
//!
//! ```sh
//! cargo bench -p brotr-storage --bench growth -- [EVENTS] [in-order|shuffled] [sqlite|postgres] [SETTING=VALUE]...
//! ```
//!
//! Stores 10,000,000 events on SQLite or 3,000,000 on PostgreSQL by default, in windows of 100,000. A window is generated
//! first; then it is parsed, verified and stored as if one relay had returned it in pages of 500, 64 of them in flight. All
//! windows cover the same dates, newest first or shuffled. For each window it prints the rate, its ratio to one-by-one
//! verification on all cores (measured again for each window), the bytes written per event until the next window began (by this
//! process, including merges while the window is generated; by PostgreSQL 15 or 16 to its log and to its pages), the bytes per
//! event on disk, the size of SQLite's write-ahead log, and by how much the resident memory of this process has grown
//! since the archive was opened.
//!
//! The PostgreSQL server is as durable as by default; settings of its configuration can be given, such as
//! `wal_compression=lz4`.
//!
//! At each power of ten and at the end it runs clients' queries, and has a second relay return the last window in pages of
//! which 5 % are new.

mod filters;

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use brotr_core::{Event, Identified, Network};
use brotr_storage::{Archive, Batch, Options, Prepared, open};
use brotr_tests::lifelike::{Dice, authors, lifelike};
use futures::StreamExt;
use tokio::sync::Semaphore;

/// As in the agent.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const WINDOW: usize = 100_000;
const PAGE: usize = 500;
const BESIDE: usize = 64;

#[tokio::main]
async fn main() {
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).collect();
    let is_shuffled = args.iter().any(|arg| arg == "shuffled");
    let is_server = args.iter().any(|arg| arg == "postgres");
    let number = args.iter().find_map(|arg| arg.replace('_', "").parse().ok());
    let events: usize = number.unwrap_or(if is_server { 3_000_000 } else { 10_000_000 });
    let dir = tempfile::tempdir().expect("a directory");
    // As durable as a server is by default.
    let durable = ["fsync=on", "synchronous_commit=on", "full_page_writes=on"].map(str::to_owned);
    let settings: Vec<String> = durable.into_iter().chain(std::env::args().filter(|arg| arg.contains('='))).collect();
    let settings: Vec<&str> = settings.iter().map(String::as_str).collect();
    let server = is_server.then(|| brotr_tests::Postgres::start_with(&settings).expect("PostgreSQL started"));
    let file = dir.path().join("growth.db");
    let url = match &server {
        Some(server) => server.database("growth").expect("a database"),
        None => format!("sqlite://{}", file.display()),
    };
    let keys = authors(events / 10, 1);
    let memory_before = status("VmRSS:");
    let archive = open(&url, Options::default()).await.expect("opened");
    println!(
        "{:>11}{:>10}{:>7}{:>12}{:>9}{:>9}{:>9}{:>7}{:>8}",
        "events", "events/s", "ratio", "B written", "B disk", "MB log", "MB", "cores", "writer"
    );
    let mut dice = Dice::new(7);
    let mut extra = 0;
    let mut written = bytes_written(&archive).await;
    for window in 0..events.div_ceil(WINDOW) {
        let mut lines = lifelike(WINDOW.min(events - window * WINDOW), 100 + window as u64, &keys);
        if is_shuffled {
            (1..lines.len()).rev().for_each(|place| lines.swap(place, dice.below(place + 1)));
        }
        let (count, ceiling) = (lines.len(), ceiling(&lines));
        let again = is_measured(window + 1, events).then(|| lines.clone());
        let (began, busy_before) = (Instant::now(), busy());
        take(&archive, "wss://relay.example/", lines).await;
        let (took, busy) = (began.elapsed().as_secs_f64(), busy());
        let (rate, cores, writer) =
            (count as f64 / took, (busy.0 - busy_before.0) / took, (busy.1 - busy_before.1) / took);
        let stats = archive.stats().await.expect("stats");
        let before = std::mem::replace(&mut written, bytes_written(&archive).await);
        println!(
            "{:>11}{rate:>10.0}{:>7.2}{:>12}{:>9}{:>9}{:>9}{cores:>7.2}{writer:>8.2}",
            stats.events,
            rate / ceiling,
            (written - before) / count as u64,
            stats.disk_bytes / stats.events,
            size(&file.with_extension("db-wal")) >> 20,
            status("VmRSS:").saturating_sub(memory_before) >> 10,
        );
        let Some(mut lines) = again else { continue };
        filters::ask(archive.as_ref(), &keys).await.expect("answered");
        // One in twenty is replaced by one that is new.
        let fresh = lifelike(count / 20, 1 << 40 | window as u64, &keys);
        extra += fresh.len();
        lines.iter_mut().step_by(20).zip(fresh).for_each(|(line, new)| *line = new);
        let began = Instant::now();
        take(&archive, &format!("wss://relay{window}.example/"), lines).await;
        let rate = count as f64 / began.elapsed().as_secs_f64();
        println!("95 % known: {rate:.0} events/s, {:.2} of one-by-one verification", rate / ceiling);
        written = bytes_written(&archive).await;
    }
    let stored = archive.stats().await.expect("stats").events;
    assert_eq!(stored, i64::try_from(events + extra).expect("fewer"), "every event is counted");
    archive.close().await;
}

/// Returns true if the windows so far make a power of ten, or all.
fn is_measured(windows: usize, events: usize) -> bool {
    let events_now = windows * WINDOW;
    events_now >= events || 10_usize.pow(events_now.ilog10()) == events_now
}

/// Returns the events per second that this machine verifies one by one on all cores.
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

/// Stores events as one relay returns them: known ones are neither verified nor stored again. As in the agent, one thread per
/// core verifies and prepares.
async fn take(archive: &Arc<dyn Archive>, relay: &str, lines: Vec<String>) {
    let cores = Semaphore::new(std::thread::available_parallelism().map_or(1, usize::from));
    let pages: Vec<Vec<String>> = lines.chunks(PAGE).map(<[String]>::to_vec).collect();
    drop(lines);
    let cores = &cores;
    let pages = pages.into_iter().map(|page| async move {
        let identify = move || page.iter().map(|line| identified(line)).collect::<Vec<_>>();
        let events = on_core(cores, identify).await;
        let ids: Vec<_> = events.iter().map(|event| event.event().id).collect();
        let known = archive.known(&ids).await.expect("looked up");
        let preparer = archive.preparer();
        let verify = move || -> (Vec<Prepared>, Vec<_>) {
            let (old, new): (Vec<_>, Vec<_>) = events.into_iter().partition(|event| known.contains(&event.event().id));
            let new = Identified::verify_all(new).into_iter().map(|event| preparer.prepare(event.expect("signed")));
            (new.collect(), old.iter().map(|event| event.event().id).collect())
        };
        let (prepared, known) = on_core(cores, verify).await;
        let relay = Some((relay.to_owned(), Network::Clearnet));
        archive.store(Batch { relay, prepared, known, ..Batch::default() }).await.expect("stored");
    });
    futures::stream::iter(pages).buffer_unordered(BESIDE).for_each(|()| std::future::ready(())).await;
}

async fn on_core<T: Send + 'static>(cores: &Semaphore, work: impl FnOnce() -> T + Send + 'static) -> T {
    let _core = cores.acquire().await.expect("not closed");
    tokio::task::spawn_blocking(work).await.expect("it does not panic")
}

/// Returns the bytes that this process wrote to disk, or that PostgreSQL wrote.
async fn bytes_written(archive: &Arc<dyn Archive>) -> u64 {
    if archive.backend() == "SQLite" {
        let io = std::fs::read_to_string("/proc/self/io").expect("Linux");
        let line = io.lines().find_map(|line| line.strip_prefix("write_bytes: "));
        return line.and_then(|bytes| bytes.parse().ok()).expect("a number");
    }
    let sql = "select wal_bytes::bigint + 8192 * (buffers_checkpoint + buffers_clean + buffers_backend) from pg_stat_wal, pg_stat_bgwriter";
    let (sender, mut rows) = tokio::sync::mpsc::channel(2);
    archive.sql(sql, sender).await.expect("PostgreSQL 15 or 16");
    rows.recv().await.expect("names");
    let row = rows.recv().await.expect("a row");
    row[0].as_u64().expect("a number")
}

fn size(file: &Path) -> u64 {
    file.metadata().map_or(0, |file| file.len())
}

/// Returns the seconds of processor time that this process has used, and those of the thread that writes to SQLite.
fn busy() -> (f64, f64) {
    let seconds = |stat: &str| {
        let ticks = stat.rsplit(')').next().expect("a name").split_whitespace().skip(11).take(2);
        ticks.map(|ticks| ticks.parse::<f64>().expect("a number")).sum::<f64>() / 100.0
    };
    let whole = seconds(&std::fs::read_to_string("/proc/self/stat").expect("Linux"));
    // Other threads may end meanwhile.
    let threads = std::fs::read_dir("/proc/self/task").expect("Linux").flatten();
    let stats = threads.filter_map(|thread| std::fs::read_to_string(thread.path().join("stat")).ok());
    (whole, stats.filter(|stat| stat.contains("(brotr-archive)")).map(|stat| seconds(&stat)).sum())
}

/// Returns a value of `/proc/self/status`, in KiB.
fn status(name: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|kib| kib.split_whitespace().next()?.parse().ok()).expect("a number")
}
