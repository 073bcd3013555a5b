//! REST, limits, metrics and alerts.

use std::collections::HashSet;
use std::time::Duration;

use brotr_tests::browser::{Answer, http};
use brotr_tests::{Script, ScriptedRelay, Signal, events};
use nostr::nips::nip98::{HttpData, HttpMethod};
use nostr::{JsonUtil, Keys, Url};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use super::program::{Place, next_second, soon};

/// A percent-encoded text, every byte of it.
pub(crate) fn encoded(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

pub(crate) struct House<'a> {
    pub(crate) daemon: super::program::Daemon<'a>,
    pub(crate) address: String,
}

impl<'a> House<'a> {
    pub(crate) fn start(place: &'a Place) -> Self {
        let daemon = place.daemon();
        let end = std::time::Instant::now() + Duration::from_secs(80);
        while !daemon.log().contains("/healthz") {
            assert!(std::time::Instant::now() < end, "{}", daemon.log());
            std::thread::sleep(Duration::from_millis(50));
        }
        let address = daemon.http().strip_prefix("http://").expect("http").to_owned();
        Self { daemon, address }
    }

    async fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        http(method, &self.address, path, headers, body).await.expect("an answer")
    }

    async fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, &[], "").await
    }

    /// What is wrong, in the form that all wrong answers have.
    async fn problem(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> (u16, String) {
        let answer = self.ask(method, path, headers, body).await;
        assert_eq!(answer.header("content-type"), Some("application/problem+json"), "{answer:?}");
        let problem = answer.json();
        assert_eq!(problem["status"], json!(answer.status));
        (answer.status, problem["detail"].as_str().expect("a detail").to_owned())
    }
}

