//! Two hundred relays at once fit into little memory, the hostile among them too.

use std::net::Ipv4Addr;

use brotr_tests::{Fault, Script, ScriptedRelay, Signal, events};

use super::program::{Place, soon};

const RELAYS: usize = 200;
const EVENTS: usize = 200;
/// What the daemon may take at most, in KiB.
const MOST: u64 = 250 << 10;

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_concurrent_relays_take_little_memory() {
    // Large events: all that the relays hold would not fit.
    let author = nostr::Keys::generate();
    let content = "x".repeat(16_000);
    let list: Vec<_> = (0..EVENTS as u64)
        .map(|n| events::at(&author, nostr::Kind::TextNote, 1_600_000_000 + n, &format!("{n} {content}")))
        .collect();
    let mut relays = Vec::new();
    for n in 0..RELAYS {
        let fault = match n % 40 {
            0 => Fault::Huge,
            1 => Fault::Endless,
            2 => Fault::Fragments,
            _ => Fault::None,
        };
        let host = Ipv4Addr::new(127, 0, 1, u8::try_from(n + 1).expect("a byte"));
        // Each holds half of them, so that most of what comes is known.
        let part = list.iter().skip(n % 2).step_by(2).cloned().collect();
        relays.push(ScriptedRelay::start_at(host, Script::wrong(part, fault)).await.expect("started"));
    }
    let place = Place::with(&format!(
        "monitor: {{enabled: false}}\nfinder: {{enabled: false}}\ndvm: {{enabled: false}}\n\
         synchronizer: {{concurrency: {RELAYS}, live: true, live_relays: {RELAYS}}}"
    ));
    let text = std::fs::read_to_string(place.path().join("brotr.yaml")).expect("there");
    let more = "log: {level: debug}\nnetwork:\n  max_connections: 1000\n  dials_per_minute: 100000\n";
    let text = text.replacen("network:\n", more, 1).replacen(
        "connect_timeout: 2s",
        "max_connections: 1000, connect_timeout: 30s",
        1,
    );
    place.write("brotr.yaml", &text);
    let urls: Vec<&str> = relays.iter().map(|relay| relay.url.as_str()).collect();
    place.write("relays.txt", &urls.join("\n"));
    place.run(&["relays", "add", "relays.txt"]).ok();
    let daemon = place.daemon();
    soon(120, "pass over each relay", async || {
        (daemon.log().matches("relay synchronized").count() >= RELAYS).then_some(())
    })
    .await;
    let stats = place.run(&["stats", "--json"]).json().remove(0);
    assert_eq!(stats["events"], EVENTS);
    let most = daemon.peak_memory_kib();
    println!("{RELAYS} relays at once: {} MiB at most", most >> 10);
    assert!(most <= MOST, "{most} KiB");
    assert_eq!(daemon.end(Signal::TERM).0, Some(0));
}
