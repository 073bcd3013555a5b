//! What happens in a simulation, drawn from its seed, and the life of the agent in it.

use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use brotr_tests::lifelike::Dice;
use brotr_tests::{Fault, Hints, House, Negentropy, Script};
use nostr::{Event, EventBuilder, Keys, Kind, SecretKey, Tag, TagKind, Timestamp};
use tokio::task::JoinSet;

use crate::customers::Ask;
use crate::faults;
use crate::life::{Life, known, write_config};
use crate::world::{
    self, Answers, Away, BEGIN, Database, Down, Load, Relay, SETTLES, Story, World, address, record_answers, true_now,
};
use crate::{checks, clients};

pub(crate) const MINUTE: i64 = 60;
pub(crate) const HOUR: i64 = 3_600;
pub(crate) const DAY: i64 = 86_400;

/// The calm at the end, in which the agent catches up.
const CALM: i64 = 4 * HOUR;

/// Something that happens.
#[derive(Debug, Clone)]
pub(crate) enum Act {
    Post(Event, Vec<usize>),
    Ask(Ask),
    Up(usize),
    Down(usize),
    Forget(usize, i64),
    /// A relay publishes another information document.
    Describe(usize, String),
    Database(Database),
    /// The agent ends, orderly or not, and starts again after some seconds.
    Restart {
        orderly: bool,
        after: i64,
    },
    /// It is killed and started again several times, after these numbers of seconds.
    CrashLoop(Vec<i64>),
    /// An operator pauses a service, or resumes it.
    Pause(&'static str, bool),
    /// An operator pauses the monitor in the middle of a check, for some seconds.
    PauseInCheck(u64),
    Disconnect,
    Connect,
    ClockWrongBy(i64),
    /// The machine is suspended for some seconds.
    Suspend(i64),
    /// The process is stopped for some seconds (SIGSTOP): every timer that ran out fires at once.
    Stop(i64),
}

pub(crate) struct Draw {
    pub(crate) dice: Dice,
    pub(crate) days: i64,
    authors: Vec<Keys>,
    pub(crate) acts: Vec<(i64, Act)>,
    pub(crate) written: u64,
    /// Events that many relays hold from the beginning.
    shared: Vec<Event>,
}

pub(crate) fn keys(seed: u64, number: u64) -> Keys {
    let mut bytes = [1; 32];
    bytes[8..16].copy_from_slice(&seed.to_be_bytes());
    bytes[16..24].copy_from_slice(&number.to_be_bytes());
    Keys::new(SecretKey::from_slice(&bytes).expect("a key"))
}

impl Draw {
    pub(crate) fn below(&mut self, n: i64) -> i64 {
        i64::try_from(self.dice.below(usize::try_from(n).expect("positive"))).expect("small")
    }

    pub(crate) fn one_in(&mut self, n: usize) -> bool {
        self.dice.below(n) == 0
    }

    pub(crate) fn pick<T: Clone>(&mut self, all: &[T]) -> T {
        all[self.dice.below(all.len())].clone()
    }

    pub(crate) fn length(&self) -> i64 {
        self.days * DAY
    }

    /// Returns an event of some author at a time after the beginning.
    fn event(&mut self, at: i64) -> Event {
        self.written += 1;
        let author = self.dice.low(self.authors.len());
        let kind = self.pick(&[1, 1, 1, 1, 7, 6, 0, 3, 30_023, 1_984]);
        let content = format!("{} {}", self.written, "nostr ".repeat(self.dice.low(40)));
        let builder = EventBuilder::new(Kind::from(kind), content).tag(Tag::custom(TagKind::custom("d"), ["a"]));
        builder.custom_created_at(date(at)).sign_with_keys(&self.authors[author]).expect("signed")
    }

    /// Writes what many relays hold from the beginning: most of it of the last day, so that it is worth comparing (NIP-77).
    fn share(&mut self) {
        for _ in 0..400 + self.dice.low(800) {
            let days = if self.one_in(4) { 40 } else { 1 };
            let at = -self.below(days * DAY);
            let event = self.event(at);
            self.shared.push(event);
        }
    }

