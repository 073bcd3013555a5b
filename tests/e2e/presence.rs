//! Whether the agent is there: heartbeats, pings, and an announcement that does not outlive it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use brotr::outbox::Publisher;
use brotr_tests::Signal;
use nostr::{EventBuilder, Keys, Kind, PublicKey, Tag};
use serde_json::json;

use super::faults::place_with;
use super::main_job::{Client, relay};
use super::program::{Place, next_second, soon};
use super::schema::assert_sound;

#[tokio::test(flavor = "multi_thread")]
async fn announcements_are_published_and_withdrawn() {
    let (relay, url) = relay(&[]).await;
    let place = Place::with(&format!("dvm: {{relays: [\"{url}\"], withdraw_on_stop: true, heartbeat: 1m}}"));
    place.run(&["keys", "generate"]).ok();
    let key = place.run(&["keys", "show", "--json"]).ok().json()[0]["pubkey"].as_str().expect("a key").to_owned();
    let agent = PublicKey::from_hex(&key).expect("a key");
    let mut client = Client::connect(&url).await;
    for _ in 0..2 {
        let daemon = place.daemon();
        let announced =
            soon(20, "announcement", async || client.fetch(json!({"kinds": [31_990], "authors": [agent]})).await.pop());
        let announced = announced.await;
        assert!(announced.content.contains("\"amount\":\"free\""));
        // What it reads, for who looks where to reach it.
        let list =
            soon(20, "relay list", async || client.fetch(json!({"kinds": [10_002], "authors": [agent]})).await.pop());
        let list = list.await;
        assert!(list.tags.iter().any(|tag| tag.as_slice().len() == 3 && tag.as_slice()[2] == "read"), "{list:?}");
        let beat =
            soon(20, "heartbeat", async || client.fetch(json!({"kinds": [11_998], "authors": [agent]})).await.pop());
        let beat = beat.await;
        assert_sound(&beat);
        assert_eq!(beat.tags.identifier(), announced.tags.identifier(), "clients look for the beats of a handler");
        let ends = beat.tags.expiration().expect("it ends");
        assert_eq!(ends.as_secs() - beat.created_at.as_secs(), 300);

        let customer = Keys::generate();
        let builder = EventBuilder::new(Kind::Custom(7_007), "").tag(Tag::public_key(agent));
        let ping = builder.sign_with_keys(&customer).expect("signed");
        client.publish(&ping).await;
        let pong = soon(20, "pong", async || client.fetch(json!({"kinds": [7_000], "#e": [ping.id]})).await.pop());
        assert!(pong.await.tags.iter().any(|tag| tag.as_slice() == ["status", "pong"]));

        // A deletion takes back what is older, to the second.
        next_second().await;
        assert_eq!(daemon.end(Signal::TERM).0, Some(0));
        assert!(client.fetch(json!({"kinds": [31_990], "authors": [agent]})).await.is_empty(), "taken back");
        next_second().await;
    }
    relay.shutdown();
}

#[tokio::test(flavor = "multi_thread")]
async fn heartbeats_are_sent_only_while_jobs_are_served() {
    let place = place_with("dvm: {relays: [\"ws://127.0.0.1:9\"]}").await;
    let (agent, publisher) = (place.agent.clone(), Publisher::new(&place.agent));
    let dvm = Arc::new(brotr::services::dvm::dvm(&agent, None));
    let serves = Arc::new(AtomicBool::new(false));
    let asked = Arc::new(AtomicUsize::new(0));
    let (told, count) = (serves.clone(), asked.clone());
    let does = move || {
        count.fetch_add(1, Ordering::Relaxed);
        told.load(Ordering::Relaxed)
    };
    let beats = brotr::services::publisher::beat(agent.clone(), publisher, dvm, Duration::from_millis(20), does);
    let waiting = async || !agent.archive.due_relays(brotr::agent::now()).await.expect("asked").is_empty();
    let story = async {
        soon(20, "five turns", async || (asked.load(Ordering::Relaxed) >= 5).then_some(())).await;
        assert!(!waiting().await, "nobody answers jobs");
        serves.store(true, Ordering::Relaxed);
        soon(20, "beat", async || waiting().await.then_some(())).await;
    };
    tokio::select! {
        ended = beats => panic!("{ended:?}"),
        () = story => {}
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn systemd_is_notified_of_start_watchdog_and_stop() {
    let place = Place::with("");
    let path = place.path().join("notify");
    let socket = tokio::net::UnixDatagram::bind(&path).expect("bound");
    let environment = [("NOTIFY_SOCKET", path.to_str().expect("a path")), ("WATCHDOG_USEC", "1500000")];
    let daemon = place.daemon_with(&environment);
    let hear = async || {
        let mut text = vec![0; 1_024];
        let heard = tokio::time::timeout(std::time::Duration::from_secs(80), socket.recv(&mut text));
        let n = heard.await.expect("in time").expect("heard");
        String::from_utf8_lossy(&text[..n]).trim().to_owned()
    };
    let mut told = Vec::new();
    while told.iter().filter(|text| *text == "WATCHDOG=1").count() < 3 || !told.contains(&"READY=1".to_owned()) {
        told.push(hear().await);
    }
    assert!(daemon.log().contains("is running"), "ready when it is, and not before");
    daemon.signal(Signal::TERM);
    while hear().await != "STOPPING=1" {}
    assert_eq!(daemon.end(Signal::TERM).0, Some(0));
}
