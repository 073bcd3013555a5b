//! Measures the retention of a relay: asks it for a sample of events that it may hold.

use std::collections::HashSet;
use std::time::Duration;

use brotr_core::{RawEvent, RelayUrl};
use brotr_net::End;
use brotr_storage::with_time_limit;
use nostr::{EventId, Filter, PublicKey};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::Stores;
use super::visit::Visit;
use crate::agent::{Agent, now};
use crate::config::Profile;
use crate::error::Result;
use crate::relay_retention::{ASKED_AT, AUTHORS, Authors, Question, RETENTION, Retention};
use crate::state::Json;

/// Events requested at a time, by id.
const ASKED: usize = 100;
/// Events that a relay was seen to hold and did not return, which are requested one by one: some relays take few ids of a request.
const AGAIN: usize = 3;
/// Requests of a measurement, and those of events that are requested again. Of a relay that returns few events per request, fewer
/// are sampled.
const REQUESTS: usize = 17;
/// Time limit of a measurement, and of its queries of the archive, during which the connection is not read.
const TIME_LIMIT: Duration = Duration::from_secs(120);
const STATEMENT_LIMIT: Duration = Duration::from_secs(20);
/// Measurements at a time, since each reads a thousand events of the archive. A relay that finds no place is measured after its
/// next pass.
static PLACES: Semaphore = Semaphore::const_new(2);

/// An event that a relay sent, before it is verified.
pub(super) struct Sender {
    id: EventId,
    author: PublicKey,
    kind: u16,
}

impl Sender {
    pub(super) fn of(event: &RawEvent) -> Self {
        Self { id: event.id, author: event.pubkey, kind: event.kind }
    }
}

/// Returns the sample of a relay's authors.
pub(super) async fn authors(agent: &Agent<impl Stores + ?Sized>, address: &RelayUrl) -> Result<Authors> {
    let known = AUTHORS.get(agent.archive.as_ref(), address.as_str()).await?;
    Ok(known.map_or_else(|| Authors::new(fastrand::u64(..)), |Json(authors)| authors))
}

impl<A: Stores + ?Sized> Visit<'_, A> {
    /// Adds the authors of those events that were verified to the relay's sample.
    pub(super) fn sample(&mut self, senders: &[Sender], sound: impl Iterator<Item = EventId>) {
        let sound: HashSet<EventId> = sound.collect();
        for sender in senders.iter().filter(|sender| sound.contains(&sender.id)) {
            self.authors.add(sender.author, sender.kind);
        }
    }

    /// Stores the sample of authors, and measures the relay if that is due and the pass is complete. A measurement that fails is
    /// tried again after a day. An archive without contents measures nothing.
    pub(super) async fn retention(&mut self, before: &Authors) -> Result<()> {
        let (agent, url) = (self.agent, self.address.as_str());
        if agent.config.profile != Profile::Bigbrotr {
            return Ok(());
        }
        let archive = agent.archive.as_ref();
        if self.authors != *before {
            AUTHORS.set(archive, url, &Json(self.authors.clone())).await?;
        }
        if self.pass.error.is_some() || self.pass.unfinished {
            return Ok(());
        }
        let last = RETENTION.get(archive, url).await?.map(|Json(last)| last.measured_at);
        let asked = ASKED_AT.get(archive, url).await?;
        let Some(relay) = archive.relay(url).await? else { return Ok(()) };
        if !Question::is_due(last, asked, relay.discovered_at, now()) {
            return Ok(());
        }
        let Ok(_place) = PLACES.try_acquire() else { return Ok(()) };
        ASKED_AT.set(archive, url, &now()).await?;
        match timeout(TIME_LIMIT, self.measure()).await {
            Ok(Ok(Some(measured))) => RETENTION.set(archive, url, &Json(measured)).await?,
            Ok(Ok(None)) => {}
            Ok(Err(error)) => tracing::warn!(%error, relay = url, "failed to measure what a relay holds"),
            Err(_) => tracing::debug!(relay = url, "measuring what a relay holds took too long"),
        }
        Ok(())
    }

    /// Measures the relay; returns `None` if it does not answer, or not as it should.
    async fn measure(&mut self) -> Result<Option<Retention>> {
        let (agent, url) = (self.agent, self.address.as_str());
        // What the relay returns per request: as it says, as was seen, and as the operator wants.
        let manner = self.manner().await?;
        let at_once = manner.page_size.min(manner.cap.unwrap_or(ASKED)).clamp(1, ASKED);
        let question = Question::of(agent.archive.as_ref(), url, &self.authors, at_once * REQUESTS, now());
        let question = with_time_limit(STATEMENT_LIMIT, question).await?;
        let mut held = HashSet::new();
        for ids in question.ids().chunks(at_once) {
            let Some(found) = self.held(ids).await? else { return Ok(None) };
            held.extend(found);
        }
        for id in question.missed(&held, AGAIN) {
            match self.held(&[id]).await? {
                // It holds what it did not return among others.
                Some(found) if !found.is_empty() => return Ok(None),
                Some(_) => {}
                None => return Ok(None),
            }
        }
        // Of a relay that returns nothing by id nothing is known.
        if held.is_empty() {
            return Ok(None);
        }
        let coverage = agent.archive.coverage(Some(url)).await?;
        Ok(Some(question.answered(&held, &coverage)))
    }

    /// Requests events by id; returns those that the relay holds, or `None` if its answer is not complete.
    async fn held(&mut self, ids: &[EventId]) -> Result<Option<Vec<EventId>>> {
        let asked = Filter::new().ids(ids.iter().copied()).limit(ids.len());
        let page = self.request(&asked).await;
        self.pass.requests += 1;
        if page.end != End::Eose || page.hints.more || page.hints.auth {
            return Ok(None);
        }
        let (mut events, mut late) = (page.events, page.late);
        events.append(&mut late);
        let checked = self.agent.ingest.check(self.address.as_str(), events).await?;
        Ok(Some(checked.sound().map(|(id, _)| id).collect()))
    }
}
