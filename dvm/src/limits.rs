//! Who may ask, and how much.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use nostr::{Event, PublicKey};

/// Customers whose requests are counted; beyond these the counting starts anew.
const COUNTED: usize = 50_000;
const A_MINUTE: Duration = Duration::from_secs(60);

/// The operator's limits.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Requests of one customer in a minute.
    pub per_minute: u32,
    /// Requests of all customers in a minute.
    pub all_per_minute: u32,
    /// Jobs of one customer that have not ended.
    pub open: u64,
    /// Only these customers, if there are any.
    pub allow: Vec<PublicKey>,
    /// Never these.
    pub deny: Vec<PublicKey>,
    /// Bits of work that a request's id must show (NIP-13).
    pub pow: u8,
}

impl Default for Limits {
    fn default() -> Self {
        Self { per_minute: 30, all_per_minute: 6_000, open: 20, allow: vec![], deny: vec![], pow: 0 }
    }
}

/// Keeps the limits.
#[derive(Debug)]
pub(crate) struct Gate {
    pub(crate) limits: Limits,
    /// When the minute began, requests of all, and of each.
    counted: Mutex<(Instant, u32, HashMap<PublicKey, u32>)>,
}

impl Gate {
    pub(crate) fn new(limits: Limits) -> Self {
        Self { limits, counted: Mutex::new((Instant::now(), 0, HashMap::new())) }
    }

    /// Whether a request is one that is looked at.
    pub(crate) fn admits(&self, event: &Event) -> Result<(), &'static str> {
        let Limits { allow, deny, pow, .. } = &self.limits;
        if deny.contains(&event.pubkey) {
            return Err("by somebody who is denied");
        }
        if !allow.is_empty() && !allow.contains(&event.pubkey) {
            return Err("by somebody who is not allowed");
        }
        if !event.check_pow(*pow) {
            return Err("without the work that is asked for (NIP-13)");
        }
        Ok(())
    }

    /// Whether a customer may ask once more, which is counted.
    pub(crate) fn enters(&self, customer: PublicKey) -> Result<(), &'static str> {
        let mut counted = self.counted.lock().unwrap_or_else(PoisonError::into_inner);
        if counted.0.elapsed() >= A_MINUTE || counted.2.len() >= COUNTED {
            *counted = (Instant::now(), 0, HashMap::new());
        }
        let of_one = counted.2.entry(customer).or_default();
        if *of_one >= self.limits.per_minute {
            return Err("too many requests of this customer in a minute");
        }
        *of_one += 1;
        // One who asks too much takes nothing away from others.
        if counted.1 >= self.limits.all_per_minute {
            return Err("too many requests in a minute");
        }
        counted.1 += 1;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_asks_too_much_takes_nothing_from_others() {
        let gate = Gate::new(Limits { per_minute: 3, all_per_minute: 6, ..Limits::default() });
        let keys = || nostr::Keys::generate().public_key();
        let (loud, quiet) = (keys(), keys());
        let entered = (0..100).filter(|_| gate.enters(loud).is_ok()).count();
        assert_eq!(entered, 3);
        assert!(gate.enters(quiet).is_ok());
        let others = (0..100).filter(|_| gate.enters(keys()).is_ok()).count();
        assert_eq!(others, 2, "six in all");
    }
}
