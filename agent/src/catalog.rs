//! The catalog: what is known of every relay, in memory, so that lists can be filtered and sorted by anything.
//!
//! An entry takes about a kilobyte. A refresh lists all relays and reads the checks of a month, of those that were checked since the
//! last refresh: of 10,000 relays that are checked each hour, three a second, with 900 checks each. The first refresh reads all.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use brotr_core::{Network, RelayState};
use brotr_storage::{CheckStore, DocumentType, Relay, RelayQuery, RelayStore, StorageError, with_time_limit};
use futures::StreamExt;
use serde_json::Value;

use crate::agent::now;
use crate::history::{self, History};

/// The days over which uptime is computed.
const A_MONTH: usize = 30;
/// Seconds for which the facts of a relay are kept that is not checked again meanwhile.
const FRESH: i64 = 3_600;
/// The time limit of reading the checks of one relay.
const TIME_LIMIT: Duration = Duration::from_secs(10);
/// Relays read per query.
const PAGE: i64 = 5_000;
/// Relays whose checks are read concurrently.
const AT_ONCE: usize = 4;
/// Relays whose checks are read before their entries are replaced, so that a first refresh shows what it has.
const PART: usize = 500;
const A_DAY: i64 = 86_400;
/// The most characters of a text that a relay wrote, and the most NIPs.
const MAX_TEXT: usize = 200;
const MAX_NIPS: usize = 200;

/// A relay and what is known of it.
#[derive(Debug, Clone)]
pub struct Entry {
    /// The relay.
    pub relay: Relay,
    /// The rest.
    pub facts: Arc<Facts>,
}

/// What a relay says of itself, and what its checks found.
#[derive(Debug, Clone, Default)]
pub struct Facts {
    /// Its name (NIP-11).
    pub name: Option<String>,
    /// Its software (NIP-11).
    pub software: Option<String>,
    /// The version of its software (NIP-11).
    pub version: Option<String>,
    /// The NIPs that it claims to support.
    pub nips: Vec<u16>,
    /// The country, as a code of ISO 3166.
    pub country: Option<String>,
    /// The city.
    pub city: Option<String>,
    /// Latitude and longitude, in degrees.
    pub place: Option<(f64, f64)>,
    /// The failure code of the last check, if it failed.
    pub failure: Option<String>,
    /// What it requires of clients, such as `auth`.
    pub requires: Vec<String>,
    /// Round trips of the last check: open, read, write, in milliseconds.
    pub rtt_ms: [Option<i64>; 3],
    /// Share of the last 1, 7 and 30 days in which it was up, as far as known.
    pub uptime: [Option<f64>; 3],
    /// Uptime of each of the last days in percent, today last.
    pub days: Vec<Option<u8>>,
    /// The check that these are of.
    checked_at: Option<i64>,
    /// When they were read.
    read_at: i64,
}

impl Facts {
    /// Reads what is known of a relay that was checked.
    async fn read(checks: &(impl CheckStore + ?Sized), relay: &Relay, days: usize) -> Result<Self, StorageError> {
        let at = now();
        let documents = checks.documents(&relay.url).await?;
        let since = at - (days.max(A_MONTH) as i64) * A_DAY - history::HOLDS;
        let visits = checks.visits(&relay.url, since, History::VISITS).await?;
        let document = |kind: DocumentType| documents.iter().find(|document| document.kind == kind);
        let parsed = |kind| document(kind).and_then(|document| serde_json::from_str::<Value>(&document.data).ok());
        let (info, found) =
            (parsed(DocumentType::Nip11).unwrap_or_default(), parsed(DocumentType::Nip66).unwrap_or_default());
        let text = |value: &Value| {
            let text: String = value.as_str()?.trim().chars().take(MAX_TEXT).collect();
            (!text.is_empty()).then_some(text)
        };
        let nips = info["supported_nips"].as_array().into_iter().flatten();
        let mut nips: Vec<u16> = nips.filter_map(|nip| u16::try_from(nip.as_u64()?).ok()).take(MAX_NIPS).collect();
        nips.sort_unstable();
        nips.dedup();
        let requires = found["requires"].as_array().into_iter().flatten().filter_map(text);
        let [(_, day), (_, week), (_, month), _] = History::of(&visits, at).uptime;
        Ok(Self {
            name: text(&info["name"]),
            software: text(&info["software"]),
            version: text(&info["version"]),
            nips,
            country: text(&found["geo"]["country"]),
            city: text(&found["geo"]["city"]),
            place: found["geo"]["latitude"].as_f64().zip(found["geo"]["longitude"].as_f64()),
            failure: text(&found["failure"]),
            requires: requires.collect(),
            rtt_ms: visits.first().map(|visit| visit.rtt_ms).unwrap_or_default(),
            // Nothing is known since its last check.
            uptime: if relay.state == RelayState::OptedOut { [None; 3] } else { [day, week, month] },
            days: history::daily(&visits, days, at),
            checked_at: relay.checked_at,
            read_at: at,
        })
    }

