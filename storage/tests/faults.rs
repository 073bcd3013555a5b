//! What survives when processes are killed and databases go away.

mod exact;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::time::Duration;

use brotr_core::*;
use brotr_storage::*;
use brotr_tests::lifelike::{Dice, authors, lifelike};
use exact::exact;
use nostr::Filter;

/// The environment variable that names the archive and the events of the child to be killed; without it, `child` does nothing.
const URL: &str = "BROTR_TEST_FAULT_URL";
const EVENTS: &str = "BROTR_TEST_FAULT_EVENTS";
const KILLS: usize = 100;
const PAGE: usize = 40;

/// Not a test by itself: the process that is killed. It stores pages from where its predecessor was, and prints each one that
/// is stored.
#[tokio::test(flavor = "multi_thread")]
async fn child() {
    let (Ok(url), Ok(file)) = (std::env::var(URL), std::env::var(EVENTS)) else { return };
    let start: usize = std::env::var("BROTR_TEST_FAULT_START").expect("a start").parse().expect("a number");
    let lines = std::fs::read_to_string(file).expect("events");
    let lines: Vec<&str> = lines.lines().collect();
    let archive = open(&url, Options::default()).await.expect("opened");
    let pages = lines.chunks(PAGE).enumerate().skip(start);
    let mut under_way = futures::stream::FuturesUnordered::new();
    for (n, page) in pages {
        let events =
            page.iter().map(|line| Event::from_json(line).expect("an event").verify().expect("signed")).collect();
        let relay = Some((format!("wss://relay{}.example/", n % 5), Network::Clearnet));
        let archive = &archive;
        under_way.push(async move {
            archive.store(Batch { relay, seen_at: 7, events, ..Batch::default() }).await.expect("stored");
            println!("\nstored {n}");
            std::io::stdout().flush().expect("told");
        });
        if under_way.len() == 4 {
            futures::StreamExt::next(&mut under_way).await;
        }
    }
    while futures::StreamExt::next(&mut under_way).await.is_some() {}
}

