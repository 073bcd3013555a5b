//! Coverage, gaps, and clocks that were wrong.

use super::*;

pub(super) fn span(since: i64, until: i64) -> Interval {
    Interval::new(since, until).expect("in order")
}

pub(super) async fn coverage_merges_and_takes_gaps_away(archive: Arc<dyn Archive>, _: String) {
    let claim = |s, u| Covered { interval: span(s, u), method: Method::Paged, proven_at: 7 };
    let gap = |s, u, reason| Gap { interval: span(s, u), reason, count: None, tried_at: 7 };
    let first = Batch {
        covered: vec![claim(50, 60), claim(80, 90)],
        gaps: vec![gap(0, 49, GapReason::Timeout), gap(61, 79, GapReason::Closed)],
        ..batch(vec![])
    };
    archive.store(first).await.expect("stored");
    let second = Batch { covered: vec![claim(61, 70), claim(20, 30)], ..batch(vec![]) };
    archive.store(second).await.expect("stored");
    archive.store(Batch { gaps: vec![gap(75, 79, GapReason::DenseSecond)], ..batch(vec![]) }).await.expect("stored");
    let reports = archive.coverage(Some(RELAY)).await.expect("a report");
    let [report] = reports.as_slice() else { panic!("one filter: {reports:?}") };
    assert_eq!(
        report.covered.iter().map(|c| c.interval).collect::<Vec<_>>(),
        [span(20, 30), span(50, 70), span(80, 90)]
    );
    let gaps: Vec<_> = report.gaps.iter().map(|g| (g.interval, g.reason)).collect();
    let wanted = [
        (span(0, 19), GapReason::Timeout),
        (span(31, 49), GapReason::Timeout),
        (span(71, 74), GapReason::Closed),
        (span(75, 79), GapReason::DenseSecond),
    ];
    assert_eq!(gaps, wanted);
    let later = Covered { interval: span(91, 95), method: Method::Paged, proven_at: 9 };
    archive.store(Batch { covered: vec![later], ..batch(vec![]) }).await.expect("stored");
    let report = archive.coverage(Some(RELAY)).await.expect("a report").remove(0);
    let last = report.covered.last().expect("merged");
    assert_eq!((last.interval, last.proven_at), (span(80, 95), 9), "its last part was proven at 9");
    assert!(archive.coverage(Some("wss://unheard.example/")).await.expect("a report").is_empty());
    let total = |name: &str, spans| CoverageTotal { name: name.into(), relays: 1, spans };
    assert_eq!(archive.claims_by_method().await.expect("counted"), [total("paged", 3)]);
    let gaps = archive.gaps_by_reason().await.expect("counted");
    assert!(gaps.contains(&total("timeout", 2)), "{gaps:?}");
}

/// Seconds of the model's timeline.
const SECONDS: i64 = 40;

#[derive(Debug, Clone)]
struct Step {
    covered: Vec<(Interval, Method)>,
    gaps: Vec<(Interval, GapReason)>,
    refuted: Vec<Interval>,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let interval = || (0..SECONDS, 0..12_i64).prop_map(|(since, n)| span(since, (since + n).min(SECONDS - 1)));
    let method = prop::sample::select(Method::ALL);
    let reason = prop::sample::select(GapReason::ALL);
    let step = (
        prop::collection::vec((interval(), method), 0..3),
        prop::collection::vec((interval(), reason), 0..3),
        prop::collection::vec(interval(), 0..2),
    );
    let step = step.prop_map(|(covered, gaps, refuted)| Step { covered, gaps, refuted });
    prop::collection::vec(step, 1..8)
}

