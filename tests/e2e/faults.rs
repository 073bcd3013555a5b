//! Relays that misbehave: each costs bounded time and memory, none is taken for what it is not, and coverage never
//! claims what was not proven.

use std::time::{Duration, Instant};

use brotr::agent::Agent;
use brotr::config::{Check, Config};
use brotr::services::monitor::{Plan, WriteTest, check};
use brotr::services::synchronizer::{self, Pass};
use brotr_core::{GapReason, RelayUrl};
use brotr_net::{Purpose, info};
use brotr_storage::{CoverageReport, RelayQuery, View};
use brotr_tests::{Fault, Script, ScriptedRelay, events};
use futures::StreamExt;
use nostr::Filter;

pub(crate) struct Place {
    _dir: tempfile::TempDir,
    pub(crate) agent: Agent,
}

pub(crate) async fn place() -> Place {
    place_with("").await
}

/// A place with more in its configuration.
pub(crate) async fn place_with(more: &str) -> Place {
    let network = "{allow: [127.0.0.0/8], clearnet: {connect_timeout: 1s, request_timeout: 1s}}";
    place_on(network, more).await
}

/// A place with this network, and more in its configuration.
pub(crate) async fn place_on(network: &str, more: &str) -> Place {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("brotr.yaml");
    let text = format!("version: 1\nnetwork: {network}\nstorage: {{min_free: 1 MiB}}\n{more}\n");
    std::fs::write(&file, text).expect("written");
    let agent = Agent::open(Config::load(Some(&file), None).expect("right")).await.expect("opened");
    Place { _dir: dir, agent }
}

impl Place {
    pub(crate) fn address(&self, relay: &ScriptedRelay) -> RelayUrl {
        RelayUrl::parse(&relay.url, self.agent.dialer.guard()).expect("allowed")
    }

    pub(crate) async fn pass(&self, relay: &ScriptedRelay) -> (Pass, Duration) {
        let began = Instant::now();
        let pass =
            synchronizer::pass(&self.agent, &self.address(relay), None, |_| ()).await.expect("the archive works");
        (pass, began.elapsed())
    }

    pub(crate) async fn coverage(&self, relay: &ScriptedRelay) -> Option<CoverageReport> {
        let mut reports = self.agent.archive.coverage(Some(self.address(relay).as_str())).await.expect("read");
        assert!(reports.len() <= 1);
        reports.pop()
    }

    async fn archived(&self) -> u64 {
        self.agent.archive.count(&[Filter::new()], View::All, &[]).await.expect("counted")
    }
}

/// The longest that a pass or a check may take. With timeouts of 1 s an idle machine needs a few seconds; what is meant is that
/// no fault holds a pass without end.
const BOUND: Duration = Duration::from_secs(30);

/// What is to be seen of a fault.
struct Verdict {
    fault: Fault,
    /// Whether a check may call it up.
    up: bool,
    /// Events that a pass may still take from it, of 40.
    archived: u64,
    /// The gap that is left, if it came that far.
    gap: Option<GapReason>,
    /// A part of the error that the pass ends with.
    error: &'static str,
    /// Whether the span of the events is proven for all that.
    proven: bool,
}

