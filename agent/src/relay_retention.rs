//! Retention of relays, measured: how far back the history of a relay goes, and how much of it the relay still holds.
//!
//! While a relay is synchronized, authors whose events it gives are sampled. Of these authors' events a sample is looked up in the
//! archive: which of them any relay holds, and which this one does. An event counts if the relay was asked for its time, with proof
//! that the answer was complete; so what is missing is missing there.
//!
//! Cost: a relay is measured at most once a day. 48 authors, three classes and at most 60 events of each are 8,640 events, whose
//! sightings are looked up, whatever the size of the archive.

use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash, Hasher};

use brotr_core::{Interval, IntervalSet, parse_filter};
use brotr_storage::{CoverageReport, EventStore, SightingStore, StorageError};
use nostr::{Filter, Kind, PublicKey};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::sampling::Depth;
use crate::state::{Json, State};

/// What was measured of a relay, by its URL.
pub const RETENTION: State<Json<Retention>> = State::new("synchronizer", "retention");
/// Authors whose events a relay gave, by its URL.
pub const AUTHORS: State<Json<Authors>> = State::new("synchronizer", "authors");

/// Classes of kinds. Private messages are not among them.
const CLASSES: [(&str, u16); 3] = [("notes", 1), ("profiles", 0), ("reactions", 7)];
/// The authors sampled of a relay.
const MOST: usize = 48;
/// The sample of an author's events of one class.
const DEPTH: Depth = Depth { newest: 20, earlier: 5, periods: 8 };
/// Ages for which shares are told apart: up to as many days.
const AGES: [Option<u32>; 6] = [Some(7), Some(30), Some(90), Some(365), Some(1_095), None];
/// An age with fewer events says nothing.
const FEW: u64 = 3;
/// The fewest events and authors of a measurement that is published.
const PUBLISHED: (u64, u64) = (50, 5);
const A_DAY: i64 = 86_400;
/// Seconds after which a relay is measured again,
pub const EACH: i64 = A_DAY;
/// and after which a measurement is too old to be published.
const STALE: i64 = 7 * A_DAY;
/// Proof that ends longer ago than this does not reach up to now.
const RECENT: i64 = 7 * A_DAY;

/// A sample of the authors whose events a relay gave: those with the smallest hashes, so that each author has the same chance
/// however many events the relay gave, and in whatever order.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Authors(Vec<PublicKey>);

impl Authors {
    /// Adds an author to the sample of a relay.
    pub fn add(&mut self, relay: &str, author: PublicKey) {
        let hash = |author: &PublicKey| {
            let mut hasher = DefaultHasher::new();
            (relay, author.as_bytes()).hash(&mut hasher);
            hasher.finish()
        };
        // Sorted by hash. Most authors fail here.
        if self.0.len() >= MOST && self.0.last().is_some_and(|last| hash(last) <= hash(&author)) {
            return;
        }
        if let Err(place) = self.0.binary_search_by_key(&hash(&author), hash) {
            self.0.insert(place, author);
            self.0.truncate(MOST);
        }
    }

    /// Adds another sample of the same relay.
    pub fn merge(&mut self, relay: &str, other: &Self) {
        other.0.iter().for_each(|author| self.add(relay, *author));
    }

    /// Returns the number of authors.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Returns true if there is no author.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns true if there is room for more authors.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.0.len() < MOST
    }
}

/// What was measured of a relay's retention.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Retention {
    /// When, in unix seconds
    pub measured_at: i64,
    /// By class of kinds
    pub classes: Vec<Class>,
}

/// What was measured of one class of kinds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Class {
    /// `notes` (kind 1), `profiles` (0) or `reactions` (7)
    pub class: String,
    /// The time since which the archive has proof of everything that the relay returned, without a gap; null if not up to now
    pub proven_since: Option<i64>,
    /// The oldest sampled event of an unbroken history: at least half of the sampled events of each age up to then are there; null if
    /// not even of the newest
    pub since: Option<i64>,
    /// Sampled authors of whom the relay holds an event, or was seen to
    pub authors: u64,
    /// Sampled events of these authors that any relay holds
    pub events: u64,
    /// Those of them that this relay holds
    pub held: u64,
    /// Sampled events that it was seen to hold, and no longer holds
    pub lost: u64,
    /// By age, youngest first
    pub ages: Vec<Age>,
}

/// Events of an age.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Age {
    /// The most days since the event, and more than those of the age before; null if there is no limit
    pub days: Option<u32>,
    /// Sampled events that any relay holds
    pub events: u64,
    /// Those of them that this relay holds
    pub held: u64,
}

impl Class {
    /// Returns the share of the sampled events that the relay holds, from 0 to 1; `None` without events.
    #[must_use]
    pub fn share(&self) -> Option<f64> {
        ratio(self.held, self.events)
    }

