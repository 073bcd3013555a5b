//! Proves windows by comparison (NIP-77): events on both sides become sightings and are not sent again.

use std::collections::HashSet;

use brotr_core::{Covered, Gap, GapReason, Interval, IntervalSet, Method, RelayUrl};
use brotr_net::{End, Refusal};
use brotr_storage::{Batch, View};
use nostr::{EventId, Filter};

use super::retention::Sender;
use super::visit::{Subject, Visit};
use super::{Bounds, Stores, Trouble, failure, habits, room, wait_for_room};
use crate::agent::{Agent, now};
use crate::config::Profile;
use crate::error::Result;
use crate::state::State;

/// If we have fewer events of a window than this, paging is cheaper.
pub(super) const WORTH: u64 = 200;
/// Ids per comparison, 40 bytes each.
const MOST: u64 = 100_000;
/// The first window, in seconds; the length of the next ones depends on the number of events.
const FIRST_SPAN: i64 = 86_400;
/// Ids per request for missing events: 17 KiB.
const FETCHED: usize = 250;
/// After this many consecutive requests without an event, the rest is not requested.
const IN_VAIN: usize = 8;
/// Sightings stored per batch.
const SIGHTED: usize = 5_000;
/// Events of a piece that both sides have, of which the authors are looked up.
const SAMPLED: usize = 50;
/// Seconds for which a refusal is remembered.
const BELIEVED: i64 = 7 * 86_400;
/// Seconds for which a comparison that broke off is remembered.
const BROKEN: i64 = 86_400;
/// A relay that refuses this many windows as too large, each half as long as the last, will not accept any.
const REFUSALS: u32 = 24;
/// Until when a relay is not compared with, by its URL, in unix seconds.
const REFUSED_UNTIL: State<i64> = State::new("synchronizer", "negentropy refused until");
/// When everything was last compared, by URL and filter, in unix seconds.
const COMPARED_AT: State<i64> = State::new("synchronizer", "compared at");
/// The second at which a full comparison stopped, by URL and filter.
const STOPPED_AT: State<i64> = State::new("synchronizer", "comparing stopped at");
/// Consecutive retries of a request by id.
const RETRIES: u32 = 4;

/// The result of a comparison.
pub(super) struct Compared {
    /// Spans left for paging.
    pub(super) left: IntervalSet,
    /// The relay's failure, if any.
    pub(super) failure: Option<String>,
    /// Where the turn ended: this second and older ones are still to be compared.
    pub(super) stopped_at: Option<i64>,
}

/// Returns true if the relay has not refused comparisons recently.
pub(super) async fn is_promising(agent: &Agent<impl Stores + ?Sized>, address: &RelayUrl) -> Result<bool> {
    let until = REFUSED_UNTIL.get(agent.archive.as_ref(), address.as_str()).await?;
    Ok(until.is_none_or(|until| until < now()))
}

/// Returns true if everything is to be compared again, including what is proven: relays remove events, and receive others long
/// after their date. The first full comparison is that of what is missing.
pub(super) async fn is_due_again(
    agent: &Agent<impl Stores + ?Sized>,
    address: &RelayUrl,
    key: &str,
    after: i64,
) -> Result<bool> {
    match COMPARED_AT.get(agent.archive.as_ref(), &place(address, key)).await? {
        Some(at) => Ok(at.saturating_add(after) <= now()),
        None => {
            compared(agent, address, key).await?;
            Ok(false)
        }
    }
}

/// Records where a full comparison stopped.
pub(super) async fn stop_at(
    agent: &Agent<impl Stores + ?Sized>,
    address: &RelayUrl,
    key: &str,
    until: i64,
) -> Result<()> {
    Ok(STOPPED_AT.set(agent.archive.as_ref(), &place(address, key), &until).await?)
}

/// Returns what is left of a window after earlier turns, if a full comparison was begun.
pub(super) async fn resumed(
    agent: &Agent<impl Stores + ?Sized>,
    address: &RelayUrl,
    key: &str,
    window: Interval,
) -> Result<Option<Interval>> {
    let until = STOPPED_AT.get(agent.archive.as_ref(), &place(address, key)).await?;
    Ok(until.and_then(|until| Interval::new(window.since, until.min(window.until))))
}

