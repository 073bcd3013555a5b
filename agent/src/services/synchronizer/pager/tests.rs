//! Property tests of the pager against a model of a relay.

use std::collections::BTreeMap;

use brotr_core::{IntervalSet, RawEvent};
use brotr_net::Hints;
use proptest::prelude::*;

use super::*;

/// A relay with a cap and random failures, as seen through a session.
struct Model {
    events: Vec<(EventId, i64)>,
    cap: usize,
    exclusive: bool,
    uneven: bool,
    failures: Vec<u8>,
    asked: usize,
    transferred: usize,
    hints: Says,
}

/// What a relay says of what is left (NIP-67).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Says {
    Nothing,
    Truth,
    /// That nothing is left, always.
    Finish,
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
        // A relay that counts bytes returns fewer events at one time than at another.
        let cap = if self.uneven && self.asked % 2 == 1 {
            self.cap.div_ceil(2).max(SMALLEST_CAP.min(self.cap))
        } else {
            self.cap
        };
        let mut all = found.clone();
        let (matching, limit) = (all.len(), filter.limit.expect("always asked"));
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
            // Oldest first: the newest are left out.
            all.reverse();
            all.truncate(cap.min(filter.limit.expect("always asked")));
            found = all;
        }
        let in_order = found.windows(2).all(|pair| pair[0].1 >= pair[1].1);
        if end != End::Eose {
            found.truncate(found.len() / 2);
        }
        self.transferred += found.len();
        let is_cut = found.len() < matching;
        let hints = match self.hints {
            _ if end != End::Eose => Hints::default(),
            Says::Nothing => Hints::default(),
            // A limit that cuts something off is no end.
            Says::Truth => Hints { finish: !is_cut, more: is_cut && limit > found.len(), auth: false },
            Says::Finish => Hints { finish: true, ..Hints::default() },
        };
        Page { in_order, end, hints, ..page_of(found.into_iter().map(event).collect()) }
    }
}

