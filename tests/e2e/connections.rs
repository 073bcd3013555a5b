//! One connection serves all that the agent does with a relay that it follows.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_wsocket::{ConnectionMode, Message};
use brotr::outbox::Publisher;
use brotr::services::monitor::{Monitor, Requirement};
use brotr::services::publisher::RelayClient;
use brotr::services::synchronizer::live;
use brotr_net::{End, GuardedTransport, Session};
use brotr_storage::Delivery;
use brotr_tests::{Fault, Script, ScriptedRelay, events};
use futures::{SinkExt, StreamExt};
use nostr::{Event, EventBuilder, Filter, Keys, Kind, Timestamp};
use nostr_relay_pool::transport::websocket::WebSocketTransport;
use nostr_sdk::Url;
use tokio::task::JoinSet;

use super::faults::{Place, place_on, place_with};
use super::monitor::known;
use super::program::soon;

const DOCUMENT: &str = r#"{"name":"followed","supported_nips":[1,11]}"#;

fn read(count: &AtomicUsize) -> usize {
    count.load(Ordering::Relaxed)
}

fn note(text: &str) -> Event {
    events::at(&Keys::generate(), Kind::TextNote, Timestamp::now().as_secs(), text)
}

/// A relay that the agent follows, and the number of WebSockets that it took until then.
struct Followed {
    relay: ScriptedRelay,
    place: Place,
    monitor: Monitor,
    client: RelayClient,
    _live: JoinSet<brotr::error::Result<()>>,
}

async fn followed(script: Script, more: &str) -> Followed {
    let script = Script { nip11: Some(DOCUMENT.to_owned()), live: true, ..script };
    let relay = ScriptedRelay::start(script).await.expect("started");
    let more = format!("identity: {{relays: [\"{}\"]}}\nmonitor: {{warm_up: false}}\n{more}", relay.url);
    let place = place_with(&more).await;
    let monitor = Monitor::new(&place.agent, &Publisher::new(&place.agent)).await.expect("made");
    let row = known(&place, &format!("{}/", relay.url)).await;
    monitor.visit(&row).await.expect("the archive works");
    soon(10, "end of the check's connection", async || (relay.connected() == 0).then_some(())).await;
    relay.counts.requests.store(0, Ordering::Relaxed);
    let mut following = JoinSet::new();
    following.spawn(live::run(place.agent.clone()));
    let client = RelayClient::new(&place.agent);
    let followed = Followed { relay, place, monitor, client, _live: following };
    followed.is_followed().await;
    followed
}

impl Followed {
    async fn is_followed(&self) {
        soon(20, "subscription", async || {
            (self.relay.connected() == 1 && read(&self.relay.counts.requests) > 0).then_some(())
        })
        .await;
        self.relay.counts.upgrades.store(0, Ordering::Relaxed);
    }

    async fn check(&self) -> brotr::services::monitor::Health {
        let row = known(&self.place, &format!("{}/", self.relay.url)).await;
        self.monitor.visit(&row).await.expect("the archive works").expect("not left alone")
    }

    async fn is_archived(&self, event: &Event) {
        soon(20, "live event", async || {
            (!self.place.agent.archive.known(&[event.id]).await.expect("asked").is_empty()).then_some(())
        })
        .await;
    }

    /// Publishes a note, again if the first try fails.
    async fn publish(&self, text: &str) -> Event {
        let (event, address) = (note(text), self.place.address(&self.relay));
        soon(20, "acceptance", async || {
            (self.client.send(&event, &address, 0).await == Delivery::Accepted).then_some(())
        })
        .await;
        event
    }

