//! Permits to connect: a number of connections in total, on each network and to each host, a rate of new ones, and a number of
//! attempts at a time in each neighbourhood of addresses.
//!
//! Short-lived and long-lived connections have separate budgets, so that neither kind can exclude the other. No wait for
//! another connection to end is unbounded.

use std::collections::HashSet;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use brotr_core::{Network, RelayUrl};
use dashmap::DashMap;
use governor::clock::Clock;
use governor::middleware::NoOpMiddleware;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter};
use ipnet::IpNet;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use crate::settings::Settings;

/// Short-lived connections to one host at a time.
pub const VISITS_PER_HOST: usize = 4;
/// Live subscriptions to one host at a time.
pub const LIVE_PER_HOST: usize = 2;
/// Connections to one host at a time for publishing and job requests. Relays that the operator names have no limit.
const STANDING_PER_HOST: usize = 4;
/// Attempts to connect at a time to addresses of one /24 (IPv4) or /48 (IPv6). Hosting companies take more for a scan.
pub const ATTEMPTS_PER_SUBNET: usize = 2;
/// An attempt that is not answered counts for this long, so that a neighbourhood that does not answer excludes nobody in it.
pub(crate) const UNANSWERED: Duration = Duration::from_secs(1);
/// How long a caller waits for a permit. Live subscriptions do not wait for other connections to end.
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// The purpose of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Purpose {
    /// A check, a pass or a document: short-lived.
    Visit,
    /// A live subscription: long-lived, and replaceable by another relay if there is no room.
    Live,
    /// Publishing and job requests: long-lived.
    Standing,
}

impl Purpose {
    fn per_host(self) -> usize {
        match self {
            Self::Visit => VISITS_PER_HOST,
            Self::Live => LIVE_PER_HOST,
            Self::Standing => STANDING_PER_HOST,
        }
    }
}

type Hosts = DashMap<(String, Purpose), Arc<Semaphore>>;
type Subnets = DashMap<IpNet, Arc<Semaphore>>;

/// Issues permits.
pub(crate) struct Gate {
    all: Arc<Semaphore>,
    networks: [Lane; 4],
    hosts: Arc<Hosts>,
    subnets: Arc<Subnets>,
    rate: RateLimiter<NotKeyed, InMemoryState, TokioClock, NoOpMiddleware<std::time::Instant>>,
    /// URLs of the relays that the operator names: those published to, and those on which jobs are taken.
    own: HashSet<String>,
    longest_wait: Duration,
}

/// Tokio's clock, for the limiter.
#[derive(Debug, Clone, Copy)]
struct TokioClock;

impl Clock for TokioClock {
    type Instant = std::time::Instant;

    fn now(&self) -> Self::Instant {
        tokio::time::Instant::now().into_std()
    }
}

struct Lane {
    network: Network,
    all: Arc<Semaphore>,
    /// Live subscriptions hold at most half of the network's connections.
    live: Arc<Semaphore>,
}

/// A permit for one connection.
pub struct Permits {
    place: (String, Purpose),
    hosts: Arc<Hosts>,
    held: Vec<OwnedSemaphorePermit>,
}

impl Drop for Permits {
    fn drop(&mut self) {
        self.held.clear();
        // A host without connections or waiting callers is forgotten.
        self.hosts.remove_if(&self.place, |_, semaphore| Arc::strong_count(semaphore) == 1);
    }
}

/// A permit for one attempt to connect to an address.
pub(crate) struct Attempt {
    subnet: IpNet,
    subnets: Arc<Subnets>,
    held: Option<OwnedSemaphorePermit>,
}

impl Drop for Attempt {
    fn drop(&mut self) {
        self.held = None;
        self.subnets.remove_if(&self.subnet, |_, semaphore| Arc::strong_count(semaphore) == 1);
    }
}

impl Attempt {
    /// Connects under a permit, which is given back when there is an answer, or none for a second.
    pub(crate) async fn cover<T>(permit: Option<Self>, connecting: impl Future<Output = T>) -> T {
        let mut connecting = std::pin::pin!(connecting);
        match timeout(UNANSWERED, &mut connecting).await {
            Ok(connected) => connected,
            Err(_) => {
                drop(permit);
                connecting.await
            }
        }
    }
}

/// Returns the neighbourhood of an address.
fn subnet(ip: IpAddr) -> IpNet {
    let length = if ip.is_ipv4() { 24 } else { 48 };
    IpNet::new(ip, length).expect("shorter than an address").trunc()
}

