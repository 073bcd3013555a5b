//! Paging backward through a relay, as a machine without I/O: it says what to ask, is told what came, and says what
//! that proves.
//!
//! NIP-01 has `since` and `until` inside; some relays leave them outside. Until a relay has shown which it does, and
//! with those that leave them out, each request reaches one second further at both ends.
//!
//! A page that fails is asked for again a few times. A page out of order proves nothing, and the walk goes on below its
//! oldest event.
//!
//! A page ends at its oldest event, and the next one starts there, inclusive, since the relay may hold more events
//! of that second than the page could take. A second with more events than a page is found because a page then
//! holds that second only; what is in it beyond the page cannot be reached this way, and becomes a gap.

use std::collections::HashSet;

use brotr_core::{GapReason, Interval};
use brotr_net::{End, Page};
use nostr::{EventId, Filter};

use super::habits::within;
use super::rest::Trouble;

/// No relay gives fewer events at a time than this, if it has more. Caps are not constant (some count bytes), so a page
/// of as many may always have been cut off.
pub const SMALLEST_CAP: usize = 10;

/// So often must pages be cut off to show a cap: once may be an event that arrived meanwhile.
const CUT_OFF: u32 = 3;

/// How often in a row a page that failed is asked for again,
const RETRIES: u32 = 4;
/// and how often while the relay has not answered anything on this walk.
const FIRST_RETRIES: u32 = 2;
/// After this many good pages in a row a smaller limit is doubled again.
const GOOD_PAGES: u32 = 10;

/// Walks one window of time from its end to its beginning.
#[derive(Debug)]
pub struct Pager {
    since: i64,
    /// The end of what is left; `None` when nothing is.
    until: Option<i64>,
    bounds: Bounds,
    limit: usize,
    /// Ids already taken of the second `until`.
    boundary: HashSet<EventId>,
    pending: Option<Pending>,
    /// A full page of one second shows no order, and may be the oldest there is: whether anything lies above that second is asked
    /// before it is claimed that nothing does.
    above: Option<i64>,
    /// How many events the last page had, if it had fewer than were asked for.
    short: Option<usize>,
    /// The most events of a page that was shorter than asked for and not the last one, and how often that was seen.
    cut_off: (usize, u32),
    /// The limit at the start of the walk.
    full_limit: usize,
    /// Larger pages broke off again and again, and smaller ones may not.
    broken: Option<usize>,
    /// Pages that failed in a row,
    failures: u32,
    /// and pages that did not, since the last failure.
    good: u32,
    answered: bool,
}

/// Whether a relay counts the seconds `since` and `until` in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bounds {
    /// It does, as NIP-01 has it.
    Inside,
    /// It does not, or nobody knows.
    Outside,
}

/// How many events a relay gives at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cap {
    /// Pages of as many were cut off.
    Seen(usize),
    /// Larger pages broke off.
    Guessed(usize),
}

/// What a page proves.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Proof {
    /// Complete with what was taken so far.
    pub covered: Option<Interval>,
    /// Not proven, with the reason and a count of the events seen in it.
    pub gap: Option<(Interval, GapReason, Option<i64>)>,
    /// The page failed and is asked for again: how often that is so in a row.
    pub retry: Option<u32>,
}

impl Proof {
    fn of(covered: Option<Interval>, gap: Option<(Interval, GapReason, Option<i64>)>) -> Self {
        Self { covered, gap, retry: None }
    }
}

