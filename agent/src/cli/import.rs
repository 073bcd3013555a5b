//! `brotr import`

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;

use anyhow::{Context, Result};
use brotr_storage::{Batch, Event};
use serde::Serialize;

use super::{Access, Done, Shared, Usage, output};
use crate::agent::now;
use crate::ingest::Ingest;
use crate::net::{Address, Guard};

/// Events are stored so many at a time,
const BATCH: usize = 1_000;
/// or so many bytes,
const BATCH_BYTES: usize = 16 << 20;
/// A line may be so long.
const MAX_LINE: u64 = 8 << 20;
/// So many bad lines are named; all are counted.
const NAMED: usize = 1_000;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// A file with an event a line; stdin when left out or -
    file: Option<PathBuf>,
    /// The relay that these events were seen on
    #[arg(long, value_name = "URL")]
    relay: Option<String>,
}

#[derive(Debug, Default, Serialize)]
struct Imported {
    read: u64,
    stored: u64,
    known: u64,
    rejected: Vec<Rejected>,
    rejected_total: u64,
}

#[derive(Debug, Serialize)]
struct Rejected {
    line: u64,
    reason: String,
}

impl Imported {
    fn reject(&mut self, line: u64, reason: impl ToString) {
        self.rejected_total += 1;
        if self.rejected.len() < NAMED {
            self.rejected.push(Rejected { line, reason: reason.to_string() });
        }
    }
}

pub(super) async fn main(shared: &Shared, args: Args) -> Result<Done> {
    let config = shared.load()?;
    let relay = match &args.relay {
        Some(url) => {
            let address = Address::parse(url, &Guard::new(config.network.allow.clone()));
            let address = address.map_err(|e| Usage(anyhow::anyhow!("--relay {url}: {e}")))?;
            Some((address.as_str().to_owned(), address.network()))
        }
        None => None,
    };
    let (mut input, size): (Box<dyn BufRead>, u64) = match args.file.filter(|path| path.as_os_str() != "-") {
        Some(path) => {
            let file = File::open(&path).with_context(|| format!("failed to open {}", path.display()))?;
            let size = file.metadata().map_or(0, |m| m.len());
            (Box::new(BufReader::new(file)), size)
        }
        None => (Box::new(BufReader::new(std::io::stdin())), 0),
    };
    let archive = shared.archive(&config, Access::Write).await?;
    let ingest = Ingest::new(archive.clone());
    let bar = output::progress(size, "importing");
    let mut imported = Imported::default();
    let (mut line, mut lines, mut events, mut bytes, mut ended) = (0_u64, Vec::new(), Vec::new(), 0, false);
    while !ended {
        let mut text = Vec::new();
        let n = input.by_ref().take(MAX_LINE).read_until(b'\n', &mut text).context("failed to read")?;
        ended = n == 0;
        if n > 0 {
            line += 1;
            bar.inc(n as u64);
            if n as u64 == MAX_LINE && text.last() != Some(&b'\n') {
                imported.reject(line, format!("longer than {MAX_LINE} bytes"));
                skip_line(&mut input)?;
                continue;
            }
            match std::str::from_utf8(&text).map(str::trim) {
                Ok("") => {}
                Ok(text) => {
                    imported.read += 1;
                    match Event::from_json(text) {
                        Ok(event) => {
                            bytes += text.len();
                            lines.push(line);
                            events.push(event);
                        }
                        Err(error) => imported.reject(line, error),
                    }
                }
                Err(_) => imported.reject(line, "not UTF-8"),
            }
        }
        if events.len() >= BATCH || bytes >= BATCH_BYTES || (ended && !events.is_empty()) {
            bytes = 0;
            let checked = ingest.check(std::mem::take(&mut events)).await?;
            for (place, error) in &checked.bad {
                imported.reject(lines[*place], error);
            }
            lines.clear();
            let known = checked.known_ids();
            let batch = Batch { relay: relay.clone(), seen_at: now(), events: checked.new, known, ..Batch::default() };
            let stored = archive.store(batch).await?;
            imported.stored += stored.stored as u64;
            imported.known += stored.known as u64;
            bar.set_message(format!("{} new, {} known", imported.stored, imported.known));
        }
    }
    bar.finish_and_clear();
    archive.close().await;
    imported.rejected.sort_by_key(|r| r.line);
    let rejected_total = imported.rejected_total;
    if shared.json {
        output::json(&imported)?;
    } else {
        for Rejected { line, reason } in &imported.rejected {
            eprintln!("line {line}: {reason}");
        }
        let Imported { read, stored, known, .. } = imported;
        output::line(&format!("{read} read, {stored} new, {known} known, {rejected_total} rejected"))?;
    }
    Ok(Done::of(rejected_total == 0))
}

/// Reads to the end of a line that is too long, without keeping it.
fn skip_line(input: &mut dyn BufRead) -> Result<()> {
    loop {
        let buffer = input.fill_buf()?;
        let end = buffer.iter().position(|b| *b == b'\n');
        let n = end.map_or(buffer.len(), |at| at + 1);
        input.consume(n);
        if end.is_some() || n == 0 {
            return Ok(());
        }
    }
}
