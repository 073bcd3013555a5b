//! Relays whose operators ask crawlers to stay away are left alone.

use std::sync::atomic::Ordering;

use brotr::agent::now;
use brotr::outbox::Publisher;
use brotr::services::monitor::Monitor;
use brotr::state::OPTED_OUT;
use brotr_core::{Network, RelayState};
use brotr_storage::{CheckRecord, Relay};
use brotr_tests::{Script, ScriptedRelay};
use nostr::{EventBuilder, Keys, Kind, Tag};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::faults::{Place, place_with};
use super::monitor::{known, published};
use super::program::soon;

const EVERYONE: &str = "User-agent: *\nDisallow: /\n";

async fn relay_with(robots: Option<&'static str>, nip11: Option<String>) -> ScriptedRelay {
    ScriptedRelay::start(Script { robots, nip11, ..Script::honest(vec![]) }).await.expect("started")
}

/// Visits a relay, and returns its state and why it is left alone.
async fn visit(place: &Place, monitor: &Monitor, relay: &Relay) -> (RelayState, Option<String>) {
    monitor.visit(relay).await.expect("the archive works");
    let now = place.agent.archive.relay(&relay.url).await.expect("read").expect("there");
    let objection = OPTED_OUT.get(place.agent.archive.as_ref(), &relay.url).await.expect("read");
    (now.state, objection.map(|objection| objection.reason()))
}

