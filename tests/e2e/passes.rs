//! A pass goes on where it can, and ends where it cannot: requests that fail, pages out of order, refusals of a part, relays
//! that never end.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use brotr_core::{Event, GapReason, Method, Network};
use brotr_storage::{Batch, View};
use brotr_tests::{Fault, Negentropy, Script, ScriptedRelay, events};
use nostr::{Filter, Keys, Kind};

use super::faults::{Place, place, place_with};

const FIRST: u64 = 1_600_000_000;

async fn start(script: Script) -> ScriptedRelay {
    ScriptedRelay::start(script).await.expect("started")
}

async fn archived(place: &Place) -> u64 {
    place.agent.archive.count(&[Filter::new()], View::All, &[]).await.expect("counted")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pass_goes_on_after_requests_that_fail() {
    let place = place().await;
    let relay = start(Script::wrong(events::signed(4_000, FIRST), Fault::FailsEach(4))).await;
    let (pass, _) = place.pass(&relay).await;
    assert_eq!((pass.stored, pass.gaps, &pass.error), (4_000, 0, &None), "{pass:?}");
    // Four pages to a connection, one of which fails.
    let connections = relay.counts.connections.load(Ordering::Relaxed);
    assert!((3..=5).contains(&connections), "{connections} connections");
    assert!(place.coverage(&relay).await.expect("a report").gaps.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_out_of_order_leaves_its_own_span_unproven_only() {
    let place = place().await;
    let list = events::signed(3_000, FIRST);
    let relay = start(Script::wrong(list.clone(), Fault::Jitter(50))).await;
    let (pass, _) = place.pass(&relay).await;
    assert_eq!((pass.stored, pass.gaps, &pass.error), (3_000, 1, &None), "{pass:?}");
    let report = place.coverage(&relay).await.expect("a report");
    let [gap] = report.gaps.as_slice() else { panic!("one gap: {report:?}") };
    assert_eq!(gap.reason, GapReason::Disorder);
    // Of 3,000 seconds with an event each, the first page has the newest 500.
    assert_eq!(gap.interval.since as u64, FIRST + 3_000 - 499, "{report:?}");
    assert_eq!(report.covered.len(), 1, "{report:?}");
    assert_eq!((report.covered[0].interval.since, report.covered[0].interval.until), (0, gap.interval.since - 1));
    // It is not asked for again at once, and is whole when it comes in order.
    let (pass, _) = place.pass(&relay).await;
    assert!(pass.requests <= 2, "{pass:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn relays_that_never_end_end_in_time_beside_an_honest_one() {
    let place = place().await;
    let mut bad = Vec::new();
    for fault in [
        Fault::TarPit,
        Fault::Mute,
        Fault::Trickle,
        Fault::Endless,
        Fault::Drip,
        Fault::NoEose,
        Fault::HalfOpen(7),
        Fault::Fragments,
        // It would prove a second of its history with each page, for an hour.
        Fault::SlowPages(700),
    ] {
        let host = std::net::Ipv4Addr::new(127, 0, 1, bad.len() as u8 + 1);
        let n = if let Fault::SlowPages(_) = fault { 5_000 } else { 40 };
        let script = Script::wrong(events::signed(n, FIRST), fault);
        bad.push(ScriptedRelay::start_at(host, script).await.expect("started"));
    }
    let good = start(Script::honest(events::signed(1_200, FIRST))).await;
    let began = Instant::now();
    let others = async {
        let passes = futures::future::join_all(bad.iter().map(|relay| place.pass(relay))).await;
        (passes, began.elapsed())
    };
    let ((pass, took), (others, all)) = tokio::join!(place.pass(&good), others);
    assert_eq!((pass.stored, pass.gaps, pass.error), (1_200, 0, None));
    // The honest one does not wait for the others, whose limit is a number of request timeouts of a second.
    assert!(took < all, "{took:?} of {all:?}");
    assert!(all < Duration::from_secs(45), "{all:?}");
    for (pass, _) in &others {
        assert!(pass.error.is_some(), "{pass:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_is_sent_twice_does_not_stand_for_one_that_is_missing() {
    let list = events::signed(1_600, FIRST);
    let place = place().await;
    // Enough to compare: of the rest the relay names everything, withholds some, and sends the others three times.
    let known = list[..600].iter().map(|event| Event::from(event).verify().expect("signed")).collect();
    let relay = Some(("wss://other.example/".to_owned(), Network::Clearnet));
    place.agent.archive.store(Batch { relay, events: known, ..Batch::default() }).await.expect("stored");
    let script =
        Script { negentropy: Negentropy::Speaks { withholds: 100 }, ..Script::wrong(list.clone(), Fault::Repeats(3)) };
    let relay = start(script).await;
    let (pass, _) = place.pass(&relay).await;
    assert_eq!((pass.stored, archived(&place).await), (600, 1_200), "{pass:?}");
    let report = place.coverage(&relay).await.expect("a report");
    let lacking: i64 = report.gaps.iter().filter(|gap| gap.reason == GapReason::NotGiven).filter_map(|g| g.count).sum();
    assert_eq!(lacking, 400, "{report:?}");
    let ids: Vec<_> = list.iter().map(|event| event.id).collect();
    let stored = place.agent.archive.known(&ids).await.expect("asked");
    for event in list.iter().filter(|event| !stored.contains(&event.id)) {
        let at = event.created_at.as_secs() as i64;
        let claimed = report.covered.iter().any(|c| c.interval.since <= at && at <= c.interval.until);
        let named = report.gaps.iter().any(|gap| gap.interval.since <= at && at <= gap.interval.until);
        assert!(named && !claimed, "{at}: {report:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_that_reconciles_but_returns_no_event_by_id_is_paged() {
    let list = events::signed(1_000, FIRST);
    for script in [
        Script { negentropy: Negentropy::Speaks { withholds: 0 }, ..Script::wrong(list.clone(), Fault::RefusesIds) },
        Script { negentropy: Negentropy::Speaks { withholds: 500 }, ..Script::honest(list.clone()) },
    ] {
        let place = place().await;
        let known = list[..300].iter().map(|event| Event::from(event).verify().expect("signed")).collect();
        let other = Some(("wss://other.example/".to_owned(), Network::Clearnet));
        place.agent.archive.store(Batch { relay: other, events: known, ..Batch::default() }).await.expect("stored");
        let refuses = script.fault == Fault::RefusesIds;
        let relay = start(script).await;
        let (pass, _) = place.pass(&relay).await;
        if refuses {
            assert_eq!((archived(&place).await, pass.gaps, &pass.error), (1_000, 0, &None), "{pass:?}");
            let report = place.coverage(&relay).await.expect("a report");
            assert!(report.gaps.is_empty() && report.covered.iter().any(|c| c.method == Method::Paged), "{report:?}");
        } else {
            let report = place.coverage(&relay).await.expect("a report");
            let named: i64 = report.gaps.iter().filter_map(|gap| gap.count).sum();
            assert_eq!(archived(&place).await + named as u64, 1_000, "what it does not give is named: {report:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_that_requires_auth_is_reconciled_after_auth() {
    let list = events::signed(900, FIRST);
    let place = place_with("synchronizer: {overrides: [{relay: \"127.*\", auth: true}]}").await;
    let known = list[..700].iter().map(|event| Event::from(event).verify().expect("signed")).collect();
    let other = Some(("wss://other.example/".to_owned(), Network::Clearnet));
    place.agent.archive.store(Batch { relay: other, events: known, ..Batch::default() }).await.expect("stored");
    let script = Script { negentropy: Negentropy::Speaks { withholds: 0 }, auth: true, ..Script::honest(list) };
    let relay = start(script).await;
    let (pass, _) = place.pass(&relay).await;
    assert_eq!((pass.transferred, pass.stored, pass.gaps, &pass.error), (200, 200, 0, &None), "{pass:?}");
    let report = place.coverage(&relay).await.expect("a report");
    assert!(report.covered.iter().any(|covered| covered.method == Method::Negentropy), "{report:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_of_the_first_second_is_read_like_any_other() {
    for fault in [Fault::None, Fault::ZeroIsNone] {
        let place = place().await;
        let mut list = events::signed(700, FIRST);
        list.push(events::at(&Keys::generate(), Kind::TextNote, 0, "of 1970"));
        let relay = start(Script::wrong(list, fault.clone())).await;
        let (pass, _) = place.pass(&relay).await;
        assert_eq!((pass.stored, pass.gaps, &pass.error), (701, 0, &None), "{fault:?}: {pass:?}");
        let report = place.coverage(&relay).await.expect("a report");
        assert_eq!(report.covered.iter().map(|c| c.interval.since).min(), Some(0), "{report:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_kind_of_a_dense_second_excludes_no_other() {
    let place = place().await;
    let author = Keys::generate();
    let mut list = events::signed(30, FIRST + 100);
    let kinds = [1, 4, 7, 1_111];
    list.extend((0..1_200).map(|i| events::at(&author, Kind::from(kinds[i % 4]), FIRST + 50, &i.to_string())));
    list.extend(events::signed(30, FIRST));
    let relay = start(Script::wrong(list, Fault::RefusesKind(4))).await;
    let (pass, _) = place.pass(&relay).await;
    assert_eq!(pass.error, None, "{pass:?}");
    // Of kind 4 there is what the mixed page of 500 had.
    for kind in [1, 7, 1_111] {
        let of_kind = Filter::new().kind(Kind::from(kind)).since(nostr::Timestamp::from(FIRST + 50));
        let of_kind = of_kind.until(nostr::Timestamp::from(FIRST + 50));
        let n = place.agent.archive.count(&[of_kind], View::All, &[]).await.expect("counted");
        assert_eq!(n, 300, "kind {kind}: {pass:?}");
    }
    let report = place.coverage(&relay).await.expect("a report");
    assert_eq!(report.gaps.iter().map(|gap| gap.reason).collect::<Vec<_>>(), [GapReason::DenseSecond]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dense_first_second_of_a_relay_hides_nothing() {
    let author = Keys::generate();
    // Its oldest second alone fills a page, which is in order whatever way one looks at it.
    let mut list: Vec<_> = (0..600).map(|i| events::at(&author, Kind::TextNote, FIRST, &i.to_string())).collect();
    list.extend(events::signed(300, FIRST + 1_000));
    for (fault, complete) in [(Fault::OldestFirst, false), (Fault::None, true)] {
        let place = place().await;
        let relay = start(Script::wrong(list.clone(), fault)).await;
        place.pass(&relay).await;
        let ids: Vec<_> = list.iter().map(|event| event.id).collect();
        let stored = place.agent.archive.known(&ids).await.expect("asked");
        let report = place.coverage(&relay).await.expect("a report");
        for event in list.iter().filter(|event| !stored.contains(&event.id)) {
            let at = event.created_at.as_secs() as i64;
            let within = |i: brotr_core::Interval| i.since <= at && at <= i.until;
            assert!(!report.covered.iter().any(|c| within(c.interval)), "{at} is claimed: {report:?}");
            assert!(report.gaps.iter().any(|gap| within(gap.interval)), "{at} is not named: {report:?}");
        }
        let later = report
            .covered
            .iter()
            .any(|c| c.interval.since <= FIRST as i64 + 1 && c.interval.until > FIRST as i64 + 1_300);
        assert_eq!(later, complete, "{report:?}");
    }
}
