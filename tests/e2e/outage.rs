//! An outage of our own network is told from relays that are down.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use brotr::agent::{Agent, now};
use brotr::outbox::Publisher;
use brotr::pulse::Pulse;
use brotr::services::monitor;
use brotr::services::publisher::{RelayClient, deliver};
use brotr_core::{Network, RelayState};
use brotr_tests::dns::Answer;
use brotr_tests::{Dns, Script, ScriptedRelay, Signal};
use nostr::{Kind, TagKind};
use serde_json::json;

use super::faults::place_on;
use super::program::{Place, soon};

const RELAYS: u8 = 5;

/// Five relays on hosts of their own, which come and go together with the name server.
struct World {
    reachable: Arc<AtomicBool>,
    ports: Vec<u16>,
    running: Vec<Option<ScriptedRelay>>,
}

impl World {
    async fn relay(n: u8, port: u16) -> ScriptedRelay {
        let place = (Ipv4Addr::new(127, 0, 2, n + 1), port);
        // The listener of the one before may close a moment late.
        soon(10, "port", async || ScriptedRelay::start_on(place, Script::honest(vec![])).await.ok()).await
    }

    async fn start(&mut self) {
        self.reachable.store(true, Ordering::Relaxed);
        for (n, port) in (0..).zip(&self.ports) {
            self.running[usize::from(n)] = Some(Self::relay(n, *port).await);
        }
    }

    fn stop(&mut self) {
        self.reachable.store(false, Ordering::Relaxed);
        self.running.fill_with(|| None);
    }

    fn url(&self, n: u8) -> String {
        format!("ws://r{n}.example:{}/", self.ports[usize::from(n)])
    }
}

async fn states(agent: &Agent, world: &World) -> Vec<RelayState> {
    let mut states = Vec::new();
    for n in 0..RELAYS {
        states.push(agent.archive.relay(&world.url(n)).await.expect("read").expect("there").state);
    }
    states
}

