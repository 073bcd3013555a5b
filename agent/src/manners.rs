//! Whether a relay may be checked and read: its operator can ask crawlers to stay away.
//!
//! An operator can do so in `robots.txt`, or by a signed request (a label, NIP-32). The agent's operator can list relays in
//! `network.avoid`.

use std::sync::Arc;

use brotr_core::{RelayState, RelayUrl};
use brotr_net::info::{self, Info};
use brotr_net::{ATTEMPTS_PER_SUBNET, LIVE_PER_HOST, VISITS_PER_HOST, robots};
use brotr_storage::{CheckStore, DocumentType, EventStore, StateStore, StorageError, View};
use nostr::{Alphabet, EventId, Filter, Kind, PublicKey, SingleLetterTag};
use serde::Serialize;
use utoipa::ToSchema;

use crate::agent::{Agent, now};
use crate::config::Config;
use crate::state::{OPTED_OUT, Objection};

/// Seconds until an operator's wish is looked for again.
const ASKED_AGAIN: i64 = 86_400;
/// The same if there was no answer.
const TRIED_AGAIN: i64 = 3_600;
/// The label by which an operator asks to be left out (NIP-32), and its namespace.
const LABEL: &str = "no-crawl";
const NAMESPACE: &str = "brotr";

/// Why a relay is left alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeftAlone {
    /// Who asked for it, and how.
    pub objection: Objection,
    /// Seconds until it is looked for again.
    pub wait: i64,
}

impl LeftAlone {
    fn for_a_day(objection: Objection) -> Self {
        Self { objection, wait: ASKED_AGAIN }
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
) -> Result<Option<LeftAlone>, StorageError> {
    let network = &agent.config.network;
    if network.avoids(address.as_str(), address.host()) {
        return Ok(Some(LeftAlone::for_a_day(Objection::Listed)));
    }
    if agent.dialer.is_own(address) {
        return Ok(None);
    }
    if let Some(id) = request(agent, address, state).await? {
        return Ok(Some(LeftAlone::for_a_day(Objection::Request(id))));
    }
    if !network.robots {
        return Ok(None);
    }
    let rules = match agent.robots.get(address) {
        Some(rules) => rules,
        None => {
            let rules = robots::read(&agent.dialer, address).await.map(Arc::from);
            agent.robots.set(address, rules.clone());
            rules
        }
    };
    let Some(rules) = rules else {
        // What it last said still counts.
        let before = match state {
            RelayState::OptedOut => OPTED_OUT.get(agent.archive.as_ref(), address.as_str()).await?,
            _ => None,
        };
        let before = before.filter(|objection| *objection == Objection::Robots);
        return Ok(before.map(|objection| LeftAlone { objection, wait: TRIED_AGAIN }));
    };
    if rules.is_empty() {
        return Ok(None);
    }
    let address = address.clone();
    let allowed = tokio::task::spawn_blocking(move || robots::is_allowed(&rules, &address)).await;
    Ok((!allowed.unwrap_or(true)).then(|| LeftAlone::for_a_day(Objection::Robots)))
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

/// How much this agent asks of relays, at most: published, so that operators can judge it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
pub struct CrawlRate {
    /// New connections per minute, to all relays together
    pub dials_per_minute: u32,
    /// Attempts to connect at a time to addresses of one /24 (IPv4) or /48 (IPv6)
    pub attempts_per_subnet: usize,
    /// Short-lived connections at a time to one host, for checks and reading
    pub connections_per_host: usize,
    /// Live subscriptions at a time to one host
    pub subscriptions_per_host: usize,
    /// Seconds between two checks of a relay that is up, about
    pub check_interval: i64,
}

impl CrawlRate {
    /// Returns what the configuration allows.
    #[must_use]
    pub fn of(config: &Config) -> Self {
        Self {
            dials_per_minute: config.network.dials_per_minute,
            attempts_per_subnet: ATTEMPTS_PER_SUBNET,
            connections_per_host: VISITS_PER_HOST,
            subscriptions_per_host: LIVE_PER_HOST,
            check_interval: config.monitor.interval.as_secs(),
        }
    }
}
