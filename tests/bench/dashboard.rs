//! How fast the dashboard is with ten thousand relays, in Chromium:
//!
//! ```sh
//! cargo bench -p brotr --bench dashboard
//! ```
//!
//! An archive is filled with relays that were checked on each of thirty days. The daemon is started, and a browser opens each page and
//! filters the list. Printed are the time until the catalog is read, the first paint and the time until the page has its content, the
//! time from a letter typed to the list that matches, and the memory of the daemon.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use brotr_core::{Network, RelayState};
use brotr_storage::{CheckRecord, Options};
use brotr_tests::Signal;
use brotr_tests::browser::{Browser, http};
use futures::{StreamExt, TryStreamExt};
use serde_json::json;

const RELAYS: usize = 10_000;
const DAYS: i64 = 30;
/// Cities, so that the map has some places.
const PLACES: [(&str, &str, f64, f64); 6] = [
    ("DE", "Frankfurt", 50.11, 8.68),
    ("FI", "Helsinki", 60.17, 24.94),
    ("US", "Ashburn", 39.04, -77.49),
    ("JP", "Tokyo", 35.68, 139.69),
    ("BR", "São Paulo", -23.55, -46.63),
    ("SG", "Singapore", 1.35, 103.82),
];

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let relays = std::env::args().find_map(|arg| arg.parse().ok()).unwrap_or(RELAYS);
    let dir = tempfile::tempdir()?;
    let config = "version: 1\nnetwork: {tor: {enabled: false}}\ninitializer: {seeds: []}\nfinder: {enabled: false}\nmonitor: {enabled: false}\n\
         synchronizer: {enabled: false}\nhttp: {listen: \"127.0.0.1:0\", per_minute: 100000}\n";
    std::fs::write(dir.path().join("brotr.yaml"), config)?;
    let brotr = |args: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_brotr"));
        command.args(args).current_dir(dir.path()).env_clear().stdout(Stdio::null()).stderr(Stdio::null());
        command
    };
    anyhow::ensure!(brotr(&["keys", "generate"]).status()?.success(), "no key was made");
    let url = format!("sqlite://{}", dir.path().join("brotr-data/brotr.db").display());
    let began = Instant::now();
    fill(&url, relays).await?;
    println!("{relays} relays with {DAYS} checks each, written in {:.0} s", began.elapsed().as_secs_f64());

    let began = Instant::now();
    let log = dir.path().join("log");
    let mut daemon = brotr(&["run"]).stderr(std::fs::File::create(&log)?).spawn()?;
    let mut address = String::new();
    loop {
        tokio::time::sleep(Duration::from_millis(50)).await;
        anyhow::ensure!(began.elapsed() < Duration::from_secs(300), "the catalog is not read");
        let text = std::fs::read_to_string(&log)?;
        let listens = text.split("http://").nth(1).and_then(|rest| rest.split('/').next()).unwrap_or_default();
        listens.clone_into(&mut address);
        let Ok(answer) = http("GET", &address, "/api/v1/map", &[], "").await else { continue };
        if answer.json()["placed"] == relays {
            break;
        }
    }
    println!("catalog read {:.1} s after the start", began.elapsed().as_secs_f64());
    let browser = Browser::start(1_280, 900, false).await?;
    for (path, content) in [("", ".tiles div"), ("relays", "#rows tr"), ("health", "#services tr")] {
        browser.go(&format!("http://{address}/{path}")).await?;
        let shown = browser
            .wait(&format!("document.querySelector('{content}') && performance.getEntriesByName('first-contentful-paint').length && Math.round(performance.now())"))
            .await?;
        let paint = browser
            .run("return Math.round(performance.getEntriesByName('first-contentful-paint')[0].startTime)")
            .await?;
        println!("/{path:8} first paint {paint} ms, content after {shown} ms at most");
    }
    browser.go(&format!("http://{address}/relays")).await?;
    browser.wait("document.querySelector('#rows tr')").await?;
    let mut times = Vec::new();
    for text in ["r1", "r12", "r123", "r12", "relay 77", "r9"] {
        // From the letter to the picture that has the list it asks for.
        browser
            .run(&format!(
                "window.took = null; const began = performance.now(); const field = document.querySelector('[name=contains]'); \
                 new MutationObserver((_, observer) => {{ observer.disconnect(); requestAnimationFrame(() => {{ window.took = performance.now() - began; }}); }})\
                 .observe(document.querySelector('#rows'), {{ childList: true }}); \
                 field.value = '{text}'; field.dispatchEvent(new Event('input', {{ bubbles: true }}));"
            ))
            .await?;
        times.push(browser.wait("window.took").await?.as_f64().unwrap_or_default());
    }
    times.sort_by(f64::total_cmp);
    println!("filter: median {:.0} ms, slowest {:.0} ms", times[times.len() / 2], times[times.len() - 1]);
    let status = std::fs::read_to_string(format!("/proc/{}/status", daemon.id()))?;
    println!("{}", status.lines().find(|line| line.starts_with("VmRSS")).unwrap_or_default());
    brotr_tests::signal(&daemon, Signal::TERM)?;
    daemon.wait()?;
    Ok(())
}

/// Fills an archive with relays, each checked once a day.
async fn fill(url: &str, relays: usize) -> anyhow::Result<()> {
    let archive = brotr_storage::open(url, Options::default()).await?;
    let now = nostr::Timestamp::now().as_secs() as i64;
    let record = async |n: usize| -> anyhow::Result<()> {
        let (country, city, latitude, longitude) = PLACES[n % PLACES.len()];
        let geo = json!({"country": country, "city": city, "latitude": latitude, "longitude": longitude});
        let nip11 = json!({"name": format!("relay {n}"), "software": format!("https://example.com/soft{}", n % 20),
            "version": "1.0", "supported_nips": [1, 11, n % 90]});
        for day in (0..DAYS).rev() {
            let check = CheckRecord {
                at: now - day * 86_400 - n as i64 % 3_600 - 1,
                state: if day > 0 && (n as i64 + day) % 17 == 0 { RelayState::Down } else { RelayState::Up },
                due_at: i64::MAX / 2,
                nip11: Some(nip11.to_string()),
                nip66: json!({ "geo": geo }).to_string(),
                rtt_ms: [Some(n as i64 % 400), None, None],
                ..CheckRecord::default()
            };
            archive.record_check(&format!("wss://r{n}.example.com/"), Network::Clearnet, &check).await?;
        }
        Ok(())
    };
    futures::stream::iter(0..relays).map(record).buffer_unordered(64).try_collect::<Vec<()>>().await?;
    Ok(())
}
