//! `brotr check`

use anyhow::Result;
use brotr_keys::Signer;
use futures::StreamExt;

use super::{Done, Shared, Usage, output};
use crate::agent;
use crate::config::Check;
use crate::monitor::{Health, Requirement, WriteTest, check};
use crate::net::Address;

/// Relays at a time.
const BESIDE: usize = 16;

#[derive(Debug, clap::Args)]
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
    // A check is no appearance of the agent unless it appears elsewhere too.
    let signer = match agent::load_key(&config)? {
        Some(signer) if !config.identity.relays.is_empty() => signer,
        _ => Signer::throwaway(),
    };
    let dialer = agent::dialer(&config, &signer)?;
    let mut addresses = Vec::new();
    for url in &args.urls {
        let address = Address::parse(url, dialer.guard());
        addresses.push(address.map_err(|e| Usage(anyhow::anyhow!("{url}: {e}")))?);
    }
    let write = if args.no_write { WriteTest::Skip } else { WriteTest::As(signer) };
    let wanted = [Check::Open, Check::Read, Check::Write, Check::Nip11];
    let mut checks = futures::stream::iter(addresses)
        .map(|address| {
            let (dialer, write, wanted) = (dialer.clone(), write.clone(), &wanted);
            async move { check(&dialer, &address, wanted, &write).await }
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
    for name in ["open", "read", "write", "nip11"] {
        let Some(outcome) = health.checks.get(name) else { continue };
        let text = match (&outcome.ms, &outcome.reason) {
            (Some(ms), _) => format!("ok, {ms} ms"),
            (None, Some(reason)) => reason.clone(),
            (None, None) => "failed".into(),
        };
        output::line(&format!("  {name:<6} {text}"))?;
    }
    if let Some(info) = &health.info {
        let says = [info.text_field("name"), info.text_field("software"), info.text_field("version")];
        let says: Vec<String> = says.into_iter().flatten().map(|s| s.escape_debug().to_string()).collect();
        let nips = info.nips().iter().map(u16::to_string).collect::<Vec<_>>().join(" ");
        output::line(&format!("  says   {} (NIPs {nips})", says.join(", ")))?;
    }
    if !health.requires.is_empty() {
        let words: Vec<_> = health.requires.iter().copied().map(Requirement::as_str).collect();
        output::line(&format!("  wants  {}", words.join(", ")))?;
    }
    Ok(())
}
