//! Many relays on one host: none of them, and nothing that the agent keeps open there, holds up the others.

use std::net::Ipv4Addr;

use brotr_tests::{Script, ScriptedRelay, Signal, events};
use nostr::{Event, Kind};
use serde_json::Value;

use super::main_job::get;
use super::program::{Place, soon};

const ON_ONE_HOST: usize = 40;

async fn relay(host: Ipv4Addr) -> ScriptedRelay {
    let nip11 = Some(r#"{"name": "one of many", "supported_nips": [1, 11]}"#.to_owned());
    let script = Script { nip11, ..Script::honest(events::signed(30, 1_600_000_000)) };
    ScriptedRelay::start_at(host, script).await.expect("started")
}

fn about<'a>(published: &'a [Event], url: &str) -> Option<&'a Event> {
    let names = |event: &&Event| {
        event.kind == Kind::Custom(30_166) && event.tags.identifier().is_some_and(|d| d.trim_end_matches('/') == url)
    };
    published.iter().find(names)
}

#[tokio::test(flavor = "multi_thread")]
async fn forty_relays_of_one_host_delay_no_other_relay() {
    let mut relays = Vec::new();
    for _ in 0..ON_ONE_HOST {
        relays.push(relay(Ipv4Addr::LOCALHOST).await);
    }
    for n in 1..=5 {
        relays.push(relay(Ipv4Addr::new(127, 0, 2, n)).await);
    }
    // Two of the forty are the agent's own: it publishes there, takes jobs, and follows them live.
    let (own, second) = (relays[0].url.clone(), relays[1].url.clone());
    let place = Place::with(&format!(
        "identity: {{relays: [\"{own}\", \"{second}\"]}}\ndvm: {{relays: [\"{own}\"]}}\n\
         monitor: {{interval: 30s}}\nsynchronizer: {{interval: 1h}}\nfinder: {{enabled: false}}"
    ));
    let list: Vec<&str> = relays.iter().map(|relay| relay.url.as_str()).collect();
    let file = place.write("list.txt", &list.join("\n"));
    place.run(&["relays", "add", &file.to_string_lossy()]).ok();
    let daemon = place.daemon();

    // Each is checked and archived, and what was found of each is published.
    soon(120, "check of every relay", async || {
        let states = place.run(&["--json", "relays", "list"]).ok().json();
        (states.iter().filter(|relay| relay["state"] == "up").count() == relays.len()).then_some(())
    })
    .await;
    soon(120, "pass over every relay", async || {
        let proven = place.run(&["--json", "coverage"]).ok().json();
        let whole = |report: &&Value| report["covered"].as_array().is_some_and(|covered| !covered.is_empty());
        (proven.iter().filter(whole).count() == relays.len()).then_some(())
    })
    .await;
    let published = soon(120, "event about every relay", async || {
        let published = relays[0].events();
        relays.iter().all(|relay| about(&published, &relay.url).is_some()).then_some(published)
    })
    .await;
    // A visit opens two connections beside those that stay open.
    let event = about(&published, &own).expect("found above");
    assert!(event.content.contains("one of many"), "{event:?}");
    assert!(event.tags.iter().any(|tag| tag.as_slice() == ["N", "11"]), "{event:?}");
    let health = get(&daemon.http(), "/healthz").await;
    assert!(health.contains(r#""status":"up""#) && !health.contains("stalled"), "{health}");
    assert_eq!(daemon.end(Signal::TERM).0, Some(0));
}