    /// Returns the name of the software without the address of its repository.
    #[must_use]
    pub fn software_name(&self) -> Option<&str> {
        let software = self.software.as_deref()?.trim_end_matches('/').trim_end_matches(".git");
        software.rsplit('/').next().filter(|name| !name.is_empty())
    }
}

/// Selects relays. An empty field selects all.
#[derive(Debug, Clone, Default)]
pub struct Selection {
    /// Only these networks.
    pub networks: Vec<Network>,
    /// Only these states.
    pub states: Vec<RelayState>,
    /// Only relays whose URL or name contains this text.
    pub text: String,
    /// Only relays whose software contains this text.
    pub software: String,
    /// Only relays that claim to support all of these NIPs.
    pub nips: Vec<u16>,
    /// Only relays in this country.
    pub country: String,
}

impl Selection {
    fn selects(&self, entry: &Entry) -> bool {
        let Entry { relay, facts } = entry;
        let has = |text: Option<&str>, part: &str| text.is_some_and(|text| text.to_lowercase().contains(part));
        (self.networks.is_empty() || self.networks.contains(&relay.network))
            && (self.states.is_empty() || self.states.contains(&relay.state))
            && (self.text.is_empty() || relay.url.contains(&self.text) || has(facts.name.as_deref(), &self.text))
            && (self.software.is_empty() || has(facts.software.as_deref(), &self.software))
            && self.nips.iter().all(|nip| facts.nips.binary_search(nip).is_ok())
            && (self.country.is_empty()
                || facts.country.as_ref().is_some_and(|at| at.eq_ignore_ascii_case(&self.country)))
    }

    /// Returns the selection with its texts in lower case, in which they are compared.
    fn lowercase(&self) -> Self {
        Self { text: self.text.to_lowercase(), software: self.software.to_lowercase(), ..self.clone() }
    }
}

brotr_core::words! {
    /// What a list of relays is ordered by.
    SortKey, "order" {
        /// The URL, from a to z.
        Url = "url",
        /// The name, from a to z.
        Name = "name",
        /// The state.
        State = "state",
        /// The software, from a to z.
        Software = "software",
        /// The country, from a to z.
        Country = "country",
        /// The time to open a connection, shortest first.
        Rtt = "rtt",
        /// The uptime of 30 days, highest first.
        Uptime = "uptime",
        /// The number of events that it was seen to hold, most first.
        Events = "events",
        /// The last check, newest first.
        Checked = "checked",
        /// When it was found, newest first.
        Discovered = "discovered",
    }
}

/// An order of relays. Relays without the value come last, and equal ones are ordered by URL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Order {
    /// What is compared.
    pub key: SortKey,
    /// Whether the order is the opposite of what [`SortKey`] says.
    pub reversed: bool,
}

impl FromStr for Order {
    type Err = brotr_core::UnknownWord;

    /// Parses the name of a key; a minus before it reverses the order.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (text, reversed) = text.strip_prefix('-').map_or((text, false), |text| (text, true));
        Ok(Self { key: text.parse()?, reversed })
    }
}