    /// Returns the share of the events it was seen to hold that it still holds, from 0 to 1; `None` without events.
    #[must_use]
    pub fn kept(&self) -> Option<f64> {
        ratio(self.held, self.held + self.lost)
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts of a sample")]
fn ratio(part: u64, all: u64) -> Option<f64> {
    (all > 0).then(|| part as f64 / all as f64)
}

impl Retention {
    /// Measures a relay from what the archive has of these authors.
    ///
    /// # Errors
    /// Fails if the archive cannot be queried.
    pub async fn measure(
        archive: &(impl EventStore + SightingStore + ?Sized),
        relay: &str,
        authors: &Authors,
        coverage: &[CoverageReport],
        now: i64,
    ) -> Result<Self, StorageError> {
        let mut classes = Vec::new();
        for (class, kind) in CLASSES {
            let covered = covered(coverage, kind);
            let mut tally = Tally::new(class, &covered, now);
            for author in &authors.0 {
                let filter = Filter::new().author(*author).kind(Kind::from(kind));
                let mut sampled = DEPTH.sample(archive, &filter, now).await?;
                sampled.retain(|(_, at)| contains(&covered, *at));
                let ids: Vec<_> = sampled.iter().map(|(id, _)| *id).collect();
                let (holders, lost) = (archive.holders(&ids).await?, archive.lost(&ids).await?);
                let names =
                    |relays: Option<&Vec<String>>| relays.is_some_and(|relays| relays.iter().any(|one| one == relay));
                tally.add(sampled.iter().map(|(id, at)| {
                    let (any, held) = (holders.contains_key(id), names(holders.get(id)));
                    Sighted { at: *at, any, held, lost: !held && names(lost.get(id)) }
                }));
            }
            classes.push(tally.class);
        }
        Ok(Self { measured_at: now, classes })
    }

    /// Returns the tags of a relay's event of kind 30166 that say so: class, the time of the oldest event of an unbroken history
    /// or nothing, the share held, the share kept, and the size of the sample. Without a measurement, or one of few events, no tag.
    #[must_use]
    pub fn tags(&self, now: i64) -> Vec<Vec<String>> {
        let is_large = |class: &&Class| class.events >= PUBLISHED.0 && class.authors >= PUBLISHED.1;
        let classes = self.classes.iter().filter(|_| now - self.measured_at < STALE).filter(is_large);
        let share = |share: Option<f64>| share.map(|share| format!("{share:.2}")).unwrap_or_default();
        classes
            .map(|class| {
                let since = class.since.map(|at| at.to_string()).unwrap_or_default();
                let events = class.events.to_string();
                vec!["retention".into(), class.class.clone(), since, share(class.share()), share(class.kept()), events]
            })
            .collect()
    }
}

/// What is known of a sampled event.
#[derive(Debug, Clone, Copy)]
struct Sighted {
    at: i64,
    /// Whether any relay holds it,
    any: bool,
    /// and this one.
    held: bool,
    /// Whether this one did.
    lost: bool,
}

/// The sums for one class.
struct Tally {
    class: Class,
    /// The oldest event of each age that the relay holds.
    oldest: [Option<i64>; AGES.len()],
    now: i64,
}

impl Tally {
    fn new(class: &str, covered: &IntervalSet, now: i64) -> Self {
        // What is newest is not settled yet.
        let newest = covered.intervals().last().filter(|last| last.until >= now - RECENT);
        let class = Class {
            class: class.to_owned(),
            proven_since: newest.map(|last| last.since),
            since: None,
            authors: 0,
            events: 0,
            held: 0,
            lost: 0,
            ages: AGES.map(|days| Age { days, events: 0, held: 0 }).to_vec(),
        };
        Self { class, oldest: [None; AGES.len()], now }
    }

    /// Adds the events of an author, who counts if the relay holds any of them, or did.
    fn add(&mut self, events: impl Iterator<Item = Sighted> + Clone) {
        if !events.clone().any(|event| event.held || event.lost) {
            return;
        }
        let class = &mut self.class;
        class.authors += 1;
        for event in events {
            class.lost += u64::from(event.lost);
            if !event.any {
                continue;
            }
            let days = (self.now - event.at).max(0) / A_DAY;
            let age = AGES.iter().position(|most| most.is_none_or(|most| days < i64::from(most))).unwrap_or_default();
            class.events += 1;
            class.ages[age].events += 1;
            if event.held {
                class.held += 1;
                class.ages[age].held += 1;
                self.oldest[age] = Some(self.oldest[age].map_or(event.at, |oldest| oldest.min(event.at)));
            }
        }
        class.since = None;
        for (age, oldest) in class.ages.iter().zip(self.oldest).filter(|(age, _)| age.events >= FEW) {
            if age.held * 2 < age.events {
                break;
            }
            class.since = oldest;
        }
    }
}

/// Returns the spans in which the archive has proof of every event of a kind that a relay returned.
fn covered(reports: &[CoverageReport], kind: u16) -> IntervalSet {
    let names = |report: &&CoverageReport| {
        let Some(filter) = serde_json::from_str(&report.filter).ok().and_then(|value| parse_filter(&value).ok()) else {
            return false;
        };
        let others = Filter { kinds: None, ..filter.clone() };
        others.is_empty() && filter.kinds.is_none_or(|kinds: BTreeSet<Kind>| kinds.contains(&Kind::from(kind)))
    };
    reports.iter().filter(names).flat_map(|report| &report.covered).map(|claim| claim.interval).collect()
}

fn contains(covered: &IntervalSet, at: i64) -> bool {
    let within = |interval: &Interval| interval.since <= at && at <= interval.until;
    covered.intervals().iter().any(within)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_700_000_000;

    fn key(n: u8) -> PublicKey {
        PublicKey::from_byte_array([n; 32])
    }

    #[test]
    fn the_sample_does_not_depend_on_order_or_repetition() {
        let all: Vec<PublicKey> = (0..=255).map(key).collect();
        let sample = |keys: &[PublicKey]| {
            let mut authors = Authors::default();
            keys.iter().for_each(|author| authors.add("wss://relay.example/", *author));
            authors
        };
        let once = sample(&all);
        assert_eq!((once.len(), once.has_room()), (MOST, false));
        let reversed: Vec<PublicKey> = all.iter().rev().chain(&all).copied().collect();
        assert_eq!(sample(&reversed), once);
        let (mut first, second) = (sample(&all[..100]), sample(&all[100..]));
        first.merge("wss://relay.example/", &second);
        assert_eq!(first, once);
        let mut other = Authors::default();
        all.iter().for_each(|author| other.add("wss://other.example/", *author));
        assert_ne!(other, once, "another relay, other authors");
    }

    /// Returns what is found of a relay that keeps events for so many days, with one event of each author and day.
    fn keeping(days: i64) -> Class {
        let covered: IntervalSet = [Interval { since: 0, until: NOW - 60 }].into_iter().collect();
        let mut tally = Tally::new("notes", &covered, NOW);
        for author in 0..10 {
            let held = |day: i64| day < days;
            tally.add((0..400_i64).map(move |day| Sighted {
                at: NOW - day * A_DAY - author,
                any: true,
                held: held(day),
                lost: day == days,
            }));
        }
        tally.class
    }

    #[test]
    fn the_oldest_event_of_an_unbroken_history_is_found() {
        assert_eq!(keeping(400).since, Some(NOW - 399 * A_DAY - 9));
        assert_eq!(keeping(90).since, Some(NOW - 89 * A_DAY - 9));
        // Of the events between 30 and 90 days old less than half are there.
        assert_eq!(keeping(50).since, Some(NOW - 29 * A_DAY - 9));
        let class = keeping(30);
        assert_eq!((class.authors, class.events, class.held, class.lost), (10, 4_000, 300, 10));
        assert_eq!(class.proven_since, Some(0));
        let nothing = keeping(0);
        assert_eq!((nothing.since, nothing.held, nothing.share()), (None, 0, Some(0.0)));
        assert_eq!((nothing.authors, nothing.kept()), (10, Some(0.0)), "it was seen to hold the newest");
    }

    #[test]
    fn little_is_not_published() {
        let published = |class: Class, at: i64| Retention { measured_at: NOW, classes: vec![class] }.tags(at);
        let since = (NOW - 29 * A_DAY - 9).to_string();
        assert_eq!(published(keeping(30), NOW), [["retention", "notes", &since, "0.07", "0.97", "4000"]]);
        assert_eq!(published(keeping(30), NOW + STALE), Vec::<Vec<String>>::new());
        assert_eq!(published(Class { authors: 4, ..keeping(30) }, NOW), Vec::<Vec<String>>::new());
        assert_eq!(published(Class { events: 49, ..keeping(30) }, NOW), Vec::<Vec<String>>::new());
    }

    #[test]
    fn only_filters_without_conditions_prove_a_kind() {
        let report = |filter: &str| CoverageReport {
            relay: String::new(),
            filter: filter.to_owned(),
            covered: vec![brotr_core::Covered {
                interval: Interval { since: 5, until: 9 },
                method: brotr_core::Method::Paged,
                proven_at: 9,
            }],
            gaps: vec![],
        };
        let of = |filter: &str, kind: u16| contains(&covered(&[report(filter)], kind), 7);
        assert!(of("{}", 1) && of(r#"{"kinds":[0,1]}"#, 1));
        assert!(!of(r#"{"kinds":[0,1]}"#, 7) && !of(r##"{"#t":["a"]}"##, 1) && !of(r#"{"kinds":[1],"since":6}"#, 1));
        assert!(!of("not JSON", 1));
    }
}
