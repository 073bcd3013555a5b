//! Relays and their checks.

use super::*;

pub(super) async fn relays_are_added_once_and_listed_in_pages(archive: Arc<dyn Archive>, _: String) {
    let list: Vec<_> = (0..25).map(|i| (format!("wss://r{i:02}.example/"), Network::Clearnet)).collect();
    assert_eq!(archive.add_relays(&list, 9).await.expect("added"), 25);
    assert_eq!(archive.add_relays(&list, 10).await.expect("added"), 0);
    archive.add_relays(&[("ws://x.onion/".into(), Network::Tor)], 9).await.expect("added");
    let clear = RelayQuery { networks: vec![Network::Clearnet], limit: 20, ..RelayQuery::default() };
    let page = archive.relays(&clear).await.expect("listed");
    assert_eq!((page.len(), page[0].discovered_at, page[0].state), (20, 9, RelayState::New));
    let rest = RelayQuery { after: Some(page[19].url.clone()), ..clear.clone() };
    assert_eq!(archive.relays(&rest).await.expect("listed").len(), 5);
    let tor = RelayQuery { networks: vec![Network::Tor], ..clear.clone() };
    assert_eq!(archive.relays(&tor).await.expect("listed").len(), 1);
    let fresh = RelayQuery { check_due: Some(8), ..clear.clone() };
    assert!(
        archive.relays(&fresh).await.expect("listed").is_empty(),
        "due when they were found, not before all others"
    );
    archive.set_sync_due(&list[3].0, 100).await.expect("set");
    let due = RelayQuery { sync_due: Some(99), limit: 100, ..clear };
    assert_eq!(archive.relays(&due).await.expect("listed").len(), 24);
    // Those that wait longest come first, wherever their names sort.
    for (i, (url, _)) in list.iter().enumerate() {
        archive.set_sync_due(url, 50 - i as i64).await.expect("set");
    }
    let due = RelayQuery { limit: 2, ..due };
    let first: Vec<_> = archive.relays(&due).await.expect("listed").into_iter().map(|r| r.url).collect();
    assert_eq!(first, [list[24].0.clone(), list[23].0.clone()]);
}

pub(super) async fn checks_are_kept_by_content(archive: Arc<dyn Archive>, _: String) {
    for (at, up) in [(10, false), (20, false), (30, true)] {
        let check = CheckRecord {
            at,
            state: if up { RelayState::Up } else { RelayState::Down },
            due_at: at + 5,
            nip11: up.then(|| "{\"name\": \"x\"}".to_owned()),
            nip66: format!("{{\"up\":{up}}}"),
            rtt_ms: [Some(at), None, Some(3)],
            dns_ttl: Some(300),
            aftermath: Aftermath::default(),
        };
        archive.record_check(RELAY, Network::Clearnet, &check).await.expect("kept");
        let relay = archive.relay(RELAY).await.expect("read").expect("there");
        let state = if up { (RelayState::Up, 0) } else { (RelayState::Down, at / 10) };
        assert_eq!((relay.state, relay.failures), state);
        assert_eq!(relay.checked_at, Some(at));
    }
    let documents = archive.documents(RELAY).await.expect("documents");
    let [nip11, nip66] = documents.as_slice() else { panic!("{documents:?}") };
    assert_eq!((nip11.data.as_str(), nip11.generated_at), ("{\"name\": \"x\"}", 30));
    assert_eq!((nip66.data.as_str(), nip66.rtt_ms), ("{\"up\":true}", [Some(30), None, Some(3)]));
    let due = RelayQuery { check_due: Some(34), limit: 9, ..RelayQuery::default() };
    assert!(archive.relays(&due).await.expect("listed").is_empty());
    let down = RelayQuery { states: vec![RelayState::New, RelayState::Down], limit: 9, ..RelayQuery::default() };
    assert!(archive.relays(&down).await.expect("listed").is_empty());
    let due = RelayQuery { states: vec![RelayState::Up], check_due: Some(35), ..due };
    assert_eq!(archive.relays(&due).await.expect("listed").len(), 1);
}

