//! Limits of one turn at a relay in requests, time and bytes, and recovery after a failure.

use std::time::Duration;

use brotr_net::{DialError, End};
use tokio::time::Instant;

use super::Stores;
use super::visit::Visit;

/// The longest turn of the daemon,
const LONGEST: Duration = Duration::from_secs(600);
/// and the most bytes that it receives. After that other relays have their turn.
const MOST_BYTES: u64 = 512 << 20;
/// A pass that proves nothing for this many times the idle limit of a request is ended.
const UNPROVEN: u32 = 10;
/// A page with fewer events than this that takes half the idle limit or longer is a slow one,
const FEW: usize = 20;
/// and slow pages may take this many times the idle limit, all together.
const SLOW: u32 = 20;
/// The longest first wait before a connection is opened again: some relays refuse for two seconds after each close.
const RECONNECT: Duration = Duration::from_millis(2_500);
/// The longest first wait before a request is repeated on the same connection.
const REPEAT: Duration = Duration::from_secs(1);
/// How often opening a connection again is tried.
const RECONNECTS: u32 = 4;

/// The limits of one turn, and what was used of them.
#[derive(Debug, Clone)]
pub(super) struct Turn {
    most_requests: Option<u64>,
    began: Instant,
    idle: Duration,
    proven_at: Instant,
    slow: Duration,
}

impl Default for Turn {
    fn default() -> Self {
        Self::new(None, Duration::ZERO)
    }
}

impl Turn {
    /// Returns a turn of at most `most_requests`, or an unlimited one. `idle` is the idle limit of a request.
    pub(super) fn new(most_requests: Option<u64>, idle: Duration) -> Self {
        let now = Instant::now();
        Self { most_requests, began: now, idle, proven_at: now, slow: Duration::ZERO }
    }

    /// Returns true if the turn is over.
    pub(super) fn is_over(&self, requests: u64, bytes: u64) -> bool {
        self.is_over_at(Instant::now(), requests, bytes)
    }

    fn is_over_at(&self, now: Instant, requests: u64, bytes: u64) -> bool {
        let late = now.saturating_duration_since(self.began) >= LONGEST;
        self.most_requests.is_some_and(|most| requests >= most || bytes >= MOST_BYTES || late)
    }

    /// Records progress: something was proven, or events were received that were requested by id.
    pub(super) fn progress(&mut self) {
        self.proven_at = Instant::now();
    }

    /// Records a page and how long it took.
    pub(super) fn page(&mut self, events: usize, took: Duration) {
        if events < FEW && took >= self.idle / 2 {
            self.slow += took;
        }
    }

    /// Returns why the pass is to end although the relay still answers.
    pub(super) fn hopeless(&self) -> Option<String> {
        self.hopeless_at(Instant::now())
    }

    fn hopeless_at(&self, now: Instant) -> Option<String> {
        let unproven = now.saturating_duration_since(self.proven_at);
        if unproven >= self.idle * UNPROVEN {
            return Some(format!("nothing could be proven in {} s", unproven.as_secs()));
        }
        (self.slow >= self.idle * SLOW)
            .then(|| format!("its answers trickle: {} s for a few events", self.slow.as_secs()))
    }
}

impl<A: Stores + ?Sized> Visit<'_, A> {
    /// Waits before the `n`th try after a failure, and reconnects if the failure broke the connection.
    ///
    /// # Errors
    /// Why there is no connection, after several tries.
    pub(super) async fn recover(&mut self, end: &End, n: u32) -> Result<(), DialError> {
        let broken = matches!(end, End::Disconnect(_) | End::Timeout);
        let idle = self.session.idle();
        let first = if broken { RECONNECT.min(idle) } else { REPEAT.min(idle) };
        let mut wait = first * 2_u32.saturating_pow(n.saturating_sub(1).min(8));
        for attempt in n.. {
            tokio::time::sleep(wait.mul_f64(0.8 + 0.4 * fastrand::f64())).await;
            if !broken {
                return Ok(());
            }
            match self.session.reopen(&self.agent.dialer, self.address).await {
                Ok(()) => return Ok(()),
                Err(error) if error.is_ours() || attempt >= RECONNECTS => return Err(error),
                Err(_) => wait *= 2,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_turn_is_bounded_whatever_the_relay_does() {
        let idle = Duration::from_secs(20);
        let mut turn = Turn::new(Some(200), idle);
        let at = |seconds| turn.began + Duration::from_secs(seconds);
        let (soon, late, later) = (at(199), at(200), at(600));
        assert!(!turn.is_over_at(soon, 199, 1_000) && turn.hopeless_at(soon).is_none());
        assert!(turn.is_over_at(soon, 200, 0) && turn.is_over_at(soon, 0, MOST_BYTES) && turn.is_over_at(later, 0, 0));
        assert!(turn.hopeless_at(late).is_some_and(|why| why.contains("200 s")));
        // A relay that proves a little with each slow page.
        for _ in 0..19 {
            turn.page(1, idle);
            turn.page(FEW, idle);
            turn.page(1, idle / 3);
        }
        assert!(turn.hopeless_at(soon).is_none());
        turn.page(1, idle);
        assert!(turn.hopeless_at(soon).is_some_and(|why| why.contains("trickle")));
        assert!(!Turn::new(None, idle).is_over_at(later, u64::MAX, u64::MAX), "a command has no turns");
    }
}