/// Faults of the list in `docs/DEVELOPMENT.md`.
fn table() -> Vec<Verdict> {
    let v = |fault, up, archived, gap, error| Verdict { fault, up, archived, gap, error, proven: false };
    let proven = |fault, archived| Verdict { fault, up: true, archived, gap: None, error: "", proven: true };
    // What lies below the page is proven, and the page is a gap.
    let part = |fault, archived, gap| Verdict { fault, up: true, archived, gap: Some(gap), error: "", proven: false };
    let mut table = vec![
        v(Fault::TarPit, false, 0, None, "no connection within 1s"),
        v(Fault::WrongUpgrade(200), false, 0, None, "HTTP 200"),
        v(Fault::WrongUpgrade(403), false, 0, None, "HTTP 403"),
        v(Fault::WrongUpgrade(429), false, 0, None, "HTTP 429"),
        v(Fault::WrongUpgrade(530), false, 0, None, "HTTP 530"),
        v(Fault::Mute, false, 0, Some(GapReason::Timeout), "no answer in time"),
        v(Fault::Babble, false, 0, Some(GapReason::Timeout), "no answer in time"),
        v(Fault::HalfOpen(7), false, 7, Some(GapReason::Timeout), "no answer in time"),
        v(Fault::Trickle, true, 0, Some(GapReason::Notice), "NOTICE: patience"),
        v(Fault::ReconnectBan(0), false, 0, Some(GapReason::Disconnect), "disconnected"),
        v(Fault::Huge, false, 0, Some(GapReason::Disconnect), "disconnected"),
        v(Fault::Fragments, false, 0, Some(GapReason::Disconnect), "disconnected"),
        v(Fault::NoEose, false, 40, Some(GapReason::Timeout), "no answer in time"),
        v(Fault::EoseFirst, true, 40, Some(GapReason::LateEvents), "events after EOSE"),
        v(Fault::Closed(String::new()), true, 20, Some(GapReason::Closed), "CLOSED"),
        v(Fault::Closed("auth-required: who are you?".into()), true, 20, Some(GapReason::Closed), "auth-required"),
        v(Fault::NoticeOnly, true, 0, Some(GapReason::Notice), "too many concurrent REQs"),
        v(Fault::Drop(9), true, 9, Some(GapReason::Disconnect), "disconnected"),
        part(Fault::OldestFirst, 40, GapReason::Disorder),
        v(Fault::BadSignatures, true, 0, Some(GapReason::InvalidEvents), "invalid events"),
        v(Fault::Scrape(20), true, 0, Some(GapReason::Closed), "scraping is not allowed"),
        v(Fault::Endless, true, 40, Some(GapReason::Overflow), "far more than is asked for"),
        part(Fault::Shuffled, 40, GapReason::Disorder),
        proven(Fault::Repeats(9), 40),
        v(Fault::Also(warped()), true, 40, Some(GapReason::FilterIgnored), "filter ignored"),
        v(Fault::NotText, false, 40, Some(GapReason::Disconnect), "disconnected"),
        proven(Fault::Challenges(10_000), 40),
    ];
    // So few at a time that the page does not look full.
    table.extend(malformed().chunks(6).map(|some| proven(Fault::Also(some.to_vec()), 40)));
    table
}

