//! The simulated internet: hosts with relays that come and go, and what each of them truly held, and when it was up.

use std::collections::{BTreeMap, HashMap};
use std::io::{Error, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;
use brotr_net::{Internet, Lookup, LookupError, Stream};
use brotr_storage::InjectedFault;
use brotr_tests::House;
use nostr::{Event, EventId, Kind};
use tokio::sync::broadcast::error::RecvError;
use tokio::task::AbortHandle;
use tokio::time::Instant;

use crate::clients::{ClientLog, Inbound};
use crate::customers::Ask;

/// The time at which every simulation begins, in unix seconds.
pub(crate) const BEGIN: i64 = 1_750_000_000;

/// How many seconds late an event may reach a relay and still be covered.
pub(crate) const SETTLES: i64 = 100;

/// Milliseconds that the system's clock is wrong by.
static WRONG_BY: AtomicI64 = AtomicI64::new(0);

/// Milliseconds for which the machine was suspended: all clocks count them but the one that timers use.
static SUSPENDED: AtomicI64 = AtomicI64::new(0);

/// The health of the agent's database.
static DATABASE: Mutex<Database> = Mutex::new(Database::Works);

/// The health of the agent's database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Database {
    Works,
    /// One call in eight fails; half of them were done nevertheless.
    Fails,
    /// No call is done.
    Away,
    /// The disk is full: no call that writes is done.
    DiskFull,
    /// Each call takes up to three seconds.
    Slow,
}

pub(crate) fn set_database(health: Database) {
    *locked(&DATABASE) = health;
}

/// The store calls that only read.
const READING: [&str; 36] = [
    "answered_customers",
    "billed_job",
    "claims_by_method",
    "count",
    "coverage",
    "customers",
    "deliveries",
    "documents",
    "due_outgoing",
    "due_relays",
    "failures",
    "free_jobs",
    "gaps_by_reason",
    "held_result",
    "holders",
    "ids",
    "job",
    "job_answer",
    "jobs",
    "known",
    "last_stored",
    "lost",
    "nip11_history",
    "open_invoices",
    "page",
    "progress",
    "relay",
    "relays",
    "revenue",
    "sketch",
    "standing",
    "state",
    "states",
    "stats",
    "stored_after",
    "visits",
];

/// Those that write.
const WRITING: [&str; 29] = [
    "accept_job",
    "add_relays",
    "bill_again",
    "bill_job",
    "cancel_job",
    "claim",
    "clamp_future",
    "clear",
    "delivered",
    "end_job",
    "enqueue",
    "enqueue_with_state",
    "forget_visits",
    "lapse_job",
    "pay",
    "postpone_job",
    "prune",
    "put_back_jobs",
    "record_check",
    "register_agent",
    "release",
    "release_leaders",
    "renew",
    "set_check_due",
    "set_state",
    "set_sync_due",
    "store",
    "take_job",
    "try_acquire_leader",
];

/// How often each store call was made.
static CALLS: Mutex<BTreeMap<&'static str, u64>> = Mutex::new(BTreeMap::new());

/// Returns how often each store call was made.
pub(crate) fn calls() -> BTreeMap<&'static str, u64> {
    locked(&CALLS).clone()
}

/// Decides whether a store call fails.
pub(crate) fn fault(call: &'static str) -> Option<InjectedFault> {
    *locked(&CALLS).entry(call).or_default() += 1;
    let health = *locked(&DATABASE);
    match health {
        Database::Works => None,
        Database::Fails => match fastrand::u8(..16) {
            0 => Some(InjectedFault::RolledBack),
            1 => Some(InjectedFault::Uncertain),
            _ => None,
        },
        Database::Away => Some(InjectedFault::RolledBack),
        Database::DiskFull if READING.contains(&call) => None,
        Database::DiskFull => {
            assert!(WRITING.contains(&call), "does {call} read or write?");
            Some(InjectedFault::DiskFull)
        }
        Database::Slow => Some(InjectedFault::Delayed(Duration::from_millis(fastrand::u64(..3_000)))),
    }
}