/// Every connection that a caller may use is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Busy;

impl Gate {
    pub(crate) fn new(settings: &Settings, own: HashSet<String>) -> Self {
        let most = |n: u32| NonZeroU32::new(n).unwrap_or(NonZeroU32::MIN);
        // Those of a second at once, not those of a minute.
        let quota =
            Quota::per_minute(most(settings.dials_per_minute)).allow_burst(most(settings.dials_per_minute / 60));
        let lane = |network: Network| {
            let most = settings.limits(network).max_connections;
            let live = Arc::new(Semaphore::new(most.div_ceil(2)));
            Lane { network, all: Arc::new(Semaphore::new(most)), live }
        };
        Self {
            all: Arc::new(Semaphore::new(settings.max_connections)),
            networks: [Network::Clearnet, Network::Tor, Network::I2p, Network::Loki].map(lane),
            hosts: Arc::default(),
            subnets: Arc::default(),
            rate: RateLimiter::direct_with_clock(quota, TokioClock),
            own,
            longest_wait: LONGEST_WAIT,
        }
    }

    /// Returns true if the operator names a relay.
    pub(crate) fn is_own(&self, address: &RelayUrl) -> bool {
        self.own.contains(address.as_str())
    }

    /// Returns true if every connection for this purpose to a host is taken.
    pub(crate) fn is_full(&self, host: &str, purpose: Purpose) -> bool {
        self.hosts.get(&(host.to_owned(), purpose)).is_some_and(|host| host.available_permits() == 0)
    }

    /// Waits until the dial rate allows another connection.
    pub(crate) async fn until_ready(&self) {
        // The limiter's own wait is on the system's clock.
        while let Err(early) = self.rate.check() {
            tokio::time::sleep(early.wait_time_from(TokioClock.now())).await;
        }
    }

    /// Acquires a permit for an attempt to connect to an address, waiting at most half a minute for others in its neighbourhood.
    pub(crate) async fn attempt(&self, ip: IpAddr) -> Result<Attempt, Busy> {
        let subnet = subnet(ip);
        let mut attempt = Attempt { subnet, subnets: self.subnets.clone(), held: None };
        let neighbours = self.subnets.entry(subnet);
        let neighbours = neighbours.or_insert_with(|| Arc::new(Semaphore::new(ATTEMPTS_PER_SUBNET))).clone();
        let held = timeout(self.longest_wait, neighbours.acquire_owned()).await;
        attempt.held = Some(held.map_err(|_| Busy)?.map_err(|_| Busy)?);
        Ok(attempt)
    }

    /// Acquires a permit to connect to a relay, waiting at most half a minute for other connections to end, and then for the
    /// dial rate.
    pub(crate) async fn permit(&self, address: &RelayUrl, purpose: Purpose) -> Result<Permits, Busy> {
        let place = (address.host().to_owned(), purpose);
        let mut permits = Permits { place: place.clone(), hosts: self.hosts.clone(), held: Vec::with_capacity(4) };
        let mut wanted = Vec::with_capacity(4);
        // The host comes first, so that waiting for it holds nothing that others need.
        if purpose != Purpose::Standing || !self.is_own(address) {
            let host = self.hosts.entry(place);
            wanted.push(host.or_insert_with(|| Arc::new(Semaphore::new(purpose.per_host()))).clone());
        }
        if let Some(lane) = self.networks.iter().find(|lane| lane.network == address.network()) {
            if purpose == Purpose::Live {
                wanted.push(lane.live.clone());
            }
            wanted.push(lane.all.clone());
        }
        wanted.push(self.all.clone());
        let held = match purpose {
            Purpose::Live => wanted.into_iter().map(|one| one.try_acquire_owned().map_err(|_| Busy)).collect(),
            Purpose::Visit | Purpose::Standing => {
                let all = async {
                    let mut held = Vec::with_capacity(4);
                    for one in wanted {
                        held.push(one.acquire_owned().await.map_err(|_| Busy)?);
                    }
                    Ok(held)
                };
                timeout(self.longest_wait, all).await.unwrap_or(Err(Busy))
            }
        };
        permits.held = held?;
        // This wait is bounded by the operator's rate.
        self.until_ready().await;
        Ok(permits)
    }
}

#[cfg(test)]
mod tests {
    use brotr_core::Guard;

    use super::*;
    use crate::settings::{Direct, Limits, Proxied, TorSettings};

