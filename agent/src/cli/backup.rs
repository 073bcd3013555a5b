//! `brotr backup` and `brotr restore`

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;
use brotr_storage::Counts;
use serde_json::json;
use tokio::time::Instant;

use super::{Access, Done, Shared, output};

#[derive(Debug, Clone, clap::Args)]
pub(super) struct Args {
    /// The file: SQLite's is an archive of its own, PostgreSQL's a dump that pg_restore reads
    file: PathBuf,
}

pub(super) async fn backup(shared: &Shared, args: Args) -> Result<Done> {
    let config = shared.load()?;
    let archive = shared.archive(&config, Access::Read).await?;
    let (bar, began) = (output::progress(0, "backing up", output::Unit::Things), Instant::now());
    let counts = archive.backup(&args.file).await;
    bar.finish_and_clear();
    let counts = counts?;
    archive.close().await;
    tell(shared, &args, "backed up to", counts, began.elapsed())
}

pub(super) async fn restore(shared: &Shared, args: Args) -> Result<Done> {
    let config = shared.load()?;
    let (bar, began) = (output::progress(0, "restoring", output::Unit::Things), Instant::now());
    let counts = brotr_storage::restore(config.storage_url(), &args.file).await;
    bar.finish_and_clear();
    tell(shared, &args, "restored from", counts?, began.elapsed())
}

fn tell(shared: &Shared, args: &Args, did: &str, counts: Counts, took: Duration) -> Result<Done> {
    let Counts { events, sightings, relays } = counts;
    if shared.json {
        output::json(&json!({"file": args.file, "events": events, "sightings": sightings, "relays": relays}))?;
    } else {
        let file = args.file.display();
        let [events, sightings, relays] = [events, sightings, relays].map(output::number);
        let size = std::fs::metadata(&args.file).map_or(0, |file| file.len().cast_signed());
        let (size, seconds) = (output::bytes(size), took.as_secs_f64());
        output::line(&format!(
            "{did} {file}: {events} events, {sightings} sightings, {relays} relays; {size} in {seconds:.1} s"
        ))?;
    }
    Ok(Done::Well)
}
