//! Several agents on one archive share the work, and one that dies is not missed for long.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::Duration;

use brotr_tests::{Bouncer, Postgres, Script, ScriptedRelay, Signal, events};

use super::program::{Place, soon};

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
         log: {{level: \"info,brotr=debug\"}}"
    );
    // One of them is at the server itself, and two are behind a pooler that lends a connection for a transaction.
    let bouncer = Bouncer::start(&server).expect("pgbouncer started");
    let pooled = config.replace(&url, &bouncer.url("brotr"));
    let places = [&config, &pooled, &pooled].map(|config| place(config));
    let addresses: Vec<&str> = relays.iter().map(|relay| relay.url.as_str()).collect();
    places[0].run(&[&["relays", "add"], &addresses[..]].concat()).ok();
    let mut daemons: Vec<_> = places.iter().map(Place::daemon).collect();

    // What each of them did, by its log.
    let done = |log: &str, what: &str| log.lines().filter(|line| line.contains(what)).count();
    let count = async || {
        let ran = places[0].run(&["query", "--count", "--all"]);
        ran.stdout.trim().parse::<usize>().unwrap_or_default()
    };
    soon(60, "complete archive", async || (count().await >= RELAYS * 40).then_some(())).await;
    tokio::time::sleep(Duration::from_secs(15)).await;
    let logs: Vec<String> = daemons.iter().map(super::program::Daemon::log).collect();
    for what in ["relay checked", "relay synchronized"] {
        let each: Vec<usize> = logs.iter().map(|log| done(log, what)).collect();
        let all: usize = each.iter().sum();
        eprintln!("{what}: {each:?}");
        assert!(each.iter().all(|n| n * 8 > all), "each does its part: {each:?}");
        // With an interval of five seconds nobody is checked or synchronized by two agents at once, or one after the other.
        let mut last = BTreeMap::<&str, Vec<&str>>::new();
        for line in logs.iter().flat_map(|log| log.lines()).filter(|line| line.contains(what)) {
            let relay = line.split("relay=\"").nth(1).and_then(|rest| rest.split('"').next()).expect("a relay");
            last.entry(relay).or_default().push(&line[11..23]);
        }
        for (relay, mut times) in last {
            times.sort_unstable();
            let at = |text: &str| {
                let part = |range: std::ops::Range<usize>| text[range].parse::<f64>().expect("a number");
                part(0..2) * 3_600.0 + part(3..5) * 60.0 + part(6..12)
            };
            // Dates have whole seconds, the schedule a jitter of a tenth, and a visit takes its time before it is told of.
            let close = times.windows(2).filter(|pair| at(pair[1]) - at(pair[0]) < 1.5).count();
            assert_eq!(close, 0, "{what} {relay}: {times:?}");
        }
    }
    // One dies in the middle of its work: within its lease the others have taken over all of it.
    assert_eq!(daemons.remove(0).end(Signal::KILL).0, None);
    tokio::time::sleep(Duration::from_secs(6)).await;
    let earlier: Vec<usize> = daemons.iter().map(|daemon| daemon.log().len()).collect();
    for what in ["relay checked", "relay synchronized"] {
        soon(15, &format!("{what:?} of every relay by the other two"), async || {
            let news: Vec<String> =
                daemons.iter().zip(&earlier).map(|(daemon, at)| daemon.log()[*at..].to_owned()).collect();
            let met =
                |url: &str| news.iter().any(|log| log.lines().any(|line| line.contains(what) && line.contains(url)));
            addresses.iter().all(|url| met(url.trim_end_matches('/'))).then_some(())
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
         finder: {{enabled: false}}\nlog: {{level: \"info,brotr=debug\"}}"
    );
    let places = [place(&config), place(&config)];
    let addresses: Vec<&str> = relays.iter().map(|relay| relay.url.as_str()).collect();
    places[0].run(&[&["relays", "add"], &addresses[..]].concat()).ok();
    let followed = |log: &str| -> Vec<String> {
        let mut followed = Vec::new();
        for line in log.lines().filter(|line| line.contains("live subscription")) {
            let relay = line.split("relay=\"").nth(1).and_then(|rest| rest.split('"').next()).expect("a relay");
            match line.contains("live subscription ended") {
                true => followed.retain(|one| one != relay),
                false => followed.push(relay.to_owned()),
            }
        }
        followed
    };
    let first = places[0].daemon();
    soon(30, "four relays followed", async || (followed(&first.log()).len() == 4).then_some(())).await;
    let second = places[1].daemon();
    soon(40, "the other two followed", async || (followed(&second.log()).len() == 2).then_some(())).await;
    tokio::time::sleep(Duration::from_secs(12)).await;
    let mut all = [followed(&first.log()), followed(&second.log())].concat();
    all.sort();
    let mut wanted: Vec<String> = addresses.iter().map(|url| format!("{}/", url.trim_end_matches('/'))).collect();
    wanted.sort();
    assert_eq!(all, wanted, "each by one of them, and for longer than a lease");
    assert_eq!(first.end(Signal::KILL).0, None);
    soon(40, "as many as there are places", async || (followed(&second.log()).len() == 4).then_some(())).await;
    assert_eq!(second.end(Signal::TERM).0, Some(0));
}
