//! One check of a relay, over two connections: name lookup, certificate, open, read, write, and the information document.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use brotr_core::{Network, RelayUrl};
use brotr_keys::Signer;
use brotr_net::http::HttpError;
use brotr_net::info::{self, Info};
use brotr_net::{DialError, Dialer, End, Session, Trace, Verdict};
use nostr::{Event, EventBuilder, Filter, Kind, Tag};

use super::health::{Health, Outcome, Requirement, Silence};
use super::place::Places;
use super::probe::{self, Probe, Probes};
use crate::clock::timestamp;
use crate::config::Check;
use tokio::time::Instant;

/// The event of the write test: ephemeral, so that relays forward and do not store it (NIP-01), and of a kind that relay
/// monitors use.
const WRITE_TEST: Kind = Kind::Custom(20_166);
/// Events that are read, to see their order.
const READ: usize = 3;
/// The write test waits this many round trips for an OK, but not less than [`LEAST_WAIT`].
const ROUND_TRIPS: u32 = 10;
/// The shortest time limit of a write test.
const LEAST_WAIT: Duration = Duration::from_secs(2);

/// Who signs the write test.
#[derive(Debug, Clone)]
pub enum WriteTest {
    /// No write test.
    Skip,
    /// This key.
    As(Signer),
}

/// What a check does.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The parts of the check.
    pub checks: Vec<Check>,
    /// Who signs the write test.
    pub write: WriteTest,
    /// The most proof of work (NIP-13), in bits, that the write test is mined to if a relay requires it.
    pub max_pow: u8,
    /// Locations of addresses.
    pub places: Arc<Places>,
}

impl Plan {
    /// Returns a plan without location databases.
    #[must_use]
    pub fn new(checks: &[Check], write: WriteTest) -> Self {
        Self { checks: checks.to_vec(), write, max_pow: 0, places: Arc::default() }
    }

    fn wants(&self, check: Check) -> bool {
        self.checks.contains(&check)
    }
}

/// Checks a relay: one connection for open, read, probes and write, one for its document. A relay that is followed is checked over
/// the connection that is open to it.
pub async fn check(dialer: &Arc<Dialer>, address: &RelayUrl, plan: &Plan) -> Health {
    let mut health = Health {
        url: address.as_str().to_owned(),
        network: address.network(),
        up: false,
        failure: None,
        checks: BTreeMap::new(),
        requires: BTreeSet::new(),
        info: None,
        trace: Trace::default(),
        probes: Probes::new(),
        place: None,
        is_ours: false,
        answered_at: None,
        silent: None,
    };
    let (session, page) = match join(dialer, address, plan, &mut health).await {
        Ok((session, page)) => (Some(session), Some(page)),
        Err(failed) if health.checks.contains_key("nip11") => {
            let opened = open(dialer, address, plan, &mut health).await;
            if failed == NotShared::Limited && health.is_good("read") {
                dialer.keep_alone(address);
            }
            opened
        }
        Err(_) => {
            let document =
                async { if plan.wants(Check::Nip11) { Some(info::fetch(dialer, address).await) } else { None } };
            let (opened, document) = tokio::join!(open(dialer, address, plan, &mut health), document);
            take_document(&mut health, document);
            opened
        }
    };
    let challenged = session.as_ref().is_some_and(|session| session.challenge().is_some());
    if let Some(page) = page {
        health.probes = probe::of_reading(&page, challenged, health.info.as_ref());
    }
    if let Some(mut session) = session {
        let mut is_usable = true;
        if health.up
            && plan.wants(Check::Read)
            && let Some(info) = &health.info
        {
            let mut probes = probe::claimed(&mut session, info).await;
            if session.is_shared() && probes.values().any(Probe::is_in_doubt) {
                // Others may have used up what the relay allows one connection.
                is_usable = session.reopen(dialer, address).await.is_ok();
                if is_usable {
                    probes = probe::claimed(&mut session, info).await;
                } else {
                    probes.retain(|_, probe| !probe.is_in_doubt());
                }
                if is_usable && !probes.values().any(Probe::is_in_doubt) {
                    dialer.keep_alone(address);
                }
            }
            health.probes.extend(probes);
        }
        if health.up && plan.wants(Check::Write) && is_usable {
            // The longest round trip so far, including the open, within the general limit.
            let read = health.checks.get("read").and_then(|outcome| outcome.ms).map(Duration::from_millis);
            let round_trip = session.opened_in().max(read.unwrap_or_default());
            let limit = dialer.limits(address.network()).request_timeout;
            let time_limit = (round_trip * ROUND_TRIPS).max(LEAST_WAIT).min(limit);
            write(&mut session, dialer, address, time_limit, plan, &mut health).await;
        }
        session.close().await;
    }
    locate(&mut health, address, plan).await;
    health
}

