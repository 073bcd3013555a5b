//! `brotr check`

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use brotr_core::RelayUrl;
use brotr_keys::Signer;
use futures::StreamExt;

use super::failure::Failure;
use super::{Done, Shared, output};
use crate::agent;
use crate::config::Check;
use crate::services::monitor::{Health, Places, Plan, Requirement, WriteTest, check};

/// Relays that are checked concurrently.
const BESIDE: usize = 16;

#[derive(Debug, Clone, clap::Args)]
pub(super) struct Args {
    /// Relay addresses
    #[arg(required = true, value_name = "URL")]
    urls: Vec<String>,
    /// Leave out the write test, which sends one ephemeral event
    #[arg(long)]
    no_write: bool,
}

pub(super) async fn main(shared: &Shared, args: Args) -> Result<Done> {
    let config = shared.load()?;
    // A check alone must not make the agent's key known to relays.
    let signer = match agent::load_key(&config)? {
        Some(signer) if !config.identity.relays.is_empty() => signer,
        _ => Signer::throwaway(),
    };
    let dialer = agent::dialer(&config, &signer)?;
    let mut addresses = Vec::new();
    for url in &args.urls {
        let address = RelayUrl::parse(url, dialer.guard());
        addresses.push(address.map_err(|e| Failure::usage(format_args!("{url}: {e}")))?);
    }
    let write = if args.no_write { WriteTest::Skip } else { WriteTest::As(signer) };
    let places = Arc::new(Places::new(&config.monitor.geo));
    let plan = Plan { checks: Check::ALL.to_vec(), write, max_pow: config.monitor.max_pow, places };
    let mut checks = futures::stream::iter(addresses)
        .map(|address| {
            let (dialer, plan) = (dialer.clone(), &plan);
            async move { check(&dialer, &address, plan).await }
        })
        .buffered(BESIDE);
    let mut all_up = true;
    while let Some(health) = checks.next().await {
        all_up &= health.up;
        if shared.json { output::json(&health.to_json())? } else { print(&health)? }
    }
    Ok(Done::of(all_up))
}

fn print(health: &Health) -> Result<()> {
    output::line(&format!("{}  {}", health.url, if health.up { "up" } else { "DOWN" }))?;
    let mut timeline = Timeline::default();
    for phase in phases(health) {
        output::line(&output::fit(&timeline.line(&phase)))?;
    }
    for line in notes(health) {
        output::line(&output::fit(&format!("  {line}")))?;
    }
    Ok(())
}

/// One phase of a check.
struct Phase {
    name: &'static str,
    took: Option<Duration>,
    detail: String,
}

/// The phases that follow each other, drawn to scale.
#[derive(Default)]
struct Timeline {
    so_far: Duration,
}

/// Width of the timeline, in characters.
const WIDTH: usize = 24;
const TICK: Duration = Duration::from_millis(50);

impl Timeline {
    fn line(&mut self, phase: &Phase) -> String {
        let Some(took) = phase.took else {
            return format!("  {:<8}{:>8}  {:WIDTH$}  {}", phase.name, "", "", phase.detail).trim_end().to_owned();
        };
        let place = |at: Duration| (at.as_millis() / TICK.as_millis()) as usize;
        let start = place(self.so_far).min(WIDTH - 1);
        let end = place(self.so_far + took).clamp(start + 1, WIDTH);
        self.so_far += took;
        let bar = format!("{}{}", " ".repeat(start), "=".repeat(end - start));
        let ms = format!("{} ms", took.as_millis());
        format!("  {:<8}{ms:>8}  {bar:WIDTH$}  {}", phase.name, phase.detail).trim_end().to_owned()
    }
}

