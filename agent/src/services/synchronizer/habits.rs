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
        let page = self.request(&asked).await;
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

/// In how many visits a relay's hints must have been true before they are trusted,
const CONFIRMED: u32 = 3;
/// and one walk in how many checks them afterwards.
const SAMPLE: u32 = 8;

/// Returns the size of page from which the relay is not believed that nothing is left (NIP-67): the largest of which that was
/// seen to be true. A relay that cuts off its pages is not caught by smaller ones. Now and then nothing is believed, so that it
/// is checked again.
pub(super) async fn trusted_below(agent: &Agent<impl Stores + ?Sized>, address: &RelayUrl) -> Result<usize> {
    let seen = HINTS.get(agent.archive.as_ref(), address.as_str()).await?;
    Ok(match seen {
        Some(Hints::Confirmed { visits, largest }) if visits >= CONFIRMED && fastrand::u32(..SAMPLE) > 0 => largest,
        _ => 0,
    })
}

/// Records that the hints of a visit were true, of a page of this size at most.
pub(super) async fn confirm_hints(agent: &Agent<impl Stores + ?Sized>, address: &RelayUrl, page: usize) -> Result<()> {
    let store = agent.archive.as_ref();
    let next = match HINTS.get(store, address.as_str()).await? {
        Some(Hints::Refuted(_)) => return Ok(()),
        Some(Hints::Confirmed { visits, largest }) => {
            Hints::Confirmed { visits: (visits + 1).min(CONFIRMED), largest: largest.max(page) }
        }
        None => Hints::Confirmed { visits: 1, largest: page },
    };
    Ok(HINTS.set(store, address.as_str(), &next).await?)
}

/// Records that a hint was wrong. The relay's hints are not trusted any more.
pub(super) async fn refute_hints(agent: &Agent<impl Stores + ?Sized>, address: &RelayUrl) -> Result<()> {
    Ok(HINTS.set(agent.archive.as_ref(), address.as_str(), &Hints::Refuted(now())).await?)
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
