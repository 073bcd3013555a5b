//! What clients of the relay cannot do to it and to each other: take its memory, its places, its descriptors, or its time.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use brotr::agent::Agent;
use brotr::supervisor::Supervisor;
use brotr_core::Event;
use brotr_storage::{Batch, EventStore};
use brotr_tests::{Script, ScriptedRelay, Signal, events};
use futures::StreamExt;
use nostr::{EventBuilder, Keys, Kind, Timestamp};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinHandle;
use tokio_tungstenite::tungstenite::Message;

use super::faults::place;
use super::program::soon;
use super::relay_server::{Client, house, import, served};

const FIRST: u64 = 1_600_000_000;

/// An agent's relay in this process.
struct Served {
    url: String,
    service: JoinHandle<brotr::error::Result<()>>,
}

async fn serve(agent: &Agent) -> Served {
    let listener = brotr::services::relay_server::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.expect("bound");
    let url = format!("ws://{}", listener.local_addr().expect("an address"));
    let agent = agent.with::<dyn EventStore>(agent.archive.clone());
    let service = tokio::spawn(brotr::services::relay_server::serve(agent, None, Arc::new(listener)));
    Served { url, service }
}

fn signed(author: &Keys, kind: Kind, at: u64, content: &str) -> nostr::Event {
    let builder = EventBuilder::new(kind, content).custom_created_at(Timestamp::from(at));
    builder.sign_with_keys(author).expect("signed")
}

