//! The archive as a relay, seen by clients: a bare one, rust-nostr's, another agent's synchronizer and `brotr job`.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::time::Duration;

use brotr_core::RelayUrl;
use brotr_tests::browser::http;
use brotr_tests::{Signal, events};
use data_encoding::HEXLOWER;
use futures::{SinkExt, StreamExt};
use negentropy::{Negentropy, NegentropyStorageVector};
use nostr::{EventBuilder, Filter, JsonUtil, Keys, Kind, Tag, Timestamp};
use serde_json::{Value, json};
use tokio::net::TcpSocket;
use tokio_tungstenite::MaybeTlsStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::{self, Message};

use super::faults::place;
use super::program::{Daemon, Place, soon};

const FIRST: u64 = 1_600_000_000;

pub(crate) struct Client(
    pub(crate) tokio_tungstenite::WebSocketStream<tokio_tungstenite::MaybeTlsStream<tokio::net::TcpStream>>,
);

impl Client {
    pub(crate) async fn connect(url: &str) -> Self {
        Self(tokio_tungstenite::connect_async(url).await.expect("connected").0)
    }

    /// Connects from an address of this machine, with more headers; fails with the status of the answer.
    pub(crate) async fn connect_from(from: &str, url: &str, headers: &[(&'static str, &str)]) -> Result<Self, u16> {
        let mut request = url.into_client_request().expect("a request");
        for (name, value) in headers {
            request.headers_mut().append(*name, value.parse().expect("a value"));
        }
        let to = url.trim_start_matches("ws://").trim_end_matches('/').parse().expect("an address");
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.bind(SocketAddr::new(from.parse().expect("an address"), 0)).expect("bound");
        let stream = MaybeTlsStream::Plain(socket.connect(to).await.expect("connected"));
        match tokio_tungstenite::client_async(request, stream).await {
            Ok((socket, _)) => Ok(Self(socket)),
            Err(tungstenite::Error::Http(answer)) => Err(answer.status().as_u16()),
            Err(error) => panic!("{error}"),
        }
    }

    /// Waits until the connection ends, and returns the code with which it was closed.
    pub(crate) async fn closed(&mut self) -> Option<u16> {
        let end = async {
            loop {
                match self.0.next().await {
                    Some(Ok(Message::Close(frame))) => break frame.map(|frame| frame.code.into()),
                    Some(Ok(_)) => {}
                    Some(Err(_)) | None => break None,
                }
            }
        };
        tokio::time::timeout(Duration::from_secs(20), end).await.expect("closed in time")
    }

    pub(crate) async fn say(&mut self, value: Value) {
        self.0.send(Message::text(value.to_string())).await.expect("sent");
    }

    pub(crate) async fn hear(&mut self) -> Value {
        loop {
            let message = tokio::time::timeout(Duration::from_secs(40), self.0.next()).await.expect("in time");
            if let Message::Text(text) = message.expect("open").expect("sound") {
                return serde_json::from_str(&text).expect("JSON");
            }
        }
    }

    pub(crate) async fn ask(&mut self, value: Value) -> Value {
        self.say(value).await;
        self.hear().await
    }

    /// Ids of the stored events that filters ask for, in the order in which they come.
    pub(crate) async fn fetch(&mut self, filters: &[Value]) -> Vec<String> {
        let mut message = vec![json!("REQ"), json!("q")];
        message.extend_from_slice(filters);
        self.say(Value::Array(message)).await;
        let mut ids = Vec::new();
        loop {
            let said = self.hear().await;
            match said[0].as_str() {
                Some("EVENT") => ids.push(said[2]["id"].as_str().expect("an id").to_owned()),
                Some("EOSE") => break,
                _ => panic!("{said}"),
            }
        }
        self.say(json!(["CLOSE", "q"])).await;
        ids
    }
}

/// The address at which a daemon serves its archive.
pub(crate) async fn served(daemon: &Daemon<'_>) -> String {
    soon(20, "relay", async || {
        let log = daemon.log();
        let start = log.find("the archive is a relay at ")? + "the archive is a relay at ".len();
        log[start..].split_whitespace().next().map(str::to_owned)
    })
    .await
}

pub(crate) fn house(more: &str) -> Place {
    Place::with(&format!(
        "relay: {{enabled: true, listen: \"127.0.0.1:0\"}}\nmonitor: {{enabled: false}}\nsynchronizer: {{enabled: false}}\n{more}"
    ))
}

pub(crate) fn import(place: &Place, list: &[nostr::Event]) {
    let lines: Vec<String> = list.iter().map(JsonUtil::as_json).collect();
    place.write("events.jsonl", &lines.join("\n"));
    place.run(&["import", "events.jsonl"]).ok();
}

#[tokio::test(flavor = "multi_thread")]
async fn eose_says_whether_anything_is_left() {
    let place = house("");
    import(&place, &events::signed(40, FIRST));
    let daemon = place.daemon();
    let mut client = Client::connect(&served(&daemon).await).await;
    // Ten of each kind.
    let of = |kind: u16, limit: usize| json!({"kinds": [kind], "limit": limit});
    for (filters, hint) in [
        (vec![json!({})], Some("finish")),
        (vec![of(1, 11)], Some("finish")),
        (vec![of(1, 10)], Some("finish")),
        (vec![of(1, 9)], Some("more")),
        (vec![of(9_999, 5)], Some("finish")),
        (vec![of(1, 10), of(7, 10)], Some("finish")),
        (vec![of(1, 10), of(7, 9)], Some("more")),
        // Nothing was looked for.
        (vec![of(1, 0)], None),
        (vec![of(1, 10), of(7, 0)], None),
        (vec![of(1, 1), of(7, 0)], Some("more")),
    ] {
        client.say(json!([&[json!("REQ"), json!("q")][..], &filters].concat())).await;
        let end = loop {
            let said = client.hear().await;
            if said[0] == "EOSE" {
                break said;
            }
        };
        let wanted = hint.map_or_else(|| json!(["EOSE", "q"]), |hint| json!(["EOSE", "q", [hint]]));
        assert_eq!(end, wanted, "{filters:?}");
        client.say(json!(["CLOSE", "q"])).await;
    }
    assert_eq!(daemon.end(Signal::TERM).0, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_relay_server_hides_what_clients_do_not_see() {
    let place = house("identity: {name: \"an archive\"}");
    let list = events::signed(1_200, FIRST);
    let author = Keys::generate();
    let old = events::at(&author, Kind::Metadata, FIRST, r#"{"name":"old"}"#);
    let new = events::at(&author, Kind::Metadata, FIRST + 5, r#"{"name":"new"}"#);
    import(&place, &[&list[..], &[old, new.clone()]].concat());
    let daemon = place.daemon();
    let url = served(&daemon).await;
    let mut client = Client::connect(&url).await;
    let newest: Vec<String> = list.iter().rev().take(3).map(|event| event.id.to_hex()).collect();
    assert_eq!(client.fetch(&[json!({"limit": 3})]).await, newest);
    assert_eq!(client.fetch(&[json!({})]).await.len(), 500, "no more than it says");
    let both = [json!({"ids": [list[0].id]}), json!({"ids": [list[1].id, list[0].id]})];
    assert_eq!(client.fetch(&both).await, [list[1].id.to_hex(), list[0].id.to_hex()], "each once, newest first");
    let profile = json!({"authors": [author.public_key()], "kinds": [0]});
    assert_eq!(client.fetch(&[profile]).await, [new.id.to_hex()], "what was replaced is not given");
    assert_eq!(
        client.ask(json!(["COUNT", "c", {"kinds": [1]}, {"kinds": [7]}])).await,
        json!(["COUNT", "c", {"count": 600}])
    );
    assert_eq!(client.fetch(&[json!({"search": "event 76", "limit": 9})]).await.len(), 1);
    // What is wrong is said to be, and to whom.
    for (message, start, says) in [
        (json!(["REQ", "x"]), "CLOSED", "1 to 20 filters"),
        (json!(["REQ", "x", {"kindz": [1]}]), "CLOSED", "kindz"),
        (json!(["REQ", "x", 7]), "CLOSED", "JSON object"),
        (json!(["REQ", "", {}]), "NOTICE", "1 to 64"),
        (json!(["REQ", "y".repeat(65), {}]), "NOTICE", "1 to 64"),
        (json!(["HELLO"]), "NOTICE", "unknown command"),
        (json!([]), "NOTICE", "unknown command"),
        (json!({}), "NOTICE", "not a JSON list"),
        (json!(["EVENT", {"id": 1}]), "NOTICE", "not an event"),
        (json!(["EVENT", list[0]]), "OK", "restricted"),
        (json!(["NEG-OPEN", "n", {}, "zz"]), "NEG-ERR", "invalid"),
        (json!(["NEG-MSG", "nobody", "61"]), "NEG-ERR", "no such comparison"),
    ] {
        let said = client.ask(message.clone()).await;
        assert_eq!(said[0], start, "{message}: {said}");
        assert!(said.to_string().contains(says), "{message}: {said}");
    }
    let mut many = Client::connect(&url).await;
    for n in 0..20 {
        assert_eq!(many.ask(json!(["REQ", n.to_string(), {"limit": 0}])).await, json!(["EOSE", n.to_string()]));
    }
    assert_eq!(many.ask(json!(["REQ", "more", {"limit": 0}])).await[0], "CLOSED");
    many.say(json!(["REQ", "x".repeat(200_000), {}])).await;
    assert_eq!(many.closed().await, Some(1009), "a message that is too large ends it");
    // What it says of itself, to pages of any origin.
    let host = url.trim_start_matches("ws://").to_owned();
    for method in ["GET", "HEAD", "OPTIONS"] {
        let answer = http(method, &host, "/", &[("Accept", "application/nostr+json")], "").await.expect("an answer");
        assert!(answer.status < 300, "{answer:?}");
        for header in ["origin", "headers", "methods"] {
            assert!(answer.header(&format!("access-control-allow-{header}")).is_some(), "{method}: {answer:?}");
        }
        if method == "GET" {
            let document = answer.json();
            assert_eq!(document["self"], document["pubkey"], "its own key");
            assert!(
                document.as_object().is_some_and(|fields| fields.values().all(|field| !field.is_null())),
                "{document}"
            );
        }
    }
    let agent = super::faults::place().await.agent;
    let address = RelayUrl::parse(&url, agent.dialer.guard()).expect("an address");
    let (info, _) = brotr_net::info::fetch(&agent.dialer, &address).await.expect("a document");
    assert_eq!((info.text_field("name"), info.limit("max_limit")), (Some("an archive"), Some(500)));
    assert!([1, 11, 45, 50, 77].iter().all(|nip| info.nips().contains(nip)));
    // rust-nostr's client reads it too.
    let sdk = nostr_sdk::Client::default();
    sdk.add_relay(&url).await.expect("added");
    sdk.connect().await;
    let found =
        sdk.fetch_events(Filter::new().kind(Kind::TextNote).limit(50), Duration::from_secs(10)).await.expect("fetched");
    assert_eq!(found.len(), 50);
    sdk.shutdown().await;
    // And two hundred who only listen cost little.
    let before = daemon.peak_memory_kib();
    let mut idle = Vec::new();
    for _ in 0..200 {
        let mut one = Client::connect(&url).await;
        one.ask(json!(["REQ", "live", {"kinds": [9_999], "limit": 0}])).await;
        idle.push(one);
    }
    assert_eq!(client.fetch(&[json!({"limit": 3})]).await, newest);
    let grown = daemon.peak_memory_kib().saturating_sub(before);
    println!("200 idle connections: {} KiB each", grown / 200);
    assert!(grown < 40 << 10, "{grown} KiB");
    assert_eq!(daemon.end(Signal::TERM).0, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn another_agent_synchronizes_it_by_comparison() {
    let house = house("");
    let list = events::signed(900, FIRST);
    import(&house, &list);
    let daemon = house.daemon();
    let url = served(&daemon).await;
    let other = place().await;
    let address = RelayUrl::parse(&url, other.agent.dialer.guard()).expect("an address");
    let half = list[..450].iter().map(|event| brotr_core::Event::from(event).verify().expect("signed")).collect();
    other.agent.archive.store(brotr_storage::Batch { events: half, ..Default::default() }).await.expect("stored");
    let pass =
        brotr::services::synchronizer::pass(&other.agent, &address, None, |_| ()).await.expect("the archive works");
    assert_eq!((pass.transferred, pass.stored, &pass.error, pass.gaps), (450, 450, &None, 0), "{pass:?}");
    let count =
        other.agent.archive.count(&[Filter::new()], brotr_storage::View::All, &[address.as_str().to_owned()]).await;
    assert_eq!(count.expect("counted"), 900);
    assert_eq!(daemon.end(Signal::TERM).0, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn jobs_are_answered_on_the_own_relay() {
    let place = house("");
    import(&place, &events::signed(40, FIRST));
    let daemon = place.daemon();
    let url = served(&daemon).await;
    let mut client = Client::connect(&url).await;
    let customer = Keys::generate();
    let builder = EventBuilder::new(Kind::from(5_400), r#"{"kinds":[1]}"#);
    let request = builder.sign_with_keys(&customer).expect("signed");
    client.say(json!(["REQ", "answers", {"kinds": [6_400, 7_000], "#e": [request.id]}])).await;
    assert_eq!(client.hear().await, json!(["EOSE", "answers", ["finish"]]));
    client.say(json!(["EVENT", request])).await;
    let mut said = Vec::new();
    while said.len() < 3 {
        said.push(client.hear().await);
    }
    assert!(said.contains(&json!(["OK", request.id, true, ""])), "{said:?}");
    let answers: Vec<_> = said.iter().filter(|message| message[0] == "EVENT").map(|message| &message[2]).collect();
    assert_eq!(
        (&answers[0]["kind"], &answers[1]["kind"], &answers[1]["content"]),
        (&json!(7_000), &json!(6_400), &json!("10"))
    );
    let again = client.ask(json!(["EVENT", request])).await;
    assert!(again[2] == true && again[3].as_str().is_some_and(|why| why.starts_with("duplicate:")), "{again}");
    // A forged one, one to another, and what is no job.
    let mut forged = serde_json::to_value(&request).expect("JSON");
    forged["content"] = json!("{}");
    assert_eq!(client.ask(json!(["EVENT", forged])).await[2], false);
    let other = Tag::public_key(Keys::generate().public_key());
    let elsewhere = EventBuilder::new(Kind::from(5_400), "").tag(other).sign_with_keys(&customer).expect("signed");
    assert_eq!(client.ask(json!(["EVENT", elsewhere])).await[2], false);
    let note = EventBuilder::text_note("hello").sign_with_keys(&customer).expect("signed");
    assert_eq!(client.ask(json!(["EVENT", note])).await[2], false);
    // What only its author may send, what is expired, and what is not written as an event is.
    let job = |tag: Tag| EventBuilder::new(Kind::from(5_400), "").tag(tag).sign_with_keys(&customer).expect("signed");
    let said = client.ask(json!(["EVENT", job(Tag::protected())])).await;
    assert!(said[2] == false && said[3].as_str().is_some_and(|why| why.starts_with("blocked:")), "{said}");
    let said = client.ask(json!(["EVENT", job(Tag::expiration(Timestamp::from(FIRST)))])).await;
    assert_eq!((&said[2], &said[3]), (&json!(false), &json!("invalid: expired")));
    let mut shouted = serde_json::to_value(job(Tag::hashtag("x"))).expect("JSON");
    shouted["id"] = json!(shouted["id"].as_str().expect("an id").to_uppercase());
    let said = client.ask(json!(["EVENT", shouted])).await;
    assert!(said[1] == shouted["id"] && said[2] == false && said.to_string().contains("lower-case"), "{said}");
    // The command line is a customer here too.
    let job = place.run(&["job", "5400", "--input", r#"{"kinds":[7]}"#, "--relay", &url, "--json"]).ok().json();
    assert_eq!(job.last().expect("an end")["result"]["content"], "10");
    assert_eq!(daemon.end(Signal::TERM).0, Some(0));
}

/// Compares with nothing on our side, and returns the ids that the relay has.
async fn compare(client: &mut Client, name: &str, filter: Value) -> HashSet<String> {
    let mut storage = NegentropyStorageVector::new();
    storage.seal().expect("sealed");
    let mut side = Negentropy::owned(storage, 0).expect("a side");
    let first = HEXLOWER.encode(&side.initiate().expect("a message"));
    let mut said = client.ask(json!(["NEG-OPEN", name, filter, first])).await;
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    loop {
        assert_eq!(said[0], "NEG-MSG", "{said}");
        let message = HEXLOWER.decode(said[2].as_str().expect("a message").as_bytes()).expect("hexadecimal");
        match side.reconcile_with_ids(&message, &mut ours, &mut theirs).expect("sound") {
            Some(next) => said = client.ask(json!(["NEG-MSG", name, HEXLOWER.encode(&next)])).await,
            None => return theirs.iter().map(|id| HEXLOWER.encode(id.as_bytes())).collect(),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_comparison_takes_one_filter_or_several() {
    let place = house("");
    let list = events::signed(40, FIRST);
    import(&place, &list);
    let daemon = place.daemon();
    let mut client = Client::connect(&served(&daemon).await).await;
    let ids = |kinds: &[u16]| -> HashSet<String> {
        let asked = list.iter().filter(|event| kinds.contains(&event.kind.as_u16()));
        asked.map(|event| event.id.to_hex()).collect()
    };
    assert_eq!(compare(&mut client, "one", json!({"kinds": [1]})).await, ids(&[1]));
    let several = json!([{"kinds": [1]}, {"kinds": [7]}, {"kinds": [1], "authors": [list[0].pubkey]}]);
    assert_eq!(compare(&mut client, "several", several).await, ids(&[1, 7]));
    let said = client.ask(json!(["NEG-OPEN", "none", [], "61"])).await;
    assert_eq!(said[0], "NEG-ERR", "{said}");
    // CLOSE ends it as NEG-CLOSE does.
    client.say(json!(["CLOSE", "one"])).await;
    assert_eq!(client.ask(json!(["NEG-MSG", "one", "61"])).await[0], "NEG-ERR");
    assert_eq!(client.ask(json!(["NEG-MSG", "several", "61"])).await[0], "NEG-MSG");
    assert_eq!(daemon.end(Signal::TERM).0, Some(0));
}
