//! Networks other than the clearnet: onion services on a Tor network of the test's own, proxies, and that no name is looked up
//! that must not be.

use std::time::{Duration, Instant};

use brotr::config::Check;
use brotr::services::monitor::{Plan, WriteTest, check};
use brotr::services::publisher::RelayClient;
use brotr::services::synchronizer;
use brotr_core::RelayUrl;
use brotr_net::{Purpose, TorStatus};
use brotr_storage::{Delivery, View};
use brotr_tests::dns::Answer;
use brotr_tests::{Dns, Script, ScriptedRelay, Socks, TorNetwork, events};
use nostr::{EventBuilder, Filter};
use serde_json::json;

use super::faults::{Place, place_on};
use super::main_job::{Client, relay};

fn port_of(url: &str) -> u16 {
    url.trim_end_matches('/').rsplit(':').next().and_then(|port| port.parse().ok()).expect("a port")
}

async fn pass(place: &Place, address: &RelayUrl) -> synchronizer::Pass {
    synchronizer::pass(&place.agent, address, None, |_| ()).await.expect("the archive works")
}

/// Waits until the descriptor of this onion service can be downloaded. Tor's log tells that descriptors were uploaded, not of
/// which service.
async fn until_published(place: &Place, onion: &RelayUrl) {
    let end = Instant::now() + Duration::from_secs(60);
    while let Err(error) = place.agent.dialer.dial(onion, Purpose::Visit).await {
        let error = error.to_string();
        assert!(error.contains("Unable to download hidden service descriptor") && Instant::now() < end, "{error}");
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn onion_services_are_checked_synchronized_and_published_to() {
    let list = events::signed(300, 1_600_000_000);
    let (_relay, url) = relay(&list).await;
    let scripted =
        Script { nip11: Some(r#"{"name":"behind an onion"}"#.into()), ..Script::honest(list[..50].to_vec()) };
    let second = ScriptedRelay::start(scripted).await.expect("started");
    let exit_dns = Dns::start(|name, _| (name == "relay.example.test").then(|| Answer::of(&["127.0.0.1"])))
        .await
        .expect("started");
    let (ports, dns) = ([port_of(&url), port_of(&second.url)], exit_dns.address);
    let network = tokio::task::spawn_blocking(move || TorNetwork::start(&ports, dns)).await.expect("no panic");
    let network = network.expect("a Tor network");
    // Whoever looks a name up here is caught.
    let home_dns = Dns::start(|_, _| None).await.expect("started");
    let config = |clearnet: bool| {
        json!({"allow": ["127.0.0.0/8"], "nameservers": [home_dns.address], "clearnet": {"connect_timeout": "5s"},
            "tor": {"clearnet": clearnet, "connect_timeout": "60s", "settings": network.settings()}})
    };
    let place = place_on(&config(false).to_string(), "").await;
    let status = || place.agent.dialer.tor().expect("used").status();
    assert_eq!(status(), TorStatus::Idle, "nobody has needed it");
    let onion = |n: usize| {
        RelayUrl::parse(&format!("ws://{}", network.onions[n]), place.agent.dialer.guard()).expect("an onion address")
    };

    for n in 0..network.onions.len() {
        until_published(&place, &onion(n)).await;
    }
    let wanted = [Check::Open, Check::Read, Check::Write, Check::Nip11];
    let plan = Plan::new(&wanted, WriteTest::As(place.agent.signer.clone()));
    let health = check(&place.agent.dialer, &onion(1), &plan).await;
    assert!(health.up, "{health:?}");
    assert!(
        wanted.len() == health.checks.len() && health.checks.values().all(|outcome| outcome.ok == Some(true)),
        "{health:?}"
    );
    assert_eq!(health.info.expect("a document").text_field("name"), Some("behind an onion"));
    assert_eq!(status(), TorStatus::Ready);

    // Another process on the same directory, such as `brotr check` beside the daemon.
    let beside = brotr::agent::dialer(&place.agent.config, &place.agent.signer).expect("a dialer");
    drop(beside.dial(&onion(1), Purpose::Visit).await.expect("reached as well"));

    // Two at once, each on circuits of its own.
    let addresses = [onion(0), onion(1)];
    let (first, other) = tokio::join!(pass(&place, &addresses[0]), pass(&place, &addresses[1]));
    assert_eq!((first.stored + other.stored, &first.error, &other.error), (300, &None, &None), "{first:?} {other:?}");
    let seen = async |address: &RelayUrl| {
        place.agent.archive.count(&[Filter::new()], View::All, &[address.as_str().to_owned()]).await.expect("counted")
    };
    assert_eq!((seen(&addresses[0]).await, seen(&addresses[1]).await), (300, 50));

    let client = RelayClient::new(&place.agent);
    let note = place.agent.signer.sign(EventBuilder::text_note("through the onion")).expect("signed");
    assert_eq!(client.send(&note, &onion(0), 0).await, Delivery::Accepted);
    client.shutdown().await;
    let found = Client::connect(&url).await.fetch(json!({"ids": [note.id]})).await;
    assert_eq!(found.iter().map(|event| event.id).collect::<Vec<_>>(), [note.id]);

    // The clearnet through Tor: the exit looks the name up, we do not.
    let place = place_on(&config(true).to_string(), "").await;
    let address = format!("ws://relay.example.test:{}", port_of(&second.url));
    let address = RelayUrl::parse(&address, place.agent.dialer.guard()).expect("an address");
    let through = pass(&place, &address).await;
    assert_eq!((through.stored, &through.error), (50, &None), "{through:?}");
    assert!(exit_dns.asked().iter().any(|name| name == "relay.example.test"), "{:?}", exit_dns.asked());
    assert!(exit_dns.asked().iter().all(|name| !name.ends_with(".onion")), "{:?}", exit_dns.asked());

    // The doctor goes the same way.
    let newcomer = super::program::Place::empty();
    let settings = json!({"version": 1, "network": config(true), "identity": {"relays": [onion(1).as_str()]},
        "http": {"listen": "127.0.0.1:0"}});
    newcomer.write("brotr.yaml", &settings.to_string());
    // It waits ten seconds for Tor, which goes on where it was.
    let wanted = ["Tor            ready".to_owned(), format!("{} answers", onion(1).as_str())];
    let is_ready = |_| {
        let ran = newcomer.run(&["doctor"]).ok();
        wanted.iter().all(|text| ran.stdout.contains(text))
    };
    assert!((0..6).any(is_ready), "{:?}", newcomer.run(&["doctor"]));
    assert_eq!(home_dns.asked(), Vec::<String>::new(), "a name was looked up at home");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_start_of_tor_is_reported_and_delays_nothing() {
    let place = place_on(r#"{allow: [127.0.0.0/8], tor: {connect_timeout: 20s}}"#, "").await;
    let state = place.agent.config.data_dir.join("tor");
    std::fs::write(&state, "in the way").expect("written");
    let dialer = &place.agent.dialer;
    let onion = format!("ws://{}.onion", "a".repeat(56));
    let onion = RelayUrl::parse(&onion, dialer.guard()).expect("an address");
    let error = dialer.dial(&onion, Purpose::Visit).await.err().expect("no way").to_string();
    assert!(error.contains("Tor could not be started"), "{error}");
    assert!(matches!(dialer.tor().expect("used").status(), TorStatus::Failed(_)));
    let good = ScriptedRelay::start(Script::honest(events::signed(20, 1_600_000_000))).await.expect("started");
    assert_eq!(place.pass(&good).await.0.stored, 20);
    // Switched off, it is not tried, and the address is known all the same.
    let place = place_on("{tor: {enabled: false}}", "").await;
    let error = place.agent.dialer.dial(&onion, Purpose::Visit).await.err().expect("no way").to_string();
    assert!(error.contains("network.tor.enabled is false"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn i2p_and_loki_are_reached_through_a_proxy_where_one_is_named() {
    let script =
        Script { nip11: Some(r#"{"name":"far away"}"#.into()), ..Script::honest(events::signed(30, 1_600_000_000)) };
    let relay = ScriptedRelay::start(script).await.expect("started");
    let proxy = Socks::start(port_of(&relay.url)).await.expect("started");
    let dns = Dns::start(|_, _| None).await.expect("started");
    let config = json!({"nameservers": [dns.address], "i2p": {"socks": proxy.address, "connect_timeout": "2s"}});
    let place = place_on(&config.to_string(), "").await;
    let address = |url: &str| RelayUrl::parse(url, place.agent.dialer.guard()).expect("an address");
    let i2p = address("ws://relay.example.i2p");
    assert_eq!(pass(&place, &i2p).await.stored, 30);
    let wanted = [Check::Open, Check::Read, Check::Nip11];
    let health = check(&place.agent.dialer, &i2p, &Plan::new(&wanted, WriteTest::Skip)).await;
    assert!(health.up && health.info.is_some(), "{health:?}");
    assert!(proxy.asked().iter().all(|name| name == "relay.example.i2p") && proxy.asked().len() == 3);
    let error = pass(&place, &address("ws://relay.example.loki")).await.error.expect("no way");
    assert!(error.contains("network.loki.socks names no proxy"), "{error}");
    assert_eq!(dns.asked(), Vec::<String>::new(), "a name was looked up that no name server knows");
}
