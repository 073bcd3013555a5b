//! How long a relay is not contacted after a failure: longer each time, and longest if it refuses us.

use crate::error::Result;
use brotr_core::RelayUrl;
use brotr_net::{DialError, End};

use super::Stores;
use crate::agent::Agent;
use crate::state::State;

/// After the first transient failure, in seconds,
const PASSING: i64 = 15 * 60;
/// and after the first refusal: the relay requires authentication, payment or work, or has blocked us.
const REFUSED: i64 = 3_600;
/// The longest rest after each.
const LONGEST_PASSING: i64 = 86_400;
const LONGEST_REFUSED: i64 = 7 * 86_400;
/// Jitter of rests as a share, so that relays that failed together are not contacted together again.
const JITTER: f64 = 0.2;
/// Consecutive failures of each relay, by its URL.
const FAILURES: State<u32> = State::new("synchronizer", "failures");

/// Why a pass ended early.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Trouble {
    /// Transient: a timeout, a broken connection, too many requests.
    #[default]
    Passing,
    /// The relay refuses us.
    Refused,
    /// There was no way into its network: this is not counted against the relay.
    Ours,
}

impl Trouble {
    /// Classifies the end of a request. A relay's reason begins with a machine-readable prefix (NIP-01).
    pub(super) fn of(end: &End) -> Self {
        const REFUSALS: [&str; 7] =
            ["auth-required", "restricted", "blocked", "pow", "payment-required", "unsupported", "shadowbanned"];
        match end {
            End::Closed(reason) if REFUSALS.iter().any(|word| reason.starts_with(&format!("{word}:"))) => Self::Refused,
            _ => Self::Passing,
        }
    }

    /// Classifies a connection that could not be opened.
    pub(super) fn of_dial(agent: &Agent<impl Stores + ?Sized>, address: &RelayUrl, error: &DialError) -> Self {
        if error.is_ours() || agent.outage.is_out(address.network()) { Self::Ours } else { Self::Passing }
    }

    fn rest(self, failures: u32) -> i64 {
        let (first, longest) = match self {
            Self::Passing => (PASSING, LONGEST_PASSING),
            Self::Ours => (PASSING, PASSING),
            Self::Refused => (REFUSED, LONGEST_REFUSED),
        };
        first.saturating_mul(1 << failures.min(20)).min(longest)
    }
}

/// Records one more failure of a relay; returns how many seconds it is not to be contacted.
pub(super) async fn after(agent: &Agent<impl Stores + ?Sized>, address: &RelayUrl, trouble: Trouble) -> Result<i64> {
    if trouble == Trouble::Ours {
        return Ok(PASSING);
    }
    let failures = FAILURES.get(agent.archive.as_ref(), address.as_str()).await?.unwrap_or(0);
    FAILURES.set(agent.archive.as_ref(), address.as_str(), &failures.saturating_add(1)).await?;
    let jitter = 1.0 + JITTER * (fastrand::f64() - 0.5);
    Ok((trouble.rest(failures) as f64 * jitter) as i64)
}

/// Returns true if the last pass over a relay failed.
pub(super) async fn is_failing(agent: &Agent<impl Stores + ?Sized>, address: &RelayUrl) -> Result<bool> {
    Ok(FAILURES.get(agent.archive.as_ref(), address.as_str()).await?.is_some_and(|failures| failures > 0))
}

/// Resets the failures of a relay after a successful pass.
pub(super) async fn over(agent: &Agent<impl Stores + ?Sized>, address: &RelayUrl) -> Result<()> {
    if is_failing(agent, address).await? {
        FAILURES.set(agent.archive.as_ref(), address.as_str(), &0).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_from_minutes_to_days() {
        let rests = |trouble: Trouble| (0..30).map(|n| trouble.rest(n)).collect::<Vec<_>>();
        let passing = rests(Trouble::Passing);
        assert_eq!(passing[..4], [900, 1_800, 3_600, 7_200]);
        assert_eq!(passing.last(), Some(&LONGEST_PASSING));
        assert_eq!((Trouble::Refused.rest(0), Trouble::Refused.rest(29)), (3_600, 7 * 86_400));
    }

    #[test]
    fn a_refusal_is_classified_by_its_prefix() {
        let closed = |reason: &str| Trouble::of(&End::Closed(reason.into()));
        assert_eq!(closed("auth-required: who are you?"), Trouble::Refused);
        assert_eq!(closed("restricted: members only"), Trouble::Refused);
        assert_eq!(closed("rate-limited: slow down"), Trouble::Passing);
        assert_eq!(closed("error: your request was blocked: try later"), Trouble::Passing);
        assert_eq!(Trouble::of(&End::Timeout), Trouble::Passing);
    }
}
