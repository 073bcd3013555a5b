//! What is learned of a relay and used the next time: how much it gives at a time, what it forgot, what came late.

use brotr_core::{Covered, Interval, Method};
use brotr_storage::{Batch, DocumentType, View};
use brotr_tests::{Fault, Hints, Negentropy, Script, ScriptedRelay, events};
use nostr::Filter;

use super::faults::{Place, place, place_with};
use super::program::next_second;

const FIRST: u64 = 1_600_000_000;

async fn cap(place: &Place, relay: &ScriptedRelay) -> Option<usize> {
    let address = place.address(relay);
    let kept = place.agent.archive.state("synchronizer", "cap", address.as_str()).await.expect("read");
    kept.map(|kept| kept.split(' ').next().expect("a number").parse().expect("a number"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_cap_is_learned() {
    let place = place().await;
    let script = Script { cap: 130, ..Script::honest(events::signed(1_000, FIRST)) };
    let relay = ScriptedRelay::start(script).await.expect("started");
    let (pass, _) = place.pass(&relay).await;
    assert_eq!((pass.stored, pass.gaps, &pass.error), (1_000, 0, &None), "{pass:?}");
    assert_eq!(cap(&place, &relay).await, Some(130));
}

/// What is known of a relay's hints.
async fn hints(place: &Place, relay: &ScriptedRelay) -> Option<String> {
    place.agent.archive.state("synchronizer", "hints", place.address(relay).as_str()).await.expect("read")
}

/// A filter of its own for each kind: each is walked through by itself.
const BY_KIND: &str = "synchronizer: {filters: [{kinds: [1]}, {kinds: [6]}, {kinds: [7]}, {kinds: [30023]}]}";

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_whose_word_was_true_is_asked_less() {
    let list = events::signed(400, FIRST);
    let script = Script { hints: Hints::True, ..Script::honest(list) };
    let mut requests = Vec::new();
    for known in [None, Some("confirmed 3 400")] {
        let place = place_with(BY_KIND).await;
        let relay = ScriptedRelay::start(script.clone()).await.expect("started");
        if let Some(known) = known {
            let url = place.address(&relay).as_str().to_owned();
            place.agent.archive.set_state("synchronizer", "hints", &url, known).await.expect("written");
        }
        let (pass, _) = place.pass(&relay).await;
        assert_eq!((pass.stored, pass.gaps, &pass.error), (400, 0, &None), "{pass:?}");
        let seen = known.unwrap_or("confirmed 1 100");
        assert_eq!(hints(&place, &relay).await.as_deref(), Some(seen), "each visit counts once");
        requests.push(pass.requests);
    }
    // Four closing requests, and the one that finds out about bounds. One walk in eight is checked all the same.
    assert!(requests[0] >= 8 && requests[1] < requests[0], "{requests:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_word_takes_back_what_it_stood_for() {
    let place = place_with("synchronizer: {filters: [{kinds: [1]}]}").await;
    let script = Script { hints: Hints::Finish, cap: 50, ..Script::honest(events::signed(400, FIRST)) };
    let relay = ScriptedRelay::start(script).await.expect("started");
    let address = place.address(&relay);
    // Earlier its word was taken for another filter.
    let claim = |since, until, method| Covered {
        interval: Interval::new(since, until).expect("in order"),
        method,
        proven_at: 1,
    };
    let earlier = Batch {
        relay: Some((address.as_str().to_owned(), address.network())),
        filter: "{\"kinds\":[7]}".into(),
        covered: vec![claim(0, 99, Method::Hinted), claim(100, 200, Method::Paged)],
        ..Batch::default()
    };
    place.agent.archive.store(earlier).await.expect("stored");
    let (pass, _) = place.pass(&relay).await;
    assert_eq!((pass.stored, pass.gaps, &pass.error), (100, 0, &None), "{pass:?}");
    assert!(hints(&place, &relay).await.is_some_and(|seen| seen.starts_with("refuted ")));
    let reports = place.agent.archive.coverage(Some(address.as_str())).await.expect("read");
    let left = reports.iter().find(|report| report.filter.contains("[7]")).expect("a report");
    assert_eq!(left.covered, [claim(100, 200, Method::Paged)]);
    assert!(reports.iter().flat_map(|report| &report.covered).all(|claim| claim.method == Method::Paged));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_that_disconnects_after_some_bytes_is_read_in_smaller_pages() {
    let place = place().await;
    let list = events::signed(300, FIRST);
    let one = serde_json::to_string(&list[0]).expect("JSON").len();
    let relay = ScriptedRelay::start(Script::wrong(list, Fault::Throttle(one * 60))).await.expect("started");
    let (pass, _) = place.pass(&relay).await;
    assert_eq!((pass.stored, pass.gaps, &pass.error), (300, 0, &None), "{pass:?}");
    assert!(cap(&place, &relay).await.is_some_and(|cap| (10..60).contains(&cap)));
    let before = relay.counts.connections.load(std::sync::atomic::Ordering::Relaxed);
    assert!((3..=5).contains(&before), "it was asked for less after the second page that broke off: {before}");
    assert_eq!(place.agent.archive.count(&[Filter::new()], View::All, &[]).await.expect("counted"), 300);
    assert!(place.coverage(&relay).await.expect("a report").gaps.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dense_second_is_requested_with_the_limit_the_relay_announces() {
    let author = nostr::Keys::generate();
    let mut list = events::signed(30, FIRST + 100);
    list.extend((0..900).map(|i| events::at(&author, nostr::Kind::TextNote, FIRST + 50, &i.to_string())));
    list.extend(events::signed(30, FIRST));
    // The document says 2,000; of two relays one gives as many.
    for (cap, complete) in [(2_000, true), (500, false)] {
        let place = place().await;
        let nip11 = Some(r#"{"limitation": {"max_limit": 2000}}"#.to_owned());
        let relay = ScriptedRelay::start(Script { cap, nip11, ..Script::honest(list.clone()) }).await.expect("started");
        let (info, _) = brotr_net::info::fetch(&place.agent.dialer, &place.address(&relay)).await.expect("fetched");
        let record = brotr_storage::CheckRecord { nip11: Some(info.text), nip66: "{}".into(), ..Default::default() };
        let address = place.address(&relay);
        place.agent.archive.record_check(address.as_str(), address.network(), &record).await.expect("kept");
        let documents = place.agent.archive.documents(address.as_str()).await.expect("read");
        assert!(documents.iter().any(|document| document.kind == DocumentType::Nip11));
        let (pass, _) = place.pass(&relay).await;
        assert_eq!(pass.error, None, "{pass:?}");
        let report = place.coverage(&relay).await.expect("a report");
        assert_eq!(report.gaps.is_empty(), complete, "{report:?}");
        assert_eq!(pass.gaps, u64::from(!complete), "{pass:?}");
        assert_eq!(pass.stored, if complete { 960 } else { 560 }, "{pass:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn reconciliation_finds_lost_and_late_events() {
    let place = place_with("synchronizer: {recheck: 1s}").await;
    let list = events::signed(800, FIRST);
    let script = Script { negentropy: Negentropy::Speaks { withholds: 0 }, ..Script::honest(list[..700].to_vec()) };
    let relay = ScriptedRelay::start(script).await.expect("started");
    let (pass, _) = place.pass(&relay).await;
    assert_eq!((pass.stored, pass.gaps, &pass.error), (700, 0, &None), "{pass:?}");
    // It forgets fifty, and takes in a hundred long after their date.
    relay.replace(list[50..].to_vec());
    next_second().await;
    let (pass, _) = place.pass(&relay).await;
    assert_eq!((pass.transferred, pass.stored, &pass.error), (100, 100, &None), "{pass:?}");
    let address = place.address(&relay).as_str().to_owned();
    let holders = place.agent.archive.holders(&[list[0].id, list[60].id, list[750].id]).await.expect("holders");
    assert!(!holders.contains_key(&list[0].id), "{holders:?}");
    assert_eq!((&holders[&list[60].id], &holders[&list[750].id]), (&vec![address.clone()], &vec![address.clone()]));
    assert_eq!(place.agent.archive.count(&[Filter::new()], View::All, &[]).await.expect("counted"), 800);
    assert_eq!(place.agent.archive.count(&[Filter::new()], View::All, &[address]).await.expect("counted"), 750);
}
