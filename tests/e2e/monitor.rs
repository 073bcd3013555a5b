//! What a visit finds, what is published of it, and when.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use brotr::agent::now;
use brotr::config::Check;
use brotr::outbox::Publisher;
use brotr::pulse::Pulse;
use brotr::services::monitor::{Health, Monitor, Places, Plan, WriteTest, check};
use brotr::services::publisher::{RelayClient, deliver};
use brotr_core::{Network, RelayState, RelayUrl};
use brotr_storage::{Relay, RelayQuery};
use brotr_tests::dns::{Answer, TTL};
use brotr_tests::tls::ORGANISATION;
use brotr_tests::{Authority, Dns, Fault, Negentropy, Script, ScriptedRelay, Shown, TlsFront, events};
use nostr::{Event, EventBuilder, Kind};
use serde_json::json;

use super::faults::{Place, place, place_on, place_with};
use super::program;
use super::schema::assert_sound;

const FIRST: u64 = 1_600_000_000;

fn port_of(url: &str) -> u16 {
    url.rsplit(':').next().and_then(|port| port.parse().ok()).expect("a port")
}

/// What a tag of an event says, each time it is there.
fn tags<'a>(event: &'a Event, name: &str) -> Vec<&'a str> {
    event.tags.iter().filter(|tag| tag.as_slice()[0] == name).filter_map(|tag| tag.content()).collect()
}

fn database(name: &str) -> std::path::PathBuf {
    std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/support/places").join(name)
}

/// A place whose names `dns` looks up, and that trusts an authority.
async fn secure(authority: &Authority, dns: &Dns) -> (tempfile::TempDir, Place) {
    let dir = tempfile::tempdir().expect("a directory");
    let file = authority.write(dir.path()).expect("written");
    let network = json!({"allow": ["127.0.0.0/8"], "nameservers": [dns.address], "ca_file": file,
        "clearnet": {"connect_timeout": "1s", "request_timeout": "1s"}});
    (dir, place_on(&network.to_string(), "").await)
}

async fn visit(place: &Place, url: &str, write: WriteTest) -> Health {
    let address = RelayUrl::parse(url, place.agent.dialer.guard()).expect("an address");
    let geo = brotr::config::Geo { city: Some(database("berlin.mmdb")), asn: Some(database("networks.mmdb")) };
    let plan = Plan { max_pow: 12, places: Arc::new(Places::new(&geo)), ..Plan::new(&Check::ALL, write) };
    check(&place.agent.dialer, &address, &plan).await
}

