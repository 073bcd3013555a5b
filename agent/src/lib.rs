//! Brotr: a keyed Nostr agent that finds and monitors relays, archives what they hold with proof of what is
//! complete, publishes what it measured, and answers jobs from what it knows.

pub mod agent;
pub mod catalog;
pub mod cli;
pub mod client;
pub mod clock;
pub mod config;
pub mod daemon;
pub mod disk;
pub mod error;
pub mod history;
mod inbound;
pub mod ingest;
pub mod initializer;
pub mod intake;
pub mod manners;
pub mod outage;
pub mod outbox;
pub mod pulse;
pub mod recall;
pub mod relay_retention;
pub mod rescue;
pub mod robots;
pub mod sampling;
pub mod scheduler;
pub mod services;
pub mod state;
pub mod supervisor;
pub mod telemetry;
pub mod versions;

/// Events are allocated on one thread and dropped on another, in many small pieces: this allocator takes a seventh less CPU
/// time per event. Huge pages are off, since they double resident memory.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;