/// The runtime's clock when the simulation began.
static BEGAN: Mutex<Option<Instant>> = Mutex::new(None);

/// Replaces the clocks of the process by the runtime's.
pub(crate) fn start_clocks() {
    *BEGAN.lock().expect("no holder panics") = Some(Instant::now());
    assert!(brotr_core::clock::replace(brotr_core::clock::Clocks {
        system_ms: || BEGIN * 1_000 + elapsed_ms() + WRONG_BY.load(Ordering::Relaxed),
        uptime_ms: || 1_000_000 + elapsed_ms(),
    }));
}

fn elapsed_ms() -> i64 {
    let began = BEGAN.lock().expect("no holder panics").expect("started");
    i64::try_from(began.elapsed().as_millis()).expect("some years") + SUSPENDED.load(Ordering::Relaxed)
}

/// Returns the true time, in unix seconds.
pub(crate) fn true_now() -> i64 {
    BEGIN + elapsed_ms() / 1_000
}

/// Suspends the machine for some seconds.
pub(crate) fn suspend(seconds: i64) {
    SUSPENDED.fetch_add(seconds * 1_000, Ordering::Relaxed);
}

/// Sets the system's clock ahead of the true time, or behind it.
pub(crate) fn set_clock_wrong_by(seconds: i64) {
    WRONG_BY.store(seconds * 1_000, Ordering::Relaxed);
}

/// An event that a relay holds.
#[derive(Debug, Clone)]
pub(crate) struct Held {
    pub(crate) event: Event,
    /// From when, in unix seconds.
    pub(crate) from: i64,
    /// Until when, if the relay has forgotten it.
    pub(crate) until: Option<i64>,
}

/// How a relay fails to be reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Down {
    Refuses,
    Silent,
}

/// A relay of the model.
pub(crate) struct Relay {
    pub(crate) url: String,
    pub(crate) host: String,
    pub(crate) place: SocketAddr,
    pub(crate) house: House,
    /// What it is, for messages.
    pub(crate) manner: String,
    /// Whether it answers every request as NIP-01 says.
    pub(crate) honest: bool,
    /// Another URL of it: a path that its server does not look at.
    pub(crate) alias: Option<String>,
    /// Whether it names events by NIP-77 that it does not return.
    pub(crate) is_withholding: bool,
    pub(crate) down: Down,
    up: AtomicBool,
    /// When it came up or went down, oldest first.
    pub(crate) changes: Mutex<Vec<(i64, bool)>>,
    pub(crate) held: Mutex<Vec<Held>>,
    /// When the agent connected.
    pub(crate) visited: Mutex<Vec<i64>>,
    guests: Mutex<Vec<AbortHandle>>,
}

impl Relay {
    pub(crate) fn new(host: &str, place: SocketAddr, house: House, manner: String, honest: bool, down: Down) -> Self {
        let held = house.events().into_iter().map(|event| Held { event, from: i64::MIN, until: None }).collect();
        Self {
            url: format!("ws://{host}:{}/", place.port()),
            host: host.to_owned(),
            place,
            house,
            manner,
            honest,
            alias: None,
            is_withholding: false,
            down,
            up: AtomicBool::new(false),
            changes: Mutex::default(),
            held: Mutex::new(held),
            visited: Mutex::default(),
            guests: Mutex::default(),
        }
    }

    pub(crate) fn is_up(&self) -> bool {
        self.up.load(Ordering::Relaxed)
    }

    pub(crate) fn set_up(&self, up: bool) {
        if self.up.swap(up, Ordering::Relaxed) != up {
            locked(&self.changes).push((true_now(), up));
        }
        if !up {
            self.cut();
        }
    }

    /// Whether it was up, or down, for the whole of a span.
    pub(crate) fn was(&self, up: bool, from: i64, until: i64) -> bool {
        let changes = locked(&self.changes);
        let before = changes.iter().rev().find(|(at, _)| *at <= from).is_some_and(|(_, up)| *up);
        before == up && !changes.iter().any(|(at, _)| (from..=until).contains(at))
    }

