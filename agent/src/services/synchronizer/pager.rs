//! Paging backward through a relay, as a state machine without I/O: it returns the next request, takes the answer, and
//! returns what that proves.
//!
//! In NIP-01 `since` and `until` are inclusive; some relays exclude them. Until a relay has shown which it does, and for those
//! that exclude them, each request is one second wider at both ends.
//!
//! A page that fails is requested again a few times. A page out of order proves nothing, and the walk continues below its
//! oldest event.
//!
//! A relay may say with EOSE that nothing is left, or that there is more (NIP-67). "More" is believed. "Nothing is left" saves the
//! request that would show it, if it was true before of larger pages; otherwise that request is sent, and shows whether it is.
//!
//! A page ends at its oldest event, and the next one starts there, inclusive, since the relay may hold more events of that
//! second than the page could take. A second with more events than a page is detected because a page then holds that second
//! only; the rest of it cannot be reached this way, and becomes a gap.

use std::collections::HashSet;
use std::fmt;
use std::str::FromStr;

use brotr_core::{GapReason, Interval};
use brotr_net::{End, Page};
use nostr::{EventId, Filter, Timestamp};

use super::habits::within;
use super::rest::Trouble;

/// The smallest page that is known of relays that have more events. Caps are not constant (some count bytes), so a page of this
/// size may always have been cut off. A relay that was seen to cut off smaller pages has a smaller cap.
pub const SMALLEST_CAP: usize = 10;

/// How often pages must be cut off to show a cap: a single one may be an event that arrived meanwhile.
const CUT_OFF: u32 = 3;

/// Consecutive retries of a page that failed,
const RETRIES: u32 = 4;
/// and retries while the relay has not answered anything in this walk.
const FIRST_RETRIES: u32 = 2;
/// After this many consecutive good pages, a reduced limit is doubled.
const GOOD_PAGES: u32 = 10;

/// Walks one window of time from its end to its beginning.
#[derive(Debug)]
pub struct Pager {
    since: i64,
    /// The end of what is left; `None` if nothing is left.
    until: Option<i64>,
    bounds: Bounds,
    limit: usize,
    /// Ids of the second `until` that were taken already.
    boundary: HashSet<EventId>,
    pending: Option<Pending>,
    /// A full page of one second shows no order, and may be the oldest one: whether anything lies above that second is
    /// requested before that is claimed to be empty.
    above: Option<Above>,
    /// How many events the last page had, if fewer than requested.
    short: Option<usize>,
    /// The largest page that was shorter than requested and not the last one, and how often that was seen.
    cut_off: (usize, u32),
    /// A page of this size may have been cut off.
    smallest: usize,
    /// Whether a page was larger than that.
    refuted: bool,
    /// The limit at the start of the walk.
    full_limit: usize,
    /// The page size from which pages broke off repeatedly.
    broken: Option<usize>,
    /// Consecutive failed pages,
    failures: u32,
    /// and consecutive good pages since the last failure.
    good: u32,
    answered: bool,
    /// The relay is believed that nothing is left after a page of fewer events than this.
    trusted_below: usize,
    /// The oldest second and the size of a page after which it said so, until the next page shows whether that is true.
    finished: Option<(i64, usize)>,
    /// Whether it was true each time that was seen, and the largest page of which it was.
    hints: Option<HintCheck>,
}

/// Whether a relay includes the seconds `since` and `until`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bounds {
    /// Included, as in NIP-01.
    Inside,
    /// Excluded, or not known.
    Outside,
}

impl fmt::Display for Bounds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Inside => "inside",
            Self::Outside => "outside",
        })
    }
}

impl FromStr for Bounds {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            "inside" => Ok(Self::Inside),
            "outside" => Ok(Self::Outside),
            _ => Err(()),
        }
    }
}

/// How many events a relay returns per request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cap {
    /// Pages of this size were cut off.
    Seen(usize),
    /// Larger pages broke off.
    Guessed(usize),
}

/// Whether it was true what a relay said of what is left (NIP-67).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HintCheck {
    /// Each time, of pages of this size at most.
    True(usize),
    /// Not always.
    Wrong,
}

/// A span that a page leaves unproven.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unproven {
    /// The span.
    pub interval: Interval,
    /// Why.
    pub reason: GapReason,
    /// How many events were seen in it, if that is known.
    pub count: Option<i64>,
}

/// What a page proves.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Proof {
    /// Complete with the events taken so far.
    pub covered: Option<Interval>,
    /// The same, by the relay's word that nothing is left.
    pub hinted: Option<Interval>,
    /// Not proven.
    pub gap: Option<Unproven>,
    /// The number of consecutive failures of the page, if it is to be requested again.
    pub retry: Option<u32>,
}

