//! Work that comes due relay by relay goes on whatever fails: claims, work on one relay, the service itself.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use brotr::agent::now;
use brotr::outbox::Publisher;
use brotr::pulse::Pulse;
use brotr::scheduler::Scheduler;
use brotr::services::monitor;
use brotr_core::Network;
use brotr_storage::{RelayQuery, StorageError, Task};
use brotr_tests::{Script, ScriptedRelay};

use super::faults::place;
use super::program::soon;

#[tokio::test(flavor = "multi_thread")]
async fn a_restarted_service_reclaims_its_relays() {
    let place = place().await;
    let relay = ScriptedRelay::start(Script::honest(vec![])).await.expect("started");
    let (agent, address) = (&place.agent, place.address(&relay));
    agent.archive.add_relays(&[(address.as_str().to_owned(), address.network())], now()).await.expect("added");
    // A service that was paused, failed or panicked in the middle of a check.
    let all = RelayQuery { networks: vec![Network::Clearnet], limit: 10, ..RelayQuery::default() };
    assert_eq!(agent.archive.claim(Task::Check, &all, now(), agent.lease()).await.expect("claimed").len(), 1);
    let service = monitor::run(agent.clone(), Publisher::new(agent), Pulse::default());
    let checked = soon(20, "check", async || {
        let relay = agent.archive.relay(address.as_str()).await.expect("read").expect("there");
        relay.checked_at
    });
    tokio::select! {
        ended = service => panic!("the service ended: {ended:?}"),
        _ = checked => {}
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn failures_of_claims_and_of_work_on_one_relay_stop_nothing() {
    let place = place().await;
    let agent = &place.agent;
    let urls: Vec<(String, Network)> = (0..6).map(|n| (format!("wss://r{n}.example/"), Network::Clearnet)).collect();
    agent.archive.add_relays(&urls, now()).await.expect("added");
    let claims = AtomicUsize::new(0);
    let all = RelayQuery { networks: vec![Network::Clearnet], limit: 10, ..RelayQuery::default() };
    let claim = |limit| {
        let first = claims.fetch_add(1, Ordering::Relaxed) == 0;
        let query = RelayQuery { limit, ..all.clone() };
        async move {
            if first {
                Err(StorageError::Closed)
            } else {
                agent.archive.claim(Task::Check, &query, now(), agent.lease()).await
            }
        }
    };
    let worked: Arc<Mutex<BTreeMap<String, usize>>> = Arc::default();
    let work = |relay: brotr_storage::Relay| {
        let (worked, archive) = (worked.clone(), agent.archive.clone());
        async move {
            *worked.lock().expect("no holder panics").entry(relay.url.clone()).or_default() += 1;
            match relay.url.as_str() {
                "wss://r0.example/" => Err(brotr::error::Error::Ended("the archive")),
                "wss://r1.example/" => panic!("a defect"),
                url => Ok(archive.set_check_due(url, now() + 2).await?),
            }
        }
    };
    let pulse = Pulse::default();
    let scheduler = Scheduler { agent, task: Task::Check, concurrency: 2, pulse: &pulse };
    let seen = soon(30, "second round of work", async || {
        let worked = worked.lock().expect("no holder panics").clone();
        let twice = worked.iter().filter(|(_, n)| **n >= 2).count();
        (worked.len() == 6 && twice == 4).then_some(worked)
    });
    let seen = tokio::select! {
        never = scheduler.run(claim, work) => match never {},
        seen = seen => seen,
    };
    // They are tried again in a minute, and nobody else is kept from them meanwhile.
    assert_eq!((seen["wss://r0.example/"], seen["wss://r1.example/"]), (1, 1));
    let due = RelayQuery { check_due: Some(now() + 61), ..all };
    soon(5, "second try within a minute", async || {
        let due = agent.archive.relays(&due).await.expect("listed");
        due.iter().any(|relay| relay.url == "wss://r0.example/").then_some(())
    })
    .await;
}
