//! `brotr backup` and `brotr restore`

use std::path::PathBuf;

use anyhow::Result;
use brotr_storage::Counts;
use serde_json::json;

use super::{Access, Done, Shared, output};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The file: SQLite's is an archive of its own, PostgreSQL's a dump that pg_restore reads
    file: PathBuf,
}

pub(super) async fn backup(shared: &Shared, args: Args) -> Result<Done> {
    let config = shared.load()?;
    let archive = shared.archive(&config, Access::Read).await?;
    let counts = archive.backup(&args.file).await?;
    archive.close().await;
    tell(shared, &args, "backed up to", counts)
}

pub(super) async fn restore(shared: &Shared, args: Args) -> Result<Done> {
    let config = shared.load()?;
    let counts = brotr_storage::restore(config.storage_url(), &args.file).await?;
    tell(shared, &args, "restored from", counts)
}

fn tell(shared: &Shared, args: &Args, did: &str, counts: Counts) -> Result<Done> {
    let Counts { events, sightings, relays } = counts;
    if shared.json {
        output::json(&json!({"file": args.file, "events": events, "sightings": sightings, "relays": relays}))?;
    } else {
        let file = args.file.display();
        output::line(&format!("{did} {file}: {events} events, {sightings} sightings, {relays} relays"))?;
    }
    Ok(Done::Well)
}