/// The relays that are published, or withdrawn, on a relay of ours.
fn named(own: &ScriptedRelay, kind: u16, tag: &'static str) -> Vec<String> {
    let events = own.events().into_iter().filter(|event| event.kind == Kind::from(kind));
    events.filter_map(|event| Some(event.tags.find(TagKind::custom(tag))?.content()?.to_owned())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn our_own_outage_is_not_recorded_as_downtime() {
    let mut world = World { reachable: Arc::default(), ports: vec![], running: vec![] };
    for n in 0..RELAYS {
        let relay = World::relay(n, 0).await;
        world.ports.push(relay.url.rsplit(':').next().and_then(|port| port.parse().ok()).expect("a port"));
        world.running.push(None);
    }
    let reachable = world.reachable.clone();
    let dns = Dns::start(move |name, _| {
        let n: u8 = name.strip_prefix('r')?.strip_suffix(".example")?.parse().ok()?;
        let silent = !reachable.load(Ordering::Relaxed);
        Some(Answer { silent, ..Answer::of(&[&format!("127.0.2.{}", n + 1)]) })
    })
    .await
    .expect("started");
    let own = ScriptedRelay::start(Script::honest(vec![])).await.expect("started");
    let network = json!({"allow": ["127.0.0.0/8"], "nameservers": [dns.address],
        "clearnet": {"connect_timeout": "1s", "request_timeout": "1s"}});
    let more = format!(
        "identity: {{relays: [\"{}\"]}}\nmonitor: {{interval: 1s, warm_up: false, withdraw_after: 2s}}",
        own.url
    );
    let place = place_on(&network.to_string(), &more).await;
    let agent = place.agent.clone();
    let urls: Vec<(String, Network)> = (0..RELAYS).map(|n| (world.url(n), Network::Clearnet)).collect();
    agent.archive.add_relays(&urls, now()).await.expect("added");
    let publisher = Publisher::new(&agent);

    let story = async {
        let out = async || agent.outage.trouble();
        let back = async || agent.outage.trouble().is_none().then_some(());
        // The agent starts without a network: nothing is known, and nothing is recorded.
        soon(30, "outage at the start", out).await;
        assert_eq!(states(&agent, &world).await, [RelayState::New; RELAYS as usize]);
        world.start().await;
        soon(30, "end of the outage", back).await;
        soon(30, "five relays published", async || {
            let mut published = named(&own, 30_166, "d");
            published.sort();
            published.dedup();
            (published.len() == usize::from(RELAYS)).then_some(())
        })
        .await;

        // It goes away, for several intervals and longer than withdrawals wait.
        world.stop();
        let trouble = soon(30, "outage", out).await;
        assert!(trouble.contains("clearnet"), "{trouble}");
        tokio::time::sleep(Duration::from_secs(5)).await;
        assert_eq!(states(&agent, &world).await, [RelayState::Up; RELAYS as usize]);
        for (url, _) in &urls {
            let visits = agent.archive.visits(url, 0, 1_000).await.expect("read");
            assert!(!visits.is_empty() && visits.iter().all(|visit| visit.up), "{url}: {visits:?}");
        }
        assert!(named(&own, 5, "a").is_empty(), "nothing is withdrawn");

        world.start().await;
        soon(30, "end of the outage", back).await;
        let since = now();
        soon(30, "another check of each relay", async || {
            for (url, _) in &urls {
                agent.archive.visits(url, since, 1).await.expect("read").pop()?;
            }
            Some(())
        })
        .await;
        assert_eq!(states(&agent, &world).await, [RelayState::Up; RELAYS as usize]);

        // One relay alone is down, and that is recorded and withdrawn.
        world.running[0] = None;
        soon(30, "a relay that is down", async || (states(&agent, &world).await[0] == RelayState::Down).then_some(()))
            .await;
        let withdrawn = soon(30, "withdrawal", async || named(&own, 5, "a").pop()).await;
        assert!(withdrawn.ends_with(&world.url(0)), "{withdrawn}");
        assert_eq!(agent.outage.trouble(), None);
        assert_eq!(states(&agent, &world).await[1..], [RelayState::Up; RELAYS as usize - 1]);
    };
    let client = RelayClient::new(&agent);
    tokio::select! {
        ended = monitor::run(agent.clone(), publisher.clone(), Pulse::default()) => panic!("{ended:?}"),
        ended = deliver(agent.clone(), publisher.clone(), client.clone(), Pulse::default()) => panic!("{ended:?}"),
        () = story => {}
    }
    client.shutdown().await;
}

/// Sets how many files a process may have open.
fn limit_files(id: u32, files: u64) {
    use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};
    let id = i32::try_from(id).ok().and_then(Pid::from_raw).expect("an id");
    let limit = Rlimit { current: Some(files), ..getrlimit(Resource::Nofile) };
    prlimit(Some(id), Resource::Nofile, limit).expect("limited");
}

#[tokio::test(flavor = "multi_thread")]
async fn exhausted_descriptors_are_not_recorded_as_downtime() {
    let mut relays = Vec::new();
    for n in 1..=40 {
        relays
            .push(ScriptedRelay::start_at(Ipv4Addr::new(127, 0, 3, n), Script::honest(vec![])).await.expect("started"));
    }
    let place = Place::with(
        "log: {level: debug}\nmonitor: {interval: 1s}\nsynchronizer: {enabled: false}\nfinder: {enabled: false}",
    );
    let list: Vec<&str> = relays.iter().map(|relay| relay.url.as_str()).collect();
    let file = place.write("list.txt", &list.join("\n"));
    place.run(&["relays", "add", &file.to_string_lossy()]).ok();
    let daemon = place.daemon();
    let checks = || {
        let sql = "select coalesce(min(up), 1) as least, count(*) as n from relay_checks";
        let ran = place.run(&["--json", "sql", sql]).ok().json();
        (ran[0]["least"].as_i64(), ran[0]["n"].as_i64().expect("a number"))
    };
    soon(60, "checks of all", async || (checks().1 >= 80).then_some(())).await;
    // A few connections can still be opened, so that relays which answer are witnesses against the others.
    let files = format!("/proc/{}/fd", daemon.id());
    let mut open = u64::MAX;
    for _ in 0..50 {
        open = open.min(std::fs::read_dir(&files).expect("listed").count() as u64);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    limit_files(daemon.id(), open + 6);
    let unknown = || daemon.log().matches("up=\"unknown\"").count();
    soon(60, "checks without a descriptor", async || (unknown() >= 40).then_some(())).await;
    limit_files(daemon.id(), 1_024);
    let before = checks().1;
    soon(60, "more checks", async || (checks().1 >= before + 80).then_some(())).await;
    assert_eq!(checks().0, Some(1), "no relay was down");
    assert_eq!(daemon.end(Signal::TERM).0, Some(0));
}