impl Proof {
    fn of(covered: Option<Interval>, gap: Option<Unproven>) -> Self {
        Self { covered, gap, ..Self::default() }
    }
}

impl Pager {
    /// Starts a walk through a window by pages of `limit` events.
    #[must_use]
    pub fn new(window: Interval, bounds: Bounds, limit: usize) -> Self {
        Self {
            since: window.since,
            until: Some(window.until),
            bounds,
            limit,
            boundary: HashSet::new(),
            pending: None,
            above: None,
            short: None,
            cut_off: (0, 0),
            smallest: SMALLEST_CAP,
            refuted: false,
            full_limit: limit,
            broken: None,
            failures: 0,
            good: 0,
            answered: false,
            trusted_below: 0,
            finished: None,
            hints: None,
        }
    }

    /// Believes the relay that nothing is left (NIP-67) after a page of fewer events than this.
    pub fn trust_hints(&mut self, below: usize) {
        self.trusted_below = below;
    }

    /// Returns whether what the relay said of what is left was true; `None` if that was not seen.
    #[must_use]
    pub fn checked_hints(&self) -> Option<HintCheck> {
        self.hints
    }

    /// Returns the next request; `None` when the walk is over.
    #[must_use]
    pub fn next(&self, filter: &Filter) -> Option<Filter> {
        let since = self.above.map_or(self.since, |above| above.second + 1);
        let left = Interval { since, until: self.until? };
        let request = within(filter, left, self.bounds).limit(self.limit);
        let is_exact = self.above.is_some_and(|above| above.is_exact);
        Some(if is_exact { request.since(Timestamp::from_secs(since.unsigned_abs())) } else { request })
    }

    /// Sets what is known of the relay's bounds.
    pub fn learn(&mut self, bounds: Bounds) {
        self.bounds = bounds;
    }

    /// Sets how many events the relay was seen to return per request, if fewer than others do.
    pub fn expect_cap(&mut self, cap: usize) {
        self.smallest = cap.clamp(1, SMALLEST_CAP);
    }

    /// Returns how many events the relay was found to return per request, if fewer than requested.
    #[must_use]
    pub fn cap(&self) -> Option<Cap> {
        let (cut_off, seen) = self.cut_off;
        let seen = (seen >= CUT_OFF).then_some(Cap::Seen(cut_off));
        let small = (self.smallest < SMALLEST_CAP).then_some(Cap::Seen(self.smallest));
        small.or(self.broken.map(Cap::Guessed)).or(seen)
    }

    /// Returns true if a small cap was expected, and a page was larger than any of those.
    #[must_use]
    pub fn refutes_cap(&self) -> bool {
        self.refuted && self.smallest == SMALLEST_CAP
    }

    /// Ends the walk after a request that broke off; returns what was not covered.
    pub fn give_up(&mut self, end: &End) -> Option<Unproven> {
        let until = self.until.take()?;
        let until = self.pending.take().map_or(until, |pending| pending.second);
        Some(Unproven { interval: Interval::new(self.since, until)?, reason: reason(end)?, count: None })
    }

    /// Returns true if a page that failed is to be requested again, and counts it.
    fn may_retry(&mut self, page: &Page) -> bool {
        let most = if self.answered { RETRIES } else { FIRST_RETRIES };
        if Trouble::of(&page.end) != Trouble::Passing || matches!(page.end, End::Eose | End::Overflow) {
            return false;
        }
        // A single failure is chance. Some relays disconnect after a number of bytes per second: every page is lost unless
        // smaller ones are requested.
        if self.failures > 0 && matches!(page.end, End::Disconnect(_) | End::Timeout) && page.transferred > SMALLEST_CAP
        {
            self.limit = (page.transferred / 2).max(SMALLEST_CAP);
            self.broken = Some(self.limit);
        }
        (self.failures, self.good) = (self.failures + 1, 0);
        self.failures <= most
    }

    /// Counts a page that did not fail, and requests larger ones after some of them.
    fn succeed(&mut self) {
        (self.answered, self.failures, self.good) = (true, 0, self.good + 1);
        if self.good >= GOOD_PAGES && self.limit < self.full_limit {
            self.good = 0;
            self.limit = (self.limit * 2).min(self.full_limit);
        }
    }

    /// Leaves the span of a page out of order as a gap, since the relay may have left out any event of it. The walk continues
    /// at its oldest event.
    fn skip_disorder(&mut self, until: i64, oldest: Option<i64>, transferred: usize) -> Proof {
        let last = self.pending.take().map_or(until, |pending| pending.second);
        let first = match oldest {
            Some(oldest) if oldest < until => oldest + 1,
            Some(_) => until,
            None => self.since,
        };
        self.boundary.clear();
        self.short = None;
        self.until = (first > self.since).then(|| first - 1);
        let count = i64::try_from(transferred).ok();
        Proof::of(None, unproven(first, last, GapReason::Disorder, count))
    }

