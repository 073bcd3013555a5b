//! One visit to a relay: what opens, what answers, what it asks for.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use brotr_keys::Signer;
use brotr_storage::Network;
use nostr::{EventBuilder, Filter, Kind, Tag};
use serde::Serialize;
use serde_json::{Value, json};

use crate::config::Check;
use crate::net::info::{self, Info};
use crate::net::session::Verdict;
use crate::net::{Address, Dialer, End, Session};

/// The write test's event: ephemeral, so that a relay passes it on and keeps nothing (NIP-01), and of a kind that
/// relay monitors use.
const WRITE_TEST: Kind = Kind::Custom(20_166);

/// How one check ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Outcome {
    /// Whether it did what was asked.
    pub ok: bool,
    /// How long it took, where it was measured.
    pub ms: Option<u64>,
    /// Why not, in the relay's words or ours.
    pub reason: Option<String>,
}

impl Outcome {
    fn good(took: Duration) -> Self {
        Self { ok: true, ms: Some(millis(took)), reason: None }
    }

    fn bad(reason: impl ToString) -> Self {
        Self { ok: false, ms: None, reason: Some(reason.to_string()) }
    }
}

/// What a relay asks of its guests (NIP-66's `R`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Requirement {
    /// NIP-42.
    Auth,
    /// Money.
    Payment,
    /// NIP-13.
    Pow,
    /// Being one of those who may write.
    Writes,
}

impl Requirement {
    /// The word in tags.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Auth => "auth",
            Self::Payment => "payment",
            Self::Pow => "pow",
            Self::Writes => "writes",
        }
    }

    /// From the machine-readable prefix of a refusal (NIP-01, NIP-42), and from nothing else in it.
    fn of_refusal(reason: &str) -> Option<Self> {
        match reason.split_once(':')?.0 {
            "auth-required" => Some(Self::Auth),
            "pow" => Some(Self::Pow),
            "restricted" | "blocked" => Some(Self::Writes),
            _ => None,
        }
    }
}

/// Who signs the write test.
#[derive(Debug, Clone)]
pub enum WriteTest {
    /// No write test.
    Skip,
    /// This key.
    As(Signer),
}

/// What a visit found.
#[derive(Debug, Clone)]
pub struct Health {
    /// The relay.
    pub url: String,
    /// How it is reached.
    pub network: Network,
    /// Whether it answered as a relay does.
    pub up: bool,
    /// How each check ended, by its name.
    pub checks: BTreeMap<&'static str, Outcome>,
    /// What it asks of its guests, as far as it was measured or the document says.
    pub requires: BTreeSet<Requirement>,
    /// Its information document.
    pub info: Option<Info>,
}

impl Health {
    /// Round trips: open, read, write.
    #[must_use]
    pub fn rtt_ms(&self) -> [Option<i64>; 3] {
        ["open", "read", "write"].map(|name| self.checks.get(name)?.ms.and_then(|ms| i64::try_from(ms).ok()))
    }

    /// Why it is not up, or what went wrong first.
    #[must_use]
    pub fn reason(&self) -> Option<&str> {
        ["open", "read", "write", "nip11"].iter().find_map(|name| self.checks.get(name)?.reason.as_deref())
    }

    /// What was found, without what changes from visit to visit.
    #[must_use]
    pub fn facts(&self) -> Value {
        let checks: BTreeMap<_, _> =
            self.checks.iter().map(|(name, o)| (*name, json!({"ok": o.ok, "reason": o.reason}))).collect();
        json!({"up": self.up, "checks": checks, "requires": self.requires})
    }

    /// What was found, as `brotr check --json` prints it.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let info: Value = self.info.as_ref().and_then(|i| serde_json::from_str(&i.text).ok()).unwrap_or(Value::Null);
        json!({"url": self.url, "network": self.network, "up": self.up, "checks": self.checks,
            "requires": self.requires, "nip11": info})
    }
}