impl fmt::Display for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.reversed { "-" } else { "" })?;
        f.write_str(self.key.as_str())
    }
}

/// The value that an entry is ordered by.
#[derive(Debug, Clone, PartialEq, PartialOrd)]
enum Rank {
    Text(String),
    Number(f64),
}

impl Order {
    #[expect(clippy::cast_precision_loss, reason = "times and counts are far below the limit of a float's precision")]
    fn rank(self, entry: &Entry) -> Option<Rank> {
        let Entry { relay, facts } = entry;
        let text = |text: Option<&str>| text.map(|text| Rank::Text(text.to_lowercase()));
        match self.key {
            SortKey::Url => None,
            SortKey::Name => text(facts.name.as_deref()),
            SortKey::State => text(Some(relay.state.as_str())),
            SortKey::Software => text(facts.software_name()),
            SortKey::Country => text(facts.country.as_deref()),
            SortKey::Rtt => facts.rtt_ms[0].map(|ms| Rank::Number(ms as f64)),
            SortKey::Uptime => facts.uptime[2].map(|share| Rank::Number(-share)),
            SortKey::Events => Some(Rank::Number(-(relay.events as f64))),
            SortKey::Checked => relay.checked_at.map(|at| Rank::Number(-(at as f64))),
            SortKey::Discovered => Some(Rank::Number(-(relay.discovered_at as f64))),
        }
    }

    fn compare(self, a: &(Option<Rank>, Entry), b: &(Option<Rank>, Entry)) -> Ordering {
        let turned = |ordering: Ordering| if self.reversed { ordering.reverse() } else { ordering };
        let ranks = match (&a.0, &b.0) {
            (Some(a), Some(b)) => turned(a.partial_cmp(b).unwrap_or(Ordering::Equal)),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (None, None) => Ordering::Equal,
        };
        let urls = a.1.relay.url.cmp(&b.1.relay.url);
        ranks.then(if self.key == SortKey::Url { turned(urls) } else { urls })
    }
}

/// A page of a list of relays.
#[derive(Debug)]
pub struct Page {
    /// The relays.
    pub entries: Vec<Entry>,
    /// Relays that are selected, on all pages.
    pub total: usize,
    /// Whether another page follows.
    pub has_more: bool,
}

/// All known relays.
#[derive(Debug, Default)]
pub struct Catalog {
    entries: RwLock<Arc<BTreeMap<String, Entry>>>,
    days: usize,
}

impl Catalog {
    /// Makes an empty catalog that will keep the uptime of each of the last `days` days.
    #[must_use]
    pub fn new(days: usize) -> Self {
        Self { days, ..Self::default() }
    }

    /// Reads which relays there are, and what is new of those that were checked since the last refresh. Entries are replaced
    /// as they are read.
    ///
    /// # Errors
    /// Fails if the archive cannot be queried; what was read until then is kept.
    pub async fn refresh(
        &self,
        relays: &(impl RelayStore + ?Sized),
        checks: &(impl CheckStore + ?Sized),
    ) -> Result<(), StorageError> {
        self.list(relays).await?;
        let at = now();
        let entries = self.entries();
        let stale = entries.values().filter(|entry| entry.is_stale(at)).map(|entry| entry.relay.clone());
        let stale: Vec<Relay> = stale.collect();
        drop(entries);
        for part in stale.chunks(PART) {
            let read = part.iter().cloned().map(|relay| self.read(checks, relay));
            let read: Vec<_> = futures::stream::iter(read).buffer_unordered(AT_ONCE).collect().await;
            let mut entries = self.entries.write().unwrap_or_else(PoisonError::into_inner);
            let entries = Arc::make_mut(&mut entries);
            for (url, facts) in read.into_iter().flatten() {
                if let Some(entry) = entries.get_mut(&url) {
                    entry.facts = Arc::new(facts);
                }
            }
        }
        Ok(())
    }

