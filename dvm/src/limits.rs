//! Who may ask, and how much.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use brotr_storage::Standing;
use nostr::{Event, PublicKey};

/// Customers whose requests are counted; beyond these each starts anew.
const COUNTED: usize = 50_000;
const TOO_MANY: &str = "too many requests of this customer in a minute";
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
    /// Jobs that wait, of all customers who were never answered before.
    pub newcomers: u64,
    /// Only these customers, if there are any.
    pub allow: Vec<PublicKey>,
    /// Never these.
    pub deny: Vec<PublicKey>,
    /// Bits of work that a request's id must show (NIP-13).
    pub pow: u8,
    /// Only these, whom they follow and whom those follow (NIP-02), as far as it is archived; anybody if there are none.
    pub trust: Vec<PublicKey>,
    /// No statement that looks into the archive for a job takes longer.
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

    /// Whether a customer may ask once more, which is not counted: to find out that nothing is to be done, before anything is.
    pub(crate) fn may_enter(&self, customer: PublicKey) -> Result<(), &'static str> {
        let counted = self.counted.lock().unwrap_or_else(PoisonError::into_inner);
        let asked = counted.2.get(&customer).copied().unwrap_or_default();
        let over = counted.0.elapsed() < A_MINUTE && asked >= self.limits.per_minute;
        if over { Err(TOO_MANY) } else { Ok(()) }
    }

    /// Whether a customer may ask once more, which is counted.
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

    /// Whether a ping is answered, which is counted as a newcomer's job is.
    pub(crate) fn answers(&self) -> Result<(), &'static str> {
        self.seats(&Standing { open: 0, known: false, newcomers: 0 })
    }

    /// Whether there is room for one more job, which is counted. Who was answered before finds some where newcomers find none.
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
    fn who_asks_too_much_takes_nothing_from_others() {
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
