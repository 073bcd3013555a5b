//! Plans of PostgreSQL's statements on the ingest path, on tables of a size at which a wrong plan is expensive.

use super::*;

/// Tables that grow with the archive.
const LARGE: [&str; 10] =
    ["event", "author", "sighting", "slot", "deletion", "hidden", "search", "arrival", "lost", "relay"];

/// The most rows that a scan or join may read for a page of 500 events: eleven per event.
const MOST: f64 = 5_500.0;

/// The most members of sets that it may read.
const MEMBERS: f64 = 35_000.0;

/// 300,000 events by 20,000 authors, all of them seen on the first relay in no order of time, some hidden, deleted or indexed.
const FILL: &str = "
insert into relay (url, network, discovered_at) select 'wss://r' || n || '.example/', 'clearnet', 0 from generate_series(1, 20000) n;
insert into author (pubkey, events, kinds) select sha256(int4send(n)), 15, 1 from generate_series(1, 20000) n;
create temp table made as
select n, sha256(int8send(n)) as id, 1600000000 + (n * 7919) % 100000000 as created_at from generate_series(1, 300000::bigint) n;
insert into event (k, created_at, author, kind, id, sig, tags, content, tagkeys)
select ('x' || encode(substr(id, 1, 8), 'hex'))::bit(64)::bigint, created_at, 1 + n % 20000, 1, id, id || id, '\\x00', 'text',
       array[n % 50000, n % 7] from made;
insert into sighting (relay, seen_at, since, until, events)
select 1, 1, min(created_at), max(created_at), array_agg(event.k)
  from made join event using (id, created_at) group by n / 500;
insert into arrival (events) select array_agg(event.k) from made join event using (id) group by n / 500;
insert into slot (key, event, created_at, id) select n, n, n, int8send(n) from generate_series(1, 200000::bigint) n;
insert into deletion select n from generate_series(1, 100000) n;
insert into hidden select k, 'deleted', 0 from event limit 50000;
insert into search select k, to_tsvector('simple', 'text') from event limit 100000;
insert into lost select k, 2, 1, 1 from event limit 50000;
update archive set events = 300000, pubkeys = 20000, sightings = 300000;
update relay set events = 300000 where k = 1;
insert into kind values (1, 300000, 20000);
";

/// Returns the scans and joins of all plans in a log of auto_explain: the table, the method, and the number of rows read.
fn scans(log: &str) -> Vec<(String, String, f64)> {
    fn collect(plan: &serde_json::Value, text: &str, scans: &mut Vec<(String, String, f64)>) {
        let number = |name: &str| plan[name].as_f64().unwrap_or_default();
        let removed = ["Filter", "Join Filter", "Index Recheck"].map(|by| number(&format!("Rows Removed by {by}")));
        let is_scan = plan["Node Type"].as_str().is_some_and(|name| name.ends_with("Scan"));
        let given = if is_scan { number("Actual Rows") } else { 0.0 };
        let read = given + removed.iter().sum::<f64>();
        let how = format!("{} in {text}", plan["Node Type"]);
        scans.push((plan["Relation Name"].as_str().unwrap_or("a join").to_owned(), how, read * number("Actual Loops")));
        for part in plan["Plans"].as_array().into_iter().flatten() {
            collect(part, text, scans);
        }
    }
    let mut found = Vec::new();
    let mut lines = log.lines();
    while let Some(line) = lines.by_ref().find(|line| line.ends_with("plan:")) {
        let json: String = lines.by_ref().take_while(|line| line.starts_with('\t') && *line != "\t}").collect();
        let plan: serde_json::Value = serde_json::from_str(&format!("{json}}}")).expect(line);
        collect(&plan["Plan"], plan["Query Text"].as_str().expect("a statement"), &mut found);
    }
    found
}

/// A server that logs the plan of each statement, and the URL of a filled archive on it.
async fn filled() -> (brotr_tests::Postgres, String) {
    let server = brotr_tests::Postgres::start_with(&[
        "shared_preload_libraries=auto_explain",
        "auto_explain.log_min_duration=0",
        "auto_explain.log_analyze=on",
        "auto_explain.log_timing=off",
        "auto_explain.log_format=json",
        "autovacuum=off",
    ])
    .expect("PostgreSQL started");
    let url = server.database("plans").expect("a database");
    open(&url, Options::default()).await.expect("opened").close().await;
    shell(&url, FILL);
    (server, url)
}

/// Statements over the views, and the most rows that a scan or join may read.
const ASKED: [(&str, f64); 14] = [
    ("select * from events where id = int8send(0)", 2.0),
    ("select * from events where pubkey = sha256(int4send(7))", 20.0),
    ("select count(*) from events where created_at between 1600000000 and 1600010000", 100.0),
    ("select count(*) from events where kind = 7", 2.0),
    ("select * from events_tagged('t', 'rare')", 10.0),
    ("select * from events_relays where event_id = sha256(int8send(77::bigint))", 1_000.0),
    ("select count(*) from events_on('wss://r2.example/')", 1_000.0),
    ("select count(*) from events_on('wss://r1.example/')", 300_000.0),
    ("select count(*) from events_relays where relay_url = 'wss://r1.example/'", 310_000.0),
    ("select * from event_tags where event_id = sha256(int8send(77::bigint))", 10.0),
    ("select * from relay_info where relay_url = 'wss://r2.example/'", 2.0),
    ("select * from relay_checks where relay_url = 'wss://r2.example/'", 20.0),
    ("select * from relay_coverage where relay_url = 'wss://r2.example/'", 20.0),
    ("select * from relay_gaps where relay_url = 'wss://r2.example/'", 20.0),
];