#[tokio::test(flavor = "multi_thread")]
async fn one_visit_finds_every_fact_in_two_connections() {
    let nip11 = r#"{"name":"all there","supported_nips":[1,11,77,"45"],"tags":["bitcoin"],"language_tags":["de-DE"],
        "limitation":{"min_pow_difficulty":8,"auth_required":false},"retention":[{"kinds":[4,[40,41]],"time":0}]}"#;
    let script = Script {
        nip11: Some(nip11.into()),
        negentropy: Negentropy::Speaks { withholds: 0 },
        ..Script::honest(events::signed(5, FIRST))
    };
    let relay = ScriptedRelay::start(script).await.expect("started");
    let authority = Authority::new().expect("made");
    let front = TlsFront::start(&authority, "relay.example", Shown::Good, port_of(&relay.url)).await.expect("started");
    let dns = Dns::start(|name, _| {
        (name == "relay.example").then(|| Answer { cname: Some("host.example".into()), ..Answer::of(&["127.0.0.1"]) })
    })
    .await
    .expect("started");
    let (_dir, place) = secure(&authority, &dns).await;
    let url = format!("wss://relay.example:{}/", front.port);
    let health = visit(&place, &url, WriteTest::As(place.agent.signer.clone())).await;
    assert!(health.up, "{health:?}");
    assert!(
        health.checks.values().all(|outcome| outcome.ok == Some(true)) && health.checks.len() == 8,
        "{:?}",
        health.checks
    );
    assert_eq!(relay.counts.connections.load(Ordering::Relaxed), 2, "one to talk and one for the document");
    let contradicts: Vec<_> = health.probes.iter().filter(|(_, probe)| probe.contradicts()).collect();
    // It says 45 and is silent when it is asked.
    assert_eq!(contradicts.iter().map(|(name, _)| **name).collect::<Vec<_>>(), ["nip45"], "{contradicts:?}");
    assert_eq!(health.probes["nip77"].found, Some(true));
    assert_eq!((health.probes["order"].found, health.probes["eose"].found), (Some(true), Some(true)));

    let at = now();
    let event = place.agent.signer.sign(brotr::services::monitor::nip66::discovery(&health, at)).expect("signed");
    assert_sound(&event);
    assert_eq!((event.content.as_str(), event.created_at.as_secs()), (nip11, at as u64));
    let tls = health.trace.tls().expect("seen");
    let ends = tls.certificate.expect("shown").not_after.to_string();
    for (name, wanted) in [
        ("d", vec![url.as_str()]),
        ("n", vec!["clearnet"]),
        ("N", vec!["1", "11", "77"]),
        ("R", vec!["!auth", "pow"]),
        ("t", vec!["bitcoin"]),
        ("k", vec!["!4", "!40", "!41"]),
        ("ssl", vec!["valid"]),
        ("ssl-expires", vec![ends.as_str()]),
        ("ssl-issuer", vec![ORGANISATION]),
        ("net-ip", vec!["127.0.0.1"]),
        ("net-asn", vec!["64500"]),
        ("net-asn-org", vec!["Loopback & Sons"]),
        ("dns-ip", vec!["127.0.0.1"]),
        ("dns-cname", vec!["host.example"]),
        ("dns-ttl", vec![TTL.to_string().as_str()]),
        ("geo-country", vec!["DE"]),
        ("geo-city", vec!["Berlin"]),
        ("geo-lat", vec!["52.52"]),
        ("geo-tz", vec!["Europe/Berlin"]),
        ("g", vec!["u33dc"]),
        ("l", vec!["de", "DE", "Berlin", "Europe/Berlin", "64500", "Loopback & Sons"]),
        ("net-ipv6", vec![]),
        ("dns-ip6", vec![]),
        ("http-server", vec![]),
    ] {
        assert_eq!(tags(&event, name), wanted, "{name}");
    }
    assert_eq!(["rtt-open", "rtt-read", "rtt-write"].map(|name| tags(&event, name).len()), [1, 1, 1]);
    // A second visit finds the same facts: round trips and times to live are no part of them.
    let again = visit(&place, &url, WriteTest::As(place.agent.signer.clone())).await;
    assert_eq!(again.facts(), health.facts());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_is_recorded_though_it_is_refused() {
    let relay = ScriptedRelay::start(Script::honest(vec![])).await.expect("started");
    let authority = Authority::new().expect("made");
    let dns =
        Dns::start(|name, _| name.ends_with(".example").then(|| Answer::of(&["127.0.0.1"]))).await.expect("started");
    let (_dir, place) = secure(&authority, &dns).await;
    for (shown, why) in [
        (Shown::Expired, "the certificate has expired"),
        (Shown::SelfSigned, "the certificate is not signed by a trusted authority"),
        (Shown::OtherHost, "the certificate is for another host: other.example"),
        (Shown::Nothing, ""),
    ] {
        let front = TlsFront::start(&authority, "relay.example", shown, port_of(&relay.url)).await.expect("started");
        let began = std::time::Instant::now();
        let health = visit(&place, &format!("wss://relay.example:{}/", front.port), WriteTest::Skip).await;
        // Without the timeouts of 1 s a stalled handshake would never end.
        assert!(began.elapsed() < Duration::from_secs(20), "{shown:?}");
        assert!(!health.up && !health.is_good("open"), "{shown:?}: {health:?}");
        let certificate = health.trace.tls().and_then(|tls| tls.certificate);
        if shown == Shown::Nothing {
            assert!(certificate.is_none() && !health.checks.contains_key("ssl"), "{health:?}");
            continue;
        }
        let certificate = certificate.expect("it was shown");
        let reason = health.checks["ssl"].reason.clone().expect("refused");
        assert!(reason.contains(why), "{shown:?}: {reason}");
        let host = if shown == Shown::OtherHost { "other.example" } else { "relay.example" };
        assert_eq!((certificate.subject.as_str(), certificate.names), (host, vec![host.to_owned()]));
        assert_eq!(certificate.not_after < now(), shown == Shown::Expired);
        assert_eq!(health.facts()["ssl"]["valid"], false);
    }
    assert_eq!(relay.counts.connections.load(Ordering::Relaxed), 0, "nobody came through");
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_are_findings_by_their_first_word() {
    let place = place().await;
    let me = || WriteTest::As(place.agent.signer.clone());
    for (refusal, wants) in [
        ("blocked: members only", vec!["writes"]),
        ("restricted: no", vec!["writes"]),
        ("auth-required: who are you?", vec!["auth"]),
        ("pow: 20 bits needed", vec!["pow"]),
        ("payment-required: 21 sats", vec!["payment"]),
        ("rate-limited: slow down", vec![]),
        ("mute: nobody hears you", vec![]),
        ("error: auth, payment and pow are all broken", vec![]),
        ("we are paid and want auth", vec![]),
    ] {
        let script = Script { refuses: Some(refusal.into()), ..Script::honest(vec![]) };
        let relay = ScriptedRelay::start(script).await.expect("started");
        let health = visit(&place, &relay.url, me()).await;
        assert!(health.up, "a refusal is no failure: {health:?}");
        assert_eq!(health.checks["write"].reason.as_deref(), Some(refusal));
        let found: Vec<_> = health.requires.iter().map(|requirement| requirement.as_str()).collect();
        assert_eq!(found, wants, "{refusal}");
        let event =
            place.agent.signer.sign(brotr::services::monitor::nip66::discovery(&health, now())).expect("signed");
        assert_sound(&event);
        assert!(tags(&event, "rtt-write").is_empty(), "it was refused, so there is no time of it");
    }
    // More work than we do for a test is not done, and the relay is asked for nothing.
    let nip11 = Some(r#"{"limitation":{"min_pow_difficulty":40}}"#.to_owned());
    let relay = ScriptedRelay::start(Script { nip11, ..Script::honest(vec![]) }).await.expect("started");
    let health = visit(&place, &relay.url, me()).await;
    assert!(health.checks["write"].reason.as_ref().is_some_and(|why| why.contains("40 bits")), "{health:?}");
    assert_eq!(relay.counts.published.load(Ordering::Relaxed), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_test_without_ok_succeeds_if_its_event_is_returned() {
    // With a timeout of a minute, what ends sooner was not waited for that long.
    let network = r#"{allow: [127.0.0.0/8], clearnet: {request_timeout: 1m}}"#;
    let place = place_on(network, "").await;
    let visited = async |fault: Fault| {
        let relay = ScriptedRelay::start(Script::wrong(events::signed(3, FIRST), fault)).await.expect("started");
        let began = std::time::Instant::now();
        let health = visit(&place, &relay.url, WriteTest::As(place.agent.signer.clone())).await;
        assert!(began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed());
        assert!(health.up && health.is_good("read"), "{health:?}");
        let event =
            place.agent.signer.sign(brotr::services::monitor::nip66::discovery(&health, now())).expect("signed");
        assert_sound(&event);
        (health.checks["write"].clone(), tags(&event, "rtt-write").len())
    };
    let (passed_on, rtt) = visited(Fault::PassesOn).await;
    assert_eq!((passed_on.ok, passed_on.reason, rtt), (Some(true), None, 1));
    // Silence proves nothing, and an OK about another event is silence.
    for fault in [Fault::NoOk, Fault::OkOfAnother] {
        let (silent, rtt) = visited(fault.clone()).await;
        assert_eq!((silent.ok, silent.ms, rtt), (None, None, 0), "{fault:?}");
        assert!(silent.reason.is_some_and(|why| why.contains("did not come back")), "{fault:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_that_serves_only_forged_events_is_not_read() {
    let place = place().await;
    let relay =
        ScriptedRelay::start(Script::wrong(events::signed(5, FIRST), Fault::BadSignatures)).await.expect("started");
    let health = visit(&place, &relay.url, WriteTest::As(place.agent.signer.clone())).await;
    // It is there and speaks the protocol, and what it serves is worth nothing.
    assert!(health.up && health.is_good("open") && health.is_good("write"), "{health:?}");
    let read = &health.checks["read"];
    assert_eq!((read.ok, read.ms), (Some(false), None));
    assert!(health.reason().is_some_and(|why| why.starts_with("none of the 3 events")), "{health:?}");
    let event = place.agent.signer.sign(brotr::services::monitor::nip66::discovery(&health, now())).expect("signed");
    assert_eq!((tags(&event, "rtt-read").len(), tags(&event, "rtt-open").len()), (0, 1));
    let none = ScriptedRelay::start(Script::wrong(vec![], Fault::BadSignatures)).await.expect("started");
    assert!(visit(&place, &none.url, WriteTest::Skip).await.is_good("read"), "a relay that holds nothing is readable");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_of_places_may_be_exchanged_while_the_agent_runs() {
    let dir = tempfile::tempdir().expect("a directory");
    let city = dir.path().join("city.mmdb");
    let places = Places::new(&brotr::config::Geo { city: Some(city.clone()), asn: None });
    let ip = "127.0.0.1".parse().expect("an address");
    let look = async |wanted: Option<&str>| {
        for _ in 0..60 {
            if places.of(ip).city.as_deref() == wanted {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("not {wanted:?}: {:?}", places.of(ip));
    };
    look(None).await;
    std::fs::copy(database("berlin.mmdb"), &city).expect("copied");
    look(Some("Berlin")).await;
    std::fs::copy(database("lisbon.mmdb"), &city).expect("copied");
    look(Some("Lisbon")).await;
    // What cannot be read leaves the last one in place.
    std::fs::write(&city, "no database").expect("written");
    tokio::time::sleep(Duration::from_millis(2_200)).await;
    look(Some("Lisbon")).await;
    assert_eq!(places.of("9.9.9.9".parse().expect("an address")), brotr::services::monitor::Place::default());
}

/// A relay as the archive has it.
pub(crate) async fn known(place: &Place, url: &str) -> Relay {
    place.agent.archive.add_relays(&[(url.to_owned(), Network::Clearnet)], now()).await.expect("added");
    place.agent.archive.relay(url).await.expect("read").expect("there")
}

/// Sends what waits, and gives what the relay has by then of a kind.
pub(crate) async fn published(place: &Place, publisher: &Publisher, own: &ScriptedRelay, kind: u16) -> Vec<Event> {
    let client = RelayClient::new(&place.agent);
    let sent = async {
        while !place.agent.archive.due_relays(now()).await.expect("asked").is_empty() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::select! {
        ended = deliver(place.agent.clone(), publisher.clone(), client.clone(), Pulse::default()) => panic!("{ended:?}"),
        () = sent => {}
    }
    client.shutdown().await;
    own.events().into_iter().filter(|event| event.kind == Kind::from(kind)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn events_of_dead_relays_are_withdrawn_and_none_is_published_unmeasured() {
    let own = ScriptedRelay::start(Script::honest(vec![])).await.expect("started");
    let relay = ScriptedRelay::start(Script::honest(vec![])).await.expect("started");
    let place =
        place_with(&format!("identity: {{relays: [\"{}\"]}}\nmonitor: {{withdraw_after: 2s, interval: 1s}}", own.url))
            .await;
    let publisher = Publisher::new(&place.agent);
    let monitor = Monitor::new(&place.agent, &publisher).await.expect("made");
    // The seeds are not loaded yet.
    monitor.warm_up().await.expect("asked");
    let (url, dead) = (format!("{}/", relay.url), "ws://127.0.0.1:9/");
    let (first, second) = (known(&place, &url).await, known(&place, dead).await);
    monitor.visit(&first).await.expect("visited");
    monitor.warm_up().await.expect("asked");
    assert!(published(&place, &publisher, &own, 30_166).await.is_empty(), "one relay was never checked");
    monitor.visit(&second).await.expect("visited");
    monitor.warm_up().await.expect("asked");
    monitor.visit(&first).await.expect("visited");
    monitor.visit(&second).await.expect("visited");
    let found = published(&place, &publisher, &own, 30_166).await;
    assert_eq!(found.iter().flat_map(|event| tags(event, "d")).collect::<Vec<_>>(), [url.as_str()]);
    assert_sound(&found[0]);
    // The next check is no later than was announced.
    let due =
        RelayQuery { check_due: Some(now() + 1), states: vec![RelayState::Up], limit: 9, ..RelayQuery::default() };
    assert_eq!(place.agent.archive.relays(&due).await.expect("listed").len(), 1);

    drop(relay);
    tokio::time::sleep(Duration::from_millis(3_100)).await;
    monitor.visit(&first).await.expect("visited");
    let withdrawn = published(&place, &publisher, &own, 5).await;
    let [one] = withdrawn.as_slice() else { panic!("one withdrawal: {withdrawn:?}") };
    assert_sound(one);
    let author = place.agent.signer.public_key().to_hex();
    assert_eq!(tags(one, "a"), [format!("30166:{author}:{url}").as_str()]);
    monitor.visit(&first).await.expect("visited");
    assert_eq!(published(&place, &publisher, &own, 5).await.len(), 1, "once is enough");
    assert_eq!(published(&place, &publisher, &own, 30_166).await.len(), 1, "a dead relay is not announced");
}

#[tokio::test(flavor = "multi_thread")]
async fn aliases_are_distinguished_from_relays_on_paths() {
    let nip11 = |name: &str| Some(format!(r#"{{"name":"{name}"}}"#));
    let any =
        ScriptedRelay::start(Script { nip11: nip11("any path"), ..Script::honest(vec![]) }).await.expect("started");
    for (distinct, wanted) in [("[]", RelayState::Alias), ("[\"127.*\"]", RelayState::Up)] {
        let place = place_with(&format!("monitor: {{distinct: {distinct}}}")).await;
        let monitor = Monitor::new(&place.agent, &Publisher::new(&place.agent)).await.expect("made");
        let state = async |url: String| {
            let relay = known(&place, &url).await;
            monitor.visit(&relay).await.expect("visited");
            known(&place, &url).await.state
        };
        // Before the root is known nothing can be said.
        assert_eq!(state(format!("{}/inbox", any.url)).await, RelayState::Up);
        assert_eq!(state(format!("{}/", any.url)).await, RelayState::Up);
        assert_eq!(state(format!("{}/inbox", any.url)).await, wanted);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn our_own_announcements_are_valid() {
    let own = ScriptedRelay::start(Script::honest(vec![])).await.expect("started");
    let place = program::Place::with(&format!(
        "identity: {{name: \"a monitor\", relays: [\"{url}\"]}}\ndvm: {{relays: [\"{url}\"]}}\nmonitor: {{geohash: u33d, interval: 1h}}",
        url = own.url
    ));
    let daemon = place.daemon();
    let kinds = [0, 10_002, 10_166, 31_990];
    let found = program::soon(30, "announcements", async || {
        let found: BTreeMap<u16, Event> = own.events().into_iter().map(|event| (event.kind.as_u16(), event)).collect();
        kinds.iter().all(|kind| found.contains_key(kind)).then_some(found)
    })
    .await;
    found.values().for_each(assert_sound);
    let announcement = &found[&10_166];
    assert_eq!(tags(announcement, "frequency"), ["3600"]);
    assert_eq!(tags(announcement, "g"), ["u33d"]);
    assert!(tags(announcement, "n").contains(&"clearnet") && tags(announcement, "n").contains(&"tor"));
    let timeouts: Vec<_> = announcement.tags.iter().filter(|tag| tag.as_slice()[0] == "timeout").collect();
    assert_eq!(timeouts.len(), Check::ALL.len() - 1, "without a database of cities none is checked");
    assert_eq!(timeouts[0].as_slice(), ["timeout", "open", "2000"], "the test first");
    assert_eq!(daemon.end(brotr_tests::Signal::TERM).0, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn bursts_are_paced_and_rate_limited_events_are_sent_later() {
    let own = ScriptedRelay::start(Script::wrong(vec![], Fault::TakesASecond(12))).await.expect("started");
    let place = place_with(&format!("identity: {{relays: [\"{}\"]}}", own.url)).await;
    let publisher = Publisher::new(&place.agent);
    for n in 0..30 {
        let one = EventBuilder::new(Kind::from(30_166), "").tag(nostr::Tag::identifier(n.to_string()));
        publisher.publish(place.agent.signer.sign(one).expect("signed")).await.expect("queued");
    }
    let began = std::time::Instant::now();
    let took = published(&place, &publisher, &own, 30_166).await.len();
    assert_eq!(took, 30, "in {:?}", began.elapsed());
    let sent = &place.agent.archive.deliveries().await.expect("asked")[0];
    assert_eq!((sent.accepted, sent.refused, sent.waiting), (30, 0, 0), "{sent:?}");
    assert_eq!(own.counts.published.load(Ordering::Relaxed), 30, "none was refused on the way");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_event_delays_no_other() {
    for fault in [Fault::SilentAbout("too much"), Fault::RefusesOnly("too much")] {
        let own = ScriptedRelay::start(Script::wrong(vec![], fault.clone())).await.expect("started");
        let place = place_with(&format!("identity: {{relays: [\"{}\"]}}", own.url)).await;
        let publisher = Publisher::new(&place.agent);
        for n in 0..6 {
            let content = if n == 0 { "too much".to_owned() } else { n.to_string() };
            let note = place.agent.signer.sign(EventBuilder::text_note(content)).expect("signed");
            publisher.publish(note).await.expect("queued");
        }
        let client = RelayClient::new(&place.agent);
        // The relay has an event before its OK is recorded, so the records are what is awaited.
        let others = program::soon(40, "delivery of the other five", async || {
            let sent = &place.agent.archive.deliveries().await.expect("asked")[0];
            (sent.accepted == 5).then_some(sent.waiting)
        });
        let waiting = tokio::select! {
            ended = deliver(place.agent.clone(), publisher.clone(), client.clone(), Pulse::default()) => panic!("{ended:?}"),
            waiting = others => waiting,
        };
        client.shutdown().await;
        assert_eq!(waiting, 1, "{fault:?}: the event that is not taken is neither lost nor given up");
    }
}
