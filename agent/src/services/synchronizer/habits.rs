//! What a relay was found to do: whether it counts the ends of a window in, and how many events it gives at a time.

use anyhow::Result;
use brotr_core::{Interval, RelayUrl};
use brotr_net::{End, Session};
use nostr::{EventId, Filter, Timestamp};

use super::{Bounds, Cap, Pass, SERVICE, Stores};
use crate::agent::{Agent, now};

const BOUNDS: &str = "bounds";
const INSIDE: &str = "inside";
const OUTSIDE: &str = "outside";
const CAP: &str = "cap";
/// A cap is believed so long, in seconds, since relays are set up anew;
const SEEN: i64 = 7 * 86_400;
/// and one that was guessed so long, since what broke a page off may have been the network.
const GUESSED: i64 = 86_400;

/// Whether the relay counts the ends of a window in, where it was found out.
pub(super) async fn bounds(agent: &Agent<impl Stores + ?Sized>, address: &RelayUrl) -> Result<Option<Bounds>> {
    Ok(match agent.archive.state(SERVICE, BOUNDS, address.as_str()).await?.as_deref() {
        Some(INSIDE) => Some(Bounds::Inside),
        Some(OUTSIDE) => Some(Bounds::Outside),
        _ => None,
    })
}

/// Asks a relay for an event that it holds by its id and its very second. One that does not give it leaves the
/// bounds out.
pub(super) async fn probe_bounds(
    agent: &Agent<impl Stores + ?Sized>,
    address: &RelayUrl,
    session: &mut Session,
    (id, at): (EventId, i64),
    pass: &mut Pass,
) -> Result<Option<Bounds>> {
    let second = second(at);
    let page = session.request(&Filter::new().id(id).since(second).until(second).limit(1)).await;
    pass.requests += 1;
    pass.transferred += page.transferred as u64;
    pass.known += page.events.len() as u64;
    let (bounds, word) = match page.end {
        End::Eose if page.events.is_empty() => (Bounds::Outside, OUTSIDE),
        End::Eose => (Bounds::Inside, INSIDE),
        // What went wrong is for the next page to say.
        _ => return Ok(None),
    };
    agent.archive.set_state(SERVICE, BOUNDS, address.as_str(), word).await?;
    Ok(Some(bounds))
}

/// How many events the relay gives at a time, where it was found out of late.
pub(super) async fn cap(agent: &Agent<impl Stores + ?Sized>, address: &RelayUrl) -> Result<Option<usize>> {
    let kept = agent.archive.state(SERVICE, CAP, address.as_str()).await?;
    let parse = |kept: String| {
        let (cap, until) = kept.split_once(' ')?;
        Some((cap.parse::<usize>().ok()?, until.parse::<i64>().ok()?))
    };
    let cap = kept.and_then(parse).filter(|(_, until)| *until > now());
    Ok(cap.map(|(cap, _)| cap.max(super::SMALLEST_CAP)))
}

/// Remembers how many events the relay gives at a time.
pub(super) async fn set_cap(agent: &Agent<impl Stores + ?Sized>, address: &RelayUrl, cap: Cap) -> Result<()> {
    let (cap, believed) = match cap {
        Cap::Seen(cap) => (cap, SEEN),
        Cap::Guessed(cap) => (cap, GUESSED),
    };
    Ok(agent.archive.set_state(SERVICE, CAP, address.as_str(), &format!("{cap} {}", now() + believed)).await?)
}

/// A second as filters have it.
pub(super) fn second(at: i64) -> Timestamp {
    Timestamp::from(at.max(0).cast_unsigned())
}

/// A window as a filter asks for it, one second wider at both ends where the relay leaves these out.
pub(super) fn within(filter: &Filter, interval: Interval, bounds: Bounds) -> Filter {
    let margin = match bounds {
        Bounds::Inside => 0,
        Bounds::Outside => 1,
    };
    // Some relays read zero as no limit at all, and give their newest events.
    let filter = filter.clone().until(second(interval.until.saturating_add(margin).max(1)));
    // There is nothing before zero, and no way to ask from before it.
    if interval.since > 0 { filter.since(second(interval.since.saturating_sub(margin))) } else { filter }
}
