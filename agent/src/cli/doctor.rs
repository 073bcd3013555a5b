//! `brotr doctor`

use std::net::IpAddr;
use std::time::Duration;

use anyhow::Result;
use brotr_core::{Network, RelayUrl};
use brotr_net::{Dialer, Purpose};
use brotr_storage::Setting;
use serde::Serialize;
use serde_json::json;

use super::{Done, Shared, control, output};
use crate::agent;
use crate::config::{Config, Size};
use crate::disk::free_bytes;
use crate::initializer;
use crate::services::monitor::Places;

#[derive(Debug, Serialize)]
struct Check {
    name: &'static str,
    ok: bool,
    detail: String,
    /// What to do where it is not ok, or what would be better where it is.
    remedy: Option<String>,
}

fn good(name: &'static str, detail: impl ToString) -> Check {
    Check { name, ok: true, detail: detail.to_string(), remedy: None }
}

fn bad(name: &'static str, detail: impl ToString, remedy: &str) -> Check {
    Check { name, ok: false, detail: detail.to_string(), remedy: Some(remedy.to_owned()) }
}

/// Returns a check that passed and can be improved.
fn advice(name: &'static str, detail: impl ToString, remedy: &str) -> Check {
    Check { ok: true, ..bad(name, detail, remedy) }
}

#[derive(Debug, Clone, clap::Args)]
pub(super) struct Args {
    /// Leave out what needs the network: names, Tor, and the relays to publish to
    #[arg(long)]
    offline: bool,
}

/// How long this waits for Tor to start, which may take a minute the first time, and for each relay.
const LONGEST: Duration = Duration::from_secs(10);

pub(super) async fn main(shared: &Shared, args: Args) -> Result<Done> {
    let config = Config::load(shared.config.as_deref(), shared.data_dir.as_deref());
    let checks = match &config {
        Err(error) => vec![bad("configuration", format!("{error:#}"), "correct what the detail names")],
        Ok(config) => examine(config, args.offline).await,
    };
    let ok = checks.iter().all(|check| check.ok);
    if shared.json {
        output::json(&json!({"ok": ok, "checks": checks}))?;
    } else {
        for Check { name, ok, detail, remedy } in &checks {
            let mark = match (ok, remedy) {
                (false, _) => "BAD ",
                (true, Some(_)) => "WARN",
                (true, None) => "ok  ",
            };
            output::line(&format!("{mark} {name:<14} {detail}"))?;
            if let Some(remedy) = remedy {
                output::line(&format!("     {:<14} {remedy}", "remedy"))?;
            }
        }
    }
    Ok(Done::of(ok))
}

async fn examine(config: &Config, offline: bool) -> Vec<Check> {
    let runs = control::is_answered(config).await;
    let mut checks = vec![good("configuration", "right")];
    checks.push(good("daemon", if runs { "runs" } else { "does not run" }));
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
                    Err(error) => checks.push(bad("database", error, "see the server's log")),
                }
                match archive.costly_settings().await {
                    Ok(settings) => checks.extend(server_settings(&settings)),
                    Err(error) => checks.push(bad("database", error, "see the server's log")),
                }
                archive.close().await;
            }
            Err(brotr_storage::StorageError::Empty) => {
                checks.push(good("database", "none yet; it is made by brotr run or brotr init"));
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
    match agent::dialer(config, &brotr_keys::Signer::throwaway()) {
        Ok(dialer) => {
            let reached: Vec<_> = dialer.networks().iter().map(|network| network.as_str()).collect();
            checks.push(good("reaches", if reached.is_empty() { "nothing".into() } else { reached.join(" ") }));
            if !offline {
                let (names, tor, relays) = tokio::join!(names(config, &dialer), tor(&dialer), relays(config, &dialer));
                checks.extend(names.into_iter().chain(tor).chain(relays));
            }
        }
        Err(error) => checks.push(bad("reaches", format!("{error:#}"), "correct the settings under network")),
    }
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
            Err(_) if runs => good("http", format!("{} is the daemon's", config.http.listen)),
            Err(error) => bad(
                "http",
                format!("{}: {error}", config.http.listen),
                "set http.listen to another port, unless it is brotr itself that listens there",
            ),
        });
    }
    checks
}

