//! Which relays give most of an author's events: found from where the events were seen, not from what the author says (NIP-65).
//!
//! A sample of the author's events is read: the newest, and some of each earlier period, where each period is twice as long as the
//! one after it. Events of the last 30 days before the newest one count as much together as all earlier ones. Relays are chosen
//! one after the other, each time the one that adds most (greedy; at worst 63 % of the best choice of as many relays).
//!
//! Cost: for one author, the sightings of at most 450 events, which are read 25 at a time; for each of several, 80 events. It depends
//! neither on the number of events in the archive, nor on those of the author. A choice for a thousand authors whose events are on
//! fifty relays each holds four million numbers in memory, 16 MB.

use std::cmp::Ordering;
use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, HashMap};

use brotr_core::{Event, Guard, RelayState, RelayUrl};
use brotr_storage::{EventStore, RelayStore, SightingStore, StorageError, View};
use futures::{StreamExt, TryStreamExt};
use nostr::{EventId, Filter, Kind, PublicKey};
use serde::Serialize;
use utoipa::ToSchema;

use crate::sampling::Depth;

/// The most authors for whom relays are chosen together.
pub const MAX_AUTHORS: usize = 1_000;
/// The share of the events that is wanted, if no other is given.
pub const USUAL_RECALL: f64 = 0.95;
/// The most relays for one author, if no other number is given,
pub const USUAL_FOR_ONE: usize = 3;
/// and for several.
pub const USUAL_FOR_MANY: usize = 30;
/// The most relays of an author's own list that are read.
const MAX_LISTED: usize = 100;
/// Seconds before an author's newest event in which events are recent.
const RECENT: i64 = 30 * 86_400;
/// Authors whose events are read concurrently.
const AT_ONCE: usize = 2;

/// The sample for a report on one author,
const FOR_ONE: Depth = Depth { newest: 200, earlier: 25, periods: 10 };
/// and for a choice for many authors.
const FOR_MANY: Depth = Depth { newest: 40, earlier: 10, periods: 4 };

/// What is wanted of a choice of relays.
#[derive(Debug, Clone, Copy)]
pub struct Wanted {
    /// The share of the events that the relays give together, from 0 to 1: no relay is added once it is reached.
    pub recall: f64,
    /// The most relays.
    pub relays: usize,
}

/// Numbers for URLs.
#[derive(Debug, Default)]
struct Names {
    numbers: HashMap<String, u32>,
    urls: Vec<String>,
}

impl Names {
    fn number(&mut self, url: String) -> u32 {
        let next = u32::try_from(self.urls.len()).unwrap_or(u32::MAX);
        match self.numbers.entry(url) {
            Entry::Occupied(known) => *known.get(),
            Entry::Vacant(new) => {
                self.urls.push(new.key().clone());
                *new.insert(next)
            }
        }
    }

    fn url(&self, number: u32) -> &str {
        &self.urls[number as usize]
    }
}

/// Which relays hold a sample of an author's events.
#[derive(Debug)]
struct Sample {
    author: PublicKey,
    /// The number of events, with those that no relay was seen to hold.
    events: usize,
    /// The times of the oldest and the newest one.
    span: Option<(i64, i64)>,
    located: Vec<Located>,
}

/// An event that a relay was seen to hold.
#[derive(Debug)]
struct Located {
    is_recent: bool,
    weight: f64,
    relays: Box<[u32]>,
}

impl Sample {
    fn of(
        author: PublicKey,
        sampled: &[(EventId, i64)],
        mut holders: BTreeMap<EventId, Vec<String>>,
        names: &mut Names,
    ) -> Self {
        let newest = sampled.iter().map(|(_, at)| *at).max();
        let oldest = sampled.iter().map(|(_, at)| *at).min();
        let located = sampled.iter().filter_map(|(id, at)| {
            let relays = holders.remove(id)?.into_iter().map(|url| names.number(url)).collect();
            let is_recent = newest.is_some_and(|newest| *at > newest - RECENT);
            Some(Located { is_recent, weight: 0.0, relays })
        });
        let mut located: Vec<Located> = located.collect();
        let count = |is_recent: bool| located.iter().filter(|one| one.is_recent == is_recent).count();
        let (recent, earlier) = (count(true), count(false));
        let part = if recent > 0 && earlier > 0 { 0.5 } else { 1.0 };
        for one in &mut located {
            one.weight = part / count_of(if one.is_recent { recent } else { earlier });
        }
        Self { author, events: sampled.len(), span: oldest.zip(newest), located }
    }