/// Visits a relay: one connection for open, read and write, one for its document.
pub async fn check(dialer: &Arc<Dialer>, address: &Address, wanted: &[Check], write: &WriteTest) -> Health {
    let mut health = Health {
        url: address.as_str().to_owned(),
        network: address.network(),
        up: false,
        checks: BTreeMap::new(),
        requires: BTreeSet::new(),
        info: None,
    };
    let (talk, document) = tokio::join!(talk(dialer, address, wanted, write), async {
        if wanted.contains(&Check::Nip11) { Some(info::fetch(dialer, address).await) } else { None }
    });
    health.up = talk.relay;
    health.checks.extend(talk.checks);
    health.requires.extend(talk.requires);
    match document {
        Some(Ok((info, took))) => {
            let says = [
                ("auth_required", Requirement::Auth),
                ("payment_required", Requirement::Payment),
                ("restricted_writes", Requirement::Writes),
                ("min_pow_difficulty", Requirement::Pow),
            ];
            // That it took an ephemeral event does not disprove what it says of those that it would keep.
            for (field, requirement) in says {
                if info.limitation(field) == Some(true) {
                    health.requires.insert(requirement);
                }
            }
            health.checks.insert("nip11", Outcome::good(took));
            health.info = Some(info);
        }
        Some(Err(error)) => {
            health.checks.insert("nip11", Outcome::bad(error));
        }
        None => {}
    }
    health
}

#[derive(Default)]
struct Talk {
    relay: bool,
    checks: Vec<(&'static str, Outcome)>,
    requires: Vec<Requirement>,
}

async fn talk(dialer: &Dialer, address: &Address, wanted: &[Check], write: &WriteTest) -> Talk {
    let mut talk = Talk::default();
    let mut session = match Session::open(dialer, address).await {
        Ok(session) => session,
        Err(error) => {
            talk.checks.push(("open", Outcome::bad(error)));
            return talk;
        }
    };
    talk.checks.push(("open", Outcome::good(session.opened_in())));
    talk.relay = true;
    if wanted.contains(&Check::Read) {
        let began = Instant::now();
        let page = session.request(&Filter::new().limit(1)).await;
        // A relay that refuses in Nostr's own words is a relay; one that says nothing is not.
        let (outcome, relay) = match page.end {
            End::Eose => (Outcome::good(page.took.unwrap_or_else(|| began.elapsed())), true),
            End::Closed(reason) => {
                // What was refused here is reading: of writing it says nothing.
                talk.requires.extend(Requirement::of_refusal(&reason).filter(|r| *r != Requirement::Writes));
                (Outcome::bad(format!("CLOSED: {reason}")), true)
            }
            End::Notice(text) => (Outcome::bad(format!("NOTICE: {text}")), true),
            End::Timeout => (Outcome::bad("no answer to a REQ"), false),
            End::Disconnect(reason) => (Outcome::bad(format!("disconnected: {reason}")), false),
            End::Overflow => (Outcome::bad("it sent events without end"), true),
        };
        talk.relay = relay;
        talk.checks.push(("read", outcome));
    }
    if wanted.contains(&Check::Write)
        && talk.relay
        && let WriteTest::As(signer) = write
    {
        let test = EventBuilder::new(WRITE_TEST, "").tag(Tag::identifier(address.as_str()));
        let outcome = match signer.sign(test) {
            Err(error) => Outcome::bad(error),
            Ok(event) => {
                let began = Instant::now();
                match session.publish(&event).await {
                    Verdict::Accepted => Outcome::good(began.elapsed()),
                    Verdict::Refused(reason) => {
                        talk.requires.extend(Requirement::of_refusal(&reason));
                        Outcome::bad(reason)
                    }
                    Verdict::Unanswered(End::Disconnect(reason)) => Outcome::bad(format!("disconnected: {reason}")),
                    Verdict::Unanswered(_) => Outcome::bad("no answer to an EVENT"),
                }
            }
        };
        talk.checks.push(("write", outcome));
    }
    session.close().await;
    talk
}

fn millis(took: Duration) -> u64 {
    u64::try_from(took.as_millis()).unwrap_or(u64::MAX)
}