/// Kills the child repeatedly while it stores, and checks what is left.
async fn killed(url: &str, dir: &std::path::Path) {
    let file = dir.join("events.jsonl");
    let lines = lifelike(12_000, 5, &authors(300, 6));
    std::fs::write(&file, lines.join("\n")).expect("written");
    drop(open(url, Options::default()).await.expect("opened"));
    let mut dice = Dice::new(7);
    let mut acknowledged = BTreeSet::new();
    for _ in 0..KILLS {
        // Four pages may be under way: the next child takes up where a page is missing, and meets some again.
        let start = (0..).find(|n| !acknowledged.contains(n)).unwrap_or_default() % lines.len().div_ceil(PAGE);
        let mut child = Command::new(std::env::current_exe().expect("a path"))
            .args(["--exact", "child", "--nocapture"])
            .env(URL, url)
            .env(EVENTS, &file)
            .env("BROTR_TEST_FAULT_START", start.to_string())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("started");
        let mut said = BufReader::new(child.stdout.take().expect("piped")).lines();
        let mut patience = dice.below(6);
        let mut told = |line: &str| {
            if let Some(n) = line.strip_prefix("stored ") {
                acknowledged.insert(n.parse::<usize>().expect("a number"));
            }
            line.starts_with("stored ")
        };
        while let Some(Ok(line)) = said.next() {
            if told(&line) {
                if patience == 0 {
                    break;
                }
                patience -= 1;
            }
        }
        std::thread::sleep(Duration::from_micros(dice.below(8_000) as u64));
        child.kill().expect("killed");
        // What it said before it died counts.
        said.map_while(Result::ok).for_each(|line| _ = told(&line));
        child.wait().expect("ended");
    }
    assert!(acknowledged.len() > KILLS / 2, "it stored little: {}", acknowledged.len());
    let archive = open(url, Options::default()).await.expect("opened after the last kill");
    let mut wanted = BTreeMap::new();
    for n in &acknowledged {
        for line in lines.chunks(PAGE).nth(*n).expect("a page") {
            let event = Event::from_json(line).expect("an event");
            wanted.insert(event.id, event);
        }
    }
    let ids: Vec<_> = wanted.keys().copied().collect();
    let known = archive.known(&ids).await.expect("asked");
    assert_eq!(known.len(), wanted.len(), "an acknowledged event was lost");
    for event in archive.page(&Filter::new(), View::All, None, usize::MAX >> 1).await.expect("all of it") {
        event.verify().expect("whole");
    }
    exact(&archive).await;
    archive.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_process_loses_nothing_in_sqlite() {
    let dir = tempfile::tempdir().expect("a directory");
    killed(&format!("sqlite://{}", dir.path().join("brotr.db").display()), dir.path()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_process_loses_nothing_in_postgres() {
    let server = brotr_tests::Postgres::start().expect("PostgreSQL started");
    let dir = tempfile::tempdir().expect("a directory");
    killed(&server.database("killed").expect("a database"), dir.path()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn storing_waits_while_the_server_is_away() {
    let mut server = brotr_tests::Postgres::start().expect("PostgreSQL started");
    let archive = open(&server.database("away").expect("a database"), Options::default()).await.expect("opened");
    let lines = lifelike(4_000, 8, &authors(50, 9));
    let events: Vec<_> =
        lines.iter().map(|line| Event::from_json(line).expect("an event").verify().expect("signed")).collect();
    let store = async {
        let mut stored = 0;
        for page in events.chunks(50) {
            let ids: Vec<_> = page.iter().map(|e| e.event().id).collect();
            archive.known(&ids).await.expect("waited");
            let relay = Some(("wss://relay.example/".to_owned(), Network::Clearnet));
            let batch = Batch { relay, events: page.to_vec(), ..Batch::default() };
            let done = archive.store(batch).await.expect("waited");
            stored += done.stored + done.known;
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        stored
    };
    let restart = tokio::task::spawn_blocking(move || {
        for _ in 0..3 {
            std::thread::sleep(Duration::from_millis(150));
            server.restart(Duration::from_millis(700)).expect("back again");
        }
        server
    });
    let (stored, server) = tokio::join!(store, restart);
    assert_eq!(stored, events.len());
    assert_eq!(archive.stats().await.expect("stats").events, events.len() as i64);
    exact(&archive).await;
    archive.close().await;
    drop(server);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_writer_of_one_file_is_refused() {
    let dir = tempfile::tempdir().expect("a directory");
    let url = format!("sqlite://{}", dir.path().join("brotr.db").display());
    let first = open(&url, Options::default()).await.expect("opened");
    let error = open(&url, Options::default()).await.expect_err("in use").to_string();
    assert!(error.contains("in use by another brotr") && error.contains("brotr.db"), "{error}");
    let reader = open_to_read(&url, Options::default()).await.expect("reading is for all");
    assert_eq!(reader.count(&[Filter::new()], View::All, &[]).await.expect("counted"), 0);
    assert!(matches!(reader.store(Batch::default()).await, Err(StorageError::ReadOnly)));
    first.close().await;
    open(&url, Options::default()).await.expect("free again");
}

/// A small disk of its own, which is enlarged once it is full.
const DISK: &str = r#"
    set -e
    mount -t tmpfs -o size=2m tmpfs "$1"
    "$2" --exact child --nocapture > "$3/out" 2> "$3/err" &
    child=$!
    for _ in $(seq 100); do
        [ "$(df --output=avail "$1" | tail -n 1)" -gt 64 ] || break
        sleep 0.1
    done
    sleep 2
    grep -c '^stored' "$3/out" > "$3/before" || true
    mount -o remount,size=256m "$1"
    wait $child
    cp "$1"/brotr.db* "$3"
"#;

#[tokio::test(flavor = "multi_thread")]
async fn storing_waits_while_the_disk_is_full() {
    let (dir, disk) = (tempfile::tempdir().expect("a directory"), tempfile::tempdir().expect("a place"));
    let file = dir.path().join("events.jsonl");
    let lines = lifelike(6_000, 5, &authors(300, 6));
    std::fs::write(&file, lines.join("\n")).expect("written");
    let status = Command::new("unshare")
        .args(["--map-root-user", "--mount", "sh", "-c", DISK, "sh"])
        .arg(disk.path())
        .arg(std::env::current_exe().expect("a path"))
        .arg(dir.path())
        .env(URL, format!("sqlite://{}", disk.path().join("brotr.db").display()))
        .env(EVENTS, &file)
        .env("BROTR_TEST_FAULT_START", "0")
        .status()
        .expect("unshare is there");
    let said = |name: &str| std::fs::read_to_string(dir.path().join(name)).unwrap_or_default();
    assert!(status.success(), "{status}: {}", said("err"));
    let pages = lines.len().div_ceil(PAGE);
    let before: usize = said("before").trim().parse().expect("a number");
    assert!(before < pages, "the disk was never full");
    assert_eq!(said("out").lines().filter(|line| line.starts_with("stored ")).count(), pages);
    let archive = open(&format!("sqlite://{}", dir.path().join("brotr.db").display()), Options::default()).await;
    let archive = archive.expect("opened");
    assert_eq!(archive.stats().await.expect("stats").events, lines.len() as i64);
    exact(&archive).await;
    archive.close().await;
}
