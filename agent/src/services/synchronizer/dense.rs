//! Seconds with more events than a relay returns per request. A comparison (NIP-77) names all events of such a second. For
//! a relay without NIP-77, requests for one kind at a time find more of them, and prove nothing, since other kinds may exist.

use std::collections::BTreeSet;

use brotr_core::{Covered, Gap, GapReason, Interval, Method};
use brotr_net::End;
use brotr_storage::{Batch, View};
use nostr::{Filter, Kind};

use super::visit::{Manner, Subject, Visit};
use super::{Bounds, Stores, habits};
use crate::agent::now;
use crate::error::Result;

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

impl<A: Stores + ?Sized> Visit<'_, A> {
    /// Requests a second in one page of up to `limit` events; returns true if the second is shown to be complete, which it is
    /// if the page goes on to older events.
    ///
    /// # Errors
    /// Fails if the archive cannot be used; a failure of the relay ends the request with what was received.
    pub(super) async fn at_once(
        &mut self,
        subject: &Subject,
        manner: &Manner,
        second: Interval,
        limit: usize,
    ) -> Result<bool> {
        let before = Interval { since: 0, until: second.until };
        let asked = habits::within(&subject.filter, before, manner.bounds()).limit(limit.min(LARGEST));
        let mut page = self.request(&asked).await;
        let trusted = page.end == End::Eose && page.in_order && page.outside == 0 && page.late.is_empty();
        let mut events = std::mem::take(&mut page.events);
        events.append(&mut page.late);
        let checked = self.agent.ingest.check(self.address.as_str(), events).await?;
        let sound: Vec<i64> = checked.sound().map(|(_, at)| at).collect();
        self.pass.requests += 1;
        self.pass.transferred += page.transferred as u64;
        self.pass.rejected += page.transferred.saturating_sub(sound.len()) as u64;
        let complete = trusted && sound.len() == page.transferred && sound.iter().any(|at| *at < second.since);
        let claim = || Covered { interval: second, method: Method::Paged, proven_at: now() };
        let covered = complete.then(claim).into_iter().collect();
        let known = checked.known_ids();
        self.keep(Batch { known, prepared: checked.new, covered, ..self.batch(subject) }).await?;
        Ok(complete)
    }

    /// Requests a second one kind at a time, and records how many of its events this relay is known to hold.
    ///
    /// # Errors
    /// Fails if the archive cannot be used; a failure of the relay ends the requests with what was received.
    pub(super) async fn by_kind(&mut self, subject: &Subject, manner: &Manner, second: Interval) -> Result<()> {
        let (agent, address) = (self.agent, self.address);
        let asked = habits::within(&subject.filter, second, manner.bounds());
        let filter = habits::within(&subject.filter, second, Bounds::Inside);
        let seen = agent.archive.page(&filter, View::All, None, SEEN).await?;
        let mut kinds: BTreeSet<u16> = seen.iter().map(|event| event.kind).collect();
        match &filter.kinds {
            Some(wanted) => kinds.extend(wanted.iter().map(Kind::as_u16)),
            None => kinds.extend(USUAL),
        }
        let mut kinds: Vec<u16> = kinds.into_iter().collect();
        kinds.sort_by_key(|kind| PRIVATE.contains(kind));
        for kind in kinds.into_iter().take(REQUESTS) {
            let one = Filter { kinds: Some([Kind::from(kind)].into()), ..asked.clone() };
            let mut page = self.request(&one.limit(manner.page_size)).await;
            let mut events = std::mem::take(&mut page.events);
            events.append(&mut page.late);
            let checked = agent.ingest.check(address.as_str(), events).await?;
            self.pass.requests += 1;
            self.pass.transferred += page.transferred as u64;
            let known = checked.known_ids();
            self.keep(Batch { known, prepared: checked.new, ..self.batch(subject) }).await?;
            // A refusal is about one kind; after any other failure the connection cannot be used.
            if !matches!(page.end, End::Eose | End::Closed(_)) {
                break;
            }
        }
        let known = agent.archive.count(&[filter], View::All, &[address.as_str().to_owned()]).await?;
        let count = i64::try_from(known).ok();
        let gap = Gap { interval: second, reason: GapReason::DenseSecond, count, tried_at: now() };
        agent.archive.store(Batch { gaps: vec![gap], ..self.batch(subject) }).await?;
        Ok(())
    }

    /// Stores a batch and counts its events.
    async fn keep(&mut self, batch: Batch) -> Result<()> {
        let stored = self.agent.archive.store(batch).await?;
        self.pass.stored += stored.stored as u64;
        self.pass.known += stored.known as u64;
        Ok(())
    }
}
