//! Relays that can be compared with (NIP-77): nothing is fetched that is here already, and coverage says how it is known.

use std::sync::atomic::Ordering;

use brotr_core::{Event, GapReason, Interval, Method, Network};
use brotr_storage::{Batch, View};
use brotr_tests::{Negentropy, Script, ScriptedRelay, events};
use nostr::Filter;

use super::faults::{Place, place};
use super::main_job::relay;

const FIRST: u64 = 1_600_000_000;

/// Archives events as if another relay had given them.
async fn archive(place: &Place, list: &[nostr::Event]) {
    let events = list.iter().map(|event| Event::from(event).verify().expect("signed")).collect();
    let relay = Some(("wss://other.example/".to_owned(), Network::Clearnet));
    place.agent.archive.store(Batch { relay, events, ..Batch::default() }).await.expect("stored");
}

async fn seen(place: &Place, url: &str) -> u64 {
    place.agent.archive.count(&[Filter::new()], View::All, &[url.to_owned()]).await.expect("counted")
}

#[tokio::test(flavor = "multi_thread")]
async fn reconciliation_transfers_missing_events_only() {
    let list = events::signed(3_000, FIRST);
    for (held, withholds) in [(3_000, 0), (2_400, 0), (2_400, 4)] {
        let place = place().await;
        archive(&place, &list[..held]).await;
        let script = Script { negentropy: Negentropy::Speaks { withholds }, ..Script::honest(list.clone()) };
        let relay = ScriptedRelay::start(script).await.expect("started");
        let (pass, _) = place.pass(&relay).await;
        let missing = 3_000 - held as u64;
        // Of each 250 that are asked for, some are not given.
        let kept = withholds as u64 * missing.div_ceil(250);
        assert_eq!((pass.transferred, pass.stored), (missing - kept, missing - kept), "{pass:?}");
        assert_eq!((pass.known, &pass.error), (held as u64, &None), "{pass:?}");
        assert_eq!(seen(&place, place.address(&relay).as_str()).await, 3_000 - kept);
        if missing == 0 {
            assert!(pass.bytes <= 40 * 3_000, "{} bytes an event", pass.bytes as f64 / 3_000.0);
            println!("{:.2} bytes on the wire for each event that both have", pass.bytes as f64 / 3_000.0);
        }
        let report = place.coverage(&relay).await.expect("a report");
        let compared = report.covered.iter().filter(|covered| covered.method == Method::Negentropy);
        let within = |i: Interval, at: u64| i.since <= at as i64 && at as i64 <= i.until;
        let covered = |at| compared.clone().any(|claim| within(claim.interval, at));
        let open = |at| report.gaps.iter().any(|gap| within(gap.interval, at));
        // What is not given leaves its span unproven: a second is covered or in a gap.
        assert!(list.iter().map(|event| event.created_at.as_secs()).all(|at| covered(at) != open(at)), "{report:?}");
        assert!(withholds > 0 || report.gaps.is_empty(), "{report:?}");
        let named: i64 = report.gaps.iter().filter(|g| g.reason == GapReason::NotGiven).filter_map(|g| g.count).sum();
        assert_eq!(named, kept as i64, "what is not given is named: {report:?}");
        let (pass, _) = place.pass(&relay).await;
        assert_eq!((pass.transferred, pass.stored), (0, 0), "what was not given is tried again after a day: {pass:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_independent_relay_is_reconciled() {
    let list = events::signed(1_500, FIRST);
    let place = place().await;
    archive(&place, &list[300..]).await;
    let (_relay, url) = relay(&list[..1_400]).await;
    let address = brotr_core::RelayUrl::parse(&url, place.agent.dialer.guard()).expect("allowed");
    let pass =
        brotr::services::synchronizer::pass(&place.agent, &address, None, |_| ()).await.expect("the archive works");
    assert_eq!((pass.transferred, pass.stored, pass.known), (300, 300, 1_100), "{pass:?}");
    assert_eq!(seen(&place, address.as_str()).await, 1_400);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_without_reconciliation_is_paged() {
    let list = events::signed(600, FIRST);
    for says in [
        r#"["NEG-ERR","$","blocked: negentropy is disabled"]"#,
        r#"["NEG-ERR","$","error: too many records"]"#,
        r#"["NOTICE","ERROR: unknown cmd NEG-OPEN"]"#,
        r#"["NEG-MSG","$","62"]"#,
        r#"["NEG-MSG","$","61zz"]"#,
        r#"["NEG-MSG","$","6100000203ffffff"]"#,
        r#"["CLOSED","$","what?"]"#,
        "",
    ] {
        let place = place().await;
        archive(&place, &list).await;
        let negentropy = if says.is_empty() { Negentropy::Ignores } else { Negentropy::Says(says) };
        let relay = ScriptedRelay::start(Script { negentropy, ..Script::honest(list.clone()) }).await.expect("started");
        let (pass, took) = place.pass(&relay).await;
        assert!(pass.error.is_none() && pass.known >= 600 && pass.gaps == 0, "{says}: {pass:?}");
        assert!(took.as_secs() < 8, "{says}: {took:?}");
        let report = place.coverage(&relay).await.expect("a report");
        assert!(report.covered.iter().all(|covered| covered.method == Method::Paged), "{says}: {report:?}");
        let asked = relay.counts.comparisons.load(Ordering::Relaxed);
        assert!((1..60).contains(&asked), "{says}: asked {asked} times");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_that_disconnects_during_reconciliation_is_paged_next_time() {
    let list = events::signed(600, FIRST);
    let place = place().await;
    archive(&place, &list).await;
    let script = Script { negentropy: Negentropy::HangsUp, ..Script::honest(list) };
    let relay = ScriptedRelay::start(script).await.expect("started");
    let (pass, _) = place.pass(&relay).await;
    assert!(pass.error.is_some_and(|error| error.contains("disconnected")), "it may be that it broke because we asked");
    let (pass, _) = place.pass(&relay).await;
    assert!(pass.error.is_none() && pass.gaps == 0 && pass.known >= 600, "{pass:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dense_second_is_reconciled_or_requested_by_kind() {
    let author = nostr::Keys::generate();
    let mut list = events::signed(30, FIRST + 100);
    // Three kinds, none of which fills a page.
    list.extend(
        (0..900).map(|i| events::at(&author, nostr::Kind::from([1, 7, 1_111][i % 3]), FIRST + 50, &i.to_string())),
    );
    list.extend(events::signed(30, FIRST));
    for negentropy in [Negentropy::Speaks { withholds: 0 }, Negentropy::Ignores] {
        let place = place().await;
        let compares = negentropy != Negentropy::Ignores;
        let relay = ScriptedRelay::start(Script { negentropy, ..Script::honest(list.clone()) }).await.expect("started");
        let (pass, _) = place.pass(&relay).await;
        assert_eq!((pass.stored, &pass.error), (960, &None), "{compares}: {pass:?}");
        assert_eq!(seen(&place, place.address(&relay).as_str()).await, 960);
        let report = place.coverage(&relay).await.expect("a report");
        let gaps: Vec<_> = report.gaps.iter().map(|gap| (gap.interval.since as u64, gap.reason, gap.count)).collect();
        // What was asked for by kind may not be all of it, and is not claimed to be.
        let wanted = (!compares).then_some((FIRST + 50, GapReason::DenseSecond, Some(900)));
        assert_eq!(gaps, wanted.into_iter().collect::<Vec<_>>());
        assert_eq!(pass.gaps, u64::from(!compares), "{pass:?}");
    }
}
