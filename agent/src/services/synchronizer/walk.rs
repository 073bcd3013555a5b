//! Walks through what is missing of each filter at one relay, newest first.

use brotr_core::{Covered, Gap, GapReason, Interval, IntervalSet, Method, parse_filter};
use brotr_net::End;
use brotr_net::info::Info;
use brotr_storage::{Batch, CoverageReport, DocumentType};
use nostr::Filter;
use tokio::time::Instant;

use super::reconcile::{self, WORTH};
use super::retention::Sender;
use super::visit::{Manner, Sample, Subject, Visit};
use super::{Cap, HintCheck, Pager, Proof, SMALLEST_CAP, Stores, Trouble, Unproven, failure, habits, room};
use crate::agent::now;
use crate::config::Profile;
use crate::error::Result;
use crate::telemetry::{HintsRefuted, PageStored, Telemetry};

/// Seconds until a second that is too dense for a page is retried, or a span of which the relay does not return every event
/// that it names,
const DENSE_REST: i64 = 86_400;
/// and until a span out of order is retried: events that arrived during the request may be the cause.
const DISORDER_REST: i64 = 3_600;

/// Whether a visit goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    GoOn,
    /// The turn is over, or the relay failed: the result has which.
    Stop,
}

/// The result of one page.
struct Answer {
    /// An event that the relay holds.
    sample: Option<Sample>,
    /// Why the pass ends.
    failure: Option<String>,
    /// The number of consecutive failures of the page, if it is to be requested again.
    retry: Option<u32>,
    end: End,
}