    /// Takes a page: how it ended, and ids and timestamps of its valid events.
    pub fn take(&mut self, page: &Page, sound: &[(EventId, i64)]) -> Proof {
        let Some(until) = self.until else { return Proof::default() };
        if page.end == End::Overflow && self.limit > SMALLEST_CAP {
            // Large events, or a relay that ignores the limit: a smaller page decides.
            self.limit = (self.limit / 8).max(SMALLEST_CAP);
            self.broken = Some(self.limit);
            return Proof::default();
        }
        if let Some(reason) = failure(page, sound) {
            return self.fail(page, until, reason);
        }
        self.succeed();
        // Events in the margin are stored, and say nothing about the window.
        let inside: Vec<_> = sound.iter().copied().filter(|(_, at)| self.since <= *at && *at <= until).collect();
        let oldest = inside.iter().map(|(_, at)| *at).min();
        if !page.in_order {
            return self.skip_disorder(until, oldest, page.transferred);
        }
        if page.transferred > self.smallest && self.smallest < SMALLEST_CAP {
            (self.smallest, self.refuted) = (page.transferred.min(SMALLEST_CAP), true);
        }
        if let Some((oldest, size)) = self.finished.take() {
            let is_older = |(id, at): &(EventId, i64)| *at < oldest || !self.boundary.contains(id);
            self.hints = Some(match self.hints {
                Some(HintCheck::Wrong) => HintCheck::Wrong,
                _ if inside.iter().any(is_older) => HintCheck::Wrong,
                Some(HintCheck::True(largest)) => HintCheck::True(largest.max(size)),
                None => HintCheck::True(size),
            });
        }
        let full = page.transferred >= self.limit.min(self.smallest) || page.hints.more;
        if let Some(above) = self.above.take() {
            return self.take_above(page, sound, above, full, until);
        }
        match oldest {
            Some(oldest) if oldest < until => {
                if full && sound.iter().all(|(_, at)| *at == oldest) {
                    self.above = Some(Above { second: oldest, is_exact: false });
                    self.short = None;
                    return Proof::default();
                }
                self.advance(page, &inside, oldest, until)
            }
            Some(_) if until > self.since => self.take_one_second(&inside, full, until),
            _ => self.take_last(&inside, full, until),
        }
    }

    /// Takes a page that failed: it is requested again, or what is left becomes a gap.
    fn fail(&mut self, page: &Page, until: i64, reason: GapReason) -> Proof {
        if self.may_retry(page) {
            return Proof { retry: Some(self.failures), ..Proof::default() };
        }
        self.until = None;
        let count = i64::try_from(page.transferred).ok();
        let until = self.pending.take().map_or(until, |pending| pending.second);
        Proof::of(None, unproven(self.since, until, reason, count))
    }

    /// Takes the answer to whether anything lies above a second that filled a page. If the bounds are not known, it may hold
    /// events of that second and of the one after the window. A page full of them shows as little as the first one did.
    fn take_above(&mut self, page: &Page, sound: &[(EventId, i64)], above: Above, full: bool, until: i64) -> Proof {
        let second = above.second;
        let is_full = full && !sound.is_empty();
        if is_full && !above.is_exact && sound.iter().all(|(_, at)| *at == second) {
            // The relay includes a request's first second, so that this one can be left out.
            self.above = Some(Above { is_exact: true, ..above });
            return Proof::default();
        }
        self.until = Some(second);
        let last = self.pending.take();
        let is_empty = !sound.iter().any(|(_, at)| second < *at && *at <= until);
        if is_empty && !is_full && page.late.is_empty() {
            return Proof::of(Interval::new(second + 1, until), last.map(Pending::gap));
        }
        let last = last.map_or(until, |pending| pending.second);
        let count = i64::try_from(page.transferred).ok();
        Proof::of(None, unproven(second + 1, last, GapReason::Disorder, count))
    }

    /// Continues at a page's oldest event: everything above it is covered.
    fn advance(&mut self, page: &Page, inside: &[(EventId, i64)], oldest: i64, until: i64) -> Proof {
        // More events show that the previous page was cut off.
        if let Some(n) = self.short {
            self.count_cut_off(n);
        }
        self.short = (page.transferred < self.limit).then_some(page.transferred);
        if let (Some(n), true) = (self.short, page.hints.more) {
            // It says so itself: the next page need not show it.
            self.count_cut_off(n);
            self.short = None;
        }
        let gap = self.pending.take().map(Pending::gap);
        let covered = Interval::new(oldest + 1, until);
        // A full page says nothing of what is beyond the limit.
        if page.hints.is_finished() && self.short.is_some() {
            if page.transferred < self.trusted_below {
                self.until = None;
                let hinted = Interval::new(self.since, oldest);
                return Proof { covered, hinted, gap, retry: None };
            }
            self.finished = Some((oldest, page.transferred));
        }
        self.boundary = inside.iter().filter(|(_, at)| *at == oldest).map(|(id, _)| *id).collect();
        self.until = Some(oldest);
        Proof::of(covered, gap)
    }

