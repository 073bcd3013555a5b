//! Relays, coverage, jobs and the outbox.

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
}

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
        archive.record_check((RELAY, Network::Clearnet), &check).await.expect("kept");
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
    let relay = (RELAY, Network::Clearnet);
    archive.record_check(relay, &check(10, RelayState::Up, 1)).await.expect("kept");
    let first = (Some(10), 1, Some("10".to_owned()), vec![1]);
    assert_eq!(seen(&archive).await, first);
    // What cannot be written whole is not written in part.
    shell(&url, "alter table outbox rename to away");
    archive.record_check(relay, &check(20, RelayState::Down, 2)).await.expect_err("there is no outbox");
    archive.enqueue_with_state(&aftermath(3, "0"), 20).await.expect_err("there is no outbox");
    shell(&url, "alter table away rename to outbox");
    assert_eq!(seen(&archive).await, first);
    archive.enqueue_with_state(&aftermath(3, "0"), 20).await.expect("kept");
    assert_eq!(seen(&archive).await, (Some(10), 1, Some("0".to_owned()), vec![3]), "the newer version alone is sent");
}

pub(super) async fn a_history_is_kept_and_forgotten(archive: Arc<dyn Archive>, url: String) {
    let other = "wss://other.example/";
    for hour in 0..20 {
        let up = hour % 5 != 0;
        let check = CheckRecord {
            at: hour * 3_600,
            state: if up { RelayState::Up } else { RelayState::Down },
            // The document was seen early on, and not since.
            nip11: (hour == 2).then(|| "{}".to_owned()),
            nip66: format!("{{\"up\":{up}}}"),
            rtt_ms: [up.then_some(hour), None, None],
            ..CheckRecord::default()
        };
        for relay in [RELAY, other] {
            archive.record_check((relay, Network::Clearnet), &check).await.expect("kept");
        }
    }
    let visits = archive.visits(RELAY, 10 * 3_600, 100).await.expect("visits");
    assert_eq!((visits.len(), visits[0].at, visits[0].rtt_ms[0]), (10, 19 * 3_600, Some(19)));
    assert!(!visits.last().expect("ten").up, "the tenth hour");
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
            archive.record_check((&relay, Network::Clearnet), &check).await.expect("kept");
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

fn outgoing(id: nostr::EventId, relay: &str) -> Outgoing {
    Outgoing { event: id, relay: relay.into(), body: "{}".into(), slot: None, attempts: 0, rank: 0 }
}

pub(super) async fn a_job_is_taken_and_ended_once(archive: Arc<dyn Archive>, _: String) {
    let request = event("how many?", vec![], 1).into_event();
    let job = Job {
        id: request.id,
        kind: 5400,
        customer: request.pubkey,
        request: request.to_json(),
        received_at: 3,
        status: JobStatus::Received,
        waits_for: None,
        rank: 0,
    };
    assert!(archive.accept_job(&job).await.expect("kept"));
    assert!(!archive.accept_job(&job).await.expect("kept"), "the same request again");
    let takers: Vec<_> = futures::future::join_all((0..8).map(|_| archive.take_job(4))).await;
    let taken: Vec<Job> = takers.into_iter().filter_map(|taker| taker.expect("asked")).collect();
    assert_eq!(taken, [Job { status: JobStatus::Working, rank: 1_000, ..job.clone() }], "one of eight");
    assert_eq!(archive.put_back_jobs(3).await.expect("put back"), 0, "begun later");
    assert_eq!(archive.put_back_jobs(4).await.expect("put back"), 1);
    assert!(!archive.end_job(job.id, JobStatus::Answered, 4, &[]).await.expect("asked"), "not in work");
    archive.take_job(4).await.expect("asked").expect("there again");
    let answer = [outgoing(job.id, RELAY)];
    assert!(archive.end_job(job.id, JobStatus::Answered, 4, &answer).await.expect("ended"));
    assert!(!archive.end_job(job.id, JobStatus::Failed, 5, &answer).await.expect("asked"), "ended already");
    assert_eq!(archive.job(job.id).await.expect("read").expect("there").status, JobStatus::Answered);
    assert_eq!(archive.due_outgoing(RELAY, Lane::Answers, 4, 10).await.expect("due").len(), 1);
    assert_eq!(archive.take_job(4).await.expect("asked"), None);
}

pub(super) async fn jobs_are_shared_out_and_can_be_cancelled(archive: Arc<dyn Archive>, _: String) {
    let request = |n: usize, customer: &Keys| {
        let mut id = [0; 32];
        id[..8].copy_from_slice(&n.to_be_bytes());
        Job {
            id: nostr::EventId::from_byte_array(id),
            kind: 5400,
            customer: customer.public_key(),
            request: "{}".into(),
            received_at: n as i64,
            status: JobStatus::Received,
            waits_for: None,
            rank: 0,
        }
    };
    let (loud, quiet) = (Keys::generate(), Keys::generate());
    for n in 0..20 {
        archive.accept_job(&request(n, &loud)).await.expect("kept");
    }
    archive.accept_job(&request(99, &quiet)).await.expect("kept");
    assert_eq!(archive.standing(loud.public_key()).await.expect("counted").open, 20);
    let first = archive.take_job(4).await.expect("asked").expect("there");
    let second = archive.take_job(4).await.expect("asked").expect("there");
    assert_eq!((first.customer, second.customer), (loud.public_key(), quiet.public_key()), "each has a turn");
    // Only who asked may cancel, and only what has not ended.
    assert!(!archive.cancel_job(first.id, quiet.public_key(), 100).await.expect("asked"), "another's job");
    assert!(archive.cancel_job(first.id, loud.public_key(), 100).await.expect("cancelled"), "a job in work");
    assert!(
        archive.cancel_job(request(5, &loud).id, loud.public_key(), 100).await.expect("cancelled"),
        "one that waits"
    );
    assert!(!archive.end_job(first.id, JobStatus::Answered, 101, &[outgoing(first.id, RELAY)]).await.expect("asked"));
    assert!(archive.due_relays(200).await.expect("due").is_empty(), "no answer to what was cancelled");
    let answer = Outgoing { body: "the answer".into(), ..outgoing(second.id, RELAY) };
    assert!(archive.end_job(second.id, JobStatus::Answered, 101, &[answer]).await.expect("ended"));
    assert!(!archive.cancel_job(second.id, quiet.public_key(), 102).await.expect("asked"), "it has ended");
    assert_eq!(archive.job_answer(second.id).await.expect("read").as_deref(), Some("the answer"));
    assert_eq!(archive.job_answer(first.id).await.expect("read"), None);
    let listed = archive.jobs(None, 5).await.expect("listed");
    assert_eq!((listed.len(), listed[0].id), (5, request(99, &quiet).id), "newest first");
}

pub(super) async fn the_outbox_keeps_what_is_not_delivered(archive: Arc<dyn Archive>, _: String) {
    let ids: Vec<_> = (0..3).map(|i| event(&i.to_string(), vec![], 1).event().id).collect();
    let list: Vec<_> = ids.iter().map(|id| outgoing(*id, RELAY)).collect();
    archive.enqueue(&list, 10).await.expect("queued");
    archive.enqueue(&list, 11).await.expect("queued again, once");
    archive.delivered(&[(list[0].clone(), Delivery::Accepted)], 12).await.expect("kept");
    archive.delivered(&[(list[1].clone(), Delivery::Refused("blocked: no".into()))], 12).await.expect("kept");
    assert_eq!(archive.due_relays(12).await.expect("due"), [(RELAY.to_owned(), Lane::Answers)]);
    let later = Delivery::Delayed { reason: "timeout".into(), due_at: 50 };
    archive.delivered(&[(list[2].clone(), later.clone())], 12).await.expect("kept");
    assert!(archive.due_outgoing(RELAY, Lane::Answers, 49, 10).await.expect("due").is_empty());
    let due = archive.due_outgoing(RELAY, Lane::Answers, 50, 10).await.expect("due");
    assert_eq!(due, [Outgoing { attempts: 1, ..list[2].clone() }]);
    // What waits behind a delayed event waits with it; other relays do not.
    let behind = [
        outgoing(ids[0], "wss://slow.example/"),
        outgoing(ids[1], "wss://slow.example/"),
        outgoing(ids[2], "wss://quick.example/"),
    ];
    archive.enqueue(&behind, 60).await.expect("queued");
    let later = Delivery::Delayed { reason: "rate-limited: slow".into(), due_at: 90 };
    archive.delivered(&[(behind[0].clone(), later.clone())], 61).await.expect("kept");
    archive.delivered(&[(list[2].clone(), Delivery::Accepted)], 61).await.expect("kept");
    assert_eq!(archive.due_relays(89).await.expect("due"), [("wss://quick.example/".to_owned(), Lane::Answers)]);
    // A newer version takes the place of one that waits, and of nothing else.
    let version = |n: usize| Outgoing { slot: Some("30166:d".into()), ..outgoing(ids[n], "wss://r.example/") };
    archive.enqueue(&[version(0), outgoing(ids[2], "wss://r.example/")], 62).await.expect("queued");
    archive.enqueue(&[version(1)], 63).await.expect("queued");
    let waiting = async |lane| {
        let due = archive.due_outgoing("wss://r.example/", lane, 63, 9).await.expect("due");
        due.iter().map(|one| one.event).collect::<Vec<_>>()
    };
    assert_eq!((waiting(Lane::Answers).await, waiting(Lane::Versions).await), (vec![ids[2]], vec![ids[1]]));
    // What is done with is forgotten, what waits is not.
    assert_eq!(archive.prune(60).await.expect("pruned"), 3);
    assert_eq!(waiting(Lane::Answers).await.len() + waiting(Lane::Versions).await.len(), 2);
    let due = archive.due_relays(63).await.expect("due");
    assert!(due.contains(&("wss://r.example/".to_owned(), Lane::Versions)), "{due:?}");
    let slow = archive.due_outgoing("wss://slow.example/", Lane::Answers, 90, 10).await.expect("due");
    assert_eq!(slow.iter().map(|one| one.attempts).collect::<Vec<_>>(), [1, 0]);
    // One that the relay does not like holds up no other.
    let postponed = Delivery::Postponed { reason: "too long".into(), due_at: 900 };
    archive.delivered(&[(slow[0].clone(), postponed.clone())], 91).await.expect("kept");
    let rest = archive.due_outgoing("wss://slow.example/", Lane::Answers, 92, 10).await.expect("due");
    assert_eq!(rest.iter().map(|one| one.event).collect::<Vec<_>>(), [ids[1]]);
}

pub(super) async fn a_result_is_held_back_until_it_is_paid_for(archive: Arc<dyn Archive>, _: String) {
    let asks = |at: i64| {
        let request = event("sell me this", vec![], at).into_event();
        let (id, customer, request) = (request.id, request.pubkey, request.to_json());
        Job {
            id,
            kind: 5302,
            customer,
            request,
            received_at: at,
            status: JobStatus::Received,
            waits_for: None,
            rank: 0,
        }
    };
    let bill = |job: &Job, hash: &str, expires_at: i64| {
        let (hash, feedback) = (hash.to_owned(), event("pay", vec![], 1).into_event().id);
        let invoice = Invoice { hash, job: job.id, msat: 100, bolt11: "lnbc".into(), feedback, expires_at };
        Bill { price: 100, invoice }
    };
    let pays = |job: &Job, source: &str, msat: u64| Payment { source: source.into(), job: job.id, msat };
    let sent = async |job: &Job| {
        let due = archive.due_outgoing(RELAY, Lane::Answers, 1_000, 100).await.expect("due");
        due.iter().filter(|one| one.event == job.id).count()
    };

    // In two parts, and each part once.
    let job = asks(10);
    archive.accept_job(&job).await.expect("kept");
    let billed = bill(&job, "h1", 50);
    assert!(!archive.bill_job(&billed, "the result", &[], 11).await.expect("asked"), "not in work");
    archive.take_job(11).await.expect("asked").expect("there");
    assert!(archive.bill_job(&billed, "the result", &[], 11).await.expect("billed"));
    assert_eq!(archive.job(job.id).await.expect("read").expect("there").status, JobStatus::Unpaid);
    assert_eq!(archive.job_answer(job.id).await.expect("read"), None, "held back");
    assert_eq!(archive.held_result(job.id).await.expect("read").as_deref(), Some("the result"));
    assert_eq!(archive.put_back_jobs(1_000).await.expect("put back"), 0, "it is done");
    assert_eq!(archive.open_invoices("", 10).await.expect("read"), std::slice::from_ref(&billed.invoice));
    assert_eq!(archive.open_invoices("h1", 10).await.expect("read"), []);
    assert_eq!(archive.billed_job("h1", None).await.expect("read"), Some(job.id));
    assert_eq!(archive.billed_job("", Some(billed.invoice.feedback)).await.expect("read"), Some(job.id));
    assert_eq!(archive.billed_job("h2", None).await.expect("read"), None);
    let release = [outgoing(job.id, RELAY)];
    assert_eq!(archive.pay(&pays(&job, "z1", 30), &release, 12).await.expect("paid"), Paid::Missing(70));
    assert_eq!(archive.pay(&pays(&job, "z1", 30), &release, 12).await.expect("paid"), Paid::Known);
    let rest = Invoice { msat: 70, ..bill(&job, "h2", 60).invoice };
    archive.bill_again(&rest, &[], 12).await.expect("billed");
    assert!(!archive.lapse_job(job.id, 55, &[]).await.expect("asked"), "the second invoice can still be paid");
    assert_eq!(sent(&job).await, 0);
    // Both at once, by two who heard of it.
    let one = pays(&job, "h2", 80);
    let (a, b) = tokio::join!(archive.pay(&one, &release, 13), archive.pay(&one, &release, 13));
    let mut both = [a.expect("paid"), b.expect("paid")];
    both.sort_by_key(|paid| *paid == Paid::Known);
    assert_eq!(both, [Paid::Settled { over: 10 }, Paid::Known]);
    assert_eq!((sent(&job).await, archive.job_answer(job.id).await.expect("read").as_deref()), (1, Some("the result")));
    assert_eq!(archive.pay(&pays(&job, "z2", 500), &release, 14).await.expect("paid"), Paid::InVain, "paid already");

    // Too late, and yet.
    let late = asks(20);
    archive.accept_job(&late).await.expect("kept");
    assert_eq!(archive.free_jobs(&late, &[5302], 0).await.expect("counted"), 0, "another customer's, and not free");
    archive.take_job(21).await.expect("asked").expect("there");
    archive.bill_job(&bill(&late, "h3", 50), "late", &[], 21).await.expect("billed");
    assert!(!archive.lapse_job(late.id, 50, &[]).await.expect("asked"));
    assert!(archive.lapse_job(late.id, 51, &[]).await.expect("lapsed"));
    assert!(!archive.lapse_job(late.id, 51, &[]).await.expect("asked"), "once");
    assert_eq!(
        archive.pay(&pays(&late, "h3", 100), &[outgoing(late.id, RELAY)], 60).await.expect("paid"),
        Paid::Settled { over: 0 }
    );
    assert_eq!(sent(&late).await, 1);

    // Taken back.
    let back = asks(30);
    archive.accept_job(&back).await.expect("kept");
    archive.take_job(31).await.expect("asked").expect("there");
    archive.bill_job(&bill(&back, "h4", 50), "back", &[], 31).await.expect("billed");
    assert_eq!(archive.standing(back.customer).await.expect("counted").open, 1);
    assert!(archive.cancel_job(back.id, back.customer, 32).await.expect("cancelled"));
    assert_eq!(
        archive.pay(&pays(&back, "h4", 100), &[outgoing(back.id, RELAY)], 33).await.expect("paid"),
        Paid::InVain
    );
    assert_eq!((sent(&back).await, archive.open_invoices("", 10).await.expect("read").len()), (0, 0));

    let free = Job { customer: back.customer, ..asks(40) };
    archive.accept_job(&free).await.expect("kept");
    let next = Job { customer: back.customer, ..asks(41) };
    archive.accept_job(&next).await.expect("kept");
    assert_eq!(archive.free_jobs(&next, &[5302], 0).await.expect("counted"), 0, "nobody is at it");
    assert_eq!(archive.take_job(42).await.expect("asked").expect("there").id, free.id);
    assert_eq!(archive.free_jobs(&free, &[5302], 0).await.expect("counted"), 0);
    assert_eq!(archive.free_jobs(&next, &[5302, 5303], 0).await.expect("counted"), 1);
    assert_eq!(archive.free_jobs(&next, &[5303], 0).await.expect("counted"), 0, "of other kinds");
    assert_eq!(archive.free_jobs(&next, &[5302], 41).await.expect("counted"), 0, "long ago");
    assert!(archive.end_job(free.id, JobStatus::Answered, 42, &[]).await.expect("ended"));
    let before = Job { received_at: 39, ..next };
    assert_eq!(archive.free_jobs(&before, &[5302], 0).await.expect("counted"), 1, "whichever came first");
    let takings = archive.takings().await.expect("summed");
    let all = Takings { kind: 5302, jobs: 5, answered: 3, failed: 0, unpaid: 0, payments: 5, msat: 810 };
    assert_eq!(takings, [all]);
    let customers = archive.customers(10).await.expect("listed");
    assert_eq!(customers.len(), 3);
    let paid_most = customers.iter().find(|customer| customer.pubkey == job.customer).expect("listed");
    assert_eq!((paid_most.jobs, paid_most.msat, paid_most.last_at), (1, 610, 14));
    // The ledger outlives what was paid for.
    archive.prune(1_000_000).await.expect("pruned");
    assert_eq!(archive.takings().await.expect("summed")[0].msat, 810);
}

pub(super) async fn who_was_answered_before_comes_first(archive: Arc<dyn Archive>, _: String) {
    let asks = |by: &Keys, at: i64| {
        let request = event(&format!("{at}"), vec![], at).into_event();
        let (id, request) = (request.id, request.to_json());
        Job {
            id,
            kind: 5400,
            customer: by.public_key(),
            request,
            received_at: at,
            status: JobStatus::Received,
            waits_for: None,
            rank: 0,
        }
    };
    let (old, new) = (Keys::generate(), Keys::generate());
    let first = asks(&old, 1);
    archive.accept_job(&first).await.expect("kept");
    let standing = archive.standing(old.public_key()).await.expect("asked");
    assert_eq!(standing, Standing { open: 1, known: false, newcomers: 1 });
    archive.take_job(1).await.expect("asked").expect("there");
    archive.end_job(first.id, JobStatus::Answered, 2, &[]).await.expect("ended");
    for at in 10..20 {
        archive.accept_job(&asks(&Keys::generate(), at)).await.expect("kept");
    }
    archive.accept_job(&asks(&new, 20)).await.expect("kept");
    let again = asks(&old, 30);
    archive.accept_job(&again).await.expect("kept");
    let standing = archive.standing(old.public_key()).await.expect("asked");
    assert_eq!(standing, Standing { open: 1, known: true, newcomers: 11 });
    assert_eq!(
        archive.take_job(31).await.expect("asked").expect("there").id,
        again.id,
        "before those who came earlier"
    );
    assert_eq!(archive.take_job(31).await.expect("asked").expect("there").received_at, 10, "and then in turn");
}

/// A short lease in seconds, and the milliseconds after which it is over. The database counts whole seconds, so a lease of one
/// may be over after a moment.
const SHORT: i64 = 3;
const SHORT_IS_OVER: u64 = 3_100;

pub(super) async fn what_one_agent_is_at_others_leave_alone(archive: Arc<dyn Archive>, _: String) {
    let urls: Vec<(String, Network)> =
        (0..40).map(|n| (format!("wss://r{n:02}.example/"), Network::Clearnet)).collect();
    archive.add_relays(&urls, 100).await.expect("added");
    let query = RelayQuery { limit: 10, ..RelayQuery::default() };
    let lease = |holder: i64, seconds: i64| Lease { holder, seconds };
    // Eight at once get different ones, and all that there are.
    let claims = (0..8).map(|holder| archive.claim(Task::Check, &query, lease(holder, 60)));
    let claims = futures::future::join_all(claims).await;
    let mut taken: Vec<String> =
        claims.into_iter().flat_map(|claim| claim.expect("claimed")).map(|relay| relay.url).collect();
    taken.extend(archive.claim(Task::Check, &query, lease(8, 60)).await.expect("claimed").into_iter().map(|r| r.url));
    let n = taken.len();
    taken.sort_unstable();
    taken.dedup();
    assert_eq!((n, taken.len()), (40, 40), "each once");
    // Another task is another matter; and what is over, given up or done is free.
    let sync = archive.claim(Task::Sync, &query, lease(1, SHORT)).await.expect("claimed");
    assert_eq!(sync.len(), 10);
    let again = |wanted: &[Relay]| RelayQuery { limit: 100, contains: wanted[0].url.clone(), ..RelayQuery::default() };
    let of = |n: usize| again(&sync[n..]);
    assert!(archive.claim(Task::Sync, &of(0), lease(2, 60)).await.expect("claimed").is_empty());
    archive.release(Task::Sync, Some(&sync[0].url), 2).await.expect("asked");
    assert!(
        archive.claim(Task::Sync, &of(0), lease(2, 60)).await.expect("claimed").is_empty(),
        "not theirs to give up"
    );
    archive.release(Task::Sync, Some(&sync[0].url), 1).await.expect("given up");
    assert_eq!(archive.claim(Task::Sync, &of(0), lease(2, 60)).await.expect("claimed").len(), 1);
    assert!(archive.renew(Task::Sync, &sync[1].url, lease(1, 60)).await.expect("renewed"));
    assert!(!archive.renew(Task::Sync, &sync[1].url, lease(2, 60)).await.expect("asked"), "not theirs");
    tokio::time::sleep(std::time::Duration::from_millis(SHORT_IS_OVER)).await;
    assert!(archive.claim(Task::Sync, &of(1), lease(2, 60)).await.expect("claimed").is_empty(), "renewed");
    assert_eq!(archive.claim(Task::Sync, &of(2), lease(2, 60)).await.expect("claimed").len(), 1, "over");
    archive.release(Task::Sync, None, 1).await.expect("given up");
    assert_eq!(archive.claim(Task::Sync, &of(1), lease(2, 60)).await.expect("claimed").len(), 1);
    let done = CheckRecord { at: 200, due_at: 300, state: RelayState::Up, ..CheckRecord::default() };
    archive.record_check((&urls[0].0, Network::Clearnet), &done).await.expect("kept");
    let query = RelayQuery { contains: "r00".into(), ..query };
    assert_eq!(archive.claim(Task::Check, &query, lease(9, 60)).await.expect("claimed").len(), 1, "due again");
    // One leads.
    assert!(archive.try_acquire_leader("finder", lease(1, SHORT)).await.expect("asked"));
    assert!(archive.try_acquire_leader("finder", lease(1, SHORT)).await.expect("asked"), "still");
    assert!(!archive.try_acquire_leader("finder", lease(2, 1)).await.expect("asked"));
    tokio::time::sleep(std::time::Duration::from_millis(SHORT_IS_OVER)).await;
    assert!(archive.try_acquire_leader("finder", lease(2, 60)).await.expect("asked"));
    assert!(!archive.try_acquire_leader("finder", lease(1, 60)).await.expect("asked"));
}

pub(super) async fn a_holder_gives_up_what_it_left_claimed(archive: Arc<dyn Archive>, _: String) {
    archive.add_relays(&[(RELAY.to_owned(), Network::Clearnet)], 1).await.expect("added");
    let query = RelayQuery { limit: 10, ..RelayQuery::default() };
    for task in [Task::Check, Task::Sync] {
        let claim =
            async |holder| archive.claim(task, &query, Lease { holder, seconds: 60 }).await.expect("asked").len();
        assert_eq!((claim(1).await, claim(2).await), (1, 0));
        // As a service does when it starts again after it was dropped in the middle of its work.
        archive.release(task, None, 2).await.expect("released");
        assert_eq!(claim(1).await, 0, "it is another one's to give up");
        archive.release(task, None, 1).await.expect("released");
        assert_eq!((claim(1).await, claim(2).await), (1, 0));
    }
    // What it leads stays its own until it resigns.
    let lease = |holder| Lease { holder, seconds: 60 };
    assert!(archive.try_acquire_leader("finder", lease(1)).await.expect("asked"));
    archive.release(Task::Check, None, 1).await.expect("released");
    assert!(!archive.try_acquire_leader("finder", lease(2)).await.expect("asked"));
    archive.release_leaders(1).await.expect("resigned");
    assert!(archive.try_acquire_leader("finder", lease(2)).await.expect("asked"));
}

/// Claims, groups of batches, removals and shutdowns lock many relays each.
pub(super) async fn writers_of_the_same_relays_do_not_deadlock(archive: Arc<dyn Archive>, url: String) {
    // Due in another order than they were added, and added in another order than they sort.
    let urls: Vec<_> = (0..60).map(|n| (format!("wss://r{}.example/", (n * 37) % 60), Network::Clearnet)).collect();
    archive.add_relays(&urls, 1).await.expect("added");
    for (n, (url, _)) in (0..).zip(urls.iter().rev()) {
        archive.set_check_due(url, n * 7 % 60).await.expect("set");
    }
    let other = open(&url, Options::default()).await;
    let second = if archive.backend() == "SQLite" { archive.clone() } else { other.expect("opened twice") };
    let query = RelayQuery { limit: 60, ..RelayQuery::default() };
    let stores = (0..120).map(|n| {
        let (archive, relay) = ([&archive, &second][n % 2], urls[n * 13 % 60].clone());
        let events = vec![event(&n.to_string(), vec![], n as i64)];
        archive.store(Batch { relay: Some(relay), ..batch(events) })
    });
    let claims = async |archive: &Arc<dyn Archive>, holder| {
        for _ in 0..40 {
            archive.claim(Task::Check, &query, Lease { holder, seconds: 60 }).await?;
            archive.release(Task::Check, None, holder).await?;
            archive.add_relays(&urls, 1).await?;
        }
        Ok::<_, StorageError>(())
    };
    let removes = async {
        for n in 0..20 {
            archive.remove(&Filter::new().until(Timestamp::from(n * 6)), 100).await?;
        }
        Ok::<_, StorageError>(())
    };
    let (stored, first, other, removed) =
        tokio::join!(futures::future::join_all(stores), claims(&archive, 1), claims(&second, 2), removes);
    stored.into_iter().collect::<Result<Vec<_>, _>>().expect("stored");
    first.and(other).and(removed).expect("no deadlock");
    if archive.backend() != "SQLite" {
        let deadlocks = "select deadlocks from pg_stat_database where datname = current_database()";
        tokio::time::sleep(std::time::Duration::from_millis(1_200)).await;
        assert_eq!(shell(&url, deadlocks), "0");
    }
    exact::exact(&archive).await;
}

pub(super) async fn takers_of_jobs_get_one_each(archive: Arc<dyn Archive>, url: String) {
    let second = match archive.backend() {
        "SQLite" => archive.clone(),
        _ => open(&url, Options::default()).await.expect("opened twice"),
    };
    for round in 0..5_usize {
        for n in 0..50 {
            let request = event(&format!("{round} {n}"), vec![], 1).into_event();
            let job = Job {
                id: request.id,
                kind: 5400,
                customer: request.pubkey,
                request: request.to_json(),
                received_at: 3,
                status: JobStatus::Received,
                waits_for: None,
                rank: 0,
            };
            assert!(archive.accept_job(&job).await.expect("kept"));
        }
        let takers = (0..50).map(|n| [&archive, &second][n % 2].take_job(4));
        let taken = futures::future::join_all(takers).await;
        let taken: BTreeSet<_> =
            taken.into_iter().filter_map(|taken| taken.expect("asked")).map(|job| job.id).collect();
        assert_eq!(taken.len(), 50, "each taker gets a job, as long as there are any");
    }
}

pub(super) async fn what_holds_nul_is_not_found(archive: Arc<dyn Archive>, _: String) {
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