/// Returns a page of these events that ended with EOSE.
fn page_of(events: Vec<RawEvent>) -> Page {
    Page {
        transferred: events.len(),
        events,
        outside: 0,
        in_order: true,
        late: vec![],
        took: None,
        end: End::Eose,
        hints: Hints::default(),
        room: None,
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
        cap in 1_usize..30,
        limit in SMALLEST_CAP..40,
        failures in prop::collection::vec(prop_oneof![12 => Just(0_u8), 1 => 1_u8..6], 0..60),
        since in 0_i64..10,
        exclusive: bool,
        uneven: bool,
        bounds in prop_oneof![Just(Bounds::Inside), Just(Bounds::Outside)],
        hints in prop_oneof![Just(Says::Nothing), Just(Says::Truth), Just(Says::Finish)],
    ) {
        // A relay that excludes the bounds is never taken for one that includes them.
        let bounds = if exclusive { Bounds::Outside } else { bounds };
        let events: Vec<_> = seconds.iter().enumerate().map(|(n, at)| (id(n), *at)).collect();
        let mut model = Model { events: events.clone(), cap, exclusive, uneven, failures, asked: 0, transferred: 0, hints };
        let mut taken = BTreeMap::new();
        let (mut covered, mut gaps) = (IntervalSet::default(), Vec::<Unproven>::new());
        let window = Interval::new(since, 50).expect("in order");
        // Three passes over what is missing, as the synchronizer makes them.
        for _ in 0..3 {
            gaps.clear();
            for missing in covered.missing(window).into_iter().rev() {
                let mut pager = Pager::new(missing, bounds, limit);
                // Learned earlier: a relay that only ever showed one page of this size would be believed.
                pager.expect_cap(cap);
                // Of a relay that always says that nothing is left, smaller pages than its cap were seen to be complete.
                let smallest_page = if uneven { cap.div_ceil(2).max(SMALLEST_CAP.min(cap)) } else { cap };
                pager.trust_hints(if hints == Says::Truth { usize::MAX } else { smallest_page });
                let mut steps = 0;
                while let Some(filter) = pager.next(&Filter::new()) {
                    let page = model.answer(&filter);
                    let sound: Vec<_> = page.events.iter().map(|e| (e.id, e.created_at)).collect();
                    taken.extend(sound.iter().copied());
                    let proof = pager.take(&page, &sound);
                    for interval in proof.covered.into_iter().chain(proof.hinted) {
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
                prop_assert!(gaps.iter().any(|gap| inside(&gap.interval)), "lost in {at} without a gap");
            }
        }
        // Every second of the window is covered or in a gap.
        for at in since..=50 {
            let inside = |i: &Interval| i.since <= at && at <= i.until;
            prop_assert!(covered.intervals().iter().any(inside) || gaps.iter().any(|gap| inside(&gap.interval)));
        }
    }
}

#[test]
fn a_long_history_takes_two_requests_per_thousand_events() {
    let events: Vec<_> = (0..100_000).map(|n| (id(n), 1_000 + (n as i64) * 7 / 3)).collect();
    let mut model = Model {
        events,
        cap: 500,
        exclusive: false,
        uneven: false,
        failures: vec![],
        asked: 0,
        transferred: 0,
        hints: Says::Nothing,
    };
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
        let mut page = page_of(vec![]);
        change(&mut page);
        let mut pager = Pager::new(Interval::new(0, 9).expect("in order"), Bounds::Inside, 500);
        let proof = pager.take(&page, &[]);
        assert_eq!(pager.next(&Filter::new()), None);
        assert_eq!(proof.covered, None);
        proof.gap.expect("a gap").reason
    };
    assert_eq!(page(|p| p.late = vec![event((id(1), 1))]), GapReason::LateEvents);
    assert_eq!(page(|p| p.outside = 1), GapReason::FilterIgnored);
    assert_eq!(page(|p| p.in_order = false), GapReason::Disorder);
    assert_eq!(page(|p| p.transferred = 1), GapReason::InvalidEvents);
    assert_eq!(page(|p| p.hints.more = true), GapReason::NotGiven);
}

#[test]
fn a_page_that_overflows_is_requested_again_with_smaller_limits() {
    let page = || Page { transferred: 2_000, end: End::Overflow, ..page_of(vec![]) };
    let mut pager = Pager::new(Interval::new(0, 9).expect("in order"), Bounds::Inside, 500);
    let mut limits = Vec::new();
    while let Some(filter) = pager.next(&Filter::new()) {
        limits.push(filter.limit.expect("asked"));
        let proof = pager.take(&page(), &[]);
        assert_eq!(proof.gap.map(|gap| gap.reason), (limits.len() == 3).then_some(GapReason::Overflow));
    }
    assert_eq!(limits, [500, 62, SMALLEST_CAP]);
}

/// Walks through a relay with as many events per second as `counts` says, and returns the requests and what the walk says of the
/// relay's word.
fn walk_with_hints(
    counts: &[usize],
    cap: usize,
    hints: Says,
    trusted_below: usize,
) -> (usize, Option<HintCheck>, Option<Cap>) {
    let seconds = counts.iter().enumerate().flat_map(|(at, n)| std::iter::repeat_n(at as i64, *n));
    let events: Vec<_> = seconds.enumerate().map(|(n, at)| (id(n), at)).collect();
    let mut model =
        Model { events, cap, exclusive: false, uneven: false, failures: vec![], asked: 0, transferred: 0, hints };
    let mut pager = Pager::new(Interval::new(0, 99).expect("in order"), Bounds::Inside, 50);
    pager.trust_hints(trusted_below);
    while let Some(filter) = pager.next(&Filter::new()) {
        let page = model.answer(&filter);
        let sound: Vec<_> = page.events.iter().map(|event| (event.id, event.created_at)).collect();
        pager.take(&page, &sound);
    }
    (model.asked, pager.checked_hints(), pager.cap())
}

#[test]
fn hints_save_a_request_and_are_checked() {
    let counts = [2; 20];
    let (without, unseen, _) = walk_with_hints(&counts, 100, Says::Nothing, 0);
    let (checked, honest, _) = walk_with_hints(&counts, 100, Says::Truth, 0);
    let (trusted, ..) = walk_with_hints(&counts, 100, Says::Truth, 41);
    assert_eq!((without, checked, trusted), (2, 2, 1));
    assert_eq!((unseen, honest), (None, Some(HintCheck::True(40))));
    // A page as large as the largest of which it was true may be one that was cut off.
    assert_eq!(walk_with_hints(&counts, 100, Says::Truth, 40).0, 2);
    // One that always says that nothing is left, and cuts off pages.
    let (_, honest, _) = walk_with_hints(&counts, 12, Says::Finish, 12);
    assert_eq!(honest, Some(HintCheck::Wrong));
    // "More" shows a cap.
    assert_eq!(walk_with_hints(&[2; 50], 30, Says::Truth, 0).2, Some(Cap::Seen(30)));
}

/// Takes a page of one event at each of these seconds.
fn take(pager: &mut Pager, seconds: &[i64]) -> Proof {
    let events: Vec<_> = seconds.iter().map(|at| event((id(at.unsigned_abs() as usize), *at))).collect();
    let sound: Vec<_> = events.iter().map(|event| (event.id, event.created_at)).collect();
    pager.take(&page_of(events), &sound)
}

#[test]
fn a_full_page_of_the_margin_does_not_show_that_nothing_lies_above_a_second() {
    let pager = || {
        let mut pager = Pager::new(Interval::new(2, 9).expect("in order"), Bounds::Outside, 500);
        pager.expect_cap(1);
        assert_eq!(take(&mut pager, &[5]), Proof::default());
        let next = pager.next(&Filter::new()).expect("a request");
        assert_eq!((next.since, next.until), (Some(Timestamp::from(5)), Some(Timestamp::from(10))));
        pager
    };
    // The same event again: the second is left out.
    let mut same = pager();
    assert_eq!(take(&mut same, &[5]), Proof::default());
    let next = same.next(&Filter::new()).expect("a request");
    assert_eq!((next.since, next.until), (Some(Timestamp::from(6)), Some(Timestamp::from(10))));
    assert_eq!(take(&mut same, &[]).covered, Interval::new(6, 9));
    // The second after the window: events of the window may have been cut off.
    let proof = take(&mut pager(), &[10]);
    assert_eq!((proof.covered, proof.gap.map(|gap| gap.interval)), (None, Interval::new(6, 9)));
}
