//! `brotr import`

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;

use anyhow::{Context, Result};
use brotr_core::{Guard, RawEvent, RelayUrl};
use brotr_storage::Batch;
use futures::{StreamExt, TryStreamExt, stream};
use serde::Serialize;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::failure::Failure;
use super::remote::Remote;
use super::{Access, Done, Shared, output};
use crate::agent::now;
use crate::ingest::Ingest;

/// Events stored in one batch,
const BATCH: usize = 1_000;
/// or bytes of JSON in one batch, whichever is reached first;
const BATCH_BYTES: u64 = 2 << 20;
/// and batches in flight: some are read and verified while others are written.
const BESIDE: usize = 48;
/// The longest line, in bytes.
const MAX_LINE: u64 = 8 << 20;
/// Bad lines that are reported with their number; all of them are counted.
const NAMED: usize = 1_000;

#[derive(Debug, Clone, clap::Args)]
pub(super) struct Args {
    /// A file with one event per line; stdin if left out or -
    file: Option<PathBuf>,
    /// The relay that these events were seen on
    #[arg(long, value_name = "URL")]
    pub(super) relay: Option<String>,
}

impl Args {
    /// Opens the input; returns it with its size, which is 0 if it is not known.
    pub(super) fn open(&self) -> Result<(Box<dyn Read + Send>, u64)> {
        if let Some(remote) = Remote::current() {
            return Ok((remote.input(), 0));
        }
        match self.file.as_ref().filter(|path| path.as_os_str() != "-") {
            Some(path) => {
                let file = File::open(path).with_context(|| format!("failed to open {}", path.display()))?;
                let size = file.metadata().map_or(0, |m| m.len());
                Ok((Box::new(file), size))
            }
            None => Ok((Box::new(std::io::stdin()), 0)),
        }
    }
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
    fn reject(&mut self, line: u64, reason: String) {
        self.rejected_total += 1;
        if self.rejected.len() < NAMED {
            self.rejected.push(Rejected { line, reason });
        }
    }
}

pub(super) async fn main(shared: &Shared, args: Args) -> Result<Done> {
    let config = shared.load()?;
    let relay = match &args.relay {
        Some(url) => {
            let address = RelayUrl::parse(url, &Guard::new(config.network.allow.clone()));
            let address = address.map_err(|e| Failure::usage(format_args!("--relay {url}: {e}")))?;
            Some((address.as_str().to_owned(), address.network()))
        }
        None => None,
    };
    let (input, size) = args.open()?;
    let input = Box::new(BufReader::new(input));
    let archive = shared.archive(&config, Access::Write).await?;
    let ingest = Ingest::new(archive.clone());
    let bar = output::progress(size, "importing", output::Unit::Bytes);
    let began = Instant::now();
    let (sender, mut portions) = mpsc::channel(1);
    // A thread of its own, which the end of the program does not wait for: a read from stdin may block forever.
    std::thread::Builder::new().name("brotr-import".into()).spawn(move || read(input, &sender))?;
    let store = |portion: Result<Portion>| {
        let (archive, ingest, relay) = (&archive, &ingest, relay.clone());
        async move {
            let mut portion = portion?;
            let checked = ingest.check("the file", std::mem::take(&mut portion.events)).await?;
            portion
                .rejected
                .extend(checked.bad.iter().map(|(place, error)| (portion.lines[*place], error.to_string())));
            let known = checked.known_ids();
            let batch = Batch { relay, seen_at: now(), prepared: checked.new, known, ..Batch::default() };
            let stored = archive.store(batch).await?;
            anyhow::Ok((portion, stored))
        }
    };
    // The archive writes waiting batches together.
    let mut stored = stream::poll_fn(|cx| portions.poll_recv(cx)).map(store).buffered(BESIDE);
    let mut imported = Imported::default();
    let (interrupt, mut interrupted) = (output::Interrupt::new(), false);
    loop {
        // What is in flight when the user interrupts is either stored or not, and is known if it is imported again.
        let next = tokio::select! {
            next = stored.try_next() => next?,
            () = interrupt.wait() => {
                interrupted = true;
                None
            }
        };
        let Some((portion, stored)) = next else { break };
        imported.read += portion.read;
        imported.stored += stored.stored as u64;
        imported.known += stored.known as u64;
        for (line, reason) in portion.rejected {
            imported.reject(line, reason);
        }
        bar.inc(portion.bytes);
        bar.set_message(format!("{} new, {} known", imported.stored, imported.known));
    }
    drop(stored);
    bar.finish_and_clear();
    shared.close(archive.as_ref()).await;
    imported.rejected.sort_by_key(|r| r.line);
    let rejected_total = imported.rejected_total;
    if shared.json {
        output::json(&imported)?;
    } else {
        for Rejected { line, reason } in &imported.rejected {
            output::note(&format!("line {line}: {reason}"))?;
        }
        let Imported { read, stored, known, .. } = imported;
        let [counted, new, known, bad] = [read, stored, known, rejected_total].map(output::number);
        let (stopped, rate) = (if interrupted { "interrupted: " } else { "" }, output::rate(read, began.elapsed()));
        output::line(&format!("{stopped}{counted} read, {new} new, {known} known, {bad} rejected {rate}"))?;
    }
    Ok(Done::of(rejected_total == 0 && !interrupted))
}

