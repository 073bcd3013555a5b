//! `brotr export`

use std::fs::File;
use std::io::{BufWriter, ErrorKind, IsTerminal, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use brotr_storage::View;
use indicatif::ProgressBar;
use nostr::Filter;
use tokio::time::Instant;

use super::query::{Pages, parse};
use super::{Access, Done, Shared, output};

#[derive(Debug, Clone, clap::Args)]
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
    let mut out = match &args.output {
        Some(path) => Target::file(path)?,
        None if std::io::stdout().is_terminal() => Target::Terminal,
        None => Target::Stdout(BufWriter::new(std::io::stdout())),
    };
    let total = match filter == Filter::default() {
        true => u64::try_from(archive.stats().await?.events).unwrap_or_default(),
        false => 0,
    };
    // A bar among the events would be read as one of them.
    let bar = match args.output.is_none() && std::io::stdout().is_terminal() {
        true => ProgressBar::hidden(),
        false => output::progress(total, "exporting", output::Unit::Things),
    };
    let began = Instant::now();
    let mut pages = Pages::new(archive.as_ref(), filter, View::All);
    let (mut events, mut bytes, mut interrupted) = (0_u64, 0_u64, false);
    let interrupt = output::Interrupt::new();
    loop {
        let page = tokio::select! {
            page = pages.next() => page?,
            () = interrupt.wait() => {
                interrupted = true;
                None
            }
        };
        let Some(page) = page else { break };
        for event in &page {
            let line = event.to_json();
            bytes += line.len() as u64 + 1;
            out.print(&line)?;
        }
        events += page.len() as u64;
        bar.inc(page.len() as u64);
    }
    match args.output.as_ref().filter(|_| !interrupted) {
        Some(path) => out.complete(path)?,
        None => out.flush()?,
    }
    bar.finish_and_clear();
    if args.output.is_some() || std::io::stderr().is_terminal() {
        let (n, events, size) = (events, output::counted(events, "event"), output::bytes(bytes.cast_signed()));
        let stopped = if interrupted { "interrupted: " } else { "" };
        let at = args.output.as_ref().filter(|_| interrupted).map(|path| format!(", in {}", part(path).display()));
        eprintln!("{stopped}exported {events}, {size}, {}{}", output::rate(n, began.elapsed()), at.unwrap_or_default());
    }
    Ok(Done::of(!interrupted))
}

/// Returns the name that a file has until it is complete. What is not a regular file, such as a pipe or a link, keeps its name.
pub(super) fn part(path: &Path) -> PathBuf {
    if std::fs::symlink_metadata(path).is_ok_and(|found| !found.is_file()) {
        return path.to_owned();
    }
    let mut name = path.as_os_str().to_owned();
    name.push(".part");
    name.into()
}

/// Where the events go.
pub(super) enum Target {
    File(BufWriter<File>),
    Stdout(BufWriter<std::io::Stdout>),
    /// What is unsafe to show is escaped.
    Terminal,
}

impl Target {
    /// Creates a file, which has another name until it is complete: see [`part`].
    pub(super) fn file(path: &Path) -> Result<Self> {
        let part = part(path);
        let file = File::create(&part).with_context(|| format!("failed to write {}", part.display()))?;
        Ok(Self::File(BufWriter::new(file)))
    }

    /// Gives the file its name.
    pub(super) fn complete(&mut self, path: &Path) -> Result<()> {
        self.flush()?;
        std::fs::rename(part(path), path).with_context(|| format!("failed to write {}", path.display()))
    }

    pub(super) fn print(&mut self, line: &str) -> Result<()> {
        match self {
            Self::File(file) => writeln!(file, "{line}")?,
            Self::Stdout(out) => writeln!(out, "{line}")?,
            Self::Terminal => output::line(line)?,
        }
        Ok(())
    }

    pub(super) fn flush(&mut self) -> Result<()> {
        match self {
            Self::File(file) => {
                file.flush()?;
                // A pipe cannot be synced.
                file.get_ref().sync_all().or_else(|error| match error.kind() {
                    ErrorKind::InvalidInput => Ok(()),
                    _ => Err(error),
                })?;
            }
            Self::Stdout(out) => out.flush()?,
            Self::Terminal => {}
        }
        Ok(())
    }
}