    fn upgrades(&self) -> usize {
        read(&self.relay.counts.upgrades)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_that_is_followed_is_checked_read_and_published_to_over_one_connection() {
    let followed = followed(Script::honest(events::signed(30, 1_600_000_000)), "").await;
    for n in 0..3 {
        let documents = read(&followed.relay.counts.documents);
        let (health, (pass, _)) = tokio::join!(followed.check(), followed.place.pass(&followed.relay));
        assert!(health.up && health.is_good("open") && health.is_good("read"), "{:?}", health.checks);
        assert!(health.rtt_ms()[0].is_some() && health.info.is_some() && health.trace.peer.is_some());
        assert!(health.is_good("write"), "{:?}", health.checks);
        assert!(read(&followed.relay.counts.documents) > documents, "its document shows that it can be connected to");
        assert_eq!(pass.error, None);
        let event = note(&n.to_string());
        let address = followed.place.address(&followed.relay);
        assert_eq!(followed.client.send(&event, &address, 0).await, Delivery::Accepted);
        // It comes back over the subscription, which nothing has disturbed.
        followed.is_archived(&event).await;
    }
    assert!(followed.place.coverage(&followed.relay).await.is_some_and(|report| !report.covered.is_empty()));
    assert_eq!((followed.upgrades(), followed.relay.connected()), (0, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_fails_on_a_shared_connection_is_tried_on_one_of_its_own() {
    let stored = events::signed(30, 1_600_000_000);
    let followed = followed(Script::wrong(stored.clone(), Fault::OneSubscription), "").await;
    let health = followed.check().await;
    assert!(health.up && health.is_good("read"), "{:?}", health.checks);
    assert_eq!(followed.upgrades(), 1);
    let (pass, _) = followed.place.pass(&followed.relay).await;
    assert_eq!(pass.error, None);
    let ids: Vec<_> = stored.iter().map(|event| event.id).collect();
    assert_eq!(followed.place.agent.archive.known(&ids).await.expect("asked").len(), 30);
    assert_eq!((followed.upgrades(), followed.relay.connected()), (2, 1), "the subscription stays");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_never_reads_as_somebody_who_is_authenticated() {
    let script = Script { auth: true, ..Script::honest(events::signed(5, 1_600_000_000)) };
    let followed = followed(script, "synchronizer: {auth: true}").await;
    let first = followed.publish("first").await;
    followed.is_archived(&first).await;
    let (pass, _) = followed.place.pass(&followed.relay).await;
    assert_eq!((pass.error, followed.upgrades()), (None, 0), "all of these may be authenticated");
    let health = followed.check().await;
    assert!(health.requires.contains(&Requirement::Auth), "{:?}", health.checks);
    assert_eq!(followed.upgrades(), 1, "the check has its own");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_client_authenticates_on_a_connection_of_its_own() {
    let followed = followed(Script::wrong(events::signed(5, 1_600_000_000), Fault::Challenges(1)), "").await;
    let first = followed.publish("first").await;
    followed.is_archived(&first).await;
    // It is cut off when it answers the relay's challenge, and reconnects.
    soon(40, "second connection", async || ((followed.upgrades(), followed.relay.connected()) == (1, 2)).then_some(()))
        .await;
    let health = followed.check().await;
    assert!(health.up && health.is_good("read"), "{:?}", health.checks);
    let second = followed.publish("second").await;
    followed.is_archived(&second).await;
    assert_eq!(followed.upgrades(), 1, "both connections stay");
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_take_turns() {
    let relay = ScriptedRelay::start(Script::honest(events::signed(5, 1_600_000_000))).await.expect("started");
    let place = place_with("").await;
    let (dialer, address) = (&place.agent.dialer, place.address(&relay));
    assert!(Session::join(dialer, &address, true).await.is_none(), "none is open");
    let _live = Session::open_shared(dialer, &address, false).await.expect("opened").follow(vec![Filter::new()]).await;
    let mut checking = Session::join(dialer, &address, false).await.expect("open");
    assert!(checking.keep_turn().await);
    let mut reading = Session::join(dialer, &address, false).await.expect("open");
    let all = Filter::new();
    let mut request = Box::pin(reading.request(&all));
    assert!(tokio::time::timeout(Duration::from_millis(300), &mut request).await.is_err(), "it is not its turn");
    let page = checking.request(&all).await;
    assert_eq!((page.end, page.events.len()), (End::Eose, 5));
    checking.close().await;
    let page = request.as_mut().await;
    assert_eq!((page.end, page.events.len()), (End::Eose, 5));
    drop(request);
    assert_eq!(read(&relay.counts.upgrades), 1);
    drop((_live, reading));
    soon(5, "end of the connection", async || (relay.connected() == 0).then_some(())).await;
    assert!(Session::join(dialer, &address, true).await.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_party_that_does_not_read_is_cut_off() {
    let long = "x".repeat(20_000);
    let author = Keys::generate();
    let stored = (0..200).map(|n| events::at(&author, Kind::TextNote, 1_600_000_000 + n, &long)).collect();
    let relay = ScriptedRelay::start(Script::honest(stored)).await.expect("started");
    let place = place_on("{allow: [127.0.0.0/8], clearnet: {request_timeout: 60s}}", "").await;
    let url = Url::parse(&relay.url).expect("a URL");
    let transport = GuardedTransport::shared(place.agent.dialer.clone());
    let (mut sink, mut stream) =
        transport.connect(&url, &ConnectionMode::Direct, Duration::from_secs(9)).await.expect("connected");
    sink.send(Message::Text(r#"["REQ","all",{}]"#.to_owned())).await.expect("sent");
    let mut session = Session::join(&place.agent.dialer, &place.address(&relay), false).await.expect("open");
    let page = session.request(&Filter::new().limit(1)).await;
    assert_eq!((page.end, page.events.len()), (End::Eose, 1));
    let mut read = 0;
    let end = loop {
        match stream.next().await {
            Some(Ok(_)) => read += 1,
            end => break end,
        }
    };
    let error = end.expect("an error").expect_err("not closed").to_string();
    assert!(error.contains("cut off") && read < 200, "{error}, {read}");
    assert_eq!(super::connections::read(&relay.counts.upgrades), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_anonymous_session_is_cut_off_when_another_authenticates() {
    let script = Script { auth: true, ..Script::honest(events::signed(5, 1_600_000_000)) };
    let relay = ScriptedRelay::start(script).await.expect("started");
    let place = place_with("").await;
    let (dialer, address) = (&place.agent.dialer, place.address(&relay));
    let session = Session::open_shared(dialer, &address, true).await.expect("opened");
    let mut live = session.follow(vec![Filter::new()]).await.expect("sent");
    let mut anonymous = Session::join(dialer, &address, false).await.expect("open");
    assert!(matches!(live.next().await, Err(End::Closed(why)) if why.starts_with("auth-required:")));
    let url = nostr::RelayUrl::parse(address.as_str()).expect("a URL");
    let login = EventBuilder::auth(live.challenge().expect("a challenge"), url).sign_with_keys(&Keys::generate());
    assert_eq!(live.authenticate(&login.expect("signed")).await, Ok(true));
    let page = anonymous.request(&Filter::new()).await;
    assert!(matches!(&page.end, End::Disconnect(why) if why.contains("cut off")), "{:?}", page.end);
    assert!(Session::join(dialer, &address, false).await.is_none(), "it is authenticated now");
    assert!(Session::join(dialer, &address, true).await.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_client_leaves_with_the_last_session() {
    let relay = ScriptedRelay::start(Script::honest(vec![])).await.expect("started");
    let place = place_with("").await;
    let session = Session::open_shared(&place.agent.dialer, &place.address(&relay), false).await.expect("opened");
    let url = Url::parse(&relay.url).expect("a URL");
    let transport = GuardedTransport::shared(place.agent.dialer.clone());
    let (_sink, mut stream) =
        transport.connect(&url, &ConnectionMode::Direct, Duration::from_secs(9)).await.expect("connected");
    assert_eq!(read(&relay.counts.upgrades), 1);
    session.close().await;
    let error = stream.next().await.expect("an error").expect_err("not closed").to_string();
    assert!(error.contains("the last session has left"), "{error}");
    soon(5, "end of the connection", async || (relay.connected() == 0).then_some(())).await;
}

/// A relay that answers nothing, and sends events that nobody has asked for.
#[tokio::test(flavor = "multi_thread")]
async fn a_flood_that_nobody_asked_for_ends_the_connection() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("bound");
    let url = format!("ws://{}", listener.local_addr().expect("an address"));
    let mut flood = JoinSet::new();
    flood.spawn(async move {
        let (stream, _) = listener.accept().await.expect("accepted");
        let mut socket = tokio_tungstenite::accept_async(stream).await.expect("upgraded");
        let event = serde_json::to_value(note("unasked")).expect("JSON");
        let text = serde_json::json!(["EVENT", "another", event]).to_string();
        let mut sent = 0;
        while socket.send(tokio_tungstenite::tungstenite::Message::text(text.as_str())).await.is_ok() {
            sent += 1;
        }
        sent
    });
    let place = place_on("{allow: [127.0.0.0/8], clearnet: {request_timeout: 60s}}", "").await;
    let address = brotr_core::RelayUrl::parse(&url, place.agent.dialer.guard()).expect("an address");
    let mut session = Session::open_shared(&place.agent.dialer, &address, false).await.expect("opened");
    let page = session.request(&Filter::new()).await;
    assert!(matches!(&page.end, End::Disconnect(why) if why.contains("nobody has asked for")), "{:?}", page.end);
    assert_eq!(page.transferred, 0);
    let sent = flood.join_next().await.expect("a task").expect("no panic");
    assert!(sent >= 1_000, "{sent}");
}