    /// Returns the share of the events that at least one of these relays holds, from 0 to 1; recent and earlier events count half
    /// each. Events that no relay was seen to hold do not count.
    fn recall(&self, relays: &BTreeSet<u32>) -> f64 {
        let held = |one: &&Located| one.relays.iter().any(|relay| relays.contains(relay));
        // The sum of nothing would be minus zero.
        rounded(self.located.iter().filter(held).fold(0.0, |sum, one| sum + one.weight))
    }

    /// Returns the share of the recent, or of the earlier, events that a relay holds; `None` if there are none.
    fn share(&self, relay: u32, is_recent: bool) -> Option<f64> {
        let of_period = || self.located.iter().filter(|one| one.is_recent == is_recent);
        let held = of_period().filter(|one| one.relays.contains(&relay)).count();
        let all = of_period().count();
        (all > 0).then(|| count_of(held) / count_of(all))
    }

    /// Returns the relays that hold any of the events.
    fn relays(&self) -> impl Iterator<Item = u32> {
        self.located.iter().flat_map(|one| one.relays.iter().copied())
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts of a sample")]
fn count_of(n: usize) -> f64 {
    n as f64
}

/// Returns a share without the error of adding fractions: all of 24 events is 1.
fn rounded(share: f64) -> f64 {
    ((share * 1e9).round() / 1e9).clamp(0.0, 1.0)
}

/// A relay that was chosen.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Choice {
    /// Its URL
    pub relay: String,
    /// The share of the sampled events that it and the relays before it give together, from 0 to 1
    pub recall: f64,
}

/// What a relay would add, at most: the gains of others can only lower it.
#[derive(Debug, PartialEq)]
struct Gain<'a> {
    gain: f64,
    /// Of equal ones the first by URL is chosen.
    url: &'a str,
    relay: u32,
    /// How many relays were chosen when it was computed.
    chosen: usize,
}

impl Eq for Gain<'_> {}

impl Ord for Gain<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        rounded(self.gain).total_cmp(&rounded(other.gain)).then_with(|| other.url.cmp(self.url))
    }
}

impl PartialOrd for Gain<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Chooses relays for authors, best first, from those that are usable. Every author counts the same.
fn choose(samples: &[Sample], names: &Names, usable: &BTreeSet<u32>, wanted: Wanted) -> Vec<Choice> {
    let part = 1.0 / count_of(samples.iter().filter(|sample| !sample.located.is_empty()).count().max(1));
    let events: Vec<_> = samples.iter().flat_map(|sample| &sample.located).collect();
    let mut held = BTreeMap::<u32, Vec<u32>>::new();
    for (place, event) in (0..).zip(&events) {
        for relay in event.relays.iter().filter(|relay| usable.contains(relay)) {
            held.entry(*relay).or_default().push(place);
        }
    }
    let mut missing = vec![true; events.len()];
    let gain = |held: &[u32], missing: &[bool]| -> f64 {
        held.iter().filter(|place| missing[**place as usize]).map(|place| events[*place as usize].weight * part).sum()
    };
    let gains = held.iter().map(|(relay, held)| Gain {
        gain: gain(held, &missing),
        url: names.url(*relay),
        relay: *relay,
        chosen: 0,
    });
    let mut gains: BinaryHeap<Gain<'_>> = gains.collect();
    let (mut chosen, mut recall) = (Vec::new(), 0.0);
    while rounded(recall) < wanted.recall
        && chosen.len() < wanted.relays
        && let Some(best) = gains.pop()
    {
        if best.chosen < chosen.len() {
            gains.push(Gain { gain: gain(&held[&best.relay], &missing), chosen: chosen.len(), ..best });
            continue;
        }
        if rounded(best.gain) <= 0.0 {
            break;
        }
        held[&best.relay].iter().for_each(|place| missing[*place as usize] = false);
        recall += best.gain;
        chosen.push(Choice { relay: best.url.to_owned(), recall: rounded(recall) });
    }
    chosen
}