    /// Reads which relays there are, in which state.
    ///
    /// # Errors
    /// Fails if the archive cannot be queried.
    pub async fn list(&self, relays: &(impl RelayStore + ?Sized)) -> Result<(), StorageError> {
        let mut listed = BTreeMap::new();
        let mut query = RelayQuery { limit: PAGE, ..RelayQuery::default() };
        loop {
            let page = relays.relays(&query).await?;
            let Some(last) = page.last() else { break };
            query.after = Some(last.url.clone());
            listed.extend(page.into_iter().map(|relay| (relay.url.clone(), Entry { relay, facts: Arc::default() })));
        }
        let mut entries = self.entries.write().unwrap_or_else(PoisonError::into_inner);
        for (url, entry) in &mut listed {
            if let Some(known) = entries.get(url) {
                entry.facts = known.facts.clone();
            }
        }
        *entries = Arc::new(listed);
        Ok(())
    }

    /// Reads the facts of a relay; `None` if they cannot be read, which the next refresh tries again. It uses the connections for
    /// clients, and leaves the others to the agent.
    async fn read(&self, checks: &(impl CheckStore + ?Sized), relay: Relay) -> Option<(String, Facts)> {
        match with_time_limit(TIME_LIMIT, Facts::read(checks, &relay, self.days)).await {
            Ok(facts) => Some((relay.url, facts)),
            Err(error) => {
                tracing::debug!(relay = relay.url, %error, "failed to read the checks of a relay");
                None
            }
        }
    }

    fn entries(&self) -> Arc<BTreeMap<String, Entry>> {
        self.entries.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Returns what is known of a relay as of its last check.
    ///
    /// # Errors
    /// Fails if its last check is not known here yet, and cannot be read.
    pub async fn entry(&self, checks: &(impl CheckStore + ?Sized), relay: Relay) -> Result<Entry, StorageError> {
        let facts = self.get(&relay.url).map(|entry| entry.facts).unwrap_or_default();
        let mut entry = Entry { relay, facts };
        if entry.is_stale(now()) {
            entry.facts = Arc::new(Facts::read(checks, &entry.relay, self.days).await?);
        }
        Ok(entry)
    }

    fn get(&self, url: &str) -> Option<Entry> {
        self.entries().get(url).cloned()
    }

    /// Returns the selected relays, by URL.
    #[must_use]
    pub fn select(&self, selection: &Selection) -> Vec<Entry> {
        let selection = selection.lowercase();
        self.entries().values().filter(|entry| selection.selects(entry)).cloned().collect()
    }

    /// Returns the selected relays in an order: those after the relay `after`, at most `limit`. Returns `None` if that relay is
    /// not known and the order is not by URL.
    #[must_use]
    pub fn page(&self, selection: &Selection, order: Order, after: Option<&str>, limit: usize) -> Option<Page> {
        let ranked = |entry: Entry| (order.rank(&entry), entry);
        let mut found: Vec<_> = self.select(selection).into_iter().map(ranked).collect();
        let total = found.len();
        if let Some(url) = after {
            let last = match self.get(url) {
                Some(entry) => entry,
                None if order.key == SortKey::Url => Entry::at(url),
                None => return None,
            };
            let last = ranked(last);
            found.retain(|entry| order.compare(entry, &last).is_gt());
        }
        let has_more = found.len() > limit;
        if has_more && limit > 0 {
            // Only what is shown needs to be in order.
            found.select_nth_unstable_by(limit - 1, |a, b| order.compare(a, b));
            found.truncate(limit);
        }
        found.sort_unstable_by(|a, b| order.compare(a, b));
        Some(Page { entries: found.into_iter().map(|(_, entry)| entry).collect(), total, has_more })
    }
}

impl Entry {
    /// Returns true if the relay was checked since its facts were read, or they are older than `FRESH`: its uptime has changed.
    fn is_stale(&self, at: i64) -> bool {
        let checked = self.relay.checked_at;
        checked.is_some() && (checked != self.facts.checked_at || self.facts.read_at + FRESH <= at)
    }

