//! Counts, statistics, the public SQL shape, backups, and reopening.

use super::*;

pub(super) async fn lilbrotr_answers_counts(archive: Arc<dyn Archive>, url: String) {
    archive.close().await;
    let lil = Options { profile: Profile::Lilbrotr, search: true, ..Options::default() };
    let error = open(&url, lil).await.expect_err("another profile").to_string();
    assert!(error.contains("bigbrotr") && error.contains("lilbrotr"), "{error}");
    // As it would be made.
    if url.starts_with("sqlite:") {
        shell(&url, "update archive set profile = 'lilbrotr'");
    } else {
        shell(&url, "update archive set profile = null");
    }
    let archive = open(&url, lil).await.expect("opened");
    let one = event("a secret", vec![vec!["t", "x", "more"], vec!["long", "y"]], 3);
    archive.store(batch(vec![one.clone()])).await.expect("stored");
    let tagged = Filter::new().hashtag("x");
    assert_eq!(archive.count(std::slice::from_ref(&tagged), View::All, &[]).await.expect("counted"), 1);
    assert_eq!(archive.ids(&tagged, View::All).await.expect("ids"), [(one.event().id, 3)]);
    let error = archive.page(&tagged, View::All, None, 1).await.expect_err("nothing to give").to_string();
    assert!(error.contains("lilbrotr"), "{error}");
    let searched = [Filter::new().search("secret")];
    let error = archive.count(&searched, View::All, &[]).await.expect_err("no text").to_string();
    assert!(error.contains("lilbrotr"), "{error}");
    assert_eq!(sql_rows(&archive, "select count(*) from search").await, [[0]], "no words of the content either");
    let row = sql_rows(&archive, "select content, sig, tagvalues, tags from events").await.remove(0);
    assert_eq!((row[0].as_str(), row[1].is_null()), (Some(""), true));
    assert!(row[2].as_str().is_some_and(|values| values.contains("t:x")), "{row:?}");
    assert!(row[3].as_str().is_some_and(|tags| !tags.contains("more") && !tags.contains("long")), "{row:?}");
    archive.remove(&tagged, u64::MAX).await.expect("removed");
    assert_eq!(archive.stats().await.expect("stats").events, 0);
}

pub(super) async fn it_serves_as_the_database_of_rust_nostr(archive: Arc<dyn Archive>, _: String) {
    use nostr_database::NostrDatabase;
    let db = NostrArchive::new(archive.clone(), View::All);
    let keys = Keys::generate();
    let events: Vec<_> = (0..5_u64)
        .map(|i| {
            EventBuilder::text_note(i.to_string())
                .custom_created_at(Timestamp::from(i))
                .sign_with_keys(&keys)
                .expect("signed")
        })
        .collect();
    archive
        .store(batch(events.iter().map(|event| Event::from(event).verify().expect("verified")).collect()))
        .await
        .expect("stored");
    assert_eq!(db.count(Filter::new()).await.expect("counted"), 5);
    let newest = db.query(Filter::new().author(keys.public_key()).limit(2)).await.expect("queried").to_vec();
    assert_eq!(newest, [events[4].clone(), events[3].clone()]);
    assert_eq!(db.event_by_id(&events[1].id).await.expect("read").as_ref(), Some(&events[1]));
    let items = db.negentropy_items(Filter::new()).await.expect("items");
    assert_eq!(items, events.iter().map(|e| (e.id, e.created_at)).collect::<Vec<_>>());
    // A client saves whatever its relays send.
    let other = EventBuilder::text_note("unasked").sign_with_keys(&keys).expect("signed");
    assert!(!db.save_event(&other).await.expect("answered").is_success());
    assert!(db.delete(Filter::new()).await.is_err() && db.wipe().await.is_err());
    assert_eq!(archive.stats().await.expect("stats").events, 5);
}

