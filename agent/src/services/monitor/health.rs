//! The result of a check.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::time::Duration;

use brotr_core::{Network, sanitize};
use brotr_net::Trace;
use brotr_net::info::Info;
use serde::Serialize;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::place::Place;
use super::probe::Probes;

/// The result of one part of a check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Outcome {
    /// Whether it succeeded; `None` if that could not be determined.
    pub ok: Option<bool>,
    /// How long it took, if measured.
    pub ms: Option<u64>,
    /// Why it failed, in the relay's words or ours.
    pub reason: Option<String>,
}

impl Outcome {
    pub(super) fn good(took: Duration) -> Self {
        Self { ok: Some(true), ms: Some(millis(took)), reason: None }
    }

    pub(super) fn found() -> Self {
        Self { ok: Some(true), ms: None, reason: None }
    }

    pub(super) fn bad(reason: impl ToString) -> Self {
        Self { ok: Some(false), ms: None, reason: Some(sanitize(&reason.to_string())) }
    }

    /// Returns a result that shows nothing for or against the relay.
    pub(super) fn unknown(reason: impl ToString) -> Self {
        Self { ok: None, ms: None, reason: Some(sanitize(&reason.to_string())) }
    }
}

/// What a relay requires of its clients (tag `R` of NIP-66).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Requirement {
    /// Authentication (NIP-42).
    Auth,
    /// Payment.
    Payment,
    /// Proof of work (NIP-13).
    Pow,
    /// Permission to write.
    Writes,
}

impl Requirement {
    /// Returns its name in tags.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Auth => "auth",
            Self::Payment => "payment",
            Self::Pow => "pow",
            Self::Writes => "writes",
        }
    }

    /// Parses the machine-readable prefix of a refusal (NIP-01, NIP-42); the rest of it is ignored.
    pub(super) fn of_refusal(reason: &str) -> Option<Self> {
        match reason.split_once(':')?.0 {
            "auth-required" => Some(Self::Auth),
            "pow" => Some(Self::Pow),
            "payment-required" => Some(Self::Payment),
            "restricted" | "blocked" => Some(Self::Writes),
            _ => None,
        }
    }
}

/// The result of a check.
#[derive(Debug, Clone)]
pub struct Health {
    /// The relay.
    pub url: String,
    /// Its network.
    pub network: Network,
    /// Whether it answered as a relay does.
    pub up: bool,
    /// A code for why it is not up.
    pub failure: Option<Cow<'static, str>>,
    /// Results by name.
    pub checks: BTreeMap<&'static str, Outcome>,
    /// What it requires of clients, as measured or as its document says.
    pub requires: BTreeSet<Requirement>,
    /// Its information document.
    pub info: Option<Info>,
    /// What was seen until the WebSocket was open.
    pub trace: Trace,
    /// Claims of its document, and what was found of each.
    pub probes: Probes,
    /// The location of its address, if looked up.
    pub place: Option<Place>,
    /// True if the relay was not reached for a reason of our own (no way into its network, or an outage), which says nothing
    /// about the relay.
    pub is_ours: bool,
    /// When its host last answered.
    pub answered_at: Option<Instant>,
    /// The wait for an answer, if none came.
    pub silent: Option<Silence>,
}

/// A wait for an answer that did not come.
#[derive(Debug, Clone)]
pub struct Silence {
    /// When it began and ended.
    pub span: Range<Instant>,
    /// Whether nothing beyond this machine answered: see [`DialError::is_local`].
    pub is_local: bool,
}

impl Health {
    /// Returns round trips: open, read, write.
    #[must_use]
    pub fn rtt_ms(&self) -> [Option<i64>; 3] {
        ["open", "read", "write"].map(|name| self.checks.get(name)?.ms.and_then(|ms| i64::try_from(ms).ok()))
    }

    /// Returns why it is not up, or the first failure.
    #[must_use]
    pub fn reason(&self) -> Option<&str> {
        let failed = |name: &&str| self.checks.get(*name).filter(|outcome| outcome.ok == Some(false));
        ["open", "read", "write", "nip11"].iter().find_map(|name| failed(name)?.reason.as_deref())
    }

    /// Returns true if a part was made and succeeded.
    #[must_use]
    pub fn is_good(&self, name: &str) -> bool {
        self.checks.get(name).is_some_and(|outcome| outcome.ok == Some(true))
    }

    /// Returns the results without what changes from check to check.
    #[must_use]
    pub fn facts(&self) -> Value {
        let checks: BTreeMap<_, _> =
            self.checks.iter().map(|(name, o)| (*name, json!({"ok": o.ok, "reason": o.reason}))).collect();
        let mut facts = json!({"up": self.up, "failure": self.failure, "checks": checks, "requires": self.requires, "probes": self.probes});
        for (name, value) in self.seen() {
            facts[name] = value;
        }
        facts
    }

    /// Returns the results as `brotr check --json` prints them.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let info: Value = self.info.as_ref().and_then(|i| serde_json::from_str(&i.text).ok()).unwrap_or(Value::Null);
        let mut shown = json!({"url": self.url, "network": self.network, "up": self.up, "failure": self.failure, "checks": self.checks,
            "requires": self.requires, "probes": self.probes, "nip11": info});
        for (name, value) in self.seen() {
            shown[name] = value;
        }
        if let Some(lookup) = &self.trace.lookup {
            shown["dns"]["ttl"] = lookup.ttl.into();
        }
        shown
    }

    /// Returns what was seen of its name, address, certificate and server.
    fn seen(&self) -> Vec<(&'static str, Value)> {
        let mut seen = Vec::new();
        if let Some(lookup) = self.trace.lookup.as_ref().filter(|_| self.checks.contains_key("dns")) {
            // Sorted: name servers return them in any order.
            let mut addresses = lookup.addresses.clone();
            addresses.sort_unstable();
            seen.push(("dns", json!({"addresses": addresses, "cname": lookup.cname})));
        }
        if let Some(tls) = self.trace.tls().filter(|tls| tls.certificate.is_some()) {
            seen.push((
                "ssl",
                json!({"valid": tls.refused.is_none(), "version": tls.version, "certificate": tls.certificate}),
            ));
        }
        if let Some(place) = self.place.as_ref().filter(|place| place.asn.is_some()) {
            seen.push(("net", json!({"asn": place.asn, "organisation": place.organisation})));
        }
        if let Some(place) = self.place.as_ref().filter(|place| place.is_located()) {
            let geo = json!({"country": place.country, "city": place.city, "latitude": place.latitude,
                "longitude": place.longitude, "time_zone": place.time_zone});
            seen.push(("geo", geo));
        }
        if self.trace.server.is_some() || self.trace.powered_by.is_some() {
            seen.push(("http", json!({"server": self.trace.server, "powered_by": self.trace.powered_by})));
        }
        seen
    }
}

fn millis(took: Duration) -> u64 {
    u64::try_from(took.as_millis()).unwrap_or(u64::MAX)
}
