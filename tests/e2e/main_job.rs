//! The whole main job on a real relay: archive what it holds, measure it, publish, answer, stop, and go on.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use brotr_tests::{Fault, Postgres, Script, ScriptedRelay, Signal, events};
use futures::{SinkExt, StreamExt};
use nostr::{Event, EventBuilder, JsonUtil, Keys, Kind, Tag, TagKind};
use nostr_relay_builder::builder::RateLimit;
use nostr_relay_builder::prelude::{LocalRelay, RelayBuilder};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

use super::program::{Place, next_second, soon};

pub(crate) fn house() -> RelayBuilder {
    let limits = RateLimit { max_reqs: 1_000, notes_per_minute: 1_000_000 };
    RelayBuilder::default().rate_limit(limits).max_filter_limit(500)
}

/// A relay of rust-nostr's on loopback, filled with events through its own front door.
pub(crate) async fn relay(list: &[Event]) -> (LocalRelay, String) {
    let relay = LocalRelay::new(house());
    relay.run().await.expect("the relay runs");
    let url = relay.url().await.to_string();
    let mut client = Client::connect(&url).await;
    for event in list {
        client.publish(event).await;
    }
    (relay, url)
}

/// Another relay at the address of one that has gone.
pub(crate) async fn relay_again(url: &str) -> LocalRelay {
    let port = url.trim_end_matches('/').rsplit(':').next().and_then(|p| p.parse().ok()).expect("a port");
    soon(10, "port", async || {
        let relay = LocalRelay::new(house().port(port));
        relay.run().await.is_ok().then_some(relay)
    })
    .await
}

/// A client that knows nothing but NIP-01 and JSON.
pub(crate) struct Client {
    socket: tokio_tungstenite::WebSocketStream<tokio_tungstenite::MaybeTlsStream<tokio::net::TcpStream>>,
    /// What was asked so far: what still comes for one question is no answer to the next.
    asked: usize,
}

impl Client {
    pub(crate) async fn connect(url: &str) -> Self {
        Self { socket: tokio_tungstenite::connect_async(url).await.expect("connected").0, asked: 0 }
    }

    async fn send(&mut self, value: Value) {
        self.socket.send(Message::text(value.to_string())).await.expect("sent");
    }

    async fn hear(&mut self) -> Value {
        loop {
            let message = tokio::time::timeout(Duration::from_secs(40), self.socket.next()).await.expect("in time");
            if let Message::Text(text) = message.expect("open").expect("sound") {
                return serde_json::from_str(&text).expect("json");
            }
        }
    }

    pub(crate) async fn publish(&mut self, event: &Event) {
        self.send(json!(["EVENT", event])).await;
        loop {
            let said = self.hear().await;
            if said[0] == "OK" && said[1] == json!(event.id) {
                assert_eq!(said[2], true, "{said}");
                return;
            }
        }
    }

    /// Every stored event that a filter asks for, verified.
    pub(crate) async fn fetch(&mut self, filter: Value) -> Vec<Event> {
        self.asked += 1;
        let name = json!(format!("q{}", self.asked));
        self.send(json!(["REQ", name, filter])).await;
        let mut found = Vec::new();
        loop {
            let said = self.hear().await;
            match said[0].as_str() {
                Some("EVENT") if said[1] == name => {
                    let event = Event::from_json(said[2].to_string()).expect("an event");
                    event.verify().expect("valid");
                    // What comes in while it is asked for may be given twice.
                    if found.iter().all(|known: &Event| known.id != event.id) {
                        found.push(event);
                    }
                }
                Some("EOSE") if said[1] == name => {
                    self.send(json!(["CLOSE", name])).await;
                    return found;
                }
                _ => {}
            }
        }
    }
}

