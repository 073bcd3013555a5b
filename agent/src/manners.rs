//! Whether a relay may be checked and read: its operator can ask crawlers to stay away.
//!
//! An operator can do so in `robots.txt`, or by a signed request (a label, NIP-32); whoever runs the agent can list relays in
//! `network.avoid`.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use brotr_core::{RelayState, RelayUrl};
use brotr_net::info::{self, Info};
use brotr_net::robots;
use brotr_storage::{CheckStore, DocumentType, EventStore, StateStore, StorageError, View};
use nostr::{Alphabet, EventId, Filter, Kind, PublicKey, SingleLetterTag};
use tokio::time::Instant;

use crate::agent::{Agent, now};
use crate::state::OPTED_OUT;

/// Seconds until an operator's wish is looked for again.
const ASKED_AGAIN: i64 = 86_400;
/// The same if there was no answer.
const TRIED_AGAIN: i64 = 3_600;
/// How long a `robots.txt` counts,
const FRESH: Duration = Duration::from_secs(86_000);
/// and how long it counts that there was no answer.
const FRESH_SILENCE: Duration = Duration::from_secs(3_500);
/// The most hosts that are remembered, and the most bytes of their rules.
const MAX_HOSTS: usize = 100_000;
const MAX_BYTES: usize = 32 << 20;
/// The label by which an operator asks to be left out (NIP-32), and its namespace.
const LABEL: &str = "no-crawl";
const NAMESPACE: &str = "brotr";

/// Why a relay is left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Objection {
    /// `network.avoid` lists it.
    Listed,
    /// Its host's `robots.txt`.
    Robots,
    /// Its host's `robots.txt`, as it last was: there is no answer now.
    EarlierRobots,
    /// A request signed by the key of its information document.
    Request(EventId),
}

impl Objection {
    /// Returns the seconds until it is looked for again.
    #[must_use]
    pub fn wait(&self) -> i64 {
        if *self == Self::EarlierRobots { TRIED_AGAIN } else { ASKED_AGAIN }
    }
}

/// The words for `robots.txt`, which are stored.
const BY_ROBOTS: &str = "its robots.txt disallows it";

impl fmt::Display for Objection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Listed => f.write_str("network.avoid lists it"),
            Self::Robots | Self::EarlierRobots => f.write_str(BY_ROBOTS),
            Self::Request(id) => write!(f, "its operator asked for it, in event {id}"),
        }
    }
}

/// The `robots.txt` of a host.
#[derive(Debug, Clone)]
struct Remembered {
    read_at: Instant,
    /// Its rules; `None` if there was no answer.
    rules: Option<Arc<str>>,
}

impl Remembered {
    fn is_fresh(&self) -> bool {
        self.read_at.elapsed() < if self.rules.is_some() { FRESH } else { FRESH_SILENCE }
    }
}

#[derive(Debug, Default)]
struct Hosts {
    by_root: HashMap<String, Remembered>,
    bytes: usize,
}

/// Remembers the `robots.txt` of each host. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Manners(Arc<Mutex<Hosts>>);

/// Returns what relays on the same host and port have in common.
fn root(address: &RelayUrl) -> String {
    format!("{}:{}", address.host(), address.port())
}

impl Manners {
    /// Forgets the `robots.txt` of a relay's host, so that it is read again.
    pub fn forget(&self, address: &RelayUrl) {
        let mut hosts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(gone) = hosts.by_root.remove(&root(address)) {
            hosts.bytes -= gone.rules.map_or(0, |rules| rules.len());
        }
    }

    fn remembered(&self, address: &RelayUrl) -> Option<Remembered> {
        let hosts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        hosts.by_root.get(&root(address)).filter(|host| host.is_fresh()).cloned()
    }

    fn remember(&self, address: &RelayUrl, rules: Option<Arc<str>>) {
        self.forget(address);
        let mut hosts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let bytes = rules.as_ref().map_or(0, |rules| rules.len());
        if hosts.by_root.len() >= MAX_HOSTS || hosts.bytes + bytes > MAX_BYTES {
            // It costs a request for each host and check until a day is over.
            *hosts = Hosts::default();
        }
        hosts.bytes += bytes;
        hosts.by_root.insert(root(address), Remembered { read_at: Instant::now(), rules });
    }
}

/// Returns why a relay is not to be checked and read, if it is not. The operator's own relays always are, unless they are listed.
///
/// # Errors
/// Fails if the archive cannot be queried.
pub async fn objection<A: CheckStore + EventStore + StateStore + ?Sized>(
    agent: &Agent<A>,
    address: &RelayUrl,
    state: RelayState,
) -> Result<Option<Objection>, StorageError> {
    let network = &agent.config.network;
    if network.avoids(address.as_str(), address.host()) {
        return Ok(Some(Objection::Listed));
    }
    if agent.own_relays().iter().chain(&agent.job_relays()).any(|own| own == address) {
        return Ok(None);
    }
    if let Some(id) = request(agent, address, state).await? {
        return Ok(Some(Objection::Request(id)));
    }
    if !network.robots {
        return Ok(None);
    }
    let rules = match agent.manners.remembered(address) {
        Some(host) => host.rules,
        None => {
            let rules = robots::read(&agent.dialer, address).await.map(Arc::from);
            agent.manners.remember(address, rules.clone());
            rules
        }
    };
    let Some(rules) = rules else {
        // What it last said still counts.
        let before = match state {
            RelayState::OptedOut => OPTED_OUT.get(agent.archive.as_ref(), address.as_str()).await?,
            _ => None,
        };
        return Ok(before.filter(|reason| reason == BY_ROBOTS).map(|_| Objection::EarlierRobots));
    };
    if rules.is_empty() {
        return Ok(None);
    }
    let address = address.clone();
    let allowed = tokio::task::spawn_blocking(move || robots::is_allowed(&rules, &address)).await;
    Ok((!allowed.unwrap_or(true)).then_some(Objection::Robots))
}

/// Returns the request of a relay's operator to be left out: a label by the key of its information document.
async fn request<A: CheckStore + EventStore + ?Sized>(
    agent: &Agent<A>,
    address: &RelayUrl,
    state: RelayState,
) -> Result<Option<EventId>, StorageError> {
    let documents = agent.archive.documents(address.as_str()).await?;
    let document = documents.into_iter().find(|document| document.kind == DocumentType::Nip11);
    let Some(info) = document.and_then(|document| Info::parse(document.data.into_bytes()).ok()) else {
        return Ok(None);
    };
    let key = |info: &Info| info.text_field("pubkey").and_then(|key| PublicKey::from_hex(key).ok());
    let Some(operator) = key(&info) else { return Ok(None) };
    let url = address.as_str();
    let filter = Filter::new()
        .author(operator)
        .kind(Kind::Label)
        .custom_tags(SingleLetterTag::lowercase(Alphabet::R), [url, url.trim_end_matches('/')])
        .custom_tag(SingleLetterTag::lowercase(Alphabet::L), LABEL);
    let labels = agent.archive.page(&filter, View::Client { now: now() }, None, 10).await?;
    let is_ours = |tag: &Vec<String>| tag.len() > 2 && tag[0] == "l" && tag[1] == LABEL && tag[2] == NAMESPACE;
    let label = labels.into_iter().find(|label| label.tags.iter().any(is_ours)).map(|label| label.id);
    if label.is_some()
        && state == RelayState::OptedOut
        && let Ok((current, _)) = info::fetch(&agent.dialer, address).await
        && key(&current) != Some(operator)
    {
        // The relay has another operator since.
        return Ok(None);
    }
    Ok(label)
}