fn phases(health: &Health) -> Vec<Phase> {
    let trace = &health.trace;
    let mut phases = Vec::new();
    let mut add = |name, took, detail: String| phases.push(Phase { name, took, detail });
    if let Some(lookup) = &trace.lookup {
        let mut detail: Vec<String> = lookup.addresses.iter().take(4).map(ToString::to_string).collect();
        detail.extend((lookup.addresses.len() > 4).then(|| "...".to_owned()));
        detail.extend(lookup.cname.as_ref().map(|name| format!("(another name for {name})")));
        detail.push(format!("for {} s", lookup.ttl));
        add("dns", Some(lookup.took), detail.join(" "));
    } else if let Some(outcome) = health.checks.get("dns") {
        add("dns", None, outcome.reason.clone().unwrap_or_default());
    }
    if let Some(took) = trace.connect {
        add("connect", Some(took), trace.peer.map_or_else(|| health.network.to_string(), |peer| peer.to_string()));
    }
    if let Some(tls) = trace.tls() {
        let version = tls.version.map(|version| format!("TLS {version}, "));
        let certificate = tls.certificate.as_ref().map(|certificate| {
            let until = output::time(certificate.not_after);
            format!("certificate of {} for {} until {until}", certificate.issuer, certificate.subject)
        });
        let refused = tls.refused.map(|why| format!(": NOT VALID, {why}"));
        let detail = [version, certificate, refused].into_iter().flatten().collect::<String>();
        add("tls", tls.took, detail);
    }
    if let Some(status) = trace.status {
        let server = trace.server.as_ref().map(|server| format!(", {server}")).unwrap_or_default();
        add("upgrade", trace.upgrade, format!("HTTP {status}{server}"));
    }
    if let Some(reason) = health.checks.get("open").and_then(|outcome| outcome.reason.clone()) {
        add("open", None, reason);
    }
    for name in ["read", "write"] {
        if let Some(outcome) = health.checks.get(name) {
            let reason = outcome.reason.clone().unwrap_or_default();
            let detail = match outcome.ok {
                Some(true) => "ok".to_owned(),
                Some(false) => reason,
                None => format!("unknown: {reason}"),
            };
            add(name, outcome.ms.map(Duration::from_millis), detail);
        }
    }
    phases
}

/// Returns what the relay's document says next to what was found.
fn notes(health: &Health) -> Vec<String> {
    let mut notes = Vec::new();
    match (&health.info, health.checks.get("nip11")) {
        (Some(info), outcome) => {
            let fields = [info.text_field("name"), info.text_field("software"), info.text_field("version")];
            let fields: Vec<String> = fields.into_iter().flatten().map(|s| s.escape_debug().to_string()).collect();
            let nips = info.nips().iter().map(u16::to_string).collect::<Vec<_>>().join(" ");
            let took = outcome.and_then(|outcome| outcome.ms).map(|ms| format!("{ms} ms")).unwrap_or_default();
            notes.push(format!("nip11   {took:>8}  {} (NIPs {nips})", fields.join(", ")));
        }
        (None, Some(outcome)) => {
            notes.push(format!("nip11             none: {}", outcome.reason.clone().unwrap_or_default()));
        }
        (None, None) => {}
    }
    let word = |what: Option<bool>| match what {
        Some(true) => "yes",
        Some(false) => "no",
        None => "-",
    };
    if !health.probes.is_empty() {
        notes
            .push(format!("{:<16}{:<7}{:<7}says: in its document; found: when tried; -: unknown", "", "says", "found"));
    }
    for (name, probe) in &health.probes {
        let mut line = format!("{name:<16}{:<7}{:<7}", word(probe.claimed), word(probe.found));
        if probe.contradicts() {
            line.push_str("contradicts itself  ");
        }
        line.push_str(probe.detail.as_deref().unwrap_or_default());
        notes.push(line.trim_end().to_owned());
    }
    if let Some(place) = &health.place {
        let asn = place.asn.map(|asn| format!("AS{asn}"));
        let parts = [place.city.clone(), place.country.clone(), asn, place.organisation.clone()];
        let parts: Vec<String> = parts.into_iter().flatten().collect();
        if !parts.is_empty() {
            notes.push(format!("place             {}", parts.join(", ")));
        }
    }
    if !health.requires.is_empty() {
        let words: Vec<_> = health.requires.iter().copied().map(Requirement::as_str).collect();
        notes.push(format!("wants             {}", words.join(", ")));
    }
    notes
}
