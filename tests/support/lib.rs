//! Support for tests: a throwaway PostgreSQL server with a replica and a pooler, a private Tor network, a name server, a proxy,
//! a wallet, a browser, a relay that misbehaves by script, and events. Everything listens on loopback and ends with the test
//! that started it.

#![expect(clippy::disallowed_methods, reason = "a test's server has nobody to supervise it: it ends with its handle")]

pub mod authors;
pub mod bouncer;
pub mod browser;
pub mod counts;
pub mod dns;
mod document;
pub mod events;
pub mod head;
mod house;
pub mod lifelike;
mod port;
pub mod postgres;
pub mod relay;
pub mod script;
pub mod socks;
pub mod tls;
pub mod tor;
pub mod wallet;

pub use bouncer::Bouncer;
pub use dns::Dns;
pub use house::House;
pub use postgres::{Cluster, Postgres};
pub use relay::ScriptedRelay;
pub use script::{Fault, Hints, Negentropy, Script};
pub use socks::Socks;
pub use tls::{Authority, Shown, TlsFront};
pub use tor::TorNetwork;
pub use wallet::{Manners, Wallet};

/// Sends a signal to a child, by its id: a bare Debian has no `kill` except the shell's.
///
/// # Errors
/// Fails if the child is gone.
pub fn signal(child: &std::process::Child, signal: rustix::process::Signal) -> std::io::Result<()> {
    let id = rustix::process::Pid::from_child(child);
    Ok(rustix::process::kill_process(id, signal)?)
}

pub use rustix::process::Signal;
