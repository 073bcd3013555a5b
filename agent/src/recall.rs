//! Which relays give most of an author's events: found from where the events were seen, not from what the author says (NIP-65).
//!
//! A sample of the author's events is read: the newest, and some of each earlier period, where each period is twice as long as the
//! one after it. Events of the last 30 days before the newest one count as much together as all earlier ones. Relays are chosen
//! one after the other, each time the one that adds most (greedy; at worst 63 % of the best choice of as many relays).
//!
//! Cost: for one author, at most eleven reads by author and time, and the sightings of at most 450 events; for each of several,
//! seven and 110. It depends neither on the number of events in the archive, nor on those of the author.

use std::collections::{BTreeMap, BTreeSet};

use brotr_core::{Event, Guard, RelayState, RelayUrl};
use brotr_storage::{EventStore, RelayStore, SightingStore, StorageError, View};
use futures::{StreamExt, TryStreamExt};
use nostr::{EventId, Filter, Kind, PublicKey, Timestamp};
use serde::Serialize;
use utoipa::ToSchema;

/// The most authors for whom relays are chosen together.
pub const MAX_AUTHORS: usize = 1_000;
/// The most relays of an author's own list that are read.
const MAX_LISTED: usize = 100;
/// Seconds before an author's newest event in which events are recent.
const RECENT: i64 = 30 * 86_400;
/// The shortest earlier period.
const A_DAY: i64 = 86_400;
/// Authors whose events are read concurrently.
const AT_ONCE: usize = 2;

/// How many events of an author are sampled.
#[derive(Debug, Clone, Copy)]
struct Depth {
    newest: usize,
    earlier: usize,
    periods: u32,
}

impl Depth {
    /// For a report on one author.
    const ONE: Self = Self { newest: 200, earlier: 25, periods: 10 };
    /// For a choice for many authors.
    const MANY: Self = Self { newest: 50, earlier: 10, periods: 6 };
}

/// What is wanted of a choice of relays.
#[derive(Debug, Clone, Copy)]
pub struct Wanted {
    /// The share of the events that the relays give together, from 0 to 1: no relay is added once it is reached.
    pub recall: f64,
    /// The most relays.
    pub relays: usize,
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
    relays: Vec<String>,
}