/// Second by second: a batch's refuted spans are no longer proven, its claims prove what its gaps leave, and its gaps are what
/// is not proven then.
fn apply(step: &Step, timeline: &mut [(bool, Option<GapReason>)]) {
    for (t, (covered, gap)) in (0..).zip(timeline) {
        let within = |i: &Interval| i.since <= t && t <= i.until;
        let left_open = step.gaps.iter().rev().find(|(i, _)| within(i)).map(|(_, reason)| *reason);
        if step.refuted.iter().any(within) {
            *covered = false;
        }
        if left_open.is_none() && step.covered.iter().any(|(i, _)| within(i)) {
            (*covered, *gap) = (true, None);
        }
        if left_open.is_some() && !*covered {
            *gap = left_open;
        }
    }
}

pub(super) async fn a_second_is_never_covered_and_a_gap(archive: Arc<dyn Archive>, _: String) {
    let handle = tokio::runtime::Handle::current();
    let relays = std::sync::atomic::AtomicUsize::new(0);
    let run = move || {
        let config = ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(cases(24)) };
        TestRunner::new(config).run(&steps(), |steps| {
            // A relay of its own for each case: coverage is not emptied.
            let n = relays.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            let url = format!("wss://case-{n}.example/");
            let mut timeline = vec![(false, None); SECONDS as usize];
            handle.block_on(async {
                for step in &steps {
                    apply(step, &mut timeline);
                    let covered = step.covered.iter().map(|(interval, method)| Covered {
                        interval: *interval,
                        method: *method,
                        proven_at: 7,
                    });
                    let gaps = step.gaps.iter().map(|(interval, reason)| Gap {
                        interval: *interval,
                        reason: *reason,
                        count: None,
                        tried_at: 7,
                    });
                    let stored = Batch {
                        relay: Some((url.clone(), Network::Clearnet)),
                        covered: covered.collect(),
                        gaps: gaps.collect(),
                        refuted: step.refuted.clone(),
                        ..batch(vec![])
                    };
                    archive.store(stored).await.expect("stored");
                    let report = archive.coverage(Some(&url)).await.expect("a report").pop();
                    let (covered, gaps) = report.map(|report| (report.covered, report.gaps)).unwrap_or_default();
                    for (t, wanted) in (0..).zip(&timeline) {
                        let within = |i: &Interval| i.since <= t && t <= i.until;
                        let gaps: Vec<_> =
                            gaps.iter().filter(|gap| within(&gap.interval)).map(|gap| gap.reason).collect();
                        prop_assert!(gaps.len() <= 1, "second {} is in several gaps: {:?}", t, gaps);
                        let found = (covered.iter().any(|claim| within(&claim.interval)), gaps.first().copied());
                        prop_assert_eq!(found, *wanted, "second {}", t);
                    }
                }
                Ok(())
            })
        })
    };
    tokio::task::spawn_blocking(run).await.expect("no panic").expect("holds for every case");
}

pub(super) async fn the_future_is_not_proven(archive: Arc<dyn Archive>, _: String) {
    let began = now();
    let claim = |since, until| Covered { interval: span(since, until), method: Method::Paged, proven_at: until };
    let covered = vec![claim(began - 100, began + 259_200), claim(began + 1_000, began + 2_000), claim(0, 0)];
    archive.store(Batch { covered, ..batch(vec![]) }).await.expect("stored");
    let report = archive.coverage(Some(RELAY)).await.expect("a report").remove(0);
    let [first, last] = report.covered.as_slice() else { panic!("{report:?}") };
    assert_eq!(first.interval, span(0, 0), "the first second there is");
    assert_eq!(last.interval.since, began - 100);
    assert!((began..=now()).contains(&last.interval.until) && last.proven_at <= now(), "{last:?}");
}

