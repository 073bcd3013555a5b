//! The dashboard by the rules of WCAG 2.2 AA, as axe-core checks them, in a real browser. Without axe-core, which `tests/run`
//! downloads, the tests are ignored.

#[expect(dead_code, reason = "the end-to-end tests use the rest")]
#[path = "../e2e/program.rs"]
mod program;

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use brotr_tests::browser::Browser;
use brotr_tests::{Script, ScriptedRelay, Signal, events};
use libtest_mimic::{Arguments, Failed, Trial};
use nostr::{Keys, Kind};
use program::Place;
use serde_json::json;

const AXE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/tools/axe.js");
/// Width, height and whether the window is dark.
const WINDOWS: [(&str, u32, u32, bool); 3] =
    [("light", 1_280, 900, false), ("dark", 1_280, 900, true), ("phone", 390, 844, false)];
const TAGS: [&str; 5] = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"];

fn main() -> ExitCode {
    let missing = !Path::new(AXE).exists();
    let trial = |&(name, width, height, dark): &(&'static str, u32, u32, bool)| {
        Trial::test(format!("pages_are_accessible_{name}"), move || {
            let runtime = tokio::runtime::Runtime::new().map_err(Failed::from)?;
            runtime.block_on(check(width, height, dark))
        })
        .with_ignored_flag(missing)
    };
    libtest_mimic::run(&Arguments::from_args(), WINDOWS.iter().map(trial).collect()).exit_code()
}

/// Opens every page of an agent that has a relay, and collects what axe finds.
async fn check(width: u32, height: u32, dark: bool) -> Result<(), Failed> {
    let document = json!({"name": "a relay", "software": "https://example.com/soft.git", "version": "1", "supported_nips": [1, 11, 77],
        "limitation": {"max_limit": 5_000}});
    let keys = Keys::generate();
    let profile = |at, name| events::at(&keys, Kind::Metadata, at, &json!({"name": name}).to_string());
    let mut archived = events::signed(120, 1_600_000_000);
    archived.extend([profile(1_600_001_000, "old"), profile(1_600_002_000, "new")]);
    let script = Script { nip11: Some(document.to_string()), ..Script::honest(archived) };
    let relay = ScriptedRelay::start(script).await?;
    let place = Place::with("monitor: {interval: 1h, warm_up: false}\nsynchronizer: {interval: 1s, settle: 1s}");
    place.run(&["relays", "add", &relay.url, "wss://unchecked.example.com"]).ok();
    let daemon = place.daemon();
    let end = std::time::Instant::now() + Duration::from_secs(80);
    while !daemon.log().contains("/healthz") {
        assert!(std::time::Instant::now() < end, "{}", daemon.log());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let address = daemon.http();
    let browser = Browser::start(width, height, dark).await?;
    let axe = std::fs::read_to_string(AXE)?;
    let url: String =
        format!("{}/", relay.url.trim_end_matches('/')).bytes().map(|byte| format!("%{byte:02X}")).collect();
    let proven = "return Boolean(document.querySelector('#coverage .proven'))";
    loop {
        browser.go(&format!("{address}/relay?url={url}")).await?;
        tokio::time::sleep(Duration::from_millis(500)).await;
        if browser.run(proven).await? == true {
            break;
        }
        assert!(std::time::Instant::now() < end, "{}", daemon.log());
    }
    let mut found = Vec::new();
    for (page, content) in [
        (format!("relay?url={url}"), "#coverage .proven"),
        (String::new(), "#bars-kinds .bars"),
        ("relays".to_owned(), "#rows .days"),
        ("events?kinds=1".to_owned(), ".event"),
        (format!("author?key={}", keys.public_key().to_hex()), "#versions .event:nth-child(2)"),
        ("jobs".to_owned(), "#shown:not(:empty)"),
        ("health".to_owned(), "#services td"),
    ] {
        browser.go(&format!("{address}/{page}")).await?;
        browser.wait(&format!("document.querySelector('{content}')")).await?;
        browser.run(&axe).await?;
        let tags = json!({ "runOnly": TAGS });
        browser.run(&format!("axe.run(document, {tags}).then((result) => {{ window.found = result; }})")).await?;
        browser.wait("window.found?.passes.length").await?;
        let violations = "return window.found.violations.map((one) => one.id + ': ' + one.nodes[0].html + ' ' + one.nodes[0].failureSummary)";
        let violations = browser.run(violations).await?;
        found.extend(violations.as_array().into_iter().flatten().map(|one| format!("/{page}: {one}")));
    }
    assert_eq!(daemon.end(Signal::TERM).0, Some(0));
    if found.is_empty() { Ok(()) } else { Err(found.join("\n").into()) }
}
