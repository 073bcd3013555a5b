//! Brotr: a keyed Nostr agent that finds and monitors relays, archives what they hold with proof of what is
//! complete, publishes what it measured, and answers jobs from what it knows.

pub mod config;
pub mod net;
