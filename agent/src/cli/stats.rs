//! `brotr stats`

use anyhow::Result;
use brotr_storage::Deliveries;

use super::{Access, Done, Shared, output};
use crate::outbox::HERE;

pub(super) async fn main(shared: &Shared) -> Result<Done> {
    let config = shared.load()?;
    let archive = shared.archive(&config, Access::Read).await?;
    let stats = archive.stats().await?;
    let mut deliveries = archive.deliveries().await?;
    deliveries.retain(|sent| sent.relay != HERE);
    if shared.json {
        let mut shown = serde_json::to_value(&stats)?;
        shown["publishing"] = serde_json::to_value(&deliveries)?;
        output::json(&shown)?;
        return Ok(Done::Well);
    }
    output::line(&format!("events     {}", stats.events))?;
    output::line(&format!("authors    {}", stats.pubkeys))?;
    output::line(&format!("sightings  {}", stats.sightings))?;
    output::line(&format!("disk       {}", bytesize::ByteSize::b(stats.disk_bytes.cast_unsigned()).display().iec()))?;
    output::line(&format!("outbox     {}", stats.outbox))?;
    for sent in &deliveries {
        let Deliveries { relay, accepted, refused, waiting, trouble } = sent;
        let trouble = trouble.as_ref().map(|trouble| format!("; last: {trouble}")).unwrap_or_default();
        output::line(&format!(
            "published  {accepted:>8} taken, {refused} refused, {waiting} waiting: {relay}{trouble}"
        ))?;
    }
    for (state, n) in &stats.relays {
        output::line(&format!("relays     {n:>8} {state}"))?;
    }
    for (status, n) in &stats.jobs {
        output::line(&format!("jobs       {n:>8} {status}"))?;
    }
    let mut kinds: Vec<_> = stats.kinds.iter().collect();
    kinds.sort_by_key(|(_, n)| std::cmp::Reverse(**n));
    for (kind, n) in kinds.into_iter().take(20) {
        output::line(&format!("kind       {n:>8} of {kind}"))?;
    }
    Ok(Done::Well)
}
