//! `brotr export`

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::PathBuf;

use anyhow::{Context, Result};
use brotr_storage::View;

use super::query::{Pages, parse};
use super::{Access, Done, Shared, output};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// A NIP-01 filter; without one, all events
    filter: Option<String>,
    /// Write to this file instead of stdout
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
}

pub(super) async fn main(shared: &Shared, args: Args) -> Result<Done> {
    let filter = parse(args.filter.as_deref())?;
    let config = shared.load()?;
    let archive = shared.archive(&config, Access::Read).await?;
    let mut out: Box<dyn Write> = match &args.output {
        Some(path) => {
            let file = File::create(path).with_context(|| format!("failed to write {}", path.display()))?;
            Box::new(BufWriter::new(file))
        }
        None => Box::new(BufWriter::new(std::io::stdout())),
    };
    let bar = output::progress(0, "exporting");
    let mut pages = Pages::new(archive.as_ref(), filter, View::All);
    while let Some(page) = pages.next().await? {
        for event in &page {
            writeln!(out, "{}", event.to_json())?;
        }
        bar.inc_length(page.len() as u64);
        bar.inc(page.len() as u64);
    }
    out.flush()?;
    bar.finish_and_clear();
    Ok(Done::Well)
}