    fn address(url: &str) -> RelayUrl {
        RelayUrl::parse(url, &Guard::default()).expect("an address")
    }

    fn settings() -> Settings {
        let second = Duration::from_secs(1);
        let limits = Limits { connect_timeout: second, request_timeout: second, max_connections: 24 };
        let proxied = Proxied { enabled: false, socks: None, limits };
        Settings {
            allow: vec![],
            max_connections: 64,
            dials_per_minute: 12_000,
            max_message: 1 << 20,
            nameservers: vec![],
            ca_file: None,
            clearnet: Direct { enabled: true, limits },
            tor: TorSettings { directory: None, clearnet: false, arti: serde_json::json!({}), limits },
            i2p: proxied,
            loki: proxied,
        }
    }

    fn gate(own: &[&str]) -> Gate {
        let own = own.iter().map(|url| address(url).as_str().to_owned()).collect();
        Gate { longest_wait: Duration::from_millis(50), ..Gate::new(&settings(), own) }
    }

    #[tokio::test]
    async fn connections_that_stay_open_keep_no_visit_out_and_no_wait_is_unbounded() {
        let gate = gate(&["wss://a.example/own"]);
        let mut held = Vec::new();
        for (purpose, most) in
            [(Purpose::Live, LIVE_PER_HOST), (Purpose::Standing, STANDING_PER_HOST), (Purpose::Visit, VISITS_PER_HOST)]
        {
            for n in 0..most {
                assert!(!gate.is_full("a.example", purpose), "{purpose:?} {n}");
                held.push(gate.permit(&address(&format!("wss://a.example/{n}")), purpose).await.expect("free"));
            }
            assert!(gate.is_full("a.example", purpose));
            assert_eq!(gate.permit(&address("wss://a.example/more"), purpose).await.err(), Some(Busy));
            held.push(gate.permit(&address("wss://b.example"), purpose).await.expect("another host has its own"));
        }
        // The operator's own relays are not excluded by those that strangers named.
        for _ in 0..10 {
            held.push(gate.permit(&address("wss://a.example/own"), Purpose::Standing).await.expect("not limited"));
        }
        drop(held);
        assert!(gate.hosts.is_empty(), "nothing is remembered of hosts without connections");
    }

    #[tokio::test]
    async fn few_addresses_of_a_neighbourhood_are_tried_at_a_time() {
        let gate = gate(&[]);
        let ip = |text: &str| text.parse::<IpAddr>().expect("an address");
        for (first, second, third, elsewhere) in [
            ("203.0.114.1", "203.0.114.2", "203.0.114.255", "203.0.115.1"),
            ("2001:4860:1:1::1", "2001:4860:1:2::1", "2001:4860:1:ffff::1", "2001:4860:2::1"),
        ] {
            let held = [gate.attempt(ip(first)).await.expect("free"), gate.attempt(ip(second)).await.expect("free")];
            assert_eq!(gate.attempt(ip(third)).await.err(), Some(Busy));
            gate.attempt(ip(elsewhere)).await.expect("another neighbourhood");
            let waits = gate.attempt(ip(third));
            drop(held);
            waits.await.expect("free again");
        }
        assert!(gate.subnets.is_empty(), "nothing is remembered of neighbourhoods without attempts");
    }

    #[tokio::test]
    async fn an_address_that_does_not_answer_keeps_its_neighbours_waiting_for_a_second() {
        let gate = Gate { longest_wait: Duration::from_secs(20), ..gate(&[]) };
        let ip: IpAddr = "203.0.114.1".parse().expect("an address");
        let silent = || async { Attempt::cover(gate.attempt(ip).await.ok(), std::future::pending::<()>()).await };
        let (first, second) = (silent(), silent());
        tokio::select! {
            () = first => unreachable!("it never connects"),
            () = second => unreachable!("it never connects"),
            third = async { tokio::task::yield_now().await; gate.attempt(ip).await } => drop(third.expect("given back")),
        }
    }

    #[tokio::test]
    async fn live_subscriptions_take_half_of_a_network_at_most() {
        let gate = gate(&[]);
        let mut held = Vec::new();
        while let Ok(permit) = gate.permit(&address(&format!("wss://h{}.example", held.len())), Purpose::Live).await {
            held.push(permit);
        }
        assert_eq!(held.len(), settings().clearnet.limits.max_connections / 2);
        gate.permit(&address("wss://other.example"), Purpose::Visit).await.expect("half is left");
    }
}
