//! Observed behaviour of a relay: whether it includes the bounds of a window, and how many events it returns per request.

use brotr_core::{Interval, RelayUrl};
use brotr_net::End;
use nostr::{Filter, Timestamp};

use super::visit::{Sample, Visit};
use super::{Bounds, Cap, Stores};
use crate::agent::{Agent, now};
use crate::error::Result;
use crate::state::{HINTS, Hints, OBSERVED_CAP, ObservedCap, State};

/// Whether a relay includes the bounds of a window, by its URL.
const BOUNDS: State<Bounds> = State::new("synchronizer", "bounds");
/// Seconds for which an observed cap is trusted, since relays are reconfigured;
const SEEN: i64 = 7 * 86_400;
/// for which one is that is smaller than those of other relays;
const SMALL: i64 = 10 * 365 * 86_400;
/// and for which a guessed one is, since the network may have broken the page off.
const GUESSED: i64 = 86_400;

/// Returns whether the relay includes the bounds of a window, if known.
pub(super) async fn bounds(agent: &Agent<impl Stores + ?Sized>, address: &RelayUrl) -> Result<Option<Bounds>> {
    Ok(BOUNDS.get(agent.archive.as_ref(), address.as_str()).await?)
}

impl<A: Stores + ?Sized> Visit<'_, A> {
    /// Requests an event that the relay holds, by its id and its exact second. A relay that does not return it excludes the
    /// bounds.
    pub(super) async fn probe_bounds(&mut self, sample: Sample) -> Result<Option<Bounds>> {
        let second = second(sample.at);
        let asked = Filter::new().id(sample.id).since(second).until(second).limit(1);
        let page = self.session.request(&asked).await;
        self.pass.requests += 1;
        self.pass.transferred += page.transferred as u64;
        self.pass.known += page.events.len() as u64;
        let bounds = match page.end {
            End::Eose if page.events.is_empty() => Bounds::Outside,
            End::Eose => Bounds::Inside,
            // The next page will report the failure.
            _ => return Ok(None),
        };
        BOUNDS.set(self.agent.archive.as_ref(), self.address.as_str(), &bounds).await?;
        Ok(Some(bounds))
    }
}

/// Returns how many events the relay returns per request, if observed recently.
pub(super) async fn cap(agent: &Agent<impl Stores + ?Sized>, address: &RelayUrl) -> Result<Option<usize>> {
    let observed = OBSERVED_CAP.get(agent.archive.as_ref(), address.as_str()).await?;
    Ok(observed.filter(|cap| cap.until > now()).map(|cap| cap.events.max(1)))
}

/// Records how many events the relay returns per request.
pub(super) async fn set_cap(agent: &Agent<impl Stores + ?Sized>, address: &RelayUrl, cap: Cap) -> Result<()> {
    let (events, trusted) = match cap {
        // While a relay is followed, its pages are too small to show it again.
        Cap::Seen(cap) if cap < super::SMALLEST_CAP => (cap, SMALL),
        Cap::Seen(cap) => (cap, SEEN),
        Cap::Guessed(cap) => (cap, GUESSED),
    };
    let cap = ObservedCap { events, until: now() + trusted };
    Ok(OBSERVED_CAP.set(agent.archive.as_ref(), address.as_str(), &cap).await?)
}

/// Forgets how many events the relay returns per request.
pub(super) async fn forget_cap(agent: &Agent<impl Stores + ?Sized>, address: &RelayUrl) -> Result<()> {
    Ok(OBSERVED_CAP.clear(agent.archive.as_ref(), address.as_str()).await?)
}

/// How often a relay's word must have been true before it is taken,
const CONFIRMED: u32 = 3;
/// one walk in how many checks it afterwards,
const SAMPLE: u32 = 8;
/// and seconds after a wrong one in which it is not taken.
const DISTRUST: i64 = 90 * 86_400;

/// Returns whether the relay's word that nothing is left is taken in the next walk. Now and then it is checked again.
pub(super) async fn trusts_hints(agent: &Agent<impl Stores + ?Sized>, address: &RelayUrl) -> Result<bool> {
    let seen = HINTS.get(agent.archive.as_ref(), address.as_str()).await?;
    Ok(matches!(seen, Some(Hints::Confirmed(n)) if n >= CONFIRMED) && fastrand::u32(..SAMPLE) > 0)
}

/// Records whether the relay's word was true. Returns true if it was not: what it stood for is not proven any more.
pub(super) async fn hints_were(agent: &Agent<impl Stores + ?Sized>, address: &RelayUrl, is_true: bool) -> Result<bool> {
    let store = agent.archive.as_ref();
    let seen = HINTS.get(store, address.as_str()).await?;
    let seen = seen.filter(|seen| !matches!(seen, Hints::Refuted(at) if at + DISTRUST <= now()));
    let next = match (seen, is_true) {
        (Some(Hints::Refuted(_)), _) => return Ok(false),
        (_, false) => Hints::Refuted(now()),
        // There is no use in counting further.
        (Some(Hints::Confirmed(CONFIRMED..)), true) => return Ok(false),
        (Some(Hints::Confirmed(n)), true) => Hints::Confirmed(n + 1),
        (None, true) => Hints::Confirmed(1),
    };
    HINTS.set(store, address.as_str(), &next).await?;
    Ok(!is_true)
}

/// Returns a second as a timestamp of filters.
pub(super) fn second(at: i64) -> Timestamp {
    Timestamp::from(at.max(0).cast_unsigned())
}

/// Returns a filter for a window, one second wider at both ends if the relay excludes its bounds.
pub(super) fn within(filter: &Filter, interval: Interval, bounds: Bounds) -> Filter {
    let margin = match bounds {
        Bounds::Inside => 0,
        Bounds::Outside => 1,
    };
    // Some relays take zero for no limit, and return their newest events.
    let filter = filter.clone().until(second(interval.until.saturating_add(margin).max(1)));
    // Nothing is before zero, and it cannot be requested.
    if interval.since > 0 { filter.since(second(interval.since.saturating_sub(margin))) } else { filter }
}