/// Records that everything was compared.
pub(super) async fn compared(agent: &Agent<impl Stores + ?Sized>, address: &RelayUrl, key: &str) -> Result<()> {
    STOPPED_AT.clear(agent.archive.as_ref(), &place(address, key)).await?;
    Ok(COMPARED_AT.set(agent.archive.as_ref(), &place(address, key), &now()).await?)
}

fn place(address: &RelayUrl, key: &str) -> String {
    format!("{address} {key}")
}

/// The result for one piece of a window.
enum Piece {
    /// Complete, and claimed.
    Proven,
    /// Left for paging: we have few events of it.
    Left,
    /// Larger than we compare at a time.
    TooLarge,
    /// Larger than the relay compares.
    Refused,
    /// The relay does not compare.
    Unwilling,
    /// The relay failed.
    Failed(String),
    /// The turn was over before everything was fetched.
    Stopped,
}

/// The result of requesting events by id.
enum Fetched {
    /// Every event was received.
    All,
    /// The relay names this many events and does not return them.
    But(usize),
    /// The relay returns no events by id.
    Refused(String),
    /// The relay failed.
    Failed(String),
    /// The turn was over.
    Stopped,
}

/// Records for some seconds that a relay is not to be compared with.
async fn give_up(agent: &Agent<impl Stores + ?Sized>, address: &RelayUrl, why: &str, seconds: i64) -> Result<()> {
    tracing::debug!(relay = address.as_str(), why, "no comparison (NIP-77)");
    Ok(REFUSED_UNTIL.set(agent.archive.as_ref(), address.as_str(), &(now() + seconds)).await?)
}

