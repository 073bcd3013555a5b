//! Size of an archive on disk:
//!
//! ```sh
//! cargo bench -p brotr --bench disk
//! ```
//!
//! 200,000 lifelike events, each seen on seven of forty relays, which are read one after the other in pages of 500, newest
//! first. Prints bytes per event and per sighting, for each table and index, on SQLite and on a throwaway PostgreSQL, and the
//! same for an archive without contents (profile lilbrotr).

use std::sync::Arc;

use brotr_core::{Event, Network, Verified};
use brotr_storage::{Archive, Batch, Options, Profile};
use brotr_tests::lifelike::{Dice, authors, lifelike};

const RELAYS: usize = 40;
const SEEN_ON: usize = 7;
const PAGE: usize = 500;
/// Tables that hold sightings, and their indexes; the rest is the events'.
const SIGHTINGS: [&str; 4] = ["sighting", "sighting_by_relay", "sighting_by_event", "sighting_by_span"];

fn main() -> anyhow::Result<()> {
    let number = std::env::args().find_map(|arg| arg.parse().ok());
    let events: usize = number.unwrap_or(200_000);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let lines = lifelike(events, 1, &authors(events / 10, 2));
    println!("{events} events of {} B mean JSON", lines.iter().map(String::len).sum::<usize>() / events);
    let verified = verify(&lines);
    let server = brotr_tests::Postgres::start()?;
    for profile in [Profile::Bigbrotr, Profile::Lilbrotr] {
        let dir = tempfile::tempdir()?;
        let sqlite = format!("sqlite://{}", dir.path().join("brotr.db").display());
        runtime.block_on(weigh(&sqlite, profile, &verified))?;
        runtime.block_on(weigh(&server.database(profile.as_str())?, profile, &verified))?;
    }
    Ok(())
}

fn verify(lines: &[String]) -> Vec<Verified> {
    let share = lines.len().div_ceil(std::thread::available_parallelism().map_or(1, usize::from));
    let verify = |line: &String| Event::from_json(line).expect("an event").verify().expect("signed");
    std::thread::scope(|scope| {
        let parts: Vec<_> =
            lines.chunks(share).map(|part| scope.spawn(move || part.iter().map(verify).collect::<Vec<_>>())).collect();
        parts.into_iter().flat_map(|part| part.join().expect("no panic")).collect()
    })
}

async fn weigh(url: &str, profile: Profile, events: &[Verified]) -> anyhow::Result<()> {
    // An archive that keeps no contents indexes no text either, though it be switched on: it would show here.
    let search = profile == Profile::Lilbrotr;
    let archive = brotr_storage::open(url, Options { profile, search, ..Options::default() }).await?;
    let mut dice = Dice::new(3);
    let mut held: Vec<Vec<usize>> = vec![Vec::new(); RELAYS];
    for i in 0..events.len() {
        let mut on = std::collections::BTreeSet::new();
        while on.len() < SEEN_ON {
            on.insert(dice.low(RELAYS));
        }
        on.into_iter().for_each(|relay| held[relay].push(i));
    }
    let mut stored = vec![false; events.len()];
    for (n, held) in held.iter().enumerate() {
        for (p, page) in held.chunks(PAGE).enumerate() {
            let new: Vec<Verified> = page.iter().filter(|i| !stored[**i]).map(|i| events[*i].clone()).collect();
            let known = page.iter().filter(|i| stored[**i]).map(|i| events[*i].event().id).collect();
            page.iter().for_each(|i| stored[*i] = true);
            let relay = Some((format!("wss://relay{n}.example/"), Network::Clearnet));
            let seen_at = 1_770_000_000 + (n * 3_600 + p) as i64;
            archive.store(Batch { relay, seen_at, events: new, known, ..Batch::default() }).await?;
        }
    }
    let stats = archive.stats().await?;
    let sizes = sizes(&archive).await?;
    println!("\n{}, {}: {} events, {} sightings", archive.backend(), profile.as_str(), stats.events, stats.sightings);
    let (mut of_events, mut of_sightings) = (0.0, 0.0);
    for (name, bytes) in &sizes {
        let sighting = SIGHTINGS.contains(&name.as_str());
        let per = *bytes as f64 / if sighting { stats.sightings } else { stats.events } as f64;
        *if sighting { &mut of_sightings } else { &mut of_events } += per;
        if per >= 0.5 {
            println!("  {name:<28}{per:>8.1} B {}", if sighting { "a sighting" } else { "an event" });
        }
    }
    println!("  {:<28}{of_events:>8.1} B an event", "all but sightings");
    println!("  {:<28}{of_sightings:>8.1} B a sighting", "sightings");
    archive.close().await;
    Ok(())
}

/// Returns the bytes of each table and index.
async fn sizes(archive: &Arc<dyn Archive>) -> anyhow::Result<Vec<(String, i64)>> {
    let sql = match archive.backend() {
        "SQLite" => "select name, sum(pgsize) from dbstat group by name order by 2 desc",
        _ => {
            "select relname::text, (pg_relation_size(oid) + case when reltoastrelid = 0 then 0 else pg_total_relation_size(reltoastrelid) end)::bigint \
             from pg_class where relnamespace = 'public'::regnamespace and relkind in ('r', 'i') order by 2 desc"
        }
    };
    let (sender, mut rows) = tokio::sync::mpsc::channel(1_000);
    archive.sql(sql, sender).await?;
    let mut sizes = Vec::new();
    while let Some(row) = rows.recv().await {
        if let (Some(name), Some(bytes)) = (row[0].as_str(), row[1].as_i64()) {
            sizes.push((name.to_owned(), bytes));
        }
    }
    Ok(sizes)
}
