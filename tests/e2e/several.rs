//! Several agents on one archive share the work, and one that dies is not missed for long.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::time::{Duration, SystemTime};

use brotr_tests::{Bouncer, Postgres, Script, ScriptedRelay, Signal, events};

use super::program::{Daemon, Entry, Place, soon};

const RELAYS: usize = 24;

/// A place whose agent is given up after five seconds.
fn place(config: &str) -> Place {
    let place = Place::with(config);
    let text = std::fs::read_to_string(place.path().join("brotr.yaml")).expect("there");
    place.write("brotr.yaml", &text.replace("storage: {", "storage: {lease: 5s, "));
    place
}

#[tokio::test(flavor = "multi_thread")]
async fn three_agents_share_the_work_and_two_go_on_when_one_is_killed() {
    let server = Postgres::start().expect("PostgreSQL started");
    let url = server.database("brotr").expect("a database");
    let mut relays = Vec::new();
    for n in 0..RELAYS {
        let script = Script::honest(events::signed(40, 1_600_000_000 + 1_000 * n as u64));
        relays.push(ScriptedRelay::start(script).await.expect("started"));
    }
    let config = format!(
        "#storage {url}\nmonitor: {{interval: 5s, warm_up: false, withdraw_after: 1h, concurrency: 2}}\n\
         synchronizer: {{interval: 5s, settle: 1s, live: false, concurrency: 2}}\nfinder: {{interval: 2s}}\n\
         log: {{format: json, level: \"info,brotr=debug\"}}"
    );
    // One of them is at the server itself, and two are behind a pooler that lends a connection for a transaction.
    let bouncer = Bouncer::start(&server).expect("pgbouncer started");
    let pooled = config.replace(&url, &bouncer.url("brotr"));
    let places = [&config, &pooled, &pooled].map(|config| place(config));
    let addresses: Vec<&str> = relays.iter().map(|relay| relay.url.as_str()).collect();
    places[0].run(&[&["relays", "add"], &addresses[..]].concat()).ok();
    let mut daemons: Vec<_> = places.iter().map(Place::daemon).collect();

    let count = async || {
        let ran = places[0].run(&["query", "--count", "--all"]);
        ran.stdout.trim().parse::<usize>().unwrap_or_default()
    };
    soon(60, "complete archive", async || (count().await >= RELAYS * 40).then_some(())).await;
    let urls: BTreeSet<String> = relays.iter().map(|relay| format!("{}/", relay.url.trim_end_matches('/'))).collect();
    for what in ["relay checked", "relay synchronized"] {
        let done = soon(60, &format!("{what:?} of each relay three times and by each agent"), async || {
            let done: Vec<Vec<Entry>> = daemons.iter().map(|daemon| daemon.entries(what)).collect();
            let all = done.concat();
            let of = |url: &String| all.iter().filter(|entry| entry.relay == *url).count();
            let share = |entries: &Vec<Entry>| entries.len() * 8 > all.len();
            (urls.iter().all(|url| of(url) >= 3) && done.iter().all(share)).then_some(done)
        })
        .await;
        eprintln!("{what}: {:?}", done.iter().map(Vec::len).collect::<Vec<_>>());
        // With an interval of five seconds nobody is checked or synchronized by two agents at once, or one after the other.
        let mut last = BTreeMap::<&str, Vec<SystemTime>>::new();
        for entry in done.iter().flatten() {
            last.entry(&entry.relay).or_default().push(entry.at);
        }
        for (relay, mut times) in last {
            times.sort_unstable();
            // Dates have whole seconds, the schedule a jitter of a tenth, and a check takes its time before it is logged.
            let apart = |pair: &[SystemTime]| pair[1].duration_since(pair[0]).expect("sorted");
            let close = times.windows(2).filter(|pair| apart(pair) < Duration::from_millis(1_500)).count();
            assert_eq!(close, 0, "{what} {relay}: {times:?}");
        }
    }
    // One dies in the middle of its work: once its leases are over the others take over all of it.
    assert_eq!(daemons.remove(0).end(Signal::KILL).0, None);
    let over = SystemTime::now() + Duration::from_secs(6);
    for what in ["relay checked", "relay synchronized"] {
        soon(25, &format!("{what:?} of every relay by the other two"), async || {
            let entries = daemons.iter().flat_map(|daemon| daemon.entries(what)).filter(|entry| entry.at > over);
            let met: BTreeSet<String> = entries.map(|entry| entry.relay).collect();
            urls.is_subset(&met).then_some(())
        })
        .await;
    }
    for daemon in daemons {
        assert_eq!(daemon.end(Signal::TERM).0, Some(0));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_is_followed_by_one_agent_and_by_another_when_that_one_is_gone() {
    let server = Postgres::start().expect("PostgreSQL started");
    let url = server.database("brotr").expect("a database");
    let mut relays = Vec::new();
    for n in 0..6 {
        // Each on a host of its own: of one host only so many are dialed in a minute.
        let script = Script::honest(events::signed(5, 1_600_000_000));
        relays.push(ScriptedRelay::start_at(Ipv4Addr::new(127, 0, 0, 10 + n), script).await.expect("started"));
    }
    let config = format!(
        "#storage {url}\nmonitor: {{enabled: false}}\nsynchronizer: {{interval: 1d, live_relays: 4}}\n\
         finder: {{enabled: false}}\nlog: {{format: json, level: \"info,brotr=debug\"}}"
    );
    let places = [place(&config), place(&config)];
    let addresses: Vec<&str> = relays.iter().map(|relay| relay.url.as_str()).collect();
    places[0].run(&[&["relays", "add"], &addresses[..]].concat()).ok();
    let followed = |daemon: &Daemon<'_>| -> Vec<String> {
        let mut followed = Vec::new();
        for entry in daemon.entries("live subscription") {
            match entry.message.as_str() {
                "live subscription ended" => followed.retain(|one| *one != entry.relay),
                _ => followed.push(entry.relay),
            }
        }
        followed
    };
    let first = places[0].daemon();
    soon(30, "four relays followed", async || (followed(&first).len() == 4).then_some(())).await;
    let second = places[1].daemon();
    soon(40, "the other two followed", async || (followed(&second).len() == 2).then_some(())).await;
    // Longer than a lease, in which nothing may change.
    tokio::time::sleep(Duration::from_secs(6)).await;
    let mut all = [followed(&first), followed(&second)].concat();
    all.sort();
    let mut wanted: Vec<String> = addresses.iter().map(|url| format!("{}/", url.trim_end_matches('/'))).collect();
    wanted.sort();
    assert_eq!(all, wanted, "each by one of them, and for longer than a lease");
    assert_eq!(first.end(Signal::KILL).0, None);
    soon(40, "as many as there are places", async || (followed(&second).len() == 4).then_some(())).await;
    assert_eq!(second.end(Signal::TERM).0, Some(0));
}