/// Some lines of the input.
#[derive(Default)]
struct Portion {
    /// Lines that are not empty.
    read: u64,
    events: Vec<RawEvent>,
    /// The line number of each event.
    lines: Vec<u64>,
    rejected: Vec<(u64, String)>,
    bytes: u64,
}

/// Reads the input to its end, or until the receiver is dropped.
fn read(mut input: Box<dyn BufRead + Send>, portions: &mpsc::Sender<Result<Portion>>) {
    let mut line = 0;
    loop {
        let portion = read_portion(input.as_mut(), &mut line).context("failed to read");
        let ended = portion.as_ref().map_or(true, |portion| portion.bytes == 0);
        if portions.blocking_send(portion).is_err() || ended {
            return;
        }
    }
}

/// Reads the next lines; returns an empty portion at the end of the input.
fn read_portion(input: &mut dyn BufRead, line: &mut u64) -> std::io::Result<Portion> {
    let mut portion = Portion::default();
    let mut text = Vec::new();
    while portion.lines.len() < BATCH && portion.rejected.len() < BATCH && portion.bytes < BATCH_BYTES {
        text.clear();
        let n = (&mut *input).take(MAX_LINE).read_until(b'\n', &mut text)? as u64;
        if n == 0 {
            break;
        }
        *line += 1;
        portion.bytes += n;
        if n == MAX_LINE && text.last() != Some(&b'\n') {
            portion.bytes += skip_line(input)?;
            portion.rejected.push((*line, format!("longer than {MAX_LINE} bytes")));
            continue;
        }
        match std::str::from_utf8(&text).map(str::trim) {
            Ok("") => {}
            Ok(text) => {
                portion.read += 1;
                match RawEvent::from_json(text) {
                    Ok(event) => {
                        portion.lines.push(*line);
                        portion.events.push(event);
                    }
                    Err(error) => portion.rejected.push((*line, error.to_string())),
                }
            }
            Err(_) => portion.rejected.push((*line, "not UTF-8".into())),
        }
    }
    Ok(portion)
}

/// Skips the rest of a line that is too long; returns the number of bytes skipped.
fn skip_line(input: &mut dyn BufRead) -> std::io::Result<u64> {
    let mut skipped = 0;
    loop {
        let buffer = input.fill_buf()?;
        let end = buffer.iter().position(|b| *b == b'\n');
        let n = end.map_or(buffer.len(), |at| at + 1);
        input.consume(n);
        skipped += n as u64;
        if end.is_some() || n == 0 {
            return Ok(skipped);
        }
    }
}
