//! The views for researchers, and the questions of `docs/RESEARCH.md`.

use super::*;

const RESEARCH: &str = include_str!("../../../docs/RESEARCH.md");

/// Returns the statements of the document for a backend.
fn questions(backend: &str) -> Vec<&'static str> {
    let blocks = RESEARCH.split("```sql").skip(1).map(|rest| rest.split("```").next().expect("a block"));
    blocks
        .filter_map(|block| block.split_once('\n'))
        .filter(|(of, _)| ["", backend].contains(&of.trim()))
        .map(|(_, sql)| sql.trim())
        .collect()
}

fn relay(n: usize) -> String {
    format!("wss://r{n}.example/")
}

/// Stores three relays, of which the second is down and the third has a strange document; and events on one, two and three of
/// them.
async fn fill(archive: &Arc<dyn Archive>) {
    let documents = [
        r#"{"name":"one","software":"strfry","version":"1.1.0","supported_nips":[1,42],
            "limitation":{"max_limit":500,"auth_required":false,"restricted_writes":true}}"#,
        r#"{"name":"two","software":"strfry","version":"1.0","supported_nips":[1]}"#,
        r#"{"name":7,"software":"a\u0000b\u0000 \\u0000 \\\u0000","supported_nips":["1",null],
            "limitation":{"max_limit":"many","max_subscriptions":1e300,"auth_required":1}}"#,
    ];
    for (n, document) in documents.iter().enumerate() {
        let up = n != 1;
        let failure = if up { "null" } else { "\"refused\"" };
        let check = CheckRecord {
            at: now() - 100,
            state: if up { RelayState::Up } else { RelayState::Down },
            nip11: Some((*document).to_owned()),
            nip66: format!(
                r#"{{"up":{up},"failure":{failure},"geo":{{"country":"CH","city":"Bern"}},"net":{{"asn":64500,"organisation":"Example"}}}}"#
            ),
            ..CheckRecord::default()
        };
        archive.record_check(&relay(n), Network::Clearnet, &check).await.expect("kept");
        let events = (0..=n as i64).map(known).collect();
        let covered =
            vec![Covered { interval: Interval { since: 0, until: 86_399 }, method: Method::Paged, proven_at: 7 }];
        let gaps = vec![Gap {
            interval: Interval { since: 100_000, until: 100_001 },
            reason: GapReason::DenseSecond,
            count: Some(3),
            tried_at: 7,
        }];
        let batch = Batch { relay: Some((relay(n), Network::Clearnet)), covered, gaps, ..batch(events) };
        archive.store(batch).await.expect("stored");
    }
    archive.register_agent(&known(0).event().pubkey, 5).await.expect("registered");
    archive.register_agent(&known(0).event().pubkey, 9).await.expect("registered");
}

/// Returns the same event each time.
fn known(n: i64) -> Verified {
    static EVENTS: std::sync::OnceLock<Vec<Verified>> = std::sync::OnceLock::new();
    let made = || (0..3).map(|i| event("a note", vec![vec!["t", "nostr"], vec!["e"]], 1_700_000_000 + i)).collect();
    EVENTS.get_or_init(made)[n as usize].clone()
}

pub(super) async fn the_statements_of_research_md_run(archive: Arc<dyn Archive>, url: String) {
    fill(&archive).await;
    let backend = if url.starts_with("sqlite:") { "sqlite" } else { "postgres" };
    let mut asked = questions(backend);
    assert!(asked.len() >= 11, "{}", asked.len());
    // Where the archive is distributed, sightings are not joined with what is known of their events.
    if backend == "postgres" && shell(&url, "select to_regclass('pair') is not null") == "t" {
        asked.retain(|sql| !["a.created_at", "pubkey", "events_tagged"].iter().any(|part| sql.contains(part)));
    }
    for sql in &asked {
        let sql = sql.replace("wss://relay.example/", &relay(0));
        assert!(!sql_rows(&archive, &sql).await.is_empty(), "{sql}");
    }
    let rows = async |sql: &str| -> Vec<String> {
        let rows = sql_rows(&archive, sql).await;
        rows.iter()
            .map(|row| {
                row.iter()
                    .map(|v| v.as_str().map_or_else(|| v.to_string(), str::to_owned))
                    .collect::<Vec<_>>()
                    .join("|")
            })
            .collect()
    };
    let about = "select name, software, max_limit, max_subscriptions is null, auth_required, restricted_writes, country, asn, failure from relay_info order by relay_url";
    let truth = if backend == "sqlite" { ["0", "1"] } else { ["false", "true"] };
    let found = rows(about).await;
    assert_eq!(found[0], format!("one|strfry|500|{}|0|1|CH|64500|null", truth[1]));
    assert_eq!(found[1], format!("two|strfry|null|{}|null|null|CH|64500|refused", truth[1]));
    let nul = if backend == "sqlite" { '\0' } else { '\u{FFFD}' };
    assert_eq!(found[2], format!("null|a{nul}b{nul} \\u0000 \\{nul}|null|{}|null|null|CH|64500|null", truth[0]));
    assert_eq!(
        rows("select nip, count(*) from relay_nips where nip is not null group by nip order by nip").await,
        ["1|3", "42|1"]
    );
    assert_eq!(
        rows("select failure, count(*) from relay_checks group by failure order by 2").await,
        ["refused|1", "null|2"]
    );
    let spans = "select relay_url, filter, since, until, method from relay_coverage order by 1 limit 1";
    assert_eq!(rows(spans).await, [format!("{}|{{}}|0|86399|paged", relay(0))]);
    let gaps = "select relay_url, filter, since, until, reason, count from relay_gaps order by 1 limit 1";
    assert_eq!(rows(gaps).await, [format!("{}|{{}}|100000|100001|dense second|3", relay(0))]);
    let notes = r#"{"measured_at":7,"classes":[{"class":"notes","proven_since":null,"since":5,"authors":1,"events":9,"held":8,"lost":1}]}"#;
    for (url, value) in [(relay(0), notes), (relay(1), ""), (relay(2), "{}")] {
        archive.set_state("synchronizer", "retention", &url, value).await.expect("stored");
    }
    let kept =
        "select relay_url, class, measured_at, proven_since, since, authors, events, held, lost from relay_retention";
    assert_eq!(rows(kept).await, [format!("{}|notes|7|null|5|1|9|8|1", relay(0))]);
    let tags = "select place, name, value, count(*) from event_tags group by place, name, value order by place";
    assert_eq!(rows(tags).await, ["0|t|nostr|3", "1|e|null|3"]);
    assert_eq!(rows("select since, seen_at from agents").await, ["5|9"]);
    // The third question, in full: of three events one is on one relay only.
    let alone = asked.iter().find(|sql| sql.contains("on_one_relay")).expect("asked");
    assert_eq!(rows(alone).await[0].split('|').take(2).collect::<Vec<_>>(), ["3", "1"]);
    // What needs no function of the program's works in everybody's shell.
    for sql in asked
        .iter()
        .filter(|sql| backend == "postgres" || !(sql.contains("from events\n") || sql.contains("event_tags")))
    {
        let sql = sql.replace("wss://relay.example/", &relay(0));
        assert!(!shell(&url, &sql).is_empty(), "{sql}");
    }
}
