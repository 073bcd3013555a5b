//! Limits on who may request jobs, and how many.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

use brotr_storage::Standing;
use nostr::{Event, PublicKey};

/// The most customers whose requests are counted; beyond these, counts start anew.
const COUNTED: usize = 50_000;
const TOO_MANY: &str = "too many requests of this customer in a minute";
const A_MINUTE: Duration = Duration::from_secs(60);

/// The operator's limits.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Requests per minute of one customer.
    pub per_minute: u32,
    /// Requests per minute of all customers.
    pub all_per_minute: u32,
    /// Open jobs of one customer.
    pub open: u64,
    /// Waiting jobs of all customers who were never answered before.
    pub newcomers: u64,
    /// If not empty, only these customers are served.
    pub allow: Vec<PublicKey>,
    /// Customers who are never served.
    pub deny: Vec<PublicKey>,
    /// Bits of proof of work that a request's id must have (NIP-13).
    pub pow: u8,
    /// If not empty, only these, their follows, and the follows of those (NIP-02) are served, as far as they are archived.
    pub trust: Vec<PublicKey>,
    /// Time limit of each statement that a job runs.
    pub statement: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            per_minute: 30,
            all_per_minute: 6_000,
            open: 20,
            newcomers: 500,
            allow: vec![],
            deny: vec![],
            pow: 0,
            trust: vec![],
            statement: Duration::from_secs(10),
        }
    }
}

/// Enforces the limits.
#[derive(Debug)]
pub(crate) struct Gate {
    pub(crate) limits: Limits,
    /// When the minute began, and the requests of all customers and of each.
    counted: Mutex<(Instant, u32, HashMap<PublicKey, u32>)>,
}

impl Gate {
    pub(crate) fn new(limits: Limits) -> Self {
        Self { limits, counted: Mutex::new((Instant::now(), 0, HashMap::new())) }
    }

    /// Checks whether a request may be served at all.
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

    /// Checks whether a customer may send one more request, without counting it: so that nothing is done for a request that is
    /// refused later.
    pub(crate) fn may_enter(&self, customer: PublicKey) -> Result<(), &'static str> {
        let counted = self.counted.lock().unwrap_or_else(PoisonError::into_inner);
        let asked = counted.2.get(&customer).copied().unwrap_or_default();
        let over = counted.0.elapsed() < A_MINUTE && asked >= self.limits.per_minute;
        if over { Err(TOO_MANY) } else { Ok(()) }
    }

    /// Checks whether a customer may send one more request, and counts it.
    pub(crate) fn enters(&self, customer: PublicKey) -> Result<(), &'static str> {
        let mut counted = self.counted.lock().unwrap_or_else(PoisonError::into_inner);
        if counted.0.elapsed() >= A_MINUTE {
            *counted = (Instant::now(), 0, HashMap::new());
        }
        if counted.2.len() >= COUNTED {
            counted.2.clear();
        }
        let of_one = counted.2.entry(customer).or_default();
        if *of_one >= self.limits.per_minute {
            return Err(TOO_MANY);
        }
        *of_one += 1;
        Ok(())
    }

    /// Checks whether a ping is answered, and counts it like a newcomer's job.
    pub(crate) fn answers(&self) -> Result<(), &'static str> {
        self.seats(&Standing { open: 0, known: false, newcomers: 0 })
    }

    /// Checks whether there is room for one more job, and counts it. Customers who were answered before have room where
    /// newcomers have none.
    pub(crate) fn seats(&self, standing: &Standing) -> Result<(), &'static str> {
        let Limits { open, newcomers, all_per_minute, .. } = self.limits;
        if standing.open >= open {
            return Err("too many jobs of this customer wait");
        }
        if !standing.known && standing.newcomers >= newcomers {
            return Err("too many jobs wait of customers who were never answered before");
        }
        let most = if standing.known { all_per_minute } else { all_per_minute - all_per_minute / 4 };
        let mut counted = self.counted.lock().unwrap_or_else(PoisonError::into_inner);
        if counted.1 >= most {
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
    fn a_greedy_client_takes_nothing_from_others() {
        let gate = Gate::new(Limits { per_minute: 3, all_per_minute: 8, newcomers: 5, ..Limits::default() });
        let keys = || nostr::Keys::generate().public_key();
        let (loud, quiet) = (keys(), keys());
        let entered = (0..100).filter(|_| gate.enters(loud).is_ok()).count();
        assert_eq!(entered, 3);
        assert!(gate.enters(quiet).is_ok());
        let (new, known) =
            (Standing { open: 0, known: false, newcomers: 0 }, Standing { open: 0, known: true, newcomers: 9 });
        assert_eq!((0..100).filter(|_| gate.seats(&new).is_ok()).count(), 6, "three quarters");
        assert_eq!((0..100).filter(|_| gate.seats(&known).is_ok()).count(), 2, "the rest");
        let gate = Gate::new(Limits { newcomers: 5, open: 4, ..Limits::default() });
        assert!(gate.seats(&Standing { newcomers: 5, ..new }).is_err());
        assert!(gate.seats(&Standing { newcomers: 5, ..known }).is_ok());
        assert!(gate.seats(&Standing { open: 4, ..known }).is_err());
    }
}
