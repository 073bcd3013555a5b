//! The synchronizer's paging against a modelled relay, thousands of times: a relay with a cap, seconds with more events than
//! the cap, events that arrive late, pages out of order, and requests that end wrongly. Whatever happens, an event is stored,
//! or lies in a gap, or in a span that nobody claims; never in one that is claimed.
//!
//! ```sh
//! cargo test -p brotr --test e2e simulator -- --nocapture
//! ```

use std::collections::HashSet;

use brotr::services::synchronizer::{Bounds, Pager};
use brotr_core::{GapReason, Interval, IntervalSet};
use brotr_net::{End, Hints, Page};
use brotr_tests::lifelike::Dice;
use nostr::{EventId, Filter};

const HISTORY: usize = 3_000;
const BEGIN: i64 = 1_000_000;
const PASSES: usize = 8;
/// Between two passes, and how late events reach the relay at most.
const INTERVAL: i64 = 900;
const SETTLE: i64 = 120;
const RUNS: u64 = 400;

struct Model {
    /// Id, date and arrival, newest first.
    events: Vec<(EventId, i64, i64)>,
    cap: usize,
    /// Of 10,000 requests so many end wrongly, and of those that do not so many pages are out of order.
    failing: usize,
    disorderly: usize,
    dice: Dice,
    asked: usize,
    transferred: usize,
}

impl Model {
    fn new(seed: u64, failing: usize) -> Self {
        let mut dice = Dice::new(seed);
        let mut events = Vec::with_capacity(HISTORY + 200);
        let mut at = BEGIN;
        let add = |events: &mut Vec<_>, at: i64, arrived: i64| {
            let mut id = [0; 32];
            id[..8]
                .copy_from_slice(&(seed << 20 | events.len() as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15).to_be_bytes());
            events.push((EventId::from_byte_array(id), at, arrived));
        };
        let cap = [100, 250, 500][dice.below(3)];
        let dense = dice.below(4) == 0;
        while events.len() < HISTORY {
            at += dice.below(60) as i64;
            let n = match dice.below(400) {
                // A client that publishes all it has at once; now and then more than the relay gives at a time.
                0 if dense => cap + dice.below(200),
                1 => dice.below(40),
                _ => 1,
            };
            (0..n).for_each(|_| add(&mut events, at, 0));
        }
        // While it is being synchronized, events reach it some time after their date.
        let now = at + 10;
        for _ in 0..200 {
            let at = now + dice.below(PASSES * INTERVAL as usize) as i64;
            let late = dice.below(SETTLE as usize) as i64;
            add(&mut events, at, at + late);
        }
        events.sort_by_key(|(id, at, _)| (std::cmp::Reverse(*at), *id));
        Self { events, cap, failing, disorderly: failing / 10, dice, asked: 0, transferred: 0 }
    }

    fn answer(&mut self, filter: &Filter, now: i64) -> (Page, Vec<(EventId, i64)>) {
        let second = |t: nostr::Timestamp| t.as_secs().cast_signed();
        let (since, until) = (filter.since.map_or(0, second), filter.until.map_or(i64::MAX, second));
        let first = self.events.partition_point(|(_, at, _)| *at > until);
        let most = self.cap.min(filter.limit.unwrap_or(self.cap));
        let within = self.events[first..].iter().take_while(|(_, at, _)| *at >= since);
        let mut found: Vec<_> =
            within.filter(|(_, _, arrived)| *arrived <= now).take(most).map(|(id, at, _)| (*id, *at)).collect();
        self.asked += 1;
        let mut end = End::Eose;
        if self.dice.below(10_000) < self.failing {
            end = match self.dice.below(4) {
                0 => End::Timeout,
                1 => End::Closed("rate-limited: slow down".into()),
                2 => End::Disconnect("gone".into()),
                _ => End::Notice("no".into()),
            };
            found.truncate(self.dice.below(found.len() + 1));
        }
        let in_order = self.dice.below(10_000) >= self.disorderly || found.len() < 2;
        self.transferred += found.len();
        let transferred = found.len();
        let page = Page {
            events: vec![],
            transferred,
            outside: 0,
            in_order,
            late: vec![],
            took: None,
            end,
            hints: Hints::default(),
            room: None,
        };
        (page, found)
    }
}

#[derive(Default)]
struct Sums {
    served: usize,
    stored: usize,
    after_one: usize,
    in_gaps: usize,
    unclaimed: usize,
    lost: usize,
    asked: usize,
    transferred: usize,
}