async fn store(agent: &Agent, events: &[nostr::Event]) {
    let events = events.iter().map(|event| Event::from(event).verify().expect("signed")).collect();
    agent.archive.store(Batch { events, ..Batch::default() }).await.expect("stored");
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_of_a_service_that_ends_are_disconnected() {
    let place = place().await;
    let relay = serve(&place.agent).await;
    let mut client = Client::connect(&relay.url).await;
    client.say(json!(["REQ", "live", {"limit": 0}])).await;
    assert_eq!(client.hear().await[0], "EOSE");
    let author = Keys::generate();
    store(&place.agent, &[signed(&author, Kind::TextNote, FIRST, "one")]).await;
    assert_eq!(client.hear().await[0], "EVENT");
    relay.service.abort();
    assert_eq!(client.closed().await, None, "the connection ends with the service");

    // The streams of the other server as well.
    let listener = brotr::services::http::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.expect("bound");
    let address = listener.local_addr().expect("an address");
    let listener = listener.into_std().expect("a listener");
    let metrics = metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder().handle();
    let vitals = Supervisor::default().vitals();
    let service = tokio::spawn(brotr::services::http::serve(place.agent.clone(), vitals, metrics, listener));
    let mut stream = TcpStream::connect(address).await.expect("connected");
    stream.write_all(b"GET /api/v1/live HTTP/1.1\r\nHost: here\r\n\r\n").await.expect("sent");
    let mut bytes = [0; 1_024];
    assert!(stream.read(&mut bytes).await.expect("an answer") > 0);
    service.abort();
    let end = async { while stream.read(&mut bytes).await.is_ok_and(|n| n > 0) {} };
    tokio::time::timeout(Duration::from_secs(5), end).await.expect("the stream ends with the service");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_live_subscriber_gets_everything_that_comes_in() {
    const SUBSCRIBERS: usize = 20;
    const EVENTS: usize = 6_000;
    let place = place().await;
    let relay = serve(&place.agent).await;
    let author = Keys::generate();
    // The first is what others replace: it is told to nobody who listens later, nor are versions that come late.
    store(&place.agent, &[signed(&author, Kind::Metadata, FIRST + 9, "new")]).await;
    let subscribers = (0..SUBSCRIBERS).map(|_| async {
        let mut client = Client::connect(&relay.url).await;
        client.say(json!(["REQ", "live", {"kinds": [0, 1], "limit": 0}])).await;
        assert_eq!(client.hear().await[0], "EOSE");
        client
    });
    let subscribers = futures::future::join_all(subscribers).await;
    let list: Vec<nostr::Event> =
        (0..EVENTS as u64).map(|n| signed(&author, Kind::TextNote, FIRST + n, &format!("event {n}"))).collect();
    let wanted: Arc<HashSet<String>> = Arc::new(list.iter().map(|event| event.id.to_hex()).collect());
    let counts = subscribers.into_iter().map(|mut client| {
        let wanted = wanted.clone();
        tokio::spawn(async move {
            let mut got = HashSet::new();
            while got.len() < wanted.len() {
                let said = client.hear().await;
                assert_eq!(said[0], "EVENT", "{said}");
                let id = said[2]["id"].as_str().expect("an id").to_owned();
                assert!(wanted.contains(&id) && got.insert(id), "told once, and only what may be seen: {said}");
            }
        })
    });
    let counts: Vec<_> = counts.collect();
    store(&place.agent, &[signed(&author, Kind::Metadata, FIRST, "old")]).await;
    for page in list.chunks(500) {
        store(&place.agent, page).await;
    }
    for count in counts {
        count.await.expect("everything was told");
    }
    relay.service.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_search_subscription_receives_new_events() {
    let place = place().await;
    let relay = serve(&place.agent).await;
    let author = Keys::generate();
    let note = |n: u64, text: &str| signed(&author, Kind::TextNote, FIRST + n, text);
    store(&place.agent, &[note(0, "a relay in Zürich")]).await;
    let mut client = Client::connect(&relay.url).await;
    client
        .say(json!(["REQ", "search", {"search": "zurich relay", "kinds": [1]}, {"search": "bern language:de"}]))
        .await;
    assert_eq!(client.hear().await[2]["content"], "a relay in Zürich");
    assert_eq!(client.hear().await[0], "EOSE");
    let come = ["a relay in Bern", "Zurich", "Relays of ZURICH: one relay", "a relayed zurich"];
    let come: Vec<_> = come.iter().enumerate().map(|(n, text)| note(n as u64 + 1, text)).collect();
    store(&place.agent, &come).await;
    for told in ["a relay in Bern", "Relays of ZURICH: one relay"] {
        assert_eq!(client.hear().await[2]["content"], told);
    }
    // Nothing else was told.
    assert_eq!(client.ask(json!(["COUNT", "c", {"kinds": [1]}])).await[0], "COUNT");
    relay.service.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn one_address_does_not_take_all_places() {
    let place = house("");
    let config = std::fs::read_to_string(place.path().join("brotr.yaml")).expect("there");
    let limits = |more: &str| {
        place.write("brotr.yaml", &config.replace("relay: {enabled: true", &format!("relay: {{enabled: true, {more}")));
    };
    // An address of which each stands for one client.
    limits("max_connections: 12, max_per_address: 5, trusted_proxies: []");
    let daemon = place.daemon();
    let url = served(&daemon).await;
    let mut held = Vec::new();
    for _ in 0..5 {
        held.push(Client::connect_from("127.0.0.1", &url, &[]).await.expect("a place"));
    }
    assert_eq!(Client::connect_from("127.0.0.1", &url, &[]).await.err(), Some(429));
    let mut other = Client::connect_from("127.0.0.2", &url, &[]).await.expect("a place for another");
    assert_eq!(other.ask(json!(["REQ", "q", {"limit": 1}])).await[0], "EOSE");
    held.clear();
    soon(5, "place that was given back", async || Client::connect_from("127.0.0.1", &url, &[]).await.ok()).await;
    assert_eq!(daemon.end(Signal::TERM).0, Some(0));

    // A proxy speaks for many: each client behind it has its share, and it gives up places to others.
    limits("max_connections: 12, max_per_address: 5");
    let daemon = place.daemon();
    let url = served(&daemon).await;
    let from = |client: &'static str| [("X-Forwarded-For", client)];
    let mut held = Vec::new();
    for _ in 0..5 {
        held.push(Client::connect_from("127.0.0.1", &url, &from("198.51.100.7")).await.expect("a place"));
    }
    assert_eq!(Client::connect_from("127.0.0.1", &url, &from("198.51.100.7")).await.err(), Some(429));
    for _ in 0..6 {
        held.push(Client::connect_from("127.0.0.1", &url, &[]).await.expect("a place"));
    }
    let mut last = Client::connect_from("127.0.0.1", &url, &from("2001:db8::1")).await.expect("the last place");
    let mut other = Client::connect_from("127.0.0.2", &url, &[]).await.expect("a place is given up");
    assert_eq!(other.ask(json!(["REQ", "q", {"limit": 1}])).await[0], "EOSE");
    assert_eq!(last.closed().await, None, "the newest of the address with most");
    assert_eq!(held[0].ask(json!(["REQ", "q", {"limit": 1}])).await[0], "EOSE", "the others stay");
    assert_eq!(daemon.end(Signal::TERM).0, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_say_nothing_end_and_leave_descriptors_for_the_agent() {
    let script = Script::honest(events::signed(30, FIRST));
    let relay = ScriptedRelay::start(script).await.expect("started");
    let place = house("");
    let config = std::fs::read_to_string(place.path().join("brotr.yaml")).expect("there");
    let config = config
        .replace("synchronizer: {enabled: false}", "synchronizer: {interval: 1s, settle: 1s, live: false}")
        .replace("network:\n", "network:\n  max_connections: 16\n");
    place.write("brotr.yaml", &config);
    place.run(&["relays", "add", &relay.url]).ok();
    let daemon = place.daemon_with_files(256);
    let url = served(&daemon).await;
    let to: SocketAddr = url.trim_start_matches("ws://").parse().expect("an address");
    let began = Instant::now();
    let mut half = Vec::new();
    for n in 0..400_u32 {
        let socket = TcpSocket::new_v4().expect("a socket");
        let from = SocketAddr::from(([127, 0, 1, (n % 200 + 1) as u8], 0));
        socket.bind(from).expect("bound");
        let mut stream = socket.connect(to).await.expect("connected");
        stream.write_all(b"GET / HTTP/1.1\r\nHost: here\r\n").await.expect("sent");
        half.push(stream);
    }
    assert!(daemon.log().contains("fewer connections are served than configured"), "{}", daemon.log());
    // The agent goes on with its own work meanwhile.
    let asked = || relay.counts.connections.load(Ordering::Relaxed);
    let before = asked();
    soon(9, "more passes over the relay", async || (asked() > before + 2).then_some(())).await;
    assert!(!daemon.log().contains("Too many open files"), "{}", daemon.log());
    for mut stream in half {
        let mut rest = Vec::new();
        let end = tokio::time::timeout(Duration::from_secs(30), stream.read_to_end(&mut rest));
        let _ = end.await.expect("a connection without a request ends");
    }
    println!("half-open connections ended after {:?}", began.elapsed());
    Client::connect(&url).await;
    assert_eq!(daemon.end(Signal::TERM).0, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_readers_of_large_events_take_little_memory_and_hold_up_nobody() {
    const READERS: usize = 60;
    let place = house("");
    let author = Keys::generate();
    let large: Vec<_> = (0..150)
        .map(|n| signed(&author, Kind::Custom(9_999), FIRST + n, &format!("{n} {}", "é\"\\".repeat(20_000))))
        .collect();
    let small = events::signed(200, FIRST);
    import(&place, &[&large[..], &small].concat());
    let config = std::fs::read_to_string(place.path().join("brotr.yaml")).expect("there");
    place.write("brotr.yaml", &config.replace("relay: {enabled: true", "relay: {enabled: true, memory: 32 MiB"));
    let daemon = place.daemon();
    let url = served(&daemon).await;
    let mut honest = Client::connect(&url).await;
    honest.fetch(&[json!({"limit": 20})]).await;
    let before = daemon.peak_memory_kib();
    // Each asks for everything, by many filters, and for more than that by comparisons, and reads nothing.
    let filters: Vec<_> = (0..18).map(|n| json!({"kinds": [9_999, n], "limit": 500})).collect();
    let many: Vec<String> = (0..9_000).map(|n| n.to_string()).collect();
    let mut slow = Vec::new();
    for _ in 0..READERS {
        let mut client = Client::connect(&url).await;
        let message = [vec![json!("REQ"), json!("all")], filters.clone()].concat();
        client.say(json!(message)).await;
        for n in 0..10 {
            client.say(json!(["REQ", format!("tags{n}"), {"#t": many, "limit": 0}])).await;
        }
        slow.push(client);
    }
    let began = Instant::now();
    let mut waits = Vec::new();
    while began.elapsed() < Duration::from_secs(12) {
        let asked = Instant::now();
        assert_eq!(honest.fetch(&[json!({"kinds": [1, 7], "limit": 20})]).await.len(), 20);
        waits.push(asked.elapsed());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    waits.sort_unstable();
    let grown = daemon.peak_memory_kib().saturating_sub(before) >> 10;
    println!("{READERS} slow readers: {grown} MiB; an honest client waits {:?} at most", waits[waits.len() - 1]);
    assert!(grown < 100, "{grown} MiB");
    assert!(waits[waits.len() * 9 / 10] < Duration::from_secs(1), "{waits:?}");
    drop(slow);
    // What is larger than a frame comes whole, newest first over all filters, each event once.
    let filters =
        [json!({"kinds": [9_999], "limit": 40}), json!({"kinds": [9_999], "until": FIRST + 130, "limit": 30})];
    let message = [&[json!("REQ"), json!("large")][..], &filters].concat();
    honest.say(json!(message)).await;
    let newest: Vec<_> = large.iter().rev().take(49).collect();
    for event in newest {
        let said = honest.hear().await;
        assert!(said[0] == "EVENT" && said[2] == json!(event), "{:.200}", said.to_string());
    }
    assert_eq!(honest.hear().await, json!(["EOSE", "large", ["more"]]));
    assert_eq!(daemon.end(Signal::TERM).0, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn comparisons_that_are_not_continued_are_closed() {
    let place = house("");
    import(&place, &events::signed(40, FIRST));
    let daemon = place.daemon();
    let mut client = Client::connect(&served(&daemon).await).await;
    assert_eq!(client.ask(json!(["NEG-OPEN", "idle", {}, "61"])).await[0], "NEG-MSG");
    let said = async {
        loop {
            if let Message::Text(text) = client.0.next().await.expect("open").expect("sound") {
                break text.to_string();
            }
        }
    };
    let said = tokio::time::timeout(Duration::from_secs(70), said).await.expect("closed in time");
    assert!(said.starts_with(r#"["NEG-ERR","idle","closed:"#), "{said}");
    assert_eq!(client.ask(json!(["NEG-MSG", "idle", "61"])).await[0], "NEG-ERR");
    assert_eq!(daemon.end(Signal::TERM).0, Some(0));
}
