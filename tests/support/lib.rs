//! What the tests stand on: a throwaway PostgreSQL server, a relay that misbehaves by script, and events to put in
//! them. Everything listens on loopback and ends with the test that started it.

#![expect(clippy::disallowed_methods, reason = "a test's server has nobody to supervise it: it ends with its handle")]

pub mod events;
pub mod postgres;
pub mod relay;

pub use postgres::Postgres;
pub use relay::{Fault, Script, ScriptedRelay};
