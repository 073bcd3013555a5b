//! The system's clock jumps: nothing of the future is proven, and no work is put off because of it. The clock is that of
//! libfaketime, under the real program.

use std::path::{Path, PathBuf};
use std::time::Duration;

use brotr_tests::{Signal, events};
use nostr::{Keys, Kind, Timestamp};
use serde_json::Value;

use super::main_job::{Client, relay};
use super::program::{Place, soon};

const THREE_DAYS: &str = "+3d";

fn library() -> PathBuf {
    let directories = std::fs::read_dir("/usr/lib").expect("there").flatten().map(|entry| entry.path());
    let found = directories.map(|path| path.join("faketime/libfaketimeMT.so.1")).find(|path| path.exists());
    found.expect("libfaketime is installed (tests/run installs it)")
}

/// An environment in which the system's clock is off by what a file says.
fn environment(file: &Path) -> [(String, String); 4] {
    let text = |path: &Path| path.to_string_lossy().into_owned();
    [
        ("LD_PRELOAD".to_owned(), text(&library())),
        ("FAKETIME_TIMESTAMP_FILE".to_owned(), text(file)),
        ("FAKETIME_NO_CACHE".to_owned(), "1".to_owned()),
        ("FAKETIME_DONT_FAKE_MONOTONIC".to_owned(), "1".to_owned()),
    ]
}

fn latest(place: &Place) -> Option<i64> {
    let reports = place.run(&["--json", "coverage"]).ok().json();
    let ends = reports.iter().flat_map(|report| report["covered"].as_array().into_iter().flatten());
    ends.filter_map(|covered| covered["until"].as_i64()).max()
}

fn now() -> i64 {
    i64::try_from(Timestamp::now().as_secs()).expect("in range")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_short_clock_jump_proves_nothing_and_delays_nothing() {
    let (relay, url) = relay(&events::signed(40, 1_600_000_000)).await;
    let place = Place::with(
        "monitor: {interval: 3s, warm_up: false}\nsynchronizer: {interval: 1s, settle: 1s, live: false}\n\
         finder: {enabled: false}\ndvm: {enabled: false}",
    );
    place.run(&["relays", "add", &url]).ok();
    let file = place.write("clock", "+0\n");
    let environment = environment(&file);
    let environment: Vec<(&str, &str)> = environment.iter().map(|(name, value)| (&**name, &**value)).collect();
    let daemon = place.daemon_with(&environment);
    soon(60, "coverage", async || latest(&place).filter(|until| *until > now() - 60)).await;

    place.write("clock", THREE_DAYS);
    soon(30, "notice of the jump", async || daemon.log().contains("clock jumped").then_some(())).await;
    tokio::time::sleep(Duration::from_secs(6)).await;
    place.write("clock", "+0\n");
    assert!(latest(&place).is_some_and(|until| until <= now()), "proven to {:?}, now {}", latest(&place), now());

    // Work goes on at its pace.
    let event = events::at(&Keys::generate(), Kind::TextNote, Timestamp::now().as_secs(), "after the jump");
    Client::connect(&url).await.publish(&event).await;
    soon(30, "event of after the jump", async || {
        let found = place.run(&["query", &format!(r#"{{"ids":["{}"]}}"#, event.id)]).ok().stdout;
        found.contains("after the jump").then_some(())
    })
    .await;
    let checked = |relays: Vec<Value>| relays.first().and_then(|relay| relay["checked_at"].as_i64());
    let before = checked(place.run(&["--json", "relays", "list"]).ok().json()).expect("checked");
    assert!(before <= now(), "checked at {before}, now {}", now());
    soon(30, "next check", async || {
        checked(place.run(&["--json", "relays", "list"]).ok().json()).filter(|at| *at > before && *at <= now())
    })
    .await;
    assert_eq!(daemon.end(Signal::TERM).0, Some(0));
    relay.shutdown();
}

#[tokio::test(flavor = "multi_thread")]
async fn claims_of_a_process_with_a_wrong_clock_are_clamped() {
    let (relay, url) = relay(&events::signed(40, 1_600_000_000)).await;
    let place = Place::with("finder: {enabled: false}");
    let file = place.write("clock", THREE_DAYS);
    let environment = environment(&file);
    let environment: Vec<(&str, &str)> = environment.iter().map(|(name, value)| (&**name, &**value)).collect();
    place.run_with(&["sync", &url], "", &environment).ok();
    assert!(
        latest(&place).is_some_and(|until| until > now() + 2 * 86_400),
        "the clock was ahead: {:?}",
        latest(&place)
    );
    let event = events::at(&Keys::generate(), Kind::TextNote, Timestamp::now().as_secs() - 5, "of today");
    Client::connect(&url).await.publish(&event).await;
    place.run(&["sync", &url]).ok();
    assert!(latest(&place).is_some_and(|until| until <= now()), "{:?}", latest(&place));
    assert!(place.run(&["query", "{}"]).ok().stdout.contains("of today"));
    relay.shutdown();
}