    /// Returns the place of a URL in a list by URL.
    fn at(url: &str) -> Self {
        let relay = Relay {
            url: url.to_owned(),
            network: Network::Clearnet,
            state: RelayState::New,
            discovered_at: 0,
            checked_at: None,
            failures: 0,
            events: 0,
        };
        Self { relay, facts: Arc::default() }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn entry(n: usize) -> Entry {
        let mut entry = Entry::at(&format!("wss://r{n:02}.example/"));
        entry.relay.state = if n.is_multiple_of(3) { RelayState::Down } else { RelayState::Up };
        entry.relay.events = (n % 7) as i64;
        entry.facts = Arc::new(Facts {
            name: (!n.is_multiple_of(4)).then(|| format!("{}elay", if n.is_multiple_of(2) { "R" } else { "r" })),
            software: Some(format!("https://git.example/soft{}.git", n % 5)),
            nips: vec![1, 11, 50 + (n % 2) as u16],
            country: n.is_multiple_of(5).then(|| "DE".to_owned()),
            uptime: [None, None, (!n.is_multiple_of(6)).then_some((n % 9) as f64 / 9.0)],
            ..Facts::default()
        });
        entry
    }

    fn catalog(n: usize) -> Catalog {
        let entries = (0..n).map(entry).map(|entry| (entry.relay.url.clone(), entry)).collect();
        Catalog { entries: RwLock::new(Arc::new(entries)), days: 0 }
    }

    #[test]
    fn relays_are_selected_by_every_field() {
        let catalog = catalog(60);
        let count = |selection: Selection| catalog.select(&selection).len();
        let all = Selection::default;
        assert_eq!(count(all()), 60);
        assert_eq!(count(Selection { states: vec![RelayState::Down], ..all() }), 20);
        assert_eq!(count(Selection { networks: vec![Network::Tor], ..all() }), 0);
        assert_eq!(count(Selection { text: "RELAY".into(), ..all() }), 45, "by name, in either case");
        assert_eq!(count(Selection { text: "r1".into(), ..all() }), 10, "by URL");
        assert_eq!(count(Selection { software: "Soft3".into(), ..all() }), 12);
        assert_eq!(count(Selection { nips: vec![11, 51], ..all() }), 30);
        assert_eq!(count(Selection { country: "de".into(), nips: vec![50], ..all() }), 6);
    }

    #[test]
    fn relays_without_the_value_come_last_in_either_direction() {
        let catalog = catalog(12);
        for text in ["uptime", "-uptime"] {
            let order: Order = text.parse().expect("an order");
            assert_eq!(order.to_string(), text);
            let page = catalog.page(&Selection::default(), order, None, 12).expect("a page");
            let uptime: Vec<_> = page.entries.iter().map(|entry| entry.facts.uptime[2]).collect();
            assert_eq!(uptime[10..], [None, None], "{uptime:?}");
            let falls = |pair: &[Option<f64>]| if order.reversed { pair[0] <= pair[1] } else { pair[0] >= pair[1] };
            assert!(uptime[..10].windows(2).all(falls), "{uptime:?}");
        }
        "upness".parse::<Order>().expect_err("not an order");
    }

    proptest! {
        #[test]
        fn pages_are_the_whole_list(key in prop::sample::select(SortKey::ALL.to_vec()), reversed: bool, limit in 1..20_usize) {
            let (catalog, order) = (catalog(50), Order { key, reversed });
            let selection = Selection { states: vec![RelayState::Up], ..Selection::default() };
            let whole = catalog.page(&selection, order, None, 1_000).expect("a page");
            let url = |entry: &Entry| entry.relay.url.clone();
            let mut paged = Vec::new();
            loop {
                let page = catalog.page(&selection, order, paged.last().map(String::as_str), limit).expect("a page");
                prop_assert_eq!(page.total, whole.total);
                paged.extend(page.entries.iter().map(url));
                if !page.has_more {
                    break;
                }
            }
            prop_assert_eq!(paged, whole.entries.iter().map(url).collect::<Vec<_>>());
        }
    }
}
