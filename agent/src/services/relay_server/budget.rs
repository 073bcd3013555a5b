//! The memory of clients: one budget for all of them, and a share of it per address.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::timeout;

/// One address may hold this fraction of the budget,
const SHARE: usize = 4;
/// and filters and comparisons, which outlive a request, this fraction, so that answers always have the rest.
const STANDING: usize = 2;
/// How often a client that waits for memory looks for one that can be closed in its favor.
const TICK: Duration = Duration::from_millis(50);

/// What memory is held for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Use {
    /// Events on their way to a client.
    Answer,
    /// Filters of subscriptions and comparisons (NIP-77).
    Standing,
}

/// The memory of all clients together, in bytes.
#[derive(Debug)]
pub(super) struct Budget {
    total: usize,
    per_address: usize,
    state: Mutex<State>,
    freed: Notify,
    /// Clients that wait for memory, and what wakes a stalled one.
    waiting: AtomicUsize,
    short: Notify,
}

#[derive(Debug, Default)]
struct State {
    used: usize,
    standing: usize,
    addresses: HashMap<IpAddr, Share>,
}

#[derive(Debug, Default)]
struct Share {
    sessions: usize,
    bytes: usize,
}

impl Budget {
    /// Creates a budget of `total` bytes, for at most `per_address` sessions of one address.
    pub(super) fn new(total: usize, per_address: usize) -> Arc<Self> {
        Arc::new(Self {
            total,
            per_address,
            state: Mutex::default(),
            freed: Notify::new(),
            waiting: AtomicUsize::new(0),
            short: Notify::new(),
        })
    }

    /// Opens a session for an address; returns `None` if it has the most sessions allowed. Without an address there is no
    /// share.
    pub(super) fn open(self: &Arc<Self>, address: Option<IpAddr>) -> Option<Arc<Account>> {
        if let Some(address) = address {
            let mut state = self.state();
            let share = state.addresses.entry(address).or_default();
            if share.sessions >= self.per_address {
                return None;
            }
            share.sessions += 1;
        }
        Some(Arc::new(Account { budget: self.clone(), address }))
    }

    /// Waits until memory is wanted, and returns while some client waits for it.
    pub(super) async fn wanted(&self) {
        loop {
            self.short.notified().await;
            if self.waiting.load(Ordering::Relaxed) > 0 {
                return;
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One session's claim on the budget.
#[derive(Debug)]
pub(super) struct Account {
    pub(super) budget: Arc<Budget>,
    address: Option<IpAddr>,
}

impl Account {
    /// Takes memory if there is enough.
    pub(super) fn try_hold(self: &Arc<Self>, bytes: usize, purpose: Use) -> Option<Held> {
        let mut held = Held { account: self.clone(), bytes: 0, purpose };
        held.try_resize(bytes).then_some(held)
    }

    /// Takes memory for an answer, waiting for it; returns `None` if it does not become free in time.
    pub(super) async fn hold(self: &Arc<Self>, bytes: usize, longest: Duration) -> Option<Held> {
        let budget = &self.budget;
        // Never wait for more than the budget can have.
        let bytes = bytes.min(budget.total / SHARE);
        let wait = async {
            loop {
                let freed = budget.freed.notified();
                if let Some(held) = self.try_hold(bytes, Use::Answer) {
                    return held;
                }
                budget.short.notify_one();
                let _ = timeout(TICK, freed).await;
            }
        };
        let _waiting = Waiting::new(&budget.waiting);
        timeout(longest, wait).await.ok()
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        let Some(address) = self.address else { return };
        let mut state = self.budget.state();
        if let Some(share) = state.addresses.get_mut(&address) {
            share.sessions -= 1;
            if share.sessions == 0 {
                state.addresses.remove(&address);
            }
        }
    }
}

struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn new(waiting: &'a AtomicUsize) -> Self {
        waiting.fetch_add(1, Ordering::Relaxed);
        Self(waiting)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Memory that is taken from the budget until it is dropped.
#[derive(Debug)]
pub(super) struct Held {
    account: Arc<Account>,
    bytes: usize,
    purpose: Use,
}

impl Held {
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Takes more, or returns some; returns false, with nothing changed, if there is not enough.
    pub(super) fn try_resize(&mut self, bytes: usize) -> bool {
        let Account { budget, address } = self.account.as_ref();
        let mut state = budget.state();
        let more = bytes.saturating_sub(self.bytes);
        let (used, standing) = (state.used + more, state.standing + more);
        let share = address.and_then(|address| state.addresses.get_mut(&address));
        let over = used > budget.total
            || self.purpose == Use::Standing && standing > budget.total / STANDING
            || share.as_ref().is_some_and(|share| share.bytes + more > budget.total / SHARE);
        if over && more > 0 {
            return false;
        }
        if let Some(share) = share {
            share.bytes = share.bytes + bytes - self.bytes;
        }
        state.used = state.used + bytes - self.bytes;
        if self.purpose == Use::Standing {
            state.standing = state.standing + bytes - self.bytes;
        }
        drop(state);
        if bytes < self.bytes {
            budget.freed.notify_waiters();
        }
        self.bytes = bytes;
        true
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.try_resize(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(n: u8) -> Option<IpAddr> {
        Some([203, 0, 113, n].into())
    }

    #[tokio::test]
    async fn memory_is_bounded_in_all_and_by_address_and_comes_back() {
        let budget = Budget::new(1_000, 2);
        let one = budget.open(address(1)).expect("a place");
        let second = budget.open(address(1)).expect("a place");
        assert!(budget.open(address(1)).is_none(), "two sessions of one address");
        let mut held = one.try_hold(200, Use::Answer).expect("there is enough");
        assert!(!held.try_resize(300) && held.try_resize(250), "a quarter for one address");
        let many = budget.open(None).expect("a place");
        assert!(many.try_hold(501, Use::Standing).is_none());
        let standing = many.try_hold(500, Use::Standing).expect("half of it");
        let rest = many.try_hold(250, Use::Answer).expect("the rest");
        assert!(many.try_hold(1, Use::Answer).is_none());
        let short = Duration::from_millis(20);
        assert!(many.hold(1, short).await.is_none(), "nothing is freed");
        let (waited, ()) = tokio::join!(many.hold(200, Duration::from_secs(5)), async {
            budget.wanted().await;
            drop(rest);
        });
        assert_eq!(waited.map(|held| held.bytes()), Some(200));
        drop((held, standing, one, second));
        let state = budget.state();
        assert_eq!((state.used, state.standing, state.addresses.len()), (0, 0, 0));
    }
}