/// How much of an author's events a relay holds.
#[derive(Debug, Serialize, ToSchema)]
pub struct Share {
    /// Its URL
    pub relay: String,
    /// False if it was down at its last check, or is not read
    pub is_up: bool,
    /// The share of the recent events that it holds, from 0 to 1; null if there are none
    pub recent: Option<f64>,
    /// The share of the earlier events
    pub earlier: Option<f64>,
    /// Whether the author's list names it to be read from by others (a write relay, NIP-65)
    pub is_listed: bool,
}

/// The author's own list of relays (kind 10002, NIP-65).
#[derive(Debug, Serialize, ToSchema)]
pub struct OwnList {
    /// When it was signed
    pub created_at: i64,
    /// The relays that others should read from
    pub write: Vec<String>,
    /// The share of the sampled events that these give together, from 0 to 1
    pub recall: f64,
}

/// Where an author's events are.
#[derive(Debug, Serialize, ToSchema)]
pub struct AuthorReport {
    /// The author's public key
    #[schema(value_type = String)]
    pub author: PublicKey,
    /// Sampled events
    pub events: usize,
    /// Those of them that a relay was seen to hold; shares are of these
    pub located: usize,
    /// The time of the oldest sampled event
    pub since: Option<i64>,
    /// The time of the newest one
    pub until: Option<i64>,
    /// The relays to read from, best first; only relays that are up
    pub chosen: Vec<Choice>,
    /// Every relay that holds any of the events, most first
    pub relays: Vec<Share>,
    /// The author's own list, if there is one in the archive
    pub list: Option<OwnList>,
}

/// An author, and which of the chosen relays to read.
#[derive(Debug, Serialize, ToSchema)]
pub struct AuthorChoice {
    /// The author's public key
    #[schema(value_type = String)]
    pub author: PublicKey,
    /// The chosen relays that add events of the author, best first
    pub relays: Vec<String>,
    /// The share of the author's sampled events that the chosen relays give, from 0 to 1; null if no relay was seen to hold any
    pub recall: Option<f64>,
}

/// Relays that together give the events of several authors.
#[derive(Debug, Serialize, ToSchema)]
pub struct ListReport {
    /// The relays to read from, best first; only relays that are up
    pub chosen: Vec<Choice>,
    /// What they give of each author, in the order asked for
    pub authors: Vec<AuthorChoice>,
}

/// Where events, and the relays that hold them, are looked up.
#[derive(Debug, Clone, Copy)]
pub struct Source<'a> {
    /// The events.
    pub events: &'a dyn EventStore,
    /// The relays that hold them.
    pub sightings: &'a dyn SightingStore,
    /// The states of these relays.
    pub relays: &'a dyn RelayStore,
    /// The time, in unix seconds.
    pub now: i64,
}