/// 20 checks of each of 2,000 relays, and their coverage.
const CHECKED: &str = "
insert into document (id, type, data) select sha256(int4send(n)), 'nip11', '{\"name\":\"' || n || '\"}' from generate_series(1, 2000) n;
insert into visit (at, relay, nip11, nip66, up)
select at, n, 1 + n % 2000, 1 + at % 2000, true from generate_series(1, 2000) n, generate_series(1, 20) at;
insert into coverage select n, '{}', at * 10, at * 10 + 5, 'paged', 1 from generate_series(1, 2000) n, generate_series(1, 20) at;
insert into gap select n, '{}', at * 10 + 6, at * 10 + 7, 'closed', 1, 1 from generate_series(1, 2000) n, generate_series(1, 20) at;
insert into sighting (relay, seen_at, since, until, events)
select 2, 2, 1600000000, 1700000000, array_agg(k) from (select k from event limit 1000) e group by k % 3;
";

pub(crate) async fn views_are_read_by_their_indexes() {
    let (server, url) = filled().await;
    shell(&url, CHECKED);
    shell(&url, "analyze");
    for (sql, most) in ASKED {
        let from = server.log().expect("a log").len();
        shell(&url, sql);
        let scans = scans(&server.log().expect("a log")[from..]);
        assert!(!scans.is_empty(), "{sql}");
        for (table, how, read) in scans.into_iter().filter(|(_, how, _)| !how.contains("\"Function Scan\"")) {
            assert!(read <= most, "{read} rows of {table} by {how}");
        }
    }
}

pub(crate) async fn storing_reads_no_more_than_what_it_stores() {
    let (server, url) = filled().await;
    for analyzed in [false, true] {
        if analyzed {
            shell(&url, "analyze");
        }
        let archive = open(&url, Options::default()).await.expect("opened");
        let from = server.log().expect("a log").len();
        // More rounds than PostgreSQL tries plans for the values before it makes one for any values.
        for round in 0..8 {
            store_page(&archive, (i64::from(analyzed) * 8 + round) * 500).await;
        }
        archive.remove(&Filter::new().until(Timestamp::from(1_600_002_000)), 50).await.expect("removed");
        archive.close().await;
        let log = server.log().expect("a log");
        let scans = scans(&log[from..]);
        assert!(scans.len() > 100, "the plans are in the log: {}", scans.len());
        for (table, how, read) in scans {
            let is_walked = how.contains("\"Seq Scan\"") && LARGE.contains(&table.as_str());
            let most = if how.contains("\"Function Scan\"") { MEMBERS } else { MOST };
            assert!(!is_walked && read <= most, "analyzed {analyzed}: {read} rows of {table} by {how}");
        }
    }
}

/// Stores events of all kinds and sightings of 450 known ones, as if a relay returned them in no order.
async fn store_page(archive: &Arc<dyn Archive>, n: i64) {
    let known = |n: i64| {
        let id: [u8; 32] = <sha2::Sha256 as sha2::Digest>::digest(n.to_be_bytes()).into();
        nostr::EventId::from_byte_array(id)
    };
    let keys = Keys::generate();
    let signed = |kind: u16, tags: Vec<Tag>| {
        let at = Timestamp::from(1_600_000_000 + n as u64);
        let event = EventBuilder::new(Kind::from(kind), "some text").tags(tags).custom_created_at(at);
        Event::from_json(&nostr::JsonUtil::as_json(&event.sign_with_keys(&keys).expect("signed")))
            .expect("an event")
            .verify()
            .expect("signed")
    };
    let named = Tag::parse(["e", &known(n + 1).to_hex()]).expect("a tag");
    let topic = Tag::parse(["t", "topic"]).expect("a tag");
    let events = vec![
        signed(1, vec![topic.clone()]),
        signed(0, vec![]),
        signed(5, vec![named]),
        signed(30023, vec![Tag::identifier("d"), topic]),
        signed(62, vec![Tag::parse(["relay", "ALL_RELAYS"]).expect("a tag")]),
    ];
    let batch = |relay: &str| Batch {
        relay: Some((relay.to_owned(), Network::Clearnet)),
        seen_at: 2_000_000_000,
        events: events.clone(),
        known: (1..=450).map(|i| known(n + i)).collect(),
        gone: vec![known(n + 3)],
        ..Batch::default()
    };
    let ids: Vec<_> = (1..=500).map(|i| known(n + i)).collect();
    assert_eq!(archive.known(&ids).await.expect("looked up").len(), 500);
    archive.store(batch("wss://r1.example/")).await.expect("stored");
    archive.store(batch("wss://r2.example/")).await.expect("stored");
    archive.store(Batch { gone: vec![], ..batch("wss://r2.example/") }).await.expect("stored again");
}

pub(crate) async fn clients_are_answered_by_their_indexes() {
    let (server, url) = filled().await;
    for analyzed in [false, true] {
        if analyzed {
            shell(&url, "analyze");
        }
        let archive = open(&url, Options::default()).await.expect("opened");
        let notes = Filter::new().kind(Kind::TextNote);
        for limit in [3, 100] {
            let from = server.log().expect("a log").len();
            let view = View::Client { now: now() };
            assert_eq!(archive.page(&notes, view, None, limit).await.expect("a page").len(), limit);
            archive.count(std::slice::from_ref(&notes), view, &[]).await.expect("a count");
            for (table, how, read) in scans(&server.log().expect("a log")[from..]) {
                assert!(read <= (64 + 4 * limit) as f64, "analyzed {analyzed}: {read} rows of {table} by {how}");
            }
        }
        archive.close().await;
    }
}