pub(super) async fn a_check_and_its_aftermath_are_kept_together(archive: Arc<dyn Archive>, url: String) {
    let aftermath = |id: u8, value: &str| Aftermath {
        outgoing: vec![Outgoing {
            event: nostr::EventId::from_byte_array([id; 32]),
            relay: "wss://own.example/".into(),
            body: "{}".into(),
            slot: Some(format!("30166:{RELAY}")),
            attempts: 0,
            rank: 0,
        }],
        states: vec![ServiceState { service: "monitor", kind: "at", key: RELAY.into(), value: value.into() }],
    };
    let check = |at: i64, state: RelayState, id: u8| CheckRecord {
        at,
        state,
        aftermath: aftermath(id, &at.to_string()),
        ..CheckRecord::default()
    };
    let seen = async |archive: &Arc<dyn Archive>| {
        let checked = archive.relay(RELAY).await.expect("read").expect("there").checked_at;
        let visits = archive.visits(RELAY, 0, 100).await.expect("read").len();
        let state = archive.state("monitor", "at", RELAY).await.expect("read");
        let waiting = archive.due_outgoing("wss://own.example/", Lane::Versions, 1_000, 9).await.expect("asked");
        (checked, visits, state, waiting.iter().map(|one| one.event.as_bytes()[0]).collect::<Vec<_>>())
    };
    archive.record_check(RELAY, Network::Clearnet, &check(10, RelayState::Up, 1)).await.expect("kept");
    let first = (Some(10), 1, Some("10".to_owned()), vec![1]);
    assert_eq!(seen(&archive).await, first);
    // What cannot be written whole is not written in part.
    shell(&url, "alter table outbox rename to away");
    archive
        .record_check(RELAY, Network::Clearnet, &check(20, RelayState::Down, 2))
        .await
        .expect_err("there is no outbox");
    archive.enqueue_with_state(&aftermath(3, "0"), 20).await.expect_err("there is no outbox");
    shell(&url, "alter table away rename to outbox");
    assert_eq!(seen(&archive).await, first);
    archive.enqueue_with_state(&aftermath(3, "0"), 20).await.expect("kept");
    assert_eq!(seen(&archive).await, (Some(10), 1, Some("0".to_owned()), vec![3]), "the newer version alone is sent");
}

pub(super) async fn the_documents_of_a_relay_are_told_apart_by_time(archive: Arc<dyn Archive>, _: String) {
    for (at, nip11) in [(10, Some("a")), (20, Some("a")), (30, None), (40, Some("b")), (50, Some("c")), (60, Some("b"))]
    {
        let nip11 = nip11.map(|name| format!("{{\"name\":\"{name}\"}}"));
        let check = CheckRecord { at, nip11, state: RelayState::Up, ..CheckRecord::default() };
        archive.record_check(RELAY, Network::Clearnet, &check).await.expect("kept");
    }
    let spans = archive.nip11_history(RELAY, 2).await.expect("read");
    let span = |since, until, name| DocumentSpan { since, until, data: format!("{{\"name\":\"{name}\"}}") };
    assert_eq!(spans, [span(40, 60, "b"), span(50, 50, "c")]);
    assert_eq!(archive.nip11_history(RELAY, 9).await.expect("read")[2], span(10, 20, "a"));
    assert!(archive.nip11_history("wss://other.example/", 9).await.expect("read").is_empty());
}

pub(super) async fn visits_are_stored_and_forgotten(archive: Arc<dyn Archive>, url: String) {
    let other = "wss://other.example/";
    for hour in 0..20 {
        let up = hour % 5 != 0;
        let check = CheckRecord {
            at: hour * 3_600,
            state: if up { RelayState::Up } else { RelayState::Down },
            // The document was seen early on, and not since.
            nip11: (hour == 2).then(|| "{}".to_owned()),
            nip66: if up { "{\"up\":true}" } else { "{\"up\":false,\"failure\":\"timeout_connect\"}" }.to_owned(),
            rtt_ms: [up.then_some(hour), None, None],
            ..CheckRecord::default()
        };
        for relay in [RELAY, other] {
            archive.record_check(relay, Network::Clearnet, &check).await.expect("kept");
        }
    }
    let visits = archive.visits(RELAY, 10 * 3_600, 100).await.expect("visits");
    assert_eq!((visits.len(), visits[0].at, visits[0].rtt_ms[0]), (10, 19 * 3_600, Some(19)));
    assert!(!visits.last().expect("ten").up, "the tenth hour");
    let failures = archive.failures(RELAY, 5 * 3_600, 2).await.expect("failures");
    let failure = |hour: i64| Failure { at: hour * 3_600, code: Some("timeout_connect".into()) };
    assert_eq!(failures, [failure(15), failure(10)]);
    let one = |sql: &str| shell(&url, &format!("{sql} where relay_url = '{RELAY}'"));
    assert_eq!(one("select checks, up from relay_uptime"), "20|16");
    assert_eq!(one("select count(*) from relay_changes"), "7");
    assert_eq!(one("select phase, measured, p50_ms, p90_ms from relay_rtt"), "open|16|9|18");
    assert_eq!(one("select count(*) from relay_metadata"), "21");
    assert_eq!(one("select count(*) from relay_metadata_latest"), "2");
    // Documents are kept once.
    assert_eq!(shell(&url, "select count(*) from nip66"), "2");
    let gone = archive.forget_visits(15 * 3_600).await.expect("forgotten");
    assert_eq!(gone, 2 * 14, "all but the one that brought the document");
    assert_eq!(archive.visits(RELAY, 0, 100).await.expect("visits").len(), 6);
    assert_eq!(archive.forget_visits(i64::MAX).await.expect("forgotten"), 2 * 4);
    assert_eq!(archive.documents(RELAY).await.expect("documents").len(), 2, "the newest of each stay");
}

