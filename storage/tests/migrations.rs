//! Archives of older versions of the program are migrated without loss.
//!
//! `tests/older` has one of each backend for each version of the schema, all with the events of `events.jsonl`.

use std::process::{Command, Stdio};

use brotr_core::Event;
use brotr_storage::{Options, View, open, open_to_read};
use nostr::Filter;

const EVENTS: &str = include_str!("older/events.jsonl");
const RELAY: &str = "wss://relay.example.com/";
const SQLITE: [(i64, &[u8]); 1] = [(1, include_bytes!("older/schema-1.db.zst"))];
const POSTGRES: [(i64, &str); 1] = [(1, include_str!("older/schema-1.sql"))];

/// Asserts that everything in the older archives is there.
async fn everything_is_there(url: &str) {
    let archive = open(url, Options::default()).await.expect("migrated");
    let mut wanted: Vec<Event> = EVENTS.lines().map(|line| Event::from_json(line).expect("an event")).collect();
    wanted.sort_by(|a, b| b.created_at.cmp(&a.created_at).then(a.id.cmp(&b.id)));
    let found = archive.page(&Filter::new(), View::All, None, 1_000).await.expect("a page");
    let json = |events: &[Event]| events.iter().map(Event::to_json).collect::<Vec<_>>();
    assert_eq!(json(&found), json(&wanted), "every byte");
    let stats = archive.stats().await.expect("stats");
    assert_eq!((stats.events, stats.sightings), (62, 62));
    assert_eq!(archive.count(&[Filter::new()], View::All, &[RELAY.to_owned()]).await.expect("counted"), 62);
    let hidden = archive.count(&[Filter::new()], View::Client { now: 1_800_000_000 }, &[]).await.expect("counted");
    assert!(hidden < 62, "the deleted event stays deleted");
    let report = archive.coverage(Some(RELAY)).await.expect("coverage").pop().expect("a report");
    assert_eq!((report.covered[0].interval.until, report.gaps[0].count), (1_760_000_000, Some(3)));
    assert_eq!(archive.state("finder", "cursor", "events").await.expect("read").as_deref(), Some("7"));
    let relay = archive.relay(RELAY).await.expect("read").expect("a relay");
    assert_eq!(relay.checked_at, Some(1_760_003_700));
    let documents = archive.documents(RELAY).await.expect("documents");
    assert_eq!(documents.len(), 2);
    assert!(documents.iter().all(|d| d.generated_at == 1_760_003_700 && d.rtt_ms[0] == Some(50)), "{documents:?}");
    assert!(documents.iter().any(|d| d.data.contains("an old relay")), "{documents:?}");
    // And it goes on from there.
    let event = found[0].clone().verify().expect("signed");
    let batch = brotr_storage::Batch { events: vec![event], ..Default::default() };
    assert_eq!(archive.store(batch).await.expect("stored").known, 1);
    archive.close().await;
    open_to_read(url, Options::default()).await.expect("as new as the program").close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sqlite() {
    for (version, packed) in SQLITE {
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("brotr.db");
        std::fs::write(&file, zstd::decode_all(packed).expect("unpacked")).expect("written");
        let url = format!("sqlite://{}", file.display());
        let error = open_to_read(&url, Options::default()).await.expect_err("not without migrating").to_string();
        assert!(error.contains(&version.to_string()), "{error}");
        everything_is_there(&url).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres() {
    let server = brotr_tests::Postgres::start().expect("PostgreSQL started");
    for (version, dump) in POSTGRES {
        let url = server.database(&format!("older{version}")).expect("a database");
        let mut shell = Command::new("psql")
            .args(["-q", "-v", "ON_ERROR_STOP=1", &url])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .expect("started");
        std::io::Write::write_all(&mut shell.stdin.take().expect("piped"), dump.as_bytes()).expect("read");
        assert!(shell.wait().expect("ended").success(), "schema {version} was restored");
        let error = open_to_read(&url, Options::default()).await.expect_err("not without migrating").to_string();
        assert!(error.contains(&format!("version {version},")), "{error}");
        everything_is_there(&url).await;
    }
}