pub(super) async fn statistics_equal_a_count(archive: Arc<dyn Archive>, _: String) {
    assert_eq!(archive.stats().await.expect("stats").events, 0, "an empty archive has statistics too");
    archive.store(batch((0..4).map(|i| event("x", vec![], i)).collect())).await.expect("stored");
    let stats = archive.stats().await.expect("stats");
    assert_eq!((stats.events, stats.sightings, stats.pubkeys), (4, 4, 4));
    assert_eq!(stats.kinds, BTreeMap::from([(1, 4)]));
    assert_eq!(stats.relays, BTreeMap::from([("new".to_owned(), 1)]));
    assert!(stats.disk_bytes > 0);
}

pub(super) async fn the_public_views_exist(archive: Arc<dyn Archive>, url: String) {
    let one = event("seen", vec![vec!["t", "x"], vec!["long", "y"], vec!["p"]], 3);
    archive.store(batch(vec![one])).await.expect("stored");
    let statements = [
        "select url, network, discovered_at from relays",
        "select id, pubkey, created_at, kind, tags, tagvalues, content, sig from events",
        "select event_id, relay_url, seen_at from events_relays",
        "select event_id, relay_url, seen_at, missed_at from events_relays_lost",
        "select id, data from nip11",
        "select id, data from nip66",
        "select relay_url, generated_at, type, metadata_id from relay_metadata",
        "select relay_url, generated_at, type, metadata_id from relay_metadata_latest",
        "select service_name, state_type, state_key, state_value from service_state",
        "select relay_url, checked_at, up, rtt_open_ms, rtt_read_ms, rtt_write_ms, dns_ttl from relay_checks",
        "select relay_url, checks, up, first_checked_at, last_checked_at, uptime from relay_uptime",
        "select relay_url, changed_at, up from relay_changes",
        "select relay_url, phase, measured, p50_ms, p90_ms from relay_rtt",
        "select relay_url, class, measured_at, proven_since, since, authors, events, held, lost from relay_retention",
        "select * from events_statistics",
        "select * from relays_statistics",
        "select * from kind_counts_total",
        "select * from pubkey_counts_total",
    ];
    for sql in statements {
        let found = sql_rows(&archive, sql).await;
        // SQLite's own shell lacks the functions that `events` uses; it has `event_heads` instead.
        if !(url.starts_with("sqlite:") && sql.contains("from events")) || sql.contains("events_") {
            shell(&url, sql);
            // Counted by the shell: it prints keys as bytes, and a byte may be a line's end.
            let count = shell(&url, &format!("select count(*) from ({sql}) as s"));
            assert_eq!(count, found.len().to_string(), "{sql}");
        }
    }
    if url.starts_with("sqlite:") {
        assert_eq!(shell(&url, "select created_at, kind from event_heads"), "3|1");
        assert_eq!(sql_rows(&archive, "select tagvalues from events").await, [[r#"["t:x"]"#]]);
        assert_eq!(sql_rows(&archive, "select tags from events").await, [[r#"[["t","x"],["long","y"],["p"]]"#]]);
    } else {
        assert_eq!(sql_rows(&archive, "select tagvalues from events").await, [["{t:x}"]]);
        assert_eq!(shell(&url, "select tags from events"), r#"[["t", "x"], ["long", "y"], ["p"]]"#);
    }
    assert_eq!(sql_rows(&archive, "select content from events").await, [["seen"]]);
    assert_eq!(shell(&url, "select relay_url, seen_at from events_relays"), format!("{RELAY}|1700000000"));
    let (rows, _) = tokio::sync::mpsc::channel(1);
    assert!(archive.sql("delete from event", rows).await.is_err(), "nobody writes this way");
}

pub(super) async fn statements_only_read(archive: Arc<dyn Archive>, url: String) {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("written");
    archive.set_state("kept", "b", "c", "d").await.expect("set");
    let delete = "delete from service_state";
    let sqlite = [
        format!("select 1; {delete}"),
        delete.to_owned(),
        format!("{delete} returning 1"),
        format!("vacuum into '{}'", file.display()),
        format!("attach '{}' as other", file.display()),
        "pragma user_version = 99".into(),
        "pragma journal_mode = delete".into(),
        "pragma wal_checkpoint(truncate)".into(),
        "create temp table t (a)".into(),
        "begin".into(),
    ];
    let postgres = [
        format!("commit; {delete}"),
        format!("rollback; begin; {delete}; commit"),
        format!("select 1; commit; {delete}"),
        format!("set transaction read write; {delete}"),
        delete.to_owned(),
        format!("with gone as ({delete} returning 1) select * from gone"),
        format!("do $$ begin set transaction read write; {delete}; end $$"),
        format!("do $$ begin commit; {delete}; end $$"),
        "select nextval(pg_get_serial_sequence('relay', 'k'))".into(),
        "create temp table t (a int)".into(),
        "select 1; select 2".into(),
    ];
    let statements = if archive.backend() == "SQLite" { &sqlite[..] } else { &postgres[..] };
    for statement in statements {
        let (rows, _) = tokio::sync::mpsc::channel(10);
        archive.sql(statement, rows).await.expect_err(statement);
        assert_eq!(archive.state("kept", "b", "c").await.expect("read").as_deref(), Some("d"), "{statement}");
    }
    assert!(!file.exists());
    if archive.backend() != "SQLite" {
        // What ends the transaction by itself, or changes how the next one begins, does not help either.
        for statement in [
            "commit",
            "set transaction read write",
            "set default_transaction_read_only = off",
            "select set_config('transaction_read_only', 'off', false)",
        ] {
            let (rows, _) = tokio::sync::mpsc::channel(10);
            let _ = archive.sql(statement, rows).await;
            let (rows, _) = tokio::sync::mpsc::channel(10);
            archive.sql(delete, rows).await.expect_err(statement);
        }
        assert_eq!(shell(&url, "select count(*) from service_state"), "1");
    }
    assert_eq!(sql_rows(&archive, "select state_value from service_state;").await, [["d"]]);
    assert!(!sql_rows(&archive, "explain select 1").await.is_empty());
}

/// Events, spans and times of 0 are valid.
pub(super) async fn events_of_second_zero_are_stored(archive: Arc<dyn Archive>, _: String) {
    let first = event("first", vec![vec!["t", "x"]], 0);
    let claim = Covered { interval: Interval::new(0, 0).expect("in order"), method: Method::Paged, proven_at: 0 };
    archive
        .store(Batch {
            seen_at: 0,
            covered: vec![claim.clone()],
            ..batch(vec![first.clone(), event("second", vec![], 1)])
        })
        .await
        .expect("stored");
    let until = Filter::new().until(Timestamp::from(0));
    for filter in [
        until.clone(),
        until.clone().kind(Kind::TextNote),
        until.clone().hashtag("x"),
        until.clone().author(first.event().pubkey),
    ] {
        let found = archive.page(&filter, View::All, None, 9).await.expect("a page");
        assert_eq!(found, [first.event().clone()], "{filter:?}");
        assert_eq!(
            archive.count(std::slice::from_ref(&filter), View::Client { now: 0 }, &[]).await.expect("counted"),
            1,
            "{filter:?}"
        );
        assert_eq!(archive.ids(&filter, View::All).await.expect("ids"), [(first.event().id, 0)]);
    }
    let report = archive.coverage(Some(RELAY)).await.expect("a report").remove(0);
    assert_eq!(report.covered, [claim]);
    let check = CheckRecord { at: 0, state: RelayState::Up, ..CheckRecord::default() };
    archive.record_check(RELAY, Network::Clearnet, &check).await.expect("kept");
    assert_eq!(archive.progress(5).await.expect("read").lag, Some(5));
    assert_eq!(archive.visits(RELAY, 0, 9).await.expect("visits").len(), 1);
    assert_eq!(archive.remove(&until, 9).await.expect("removed"), 1);
    assert_eq!(all(&archive).await.len(), 1);
}

pub(super) async fn reopening_keeps_everything(archive: Arc<dyn Archive>, url: String) {
    archive.store(batch(vec![event("kept", vec![], 1)])).await.expect("stored");
    archive.set_state("finder", "cursor", "events", "41").await.expect("set");
    archive.set_state("finder", "cursor", "events", "42").await.expect("set");
    archive.close().await;
    drop(archive);
    let again = open(&url, Options::default()).await.expect("opened again");
    assert_eq!(all(&again).await.len(), 1);
    assert_eq!(again.state("finder", "cursor", "events").await.expect("read").as_deref(), Some("42"));
    again.ping().await.expect("answers");
}

pub(super) async fn a_backup_is_complete(archive: Arc<dyn Archive>, url: String) {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("backup");
    let events: Vec<_> = (0..300).map(|i| event(&format!("{i} \0"), vec![vec!["t", "x"]], i)).collect();
    archive.store(batch(events[..200].to_vec())).await.expect("stored");
    // Others write meanwhile.
    let (made, stored) = tokio::join!(archive.backup(&file), archive.store(batch(events[200..].to_vec())));
    stored.expect("stored");
    let counts = made.expect("written");
    assert!(counts.events == 200 || counts.events == 300, "{counts:?}");
    let again = archive.backup(&file).await.expect_err("there already").to_string();
    assert!(again.contains("is there already"), "{again}");
    let second = dir.path().join("second");
    let counts = archive.backup(&second).await.expect("written");
    assert_eq!(counts, Counts { events: 300, sightings: 300, relays: 1 });
    let target = if url.starts_with("sqlite:") {
        format!("sqlite://{}", dir.path().join("restored/brotr.db").display())
    } else {
        shell(&url, "create database restored");
        url.replace("a_backup_is_complete", "restored")
    };
    let broken = dir.path().join("broken");
    let bytes = std::fs::read(&second).expect("read");
    std::fs::write(&broken, &bytes[..bytes.len() / 2]).expect("written");
    restore(&target, &broken).await.expect_err("half of it");
    assert_eq!(restore(&target, &second).await.expect("restored"), counts);
    restore(&target, &second).await.expect_err("no second time");
    let restored = open(&target, Options::default()).await.expect("opened");
    assert_eq!(all(&restored).await, all(&archive).await);
    assert_eq!(restored.coverage(None).await.expect("coverage"), archive.coverage(None).await.expect("coverage"));
    restored.store(batch(vec![event("it goes on", vec![], 5)])).await.expect("stored");
    exact::exact(&restored).await;
    restored.close().await;
}

pub(super) async fn a_newer_database_is_refused(archive: Arc<dyn Archive>, url: String) {
    archive.close().await;
    let columns = "description, installed_on, success, checksum, execution_time";
    let postgres = format!(
        "insert into _sqlx_migrations (version, {columns}) select 9999, {columns} from _sqlx_migrations limit 1"
    );
    shell(&url, if url.starts_with("sqlite:") { "pragma user_version = 9999" } else { &postgres });
    let error = open(&url, Options::default()).await.expect_err("newer").to_string();
    assert!(error.contains("9999") && error.contains("upgrade brotr"), "{error}");
}

pub(crate) async fn a_backup_through_a_pooler_is_refused() {
    // pg_dump would set what a connection keeps, and the next client would have it.
    let server = brotr_tests::Postgres::start().expect("PostgreSQL started");
    let bouncer = brotr_tests::Bouncer::start(&server).expect("pgbouncer started");
    server.database("pooled").expect("a database");
    let archive = open(&bouncer.url("pooled"), Options::default()).await.expect("opened");
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("backup");
    let error = archive.backup(&file).await.expect_err("refused").to_string();
    assert!(error.contains("pooler") && !file.exists(), "{error}");
    let direct = open(&server.url("pooled"), Options::default()).await.expect("opened");
    direct.backup(&file).await.expect("written");
    server.database("restored").expect("a database");
    let error = restore(&bouncer.url("restored"), &file).await.expect_err("refused").to_string();
    assert!(error.contains("pooler"), "{error}");
    restore(&server.url("restored"), &file).await.expect("restored");
}

pub(crate) async fn client_queries_use_the_replica() {
    let server = brotr_tests::Postgres::start().expect("PostgreSQL started");
    let url = server.database("archive").expect("a database");
    open(&url, Options::default()).await.expect("opened").close().await;
    let follower = server.follower().expect("a second server");
    let follower_url = follower.url("archive");
    let archive = open_with_replica(&url, &follower_url, Options::default()).await.expect("opened");
    archive.store(batch((0..50).map(|i| event(&i.to_string(), vec![], i)).collect())).await.expect("stored");
    let soon = std::time::Duration::from_secs(20);
    let asked =
        async || with_time_limit(soon, archive.page(&Filter::new(), View::All, None, 100)).await.expect("a page").len();
    let end = std::time::Instant::now() + std::time::Duration::from_secs(60);
    while asked().await < 50 {
        assert!(std::time::Instant::now() < end, "what is stored gets there");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    // From then on it follows no longer: others see what it had, the agent itself what there is.
    shell(&follower.url("archive"), "select pg_wal_replay_pause()");
    archive.store(batch((50..60).map(|i| event(&i.to_string(), vec![], i)).collect())).await.expect("stored");
    assert_eq!((asked().await, all(&archive).await.len()), (50, 60));
    assert_eq!(with_time_limit(soon, archive.count(&[Filter::new()], View::All, &[])).await.expect("counted"), 50);
    // And when it is away, the main one answers all.
    drop(follower);
    let began = std::time::Instant::now();
    assert_eq!(futures::future::join_all((0..8).map(|_| asked())).await, [60; 8]);
    assert!(began.elapsed() < soon, "nobody waits long for what is not there: {:?}", began.elapsed());
    archive.close().await;
    let archive = open_with_replica(&url, &follower_url, Options::default()).await.expect("opened all the same");
    assert_eq!(with_time_limit(soon, archive.count(&[Filter::new()], View::All, &[])).await.expect("counted"), 60);
}

pub(crate) async fn an_archive_that_cannot_be_opened_is_named() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("not-a-database");
    std::fs::write(
        &file,
        "this is not a database, though long enough to be read as the header of one, is it not?".repeat(9),
    )
    .expect("written");
    let error =
        open(&format!("sqlite://{}", file.display()), Options::default()).await.expect_err("no database").to_string();
    assert!(error.contains("not-a-database"), "{error}");
    let error =
        open("postgres://u:secret@127.0.0.1:1/db", Options::default()).await.expect_err("nobody there").to_string();
    assert!(error.contains("127.0.0.1:1") && !error.contains("secret"), "{error}");
    assert!(matches!(open("mysql://x", Options::default()).await, Err(StorageError::Scheme)));
}

pub(super) async fn a_statement_ends_when_nobody_reads_its_rows(archive: Arc<dyn Archive>, _: String) {
    let (sender, rows) = tokio::sync::mpsc::channel(10);
    let endless = "with recursive n(i) as (select 1 union all select i + 1 from n where i > 0) select count(*) from n where i < 0";
    let running = archive.sql(endless, sender);
    let leave = async {
        // It runs by then; SQLite has given the names of the columns.
        tokio::time::sleep(std::time::Duration::from_millis(300)).await;
        drop(rows);
    };
    let ended = async { tokio::join!(running, leave).0 };
    let ended = tokio::time::timeout(std::time::Duration::from_secs(60), ended).await.expect("it ends");
    ended.expect_err("it was cancelled");
    assert_eq!(sql_rows(&archive, "select 1").await, [[1]], "the connection is as good as new");
}