    /// Counts a page that was cut off.
    fn count_cut_off(&mut self, events: usize) {
        self.cut_off = (self.cut_off.0.max(events), self.cut_off.1 + 1);
        if self.cut_off.1 >= CUT_OFF {
            self.expect_cap(self.cut_off.0);
        }
    }

    /// Takes a page with nothing but the last second of what is left. Whether it was cut off shows in the next page: a relay
    /// with older events would have continued with them.
    fn take_one_second(&mut self, inside: &[(EventId, i64)], full: bool, until: i64) -> Proof {
        self.boundary.extend(inside.iter().map(|(id, _)| *id));
        let seen = self.boundary.len();
        self.boundary.clear();
        self.until = Some(until - 1);
        let before = self.pending.replace(Pending { second: until, seen, full });
        Proof::of(None, before.map(Pending::gap))
    }

    /// Takes a page after which nothing is left: an empty one, or the first second of the window.
    fn take_last(&mut self, inside: &[(EventId, i64)], full: bool, until: i64) -> Proof {
        let pending = self.pending.take();
        if inside.is_empty() && full {
            // The margin filled the page, and nothing shows what lies behind it.
            if until > self.since {
                self.until = Some(until - 1);
                self.pending = Some(Pending { second: until, seen: 0, full });
                return Proof::of(None, pending.map(Pending::gap));
            }
            self.until = None;
            let last = pending.map_or(until, |pending| pending.second);
            return Proof::of(None, Interval::new(self.since, last).map(|i| dense(i, 0)));
        }
        self.until = None;
        match pending {
            // There is nothing older, and the previous page was not cut off.
            Some(Pending { second, full: false, .. }) if inside.is_empty() => {
                Proof::of(Interval::new(self.since, second), None)
            }
            None if !full => Proof::of(Interval::new(self.since, until), None),
            None => Proof::of(None, Interval::new(self.since, until).map(|i| dense(i, inside.len()))),
            Some(cut_off) if full => {
                let whole = Interval::new(self.since, cut_off.second);
                Proof::of(None, whole.map(|i| dense(i, inside.len())))
            }
            Some(cut_off) => Proof::of(Interval::new(self.since, until), Some(cut_off.gap())),
        }
    }
}

/// Returns why a page proves nothing; `None` if it does.
fn failure(page: &Page, sound: &[(EventId, i64)]) -> Option<GapReason> {
    match &page.end {
        // After some events, further ones are what a live subscription sends. After none, they are the stored ones, of
        // unknown number.
        End::Eose if page.transferred == 0 && !page.late.is_empty() => Some(GapReason::LateEvents),
        End::Eose if page.outside > 0 => Some(GapReason::FilterIgnored),
        End::Eose if sound.is_empty() && page.transferred > 0 => Some(GapReason::InvalidEvents),
        End::Eose if page.transferred == 0 && page.hints.more => Some(GapReason::NotGiven),
        end => reason(end),
    }
}

/// Returns why a span is not proven after a request that ended like this; `None` after EOSE.
fn reason(end: &End) -> Option<GapReason> {
    match end {
        End::Timeout => Some(GapReason::Timeout),
        End::Closed(_) => Some(GapReason::Closed),
        End::Notice(_) => Some(GapReason::Notice),
        End::Disconnect(_) => Some(GapReason::Disconnect),
        End::Overflow => Some(GapReason::Overflow),
        End::Eose => None,
    }
}

/// A second that filled a page, above which the next page looks.
#[derive(Debug, Clone, Copy)]
struct Above {
    second: i64,
    /// Whether that second is left out, whatever is known of the relay's bounds.
    is_exact: bool,
}

/// A second that filled a page, waiting for what the next page shows.
#[derive(Debug)]
struct Pending {
    second: i64,
    seen: usize,
    full: bool,
}

impl Pending {
    fn gap(self) -> Unproven {
        dense(Interval { since: self.second, until: self.second }, self.seen)
    }
}

fn dense(interval: Interval, seen: usize) -> Unproven {
    Unproven { interval, reason: GapReason::DenseSecond, count: i64::try_from(seen).ok() }
}

/// Returns an unproven span, unless it is empty.
fn unproven(since: i64, until: i64, reason: GapReason, count: Option<i64>) -> Option<Unproven> {
    Interval::new(since, until).map(|interval| Unproven { interval, reason, count })
}

#[cfg(test)]
mod tests;