/// Returns true if a server that answers with this HTTP status may accept WebSockets as well: it has the document, or none.
fn is_served(status: u16) -> bool {
    matches!(status, 200 | 400 | 404..=428)
}

/// Why a check is not made over a connection that is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum NotShared {
    /// No connection is open, others use it, or what it shows is not what is measured.
    Unsuitable,
    /// The relay did not answer on it.
    Limited,
}

/// Reads over a connection to the relay that is open, if there is one. The connection for its document shows whether new ones
/// can be opened, and how long that takes. If either fails, a connection of the check's own decides.
async fn join(
    dialer: &Arc<Dialer>,
    address: &RelayUrl,
    plan: &Plan,
    health: &mut Health,
) -> Result<(Session, brotr_net::Page), NotShared> {
    if !plan.wants(Check::Nip11) || !plan.wants(Check::Read) {
        return Err(NotShared::Unsuitable);
    }
    // A relay may show more to a client that is authenticated.
    let mut session = Session::join(dialer, address, false).await.ok_or(NotShared::Unsuitable)?;
    let mut trace = Trace::default();
    let document = info::fetch_traced(dialer, address, &mut trace).await;
    take_document(health, Some(document));
    let opened = trace.opened.filter(|_| trace.status.is_some_and(is_served)).ok_or(NotShared::Unsuitable)?;
    if !session.keep_turn().await {
        return Err(NotShared::Unsuitable);
    }
    let held_up = session.held_up();
    let page = session.request(&Filter::new().limit(READ)).await;
    let took = match (&page.end, page.took) {
        (End::Eose, Some(took)) if session.held_up() == held_up => took,
        (End::Closed(_) | End::Notice(_) | End::Timeout, _) => return Err(NotShared::Limited),
        _ => return Err(NotShared::Unsuitable),
    };
    health.trace = trace;
    look(health, address, plan, None);
    health.checks.insert("open", Outcome::good(opened));
    health.checks.insert("read", read(&page, took));
    (health.up, health.answered_at) = (true, Some(Instant::now()));
    Ok((session, page))
}

/// Opens the WebSocket and reads; returns the session, if it can be used further, and the page.
async fn open(
    dialer: &Dialer,
    address: &RelayUrl,
    plan: &Plan,
    health: &mut Health,
) -> (Option<Session>, Option<brotr_net::Page>) {
    let began = Instant::now();
    let opened = Session::open_traced(dialer, address, &mut health.trace).await;
    let ended = Instant::now();
    look(health, address, plan, opened.as_ref().err());
    let mut session = match opened {
        Ok(session) => {
            health.answered_at = Some(ended);
            session
        }
        Err(error) => {
            match &error {
                error if error.is_ours() => health.is_ours = true,
                DialError::Unreachable(..) => {}
                // It answered, though not as a relay does.
                DialError::Upgrade(_) => health.answered_at = Some(ended),
                _ => {
                    // Time before this was spent waiting for a permit.
                    let limit = dialer.limits(address.network()).connect_timeout;
                    let began = ended.checked_sub(limit).map_or(began, |earliest| began.max(earliest));
                    health.silent = Some(Silence { span: began..ended, is_local: error.is_local() });
                }
            }
            health.failure = Some(error.code());
            health.checks.insert("open", Outcome::bad(error));
            return (None, None);
        }
    };
    health.checks.insert("open", Outcome::good(session.opened_in()));
    health.up = true;
    if !plan.wants(Check::Read) {
        return (Some(session), None);
    }
    let began = Instant::now();
    let page = session.request(&Filter::new().limit(READ)).await;
    // A relay that refuses in Nostr's own terms is a relay; one that sends nothing is not.
    let (outcome, relay) = match &page.end {
        End::Eose => (read(&page, page.took.unwrap_or_else(|| began.elapsed())), true),
        End::Closed(reason) => {
            // What was refused here is reading, which says nothing about writing.
            health.requires.extend(Requirement::of_refusal(reason).filter(|r| *r != Requirement::Writes));
            (Outcome::bad(format!("CLOSED: {reason}")), true)
        }
        End::Notice(text) => (Outcome::bad(format!("NOTICE: {text}")), true),
        End::Timeout => {
            (Outcome::bad("no answer to a REQ: a WebSocket server that is no relay, or one that hangs"), false)
        }
        End::Disconnect(reason) => (Outcome::bad(format!("disconnected: {reason}")), false),
        End::Overflow => (Outcome::bad("it sent events without end"), true),
    };
    health.up = relay;
    match relay {
        true => health.answered_at = Some(Instant::now()),
        false => {
            health.failure =
                Some(Cow::Borrowed(if matches!(page.end, End::Timeout) { "timeout_read" } else { "disconnected" }));
            health.silent = Some(Silence { span: began..Instant::now(), is_local: false });
        }
    }
    health.checks.insert("read", outcome);
    let alive = !matches!(page.end, End::Disconnect(_));
    (alive.then_some(session), Some(page))
}