#[tokio::test(flavor = "multi_thread")]
async fn relays_are_left_alone_if_their_robots_txt_says_so() {
    let place = place_with("monitor: {warm_up: false}").await;
    let monitor = Monitor::new(&place.agent, &Publisher::new(&place.agent)).await.expect("made");
    for (robots, is_left_alone) in [
        (None, false),
        (Some("User-agent: *\nDisallow: /private\n"), false),
        (Some("User-agent: other\nDisallow: /\n"), false),
        (Some(EVERYONE), true),
        (Some("User-agent: Brotr\nDisallow: /\n"), true),
        (Some("User-agent: *\nDisallow: /\n\nUser-agent: brotr\nDisallow:\n"), false),
    ] {
        let relay = relay_with(robots, None).await;
        let row = known(&place, &format!("{}/", relay.url)).await;
        let (state, reason) = visit(&place, &monitor, &row).await;
        let wanted = if is_left_alone { RelayState::OptedOut } else { RelayState::Up };
        assert_eq!((state, reason.is_some()), (wanted, is_left_alone), "{robots:?}: {reason:?}");
        let [requests, documents] =
            [&relay.counts.requests, &relay.counts.documents].map(|n| n.load(Ordering::Relaxed));
        assert_eq!((requests > 0, documents > 0), (!is_left_alone, !is_left_alone), "{robots:?}");
        // The file is read once a day.
        let before = relay.counts.connections.load(Ordering::Relaxed);
        visit(&place, &monitor, &row).await;
        assert_eq!(relay.counts.robots.load(Ordering::Relaxed), 1, "{robots:?}");
        if is_left_alone {
            assert_eq!(relay.counts.connections.load(Ordering::Relaxed), before, "{robots:?}");
            // Nothing was checked, so there is no check that failed.
            assert!(place.agent.archive.visits(&row.url, 0, 10).await.expect("read").is_empty());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_agents_operator_decides_about_own_and_listed_relays() {
    let (own, listed, robots) =
        (relay_with(Some(EVERYONE), None).await, relay_with(None, None).await, relay_with(Some(EVERYONE), None).await);
    let network = format!("{{allow: [127.0.0.0/8], avoid: [\"{}\"]}}", listed.url);
    let more = format!("identity: {{relays: [\"{}\"]}}\nmonitor: {{warm_up: false}}", own.url);
    let place = super::faults::place_on(&network, &more).await;
    let monitor = Monitor::new(&place.agent, &Publisher::new(&place.agent)).await.expect("made");
    let row = async |relay: &ScriptedRelay| known(&place, &format!("{}/", relay.url)).await;
    assert_eq!(visit(&place, &monitor, &row(&own).await).await.0, RelayState::Up);
    let (state, reason) = visit(&place, &monitor, &row(&listed).await).await;
    assert_eq!((state, reason.as_deref()), (RelayState::OptedOut, Some("network.avoid lists it")));
    assert_eq!(listed.counts.connections.load(Ordering::Relaxed), 0);

    let place = super::faults::place_on("{allow: [127.0.0.0/8], robots: false}", "monitor: {warm_up: false}").await;
    let monitor = Monitor::new(&place.agent, &Publisher::new(&place.agent)).await.expect("made");
    let row = known(&place, &format!("{}/", robots.url)).await;
    assert_eq!(visit(&place, &monitor, &row).await.0, RelayState::Up);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signed_request_withdraws_what_was_published_and_can_be_taken_back() {
    let (own, operator, stranger) = (relay_with(None, None).await, Keys::generate(), Keys::generate());
    let relay = relay_with(None, Some(json!({"pubkey": operator.public_key().to_hex()}).to_string())).await;
    let more = format!("identity: {{relays: [\"{}\"]}}\nmonitor: {{warm_up: false}}", own.url);
    let place = place_with(&more).await;
    let publisher = Publisher::new(&place.agent);
    let monitor = Monitor::new(&place.agent, &publisher).await.expect("made");
    let row = known(&place, &format!("{}/", relay.url)).await;
    let request = |keys: &Keys| {
        let tags = [vec!["L", "brotr"], vec!["l", "no-crawl", "brotr"], vec!["r", &relay.url]];
        let tags = tags.map(|tag| Tag::parse(tag).expect("a tag"));
        EventBuilder::new(Kind::Label, "").tags(tags).sign_with_keys(keys).expect("signed")
    };
    let archive = async |event: &nostr::Event| {
        let event = brotr_core::Event::from(event).verify().expect("signed");
        let batch = brotr_storage::Batch { events: vec![event], ..brotr_storage::Batch::default() };
        place.agent.archive.store(batch).await.expect("stored");
    };
    assert_eq!(visit(&place, &monitor, &row).await.0, RelayState::Up);
    assert_eq!(published(&place, &publisher, &own, 30_166).await.len(), 1);
    archive(&request(&stranger)).await;
    assert_eq!(visit(&place, &monitor, &row).await.0, RelayState::Up, "the key of the document counts");

    let asked = request(&operator);
    archive(&asked).await;
    let before = relay.counts.connections.load(Ordering::Relaxed);
    let (state, reason) = visit(&place, &monitor, &row).await;
    assert_eq!(state, RelayState::OptedOut);
    assert!(reason.is_some_and(|reason| reason.contains(&asked.id.to_hex())));
    assert_eq!(relay.counts.connections.load(Ordering::Relaxed), before, "nothing was asked of it");
    let withdrawn = published(&place, &publisher, &own, 5).await;
    assert_eq!(withdrawn.len(), 1, "{withdrawn:?}");
    let row = place.agent.archive.relay(&row.url).await.expect("read").expect("there");
    assert!(row.checked_at.is_some_and(|at| at <= now()) && row.network == Network::Clearnet);

    archive(
        &EventBuilder::delete(nostr::nips::nip09::EventDeletionRequest::new().id(asked.id))
            .sign_with_keys(&operator)
            .expect("signed"),
    )
    .await;
    assert_eq!(visit(&place, &monitor, &row).await.0, RelayState::Up);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_that_is_followed_is_left_alone_from_then_on() {
    let relay = ScriptedRelay::start(Script { live: true, ..Script::honest(vec![]) }).await.expect("started");
    let place = place_with("monitor: {warm_up: false}").await;
    let monitor = Monitor::new(&place.agent, &Publisher::new(&place.agent)).await.expect("made");
    let row = known(&place, &format!("{}/", relay.url)).await;
    assert_eq!(visit(&place, &monitor, &row).await.0, RelayState::Up);
    let watch = async {
        soon(20, "subscription", async || (relay.connected() == 1).then_some(())).await;
        let due_at = now() + 3_600;
        let check = CheckRecord { at: now(), due_at, state: RelayState::OptedOut, ..CheckRecord::default() };
        place.agent.archive.record_check(&row.url, row.network, &check).await.expect("recorded");
        soon(20, "end of it", async || (relay.connected() == 0).then_some(())).await;
    };
    tokio::select! {
        ended = brotr::services::synchronizer::live::run(place.agent.clone()) => panic!("{ended:?}"),
        () = watch => {}
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_an_answer_what_robots_txt_said_before_counts() {
    let relay = relay_with(Some(EVERYONE), None).await;
    let url = format!("{}/", relay.url);
    let place = place_with("monitor: {warm_up: false}").await;
    let monitor = Monitor::new(&place.agent, &Publisher::new(&place.agent)).await.expect("made");
    let row = known(&place, &url).await;
    assert_eq!(visit(&place, &monitor, &row).await.0, RelayState::OptedOut);
    drop(relay);
    let address = brotr_core::RelayUrl::parse(&url, place.agent.dialer.guard()).expect("an address");
    place.agent.robots.forget(&address);
    let row = known(&place, &url).await;
    assert_eq!(visit(&place, &monitor, &row).await.0, RelayState::OptedOut, "it is not known that it may be read now");
    // One that never objected is down.
    let other = known(&place, "ws://127.0.0.1:9/").await;
    assert_eq!(visit(&place, &monitor, &other).await.0, RelayState::Down);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_written_where_writes_are_restricted() {
    let own = relay_with(None, None).await;
    let place = place_with(&format!("identity: {{relays: [\"{}\"]}}\nmonitor: {{warm_up: false}}", own.url)).await;
    let monitor = Monitor::new(&place.agent, &Publisher::new(&place.agent)).await.expect("made");
    for (restricted, written) in [(false, 1), (true, 0)] {
        let document = json!({"limitation": {"restricted_writes": restricted}}).to_string();
        let relay = relay_with(None, Some(document)).await;
        let row = known(&place, &format!("{}/", relay.url)).await;
        let health = monitor.visit(&row).await.expect("the archive works").expect("checked");
        assert_eq!(health.checks["write"].ok, (!restricted).then_some(true), "{:?}", health.checks);
        assert_eq!(relay.counts.published.load(Ordering::Relaxed), written);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_other_spelling_is_asked_for_on_the_same_connection() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("bound");
    let url = format!("ws://{}/", listener.local_addr().expect("bound"));
    let answers = async {
        let (mut stream, _) = listener.accept().await.expect("accepted");
        for (path, answer) in [
            ("/robots.txt", "HTTP/1.1 404 Not Found\r\nContent-Length: 9\r\n\r\nnot found"),
            ("/Robots.txt", "HTTP/1.1 200 OK\r\nContent-Length: 25\r\n\r\nUser-agent: *\nDisallow: /"),
        ] {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                assert!(stream.read_buf(&mut head).await.expect("read") > 0, "it was closed before {path}");
            }
            assert!(
                head.starts_with(format!("GET {path} HTTP/1.1\r\n").as_bytes()),
                "{}",
                String::from_utf8_lossy(&head)
            );
            stream.write_all(answer.as_bytes()).await.expect("written");
        }
    };
    let place = place_with("").await;
    let address = brotr_core::RelayUrl::parse(&url, place.agent.dialer.guard()).expect("an address");
    let (rules, ()) = tokio::join!(brotr_net::robots::read(&place.agent.dialer, &address), answers);
    let rules = rules.expect("an answer");
    assert!(!brotr_net::robots::is_allowed(&rules, &address), "{rules}");
}