/// What is no event, in every way that was met in the wild.
fn malformed() -> Vec<String> {
    let good = serde_json::to_value(&events::signed(1, 1_600_000_000)[0]).expect("JSON");
    let with = |field: &str, value: serde_json::Value| {
        let mut bad = good.clone();
        bad[field] = value;
        bad.to_string()
    };
    let text = good.to_string();
    vec![
        "null".into(),
        "{}".into(),
        "[".repeat(2_000) + &"]".repeat(2_000),
        // The contents are not what the id says, or the signature is another's.
        with("content", "forged".into()),
        with("sig", "0".repeat(128).into()),
        with("id", "f".repeat(64).into()),
        with("pubkey", "0".repeat(64).into()),
        with("created_at", (-1).into()),
        with("created_at", 1.6e9.into()),
        with("created_at", u64::MAX.into()),
        with("created_at", "1600000000".into()),
        with("kind", 65_536.into()),
        with("tags", serde_json::json!([["e", 1], null])),
        with("tags", serde_json::json!(vec![["t", "x"]; 20_000])),
        with("content", serde_json::Value::Null),
        text.replacen('{', r#"{"kind":2,"#, 1),
        text.replacen(r#""content":""#, r#""content":"\ud800"#, 1),
        text.replacen(r#""content":""#, r#""content":"\u0000"#, 1),
    ]
}

/// Sound events of other times than were asked for.
fn warped() -> Vec<String> {
    let author = nostr::Keys::generate();
    let next_year = nostr::Timestamp::now().as_secs() + 366 * 86_400;
    [next_year, 1 << 33, i64::MAX as u64]
        .map(|at| serde_json::to_string(&events::at(&author, nostr::Kind::TextNote, at, "")).expect("JSON"))
        .into()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_fault_gets_its_verdict_in_bounded_time() {
    futures::stream::iter(table()).for_each_concurrent(6, judge).await;
}

async fn judge(Verdict { fault, up, archived, gap, error, proven }: Verdict) {
    let place = place().await;
    let relay =
        ScriptedRelay::start(Script::wrong(events::signed(40, 1_600_000_000), fault.clone())).await.expect("started");
    let (pass, took) = place.pass(&relay).await;
    let said = pass.error.clone().unwrap_or_default();
    assert!(said.contains(error), "{fault:?}: {pass:?}");
    // A few tries, none longer than ten request timeouts of a second each.
    assert!(took < BOUND, "{fault:?} took {took:?}");
    assert_eq!(place.archived().await, archived, "{fault:?}: {pass:?}");
    let report = place.coverage(&relay).await;
    let gaps: Vec<_> = report.iter().flat_map(|r| &r.gaps).map(|g| g.reason).collect();
    assert_eq!(gaps, gap.into_iter().collect::<Vec<_>>(), "{fault:?}");
    let claims =
        |at: i64| report.iter().flat_map(|r| &r.covered).any(|c| c.interval.since <= at && at <= c.interval.until);
    let in_part = gap == Some(GapReason::Disorder);
    assert_eq!(report.iter().any(|r| !r.covered.is_empty()), proven || in_part, "{fault:?}: {report:?}");
    assert_eq!((1_600_000_000..1_600_000_040).all(claims), proven, "{fault:?}: {report:?}");

    if fault == Fault::ReconnectBan(0) {
        tokio::time::sleep(Duration::from_secs(2)).await;
    }
    let wanted = [Check::Open, Check::Read];
    let began = Instant::now();
    let health = check(&place.agent.dialer, &place.address(&relay), &Plan::new(&wanted, WriteTest::Skip)).await;
    assert!(began.elapsed() < BOUND, "{fault:?}");
    assert_eq!(health.up, up, "{fault:?}: {health:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_window_that_is_ignored_proves_nothing() {
    let place = place().await;
    let relay = ScriptedRelay::start(Script::wrong(events::signed(700, 1_600_000_000), Fault::IgnoresWindow))
        .await
        .expect("started");
    let (pass, _) = place.pass(&relay).await;
    assert_eq!(pass.error.as_deref(), Some("filter ignored"), "{pass:?}");
    let report = place.coverage(&relay).await.expect("a report");
    assert_eq!(report.gaps[0].reason, GapReason::FilterIgnored);
    assert_eq!(report.gaps[0].interval.since, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_if_a_relay_excludes_the_bounds() {
    let place = place().await;
    let author = nostr::Keys::generate();
    // Seven events a second: a page of 500 ends in the middle of one.
    let list: Vec<_> = (0..2_100_u64)
        .map(|i| events::at(&author, nostr::Kind::TextNote, 1_600_000_000 + i / 7, &i.to_string()))
        .collect();
    for fault in [Fault::ExclusiveWindow, Fault::None] {
        let relay = ScriptedRelay::start(Script::wrong(list.clone(), fault.clone())).await.expect("started");
        let (pass, _) = place.pass(&relay).await;
        assert_eq!((pass.gaps, &pass.error), (0, &None), "{fault:?}: {pass:?}");
        let address = place.address(&relay).as_str().to_owned();
        assert_eq!(
            place.agent.archive.count(&[Filter::new()], View::All, &[address]).await.expect("counted"),
            2_100,
            "{fault:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ban_for_reconnecting_is_waited_out() {
    let place = place().await;
    let relay = ScriptedRelay::start(Script::wrong(events::signed(2_000, 1_600_000_000), Fault::ReconnectBan(3)))
        .await
        .expect("started");
    let (pass, _) = place.pass(&relay).await;
    assert_eq!((pass.stored, pass.gaps, &pass.error), (2_000, 0, &None), "{pass:?}");
    // Three pages to a connection; a refused one is followed by a longer wait, and not by more of them.
    let connections = relay.counts.connections.load(std::sync::atomic::Ordering::Relaxed);
    assert!((2..=5).contains(&connections), "{connections} connections");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_with_more_events_than_a_page_is_a_gap() {
    let place = place().await;
    let author = nostr::Keys::generate();
    let mut list = events::signed(30, 1_600_000_100);
    list.extend((0..900).map(|i| events::at(&author, nostr::Kind::TextNote, 1_600_000_050, &i.to_string())));
    list.extend(events::signed(30, 1_600_000_000));
    let relay = ScriptedRelay::start(Script::honest(list)).await.expect("started");
    let (pass, _) = place.pass(&relay).await;
    assert_eq!((pass.stored, pass.gaps, &pass.error), (560, 1, &None), "{pass:?}");
    let report = place.coverage(&relay).await.expect("a report");
    assert_eq!((report.gaps[0].interval.since, report.gaps[0].interval.until), (1_600_000_050, 1_600_000_050));
    assert_eq!((report.gaps[0].reason, report.gaps[0].count), (GapReason::DenseSecond, Some(500)));
    assert_eq!(report.covered.len(), 2, "everything else is proven");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_bad_relay_delays_no_other() {
    let place = place().await;
    let mut bad = Vec::new();
    for fault in [Fault::TarPit, Fault::Trickle, Fault::Fragments, Fault::Mute] {
        bad.push(ScriptedRelay::start(Script::wrong(vec![], fault)).await.expect("started"));
    }
    let list = events::signed(1_200, 1_600_000_000);
    let alone = ScriptedRelay::start(Script::honest(list.clone())).await.expect("started");
    let (_, unloaded) = self::place().await.pass(&alone).await;
    let good = ScriptedRelay::start(Script::honest(list)).await.expect("started");
    let others = futures::future::join_all(bad.iter().map(|relay| place.pass(relay)));
    let ((pass, took), others) = tokio::join!(place.pass(&good), others);
    assert_eq!((pass.stored, pass.gaps, pass.error), (1_200, 0, None));
    // They share one machine, and a second is the shortest timeout that it could have waited for.
    assert!(took < unloaded * 5 + Duration::from_millis(900), "{took:?}, alone {unloaded:?}");
    assert!(others.iter().all(|(_, took)| *took < BOUND), "{others:?}");
    let (pass, _) = place.pass(&good).await;
    assert_eq!(pass.transferred, 0, "what is proven is not asked for again");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endless_document_is_cut_off() {
    let place = place().await;
    let relay = ScriptedRelay::start(Script::wrong(vec![], Fault::Nip11Bomb)).await.expect("started");
    let error = info::fetch(&place.agent.dialer, &place.address(&relay)).await.expect_err("too large");
    assert!(error.to_string().contains("larger than"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_resolves_to_a_private_address_is_not_dialed() {
    let place = place().await;
    let relay = ScriptedRelay::start(Script::honest(vec![])).await.expect("started");
    let port = place.address(&relay).port();
    // Under the default guard `localhost` is refused by name; with another range allowed, by what it resolves to.
    let text = "version: 1\nnetwork: {allow: [10.0.0.0/8]}\n";
    let config = Config::parse(text, "test", std::iter::empty()).expect("right");
    let dialer = brotr::agent::dialer(&config, &place.agent.signer).expect("a dialer");
    let address = RelayUrl::parse(&format!("ws://localhost:{port}"), dialer.guard()).expect("resolved later");
    let error = dialer.dial(&address, Purpose::Visit).await.err().expect("refused").to_string();
    assert!(error.contains("resolves to") && error.contains("private address"), "{error}");
    let error =
        brotr_net::http::get(&dialer, &format!("http://localhost:{port}/"), "*/*", 10).await.expect_err("refused");
    assert!(error.to_string().contains("private address"), "{error}");
    assert_eq!(relay.counts.connections.load(std::sync::atomic::Ordering::Relaxed), 0, "nobody knocked");
}

#[tokio::test(flavor = "multi_thread")]
async fn auth_is_answered_where_configured() {
    let script = Script { auth: true, ..Script::honest(events::signed(700, 1_600_000_000)) };
    let relay = ScriptedRelay::start(script).await.expect("started");
    let place = place().await;
    let (pass, _) = place.pass(&relay).await;
    assert!(pass.error.as_ref().is_some_and(|error| error.contains("auth-required")), "{pass:?}");
    assert_eq!(place.archived().await, 0);
    // By an override for this host and no other.
    let place = place_with("synchronizer: {overrides: [{relay: \"127.*\", auth: true, page_size: 100}]}").await;
    let (pass, _) = place.pass(&relay).await;
    assert_eq!((pass.stored, pass.gaps, &pass.error), (700, 0, &None), "{pass:?}");
    assert!(pass.requests >= 8, "pages of 100: {pass:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_backoff_of_a_failing_relay_grows() {
    let place = place().await;
    let refusal = Fault::Closed("restricted: members only".into());
    for (fault, first) in [(Fault::Mute, 900), (refusal, 3_600)] {
        let relay = ScriptedRelay::start(Script::wrong(vec![], fault.clone())).await.expect("started");
        let address = place.address(&relay).as_str().to_owned();
        for wanted in [first, first * 2, first * 4] {
            place.pass(&relay).await;
            let due = async |after: i64| {
                let query =
                    RelayQuery { sync_due: Some(brotr::agent::now() + after), limit: 1_000, ..RelayQuery::default() };
                place.agent.archive.relays(&query).await.expect("asked").iter().any(|relay| relay.url == address)
            };
            assert!(!due(wanted * 85 / 100).await && due(wanted * 115 / 100).await, "{fault:?}: {wanted} s");
        }
    }
}