/// Returns the result of a read test that ended with EOSE. Events count only if their signatures are valid; a relay without
/// events is readable.
fn read(page: &brotr_net::Page, took: Duration) -> Outcome {
    let mut came = page.events.iter().chain(&page.late).peekable();
    let is_empty = page.transferred == 0 && came.peek().is_none();
    let is_signed = |event: &brotr_core::RawEvent| event.parse().is_ok_and(|event| event.verify().is_ok());
    if is_empty || came.any(is_signed) {
        return Outcome::good(took);
    }
    Outcome::bad(match page.transferred {
        0 | 1 => "the event that came has no valid id and signature".to_owned(),
        n => format!("none of the {n} events that came has a valid id and signature"),
    })
}

/// Records what was seen until the WebSocket was open.
fn look(health: &mut Health, address: &RelayUrl, plan: &Plan, error: Option<&DialError>) {
    if plan.wants(Check::Dns) {
        let outcome = match (&health.trace.lookup, error) {
            (Some(lookup), _) => Some(Outcome::good(lookup.took)),
            (None, Some(DialError::Resolve(_, why))) => Some(Outcome::bad(why)),
            _ => None,
        };
        health.checks.extend(outcome.map(|outcome| ("dns", outcome)));
    }
    if plan.wants(Check::Ssl)
        && address.network() == Network::Clearnet
        && let Some(tls) = health.trace.tls()
    {
        let outcome = match (tls.is_valid(), tls.refused, tls.took) {
            (Some(true), _, Some(took)) => Some(Outcome::good(took)),
            (Some(true), _, None) => Some(Outcome::found()),
            (Some(false), why, _) => Some(Outcome::bad(why.unwrap_or_default())),
            (None, ..) => match error {
                Some(DialError::Tls(why)) => Some(Outcome::bad(why)),
                _ => None,
            },
        };
        health.checks.extend(outcome.map(|outcome| ("ssl", outcome)));
    }
}

fn take_document(health: &mut Health, document: Option<Result<(Info, Duration), HttpError>>) {
    match document {
        Some(Ok((info, took))) => {
            let fields = [
                ("auth_required", Requirement::Auth),
                ("payment_required", Requirement::Payment),
                ("restricted_writes", Requirement::Writes),
                ("min_pow_difficulty", Requirement::Pow),
            ];
            // Accepting an ephemeral event does not disprove a requirement for stored ones.
            for (field, requirement) in fields {
                if info.limitation(field) == Some(true) {
                    health.requires.insert(requirement);
                }
            }
            health.checks.insert("nip11", Outcome::good(took));
            health.info = Some(info);
        }
        // Not tried is not a failure.
        Some(Err(HttpError::Busy)) | None => {}
        Some(Err(error)) => {
            health.checks.insert("nip11", Outcome::bad(error));
        }
    }
}