impl<A: Stores + ?Sized> Visit<'_, A> {
    /// Walks through the missing spans of every filter, until the turn is over or the relay fails.
    ///
    /// # Errors
    /// Fails if the archive cannot be used.
    pub(super) async fn walk(&mut self) -> Result<()> {
        // The current second is not over.
        let since = self.settings.since.0.max(self.agent.config.retention.floor(now()));
        let Some(window) = Interval::new(since, now() - 1) else { return Ok(()) };
        let mut manner = self.manner().await?;
        let reports = self.agent.archive.coverage(Some(self.address.as_str())).await?;
        for filter in &self.settings.filters {
            let filter = parse_filter(filter)?;
            let subject = Subject { key: serde_json::to_string(&filter)?, filter };
            let report = reports.iter().find(|report| report.filter == subject.key);
            let covered = settled(report);
            let mut missing = covered.missing(window);
            if manner.compares {
                match self.compare(&subject, &mut manner, window, missing).await? {
                    None => return Ok(()),
                    Some(left) => {
                        missing = left.intervals().iter().flat_map(|part| covered.missing(*part)).collect();
                    }
                }
            }
            for part in missing.into_iter().rev() {
                if self.page_through(&subject, &mut manner, part).await? == Next::Stop {
                    return Ok(());
                }
            }
            self.dense_seconds(&subject, &manner).await?;
        }
        Ok(())
    }

    pub(super) async fn manner(&mut self) -> Result<Manner> {
        let (agent, address) = (self.agent, self.address);
        let info = self.info().await?;
        let offered = info.as_ref().and_then(|info| info.limit("max_limit"));
        let offered = offered.and_then(|most| usize::try_from(most).ok()).filter(|most| *most > 0);
        let cap = habits::cap(agent, address).await?;
        let page_size = [offered, cap.map(|cap| cap.max(SMALLEST_CAP))];
        let page_size = page_size.into_iter().flatten().fold(self.settings.page_size, usize::min);
        let nips = info.as_ref().map(|info| info.nips().contains(&77));
        let wanted = self.settings.negentropy && nips != Some(false);
        Ok(Manner {
            bounds: habits::bounds(agent, address).await?,
            page_size,
            cap,
            offered,
            compares: wanted && reconcile::is_promising(agent, address).await?,
            confirmed: false,
        })
    }

    /// Returns the relay's newest information document.
    async fn info(&mut self) -> Result<Option<Info>> {
        let documents = self.agent.archive.documents(self.address.as_str()).await?;
        let document = documents.into_iter().find(|document| document.kind == DocumentType::Nip11);
        Ok(document.and_then(|document| Info::parse(document.data.into_bytes()).ok()))
    }

    /// Compares what is missing of a window, or from time to time all of it; returns what is left for paging, or `None` if the
    /// visit is over.
    async fn compare(
        &mut self,
        subject: &Subject,
        manner: &mut Manner,
        window: Interval,
        missing: Vec<Interval>,
    ) -> Result<Option<IntervalSet>> {
        let (agent, address, key) = (self.agent, self.address, subject.key.as_str());
        let again = reconcile::is_due_again(agent, address, key, self.settings.recheck.as_secs()).await?;
        // A full comparison may take several turns, and continues where the last one stopped.
        let resumed = if again { reconcile::resumed(agent, address, key, window).await? } else { None };
        let parts = if again { vec![resumed.unwrap_or(window)] } else { missing };
        // What is compared again is not paged: then it is worth it for any number of events.
        let worth = if again { 1 } else { WORTH };
        let mut left = IntervalSet::default();
        for part in parts.into_iter().rev() {
            let compared = self.compare_window(subject, part, worth).await?;
            left.extend(compared.left.intervals().iter().copied());
            if let (true, Some(until)) = (again, compared.stopped_at) {
                reconcile::stop_at(agent, address, key, until).await?;
            }
            if compared.failure.is_some() || compared.stopped_at.is_some() {
                (self.pass.error, self.pass.unfinished) = (compared.failure, compared.stopped_at.is_some());
                return Ok(None);
            }
        }
        manner.compares = reconcile::is_promising(agent, address).await?;
        if again && manner.compares {
            reconcile::compared(agent, address, key).await?;
        }
        Ok(Some(left))
    }

    /// Requests a span page by page.
    async fn page_through(&mut self, subject: &Subject, manner: &mut Manner, span: Interval) -> Result<Next> {
        let mut pager = Pager::new(span, manner.bounds(), manner.page_size);
        if let Some(cap) = manner.cap {
            pager.expect_cap(cap);
        }
        pager.trust_hints(habits::trusted_below(self.agent, self.address).await?);
        let mut next = Next::GoOn;
        while let Some(asked) = pager.next(&subject.filter) {
            if self.pass.turn.is_over(self.pass.requests, self.session.received()) || !room(self.agent) {
                (self.pass.unfinished, next) = (true, Next::Stop);
                break;
            }
            let answer = self.page(subject, &mut pager, &asked).await?;
            let mut failure = answer.failure.or_else(|| self.pass.turn.hopeless());
            if let (None, Some(n)) = (&failure, answer.retry)
                && let Err(error) = self.recover(&answer.end, n).await
            {
                // The request that broke off stays unproven.
                self.give_up(subject, &mut pager, &answer.end).await?;
                self.pass.trouble = Trouble::of_dial(self.agent, self.address, &error);
                failure = Some(error.to_string());
            }
            if failure.is_some() {
                (self.pass.error, next) = (failure, Next::Stop);
                break;
            }
            if let (None, Some(sample)) = (manner.bounds, answer.sample) {
                manner.bounds = self.probe_bounds(sample).await?;
                pager.learn(manner.bounds());
            }
            (self.progress)(self.pass);
        }
        match pager.checked_hints() {
            // What stood on the hints goes first: a crash in between leaves nothing that is not proven.
            Some(HintCheck::Wrong) => {
                self.retract_hinted().await?;
                habits::refute_hints(self.agent, self.address).await?;
                HintsRefuted { relay: self.address.as_str() }.emit();
            }
            Some(HintCheck::True(page)) if !manner.confirmed => {
                manner.confirmed = true;
                habits::confirm_hints(self.agent, self.address, page).await?;
            }
            _ => {}
        }
        if pager.refutes_cap() {
            habits::forget_cap(self.agent, self.address).await?;
            manner.cap = None;
        } else if let Some(cap) = pager.cap() {
            habits::set_cap(self.agent, self.address, cap).await?;
            // The next span of this visit is walked with it.
            let (Cap::Seen(events) | Cap::Guessed(events)) = cap;
            manner.cap = Some(events);
        }
        Ok(next)
    }

    /// Takes back what is proven by a relay's hints, after one was wrong.
    async fn retract_hinted(&mut self) -> Result<()> {
        for report in self.agent.archive.coverage(Some(self.address.as_str())).await? {
            let hinted = report.covered.iter().filter(|claim| claim.method == Method::Hinted);
            let refuted: Vec<Interval> = hinted.map(|claim| claim.interval).collect();
            if !refuted.is_empty() {
                let relay = Some((self.address.as_str().to_owned(), self.address.network()));
                let batch = Batch { relay, seen_at: now(), filter: report.filter, refuted, ..Batch::default() };
                self.agent.archive.store(batch).await?;
            }
        }
        Ok(())
    }

    /// Requests again, in other ways, the seconds of which the relay returned a part.
    async fn dense_seconds(&mut self, subject: &Subject, manner: &Manner) -> Result<()> {
        for second in std::mem::take(&mut self.pass.dense) {
            let larger = manner.offered.filter(|offered| *offered > manner.page_size);
            if manner.compares && self.compare_second(subject, second).await? {
                self.pass.gaps -= 1;
            } else if let Some(limit) = larger
                && self.at_once(subject, manner, second, limit).await?
            {
                self.pass.gaps -= 1;
            } else if self.agent.config.profile == Profile::Bigbrotr {
                self.by_kind(subject, manner, second).await?;
            }
            (self.progress)(self.pass);
        }
        Ok(())
    }

    /// Records what a pager has not covered as a gap, after a request that failed repeatedly.
    async fn give_up(&mut self, subject: &Subject, pager: &mut Pager, end: &End) -> Result<()> {
        let Some(Unproven { interval, reason, count }) = pager.give_up(end) else { return Ok(()) };
        self.pass.gaps += 1;
        let gap = Gap { interval, reason, count, tried_at: now() };
        self.agent.archive.store(Batch { gaps: vec![gap], ..self.batch(subject) }).await?;
        Ok(())
    }

    /// Requests, checks and stores one page with the coverage that it proves.
    async fn page(&mut self, subject: &Subject, pager: &mut Pager, asked: &Filter) -> Result<Answer> {
        let (agent, address) = (self.agent, self.address);
        let began = Instant::now();
        let mut page = self.request(asked).await;
        let locked = matches!(&page.end, End::Closed(reason) if reason.starts_with("auth-required:"));
        if self.settings.auth && locked && page.transferred == 0 && self.log_in().await? {
            self.pass.requests += 1;
            page = self.request(asked).await;
        }
        self.pass.trouble = Trouble::of(&page.end);
        let senders: Vec<Sender> = page.events.iter().map(Sender::of).collect();
        let mut checked = agent.ingest.check(address.as_str(), std::mem::take(&mut page.events)).await?;
        let sound: Vec<_> = checked.sound().collect();
        self.sample(&senders, sound.iter().map(|(id, _)| *id));
        let proof = pager.take(&page, &sound);
        self.pass.turn.page(sound.len(), began.elapsed());
        if proof.covered.or(proof.hinted).is_some() {
            self.pass.turn.progress();
        }
        let mut rejected = page.transferred - sound.len();
        if !page.late.is_empty() {
            page.transferred += page.late.len();
            let late = agent.ingest.check(address.as_str(), std::mem::take(&mut page.late)).await?;
            rejected += late.bad.len();
            checked.new.extend(late.new);
            checked.known.extend(late.known);
        }
        let known = checked.known_ids();
        let (covered, gaps) = self.claims(&proof);
        let batch = Batch { prepared: checked.new, known, covered, gaps: gaps.clone(), ..self.batch(subject) };
        let stored = agent.archive.store(batch).await?;
        let pass = &mut *self.pass;
        pass.transferred += page.transferred as u64;
        pass.stored += stored.stored as u64;
        pass.known += stored.known as u64;
        pass.rejected += rejected as u64;
        pass.requests += 1;
        pass.gaps += gaps.len() as u64;
        let single = |gap: &&Gap| gap.reason == GapReason::DenseSecond && gap.interval.since == gap.interval.until;
        pass.dense.extend(gaps.iter().filter(single).map(|gap| gap.interval));
        PageStored { relay: address.as_str(), stored: stored.stored, known: stored.known, rejected }.emit();
        // A page out of order costs its own span, and the walk continues below it.
        let named = |gap: &&Gap| !matches!(gap.reason, GapReason::DenseSecond | GapReason::Disorder);
        let failure = match &page.end {
            _ if proof.retry.is_some() => None,
            End::Eose => gaps.first().filter(named).map(|gap| gap.reason.to_string()),
            // Either it continues in smaller pages, or there is a gap.
            End::Overflow if gaps.is_empty() => None,
            end => failure(end.clone()),
        };
        let sample = sound.first().map(|(id, at)| Sample { id: *id, at: *at });
        Ok(Answer { sample, failure, retry: proof.retry, end: page.end })
    }

    /// Returns the claim and the gap of a page. What is not settled yet is neither covered nor missing.
    fn claims(&self, proof: &Proof) -> (Vec<Covered>, Vec<Gap>) {
        let at = now();
        let settled = at - self.agent.config.synchronizer.settle.as_secs();
        let within = |interval: Interval| Interval::new(interval.since, interval.until.min(settled));
        let claim = |method| move |interval| Covered { interval, method, proven_at: at };
        let gap = proof.gap.and_then(|Unproven { interval, reason, count }| {
            Some(Gap { interval: within(interval)?, reason, count, tried_at: at })
        });
        let paged = proof.covered.and_then(within).map(claim(Method::Paged));
        let hinted = proof.hinted.and_then(within).map(claim(Method::Hinted));
        (paged.into_iter().chain(hinted).collect(), gap.into_iter().collect())
    }
}

/// Returns the spans that need no request: what is proven, and gaps that are not retried yet.
///
/// A second that is too dense for a page is not retried at once: the result would be the same. A relay that returns fewer
/// events than any known cap could never be told from a complete one. A gap in which nothing was seen is one of a full margin,
/// and is retried.
fn settled(report: Option<&CoverageReport>) -> IntervalSet {
    let tiny = |gap: &Gap| gap.count.is_some_and(|n| (1..SMALLEST_CAP as i64).contains(&n));
    let rests = |gap: &&Gap| match gap.reason {
        GapReason::DenseSecond => gap.tried_at + DENSE_REST > now() || tiny(gap),
        GapReason::NotGiven => gap.tried_at + DENSE_REST > now(),
        GapReason::Disorder => gap.tried_at + DISORDER_REST > now(),
        _ => false,
    };
    let resting = report.iter().flat_map(|report| report.gaps.iter().filter(rests)).map(|gap| gap.interval);
    report.iter().flat_map(|report| &report.covered).map(|claim| claim.interval).chain(resting).collect()
}
