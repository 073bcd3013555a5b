//! What only PostgreSQL could get wrong.

use std::time::{Duration, Instant};

use super::*;

async fn opened(server: &brotr_tests::Postgres, name: &str) -> (Arc<dyn Archive>, String) {
    let url = server.database(name).expect("a database");
    (open(&url, Options::default()).await.expect("opened"), url)
}

/// Waits until this number of transactions wait for a lock.
async fn waiting(url: &str, wanted: usize) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while shell(url, "select count(distinct pid) from pg_locks where not granted") != wanted.to_string() {
        assert!(Instant::now() < deadline, "{wanted} transactions do not wait");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

pub(crate) async fn known_relays_consume_no_sequence_numbers() {
    let server = brotr_tests::Postgres::start().expect("PostgreSQL started");
    let (archive, url) = opened(&server, "numbers").await;
    let relays = [(RELAY.to_owned(), Network::Clearnet)];
    let check = |at| CheckRecord { at, nip11: Some("{}".into()), ..CheckRecord::default() };
    archive.store(batch(vec![])).await.expect("stored");
    archive.record_check(RELAY, Network::Clearnet, &check(0)).await.expect("kept");
    let taken = "select string_agg(sequencename || '=' || coalesce(last_value, 0), ' ' order by sequencename) from pg_sequences \
                 where sequencename in ('relay_k_seq', 'document_k_seq', 'author_k_seq')";
    let before = shell(&url, taken);
    for n in 1..=334 {
        archive.store(batch(vec![])).await.expect("stored");
        archive.record_check(RELAY, Network::Clearnet, &check(n)).await.expect("kept");
        assert_eq!(archive.add_relays(&relays, n).await.expect("added"), 0);
    }
    assert_eq!(shell(&url, taken), before);
    // And there is room beyond 31 bits.
    shell(
        &url,
        "alter table relay alter column k restart with 3000000000; alter table document alter column k restart with 3000000000",
    );
    let late = "wss://late.example/";
    let other = CheckRecord { nip11: Some("{\"name\":\"late\"}".into()), nip66: "{\"late\":1}".into(), ..check(5) };
    archive.record_check(late, Network::Clearnet, &other).await.expect("kept");
    archive
        .store(Batch { relay: Some((late.into(), Network::Clearnet)), ..batch(vec![event("late", vec![], 1)]) })
        .await
        .expect("stored");
    assert_eq!(archive.documents(late).await.expect("documents").len(), 2);
    assert_eq!(archive.visits(late, 0, 9).await.expect("visits").len(), 1);
    archive.close().await;
}

pub(crate) async fn costly_settings_are_reported() {
    let server = brotr_tests::Postgres::start().expect("PostgreSQL started");
    let (archive, url) = opened(&server, "settings").await;
    let named = async || {
        let settings = archive.costly_settings().await.expect("read");
        settings.into_iter().map(|setting| (setting.name, setting.value, setting.recommended)).collect::<Vec<_>>()
    };
    let wanted =
        [("checkpoint_timeout", "5min", "30min"), ("max_wal_size", "1GB", "8GB"), ("wal_compression", "off", "lz4")];
    assert_eq!(named().await, wanted.map(|(name, value, least)| (name.to_owned(), value.to_owned(), least.to_owned())));
    for (name, _, recommended) in wanted {
        shell(&url, &format!("alter system set {name} = '{recommended}'"));
    }
    shell(&url, "select pg_reload_conf()");
    // The server reads its configuration a moment after it is told to.
    let deadline = Instant::now() + Duration::from_secs(10);
    while !named().await.is_empty() {
        assert!(Instant::now() < deadline, "{:?}", named().await);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    archive.close().await;
}

pub(crate) async fn urls_sort_by_bytes() {
    let server = brotr_tests::Postgres::start().expect("PostgreSQL started");
    let maintenance = server.url("postgres");
    shell(
        &maintenance,
        "create database sorted template template0 encoding 'UTF8' locale_provider icu icu_locale 'en' locale 'C'",
    );
    let archive = open(&server.url("sorted"), Options::default()).await.expect("opened");
    // A language would pass over the punctuation.
    let sorted =
        ["wss://a-z.example/", "wss://a.b.example/", "wss://a.example/", "wss://a_.example/", "wss://ab.example/"];
    let relays: Vec<_> = sorted.iter().rev().map(|url| (url.to_string(), Network::Clearnet)).collect();
    archive.add_relays(&relays, 1).await.expect("added");
    let query = RelayQuery { limit: 3, ..RelayQuery::default() };
    let page = archive.relays(&query).await.expect("listed");
    let next = RelayQuery { after: Some(page[2].url.clone()), ..query };
    let rest = archive.relays(&next).await.expect("listed");
    assert_eq!(page.iter().chain(&rest).map(|relay| relay.url.as_str()).collect::<Vec<_>>(), sorted);
    archive.close().await;
}

pub(crate) async fn calls_are_retried_when_connections_are_lost() {
    let server = brotr_tests::Postgres::start().expect("PostgreSQL started");
    let (archive, url) = opened(&server, "lost").await;
    let relays: Vec<_> = (0..30).map(|n| (format!("wss://r{n}.example/"), Network::Clearnet)).collect();
    let done = std::sync::atomic::AtomicBool::new(false);
    let killer = || {
        let kill = "select count(pg_terminate_backend(pid)) from pg_stat_activity where datname = 'lost' and pid <> pg_backend_pid()";
        let mut killed = 0;
        while !done.load(std::sync::atomic::Ordering::Relaxed) {
            killed += shell(&url, kill).parse::<usize>().expect("a number");
            std::thread::sleep(std::time::Duration::from_millis(40));
        }
        killed
    };
    let calls = async {
        let query = RelayQuery { limit: 30, ..RelayQuery::default() };
        for n in 0..150_i64 {
            archive.add_relays(&relays, n).await?;
            archive.claim(Task::Check, &query, now(), Lease { holder: 1, seconds: 60 }).await?;
            let check = CheckRecord { at: n, nip11: Some(format!("{{\"n\":{n}}}")), ..CheckRecord::default() };
            archive.record_check(RELAY, Network::Clearnet, &check).await?;
            archive.set_state("a", "b", "c", &n.to_string()).await?;
            archive.store(batch(vec![event(&n.to_string(), vec![], n)])).await?;
            archive.page(&Filter::new(), View::All, None, 10).await?;
            archive.count(&[Filter::new().kind(Kind::TextNote)], View::All, &[]).await?;
            archive.stored_after(0, 10).await?;
            archive.release(Task::Check, None, 1).await?;
            archive.stats().await?;
            archive.forget_visits(n - 5).await?;
        }
        Ok::<_, StorageError>(())
    };
    let (killed, ended) = std::thread::scope(|scope| {
        let killer = scope.spawn(killer);
        let handle = tokio::runtime::Handle::current();
        let ended = tokio::task::block_in_place(|| handle.block_on(calls));
        done.store(true, std::sync::atomic::Ordering::Relaxed);
        (killer.join().expect("no panic"), ended)
    });
    ended.expect("each call was made again");
    assert!(killed > 20, "connections were lost: {killed}");
    assert_eq!(archive.stats().await.expect("stats").events, 150);
    exact::exact(&archive).await;
    archive.close().await;
}

/// Returns the rows and index entries of `arrival` that were read since the server started.
async fn arrivals_read(url: &str, settled: impl Fn(i64) -> bool) -> i64 {
    let sql = "select coalesce(seq_tup_read, 0) + coalesce(idx_tup_fetch, 0) from pg_stat_user_tables where relname = 'arrival'";
    for _ in 0..60 {
        let read = shell(url, sql).parse().expect("a number");
        if settled(read) {
            return read;
        }
        tokio::time::sleep(std::time::Duration::from_millis(250)).await;
    }
    panic!("the server's statistics do not settle");
}

pub(crate) async fn only_the_requested_arrivals_are_read() {
    let server = brotr_tests::Postgres::start().expect("PostgreSQL started");
    let (archive, url) = opened(&server, "arrivals").await;
    archive.store(batch((0..20).map(|i| event(&i.to_string(), vec![], i)).collect())).await.expect("stored");
    shell(&url, "insert into arrival (events) select events from arrival, generate_series(1, 200000); analyze arrival");
    let wanted = archive.last_stored().await.expect("a number") >> 20;
    assert_eq!(wanted, 200_001);
    let middle = 100_000_i64 << 20;
    let before = arrivals_read(&url, |read| read > 0).await;
    for _ in 0..10 {
        assert_eq!(archive.stored_after(middle, 200).await.expect("in order").len(), 200);
    }
    let read = arrivals_read(&url, |read| read > before).await - before;
    assert!(read <= 10 * 202, "{read} rows for ten times 200 places");
    // In order, one arrival after the other.
    let (mut after, mut places) = (middle, 0);
    while let Some((last, _)) = archive.stored_after(after, 20).await.expect("in order").last().cloned() {
        assert_eq!(last - after, if places == 0 { 20 } else { 1 << 20 });
        (after, places) = (last, places + 1);
        if places == 50 {
            break;
        }
    }

    // What the finder has read is forgotten when it is old, and nothing else is.
    let left = || shell(&url, "select count(*), min(n) from arrival");
    archive.prune(now() + 60).await.expect("pruned");
    assert_eq!(left(), "200001|1", "nobody has read any");
    archive.set_state("finder", "cursor", "events", &((50_000_i64 << 20) + 7).to_string()).await.expect("set");
    archive.prune(now() - 60).await.expect("pruned");
    assert_eq!(left(), "200001|1", "too young");
    archive.prune(now() + 60).await.expect("pruned");
    assert_eq!(left(), "150002|50000");
    archive.close().await;
}

pub(crate) async fn a_document_in_use_is_kept() {
    let server = brotr_tests::Postgres::start().expect("PostgreSQL started");
    let (archive, url) = opened(&server, "documents").await;
    let (first, second) = ("wss://first.example/", "wss://second.example/");
    let check = |at, nip66: &str| CheckRecord { at, nip66: nip66.into(), ..CheckRecord::default() };
    archive.record_check(first, Network::Clearnet, &check(1, "{\"old\":1}")).await.expect("kept");
    archive.record_check(first, Network::Clearnet, &check(2, "{}")).await.expect("kept");
    archive.record_check(second, Network::Clearnet, &check(2, "{}")).await.expect("kept");
    // A check that has found the old document waits before it refers to it; meanwhile the last visit that did is forgotten.
    let insert = "insert into visit (relay, at, up) select k, 9, true from relay where url like '%second%'";
    let held = Held::begin(&url, &format!("begin; {insert}"));
    let again = check(9, "{\"old\":1}");
    let checked = archive.record_check(second, Network::Clearnet, &again);
    let forgotten = async {
        waiting(&url, 1).await;
        archive.forget_visits(i64::MAX).await
    };
    let release = async {
        waiting(&url, 2).await;
        drop(held);
    };
    let (checked, forgotten, ()) = tokio::join!(checked, forgotten, release);
    checked.expect("kept");
    forgotten.expect("forgotten");
    assert_eq!(shell(&url, "select count(*) from visit where nip66 not in (select k from document)"), "0");
    assert_eq!(archive.documents(second).await.expect("documents")[0].data, again.nip66);
    archive.close().await;
}

pub(crate) async fn opening_read_only_creates_nothing() {
    let server = brotr_tests::Postgres::start().expect("PostgreSQL started");
    let url = server.database("empty").expect("a database");
    let error = open_to_read(&url, Options::default()).await.expect_err("nothing is there");
    assert!(matches!(error, StorageError::Empty), "{error}");
    assert_eq!(shell(&url, "select count(*) from pg_tables where schemaname = 'public'"), "0");
    let (archive, url) = opened(&server, "made").await;
    archive.close().await;
    open_to_read(&url, Options::default()).await.expect("as new as the program").close().await;
    shell(
        &url,
        "update _sqlx_migrations set version = version + 100 where version = (select max(version) from _sqlx_migrations)",
    );
    let error = open_to_read(&url, Options::default()).await.expect_err("newer");
    assert!(matches!(error, StorageError::Newer(_)), "{error}");
}

/// A writer inserts its events before it has the writers' lock. One that was there then, and is removed before the lock is
/// acquired, has no sighting.
pub(crate) async fn an_event_removed_while_a_writer_waits_is_not_seen() {
    let server = brotr_tests::Postgres::start().expect("PostgreSQL started");
    let (archive, url) = opened(&server, "removed").await;
    let other = open(&url, Options::default()).await.expect("opened twice");
    let (gone, kept) = (event("gone", vec![], 1), event("kept", vec![], 2));
    archive.store(batch(vec![gone.clone(), kept.clone()])).await.expect("stored");
    let writers_lock = "begin; select pg_advisory_xact_lock(422826701938)";
    let held = Held::begin(&url, writers_lock);
    let second = Some(("wss://second.example/".to_owned(), Network::Clearnet));
    let seen = Batch { relay: second.clone(), ..batch(vec![gone.clone(), kept.clone()]) };
    let earliest = Filter::new().until(Timestamp::from(1));
    let store = async {
        waiting(&url, 1).await;
        archive.store(seen).await
    };
    let release = async {
        waiting(&url, 2).await;
        drop(held);
    };
    let (removed, stored, ()) = tokio::join!(other.remove(&earliest, u64::MAX), store, release);
    assert_eq!((removed.expect("removed"), stored.expect("stored").stored), (1, 0));
    let seen = "select count(*), coalesce(sum(cardinality(s.events)), 0) from sighting s join relay r on r.k = s.relay";
    assert_eq!(shell(&url, &format!("{seen} where url = 'wss://second.example/'")), "1|1");
    assert_eq!(shell(&url, "select events from relay where url = 'wss://second.example/'"), "1");
    let stats = archive.stats().await.expect("stats");
    assert_eq!((stats.events, stats.sightings), (1, 2));
    // When the relay gives it again, it is stored and seen, once.
    let again = Batch { relay: second, ..batch(vec![gone]) };
    assert_eq!(archive.store(again).await.expect("stored").stored, 1);
    assert_eq!(archive.stats().await.expect("stats").sightings, 3);
    archive.close().await;
}