/// A relay that is archived and checked, and what it says of itself.
pub(crate) async fn watched(document: &Value) -> (ScriptedRelay, Place) {
    let script = Script { nip11: Some(document.to_string()), ..Script::honest(events::signed(120, 1_600_000_000)) };
    let relay = ScriptedRelay::start(script).await.expect("started");
    let place = Place::with("monitor: {interval: 1h, warm_up: false}\nsynchronizer: {interval: 1s, settle: 1s}");
    let text = std::fs::read_to_string(place.path().join("brotr.yaml")).expect("there");
    let http = "http: {listen: \"127.0.0.1:0\", token: sesame-open, cors: [\"https://page.example\"], public_url: \"https://brotr.example.com/agent/\"}";
    place.write("brotr.yaml", &text.replace("http: {listen: \"127.0.0.1:0\"}", http));
    place.run(&["relays", "add", &relay.url]).ok();
    (relay, place)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_rest_api_returns_the_archive() {
    let (relay, place) = watched(&json!({"name": "one relay", "supported_nips": [1, 11]})).await;
    let house = House::start(&place);
    let url = format!("{}/", relay.url.trim_end_matches('/'));
    let path = format!("/api/v1/relays/{}", encoded(&url));
    let detail = soon(30, "a relay that is checked and archived", async || {
        let detail = house.get(&path).await.json();
        let proven = detail["coverage"][0]["covered"].as_array().is_some_and(|covered| !covered.is_empty());
        (detail["state"] == "up" && proven).then_some(detail)
    })
    .await;
    assert_eq!((&detail["url"], &detail["nip11"]["name"]), (&json!(url), &json!("one relay")));
    assert!(detail["rtt_open_ms"].is_i64() && detail["checks"][0]["up"] == true, "{detail}");
    assert_eq!(detail["history"]["uptime"]["all"], 1.0);
    assert_eq!(house.get(&format!("/api/v1/coverage?relay={}", encoded(&url))).await.json(), detail["coverage"]);

    // Relays in pages.
    let more: Vec<String> = (0..25).map(|n| format!("wss://r{n:02}.example.com")).collect();
    let token = [("Authorization", "Bearer sesame-open"), ("Content-Type", "application/json")];
    let body = json!({"relays": more.iter().map(String::as_str).chain(["nonsense"]).collect::<Vec<_>>()}).to_string();
    let added = house.ask("POST", "/api/v1/relays", &token, &body).await.json();
    assert_eq!((&added["added"], added["malformed"].as_array().map(Vec::len)), (&json!(25), Some(1)), "{added}");
    let (mut seen, mut after) = (Vec::new(), String::new());
    loop {
        let page = house.get(&format!("/api/v1/relays?limit=7&contains=example&after={after}")).await.json();
        seen.extend(page["relays"].as_array().expect("a list").iter().map(|relay| relay["url"].clone()));
        match page["next"].as_str() {
            Some(next) => after = encoded(next),
            None => break,
        }
    }
    let wanted: Vec<Value> = more.iter().map(|url| json!(format!("{url}/"))).collect();
    assert_eq!(seen, wanted);
    // The list is read again every few seconds.
    let up = soon(40, "a relay that is up in the list", async || {
        let up = house.get("/api/v1/relays?state=up&network=clearnet&days=2&nip=1,11&contains=ONE%20REL").await.json();
        (up["total"] == 1 && up["relays"][0]["events"] == 120).then_some(up)
    })
    .await;
    let row = &up["relays"][0];
    assert_eq!((&row["name"], &row["nips"], &row["uptime_month"]), (&json!("one relay"), &json!([1, 11]), &json!(1.0)));
    assert!(row["days"].as_array().is_some_and(|days| days.len() == 2 && days[0].is_null()), "{row}");
    let by_uptime = house.get("/api/v1/relays?sort=uptime&limit=1").await.json();
    assert_eq!((&by_uptime["relays"][0]["url"], &by_uptime["total"]), (&json!(url), &json!(26)));
    let next = format!("/api/v1/relays?sort=uptime&limit=1&after={}", encoded(&url));
    assert_eq!(house.get(&next).await.json()["relays"][0]["url"], "wss://r00.example.com/");

    // Summaries, and what is known of one relay.
    let summary = house.get("/api/v1/summary/relays").await.json();
    assert_eq!(summary["states"][1], json!({"value": "up", "relays": 1, "up": 1}), "{summary}");
    assert_eq!(house.get("/api/v1/summary/relays?nip=11").await.json()["total"], 1);
    assert_eq!(house.get("/api/v1/summary/kinds").await.json()[0]["events"], 30);
    let coverage = house.get("/api/v1/summary/coverage").await.json();
    assert_eq!((&coverage["relays"], &coverage["methods"][0]["name"]), (&json!(1), &json!("paged")), "{coverage}");
    let kinds = house.get(&format!("{path}/kinds")).await.json();
    assert_eq!(
        kinds.as_array().map(|kinds| kinds.iter().map(|kind| kind["events"].as_u64()).sum()),
        Some(Some(120)),
        "{kinds}"
    );
    assert_eq!(detail["releases"].as_array().map(Vec::len), Some(1), "{detail}");
    assert_eq!((&detail["incidents"], detail["days"].as_array().map(Vec::len)), (&json!([]), Some(90)));
    assert_eq!(house.get(&format!("{path}/checks?since=0")).await.json()[0], detail["checks"][0]);
    let badge = house.get(&format!("{path}/badge.svg")).await;
    assert_eq!(badge.header("content-type"), Some("image/svg+xml"));
    assert!(badge.body.contains("up, 100 % in 30 d"), "{badge:?}");
    assert_eq!(house.get("/api/v1/map").await.json(), json!({"places": [], "placed": 0, "total": 26}));
    let samples = house.get("/api/v1/history").await.json();
    assert!(samples[0]["at"].is_i64() && samples[0]["resident_bytes"].is_i64(), "{samples}");
    assert_eq!(house.get("/api/v1/history?until=1600000000&since=0").await.json(), json!([]));
    let agent = house.get("/api/v1/agent").await.json();
    assert!(agent["npub"].as_str().is_some_and(|npub| npub.starts_with("npub1")), "{agent}");
    // What looks like a pattern is none.
    assert_eq!(house.get("/api/v1/relays?contains=r%25").await.json()["relays"], json!([]));

    // Events by filter, in pages, as they were signed.
    let filter = encoded(r#"{"kinds":[7]}"#);
    assert_eq!(house.get(&format!("/api/v1/count?filter={filter}")).await.json()["count"], 30);
    let of_relay = format!("/api/v1/count?filter={filter}&relay={}", encoded("wss://r00.example.com"));
    assert_eq!(house.get(&of_relay).await.json()["count"], 0);
    let first = house.get(&format!("/api/v1/events?filter={filter}&limit=20")).await.json();
    let next = encoded(first["next"].as_str().expect("more"));
    let second = house.get(&format!("/api/v1/events?filter={filter}&limit=20&after={next}")).await.json();
    let all: Vec<&Value> =
        [&first, &second].iter().flat_map(|page| page["events"].as_array().expect("a list")).collect();
    assert_eq!((all.len(), &second["next"]), (30, &Value::Null));
    for event in all {
        nostr::Event::from_json(event.to_string()).expect("an event").verify().expect("as it was signed");
    }
    // A filter's own limit counts over all pages.
    let filter = encoded(r#"{"kinds":[7],"limit":25}"#);
    let (mut ids, mut after) = (Vec::new(), String::new());
    loop {
        let page = house.get(&format!("/api/v1/events?filter={filter}&limit=10{after}")).await.json();
        ids.extend(page["events"].as_array().expect("a list").iter().map(|event| event["id"].to_string()));
        match page["next"].as_str() {
            Some(next) => after = format!("&after={}", encoded(next)),
            None => break,
        }
    }
    assert_eq!((ids.len(), ids.iter().collect::<HashSet<_>>().len()), (25, 25));
    // The fields of a filter stand for themselves, too.
    let plain = house.get("/api/v1/events?kinds=7,30000&limit=25&until=9999999999").await.json();
    let as_json =
        house.get(&format!("/api/v1/events?limit=25&filter={}", encoded(r#"{"kinds":[7,30000]}"#))).await.json();
    assert_eq!((plain["events"].as_array().map(Vec::len), &plain), (Some(25), &as_json));
    let (id, author) = (&plain["events"][0]["id"], &plain["events"][0]["pubkey"]);
    let [id, author] = [id, author].map(|text| text.as_str().expect("hex"));
    let count = house.get(&format!("/api/v1/count?ids={id}&authors={author}")).await.json();
    assert_eq!(count, json!({"count": 1}));
    let one = house.get(&format!("/api/v1/events/{id}")).await.json();
    assert_eq!((&one["event"], one["relays"].as_array().map(Vec::len)), (&plain["events"][0], Some(1)), "{one}");
    assert_eq!(house.get("/api/v1/stats").await.json()["events"], 120);
    assert_eq!(house.get("/api/v1/jobs").await.json(), json!([]));

    // What is unchanged is not sent again.
    let answer = house.get("/api/v1/relays?contains=r00").await;
    let tag = answer.header("etag").expect("a tag").to_owned();
    let again = house.ask("GET", "/api/v1/relays?contains=r00", &[("If-None-Match", &tag)], "").await;
    assert_eq!((again.status, again.body.as_str()), (304, ""));
    let head = house.ask("HEAD", "/api/v1/relays?contains=r00", &[], "").await;
    let length = answer.body.len().to_string();
    assert_eq!(
        (head.header("etag"), head.header("content-length"), head.body.as_str()),
        (Some(tag.as_str()), Some(length.as_str()), "")
    );
    // One origin may read, others not.
    let theirs = house.ask("GET", "/api/v1/stats", &[("Origin", "https://page.example")], "").await;
    assert_eq!(theirs.header("access-control-allow-origin"), Some("https://page.example"));
    let others = house.ask("GET", "/api/v1/stats", &[("Origin", "https://evil.example")], "").await;
    assert_eq!(others.header("access-control-allow-origin"), None);
    assert!(answer.header("content-security-policy").is_some_and(|policy| policy.starts_with("default-src 'none'")));

    // What is wrong is told, and nothing of the inside.
    for (path, status, word) in [
        ("/api/v1/relays?limit=0", 400, "1 to 1000"),
        ("/api/v1/relays?limits=1", 400, "limits"),
        ("/api/v1/relays?state=upp", 400, "up,down"),
        ("/api/v1/relays/wss%3A%2F%2Fnever.example.com", 404, "never.example.com"),
        ("/api/v1/relays/nonsense", 404, "nonsense"),
        ("/api/v1/events?filter=%7B", 400, "JSON"),
        ("/api/v1/events?filter=%7B%22kindz%22%3A1%7D", 400, "kindz"),
        ("/api/v1/events?after=x", 400, "next"),
        ("/api/v1/events?kinds=one", 400, "kinds is no number"),
        ("/api/v1/events?authors=xyz", 400, "xyz"),
        ("/api/v1/events?kinds=1&filter=%7B%7D", 400, "beside"),
        ("/api/v1/count?since=-1", 400, "since is no number"),
        ("/api/v1/events/12", 404, "12"),
        (&format!("/api/v1/events/{}", "0".repeat(64)), 404, "not archived"),
        ("/api/v1/relays?sort=size", 400, "uptime"),
        ("/api/v1/relays?days=31", 400, "0 to 30"),
        ("/api/v1/relays?nip=one", 400, "numbers"),
        ("/api/v1/relays?sort=name&after=wss%3A%2F%2Fnever.example.com", 400, "next"),
        ("/api/v1/relays/wss%3A%2F%2Fnever.example.com/badge.svg", 404, "never.example.com"),
        ("/api/v1/nothing", 404, "openapi"),
    ] {
        let (got, detail) = house.problem("GET", path, &[], "").await;
        assert!(got == status && detail.contains(word), "{path}: {got} {detail}");
    }
    let description = house.get("/api/v1/openapi.json").await.json();
    // Every state that the description offers is one.
    let offered = description["paths"]["/api/v1/relays"]["get"]["parameters"].to_string();
    let states = offered.split("these states: ").nth(1).and_then(|rest| rest.split(';').next()).expect("states");
    for state in states.split(", ") {
        assert_eq!(house.get(&format!("/api/v1/relays?state={state}")).await.status, 200, "{state}");
    }
    for path in ["/api/v1/relays", "/api/v1/relays/{url}", "/api/v1/events", "/api/v1/services/{name}/{what}"] {
        assert!(description["paths"][path].is_object(), "{path}");
    }
    let errors = &description["paths"]["/api/v1/events"]["get"]["responses"];
    assert!(errors["400"]["content"]["application/problem+json"].is_object(), "{errors}");
    assert_eq!(house.daemon.end(Signal::TERM).0, Some(0));
}

/// The status of a request with a Host header of its own.
async fn post_to(address: &str, host: &str, path: &str, authorization: &str) -> u16 {
    let mut stream = TcpStream::connect(address).await.expect("connected");
    let request = format!(
        "POST {path} HTTP/1.1\r\nHost: {host}\r\nAuthorization: {authorization}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await.expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("an answer");
    answer.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status")
}

#[tokio::test(flavor = "multi_thread")]
async fn only_authorized_clients_write() {
    let (relay, place) = watched(&json!({})).await;
    let house = House::start(&place);
    let check = format!("/api/v1/relays/{}/check", encoded(&relay.url));
    for headers in [&[][..], &[("Authorization", "Bearer sesame")], &[("Authorization", "Nostr e30=")]] {
        for path in [check.as_str(), "/api/v1/relays", "/api/v1/services/monitor/pause"] {
            let (status, detail) = house.problem("POST", path, headers, "{\"relays\":[]}").await;
            assert_eq!(status, 401, "{path} {detail}");
        }
    }
    // Signed by the agent's own key, for this and nothing else.
    let secret = place.run(&["keys", "show", "--secret", "--json"]).ok().json();
    let ours = Keys::parse(secret[0]["nsec"].as_str().expect("a key")).expect("a key");
    let signed = async |keys: &Keys, path: &str| {
        let url = Url::parse(&format!("http://{}{path}", house.address)).expect("a url");
        HttpData::new(url, HttpMethod::POST).to_authorization(keys).await.expect("signed")
    };
    let right = signed(&ours, &check).await;
    for wrong in [signed(&Keys::generate(), &check).await, signed(&ours, "/api/v1/relays").await] {
        assert_eq!(house.problem("POST", &check, &[("Authorization", &wrong)], "").await.0, 401);
    }
    soon(20, "first check", async || {
        (relay.counts.connections.load(std::sync::atomic::Ordering::Relaxed) > 0).then_some(())
    })
    .await;
    let path = format!("/api/v1/relays/{}", encoded(&relay.url));
    let checks = async || house.get(&path).await.json()["checks"].as_array().map_or(0, Vec::len);
    soon(20, "first check that is kept", async || (checks().await > 0).then_some(())).await;
    next_second().await;
    assert_eq!(house.ask("POST", &check, &[("Authorization", &right)], "").await.status, 202);
    soon(30, "second check", async || (checks().await > 1).then_some(())).await;

    // An authorization counts once, and for the address where this is, whatever Host says.
    let (status, detail) = house.problem("POST", &check, &[("Authorization", &right)], "").await;
    assert!(status == 401 && detail.contains("used before"), "{status} {detail}");
    let elsewhere = async |base: &str| {
        let url = Url::parse(&format!("{base}{check}")).expect("a url");
        HttpData::new(url, HttpMethod::POST).to_authorization(&ours).await.expect("signed")
    };
    let lured = elsewhere("http://evil.example").await;
    assert_eq!(post_to(&house.address, "evil.example", &check, &lured).await, 401);
    let public = elsewhere("https://brotr.example.com/agent").await;
    assert_eq!(post_to(&house.address, "evil.example", &check, &public).await, 202);

    let token = [("Authorization", "Bearer sesame-open")];
    assert_eq!(house.ask("POST", "/api/v1/services/monitor/pause", &token, "").await.json()["paused"], true);
    let status = async |service: &str| house.get("/healthz").await.json()["services"][service]["status"].clone();
    assert_eq!(status("monitor").await, "paused");
    assert_eq!(house.ask("POST", &check, &token, "").await.status, 202);
    tokio::time::sleep(Duration::from_secs(3)).await;
    let before = checks().await;
    assert_eq!(house.ask("POST", "/api/v1/services/monitor/resume", &token, "").await.status, 200);
    soon(30, "check after the pause", async || (checks().await > before).then_some(())).await;
    assert_eq!(status("monitor").await, "up");
    assert_eq!(house.problem("POST", "/api/v1/services/nobody/pause", &token, "").await.0, 404);
    assert_eq!(house.daemon.end(Signal::TERM).0, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn rate_limited_clients_are_told_to_wait() {
    let place = Place::with("");
    let text = std::fs::read_to_string(place.path().join("brotr.yaml")).expect("there");
    place.write(
        "brotr.yaml",
        &text.replace("http: {listen: \"127.0.0.1:0\"}", "http: {listen: \"127.0.0.1:0\", per_minute: 5}"),
    );
    let house = House::start(&place);
    let mut met = Vec::new();
    for _ in 0..8 {
        met.push(house.get("/api/v1/stats").await.status);
    }
    assert_eq!(met, [200, 200, 200, 200, 200, 429, 429, 429]);
    // Probes are not counted.
    assert_eq!(house.get("/healthz").await.status, 200);
    // Prometheus reads what is counted without a complaint.
    let metrics = soon(20, "gauges", async || {
        let metrics = house.get("/metrics").await.body;
        metrics.contains("brotr_archive_events").then_some(metrics)
    });
    let metrics = metrics.await;
    let mut lint = std::process::Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .expect("promtool: tests/run installs it");
    std::io::Write::write_all(&mut lint.stdin.take().expect("piped"), metrics.as_bytes()).expect("written");
    let said = lint.wait_with_output().expect("ended");
    assert!(
        said.status.success(),
        "{}{}",
        String::from_utf8_lossy(&said.stdout),
        String::from_utf8_lossy(&said.stderr)
    );
    assert_eq!(house.daemon.end(Signal::TERM).0, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_read_large_answers_slowly_take_little_memory() {
    let place = Place::with("monitor: {enabled: false}\nsynchronizer: {enabled: false}\nfinder: {enabled: false}");
    let text = std::fs::read_to_string(place.path().join("brotr.yaml")).expect("there");
    place
        .write("brotr.yaml", &text.replace("listen: \"127.0.0.1:0\"", "listen: \"127.0.0.1:0\", max_connections: 100"));
    let author = Keys::generate();
    let list = (0..60).map(|n| events::at(&author, nostr::Kind::TextNote, 1_600_000_000 + n, &"x".repeat(100_000)));
    let lines: Vec<String> = list.map(|event| event.as_json()).collect();
    place.write("events.jsonl", &lines.join("\n"));
    place.run(&["import", "events.jsonl"]).ok();
    let house = House::start(&place);
    let before = house.daemon.peak_memory_kib();
    let ask = async || {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.set_recv_buffer_size(16 << 10).expect("set");
        let mut stream = socket.connect(house.address.parse().expect("an address")).await.expect("connected");
        stream.write_all(b"GET /api/v1/events HTTP/1.1\r\nHost: here\r\n\r\n").await.expect("sent");
        let mut head = [0; 12];
        stream.read_exact(&mut head).await.expect("an answer");
        (String::from_utf8_lossy(&head[9..]).into_owned(), stream)
    };
    let answers = futures::future::join_all((0..60).map(|_| ask())).await;
    let refused = answers.iter().filter(|(status, _)| status == "503").count();
    let grown = house.daemon.peak_memory_kib().saturating_sub(before) >> 10;
    println!("60 slow readers of 4 MiB each: {refused} refused, {grown} MiB");
    assert!((20..60).contains(&refused) && grown < 400, "{refused} refused, {grown} MiB");
    assert!(house.get("/api/v1/events?limit=1").await.status == 200, "small answers go on");
    drop(answers);
    soon(20, "large answer", async || (ask().await.0 == "200").then_some(())).await;
    assert_eq!(house.daemon.end(Signal::TERM).0, Some(0));
}

#[test]
fn every_alert_fires_in_its_situation_and_in_no_other() {
    let deploy = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy");
    let ran = std::process::Command::new("promtool")
        .args(["test", "rules", &format!("{deploy}/prometheus/alerts_test.yml")])
        .output()
        .expect("promtool: tests/run installs it");
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    // What alerts and the dashboard ask for is counted.
    let text = std::fs::read_to_string(format!("{deploy}/prometheus/alerts.yml")).expect("there")
        + &std::fs::read_to_string(format!("{deploy}/grafana/brotr.json")).expect("there");
    let described = include_str!("../../agent/src/telemetry/metrics.rs");
    let names = text.split(|c: char| !c.is_ascii_lowercase() && c != '_').filter(|word| word.starts_with("brotr_"));
    for name in names {
        assert!(described.contains(&format!("\"{name}\"")), "{name}");
    }
}
