//! Latency of clients' queries:
//!
//! ```sh
//! cargo bench -p brotr-storage --bench queries
//! ```
//!
//! A million lifelike events on SQLite and on a throwaway PostgreSQL. Each kind of filter that clients send is run two hundred
//! times with different values; prints the median, the 99th percentile, and the mean number of returned events.

mod filters;

use brotr_core::{Event, Identified, Network};
use brotr_storage::{Batch, Options};
use brotr_tests::lifelike::{authors, lifelike};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let number = std::env::args().find_map(|arg| arg.parse().ok());
    // One of them, if it is named; Citus only then.
    let only = std::env::args().nth(1).filter(|arg| matches!(arg.as_str(), "sqlite" | "postgres" | "citus"));
    let events: usize = number.unwrap_or(1_000_000);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let authors = authors(events / 20, 2);
    let dir = tempfile::tempdir()?;
    let server = brotr_tests::Postgres::start()?;
    let cluster = (only.as_deref() == Some("citus")).then(brotr_tests::Cluster::start).transpose()?;
    let urls = match &cluster {
        Some(cluster) => vec![cluster.database("queries")?],
        None => vec![format!("sqlite://{}", dir.path().join("brotr.db").display()), server.database("queries")?],
    };
    let mut archives = Vec::new();
    for url in urls.iter().filter(|url| cluster.is_some() || only.as_ref().is_none_or(|only| url.starts_with(only))) {
        archives.push(runtime.block_on(brotr_storage::open(url, Options::default()))?);
    }
    // In parts, since a million events do not have to be in memory at once.
    const PART: usize = 50_000;
    for part in 0..events.div_ceil(PART) {
        let lines = lifelike(PART.min(events - part * PART), part as u64, &authors);
        for page in lines.chunks(5_000) {
            let page =
                page.iter().map(|line| Event::from_json(line).expect("an event").identify().expect("its id")).collect();
            let page: Vec<_> = Identified::verify_all(page).into_iter().collect::<Result<_, _>>()?;
            for archive in &archives {
                let relay = Some(("wss://relay.example/".to_owned(), Network::Clearnet));
                let batch = Batch { relay, events: page.clone(), ..Batch::default() };
                runtime.block_on(archive.store(batch))?;
            }
        }
    }
    for archive in &archives {
        println!("\n{}, {} events", archive.backend(), runtime.block_on(archive.stats())?.events);
        runtime.block_on(filters::ask(archive.as_ref(), &authors))?;
    }
    Ok(())
}