impl Pager {
    /// A walk through a window by pages of `limit`.
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
            full_limit: limit,
            broken: None,
            failures: 0,
            good: 0,
            answered: false,
        }
    }

    /// What to ask next; `None` when the walk is over.
    #[must_use]
    pub fn next(&self, filter: &Filter) -> Option<Filter> {
        let since = self.above.map_or(self.since, |second| second + 1);
        let left = Interval { since, until: self.until? };
        Some(within(filter, left, self.bounds).limit(self.limit))
    }

    /// What is known of the relay's bounds from now on.
    pub fn learn(&mut self, bounds: Bounds) {
        self.bounds = bounds;
    }

    /// How many events the relay was found to give at a time, where that is fewer than were asked for.
    #[must_use]
    pub fn cap(&self) -> Option<Cap> {
        let (cut_off, seen) = self.cut_off;
        let seen = (seen >= CUT_OFF).then(|| Cap::Seen(cut_off.max(SMALLEST_CAP)));
        self.broken.map(Cap::Guessed).or(seen)
    }

    /// Ends the walk after a request that broke off; gives what was not walked.
    pub fn give_up(&mut self, end: &End) -> Option<(Interval, GapReason, Option<i64>)> {
        let until = self.until.take()?;
        let until = self.pending.take().map_or(until, |pending| pending.second);
        Some((Interval::new(self.since, until)?, reason(end)?, None))
    }

    /// Returns whether a page that failed is asked for again, and counts it.
    fn may_retry(&mut self, page: &Page) -> bool {
        let most = if self.answered { RETRIES } else { FIRST_RETRIES };
        if Trouble::of(&page.end) != Trouble::Passing || matches!(page.end, End::Eose | End::Overflow) {
            return false;
        }
        // Once is chance. Some relays hang up after a number of bytes in a second: what they give is lost again and
        // again, unless less is asked for.
        if self.failures > 0 && matches!(page.end, End::Disconnect(_) | End::Timeout) && page.transferred > SMALLEST_CAP
        {
            self.limit = (page.transferred / 2).max(SMALLEST_CAP);
            self.broken = Some(self.limit);
        }
        (self.failures, self.good) = (self.failures + 1, 0);
        self.failures <= most
    }

    /// Counts a page that did not fail, and asks for larger ones after some of them.
    fn succeed(&mut self) {
        (self.answered, self.failures, self.good) = (true, 0, self.good + 1);
        if self.good >= GOOD_PAGES && self.limit < self.full_limit {
            self.good = 0;
            self.limit = (self.limit * 2).min(self.full_limit);
        }
    }

    /// Leaves the span of a page out of order as a gap: the relay may have left out any event of it. The walk goes on at
    /// its oldest event.
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
        Proof::of(None, Interval::new(first, last).map(|i| (i, GapReason::Disorder, count)))
    }

    /// Takes what came: how the page ended, and ids and times of those of its events that are sound.
    pub fn take(&mut self, page: &Page, sound: &[(EventId, i64)]) -> Proof {
        let Some(until) = self.until else { return Proof::default() };
        if page.end == End::Overflow && self.limit > SMALLEST_CAP {
            // Large events, or a relay that ignores the limit: a smaller page tells.
            self.limit = (self.limit / 8).max(SMALLEST_CAP);
            self.broken = Some(self.limit);
            return Proof::default();
        }
        let failed = match &page.end {
            End::Timeout | End::Closed(_) | End::Notice(_) | End::Disconnect(_) | End::Overflow => reason(&page.end),
            // After some events, others that follow are what a live subscription brings. After none they are the
            // stored ones, and who knows how many.
            End::Eose if page.transferred == 0 && !page.late.is_empty() => Some(GapReason::LateEvents),
            End::Eose if page.outside > 0 => Some(GapReason::FilterIgnored),
            End::Eose if sound.is_empty() && page.transferred > 0 => Some(GapReason::InvalidEvents),
            End::Eose => None,
        };
        if let Some(reason) = failed {
            if self.may_retry(page) {
                return Proof { retry: Some(self.failures), ..Proof::default() };
            }
            self.until = None;
            let count = i64::try_from(page.transferred).ok();
            let until = self.pending.take().map_or(until, |pending| pending.second);
            return Proof::of(None, Interval::new(self.since, until).map(|i| (i, reason, count)));
        }
        self.succeed();
        // What lies in the margin is welcome, and says nothing about the window.
        let inside: Vec<_> = sound.iter().filter(|(_, at)| self.since <= *at && *at <= until).collect();
        let oldest = inside.iter().map(|(_, at)| *at).min();
        if !page.in_order {
            return self.skip_disorder(until, oldest, page.transferred);
        }
        let full = page.transferred >= self.limit.min(SMALLEST_CAP);
        if let Some(second) = self.above.take() {
            self.until = Some(second);
            // Where the bounds are not known, that second comes along.
            let empty = inside.iter().all(|(_, at)| *at <= second) && page.late.is_empty();
            let span = Interval::new(second + 1, until);
            let last = self.pending.take();
            return match (span, empty) {
                (span, true) => Proof::of(span, last.map(Pending::gap)),
                (_, false) => {
                    let last = last.map_or(until, |pending| pending.second);
                    let count = i64::try_from(page.transferred).ok();
                    Proof::of(None, Interval::new(second + 1, last).map(|i| (i, GapReason::Disorder, count)))
                }
            };
        }
        if let Some(oldest) = oldest.filter(|oldest| *oldest < until)
            && full
            && sound.iter().all(|(_, at)| *at == oldest)
        {
            self.above = Some(oldest);
            self.short = None;
            return Proof::default();
        }
        if let Some(oldest) = oldest.filter(|oldest| *oldest < until) {
            // That there is more shows that the page before was cut off.
            if let Some(n) = self.short {
                self.cut_off = (self.cut_off.0.max(n), self.cut_off.1 + 1);
            }
            self.short = (page.transferred < self.limit).then_some(page.transferred);
            self.boundary = inside.iter().filter(|(_, at)| *at == oldest).map(|(id, _)| *id).collect();
            self.until = Some(oldest);
            let gap = self.pending.take().map(Pending::gap);
            return Proof::of(Interval::new(oldest + 1, until), gap);
        }
        if oldest.is_some() && until > self.since {
            // Nothing but the last second. Whether the page was cut off shows in the next one: a relay that has
            // older events would have gone on to them.
            self.boundary.extend(inside.iter().map(|(id, _)| *id));
            let seen = self.boundary.len();
            self.boundary.clear();
            self.until = Some(until - 1);
            let before = self.pending.replace(Pending { second: until, seen, full });
            return Proof::of(None, before.map(Pending::gap));
        }
        let pending = self.pending.take();
        if oldest.is_none() && full {
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
            // There is nothing older, and the page before was not cut off.
            Some(Pending { second, full: false, .. }) if oldest.is_none() => {
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

/// Why a span is not proven after a request that ended like this; `None` after EOSE.
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

/// A second that filled a page by itself, waiting for what the next page shows.
#[derive(Debug)]
struct Pending {
    second: i64,
    seen: usize,
    full: bool,
}

impl Pending {
    fn gap(self) -> (Interval, GapReason, Option<i64>) {
        dense(Interval { since: self.second, until: self.second }, self.seen)
    }
}

fn dense(interval: Interval, seen: usize) -> (Interval, GapReason, Option<i64>) {
    (interval, GapReason::DenseSecond, i64::try_from(seen).ok())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use brotr_core::{IntervalSet, RawEvent};
    use proptest::prelude::*;

    use super::*;

    /// A relay with a cap that fails now and then, as seen through a session.
    struct Model {
        events: Vec<(EventId, i64)>,
        cap: usize,
        exclusive: bool,
        uneven: bool,
        failures: Vec<u8>,
        asked: usize,
        transferred: usize,
    }

    impl Model {
        fn answer(&mut self, filter: &Filter) -> Page {
            let (since, until) = (filter.since.map(|t| t.as_secs()), filter.until.expect("asked").as_secs());
            let within = |at: i64| {
                let at = at.cast_unsigned();
                let (after, before) = (since.is_none_or(|s| s < at), at < until);
                let ends = !self.exclusive && (since == Some(at) || until == at);
                (after && before) || (ends && since.is_none_or(|s| s <= at) && at <= until)
            };
            let mut found: Vec<_> = self.events.iter().filter(|(_, at)| within(*at)).copied().collect();
            found.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(&b.0)));
            // A relay that counts bytes gives fewer events at one time than at another.
            let cap =
                if self.uneven && self.asked % 2 == 1 { self.cap.div_ceil(2).max(SMALLEST_CAP) } else { self.cap };
            let mut all = found.clone();
            found.truncate(cap.min(filter.limit.expect("always asked")));
            let failure = self.failures.get(self.asked).copied().unwrap_or(0);
            self.asked += 1;
            let end = match failure {
                1 => End::Timeout,
                2 => End::Closed("rate-limited: slow down".into()),
                3 => End::Disconnect("gone".into()),
                4 => End::Notice("no".into()),
                _ => End::Eose,
            };
            if failure == 5 {
                // Oldest first: what is left out is what is newest.
                all.reverse();
                all.truncate(cap.min(filter.limit.expect("always asked")));
                found = all;
            }
            let in_order = found.windows(2).all(|pair| pair[0].1 >= pair[1].1);
            if end != End::Eose {
                found.truncate(found.len() / 2);
            }
            self.transferred += found.len();
            let events: Vec<_> = found.into_iter().map(event).collect();
            Page { transferred: events.len(), events, outside: 0, in_order, late: vec![], took: None, end, room: None }
        }
    }

    fn event((id, at): (EventId, i64)) -> RawEvent {
        let zeros = "0".repeat(64);
        let value = serde_json::json!({"id": id, "pubkey": zeros, "created_at": at, "kind": 1, "tags": [],
            "content": "", "sig": zeros.repeat(2)});
        RawEvent::from_json(&value.to_string()).expect("an event")
    }

    fn id(n: usize) -> EventId {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&n.to_be_bytes());
        EventId::from_byte_array(bytes)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1_000))]
        #[test]
        fn every_event_is_taken_or_lies_in_a_gap(
            seconds in prop::collection::vec(0_i64..40, 0..120),
            cap in SMALLEST_CAP..30,
            limit in SMALLEST_CAP..40,
            failures in prop::collection::vec(prop_oneof![12 => Just(0_u8), 1 => 1_u8..6], 0..60),
            since in 0_i64..10,
            exclusive: bool,
            uneven: bool,
            bounds in prop_oneof![Just(Bounds::Inside), Just(Bounds::Outside)],
        ) {
            // A relay that leaves the bounds out is never taken for one that does not.
            let bounds = if exclusive { Bounds::Outside } else { bounds };
            let events: Vec<_> = seconds.iter().enumerate().map(|(n, at)| (id(n), *at)).collect();
            let mut model = Model { events: events.clone(), cap, exclusive, uneven, failures, asked: 0, transferred: 0 };
            let mut taken = BTreeMap::new();
            let (mut covered, mut gaps) = (IntervalSet::default(), Vec::new());
            let window = Interval::new(since, 50).expect("in order");
            // Three passes over what is missing, as the synchronizer makes them.
            for _ in 0..3 {
                gaps.clear();
                for missing in covered.missing(window).into_iter().rev() {
                    let mut pager = Pager::new(missing, bounds, limit);
                    let mut steps = 0;
                    while let Some(filter) = pager.next(&Filter::new()) {
                        let page = model.answer(&filter);
                        let sound: Vec<_> = page.events.iter().map(|e| (e.id, e.created_at)).collect();
                        taken.extend(sound.iter().copied());
                        let proof = pager.take(&page, &sound);
                        if let Some(interval) = proof.covered {
                            covered.insert(interval);
                        }
                        gaps.extend(proof.gap);
                        steps += 1;
                        prop_assert!(steps < 500, "the walk ends");
                    }
                }
            }
            for (id, at) in &events {
                let inside = |i: &Interval| i.since <= *at && *at <= i.until;
                if *at >= since && !taken.contains_key(id) {
                    prop_assert!(!covered.intervals().iter().any(inside), "lost in {at}: coverage lies");
                    prop_assert!(gaps.iter().any(|(i, _, _)| inside(i)), "lost in {at} without a gap");
                }
            }
            // Every second of the window is covered or in a gap.
            for at in since..=50 {
                let inside = |i: &Interval| i.since <= at && at <= i.until;
                prop_assert!(covered.intervals().iter().any(inside) || gaps.iter().any(|(i, _, _)| inside(i)));
            }
        }
    }

    #[test]
    fn a_long_history_costs_two_requests_a_thousand_and_hardly_an_event_twice() {
        let events: Vec<_> = (0..100_000).map(|n| (id(n), 1_000 + (n as i64) * 7 / 3)).collect();
        let mut model =
            Model { events, cap: 500, exclusive: false, uneven: false, failures: vec![], asked: 0, transferred: 0 };
        let mut pager = Pager::new(Interval::new(0, 10_000_000).expect("in order"), Bounds::Inside, 500);
        let mut taken = HashSet::new();
        while let Some(filter) = pager.next(&Filter::new()) {
            let page = model.answer(&filter);
            let sound: Vec<_> = page.events.iter().map(|e| (e.id, e.created_at)).collect();
            taken.extend(sound.iter().map(|(id, _)| *id));
            assert_eq!(pager.take(&page, &sound).gap, None);
        }
        assert_eq!(taken.len(), 100_000);
        assert!(model.asked <= 210, "{} requests", model.asked);
        assert!(model.transferred <= 102_000, "{} events", model.transferred);
    }

    #[test]
    fn a_page_that_cannot_be_trusted_proves_nothing() {
        let page = |change: fn(&mut Page)| {
            let mut page = Page {
                events: vec![],
                transferred: 0,
                outside: 0,
                in_order: true,
                late: vec![],
                took: None,
                end: End::Eose,
                room: None,
            };
            change(&mut page);
            let mut pager = Pager::new(Interval::new(0, 9).expect("in order"), Bounds::Inside, 500);
            let proof = pager.take(&page, &[]);
            assert_eq!(pager.next(&Filter::new()), None);
            assert_eq!(proof.covered, None);
            proof.gap.expect("a gap").1
        };
        assert_eq!(page(|p| p.late = vec![event((id(1), 1))]), GapReason::LateEvents);
        assert_eq!(page(|p| p.outside = 1), GapReason::FilterIgnored);
        assert_eq!(page(|p| p.in_order = false), GapReason::Disorder);
        assert_eq!(page(|p| p.transferred = 1), GapReason::InvalidEvents);
    }

    #[test]
    fn a_page_that_overflows_is_asked_for_again_in_smaller_pieces() {
        let page = || Page {
            events: vec![],
            transferred: 2_000,
            outside: 0,
            in_order: true,
            late: vec![],
            took: None,
            end: End::Overflow,
            room: None,
        };
        let mut pager = Pager::new(Interval::new(0, 9).expect("in order"), Bounds::Inside, 500);
        let mut limits = Vec::new();
        while let Some(filter) = pager.next(&Filter::new()) {
            limits.push(filter.limit.expect("asked"));
            let proof = pager.take(&page(), &[]);
            assert_eq!(proof.gap.map(|(_, reason, _)| reason), (limits.len() == 3).then_some(GapReason::Overflow));
        }
        assert_eq!(limits, [500, 62, SMALLEST_CAP]);
    }
}
