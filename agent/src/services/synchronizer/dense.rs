//! Seconds with more events than a relay returns per request. A comparison (NIP-77) names all events of such a second. For
//! a relay without NIP-77, requests for one kind at a time find more of them, and prove nothing, since other kinds may exist.

use std::collections::BTreeSet;

use crate::error::Result;
use brotr_core::{Covered, Gap, GapReason, Interval, Method, RelayUrl};
use brotr_net::{End, Session};
use brotr_storage::{Batch, View};
use nostr::{Filter, Kind};

use super::{Bounds, Pass, Stores, habits};
use crate::agent::{Agent, now};

/// Kinds that are requested besides those that were seen, since they come in floods.
const USUAL: [u16; 12] = [0, 1, 3, 4, 5, 6, 7, 1_059, 1_984, 9_735, 10_002, 30_023];
/// Kinds that many relays return to their recipients only. They are requested last, since some relays disconnect.
const PRIVATE: [u16; 3] = [4, 1_059, 1_060];
/// The most requests spent on one second.
const REQUESTS: usize = 24;
/// Events of one second whose kinds are read.
const SEEN: usize = 2_000;

/// The largest page that is requested, whatever the relay offers.
const LARGEST: usize = 5_000;

/// Requests a second in one page of as many events as the relay offers; returns true if the second is shown to be complete,
/// which it is if the page goes on to older events.
///
/// # Errors
/// Fails if the archive cannot be used; a failure of the relay ends the request with what was received.
pub(super) async fn at_once(
    agent: &Agent<impl Stores + ?Sized>,
    (address, session): (&RelayUrl, &mut Session),
    (filter, key): (&Filter, &str),
    (interval, bounds, limit): (Interval, Bounds, usize),
    pass: &mut Pass,
) -> Result<bool> {
    let before = Interval { since: 0, until: interval.until };
    let mut page = session.request(&habits::within(filter, before, bounds).limit(limit.min(LARGEST))).await;
    let trusted = page.end == End::Eose && page.in_order && page.outside == 0 && page.late.is_empty();
    let mut events = std::mem::take(&mut page.events);
    events.append(&mut page.late);
    let checked = agent.ingest.check(address.as_str(), events).await?;
    let sound: Vec<i64> = checked.sound().map(|(_, at)| at).collect();
    pass.requests += 1;
    pass.transferred += page.transferred as u64;
    pass.rejected += page.transferred.saturating_sub(sound.len()) as u64;
    let complete = trusted && sound.len() == page.transferred && sound.iter().any(|at| *at < interval.since);
    let at = now();
    let claim = Covered { interval, method: Method::Paged, proven_at: at };
    let batch = Batch {
        relay: Some((address.as_str().to_owned(), address.network())),
        seen_at: at,
        known: checked.known_ids(),
        prepared: checked.new,
        filter: key.to_owned(),
        covered: complete.then_some(claim).into_iter().collect(),
        ..Batch::default()
    };
    let stored = agent.archive.store(batch).await?;
    pass.stored += stored.stored as u64;
    pass.known += stored.known as u64;
    Ok(complete)
}

/// Requests a second one kind at a time, and records how many of its events this relay is known to hold.
///
/// # Errors
/// Fails if the archive cannot be used; a failure of the relay ends the requests with what was received.
pub(super) async fn by_kind(
    agent: &Agent<impl Stores + ?Sized>,
    (address, session): (&RelayUrl, &mut Session),
    (filter, key): (&Filter, &str),
    (second, bounds, limit): (Interval, Bounds, usize),
    pass: &mut Pass,
) -> Result<()> {
    let asked = habits::within(filter, second, bounds);
    let filter = habits::within(filter, second, Bounds::Inside);
    let seen = agent.archive.page(&filter, View::All, None, SEEN).await?;
    let mut kinds: BTreeSet<u16> = seen.iter().map(|event| event.kind).collect();
    match &filter.kinds {
        Some(wanted) => kinds.extend(wanted.iter().map(Kind::as_u16)),
        None => kinds.extend(USUAL),
    }
    let mut kinds: Vec<u16> = kinds.into_iter().collect();
    kinds.sort_by_key(|kind| PRIVATE.contains(kind));
    let relay = Some((address.as_str().to_owned(), address.network()));
    for kind in kinds.into_iter().take(REQUESTS) {
        let one = Filter { kinds: Some([Kind::from(kind)].into()), ..asked.clone() };
        let mut page = session.request(&one.limit(limit)).await;
        let mut events = std::mem::take(&mut page.events);
        events.append(&mut page.late);
        let checked = agent.ingest.check(address.as_str(), events).await?;
        pass.requests += 1;
        pass.transferred += page.transferred as u64;
        let batch = Batch {
            relay: relay.clone(),
            seen_at: now(),
            known: checked.known_ids(),
            prepared: checked.new,
            ..Batch::default()
        };
        let stored = agent.archive.store(batch).await?;
        pass.stored += stored.stored as u64;
        pass.known += stored.known as u64;
        // A refusal is about one kind; after any other failure the connection cannot be used.
        if !matches!(page.end, End::Eose | End::Closed(_)) {
            break;
        }
    }
    let known = agent.archive.count(&[filter], View::All, &[address.as_str().to_owned()]).await?;
    let count = i64::try_from(known).ok();
    let gap = Gap { interval: second, reason: GapReason::DenseSecond, count, tried_at: now() };
    let batch = Batch { relay, seen_at: now(), filter: key.to_owned(), gaps: vec![gap], ..Batch::default() };
    agent.archive.store(batch).await?;
    Ok(())
}