impl<A: Stores + ?Sized> Visit<'_, A> {
    /// Compares a window with a relay, newest part first.
    ///
    /// # Errors
    /// Fails if the archive cannot be used.
    pub(super) async fn compare_window(&mut self, subject: &Subject, window: Interval, worth: u64) -> Result<Compared> {
        let mut compared = Compared { left: IntervalSet::default(), failure: None, stopped_at: None };
        let settled = now() - self.agent.config.synchronizer.settle.as_secs();
        compared.left.extend(Interval::new(window.since.max(settled + 1), window.until));
        let (mut until, mut span, mut refusals) = (window.until.min(settled), FIRST_SPAN, 0);
        while let Some(interval) = Interval::new(window.since.max(until.saturating_sub(span - 1)), until) {
            if self.pass.turn.is_over(self.pass.requests, self.session.received()) {
                compared.stopped_at = Some(until);
                return Ok(compared);
            }
            compared.failure = self.pass.turn.hopeless();
            if compared.failure.is_some() {
                return Ok(compared);
            }
            match self.compare_piece(subject, interval, worth).await? {
                Piece::Refused if refusals >= REFUSALS => {
                    give_up(self.agent, self.address, "every window is too large", BELIEVED).await?;
                    break;
                }
                large @ (Piece::TooLarge | Piece::Refused) if interval.since < interval.until => {
                    refusals += u32::from(matches!(large, Piece::Refused));
                    span = (interval.until - interval.since).div_euclid(2).max(1);
                    continue;
                }
                Piece::Unwilling => break,
                Piece::Stopped => {
                    compared.stopped_at = Some(until);
                    return Ok(compared);
                }
                Piece::Failed(why) => {
                    compared.failure = Some(why);
                    return Ok(compared);
                }
                Piece::Left | Piece::TooLarge | Piece::Refused => compared.left.insert(interval),
                Piece::Proven => {
                    refusals = 0;
                    self.pass.turn.progress();
                }
            }
            span = span.saturating_mul(2);
            until = interval.since - 1;
        }
        compared.left.extend(Interval::new(window.since, until));
        Ok(compared)
    }

    /// Compares one second, however few events of it we have; returns true if it is complete now.
    ///
    /// # Errors
    /// Fails if the archive cannot be used.
    pub(super) async fn compare_second(&mut self, subject: &Subject, second: Interval) -> Result<bool> {
        let compared = self.compare_window(subject, second, 0).await?;
        Ok(compared.failure.is_none() && compared.stopped_at.is_none() && compared.left.intervals().is_empty())
    }

    /// Compares one piece of a window, if we have at least `worth` events of it.
    async fn compare_piece(&mut self, subject: &Subject, interval: Interval, worth: u64) -> Result<Piece> {
        let (agent, address) = (self.agent, self.address);
        // Some relays exclude the bounds of a window.
        let wide = habits::within(&subject.filter, interval, Bounds::Outside);
        match agent.archive.count(std::slice::from_ref(&wide), View::All, &[]).await? {
            ours if ours < worth => return Ok(Piece::Left),
            ours if ours > MOST && interval.since < interval.until => return Ok(Piece::TooLarge),
            _ => {}
        }
        let began = now();
        let ours = agent.archive.ids(&wide, View::All).await?;
        let mut found = self.reconcile(&wide, &ours).await;
        let asks_who = |found: &_| matches!(found, Err(Refusal::Unwilling(why)) if why.starts_with("auth-required:"));
        if asks_who(&found) {
            // It says nothing about the relay.
            self.pass.requests += 1;
            if !self.settings.auth || !self.log_in().await? {
                return Ok(Piece::Unwilling);
            }
            found = self.reconcile(&wide, &ours).await;
            if asks_who(&found) {
                return Ok(Piece::Unwilling);
            }
        }
        let found = match found {
            Ok(found) => found,
            Err(Refusal::TooLarge) => {
                self.pass.requests += 1;
                return Ok(Piece::Refused);
            }
            Err(Refusal::Broken(end)) => {
                // The comparison may have caused the failure: next time the relay is paged.
                let why = failure(end).unwrap_or_default();
                give_up(agent, address, &why, BROKEN).await?;
                return Ok(Piece::Failed(why));
            }
            Err(Refusal::Unwilling(why)) => {
                self.pass.requests += 1;
                give_up(agent, address, &why, BELIEVED).await?;
                return Ok(Piece::Unwilling);
            }
        };
        self.pass.requests += found.rounds;
        // Before anything is fetched, which takes time: sightings meanwhile are newer than the comparison. Events at the bounds
        // are left out, since some relays exclude them.
        let inside = |at: i64| interval.since <= at && at <= interval.until;
        let gone = ours.iter().filter(|(id, at)| inside(*at) && found.extra.contains(id)).map(|(id, _)| *id);
        let gone: Vec<EventId> = gone.collect();
        for part in gone.chunks(SIGHTED) {
            agent.archive.store(Batch { gone: part.to_vec(), seen_at: began, ..self.batch(subject) }).await?;
        }
        let not_given = match self.fetch(subject, &found.missing).await? {
            Fetched::All => 0,
            Fetched::But(not_given) => not_given,
            Fetched::Refused(why) => {
                self.refute(subject, interval).await?;
                // It compares, and does not return by id what it names: its history is paged.
                give_up(agent, address, &why, BELIEVED).await?;
                return Ok(Piece::Unwilling);
            }
            Fetched::Failed(why) => {
                self.refute(subject, interval).await?;
                return Ok(Piece::Failed(why));
            }
            // What was received is stored, and is not missing when the next turn compares.
            Fetched::Stopped => return Ok(Piece::Stopped),
        };
        let both: Vec<EventId> = ours.into_iter().map(|(id, _)| id).filter(|id| !found.extra.contains(id)).collect();
        self.pass.known += both.len() as u64;
        self.sample_authors(&both).await?;
        let at = now();
        // The last part of what both sides have is stored with the claim.
        let mut parts: Vec<&[EventId]> = both.chunks(SIGHTED).collect();
        let last = parts.pop().unwrap_or_default();
        for part in parts {
            agent.archive.store(Batch { known: part.to_vec(), ..self.batch(subject) }).await?;
        }
        let gap = || Gap { interval, reason: GapReason::NotGiven, count: i64::try_from(not_given).ok(), tried_at: at };
        let gaps: Vec<Gap> = (not_given > 0).then(gap).into_iter().collect();
        // Paging may have proven the span before: the relay names events of it that we do not have.
        let refuted = gaps.iter().map(|gap| gap.interval).collect();
        self.pass.gaps += gaps.len() as u64;
        let claim = Covered { interval, method: Method::Negentropy, proven_at: at };
        let covered = (not_given == 0).then_some(claim).into_iter().collect();
        agent.archive.store(Batch { known: last.to_vec(), covered, gaps, refuted, ..self.batch(subject) }).await?;
        (self.progress)(self.pass);
        Ok(Piece::Proven)
    }

    /// Adds authors of events that the relay and the archive hold to the relay's sample, if there is room.
    async fn sample_authors(&mut self, both: &[EventId]) -> Result<()> {
        if both.is_empty() || !self.authors.has_room() || self.agent.config.profile != Profile::Bigbrotr {
            return Ok(());
        }
        let ids = both.iter().step_by(both.len().div_ceil(SAMPLED)).copied();
        let page = self.agent.archive.page(&Filter::new().ids(ids), View::All, None, SAMPLED).await?;
        page.iter().for_each(|event| self.authors.add(event.pubkey, event.kind));
        Ok(())
    }

    /// Withdraws the coverage of a span: the relay names events of it that we do not have, and they could not be fetched.
    async fn refute(&mut self, subject: &Subject, interval: Interval) -> Result<()> {
        self.agent.archive.store(Batch { refuted: vec![interval], ..self.batch(subject) }).await?;
        Ok(())
    }

    /// Fetches events by id.
    async fn fetch(&mut self, subject: &Subject, missing: &[EventId]) -> Result<Fetched> {
        let (agent, address) = (self.agent, self.address);
        let asked = |ids: &[EventId]| Filter::new().ids(ids.iter().copied());
        // A relay may send one event several times: ids count, not messages.
        let mut left: HashSet<EventId> = missing.iter().copied().collect();
        self.pass.expected = missing.len() as u64;
        self.session.forget_ahead().await;
        // Some relays accept one subscription at a time.
        let (mut ahead, mut was_ahead) = (true, false);
        let (mut in_vain, mut failures) = (0, 0);
        let chunks: Vec<&[EventId]> = missing.chunks(FETCHED).collect();
        let mut place = 0;
        while let Some(ids) = chunks.get(place) {
            if self.pass.turn.is_over(self.pass.requests, self.session.received()) {
                self.session.forget_ahead().await;
                return Ok(Fetched::Stopped);
            }
            if !room(agent) {
                // Others may use the connection meanwhile.
                self.session.forget_ahead().await;
                wait_for_room(agent).await;
            }
            let next = chunks.get(place + 1).filter(|_| ahead && in_vain + 1 < IN_VAIN).map(|ids| asked(ids));
            let mut page = self.request_ahead(&asked(ids), next.as_ref()).await;
            if was_ahead && page.transferred == 0 && matches!(page.end, End::Closed(_)) {
                (ahead, self.pass.requests) = (false, self.pass.requests + 1);
                page = self.request(&asked(ids)).await;
            }
            was_ahead = self.session.is_ahead();
            let mut events = std::mem::take(&mut page.events);
            let late = page.late.len();
            events.append(&mut page.late);
            let senders: Vec<Sender> = events.iter().map(Sender::of).collect();
            let checked = agent.ingest.check(address.as_str(), events).await?;
            let sound: Vec<EventId> = checked.sound().map(|(id, _)| id).collect();
            self.sample(&senders, sound.iter().copied());
            let before = left.len();
            sound.iter().for_each(|id| {
                left.remove(id);
            });
            let came = before - left.len();
            self.pass.requests += 1;
            self.pass.transferred += (page.transferred + late) as u64;
            self.pass.rejected += (page.transferred + late).saturating_sub(sound.len()) as u64;
            let known = checked.known_ids();
            let batch = Batch { prepared: checked.new, known, ..self.batch(subject) };
            let stored = agent.archive.store(batch).await?;
            self.pass.stored += stored.stored as u64;
            self.pass.known += stored.known as u64;
            if came > 0 {
                self.pass.turn.progress();
            }
            match page.end {
                End::Eose => {
                    place += 1;
                    self.pass.expected -= ids.len() as u64;
                    failures = 0;
                    in_vain = if came == 0 { in_vain + 1 } else { 0 };
                    if in_vain == IN_VAIN {
                        return Ok(Fetched::Refused("it gives none of the events that it names".into()));
                    }
                }
                End::Closed(reason) if left.len() == missing.len() && !reason.starts_with("rate-limited:") => {
                    return Ok(Fetched::Refused(format!("CLOSED: {reason}")));
                }
                end => {
                    failures += 1;
                    let why = failure(end.clone()).unwrap_or_default();
                    if failures > RETRIES || self.pass.turn.hopeless().is_some() {
                        return Ok(Fetched::Failed(why));
                    }
                    self.session.forget_ahead().await;
                    was_ahead = false;
                    if let Err(error) = self.recover(&end, failures).await {
                        self.pass.trouble = Trouble::of_dial(agent, address, &error);
                        return Ok(Fetched::Failed(error.to_string()));
                    }
                }
            }
            (self.progress)(self.pass);
        }
        Ok(if left.is_empty() { Fetched::All } else { Fetched::But(left.len()) })
    }
}