    /// Returns what a relay holds at the beginning: some weeks, now and then a second with many events.
    fn history(&mut self, cap: usize) -> Vec<Event> {
        let mut events = Vec::new();
        if self.one_in(2) {
            let parts = 1 + self.dice.below(10);
            events.extend(self.shared.iter().filter(|_| self.dice.below(10) < parts).cloned());
        }
        for _ in 0..self.dice.low(300) {
            let at = -self.below(40 * DAY);
            events.push(self.event(at));
        }
        if self.one_in(4) {
            let at = -self.below(40 * DAY);
            events.extend((0..cap.min(150) + 20).map(|_| self.event(at)));
        }
        events
    }

    fn script(&mut self, is_home: bool) -> (Script, bool) {
        let cap = self.pick(&[50, 100, 500, 500, 1_000]);
        let mut script = Script::honest(if is_home { vec![] } else { self.history(cap) });
        script.cap = cap;
        // Drawn with the cap.
        script.hints = if cap == 100 { Hints::True } else { Hints::None };
        script.live = is_home || !self.one_in(4);
        if is_home {
            return (script, true);
        }
        let compares = self.one_in(2);
        if compares {
            script.negentropy = Negentropy::Speaks { withholds: 0 };
        }
        if !self.one_in(3) {
            let nips = if compares { "1,11,77" } else { "1,11" };
            let name = format!("\"name\":\"relay {}\",\"supported_nips\":[{nips}]", self.written);
            script.nip11 = Some(format!("{{{name},\"limitation\":{{\"max_limit\":{cap}}}}}"));
        }
        // To clients that are authenticated (NIP-42), as the agent is configured to be.
        script.auth = self.one_in(8);
        if !self.one_in(3) {
            return (script, true);
        }
        if compares && self.one_in(3) {
            // Most of what it holds others hold too, so that the agent compares before it has read everything.
            script.events.extend(self.shared.iter().cloned());
            script.events.sort_by_key(|event| event.id);
            script.events.dedup_by_key(|event| event.id);
            script.negentropy = Negentropy::Speaks { withholds: 1 + self.dice.low(40) };
            script.fault = self.pick(&[Fault::None, Fault::Repeats(3)]);
            return (script, false);
        }
        script.fault = self.pick(&[
            Fault::Also(vec!["{}".into(), r#"{"id":"","kind":-1}"#.into()]),
            Fault::Drip,
            Fault::Endless,
            Fault::EoseFirst,
            Fault::Fragments,
            Fault::NoOk,
            Fault::NotText,
            Fault::OkOfAnother,
            Fault::OneSubscription,
            Fault::PassesOn,
            Fault::RefusesKind(7),
            Fault::SlowOks(700),
            Fault::Trickle,
            Fault::TarPit,
            Fault::WrongUpgrade(404),
            Fault::WrongUpgrade(429),
            Fault::Mute,
            Fault::Babble,
            Fault::HalfOpen(5),
            Fault::NoEose,
            Fault::Closed("error: shutting down".into()),
            Fault::NoticeOnly,
            Fault::Drop(20),
            Fault::IgnoresWindow,
            Fault::ExclusiveWindow,
            Fault::OldestFirst,
            Fault::Jitter(10),
            Fault::FailsEach(7),
            Fault::RefusesIds,
            Fault::ZeroIsNone,
            Fault::Shuffled,
            Fault::Repeats(3),
            Fault::Scrape(100),
            Fault::BadSignatures,
            Fault::Challenges(3),
            Fault::Throttle(20_000),
            Fault::ReconnectBan(3),
            Fault::SlowPages(500),
        ]);
        (script, false)
    }

    fn relays(&mut self, n: usize) -> Vec<Arc<Relay>> {
        // Many relays on one host.
        let farm = if self.one_in(2) { (3 + self.dice.below(8)).max(self.dice.below(n / 2)).min(n - 2) } else { 0 };
        let relay = |draw: &mut Self, i: usize| {
            let host = if i > 0 && i <= farm { 1 } else { i };
            let name = if i == 0 { "home.example".to_owned() } else { format!("host{host}.example") };
            let place = SocketAddr::new(address(host), 7_000 + u16::try_from(i).expect("few"));
            let (script, honest) = draw.script(i == 0);
            let auth = if script.auth { ", NIP-42" } else { "" };
            let is_withholding = matches!(script.negentropy, Negentropy::Speaks { withholds: 1.. });
            let manner = format!("{:?}, cap {}, {:?}{auth}", script.fault, script.cap, script.negentropy);
            let down = if draw.one_in(2) { Down::Refuses } else { Down::Silent };
            let mut relay = Relay::new(&name, place, House::new(script), manner, honest, down);
            relay.is_withholding = is_withholding;
            relay.alias = (i < known(n) && draw.one_in(6)).then(|| format!("{}inbox", relay.url));
            Arc::new(relay)
        };
        (0..n).map(|i| relay(self, i)).collect()
    }

    /// Relays come and go.
    fn lives(&mut self, world: &World) {
        self.acts.push((0, Act::Up(0)));
        for (i, relay) in world.relays.iter().enumerate().skip(1) {
            if relay.is_withholding {
                // When the agent has what others hold, it compares first.
                let birth = self.below(6 * HOUR);
                self.acts.push((birth, Act::Up(i)));
                continue;
            }
            match self.dice.below(10) {
                0..6 => self.acts.push((0, Act::Up(i))),
                6 | 7 => {
                    let mut at = 0;
                    while at < self.length() {
                        self.acts.push((at, Act::Up(i)));
                        at += 2 * HOUR + self.below(2 * DAY);
                        if at < self.length() {
                            self.acts.push((at, Act::Down(i)));
                        }
                        at += 10 * MINUTE + self.below(DAY);
                    }
                }
                8 => {
                    let death = self.below(self.length());
                    self.acts.extend([(0, Act::Up(i)), (death, Act::Down(i))]);
                }
                _ => {
                    let birth = self.below(self.length());
                    self.acts.push((birth, Act::Up(i)));
                }
            }
        }
    }

    /// Authors write, most of them to several relays, most of the time at once.
    fn posts(&mut self, n: usize) {
        for _ in 0..self.length() / (10 * MINUTE) {
            let at = self.below(self.length());
            let late = match self.dice.below(20) {
                0..14 => self.below(20),
                14..18 => self.below(SETTLES),
                18 => self.below(2 * DAY),
                // A clock that is ahead.
                _ => -self.below(20 * MINUTE),
            };
            let event = self.event(at);
            let relays = (0..1 + self.dice.below(4)).map(|_| 1 + self.dice.below(n - 1)).collect();
            self.acts.push(((at + late).clamp(0, self.length()), Act::Post(event, relays)));
        }
        for _ in 0..self.days {
            let (at, relay) = (self.below(self.length()), 1 + self.dice.below(n - 1));
            let older_than = self.below(20 * DAY);
            self.acts.push((at, Act::Forget(relay, older_than)));
            let (at, relay) = (self.below(self.length()), 1 + self.dice.below(n - 1));
            self.acts.push((at, Act::Describe(relay, format!("{{\"name\":\"renamed {at}\"}}"))));
        }
    }

    /// Some authors publish lists of relays (NIP-65), which name those that are in no other list.
    fn lists(&mut self, world: &World) {
        let all = &world.relays;
        for relay in &all[known(all.len())..] {
            let builder = EventBuilder::new(Kind::from(10_002), "");
            let builder = builder.tag(Tag::custom(TagKind::custom("r"), [relay.url.trim_end_matches('/')]));
            let author = self.pick(&self.authors.clone());
            let list = builder.custom_created_at(date(10 * MINUTE)).sign_with_keys(&author).expect("signed");
            self.acts.push((10 * MINUTE, Act::Post(list, vec![0, 1, 2])));
        }
    }
}

/// Returns a time after the beginning as the date of an event.
pub(crate) fn date(at: i64) -> Timestamp {
    Timestamp::from(u64::try_from(BEGIN + at).expect("after 1970"))
}

/// Runs a seed, and compares what was recorded with what is true.
pub(crate) fn run(seed: u64, days: u64, relays: usize) -> ExitCode {
    fastrand::seed(seed);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build();
    let broken = runtime.expect("a runtime").block_on(async {
        world::start_clocks();
        log();
        simulate(seed, i64::try_from(days).expect("some days"), relays).await
    });
    if broken.is_empty() {
        return ExitCode::SUCCESS;
    }
    println!("seed {seed}: {} statements do not hold", broken.len());
    broken.iter().take(20).for_each(|one| println!("  {one}"));
    ExitCode::FAILURE
}

async fn simulate(seed: u64, days: i64, relays: usize) -> Vec<String> {
    let real = std::time::Instant::now();
    let authors = (0..20).map(|n| keys(seed, n)).collect();
    let mut draw = Draw { dice: Dice::new(seed), days, authors, acts: vec![], written: 0, shared: vec![] };
    draw.share();
    let world = Arc::new(World::new(draw.relays(relays)));
    world.relays.iter().for_each(|relay| println!("relay {}: {}", relay.url, relay.manner));
    draw.lives(&world);
    draw.posts(relays);
    draw.requests(seed);
    draw.lists(&world);
    let faults = faults::draw(&mut draw);
    draw.acts.extend(faults::kept(faults));
    draw.acts.sort_by_key(|(at, _)| *at);
    let directory = tempfile::tempdir().expect("a directory");
    write_config(directory.path(), &world);

    let mut story = Story {
        world: world.clone(),
        asked: vec![],
        away: vec![],
        cut_off: vec![],
        answers: Answers::default(),
        peak: Load::default(),
        client_logs: vec![],
    };
    let mut clients = JoinSet::new();
    story.client_logs = clients::start(&world.inbound, &mut clients);
    clients.spawn(record_answers(world.relays[0].clone(), story.answers.clone()));
    let (mut broken, mut life) = (Vec::new(), None);
    let (mut disconnected_at, mut paused_at, mut failing_since, acts) = (None, None, None, draw.acts.len());
    for (at, act) in std::mem::take(&mut draw.acts) {
        while let Ok(wait @ 1..) = u64::try_from(BEGIN + at - true_now()) {
            tokio::time::sleep(Duration::from_secs(wait)).await;
        }
        if life.is_none() && at > 0 {
            life = Some(Life::begin(directory.path(), &world).await);
        }
        if !matches!(act, Act::Post(..) | Act::Ask(_)) {
            tracing::info!(?act, "act");
        }
        let from = true_now();
        story.peak = story.peak.max(Load::now());
        match act {
            Act::Post(event, relays) => relays.iter().for_each(|i| world.relays[*i].post(&event)),
            Act::Ask(ask) => {
                world.relays[0].post(&ask.request);
                story.asked.push((ask, from));
            }
            Act::Up(i) => world.relays[i].set_up(true),
            Act::Down(i) => world.relays[i].set_up(false),
            Act::Forget(i, older_than) => {
                let before = u64::try_from(from - older_than).expect("after 1970");
                world.relays[i].forget(|event| event.created_at.as_secs() < before);
            }
            Act::Restart { orderly, after } => {
                life.take().expect("it runs").end(orderly).await;
                tokio::time::sleep(Duration::from_secs(after.unsigned_abs())).await;
                life = Some(Life::begin(directory.path(), &world).await);
                story.away.push(Away { from, until: true_now() });
            }
            Act::CrashLoop(lives) => {
                for seconds in lives {
                    life.take().expect("it runs").end(false).await;
                    life = Some(Life::begin(directory.path(), &world).await);
                    tokio::time::sleep(Duration::from_millis(seconds.unsigned_abs() * 1_000 + fastrand::u64(..1_000)))
                        .await;
                }
                story.away.push(Away { from, until: true_now() });
            }
            Act::Pause(service, paused) => {
                let vitals = life.as_ref().expect("it runs").supervisor.vitals();
                assert!(vitals.pause(service, paused), "{service} runs");
                match paused {
                    true => paused_at = Some(from),
                    false => story.away.extend(paused_at.take().map(|from| Away { from, until: true_now() })),
                }
            }
            Act::PauseInCheck(seconds) => {
                if let Some(relay) = world.until_checked().await {
                    let (from, vitals) = (true_now(), life.as_ref().expect("it runs").supervisor.vitals());
                    assert!(vitals.pause("monitor", true), "it runs");
                    tokio::time::sleep(Duration::from_secs(seconds)).await;
                    assert!(vitals.pause("monitor", false), "it runs");
                    story.cut_off.push((relay, Away { from, until: true_now() }));
                }
            }
            Act::Disconnect => {
                world.set_connected(false);
                disconnected_at = Some(from);
            }
            Act::Connect => {
                world.set_connected(true);
                story.away.extend(disconnected_at.take().map(|from| Away { from, until: true_now() }));
            }
            Act::Stop(seconds) => {
                tokio::time::advance(Duration::from_secs(seconds.unsigned_abs())).await;
                world.relays.iter().for_each(|relay| relay.cut());
                story.away.push(Away { from, until: true_now() });
            }
            Act::Describe(i, document) => world.relays[i].house.describe(document),
            Act::Database(health) => {
                world::set_database(health);
                match health {
                    Database::Works => {
                        story.away.extend(failing_since.take().map(|from| Away { from, until: true_now() }))
                    }
                    _ => failing_since = Some(from),
                }
            }
            Act::ClockWrongBy(seconds) => world::set_clock_wrong_by(seconds),
            Act::Suspend(seconds) => {
                world::suspend(seconds);
                world.relays.iter().for_each(|relay| relay.cut());
                story.away.push(Away { from, until: true_now() });
            }
        }
    }
    world.set_connected(true);
    world::set_clock_wrong_by(0);
    tokio::time::sleep(Duration::from_secs(CALM.unsigned_abs())).await;
    let life = life.take().expect("it runs");
    story.peak = story.peak.max(Load::now());
    broken.extend(checks::all(&story, &life.archive).await);
    clients.shutdown().await;
    let now = true_now() - BEGIN;
    // Of a replaceable event, an older version is not served.
    let notes = std::iter::repeat_with(|| draw.event(now)).filter(|event| event.kind == Kind::TextNote);
    let probes = notes.take(2 * clients::PROBES).collect();
    broken.extend(clients::probe(&world, probes).await);
    life.end(true).await;
    println!(
        "seed {seed}: {days} days of {relays} relays, {acts} acts, {} spans away, in {:.1} s",
        story.away.len(),
        real.elapsed().as_secs_f64()
    );
    broken
}

/// Writes the daemon's log to stderr, dated by the simulation.
fn log() {
    struct VirtualTime;
    impl tracing_subscriber::fmt::time::FormatTime for VirtualTime {
        fn format_time(&self, w: &mut tracing_subscriber::fmt::format::Writer<'_>) -> std::fmt::Result {
            let since = true_now() - BEGIN;
            write!(w, "{}d {:02}:{:02}:{:02}", since / DAY, since / HOUR % 24, since / MINUTE % 60, since % MINUTE)
        }
    }
    let level = std::env::var("SIMULATION_LOG").unwrap_or_else(|_| "info".to_owned());
    let filter = tracing_subscriber::EnvFilter::new(format!("off,brotr={level},simulation={level}"));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_timer(VirtualTime).with_ansi(false);
    builder.with_writer(std::io::stderr).init();
}
