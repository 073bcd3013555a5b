//! How well, and how fast, relays are found that give an author's events:
//!
//! ```sh
//! cargo bench -p brotr --bench recall -- 25000 40
//! ```
//!
//! 100 relays, the given number of authors and of posts of each (`tests/support/authors.rs`) are archived in SQLite, except a quarter of
//! the posts. The bench prints the shares of these held-out posts that one, two and three relays give: chosen by where other posts were
//! seen, and as the authors' own lists name them; and the time of a report on an author and of a choice for many.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use brotr::recall::{Source, Wanted};
use brotr_core::{Event, Guard, Network, RelayState};
use brotr_storage::{Archive, Batch, CheckRecord, Options};
use brotr_tests::authors::{END, World};

const RELAYS: usize = 100;
/// Authors that are asked about.
const ASKED: usize = 500;
/// Events per transaction.
const BATCH: usize = 5_000;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let mut numbers = std::env::args().filter_map(|arg| arg.parse().ok());
    let (authors, posts) = (numbers.next().unwrap_or(2_500), numbers.next().unwrap_or(40));
    let world = World::new(RELAYS, authors, posts, 7);
    let dir = tempfile::tempdir()?;
    let archive =
        brotr_storage::open(&format!("sqlite://{}", dir.path().join("brotr.db").display()), Options::default()).await?;
    let began = Instant::now();
    fill(archive.as_ref(), &world).await?;
    let stats = archive.stats().await?;
    let took = began.elapsed().as_secs();
    println!("{} events of {authors} authors, {} sightings, stored in {took} s", stats.events, stats.sightings);

    let store = archive.as_ref();
    let source = Source { events: store, sightings: store, relays: store, now: END as i64 };
    let asked: Vec<_> = world.authors.iter().step_by((authors / ASKED).max(1)).collect();
    for relays in 1..=3 {
        let (mut found, mut listed, mut times) = (0.0, 0.0, Vec::new());
        for author in &asked {
            let began = Instant::now();
            let wanted = Wanted { recall: 1.0, relays };
            let report = source.author(author.keys.public_key(), wanted, &Guard::default()).await?;
            times.push(began.elapsed());
            let chosen: Vec<String> = report.chosen.into_iter().map(|choice| choice.relay).collect();
            found += world.recall(author, &chosen);
            listed += world.recall(author, &world.listed(author, relays));
        }
        let n = asked.len() as f64;
        times.sort_unstable();
        println!(
            "{relays} relays: {:.1} % by sightings, {:.1} % by relay lists; median {:.1} ms, p99 {:.1} ms, slowest {:.1} ms",
            found / n * 100.0,
            listed / n * 100.0,
            ms(times[times.len() / 2]),
            ms(times[times.len() * 99 / 100]),
            ms(times[times.len() - 1])
        );
    }
    let keys: Vec<_> = asked.iter().map(|author| author.keys.public_key()).collect();
    for recall in [0.8, 0.9, 0.95] {
        let began = Instant::now();
        let report = source.authors(&keys, Wanted { recall, relays: 100 }).await?;
        let reached = report.chosen.last().map_or(0.0, |choice| choice.recall);
        println!(
            "{} authors, {:.0} % wanted: {} relays give {:.1} %, chosen in {:.0} ms",
            keys.len(),
            recall * 100.0,
            report.chosen.len(),
            reached * 100.0,
            ms(began.elapsed())
        );
    }
    archive.close().await;
    Ok(())
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1_000.0
}

/// Stores what the archive saw of a world.
async fn fill(archive: &dyn Archive, world: &World) -> anyhow::Result<()> {
    let mut known = HashSet::new();
    for relay in 0..world.relays {
        let url = World::url(relay);
        let held: Vec<_> = world.held_by(relay).collect();
        for part in held.chunks(BATCH) {
            let (new, old): (Vec<&nostr::Event>, Vec<_>) =
                part.iter().copied().partition(|event| known.insert(event.id));
            let batch = Batch {
                relay: Some((url.clone(), Network::Clearnet)),
                seen_at: END as i64,
                events: new.into_iter().map(|event| Event::from(event).verify()).collect::<Result<_, _>>()?,
                known: old.into_iter().map(|event| event.id).collect(),
                ..Batch::default()
            };
            archive.store(batch).await?;
        }
        let state = if world.is_up(relay) { RelayState::Up } else { RelayState::Down };
        let check = CheckRecord { at: END as i64, due_at: END as i64 + 3_600, state, ..CheckRecord::default() };
        archive.record_check(&url, Network::Clearnet, &check).await?;
    }
    Ok(())
}