impl Source<'_> {
    /// Reads where an author's events are. The guard decides which addresses of the author's own list are relays.
    ///
    /// # Errors
    /// Fails if the archive cannot be queried.
    pub async fn author(&self, author: PublicKey, wanted: Wanted, guard: &Guard) -> Result<AuthorReport, StorageError> {
        let mut names = Names::default();
        let sample = self.sample(author, FOR_ONE, &mut names).await?;
        let samples = std::slice::from_ref(&sample);
        let usable = self.usable(&names).await?;
        let filter = Filter::new().author(author).kind(Kind::RelayList);
        let list = self.events.page(&filter, self.view(), None, 1).await?.into_iter().next();
        let list = list.map(|event| {
            let write = write_relays(&event, guard);
            let recall = sample.recall(&write.iter().filter_map(|url| names.numbers.get(url).copied()).collect());
            OwnList { created_at: event.created_at, write, recall }
        });
        let is_listed = |url: &str| list.as_ref().is_some_and(|list| list.write.iter().any(|one| one == url));
        let share = |relay: u32| Share {
            relay: names.url(relay).to_owned(),
            is_up: usable.contains(&relay),
            recent: sample.share(relay, true),
            earlier: sample.share(relay, false),
            is_listed: is_listed(names.url(relay)),
        };
        let mut relays: Vec<Share> = sample.relays().collect::<BTreeSet<_>>().into_iter().map(share).collect();
        let both = |share: &Share| share.recent.unwrap_or_default() + share.earlier.unwrap_or_default();
        relays.sort_by(|a, b| both(b).total_cmp(&both(a)).then_with(|| a.relay.cmp(&b.relay)));
        Ok(AuthorReport {
            author,
            events: sample.events,
            located: sample.located.len(),
            since: sample.span.map(|span| span.0),
            until: sample.span.map(|span| span.1),
            chosen: choose(samples, &names, &usable, wanted),
            relays,
            list,
        })
    }

    /// Chooses relays for authors: a follow list.
    ///
    /// # Errors
    /// Fails if the archive cannot be queried.
    pub async fn authors(&self, authors: &[PublicKey], wanted: Wanted) -> Result<ListReport, StorageError> {
        let (mut seen, mut names, mut samples) = (BTreeSet::new(), Names::default(), Vec::new());
        let authors: Vec<_> = authors.iter().copied().filter(|author| seen.insert(*author)).collect();
        let mut read = futures::stream::iter(authors).map(|author| self.held(author, FOR_MANY)).buffered(AT_ONCE);
        while let Some(held) = read.try_next().await? {
            samples.push(Sample::of(held.author, &held.sampled, held.holders, &mut names));
        }
        let usable = self.usable(&names).await?;
        let report = move || ListReport::of(&samples, &names, &usable, wanted);
        tokio::task::spawn_blocking(report).await.map_err(|_| StorageError::Closed)
    }

    fn view(&self) -> View {
        View::Client { now: self.now }
    }

    async fn sample(&self, author: PublicKey, depth: Depth, names: &mut Names) -> Result<Sample, StorageError> {
        let held = self.held(author, depth).await?;
        Ok(Sample::of(author, &held.sampled, held.holders, names))
    }

    /// Reads a sample of an author's events, and the relays that hold each.
    async fn held(&self, author: PublicKey, depth: Depth) -> Result<Held, StorageError> {
        let filter = Filter::new().author(author);
        let sampled = depth.sample(self.events, &filter, self.now).await?;
        let ids: Vec<EventId> = sampled.iter().map(|(id, _)| *id).collect();
        let holders = self.sightings.holders(&ids).await?;
        Ok(Held { author, sampled, holders })
    }

    /// Returns those relays that may be read from: the others were down at their last check, or are not read.
    async fn usable(&self, names: &Names) -> Result<BTreeSet<u32>, StorageError> {
        let mut usable = BTreeSet::new();
        for (number, url) in (0..).zip(&names.urls) {
            let relay = self.relays.relay(url).await?;
            if relay.is_some_and(|relay| matches!(relay.state, RelayState::Up | RelayState::New)) {
                usable.insert(number);
            }
        }
        Ok(usable)
    }
}

/// What was read of an author.
struct Held {
    author: PublicKey,
    sampled: Vec<(EventId, i64)>,
    holders: BTreeMap<EventId, Vec<String>>,
}

impl ListReport {
    fn of(samples: &[Sample], names: &Names, usable: &BTreeSet<u32>, wanted: Wanted) -> Self {
        let chosen = choose(samples, names, usable, wanted);
        let together: BTreeSet<u32> =
            chosen.iter().filter_map(|choice| names.numbers.get(&choice.relay).copied()).collect();
        let authors = samples.iter().map(|sample| {
            let all = Wanted { recall: 1.0, ..wanted };
            let relays = choose(std::slice::from_ref(sample), names, &together, all);
            AuthorChoice {
                author: sample.author,
                relays: relays.into_iter().map(|choice| choice.relay).collect(),
                recall: (!sample.located.is_empty()).then(|| sample.recall(&together)),
            }
        });
        Self { authors: authors.collect(), chosen }
    }
}

/// Returns the relays of an author's list that others should read from: those without a marker, and those marked `write`.
fn write_relays(list: &Event, guard: &Guard) -> Vec<String> {
    let write = list.tags.iter().filter_map(|tag| match tag.as_slice() {
        [name, url] => (name == "r").then_some(url),
        [name, url, marker, ..] => (name == "r" && (marker == "write" || marker.is_empty())).then_some(url),
        _ => None,
    });
    let mut seen = BTreeSet::new();
    let urls = write.take(MAX_LISTED).filter_map(|url| RelayUrl::parse(url, guard).ok());
    urls.map(|url| url.as_str().to_owned()).filter(|url| seen.insert(url.clone())).collect()
}