impl Sample {
    fn of(author: PublicKey, sampled: &[Event], mut holders: BTreeMap<EventId, Vec<String>>) -> Self {
        let newest = sampled.iter().map(|event| event.created_at).max();
        let oldest = sampled.iter().map(|event| event.created_at).min();
        let located = sampled.iter().filter_map(|event| {
            let relays = holders.remove(&event.id)?;
            let is_recent = newest.is_some_and(|newest| event.created_at > newest - RECENT);
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
    fn recall(&self, relays: &BTreeSet<&str>) -> f64 {
        let held = |one: &&Located| one.relays.iter().any(|relay| relays.contains(relay.as_str()));
        // The sum of nothing would be minus zero.
        rounded(self.located.iter().filter(held).fold(0.0, |sum, one| sum + one.weight))
    }

    /// Returns the share of the recent, or of the earlier, events that a relay holds; `None` if there are none.
    fn share(&self, relay: &str, is_recent: bool) -> Option<f64> {
        let of_period = || self.located.iter().filter(|one| one.is_recent == is_recent);
        let held = of_period().filter(|one| one.relays.iter().any(|holder| holder == relay)).count();
        let all = of_period().count();
        (all > 0).then(|| count_of(held) / count_of(all))
    }

    /// Returns the relays that hold any of the events.
    fn relays(&self) -> BTreeSet<&str> {
        self.located.iter().flat_map(|one| one.relays.iter().map(String::as_str)).collect()
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

/// Chooses relays for authors, best first, from those that are usable. Every author counts the same.
fn choose(samples: &[Sample], is_usable: impl Fn(&str) -> bool, wanted: Wanted) -> Vec<Choice> {
    let samples: Vec<_> = samples.iter().filter(|sample| !sample.located.is_empty()).collect();
    let part = 1.0 / count_of(samples.len().max(1));
    let events: Vec<_> = samples.iter().flat_map(|sample| &sample.located).collect();
    let mut held = BTreeMap::<&str, Vec<usize>>::new();
    for (place, event) in events.iter().enumerate() {
        for relay in &event.relays {
            held.entry(relay).or_default().push(place);
        }
    }
    held.retain(|relay, _| is_usable(relay));
    let mut missing = vec![true; events.len()];
    let (mut chosen, mut recall) = (Vec::new(), 0.0);
    while rounded(recall) < wanted.recall && chosen.len() < wanted.relays {
        let gain = |held: &[usize]| -> f64 {
            held.iter().filter(|place| missing[**place]).map(|place| events[*place].weight * part).sum()
        };
        let best = held.iter().map(|(relay, held)| (gain(held), *relay));
        // The first by URL, of equal ones.
        let Some((gain, relay)) = best.reduce(|best, next| if next.0 > best.0 + 1e-12 { next } else { best }) else {
            break;
        };
        if gain <= 0.0 {
            break;
        }
        held.remove(relay).into_iter().flatten().for_each(|place| missing[place] = false);
        recall += gain;
        chosen.push(Choice { relay: relay.to_owned(), recall: rounded(recall) });
    }
    chosen
}

/// How much of an author's events a relay holds.
#[derive(Debug, Serialize, ToSchema)]
pub struct Share {
    /// Its URL
    pub relay: String,
    /// Whether it was up at its last check
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
        let sample = self.sample(author, Depth::ONE).await?;
        let samples = std::slice::from_ref(&sample);
        let up = self.up(samples).await?;
        let filter = Filter::new().author(author).kind(Kind::RelayList);
        let list = self.events.page(&filter, self.view(), None, 1).await?.into_iter().next();
        let list = list.map(|event| {
            let write = write_relays(&event, guard);
            let recall = sample.recall(&write.iter().map(String::as_str).collect());
            OwnList { created_at: event.created_at, write, recall }
        });
        let is_listed = |relay: &str| list.as_ref().is_some_and(|list| list.write.iter().any(|one| one == relay));
        let share = |relay: &str| Share {
            relay: relay.to_owned(),
            is_up: up.contains(relay),
            recent: sample.share(relay, true),
            earlier: sample.share(relay, false),
            is_listed: is_listed(relay),
        };
        let mut relays: Vec<Share> = sample.relays().into_iter().map(share).collect();
        let both = |share: &Share| share.recent.unwrap_or_default() + share.earlier.unwrap_or_default();
        relays.sort_by(|a, b| both(b).total_cmp(&both(a)).then_with(|| a.relay.cmp(&b.relay)));
        Ok(AuthorReport {
            author,
            events: sample.events,
            located: sample.located.len(),
            since: sample.span.map(|span| span.0),
            until: sample.span.map(|span| span.1),
            chosen: choose(samples, |relay| up.contains(relay), wanted),
            relays,
            list,
        })
    }

    /// Chooses relays for authors: a follow list.
    ///
    /// # Errors
    /// Fails if the archive cannot be queried.
    pub async fn authors(&self, authors: &[PublicKey], wanted: Wanted) -> Result<ListReport, StorageError> {
        let mut seen = BTreeSet::new();
        let authors = authors.iter().copied().filter(|author| seen.insert(*author));
        let samples = authors.map(|author| self.sample(author, Depth::MANY));
        let samples: Vec<Sample> = futures::stream::iter(samples).buffered(AT_ONCE).try_collect().await?;
        let up = self.up(&samples).await?;
        let chosen = choose(&samples, |relay| up.contains(relay), wanted);
        let usable: BTreeSet<&str> = chosen.iter().map(|choice| choice.relay.as_str()).collect();
        let authors = samples.iter().map(|sample| {
            let all = Wanted { recall: 1.0, ..wanted };
            let relays = choose(std::slice::from_ref(sample), |relay| usable.contains(relay), all);
            AuthorChoice {
                author: sample.author,
                relays: relays.into_iter().map(|choice| choice.relay).collect(),
                recall: (!sample.located.is_empty()).then(|| sample.recall(&usable)),
            }
        });
        let authors = authors.collect();
        Ok(ListReport { chosen, authors })
    }

    fn view(&self) -> View {
        View::Client { now: self.now }
    }

    /// Reads a sample of an author's events.
    async fn sample(&self, author: PublicKey, depth: Depth) -> Result<Sample, StorageError> {
        let until = |until: i64| Filter::new().author(author).until(Timestamp::from(until.max(0).cast_unsigned()));
        let mut sampled = self.events.page(&until(self.now), self.view(), None, depth.newest).await?;
        if let [first, .., last] = sampled.as_slice()
            && sampled.len() == depth.newest
        {
            let (newest, mut period) = (first.created_at, (first.created_at - last.created_at).max(A_DAY));
            let mut end = last.created_at - 1;
            for _ in 0..depth.periods {
                let page = self.events.page(&until(end), self.view(), None, depth.earlier).await?;
                let Some(oldest) = page.last().map(|event| event.created_at) else { break };
                sampled.extend(page);
                period = period.saturating_mul(2);
                end = (newest - period).min(oldest - 1);
            }
        }
        let ids: Vec<EventId> = sampled.iter().map(|event| event.id).collect();
        let holders = self.sightings.holders(&ids).await?;
        Ok(Sample::of(author, &sampled, holders))
    }

    /// Returns those relays of the samples that were up at their last check.
    async fn up(&self, samples: &[Sample]) -> Result<BTreeSet<String>, StorageError> {
        let mut up = BTreeSet::new();
        for url in samples.iter().flat_map(Sample::relays).collect::<BTreeSet<_>>() {
            if self.relays.relay(url).await?.is_some_and(|relay| relay.state == RelayState::Up) {
                up.insert(url.to_owned());
            }
        }
        Ok(up)
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
