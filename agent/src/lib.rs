//! Brotr: a keyed Nostr agent that finds and monitors relays, archives what they hold with proof of what is
//! complete, publishes what it measured, and answers jobs from what it knows.

pub mod agent;
pub mod backup;
pub mod cli;
pub mod clock;
pub mod config;
pub mod finder;
pub mod happening;
pub mod http;
mod inbound;
pub mod ingest;
pub mod initializer;
pub mod jobs;
pub mod monitor;
pub mod outage;
pub mod publish;
pub mod pulse;
pub mod relay_server;
pub mod retention;
pub mod rounds;
pub mod supervisor;
pub mod synchronizer;

/// Events are made on one thread and dropped on another, in many small pieces: a seventh less processor time for each.
/// Without huge pages, which would cost twice the memory.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;
