//! Jobs and payments.

use super::*;

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
    let started = archive.take_job(103).await.expect("asked").expect("one waits");
    let error = Outgoing { body: "the error".into(), ..outgoing(started.id, RELAY) };
    assert!(archive.end_job(started.id, JobStatus::Failed, 104, &[error]).await.expect("ended"));
    let failed = archive.jobs(Some(JobStatus::Failed), 5).await.expect("listed");
    let shown = |one: &JobRecord| (one.job.id, one.begun_at, one.ended_at, one.failure.clone());
    assert_eq!(
        failed.iter().map(shown).collect::<Vec<_>>(),
        [(started.id, Some(103), Some(104), Some("the error".into()))]
    );
    let answered = archive.jobs(Some(JobStatus::Answered), 5).await.expect("listed");
    assert_eq!((answered[0].ended_at, &answered[0].failure), (Some(101), &None));
    let listed = archive.jobs(None, 5).await.expect("listed");
    assert_eq!((listed.len(), listed[0].job.id), (5, request(99, &quiet).id), "newest first");
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
    let revenue = archive.revenue().await.expect("summed");
    let all = Revenue { kind: 5302, jobs: 5, answered: 3, failed: 0, unpaid: 0, payments: 5, msat: 810 };
    assert_eq!(revenue, [all]);
    let customers = archive.customers(10).await.expect("listed");
    assert_eq!(customers.len(), 3);
    let paid_most = customers.iter().find(|customer| customer.pubkey == job.customer).expect("listed");
    assert_eq!((paid_most.jobs, paid_most.msat, paid_most.last_at), (1, 610, 14));
    // The ledger outlives what was paid for.
    archive.prune(1_000_000).await.expect("pruned");
    assert_eq!(archive.revenue().await.expect("summed")[0].msat, 810);
}

pub(super) async fn answered_customers_come_first(archive: Arc<dyn Archive>, _: String) {
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

pub(super) async fn a_job_is_taken_by_one_worker(archive: Arc<dyn Archive>, url: String) {
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
