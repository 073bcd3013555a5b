//! Limits of overrides on how many of their relays are synchronized concurrently.

use std::sync::Arc;

use brotr_core::RelayUrl;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::config::Override;

/// The overrides that limit concurrency.
#[derive(Debug, Clone)]
pub(super) struct Lanes(Arc<[(Override, Arc<Semaphore>)]>);

impl Lanes {
    pub(super) fn new(overrides: &[Override]) -> Self {
        let bounded =
            overrides.iter().filter_map(|one| Some((one.clone(), Arc::new(Semaphore::new(one.concurrency?)))));
        Self(bounded.collect())
    }

    /// Acquires the permits to work on a relay; `None` while others hold them.
    pub(super) fn enter(&self, address: &RelayUrl) -> Option<Vec<OwnedSemaphorePermit>> {
        self.0
            .iter()
            .filter(|(one, _)| one.is_about(address.as_str(), address.host()))
            .map(|(_, lane)| lane.clone().try_acquire_owned().ok())
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use brotr_core::Guard;

    use super::*;

    #[test]
    fn the_size_of_a_pattern_is_counted() {
        let one = |relay: &str, concurrency| Override { relay: relay.into(), concurrency, ..Override::default() };
        let lanes = Lanes::new(&[one("*.example", Some(2)), one("b.example", Some(1)), one("*", None)]);
        let address = |host: &str| RelayUrl::parse(&format!("wss://{host}"), &Guard::default()).expect("an address");
        let first = lanes.enter(&address("b.example")).expect("free");
        assert!(lanes.enter(&address("b.example")).is_none(), "its own place is taken");
        let second = lanes.enter(&address("c.example")).expect("free");
        assert!(lanes.enter(&address("d.example")).is_none(), "both places are taken");
        assert!(lanes.enter(&address("elsewhere.org")).is_some_and(|lane| lane.is_empty()));
        drop((first, second));
        assert!(lanes.enter(&address("b.example")).is_some());
    }
}