    /// Returns for how long it has been up without a break, less the time for which it was down before: a relay that was down
    /// is checked less and less often.
    pub(crate) fn settled_for(&self) -> i64 {
        let changes = locked(&self.changes);
        let Some((since, true)) = changes.last().copied() else { return -1 };
        let down_since = changes.iter().rev().nth(1).map_or(BEGIN, |(at, _)| *at);
        true_now() - since - (since - down_since).min(7 * 86_400)
    }

    /// Returns for how long its return may not have been noticed: a relay that was down is checked as seldom as it was long.
    pub(crate) fn noticed_late(&self) -> i64 {
        let changes = locked(&self.changes);
        let begins = std::iter::once((BEGIN, false)).chain(changes.iter().copied());
        let pairs = begins.zip(changes.iter().copied());
        pairs
            .filter(|((_, was), (_, is))| !was && *is)
            .map(|((from, _), (until, _))| (until - from).min(7 * 86_400))
            .sum()
    }

    /// Ends its connections.
    pub(crate) fn cut(&self) {
        locked(&self.guests).drain(..).for_each(|guest| guest.abort());
    }

    pub(crate) fn post(&self, event: &Event) {
        let mut held = locked(&self.held);
        if held.iter().all(|one| one.event.id != event.id) {
            held.push(Held { event: event.clone(), from: true_now(), until: None });
        }
        self.house.add(event.clone());
    }

    /// Forgets what `gone` names.
    pub(crate) fn forget(&self, gone: impl Fn(&Event) -> bool) {
        let mut held = locked(&self.held);
        for one in held.iter_mut().filter(|one| one.until.is_none() && gone(&one.event)) {
            one.until = Some(true_now());
        }
        self.house.replace(held.iter().filter(|one| one.until.is_none()).map(|one| one.event.clone()).collect());
    }
}

pub(crate) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("no holder panics")
}

/// All relays, and the way to them.
pub(crate) struct World {
    pub(crate) relays: Vec<Arc<Relay>>,
    /// Connections of clients to the agent.
    pub(crate) inbound: Arc<Inbound>,
    names: HashMap<String, IpAddr>,
    places: HashMap<SocketAddr, Arc<Relay>>,
    /// Whether the agent's machine has a network.
    connected: AtomicBool,
}

impl World {
    pub(crate) fn new(relays: Vec<Arc<Relay>>) -> Self {
        let names = relays.iter().map(|relay| (relay.host.clone(), relay.place.ip())).collect();
        let places = relays.iter().map(|relay| (relay.place, relay.clone())).collect();
        Self { relays, inbound: Arc::default(), names, places, connected: AtomicBool::new(true) }
    }

    pub(crate) fn set_connected(&self, connected: bool) {
        self.connected.store(connected, Ordering::Relaxed);
        if !connected {
            self.relays.iter().for_each(|relay| relay.cut());
        }
    }

