//! The same again and again: relays that come, go and misbehave, requests over HTTP, jobs. Nothing grows but the archive.
//!
//! `TEST_SOAK=3600 cargo test -p brotr --test e2e soak -- --nocapture` runs for an hour; 40 seconds otherwise.

use std::time::{Duration, Instant};

use brotr_tests::browser::http;
use brotr_tests::{Fault, Script, ScriptedRelay, Signal, events};

use super::program::{Daemon, Place, soon};

/// Memory in KiB, open files, threads.
#[derive(Debug, Clone, Copy)]
struct Sample([u64; 3]);

fn sample(daemon: &Daemon<'_>) -> Sample {
    let id = daemon.id();
    let status = std::fs::read_to_string(format!("/proc/{id}/status")).expect("it runs");
    let of = |name: &str| -> u64 {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).expect("Linux says so");
        line.trim().trim_end_matches(" kB").parse().expect("a number")
    };
    let files = std::fs::read_dir(format!("/proc/{id}/fd")).expect("it runs").count() as u64;
    Sample([of("VmRSS:"), files, of("Threads:")])
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_archive_grows() {
    let seconds = std::env::var("TEST_SOAK").ok().and_then(|text| text.parse().ok()).unwrap_or(40);
    let fault = |n: usize| match n % 7 {
        3 => Fault::Huge,
        4 => Fault::Endless,
        5 => Fault::Fragments,
        6 => Fault::NoEose,
        _ => Fault::None,
    };
    let mut relays = Vec::new();
    for n in 0..21_usize {
        let list = events::signed(60, 1_600_000_000 + 100 * n as u64);
        relays.push(ScriptedRelay::start(Script::wrong(list, fault(n))).await.expect("started"));
    }
    let place = Place::with(
        "monitor: {interval: 2s, warm_up: false, withdraw_after: 1h, history: 5s}\n\
         synchronizer: {interval: 2s, settle: 1s, live: true, live_relays: 8}\nfinder: {interval: 1s}\n\
         relay: {enabled: true, listen: \"127.0.0.1:0\"}",
    );
    let text = std::fs::read_to_string(place.path().join("brotr.yaml")).expect("there");
    let text = text.replacen("network:\n", "network:\n  dials_per_minute: 100000\n", 1);
    let http_keys = "http: {listen: \"127.0.0.1:0\", token: sesame, per_minute: 100000}";
    place.write("brotr.yaml", &text.replace("http: {listen: \"127.0.0.1:0\"}", http_keys));
    let urls: Vec<&str> = relays.iter().map(|relay| relay.url.as_str()).collect();
    place.write("relays.txt", &urls.join("\n"));
    place.run(&["relays", "add", "relays.txt"]).ok();
    let daemon = place.daemon();
    soon(30, "port", async || daemon.log().contains("/healthz").then_some(())).await;
    let address = daemon.http().replace("http://", "");

    let (began, mut samples) = (Instant::now(), Vec::new());
    let end = Duration::from_secs(seconds);
    let mut turn = 0_usize;
    while began.elapsed() < end {
        for path in ["/api/v1/relays?limit=5", "/api/v1/stats", "/metrics", "/api/v1/events?limit=3", "/nothing"] {
            http("GET", &address, path, &[], "").await.expect("an answer");
        }
        // One goes for good, and another comes in its place.
        if turn % 20 == 19 {
            let n = (turn / 20) % relays.len();
            let list = events::signed(60, 1_600_100_000 + 100 * turn as u64);
            relays[n] = ScriptedRelay::start(Script::wrong(list, fault(turn))).await.expect("started");
            let body = serde_json::json!({"relays": [relays[n].url]}).to_string();
            let token = [("Authorization", "Bearer sesame")];
            let added = http("POST", &address, "/api/v1/relays", &token, &body).await.expect("an answer");
            assert_eq!(added.json()["added"], 1, "{added:?}");
        }
        turn += 1;
        tokio::time::sleep(Duration::from_millis(150)).await;
        if samples.len() < 40 && began.elapsed() > end * u32::try_from(samples.len() + 1).expect("few") / 41 {
            samples.push(sample(&daemon));
        }
    }
    for (n, Sample([memory, files, threads])) in samples.iter().enumerate() {
        println!(
            "{:>5} s  {:>4} MiB  {files:>4} files  {threads:>3} threads",
            (n as u64 + 1) * seconds / 41,
            memory >> 10
        );
    }
    // The first third warms up.
    let part = samples.len() / 3;
    let mean = |list: &[Sample], what: usize| list.iter().map(|s| s.0[what]).sum::<u64>() / list.len().max(1) as u64;
    let (middle, last) = (&samples[part..2 * part], &samples[2 * part..]);
    for (what, name, slack) in [(0, "memory", 24 << 10), (1, "files", 20), (2, "threads", 12)] {
        let (before, after) = (mean(middle, what), mean(last, what));
        assert!(after <= before + before / 10 + slack, "{name}: {before} and then {after}: {samples:?}");
    }
    assert_eq!(daemon.end(Signal::TERM).0, Some(0));
}