pub(super) async fn uptime_is_a_share_of_time(archive: Arc<dyn Archive>, url: String) {
    let now = now();
    let (hour, day) = (3_600, 86_400);
    // Ages of checks, and what they found. A relay that is down is checked less and less often.
    type Checks<'a> = &'a [(i64, bool)];
    let table: [(&str, Checks, f64); 7] = [
        ("flaky", &[(day, true), (day - 780, false), (18 * hour, false), (6 * hour, false)], 780.0 / 86_400.0),
        ("steady", &[(3 * hour, true), (2 * hour, true), (hour, true)], 1.0),
        ("once", &[(30, false)], 0.0),
        ("just now", &[(0, true)], 1.0),
        ("in the future", &[(-hour, true)], 1.0),
        // The agent was off for most of a month: eight days of it count as what was found before.
        ("left alone", &[(40 * day, true), (2 * day, false)], 0.8),
        ("long ago", &[(60 * day, false), (52 * day, true)], 0.5),
    ];
    for (name, checks, _) in table {
        let relay = format!("wss://{}.example/", name.replace(' ', "-"));
        for (age, up) in checks {
            let state = if *up { RelayState::Up } else { RelayState::Down };
            let check = CheckRecord { at: now - age, state, ..CheckRecord::default() };
            archive.record_check(&relay, Network::Clearnet, &check).await.expect("kept");
        }
    }
    for (name, checks, wanted) in table {
        let relay = format!("wss://{}.example/", name.replace(' ', "-"));
        let row = shell(&url, &format!("select checks, uptime from relay_uptime where relay_url = '{relay}'"));
        let (n, uptime) = row.split_once('|').expect("two columns");
        let uptime: f64 = uptime.parse().expect("a number");
        assert!(n == checks.len().to_string() && (uptime - wanted).abs() < 0.001, "{name}: {row}, wanted {wanted}");
    }
}

pub(super) async fn values_with_nul_match_nothing(archive: Arc<dyn Archive>, _: String) {
    let relays: Vec<_> = ["a", "b", "c"].map(|name| (format!("wss://{name}.example/"), Network::Clearnet)).into();
    archive.add_relays(&relays, 1).await.expect("added");
    let listed = async |query: RelayQuery| {
        let relays = archive.relays(&RelayQuery { limit: 9, ..query }).await.expect("listed");
        relays.into_iter().map(|relay| relay.url).collect::<Vec<_>>()
    };
    assert!(listed(RelayQuery { contains: "example/\0".into(), ..RelayQuery::default() }).await.is_empty());
    let after = |text: &str| RelayQuery { after: Some(text.into()), ..RelayQuery::default() };
    assert_eq!(listed(after("wss://b.example/\0")).await, ["wss://c.example/"]);
    assert_eq!(listed(after("wss://b\0")).await, ["wss://b.example/", "wss://c.example/"]);
    assert_eq!(archive.relay("wss://a.example/\0").await.expect("asked"), None);
    assert!(archive.coverage(Some("\0")).await.expect("asked").is_empty());
    assert_eq!(archive.count(&[Filter::new()], View::All, &["\0".to_owned()]).await.expect("asked"), 0);
    let tagged = Filter::new().hashtag("\0").author(Keys::generate().public_key());
    assert!(archive.page(&tagged, View::All, None, 5).await.expect("asked").is_empty());
    // What relays say may hold it, and is kept all the same.
    let sent = outgoing(event("sent", vec![], 1).event().id, RELAY);
    archive.enqueue(std::slice::from_ref(&sent), 1).await.expect("queued");
    archive.delivered(&[(sent, Delivery::Refused("blocked: \0".into()))], 2).await.expect("kept");
    let deliveries = archive.deliveries().await.expect("read");
    assert!(deliveries[0].trouble.as_ref().is_some_and(|trouble| trouble.starts_with("blocked: ")), "{deliveries:?}");
}