fn config(url: &str, storage: &str) -> String {
    let storage = if storage.is_empty() { String::new() } else { format!("#storage {storage}\n") };
    format!(
        "{storage}identity: {{relays: [\"{url}\"], name: tester}}\ninitializer: {{seeds: [relays.txt]}}\n\
         synchronizer: {{interval: 1s, settle: 1s}}\nmonitor: {{interval: 1h, warm_up: false}}\ndvm: {{relays: [\"{url}\"]}}"
    )
}

fn place(url: &str, storage: &str) -> Place {
    let place = Place::with(&config(url, storage));
    // `with` writes an empty list of seeds first; here the relay is one.
    let text = std::fs::read_to_string(place.path().join("brotr.yaml")).expect("there");
    place.write("brotr.yaml", &text.replacen("initializer: {seeds: []}\n", "", 1));
    place.write("relays.txt", &format!("{url}\n"));
    place
}

/// A tag's first value.
fn tag<'a>(event: &'a Event, name: &str) -> Option<&'a str> {
    event.tags.find(TagKind::custom(name)).and_then(|tag| tag.content())
}

async fn main_job(storage: &str) {
    let stored = events::signed(1_300, 1_600_000_000);
    let (relay, url) = relay(&stored).await;
    let place = place(&url, storage);
    let daemon = place.daemon();
    let mut client = Client::connect(&url).await;

    // It archives every event that the relay serves, byte for byte.
    let archived = soon(40, "complete archive", async || {
        let ran = place.run(&["query", r#"{"until":1700000000}"#]);
        (ran.status == 0 && ran.stdout.lines().count() == stored.len()).then_some(ran.stdout)
    })
    .await;
    let archived: BTreeMap<String, &str> =
        archived.lines().map(|line| (Event::from_json(line).expect("an event").id.to_hex(), line)).collect();
    for event in &stored {
        assert_eq!(archived[&event.id.to_hex()], event.as_json());
    }

    // It publishes its announcement, profile, relay list and measurement, and a stranger finds them valid.
    let npub = place.run(&["keys", "show", "--json"]).ok().json()[0]["pubkey"].as_str().expect("a key").to_owned();
    let about = soon(20, "published events", async || {
        let found = client.fetch(json!({"authors": [npub], "kinds": [0, 10_002, 10_166, 30_166, 31_990]})).await;
        (found.len() == 5).then_some(found)
    })
    .await;
    let of_kind = |kind: u16| about.iter().find(|e| e.kind.as_u16() == kind).expect("one of each");
    assert_eq!(tag(of_kind(10_002), "r"), Some(format!("{}/", url.trim_end_matches('/')).as_str()));
    let profile: Value = serde_json::from_str(&of_kind(0).content).expect("JSON");
    assert_eq!((&profile["name"], &profile["crawl"]["dials_per_minute"]), (&json!("tester"), &json!(1_200)));
    assert_eq!(tag(of_kind(10_166), "frequency"), Some("3600"));
    let kinds: Vec<_> = of_kind(31_990).tags.filter(TagKind::k()).filter_map(|tag| tag.content()).collect();
    assert_eq!(kinds, ["5300", "5301", "5302", "5303", "5400"]);
    let measured = of_kind(30_166);
    assert_eq!(tag(measured, "d"), Some(format!("{}/", url.trim_end_matches('/')).as_str()), "with its root slash");
    assert_eq!(tag(measured, "n"), Some("clearnet"));
    for name in ["rtt-open", "rtt-read", "rtt-write"] {
        tag(measured, name).expect(name).parse::<u64>().expect("whole milliseconds");
    }
    // This relay has no document: nothing is said of what only a document says.
    assert_eq!((tag(measured, "N"), measured.content.as_str()), (None, ""));

    // It answers a job of a stranger within two seconds, with the right count.
    let customer = Keys::generate();
    let count = stored.iter().filter(|e| e.kind == Kind::Reaction).count();
    let request = EventBuilder::new(Kind::from(5_400), r#"[{"kinds":[7]}]"#).sign_with_keys(&customer).expect("signed");
    client.send(json!(["REQ", "job", {"kinds": [6_400, 7_000], "#e": [request.id]}])).await;
    let asked = Instant::now();
    client.publish(&request).await;
    let mut feedback = Vec::new();
    let result = loop {
        let said = client.hear().await;
        if said[0] == "EVENT" && said[1] == "job" {
            let event = Event::from_json(said[2].to_string()).expect("an event");
            event.verify().expect("valid");
            if event.kind == Kind::from(6_400) {
                break event;
            }
            feedback.push(tag(&event, "status").expect("a status").to_owned());
        }
    };
    let answered = asked.elapsed();
    assert!(answered < Duration::from_secs(2), "{answered:?}");
    assert_eq!(feedback, ["processing"]);
    assert_eq!(result.content, count.to_string());
    assert_eq!(tag(&result, "e"), Some(request.id.to_hex().as_str()));
    assert_eq!(tag(&result, "p"), Some(customer.public_key().to_hex().as_str()));
    assert_eq!(tag(&result, "request"), Some(request.as_json().as_str()));
    // And its own command line is a customer too.
    let job = place.run(&["job", "5400", "--input", r#"{"kinds":[7]}"#, "--json"]).ok().json();
    assert_eq!(job.last().expect("a line")["result"]["content"], count.to_string());
    assert_eq!(job[0]["status"], "processing");
    let listed = place.run(&["dvm", "list", "--json"]).ok().json();
    let known = listed.iter().find(|job| job["id"] == json!(request.id)).expect("listed");
    assert_eq!((&known["status"], &known["customer"]), (&json!("answered"), &json!(customer.public_key())));
    let shown = place.run(&["dvm", "show", &request.id.to_hex(), "--json"]).ok().json().remove(0);
    assert_eq!((&shown["request"], &shown["result"]["content"]), (&json!(request), &json!(count.to_string())));
    let text = place.run(&["dvm", "show", &request.id.to_hex()[..12]]).ok().stdout;
    assert!(text.contains(&request.id.to_hex()) && text.contains("answered") && text.contains("Result"), "{text}");
    assert_eq!((place.run(&["dvm", "show", "x"]).status, place.run(&["dvm", "show", &"0".repeat(64)]).status), (2, 1));
    // A request it cannot do is told why.
    // In secret, and answered in secret.
    let npub = place.run(&["keys", "show", "--json"]).ok().json()[0]["npub"].as_str().expect("an npub").to_owned();
    let secret = ["job", "5400", "--input", r#"{"kinds":[7]}"#, "--encrypt", "--to", &npub, "--json"];
    let secret = place.run(&secret).ok().json();
    let last = secret.last().expect("an end");
    assert_eq!(
        (&last["status"], &last["result"]["content"]),
        (&json!("success"), &job.last().expect("an end")["result"]["content"])
    );
    assert!(secret.iter().any(|line| line["status"] == "processing"), "{secret:?}");
    let on_the_wire = client
        .fetch(
            json!({"kinds": [5_400, 6_400, 7_000], "#p": [place.run(&["keys", "show", "--json"]).json()[0]["pubkey"]]}),
        )
        .await;
    let sealed = on_the_wire.iter().filter(|event| event.tags.iter().any(|tag| tag.as_slice()[0] == "encrypted"));
    assert!(
        sealed.clone().count() >= 3
            && sealed.clone().all(|event| !event.content.contains("kinds") && event.content != "325")
    );
    let job = place.run(&["job", "5400", "--input", r#"{"kindz":[7]}"#, "--json"]);
    assert_eq!(job.status, 1);
    assert!(job.json().last().expect("a line")["content"].as_str().expect("text").contains("kindz"), "{job:?}");

    // It says how it does.
    let health: Value = serde_json::from_str(&get(&daemon.http(), "/healthz").await).expect("json");
    assert_eq!(health["status"], "up", "{health}");
    let metrics = get(&daemon.http(), "/metrics").await;
    assert!(metrics.lines().any(|l| l.starts_with("brotr_events_stored_total") && !l.ends_with(" 0")), "{metrics}");

    // It stops at once.
    let (status, took) = daemon.end(Signal::INT);
    assert_eq!(status, Some(0));
    assert!(took < Duration::from_secs(10), "{took:?}");

    // What is proven is never asked for again. The agent's own events of a moment ago are new to it, once.
    next_second().await;
    place.run(&["sync", &url, "--json"]).ok();
    next_second().await;
    let again = place.run(&["sync", &url, "--json"]).ok().json();
    let total = &again.last().expect("a total")["total"];
    assert_eq!((&total["transferred"], &total["gaps"]), (&json!(0), &json!(0)), "{again:?}");
    let coverage = place.run(&["coverage", &url, "--json"]).ok().json();
    let shown = place.run(&["relays", "show", &url, "--json"]).ok().json();
    assert_eq!(shown[0]["coverage"], json!(coverage), "the same, beside what else is known");
    // One span, by whichever methods.
    let second = |value: &Value| value.as_i64().expect("a second");
    let mut spans: Vec<_> = coverage[0]["covered"].as_array().expect("a list").iter().collect();
    spans.sort_by_key(|span| second(&span["since"]));
    assert_eq!(spans[0]["since"], 0, "{coverage:?}");
    for pair in spans.windows(2) {
        assert!(second(&pair[1]["since"]) <= second(&pair[0]["until"]) + 1, "{coverage:?}");
    }

    // A restart answers nothing twice, and what came while it was down is answered.
    let late = EventBuilder::new(Kind::from(5_400), "").sign_with_keys(&customer).expect("signed");
    client.publish(&late).await;
    let daemon = place.daemon();
    soon(20, "answer to the job that came meanwhile", async || {
        client.fetch(json!({"kinds": [6_400], "#e": [late.id]})).await.pop()
    })
    .await;
    let results = client.fetch(json!({"kinds": [6_400], "#e": [request.id]})).await;
    assert_eq!(results.len(), 1, "answered once");
    let (status, _) = daemon.end(Signal::TERM);
    assert_eq!(status, Some(0));
    relay.shutdown();
}

#[tokio::test(flavor = "multi_thread")]
async fn main_job_on_sqlite() {
    main_job("").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn main_job_on_postgres() {
    let server = Postgres::start().expect("PostgreSQL started");
    main_job(&server.database("brotr").expect("a database")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_daemon_answers_each_started_job_once() {
    let (relay, url) = relay(&events::signed(50, 1_600_000_000)).await;
    let place = place(&url, "");
    let mut client = Client::connect(&url).await;
    let customer = Keys::generate();
    let mut requests = Vec::new();
    for round in 0..5 {
        let daemon = place.daemon();
        for i in 0..20 {
            let builder = EventBuilder::new(Kind::from(5_400), "").tag(Tag::hashtag(format!("{round}/{i}")));
            let request = builder.sign_with_keys(&customer).expect("signed");
            client.publish(&request).await;
            requests.push(request.id);
        }
        tokio::time::sleep(Duration::from_millis(300 + 150 * round)).await;
        daemon.end(Signal::KILL);
    }
    let daemon = place.daemon();
    let answers = soon(40, "answer to every job", async || {
        let found = client.fetch(json!({"kinds": [6_400], "#e": requests})).await;
        (found.len() >= requests.len()).then_some(found)
    })
    .await;
    // One more breath, for an answer too many to arrive.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let all = client.fetch(json!({"kinds": [6_400], "#e": requests})).await;
    assert_eq!((answers.len(), all.len()), (requests.len(), requests.len()));
    assert_eq!(daemon.end(Signal::TERM).0, Some(0));
    relay.shutdown();
}

#[tokio::test(flavor = "multi_thread")]
async fn two_agents_on_one_database_answer_once_and_one_ends_what_the_other_had_begun() {
    let server = Postgres::start().expect("PostgreSQL started");
    let storage = server.database("brotr").expect("a database");
    let (relay, url) = relay(&events::signed(50, 1_600_000_000)).await;
    let [one, other] = [(); 2].map(|()| {
        let place = place(&url, &storage);
        let text = std::fs::read_to_string(place.path().join("brotr.yaml")).expect("there");
        place.write("brotr.yaml", &text.replacen("dvm: {", "dvm: {deadline: 2s, ", 1));
        place
    });
    one.run(&["keys", "generate"]).ok();
    std::fs::create_dir_all(other.path().join("brotr-data")).expect("made");
    std::fs::copy(one.path().join("brotr-data/agent.key"), other.path().join("brotr-data/agent.key")).expect("one key");
    let daemons = [one.daemon(), other.daemon()];
    let mut client = Client::connect(&url).await;
    let mut requests = Vec::new();
    for i in 0..60 {
        let builder = EventBuilder::new(Kind::from(5_400), "").tag(Tag::hashtag(format!("{i}")));
        let request = builder.sign_with_keys(&Keys::generate()).expect("signed");
        client.publish(&request).await;
        requests.push(request.id);
        if i == 30 {
            soon(20, "a first answer", async || {
                let found = client.fetch(json!({"kinds": [6_400], "#e": requests})).await;
                (!found.is_empty()).then_some(())
            })
            .await;
        }
    }
    let [killed, left] = daemons;
    killed.end(Signal::KILL);
    soon(40, "answer to every job", async || {
        let found = client.fetch(json!({"kinds": [6_400], "#e": requests})).await;
        (found.len() >= requests.len()).then_some(())
    })
    .await;
    // One more breath, for an answer too many to arrive.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let all = client.fetch(json!({"kinds": [6_400], "#e": requests})).await;
    assert_eq!(all.len(), requests.len());
    assert_eq!(left.end(Signal::TERM).0, Some(0));
    relay.shutdown();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_document_is_published_as_received_and_a_relay_that_is_down_is_not() {
    let document = r#"{"name":"a  relay", "supported_nips":[11,1,"42",1], "limitation":{"auth_required":false,"payment_required":true}}"#;
    let script = Script {
        nip11: Some(document.into()),
        refuses: Some("blocked: members only".into()),
        ..Script::honest(vec![])
    };
    let refusing = ScriptedRelay::start(script).await.expect("started");
    let own = ScriptedRelay::start(Script::honest(vec![])).await.expect("started");
    let down = "ws://127.0.0.1:9/";
    let place = Place::with(&format!("identity: {{relays: [\"{}\"]}}\nmonitor: {{warm_up: false}}", own.url));
    let ran = place.run(&["monitor", &refusing.url, down, "--json"]).ok();
    let total = ran.json().pop().expect("a total");
    assert_eq!((&total["total"]["up"], &total["total"]["down"]), (&json!(1), &json!(1)), "{ran:?}");
    let published: Vec<Event> = own.events().into_iter().filter(|e| e.kind == Kind::from(30_166)).collect();
    let [event] = published.as_slice() else { panic!("one of two: {published:?}") };
    assert_eq!(event.content, document);
    let all = |name: &str| -> Vec<String> {
        event.tags.filter(TagKind::custom(name)).filter_map(|t| t.content()).map(str::to_owned).collect()
    };
    assert_eq!(all("d"), [format!("{}/", refusing.url)]);
    assert_eq!(all("N"), ["1", "11", "42"]);
    assert_eq!(all("R"), ["!auth", "payment", "writes"]);
    assert!(all("rtt-write").is_empty(), "it was refused, so there is no time of it");
    assert_eq!(all("rtt-open").len() + all("rtt-read").len(), 2);
    let listed = place.run(&["relays", "list", "--json"]).ok().json();
    let state = |url: &str| listed.iter().find(|r| r["url"] == url).expect("listed")["state"].clone();
    assert_eq!((state(down), state(&format!("{}/", refusing.url))), (json!("down"), json!("up")));
}

#[tokio::test(flavor = "multi_thread")]
async fn jobs_of_a_relay_that_comes_back_are_received() {
    let (first, url) = relay(&[]).await;
    let place = Place::with(&format!("identity: {{relays: [\"{url}\"]}}\ndvm: {{relays: [\"{url}\"]}}"));
    let daemon = place.daemon();
    let mut client = Client::connect(&url).await;
    soon(20, "announcement", async || client.fetch(json!({"kinds": [31_990]})).await.pop()).await;
    let ask = async |client: &mut Client| {
        let request = EventBuilder::new(Kind::from(5_400), "").sign_with_keys(&Keys::generate()).expect("signed");
        client.publish(&request).await;
        soon(45, "answer", async || client.fetch(json!({"kinds": [6_400], "#e": [request.id]})).await.pop()).await;
    };
    // An answer shows that requests are listened for. A connection that is just being made might outlive the relay.
    ask(&mut client).await;
    first.shutdown();
    drop(first);
    let second = relay_again(&url).await;
    // It remembers nothing, and neither the subscription.
    let mut client = Client::connect(&url).await;
    ask(&mut client).await;
    assert_eq!(daemon.end(Signal::TERM).0, Some(0));
    second.shutdown();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_relay_of_our_own_holds_up_no_answer() {
    let (relay, url) = relay(&[]).await;
    let dead = ScriptedRelay::start(Script::wrong(vec![], Fault::TarPit)).await.expect("started");
    let place =
        Place::with(&format!("identity: {{relays: [\"{}\", \"{url}\"]}}\ndvm: {{relays: [\"{url}\"]}}", dead.url));
    // An answer that waited for the dead relay would come after ten minutes.
    let text = std::fs::read_to_string(place.path().join("brotr.yaml")).expect("there");
    place.write("brotr.yaml", &text.replacen("connect_timeout: 2s", "connect_timeout: 10m", 1));
    let daemon = place.daemon();
    let mut client = Client::connect(&url).await;
    soon(20, "announcement", async || client.fetch(json!({"kinds": [31_990]})).await.pop()).await;
    for round in 0..6 {
        // The customer names a dead relay too, another one each time.
        let theirs = Tag::custom(TagKind::custom("relays"), [format!("{}/{round}", dead.url)]);
        let builder = EventBuilder::new(Kind::from(5_400), "").tag(Tag::hashtag(round.to_string())).tag(theirs);
        let request = builder.sign_with_keys(&Keys::generate()).expect("signed");
        client.publish(&request).await;
        soon(20, "answer", async || client.fetch(json!({"kinds": [6_400], "#e": [request.id]})).await.pop()).await;
    }
    assert_eq!(daemon.end(Signal::TERM).0, Some(0));
    relay.shutdown();
}

#[tokio::test(flavor = "multi_thread")]
async fn without_own_relays_nothing_is_sent() {
    let relay = ScriptedRelay::start(Script::honest(events::signed(30, 1_600_000_000))).await.expect("started");
    let place = Place::with("synchronizer: {interval: 1s}");
    place.run(&["relays", "add", &relay.url]).ok();
    let daemon = place.daemon();
    soon(20, "archive", async || {
        let ran = place.run(&["query", "--count"]);
        (ran.stdout.trim() == "30").then_some(())
    })
    .await;
    assert!(daemon.log().contains("identity.relays"), "it says how to change that");
    daemon.end(Signal::TERM);
    let published = relay.counts.published.load(Ordering::Relaxed);
    assert_eq!((relay.events().len(), published), (30, 0), "not even for a moment");
}

/// The body of a document.
pub(crate) async fn get(base: &str, path: &str) -> String {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let host = base.strip_prefix("http://").expect("http");
    let mut stream = tokio::net::TcpStream::connect(host).await.expect("connected");
    let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.expect("asked");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("answered");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a body");
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    body.to_owned()
}