    /// Waits until a relay is asked for its document, in the middle of a check; returns its place.
    pub(crate) async fn until_checked(&self) -> Option<usize> {
        let asked = |relay: &Arc<Relay>| relay.house.counts.documents.load(Ordering::Relaxed);
        let before: Vec<usize> = self.relays.iter().map(asked).collect();
        for _ in 0..360_000 {
            if let Some(place) = self.relays.iter().zip(&before).position(|(relay, before)| asked(relay) > *before) {
                return Some(place);
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        None
    }

    fn is_connected(&self) -> bool {
        self.connected.load(Ordering::Relaxed)
    }
}

/// Returns the address of the host with this number: a public one.
pub(crate) fn address(host: usize) -> IpAddr {
    let [_, _, high, low] = u32::try_from(host + 1).expect("few").to_be_bytes();
    IpAddr::V4(Ipv4Addr::new(9, 20, high, low))
}

#[async_trait]
impl Internet for World {
    async fn lookup(&self, host: &str) -> Result<Lookup, LookupError> {
        tokio::time::sleep(Duration::from_millis(fastrand::u64(1..40))).await;
        if !self.is_connected() {
            return Err(LookupError::NoAnswer);
        }
        let address = self.names.get(host).ok_or(LookupError::NoName)?;
        Ok(Lookup { addresses: vec![*address], ttl: 300, ..Lookup::default() })
    }

    #[expect(clippy::disallowed_methods, reason = "the handle is kept, and aborted when the relay goes down")]
    async fn connect(&self, to: SocketAddr) -> std::io::Result<Box<dyn Stream>> {
        tokio::time::sleep(Duration::from_millis(fastrand::u64(5..300))).await;
        if !self.is_connected() {
            return Err(Error::from_raw_os_error(101));
        }
        let relay = self.places.get(&to).ok_or_else(|| Error::from(ErrorKind::HostUnreachable))?;
        if !relay.is_up() {
            match relay.down {
                Down::Refuses => return Err(Error::from_raw_os_error(111)),
                Down::Silent => std::future::pending().await,
            }
        }
        let (ours, theirs) = tokio::io::duplex(1 << 16);
        locked(&relay.visited).push(true_now());
        let house = relay.house.clone();
        let guest = tokio::spawn(async move {
            // A guest who leaves is no failure of the house.
            let _ = house.serve(theirs).await;
        });
        let mut guests = locked(&relay.guests);
        guests.retain(|guest| !guest.is_finished());
        guests.push(guest.abort_handle());
        Ok(Box::new(ours))
    }
}

/// A span in which the agent could not work, in unix seconds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Away {
    pub(crate) from: i64,
    pub(crate) until: i64,
}

/// What the process holds at a time.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Load {
    pub(crate) descriptors: usize,
    pub(crate) tasks: usize,
    /// Resident memory, in MiB.
    pub(crate) resident: u64,
}

impl Load {
    pub(crate) fn now() -> Self {
        let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let resident = resident.and_then(|kib| kib.split_whitespace().next()?.parse::<u64>().ok()).expect("a size");
        Self {
            descriptors: std::fs::read_dir("/proc/self/fd").expect("Linux").count(),
            tasks: tokio::runtime::Handle::current().metrics().num_alive_tasks(),
            resident: resident >> 10,
        }
    }

    pub(crate) fn max(self, other: Self) -> Self {
        Self {
            descriptors: self.descriptors.max(other.descriptors),
            tasks: self.tasks.max(other.tasks),
            resident: self.resident.max(other.resident),
        }
    }
}

/// When each answer to a job first came, by the job and the answer: one that was not confirmed is sent again.
pub(crate) type Answers = Arc<Mutex<HashMap<EventId, BTreeMap<EventId, i64>>>>;

/// Records when answers to jobs come to a relay, until the simulation ends.
pub(crate) async fn record_answers(relay: Arc<Relay>, answers: Answers) {
    let mut news = relay.house.follow();
    loop {
        match news.recv().await {
            Ok(event) if event.kind == Kind::from(6_400) => {
                let job = event.tags.event_ids().next().copied().expect("it names its job");
                locked(&answers).entry(job).or_default().entry(event.id).or_insert_with(true_now);
            }
            Ok(_) => {}
            Err(RecvError::Lagged(missed)) => panic!("{missed} events of the agent's own relay were missed"),
            Err(RecvError::Closed) => return,
        }
    }
}

/// What was done, for the checks.
pub(crate) struct Story {
    pub(crate) world: Arc<World>,
    /// Requests for jobs, and when they were sent.
    pub(crate) asked: Vec<(Ask, i64)>,
    pub(crate) away: Vec<Away>,
    /// The relays that were checked when the monitor was paused for a moment.
    pub(crate) cut_off: Vec<(usize, Away)>,
    /// When answers came to the agent's own relay, by the job.
    pub(crate) answers: Answers,
    /// The most that the process held.
    pub(crate) peak: Load,
    /// What the clients received that read what they request.
    pub(crate) client_logs: Vec<Arc<Mutex<ClientLog>>>,
}
