//! The right to connect: so many connections in all, on each network and to each host, and so many new ones a minute.

use std::num::NonZeroU32;
use std::sync::Arc;

use brotr_storage::Network;
use dashmap::DashMap;
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::config;

/// Connections to one host at a time, whatever it is called for.
const PER_HOST: usize = 4;

/// Where permits come from.
pub(super) struct Gate {
    all: Arc<Semaphore>,
    networks: [(Network, Arc<Semaphore>); 4],
    hosts: Arc<DashMap<String, Arc<Semaphore>>>,
    rate: DefaultDirectRateLimiter,
}

/// The right to one connection.
pub struct Permits {
    host: String,
    hosts: Arc<DashMap<String, Arc<Semaphore>>>,
    _held: [OwnedSemaphorePermit; 3],
}

impl Drop for Permits {
    fn drop(&mut self) {
        // The permit itself goes after this, so the host's last holder finds two owners: the map and the permit.
        self.hosts.remove_if(&self.host, |_, semaphore| Arc::strong_count(semaphore) <= 2);
    }
}

impl Gate {
    pub(super) fn new(limits: &config::Network) -> Self {
        let quota = Quota::per_minute(NonZeroU32::new(limits.dials_per_minute).unwrap_or(NonZeroU32::MIN));
        let network = |network: Network| (network, Arc::new(Semaphore::new(limits.of(network).max_connections)));
        Self {
            all: Arc::new(Semaphore::new(limits.max_connections)),
            networks: [Network::Clearnet, Network::Tor, Network::I2p, Network::Loki].map(network),
            hosts: Arc::default(),
            rate: RateLimiter::direct(quota),
        }
    }

    /// Waits for the right to connect to a host.
    pub(super) async fn permit(&self, host: &str, network: Network) -> Permits {
        let semaphore = self.hosts.entry(host.to_owned()).or_insert_with(|| Arc::new(Semaphore::new(PER_HOST))).clone();
        let of_network = self.networks.iter().find(|(one, _)| *one == network).map_or(&self.all, |(_, lane)| lane);
        let closed = "the semaphores are never closed";
        // The host first, so that waiting for a busy one holds nothing that others need.
        let held = [
            semaphore.acquire_owned().await.expect(closed),
            of_network.clone().acquire_owned().await.expect(closed),
            self.all.clone().acquire_owned().await.expect(closed),
        ];
        self.rate.until_ready().await;
        Permits { host: host.to_owned(), hosts: self.hosts.clone(), _held: held }
    }
}