pub(super) async fn timestamps_of_a_clock_that_was_ahead_are_clamped(archive: Arc<dyn Archive>, url: String) {
    // A little later than any clock says: PostgreSQL goes by its own, if that is later.
    let (now, day) = (now() + 60, 86_400);
    let ahead = now + 3 * day;
    let (past, future) = ("wss://past.example/", "wss://future.example/");
    let claim = |since, until, proven_at| Covered { interval: span(since, until), method: Method::Paged, proven_at };
    let visit = |at, due_at| CheckRecord { at, due_at, state: RelayState::Up, ..CheckRecord::default() };
    for relay in [past, future] {
        archive.record_check(relay, Network::Clearnet, &visit(now - day, now + 3_600)).await.expect("kept");
        let covered = vec![claim(now - 10 * day, now - day, now - day)];
        let relay = Some((relay.to_owned(), Network::Clearnet));
        archive.store(Batch { relay, covered, ..batch(vec![]) }).await.expect("stored");
        // As an older version would have left them.
    }
    archive.set_sync_due(past, now + 3_600).await.expect("set");
    for at in [ahead, ahead + 60] {
        archive.record_check(future, Network::Clearnet, &visit(at, at + 3_600)).await.expect("kept");
    }
    archive.set_sync_due(future, ahead + 3_600).await.expect("set");
    shell(
        &url,
        &format!(
            "update coverage set until = {ahead}, proven_at = {ahead} where relay = (select k from relay where url = '{future}')"
        ),
    );
    // A clock that is a few minutes ahead is another machine's, and what it proved is trusted.
    let skewed = "wss://skewed.example/";
    archive.record_check(skewed, Network::Clearnet, &visit(now - day, now + 3_600)).await.expect("kept");
    archive.set_sync_due(skewed, now + 3_600).await.expect("set");
    let covered = vec![claim(now - 10 * day, now - 60, now - 60)];
    let relay = Some((skewed.to_owned(), Network::Clearnet));
    archive.store(Batch { relay, covered, ..batch(vec![]) }).await.expect("stored");
    shell(
        &url,
        &format!(
            "update coverage set until = {0}, proven_at = {0} where relay = (select k from relay where url = '{skewed}')",
            now + 300
        ),
    );
    let sent = event("sent", vec![], 1).into_event().id;
    let outgoing = Outgoing { event: sent, relay: RELAY.into(), body: "{}".into(), slot: None, attempts: 0, rank: 0 };
    archive.enqueue(&[outgoing], ahead).await.expect("queued");
    let before = archive.relay(past).await.expect("read");

    assert!(archive.clamp_future(now, 7 * day).await.expect("clamped") > 0);
    assert_eq!(archive.clamp_future(now, 7 * day).await.expect("clamped"), 0, "nothing is left to do");
    let visits: Vec<_> = archive.visits(future, 0, 10).await.expect("visits").iter().map(|visit| visit.at).collect();
    assert_eq!(visits, [now, now - day]);
    assert_eq!(archive.relay(future).await.expect("read").expect("there").checked_at, Some(now));
    let report = archive.coverage(Some(future)).await.expect("a report").remove(0);
    // When the claim was made nobody knows, but that it was after the relay became known.
    assert_eq!((report.covered[0].interval.until, report.covered[0].proven_at), (now - 2 * day, now));
    let report = archive.coverage(Some(skewed)).await.expect("a report").remove(0);
    assert_eq!(report.covered[0], claim(now - 10 * day, now, now));
    let due = async |query: RelayQuery| {
        let query = RelayQuery { limit: 10, ..query };
        archive.relays(&query).await.expect("listed").into_iter().map(|relay| relay.url).collect::<Vec<_>>()
    };
    assert_eq!(due(RelayQuery { check_due: Some(now), ..RelayQuery::default() }).await, [future]);
    assert_eq!(due(RelayQuery { sync_due: Some(now), ..RelayQuery::default() }).await, [future]);
    assert_eq!(archive.due_relays(now).await.expect("due").len(), 1, "and what waits is sent");
    assert_eq!(archive.relay(past).await.expect("read"), before, "what was right stays");
    let report = archive.coverage(Some(past)).await.expect("a report").remove(0);
    assert_eq!(report.covered[0], claim(now - 10 * day, now - day, now - day));
    // A wait that is longer than any is one that was set by a wrong clock, too.
    archive.set_check_due(past, now + 30 * day).await.expect("set");
    assert_eq!(archive.clamp_future(now, 7 * day).await.expect("clamped"), 1);
}
