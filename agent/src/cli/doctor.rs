//! `brotr doctor`

use anyhow::Result;
use serde::Serialize;
use serde_json::json;

use super::{Done, Shared, output};
use crate::agent;
use crate::config::{Config, Size};
use crate::monitor::Places;
use crate::net::{Address, Guard};
use crate::synchronizer::free_bytes;

#[derive(Debug, Serialize)]
struct Check {
    name: &'static str,
    ok: bool,
    detail: String,
    remedy: Option<String>,
}

fn good(name: &'static str, detail: impl ToString) -> Check {
    Check { name, ok: true, detail: detail.to_string(), remedy: None }
}

fn bad(name: &'static str, detail: impl ToString, remedy: &str) -> Check {
    Check { name, ok: false, detail: detail.to_string(), remedy: Some(remedy.to_owned()) }
}

pub(super) async fn main(shared: &Shared) -> Result<Done> {
    let config = Config::load(shared.config.as_deref(), shared.data_dir.as_deref());
    let checks = match &config {
        Err(error) => vec![bad("configuration", format!("{error:#}"), "correct what the detail names")],
        Ok(config) => examine(config).await,
    };
    let ok = checks.iter().all(|check| check.ok);
    if shared.json {
        output::json(&json!({"ok": ok, "checks": checks}))?;
    } else {
        for Check { name, ok, detail, remedy } in &checks {
            let mark = if *ok { "ok " } else { "BAD" };
            output::line(&format!("{mark}  {name:<14} {detail}"))?;
            if let Some(remedy) = remedy {
                output::line(&format!("     {:<14} {remedy}", "remedy"))?;
            }
        }
    }
    Ok(Done::of(ok))
}

async fn examine(config: &Config) -> Vec<Check> {
    let mut checks = vec![good("configuration", "right")];
    checks.push(match agent::load_key(config) {
        Ok(Some(signer)) => good("key", signer.npub()),
        Ok(None) => good("key", "none yet; it is made by brotr run or brotr init"),
        Err(error) => {
            bad("key", error, "name a readable key in identity.key_file, or move the file away to get a new one")
        }
    });
    let sqlite = config.sqlite_file();
    if sqlite.is_some_and(|path| !path.exists()) {
        checks.push(good("database", "none yet; it is made by brotr run or brotr init"));
    } else {
        match brotr_storage::open_to_read(config.storage_url(), config.archive_options()).await {
            Ok(archive) => {
                match archive.stats().await {
                    Ok(stats) => {
                        let relays: i64 = stats.relays.values().sum();
                        checks.push(good(
                            "database",
                            format!("{}, {} events, {relays} relays", archive.backend(), stats.events),
                        ));
                    }
                    Err(error) => checks.push(bad("database", error, "look into the server's log")),
                }
                archive.close().await;
            }
            Err(error) => checks.push(bad("database", error, "start the server, or correct storage.url")),
        }
    }
    if let Some(directory) = sqlite.and_then(|path| path.ancestors().skip(1).find(|dir| dir.exists())) {
        let floor = config.storage.min_free;
        if let Some(free) = free_bytes(directory) {
            let text = format!("{} free in {}", bytesize::ByteSize::b(free).display().iec(), directory.display());
            checks.push(if free < floor.as_u64() { low(&text, floor) } else { good("disk", text) });
        }
    }
    checks.push(clock());
    let guard = Guard::new(config.network.allow.clone());
    for (name, list) in [("own relays", &config.identity.relays), ("job relays", &config.dvm.relays)] {
        let wrong: Vec<String> =
            list.iter().filter_map(|url| Address::parse(url, &guard).err().map(|e| format!("{url}: {e}"))).collect();
        checks.push(if !wrong.is_empty() {
            bad(name, wrong.join("; "), "correct the address, or allow its range in network.allow")
        } else if list.is_empty() {
            good(name, "none")
        } else {
            good(name, list.join(" "))
        });
    }
    checks.push(networks(config));
    for (name, file) in [("cities", &config.monitor.geo.city), ("networks' owners", &config.monitor.geo.asn)] {
        if let Some(file) = file {
            checks.push(match Places::readable(file) {
                Ok(what) => good(name, what),
                Err(error) => bad(name, error, "put a database in MaxMind's format there, or correct monitor.geo"),
            });
        }
    }
    if config.http.enabled {
        checks.push(match tokio::net::TcpListener::bind(config.http.listen).await {
            Ok(_) => good("http", format!("{} is free", config.http.listen)),
            Err(error) => bad(
                "http",
                format!("{}: {error}", config.http.listen),
                "set http.listen to another port, unless it is brotr itself that listens there",
            ),
        });
    }
    checks
}

/// Which networks are reached, and whether what that takes can be made.
fn networks(config: &Config) -> Check {
    let made = crate::agent::dialer(config, &brotr_keys::Signer::throwaway());
    match made {
        Ok(dialer) => {
            let reached: Vec<_> = dialer.networks().iter().map(|network| network.as_str()).collect();
            good("reaches", if reached.is_empty() { "nothing".into() } else { reached.join(" ") })
        }
        Err(error) => bad("reaches", format!("{error:#}"), "correct the settings under network"),
    }
}

fn low(text: &str, floor: Size) -> Check {
    let remedy = format!("make room, or lower storage.min_free ({floor}): archiving pauses below it");
    Check { name: "disk", ok: false, detail: text.to_owned(), remedy: Some(remedy) }
}

/// Relays refuse events from the future and from long ago.
fn clock() -> Check {
    let now = agent::now();
    // The day this program's format was fixed; no right clock is before it.
    if now < 1_790_000_000 {
        bad("clock", output::time(now), "set the clock: the time is in the past")
    } else {
        good("clock", output::time(now))
    }
}