/// Sends an event that a relay may accept from a monitor, and judges by its OK or by reading it back.
async fn write(
    session: &mut Session,
    dialer: &Dialer,
    address: &RelayUrl,
    time_limit: Duration,
    plan: &Plan,
    health: &mut Health,
) {
    let WriteTest::As(signer) = &plan.write else { return };
    if health.info.as_ref().is_some_and(|info| info.limitation("restricted_writes") == Some(true)) {
        health.checks.insert("write", Outcome::unknown("not tried: its document says that writes are restricted"));
        return;
    }
    let bits = health.info.as_ref().and_then(|info| info.limit("min_pow_difficulty")).unwrap_or(0);
    if bits > u64::from(plan.max_pow) {
        let reason = format!("not tried: it asks for {bits} bits of work, and monitor.max_pow is {}", plan.max_pow);
        health.checks.insert("write", Outcome::bad(reason));
        return;
    }
    // Unique: two checks in one second would send the same event.
    let nonce = fastrand::u64(..).to_string();
    let mut test =
        EventBuilder::new(WRITE_TEST, nonce).tag(Tag::identifier(health.url.as_str())).custom_created_at(timestamp());
    if bits > 0 {
        test = test.pow(u8::try_from(bits).unwrap_or(u8::MAX));
    }
    let signer = signer.clone();
    // Mining takes a core for a while.
    let signed = tokio::task::spawn_blocking(move || signer.sign(test)).await;
    let outcome = match signed.map_err(|e| e.to_string()).and_then(|signed| signed.map_err(|e| e.to_string())) {
        Err(error) => Outcome::bad(error),
        Ok(event) => match publish(session, dialer, address, &event, time_limit).await {
            (Verdict::Accepted, took) => took.map_or_else(Outcome::found, Outcome::good),
            (Verdict::Refused(reason), _) => {
                health.requires.extend(Requirement::of_refusal(&reason));
                Outcome::bad(reason)
            }
            (Verdict::Unanswered(End::Disconnect(reason)), _) => Outcome::bad(format!("disconnected: {reason}")),
            (Verdict::Unanswered(_), _) => {
                Outcome::unknown("no OK to an EVENT, and the event did not come back either")
            }
        },
    };
    health.checks.insert("write", outcome);
}

/// Sends an event, again over a connection of the check's own if the relay did not judge the event, but a connection that others
/// use. Returns how long it took, if that is the relay's time.
async fn publish(
    session: &mut Session,
    dialer: &Dialer,
    address: &RelayUrl,
    event: &Event,
    time_limit: Duration,
) -> (Verdict, Option<Duration>) {
    let held_up = session.held_up();
    let (verdict, took) = session.publish_watched(event, time_limit).await;
    let is_final = match &verdict {
        Verdict::Accepted => session.held_up() == held_up,
        Verdict::Refused(reason) => !reason.starts_with("rate-limited:"),
        Verdict::Unanswered(_) => false,
    };
    if is_final || !session.is_shared() {
        return (verdict, Some(took));
    }
    let is_accepted = verdict == Verdict::Accepted;
    if session.reopen(dialer, address).await.is_err() {
        return (verdict, None);
    }
    match session.publish_watched(event, time_limit).await {
        // It has the event from the first try.
        (Verdict::Refused(reason), _) if reason.starts_with("duplicate:") => (Verdict::Accepted, None),
        (again, _) if is_accepted && again != Verdict::Accepted => (Verdict::Accepted, None),
        (again, took) => {
            if !is_accepted && again == Verdict::Accepted {
                dialer.keep_alone(address);
            }
            (again, Some(took))
        }
    }
}

/// Looks up the location of the address that was connected to.
async fn locate(health: &mut Health, address: &RelayUrl, plan: &Plan) {
    let (net, geo) = (plan.wants(Check::Net), plan.wants(Check::Geo) && plan.places.tell_cities());
    let Some(peer) = health.trace.peer.filter(|_| (net || geo) && address.network() == Network::Clearnet) else {
        return;
    };
    let places = plan.places.clone();
    let Ok(place) = tokio::task::spawn_blocking(move || places.of(peer.ip())).await else { return };
    if net {
        health.checks.insert("net", Outcome::found());
    }
    if geo {
        let outcome = if place.is_located() { Outcome::found() } else { Outcome::bad("its address is in no database") };
        health.checks.insert("geo", outcome);
    }
    health.place = Some(place);
}