/// Checks that host names resolve, by the name of the first relay that has one.
async fn names(config: &Config, dialer: &Dialer) -> Option<Check> {
    // Through Tor, the exit resolves names.
    if dialer.reaches(Network::Clearnet).is_err() || config.network.tor.clearnet {
        return None;
    }
    let ours = config.identity.relays.iter().chain(&config.dvm.relays);
    let ours = ours.filter_map(|url| RelayUrl::parse(url, dialer.guard()).ok()).chain(initializer::builtin());
    let named =
        |address: &RelayUrl| address.network() == Network::Clearnet && address.host().parse::<IpAddr>().is_err();
    let host = ours.into_iter().find(named)?.host().to_owned();
    Some(match dialer.lookup(&host).await {
        Ok(found) => {
            let addresses: Vec<String> = found.addresses.iter().map(ToString::to_string).collect();
            good("names", format!("{host} is {}", addresses.join(" ")))
        }
        Err(error) => bad(
            "names",
            format!("{host}: {error}"),
            "see that the name servers of /etc/resolv.conf answer, or name others in network.nameservers",
        ),
    })
}

/// Checks that Tor starts, if it is used.
async fn tor(dialer: &Dialer) -> Option<Check> {
    let tor = dialer.tor()?;
    let Ok(started) = tokio::time::timeout(LONGEST, dialer.start_tor()).await else {
        let detail = format!("not ready within {} s: {:?}", LONGEST.as_secs(), tor.status());
        return Some(advice("Tor", detail, "try again: the first start fetches a directory, and goes on where it was"));
    };
    Some(match started {
        Ok(()) => good("Tor", "ready"),
        Err(error) => bad(
            "Tor",
            error,
            "let TCP out to any port, or name bridges in network.tor.settings; network.tor.enabled: false goes without",
        ),
    })
}

/// Checks that the relays answer which the agent publishes to and takes jobs from.
async fn relays(config: &Config, dialer: &Dialer) -> Vec<Check> {
    let mut checks = Vec::new();
    for (name, list) in [("own relays", &config.identity.relays), ("job relays", &config.dvm.relays)] {
        if list.is_empty() {
            checks.push(good(name, "none"));
        }
        let answers = list.iter().map(|url| async move {
            // The configuration was validated: every URL parses.
            let address = RelayUrl::parse(url, dialer.guard()).map_err(|error| error.to_string())?;
            let dial = tokio::time::timeout(LONGEST, dialer.dial(&address, Purpose::Standing)).await;
            dial.map_or(Ok(None), |dialed| dialed.map(|_| Some(())).map_err(|error| error.to_string()))
        });
        for (url, answer) in list.iter().zip(futures::future::join_all(answers).await) {
            checks.push(match answer {
                Ok(Some(())) => good(name, format!("{url} answers")),
                Ok(None) => {
                    let detail = format!("{url} has not answered within {} s", LONGEST.as_secs());
                    advice(name, detail, "try again, or name a relay that answers sooner")
                }
                Err(error) => {
                    bad(name, format!("{url}: {error}"), "correct the address, or name a relay that is there")
                }
            });
        }
    }
    checks
}

/// Returns advice on the server's settings that slow down ingest, if there is any.
fn server_settings(settings: &[Setting]) -> Option<Check> {
    let values: Vec<_> = settings.iter().map(|setting| format!("{} = {}", setting.name, setting.value)).collect();
    let statements: String = settings
        .iter()
        .map(|setting| format!("alter system set {} = '{}'; ", setting.name, setting.recommended))
        .collect();
    let remedy = format!(
        "{statements}select pg_reload_conf(); as the server's superuser: it then writes a tenth of the bytes for an event"
    );
    (!settings.is_empty()).then(|| advice("server", values.join(", "), &remedy))
}

fn low(text: &str, floor: Size) -> Check {
    let remedy = format!("make room, or lower storage.min_free ({floor}): archiving pauses below it");
    Check { name: "disk", ok: false, detail: text.to_owned(), remedy: Some(remedy) }
}

/// Checks the system's clock: relays refuse events from the future and from long ago.
fn clock() -> Check {
    let now = agent::now();
    // The day the archive's format was fixed; a correct clock is not before it.
    if now < 1_790_000_000 {
        bad("clock", output::time(now), "set the clock: the time is in the past")
    } else {
        good("clock", output::time(now))
    }
}
