//! The `robots.txt` of each host, remembered for a day.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use brotr_core::RelayUrl;
use tokio::time::Instant;

/// How long a `robots.txt` counts,
const FRESH: Duration = Duration::from_secs(86_000);
/// and how long it counts that there was no answer.
const FRESH_SILENCE: Duration = Duration::from_secs(3_500);
/// The most hosts that are remembered, and the most bytes of their rules.
const MAX_HOSTS: usize = 100_000;
const MAX_BYTES: usize = 32 << 20;

/// The `robots.txt` of a host.
#[derive(Debug, Clone)]
struct Remembered {
    read_at: Instant,
    /// Its rules; `None` if there was no answer.
    rules: Option<Arc<str>>,
}

impl Remembered {
    fn is_fresh(&self) -> bool {
        self.read_at.elapsed() < if self.rules.is_some() { FRESH } else { FRESH_SILENCE }
    }
}

#[derive(Debug, Default)]
struct Hosts {
    by_root: HashMap<String, Remembered>,
    bytes: usize,
}

/// Remembers the `robots.txt` of each host. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct RobotsCache(Arc<Mutex<Hosts>>);

/// Returns what relays on the same host and port have in common.
fn root(address: &RelayUrl) -> String {
    format!("{}:{}", address.host(), address.port())
}

impl RobotsCache {
    /// Forgets the `robots.txt` of a relay's host, so that it is read again.
    pub fn forget(&self, address: &RelayUrl) {
        let mut hosts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(gone) = hosts.by_root.remove(&root(address)) {
            hosts.bytes -= gone.rules.map_or(0, |rules| rules.len());
        }
    }

    /// Returns the rules of a relay's host, if they are known: `Some(None)` if there was no answer.
    #[must_use]
    pub fn get(&self, address: &RelayUrl) -> Option<Option<Arc<str>>> {
        let hosts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        hosts.by_root.get(&root(address)).filter(|host| host.is_fresh()).map(|host| host.rules.clone())
    }

    /// Remembers the rules of a relay's host; `None` if there was no answer.
    pub fn set(&self, address: &RelayUrl, rules: Option<Arc<str>>) {
        self.forget(address);
        let mut hosts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let bytes = rules.as_ref().map_or(0, |rules| rules.len());
        if hosts.by_root.len() >= MAX_HOSTS || hosts.bytes + bytes > MAX_BYTES {
            // Each host is then asked again at its next check.
            *hosts = Hosts::default();
        }
        hosts.bytes += bytes;
        hosts.by_root.insert(root(address), Remembered { read_at: Instant::now(), rules });
    }
}
