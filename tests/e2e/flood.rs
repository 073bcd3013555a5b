//! Ten thousand requests that nobody should have sent, and two customers who are answered all the same.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use brotr_tests::{Signal, events};
use futures::{SinkExt, StreamExt};
use nostr::{Event, EventBuilder, JsonUtil, Keys, Kind, Tag, TagKind, Timestamp};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

use super::main_job::{Client, relay};
use super::program::{Daemon, Place, soon};

/// What each row of the table sends.
fn junk(agent: &Keys) -> Vec<(&'static str, Vec<Event>)> {
    let tag = |name: &str, values: &[&str]| Tag::custom(TagKind::custom(name), values.iter().copied());
    let keys: Vec<Keys> = (0..100).map(|_| Keys::generate()).collect();
    let from = |i: usize| &keys[i % keys.len()];
    let job = |kind: u16, content: &str, i: usize| {
        EventBuilder::new(Kind::from(kind), content).tag(tag("nonce", &[&i.to_string()]))
    };
    let sign = |builder: EventBuilder, by: &Keys| builder.sign_with_keys(by).expect("signed");
    let many = |n: usize, make: &dyn Fn(usize) -> Event| (0..n).map(make).collect::<Vec<_>>();
    let (loud, other) = (Keys::generate(), Keys::generate().public_key());
    let deep = format!("{}1{}", "[".repeat(500), "]".repeat(500));
    vec![
        ("one who asks without end", many(2_000, &|i| sign(job(5_400, "", i), &loud))),
        ("a new key for each request", many(3_000, &|i| sign(job(5_400, "", i), &Keys::generate()))),
        ("addressed to another", many(500, &|i| sign(job(5_400, "", i).tag(Tag::public_key(other)), from(i)))),
        (
            "two hours old",
            many(500, &|i| sign(job(5_400, "", i).custom_created_at(Timestamp::now() - 7_200_u64), from(i))),
        ),
        ("filters that are none", many(500, &|i| sign(job(5_400, r#"{"kindz":[1]}"#, i), from(i)))),
        ("brackets without end", many(500, &|i| sign(job(5_400, &deep, i), from(i)))),
        (
            "secrets that are none",
            many(500, &|i| {
                sign(job(5_302, "AAAA", i).tags([tag("encrypted", &[]), Tag::public_key(agent.public_key())]), from(i))
            }),
        ),
        (
            "searches for everything",
            many(500, &|i| {
                sign(
                    job(5_302, "", i).tags([tag("i", &["event says"]), tag("param", &["max_results", "500"])]),
                    from(i),
                )
            }),
        ),
        (
            "groups of everything",
            many(500, &|i| {
                sign(
                    job(5_400, "", i).tags([tag("param", &["group", "content"]), tag("param", &["group", "t"])]),
                    from(i),
                )
            }),
        ),
        (
            "results of jobs that never were",
            many(1_000, &|i| {
                let tags = (0..90).map(|n| tag("i", &[&format!("{:064x}", i * 100 + n), "job"]));
                sign(job(5_400, "", i).tags(tags), from(i))
            }),
        ),
        ("sixty kilobytes of nothing", many(100, &|i| sign(job(5_302, &"x".repeat(60_000), i), from(i)))),
        (
            "deletions of jobs that never were",
            many(400, &|i| {
                let id = nostr::EventId::from_byte_array([i as u8; 32]);
                let builder = EventBuilder::new(Kind::EventDeletion, "").tags([Tag::event(id), tag("k", &["5400"])]);
                sign(builder.tag(tag("nonce", &[&i.to_string()])), from(i))
            }),
        ),
    ]
}

/// Sends all, at a pace of which all are through in so many seconds.
async fn pour(url: &str, events: Vec<Event>, seconds: u32) {
    let (mut sink, mut source) = tokio_tungstenite::connect_async(url).await.expect("connected").0.split();
    let count = events.len();
    let send = async {
        let mut pace = tokio::time::interval(Duration::from_secs(seconds.into()) / u32::try_from(count).expect("few"));
        for event in events {
            pace.tick().await;
            sink.send(Message::text(json!(["EVENT", event]).to_string())).await.expect("sent");
        }
    };
    let hear = async {
        let mut heard = 0;
        while heard < count {
            let message = source.next().await.expect("open").expect("sound");
            heard += usize::from(message.to_text().is_ok_and(|text| text.starts_with("[\"OK\"")));
        }
    };
    tokio::join!(send, hear);
}

/// How long a request may stay unheard before it is sent again.
const UNHEARD: Duration = Duration::from_secs(15);

/// Asks, and waits for the result. The relay of these tests drops what a subscriber is more than 1,024 events behind on, so a request
/// that the agent never received is sent again, and the time counts from there.
async fn ask(client: &mut Client, customer: &Keys, daemon: &Daemon<'_>) -> Duration {
    for _ in 0..8 {
        let builder = EventBuilder::new(Kind::from(5_400), r#"{"kinds":[7]}"#);
        let nonce = Keys::generate().public_key().to_hex();
        let request = builder.tag(Tag::custom(TagKind::custom("nonce"), [nonce]));
        let request = request.sign_with_keys(customer).expect("signed");
        let asked = Instant::now();
        client.publish(&request).await;
        let result = async |client: &mut Client| {
            let found = client.fetch(json!({"kinds": [6_400], "#e": [request.id]})).await.pop()?;
            assert_eq!(found.content, "500");
            Some(asked.elapsed())
        };
        while asked.elapsed() < UNHEARD {
            if let Some(took) = result(client).await {
                return took;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        if daemon.log().contains(&request.id.to_hex()) {
            return soon(60, "result", async || result(client).await).await;
        }
    }
    panic!("the agent received none of eight requests");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_requests_does_not_delay_regular_customers() {
    let stored = events::signed(2_000, 1_600_000_000);
    let (relay, url) = relay(&[]).await;
    let place = Place::with(&format!("storage: {{search: true, min_free: 1 MiB}}\ndvm: {{relays: [\"{url}\"]}}"));
    let text = std::fs::read_to_string(place.path().join("brotr.yaml")).expect("there");
    place.write("brotr.yaml", &text.replacen("storage: {min_free: 1 MiB}\n", "", 1));
    place.run(&["keys", "generate"]).ok();
    let lines: String = stored.iter().map(|event| event.as_json() + "\n").collect();
    place.write("events.jsonl", &lines);
    place.run(&["import", "events.jsonl"]).ok();
    let secret = place.run(&["keys", "show", "--secret", "--json"]).ok().json();
    let agent = Keys::parse(secret[0]["nsec"].as_str().expect("a key")).expect("a key");
    let rows = junk(&agent);
    let sent: BTreeMap<&str, (usize, Vec<String>)> = rows
        .iter()
        .map(|(name, events)| (*name, (events.len(), events.iter().map(|event| event.id.to_hex()).collect())))
        .collect();
    assert_eq!(rows.iter().map(|(_, events)| events.len()).sum::<usize>(), 10_000);
    let daemon = place.daemon();
    let (known, newcomer) = (Keys::generate(), Keys::generate());
    let mut client = Client::connect(&url).await;
    let mut quiet = Vec::new();
    for _ in 0..5 {
        quiet.push(ask(&mut client, &known, &daemon).await);
    }
    quiet.sort_unstable();
    let quiet = quiet[quiet.len() / 2];

    let began = Instant::now();
    let pouring = rows.into_iter().map(|(_, events)| pour(&url, events, 15));
    let pouring = futures::future::join_all(pouring);
    // Somebody who never asked before waits with the others who never did.
    let mut waits = Client::connect(&url).await;
    let newcomer = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        ask(&mut waits, &newcomer, &daemon).await
    };
    let honest = async {
        let mut took = Vec::new();
        for _ in 0..20 {
            tokio::time::sleep(Duration::from_millis(700)).await;
            took.push(ask(&mut client, &known, &daemon).await);
        }
        took.sort_unstable();
        took
    };
    let (_, took, new) = tokio::join!(pouring, honest, newcomer);
    let poured = began.elapsed();
    let (median, worst) = (took[took.len() / 2], took[took.len() - 1]);
    // Relay, agent and the flood itself share the machine, so a slow one slows all of them. Behind the requests that came before,
    // a customer would wait for as long as it takes to work them off.
    assert!(median < quiet * 60, "p50 {median:?}, without the flood {quiet:?}: {took:?}");
    assert!(worst < poured / 2, "worst {worst:?} of {poured:?}: {took:?}");

    let jobs = place.run(&["dvm", "list", "--limit", "20000", "--json"]).ok().json();
    let status: BTreeMap<&str, &str> =
        jobs.iter().filter_map(|job: &Value| Some((job["id"].as_str()?, job["status"].as_str()?))).collect();
    eprintln!("| what came | sent | kept | answered | told why not |\n|---|---|---|---|---|");
    for (name, (n, ids)) in &sent {
        let of = |wanted: &[&str]| {
            ids.iter()
                .filter(|id| status.get(id.as_str()).is_some_and(|s| wanted.is_empty() || wanted.contains(s)))
                .count()
        };
        eprintln!("| {name} | {n} | {} | {} | {} |", of(&[]), of(&["answered"]), of(&["failed"]));
        if ["addressed to another", "two hours old", "deletions of jobs that never were"].contains(name) {
            assert_eq!(of(&[]), 0, "{name}");
        }
        if *name == "one who asks without end" {
            assert!(of(&[]) <= 60, "at most thirty a minute: {}", of(&[]));
        }
    }
    eprintln!(
        "a known customer: {quiet:?} before, {median:?} (worst {worst:?}) during; a new one: {new:?}; poured in {poured:?}"
    );
    assert!(daemon.peak_memory_kib() < 300 << 10, "{} KiB", daemon.peak_memory_kib());
    assert_eq!(daemon.end(Signal::TERM).0, Some(0));
    relay.shutdown();
}
