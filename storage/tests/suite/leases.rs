//! Leases of relays and of leaders, and the locks that writers take.

use super::*;

/// A short lease in seconds, and the milliseconds after which it is over. The database counts whole seconds, so a lease of one
/// may be over after a moment.
const SHORT: i64 = 3;
const SHORT_IS_OVER: u64 = 3_100;

pub(super) async fn a_claimed_relay_is_claimed_by_nobody_else(archive: Arc<dyn Archive>, _: String) {
    let urls: Vec<(String, Network)> =
        (0..40).map(|n| (format!("wss://r{n:02}.example/"), Network::Clearnet)).collect();
    archive.add_relays(&urls, 100).await.expect("added");
    let query = RelayQuery { limit: 10, ..RelayQuery::default() };
    let lease = |holder: i64, seconds: i64| Lease { holder, seconds };
    // Eight at once get different ones, and all that there are.
    let claims = (0..8).map(|holder| archive.claim(Task::Check, &query, now(), lease(holder, 60)));
    let claims = futures::future::join_all(claims).await;
    let mut taken: Vec<String> =
        claims.into_iter().flat_map(|claim| claim.expect("claimed")).map(|relay| relay.url).collect();
    taken.extend(
        archive.claim(Task::Check, &query, now(), lease(8, 60)).await.expect("claimed").into_iter().map(|r| r.url),
    );
    let n = taken.len();
    taken.sort_unstable();
    taken.dedup();
    assert_eq!((n, taken.len()), (40, 40), "each once");
    // Another task is another matter; and what is over, given up or done is free.
    let sync = archive.claim(Task::Sync, &query, now(), lease(1, SHORT)).await.expect("claimed");
    assert_eq!(sync.len(), 10);
    let again = |wanted: &[Relay]| RelayQuery { limit: 100, contains: wanted[0].url.clone(), ..RelayQuery::default() };
    let of = |n: usize| again(&sync[n..]);
    assert!(archive.claim(Task::Sync, &of(0), now(), lease(2, 60)).await.expect("claimed").is_empty());
    archive.release(Task::Sync, Some(&sync[0].url), 2).await.expect("asked");
    assert!(
        archive.claim(Task::Sync, &of(0), now(), lease(2, 60)).await.expect("claimed").is_empty(),
        "not theirs to give up"
    );
    archive.release(Task::Sync, Some(&sync[0].url), 1).await.expect("given up");
    assert_eq!(archive.claim(Task::Sync, &of(0), now(), lease(2, 60)).await.expect("claimed").len(), 1);
    assert!(archive.renew(Task::Sync, &sync[1].url, lease(1, 60)).await.expect("renewed"));
    assert!(!archive.renew(Task::Sync, &sync[1].url, lease(2, 60)).await.expect("asked"), "not theirs");
    tokio::time::sleep(std::time::Duration::from_millis(SHORT_IS_OVER)).await;
    assert!(archive.claim(Task::Sync, &of(1), now(), lease(2, 60)).await.expect("claimed").is_empty(), "renewed");
    assert_eq!(archive.claim(Task::Sync, &of(2), now(), lease(2, 60)).await.expect("claimed").len(), 1, "over");
    archive.release(Task::Sync, None, 1).await.expect("given up");
    assert_eq!(archive.claim(Task::Sync, &of(1), now(), lease(2, 60)).await.expect("claimed").len(), 1);
    let done = CheckRecord { at: 200, due_at: 300, state: RelayState::Up, ..CheckRecord::default() };
    archive.record_check(&urls[0].0, Network::Clearnet, &done).await.expect("kept");
    let query = RelayQuery { contains: "r00".into(), ..query };
    // By the caller's clock, whatever that of the database says.
    assert!(archive.claim(Task::Check, &query, 299, lease(9, 60)).await.expect("claimed").is_empty(), "not due yet");
    assert_eq!(archive.claim(Task::Check, &query, now(), lease(9, 60)).await.expect("claimed").len(), 1, "due again");
    // One leads.
    assert!(archive.try_acquire_leader("finder", lease(1, SHORT)).await.expect("asked"));
    assert!(archive.try_acquire_leader("finder", lease(1, SHORT)).await.expect("asked"), "still");
    assert!(!archive.try_acquire_leader("finder", lease(2, 1)).await.expect("asked"));
    tokio::time::sleep(std::time::Duration::from_millis(SHORT_IS_OVER)).await;
    assert!(archive.try_acquire_leader("finder", lease(2, 60)).await.expect("asked"));
    assert!(!archive.try_acquire_leader("finder", lease(1, 60)).await.expect("asked"));
}

pub(super) async fn a_holder_releases_its_own_claims_only(archive: Arc<dyn Archive>, _: String) {
    archive.add_relays(&[(RELAY.to_owned(), Network::Clearnet)], 1).await.expect("added");
    let query = RelayQuery { limit: 10, ..RelayQuery::default() };
    for task in [Task::Check, Task::Sync] {
        let claim = async |holder| {
            archive.claim(task, &query, now(), Lease { holder, seconds: 60 }).await.expect("asked").len()
        };
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

/// Writers of two processes store the same events of the same new authors at the same time, in opposite orders.
pub(super) async fn writers_of_the_same_events_do_not_deadlock(archive: Arc<dyn Archive>, url: String) {
    let keys: Vec<Keys> = (0..150).map(|_| Keys::generate()).collect();
    let events: Vec<Verified> = (0..600)
        .map(|n| {
            // Many of one date, and replaceable ones among them.
            let builder = EventBuilder::new(Kind::from([0, 1, 3][n % 3]), n.to_string());
            let builder = builder.custom_created_at(Timestamp::from(n as u64 % 7));
            Event::from(&builder.sign_with_keys(&keys[n % 150]).expect("signed")).verify().expect("verified")
        })
        .collect();
    let second = match archive.backend() {
        "SQLite" => archive.clone(),
        _ => open(&url, Options::default()).await.expect("opened twice"),
    };
    let store = |archive: Arc<dyn Archive>, relay: &str, events: Vec<Verified>| {
        let relay = Some((relay.to_owned(), Network::Clearnet));
        async move {
            let stores =
                events.chunks(50).map(|part| archive.store(Batch { relay: relay.clone(), ..batch(part.to_vec()) }));
            let stored = futures::future::join_all(stores).await.into_iter();
            stored.map(|stored| stored.map(|stored| stored.stored)).sum::<Result<usize, _>>().expect("stored")
        }
    };
    let reversed = events.iter().rev().cloned().collect();
    let (first, other) = tokio::join!(
        store(archive.clone(), "wss://a.example/", events.clone()),
        store(second, "wss://b.example/", reversed)
    );
    assert_eq!(first + other, events.len(), "each event is new to one of them");
    let stats = archive.stats().await.expect("stats");
    assert_eq!((stats.events, stats.sightings), (600, 1_200));
    let arrived = archive.stored_after(0, 1_000).await.expect("read");
    assert_eq!(arrived.len(), 600);
    if archive.backend() != "SQLite" {
        let deadlocks = "select deadlocks from pg_stat_database where datname = current_database()";
        tokio::time::sleep(std::time::Duration::from_millis(1_200)).await;
        assert_eq!(shell(&url, deadlocks), "0");
    }
    exact::exact(&archive).await;
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
            archive.claim(Task::Check, &query, now(), Lease { holder, seconds: 60 }).await?;
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