fn run(seed: u64, failing: usize, sums: &mut Sums) {
    let mut model = Model::new(seed, failing);
    let mut stored = HashSet::new();
    let mut covered = IntervalSet::default();
    let mut gaps: Vec<(Interval, GapReason)> = Vec::new();
    let start = model.events.iter().filter(|(_, _, arrived)| *arrived == 0).map(|(_, at, _)| *at).max().unwrap_or(0);
    for n in 0..PASSES {
        let now = start + 10 + n as i64 * INTERVAL;
        let settled = now - SETTLE;
        let window = Interval::new(0, now - 1).expect("in order");
        let mut known = covered.clone();
        let rests = gaps.iter().filter(|(_, reason)| *reason == GapReason::DenseSecond);
        known.extend(rests.map(|(interval, _)| *interval));
        'pass: for missing in known.missing(window).into_iter().rev() {
            let mut pager = Pager::new(missing, Bounds::Inside, 500);
            while let Some(filter) = pager.next(&Filter::new()) {
                let (page, sound) = model.answer(&filter, now);
                stored.extend(sound.iter().map(|(id, _)| *id));
                let proof = pager.take(&page, &sound);
                // As the archive does it: what is proven takes its span out of the gaps, and so does a gap.
                let claimed = proof.covered.and_then(|i| Interval::new(i.since, i.until.min(settled)));
                covered.extend(claimed);
                for span in claimed.into_iter().chain(proof.gap.map(|gap| gap.interval)) {
                    let cut = |(old, reason): (Interval, GapReason)| {
                        old.minus(span).into_iter().map(move |rest| (rest, reason)).collect::<Vec<_>>()
                    };
                    gaps = std::mem::take(&mut gaps).into_iter().flat_map(cut).collect();
                }
                let named = |reason| !matches!(reason, GapReason::DenseSecond | GapReason::Disorder);
                let ended = proof.gap.is_some_and(|gap| named(gap.reason));
                gaps.extend(proof.gap.map(|gap| (gap.interval, gap.reason)));
                if ended {
                    break 'pass;
                }
            }
        }
        if n == 0 {
            sums.after_one += stored.len();
        }
    }
    let now = start + 10 + (PASSES as i64 - 1) * INTERVAL;
    for (id, at, arrived) in &model.events {
        if *arrived > now {
            continue;
        }
        let within = |interval: &Interval| interval.since <= *at && *at <= interval.until;
        let claimed = covered.intervals().iter().any(within);
        sums.served += 1;
        match (stored.contains(id), claimed, gaps.iter().any(|(interval, _)| within(interval))) {
            (true, _, _) => sums.stored += 1,
            (false, true, _) => sums.lost += 1,
            (false, false, true) => sums.in_gaps += 1,
            (false, false, false) => sums.unclaimed += 1,
        }
        assert!(stored.contains(id) || !claimed, "seed {seed}: an event of {at} is claimed and not stored");
    }
    sums.asked += model.asked;
    sums.transferred += model.transferred;
}

#[test]
fn every_missing_event_lies_in_a_gap() {
    println!(
        "{RUNS} runs a row, {HISTORY} events each and 200 that arrive meanwhile, caps of 100 to 500, {PASSES} passes"
    );
    println!(
        "{:>9}{:>12}{:>12}{:>12}{:>12}{:>8}{:>16}{:>16}",
        "failing", "first pass", "stored", "in gaps", "unclaimed", "lost", "per stored", "asked per 1000"
    );
    let mut healthy = None;
    for (failing, name) in [(0, "0 %"), (10, "0.1 %"), (50, "0.5 %"), (100, "1 %"), (500, "5 %"), (2_000, "20 %")] {
        let mut sums = Sums::default();
        (0..RUNS).for_each(|seed| run(seed, failing, &mut sums));
        let share = |n: usize| format!("{:.2} %", n as f64 * 100.0 / sums.served as f64);
        println!(
            "{name:>9}{:>12}{:>12}{:>12}{:>12}{:>8}{:>16.3}{:>16.2}",
            share(sums.after_one),
            share(sums.stored),
            share(sums.in_gaps),
            share(sums.unclaimed),
            sums.lost,
            sums.transferred as f64 / sums.stored as f64,
            sums.asked as f64 * 1_000.0 / sums.stored as f64,
        );
        assert_eq!(sums.stored + sums.in_gaps + sums.unclaimed + sums.lost, sums.served);
        assert_eq!(sums.lost, 0);
        // A pass goes on after requests that fail: beside one without failures it misses hardly anything.
        let healthy = *healthy.get_or_insert(sums.after_one);
        let least = if failing <= 500 { 0.99 } else { 0.9 };
        let first = sums.after_one as f64 / healthy as f64;
        assert!(first >= least, "{name}: {:.2} % of what one healthy pass brings", first * 100.0);
    }
}
