//! Retention of relays, measured: how far back the history of a relay goes, and how much of it the relay still holds.
//!
//! While a relay is synchronized, authors whose events it gives are sampled. Of these authors' archived events, whichever relay they
//! came from, a sample is requested from the relay by id: what it does not return, it does not hold.
//!
//! Cost: a relay is measured once a week, and each day in its first week, when little is known of other relays. 24 authors, two
//! classes of at most 34 events and one profile are 1,656 events at most, whatever the size of the archive.

use std::cmp::Reverse;
use std::collections::{BTreeSet, HashSet};

use brotr_core::{Interval, IntervalSet, parse_filter};
use brotr_storage::{CoverageReport, EventStore, SightingStore, StorageError, View};
use nostr::{EventId, Filter, Kind, PublicKey};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use utoipa::ToSchema;

use crate::sampling::newest;
use crate::state::{Json, State};

/// What was measured of a relay, by its URL.
pub const RETENTION: State<Json<Retention>> = State::new("synchronizer", "retention");
/// Authors whose events a relay gave, by its URL.
pub const AUTHORS: State<Json<Authors>> = State::new("synchronizer", "authors");
/// When a relay was last asked, in unix seconds, whether it answered or not.
pub const ASKED_AT: State<i64> = State::new("synchronizer", "retention asked at");

/// Classes of kinds. Private messages are not among them.
const CLASSES: [(&str, u16); 3] = [("notes", 1), ("profiles", 0), ("reactions", 7)];
/// The authors sampled of a relay.
const MOST: usize = 24;
/// The sample of an author's events of one class: the newest,
const NEWEST: usize = 10;
/// and some of at least each of these ages, in days.
const EARLIER: usize = 2;
const DAYS: [i64; 12] = [7, 14, 30, 60, 90, 180, 365, 545, 730, 1_095, 1_825, 2_920];
/// Ages for which shares are told apart: up to as many days.
const AGES: [Option<u32>; 6] = [Some(7), Some(30), Some(90), Some(365), Some(1_095), None];
/// An age with fewer events says nothing.
const FEW: u64 = 3;
/// The fewest authors of a measurement that is published, and the fewest events, of a class with several of each author and of
/// profiles.
const FEWEST_AUTHORS: u64 = 5;
const FEWEST_EVENTS: (u64, u64) = (50, 10);
const A_DAY: i64 = 86_400;
/// Seconds after which a relay is measured again, and in its first week.
const EACH: i64 = 7 * A_DAY;
const AT_FIRST: i64 = A_DAY;
/// Seconds after which a measurement is too old to be published.
const STALE: i64 = 2 * EACH;
/// Proof that ends longer ago than this does not reach up to now.
const RECENT: i64 = 7 * A_DAY;

/// A sample of the authors whose events a relay gave: those with the smallest hashes, so that each author has the same chance
/// however many events the relay gave, and in whatever order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Authors {
    /// Nobody else knows it: keys cannot be chosen by their hash.
    seed: u64,
    /// Hashes and keys, the smallest hash first.
    chosen: Vec<(u64, PublicKey)>,
}

impl Authors {
    /// Returns a sample without authors, with a random seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self { seed, chosen: Vec::new() }
    }

    /// Adds the author of an event, which must have been verified. Only kinds that are measured count: a key of another kind may
    /// be used once.
    pub fn add(&mut self, author: PublicKey, kind: u16) {
        if !CLASSES.iter().any(|(_, one)| *one == kind) {
            return;
        }
        let digest = Sha256::new().chain_update(self.seed.to_be_bytes()).chain_update(author.as_bytes()).finalize();
        let hash = u64::from_be_bytes(digest[..8].try_into().expect("eight bytes"));
        // Most authors fail here.
        if self.chosen.len() >= MOST && self.chosen.last().is_some_and(|(last, _)| *last <= hash) {
            return;
        }
        if let Err(place) = self.chosen.binary_search_by_key(&hash, |(hash, _)| *hash) {
            self.chosen.insert(place, (hash, author));
            self.chosen.truncate(MOST);
        }
    }

    /// Returns true if there is room for more authors.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.chosen.len() < MOST
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
    /// The oldest sampled event of an unbroken history: at least half of the sampled events of each age up to then are there;
    /// null if the newest are not, or too few were sampled
    pub since: Option<i64>,
    /// Sampled authors of whom the relay holds an event of any class, or was seen to, with events of this class
    pub authors: u64,
    /// Sampled events of these authors
    pub events: u64,
    /// Those of them that this relay holds
    pub held: u64,
    /// Those of them that it was seen to hold, and no longer holds
    pub lost: u64,
    /// By age, youngest first
    pub ages: Vec<Age>,
}

/// Events of an age.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Age {
    /// The most days since the event, and more than those of the age before; null if there is no limit
    pub days: Option<u32>,
    /// Sampled events
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

    /// Returns true if some age has enough events to say since when the history is unbroken.
    #[must_use]
    pub fn has_ages(&self) -> bool {
        self.ages.iter().any(|age| age.events >= FEW)
    }

    fn is_published(&self) -> bool {
        let fewest = if self.class == "profiles" { FEWEST_EVENTS.1 } else { FEWEST_EVENTS.0 };
        self.authors >= FEWEST_AUTHORS && self.events >= fewest
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts of a sample")]
fn ratio(part: u64, all: u64) -> Option<f64> {
    (all > 0).then(|| part as f64 / all as f64)
}

/// An archived event that the relay is asked for.
#[derive(Debug, Clone, Copy)]
struct Sampled {
    id: EventId,
    at: i64,
    author: PublicKey,
    /// The index of its class.
    class: usize,
    /// Whether the relay was seen to hold it.
    was_held: bool,
}

/// Archived events of some of a relay's authors, to be requested from the relay.
#[derive(Debug)]
pub struct Question {
    sampled: Vec<Sampled>,
    now: i64,
}

impl Question {
    /// Returns true if a relay is to be measured, by when that was done last, when it was asked last, and when it was found.
    #[must_use]
    pub fn is_due(measured_at: Option<i64>, asked_at: Option<i64>, discovered_at: i64, now: i64) -> bool {
        let each = if now - discovered_at < EACH { AT_FIRST } else { EACH };
        let is_past = |at: Option<i64>, wait: i64| at.is_none_or(|at| !(0..wait).contains(&(now - at)));
        is_past(measured_at, each) && is_past(asked_at, AT_FIRST)
    }

    /// Samples archived events of these authors, whichever relay they came from, at most `most`: of fewer authors if need be.
    ///
    /// # Errors
    /// Fails if the archive cannot be queried.
    pub async fn of(
        archive: &(impl EventStore + SightingStore + ?Sized),
        relay: &str,
        authors: &Authors,
        most: usize,
        now: i64,
    ) -> Result<Self, StorageError> {
        let mut sampled = Vec::new();
        for (_, author) in &authors.chosen {
            let mut of_author = Vec::new();
            for (class, (_, kind)) in CLASSES.into_iter().enumerate() {
                let filter = Filter::new().author(*author).kind(Kind::from(kind));
                let found = sample(archive, &filter, now).await?;
                let ids: Vec<EventId> = found.iter().map(|(id, _)| *id).collect();
                let (holders, lost) = (archive.holders(&ids).await?, archive.lost(&ids).await?);
                let names =
                    |relays: Option<&Vec<String>>| relays.iter().any(|relays| relays.iter().any(|one| one == relay));
                of_author.extend(found.into_iter().map(|(id, at)| {
                    let was_held = names(holders.get(&id)) || names(lost.get(&id));
                    Sampled { id, at, author: *author, class, was_held }
                }));
            }
            if sampled.len() + of_author.len() > most {
                break;
            }
            sampled.extend(of_author);
        }
        Ok(Self { sampled, now })
    }

    /// Returns the ids to request.
    #[must_use]
    pub fn ids(&self) -> Vec<EventId> {
        self.sampled.iter().map(|event| event.id).collect()
    }

    /// Returns the ids of events that the relay was seen to hold and that are not among these, the newest ones, at most `most`:
    /// what a relay deletes is old, what it leaves out of a long answer need not be.
    #[must_use]
    pub fn missed(&self, held: &HashSet<EventId>, most: usize) -> Vec<EventId> {
        let missed = self.sampled.iter().filter(|event| event.was_held && !held.contains(&event.id));
        let mut missed: Vec<_> = missed.collect();
        missed.sort_by_key(|event| Reverse(event.at));
        missed.into_iter().take(most).map(|event| event.id).collect()
    }

    /// Returns what the relay's answer says: the ids of the events that it returned.
    #[must_use]
    pub fn answered(&self, held: &HashSet<EventId>, coverage: &[CoverageReport]) -> Retention {
        let served = self.sampled.iter().filter(|event| event.was_held || held.contains(&event.id));
        let served: HashSet<PublicKey> = served.map(|event| event.author).collect();
        let of_class = |class: usize| {
            let events = self.sampled.iter().filter(|event| event.class == class && served.contains(&event.author));
            let (name, kind) = CLASSES[class];
            class_of(name, events, held, &covered(coverage, kind), self.now)
        };
        Retention { measured_at: self.now, classes: (0..CLASSES.len()).map(of_class).collect() }
    }
}

impl Retention {
    /// Returns the tags of a relay's event of kind 30166 that say so: class, the time of the oldest event of an unbroken history
    /// or nothing, the share held, the share kept, and the size of the sample. Without a measurement, or one of few events, no tag.
    #[must_use]
    pub fn tags(&self, now: i64) -> Vec<Vec<String>> {
        let is_fresh = (0..STALE).contains(&(now - self.measured_at));
        let classes = self.classes.iter().filter(|class| is_fresh && class.is_published());
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

/// Returns ids and times of a sample of the events that match, each once.
async fn sample(
    archive: &(impl EventStore + ?Sized),
    filter: &Filter,
    now: i64,
) -> Result<Vec<(EventId, i64)>, StorageError> {
    let view = View::Client { now };
    let mut sampled = newest(archive, filter, view, now, NEWEST).await?;
    // With fewer there is nothing older.
    let days = if sampled.len() < NEWEST { &[][..] } else { &DAYS };
    for days in days {
        let earlier = newest(archive, filter, view, now - days * A_DAY, EARLIER).await?;
        sampled.extend(earlier);
    }
    let mut seen = HashSet::new();
    sampled.retain(|(id, _)| seen.insert(*id));
    Ok(sampled)
}

/// Sums up the events of one class.
fn class_of<'a>(
    name: &str,
    events: impl Iterator<Item = &'a Sampled>,
    held: &HashSet<EventId>,
    covered: &IntervalSet,
    now: i64,
) -> Class {
    let newest: Option<&Interval> = covered.intervals().last().filter(|last| last.until >= now - RECENT);
    let mut class = Class {
        class: name.to_owned(),
        proven_since: newest.map(|last| last.since),
        since: None,
        authors: 0,
        events: 0,
        held: 0,
        lost: 0,
        ages: AGES.map(|days| Age { days, events: 0, held: 0 }).to_vec(),
    };
    // The oldest event of each age that the relay holds.
    let mut oldest = [None::<i64>; AGES.len()];
    let mut authors = HashSet::new();
    for event in events {
        let days = (now - event.at).max(0) / A_DAY;
        let age = AGES.iter().position(|most| most.is_none_or(|most| days < i64::from(most))).unwrap_or_default();
        authors.insert(event.author);
        class.events += 1;
        class.ages[age].events += 1;
        if held.contains(&event.id) {
            class.held += 1;
            class.ages[age].held += 1;
            oldest[age] = Some(oldest[age].map_or(event.at, |oldest| oldest.min(event.at)));
        } else {
            class.lost += u64::from(event.was_held);
        }
    }
    class.authors = authors.len() as u64;
    for (age, oldest) in class.ages.iter().zip(oldest).filter(|(age, _)| age.events >= FEW) {
        if age.held * 2 < age.events {
            break;
        }
        class.since = oldest;
    }
    class
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
        let sample = |seed: u64, keys: &[PublicKey]| {
            let mut authors = Authors::new(seed);
            keys.iter().for_each(|author| authors.add(*author, 1));
            authors
        };
        let once = sample(7, &all);
        assert_eq!((once.chosen.len(), once.has_room()), (MOST, false));
        let reversed: Vec<PublicKey> = all.iter().rev().chain(&all).copied().collect();
        assert_eq!(sample(7, &reversed), once);
        assert_ne!(sample(8, &all).chosen, once.chosen, "another seed, other authors");
        let mut others = Authors::new(7);
        all.iter().for_each(|author| others.add(*author, 1_059));
        assert!(others.chosen.is_empty(), "keys that are used once do not count");
        let stored = AUTHORS.entry("r", &Json(once.clone())).value;
        assert_eq!(stored.parse::<Json<Authors>>().expect("as stored").0, once);
    }

    /// Returns what is found of a relay that keeps events for this number of days, with a note of each author and day.
    fn keeping(days: i64) -> Class {
        let mut sampled = Vec::new();
        let mut held = HashSet::new();
        for author in 0..10_u8 {
            for day in 0..400_i64 {
                let mut id = [author; 32];
                id[..8].copy_from_slice(&day.to_be_bytes());
                let id = EventId::from_byte_array(id);
                let at = NOW - day * A_DAY - i64::from(author);
                sampled.push(Sampled { id, at, author: key(author), class: 0, was_held: day <= days });
                if day < days {
                    held.insert(id);
                }
            }
        }
        // An author of whom it holds nothing, and never did.
        let id = EventId::from_byte_array([99; 32]);
        sampled.push(Sampled { id, at: NOW, author: key(99), class: 0, was_held: false });
        let question = Question { sampled, now: NOW };
        assert_eq!(question.missed(&held, 3).len(), if days < 400 { 3 } else { 0 });
        question.answered(&held, &[report("{}", NOW - 60)]).classes.remove(0)
    }

    fn report(filter: &str, until: i64) -> CoverageReport {
        let interval = Interval { since: 0, until };
        let claim = brotr_core::Covered { interval, method: brotr_core::Method::Paged, proven_at: until };
        CoverageReport { relay: String::new(), filter: filter.to_owned(), covered: vec![claim], gaps: vec![] }
    }

    #[test]
    fn the_oldest_event_of_an_unbroken_history_is_found() {
        assert_eq!(keeping(400).since, Some(NOW - 399 * A_DAY - 9));
        assert_eq!(keeping(90).since, Some(NOW - 89 * A_DAY - 9));
        // Of the events between 30 and 90 days old less than half are there.
        assert_eq!(keeping(50).since, Some(NOW - 29 * A_DAY - 9));
        let class = keeping(30);
        assert_eq!((class.authors, class.events, class.held, class.lost), (10, 4_000, 300, 10));
        assert_eq!((class.proven_since, class.has_ages()), (Some(0), true));
        let nothing = keeping(0);
        assert_eq!((nothing.since, nothing.share(), nothing.kept()), (None, Some(0.0), Some(0.0)));
    }

    #[test]
    fn little_is_not_published() {
        let published = |class: Class, at: i64| Retention { measured_at: NOW, classes: vec![class] }.tags(at);
        let since = (NOW - 29 * A_DAY - 9).to_string();
        assert_eq!(published(keeping(30), NOW), [["retention", "notes", &since, "0.07", "0.97", "4000"]]);
        let nothing = Vec::<Vec<String>>::new();
        assert_eq!(published(keeping(30), NOW + STALE), nothing);
        assert_eq!(published(Class { authors: 4, ..keeping(30) }, NOW), nothing);
        assert_eq!(published(Class { events: 49, ..keeping(30) }, NOW), nothing);
        let profiles = Class { class: "profiles".into(), authors: 10, events: 10, held: 9, ..keeping(30) };
        assert_eq!(published(profiles, NOW).len(), 1);
    }

    #[test]
    fn a_relay_is_measured_each_week_and_each_day_at_first() {
        let is_due = |measured: Option<i64>, found: i64| {
            let measured = measured.map(|days| NOW - days * A_DAY);
            Question::is_due(measured, measured, NOW - found * A_DAY, NOW)
        };
        assert!(is_due(None, 0) && is_due(Some(1), 6) && is_due(Some(7), 8));
        assert!(!is_due(Some(0), 0) && !is_due(Some(6), 8));
        assert!(is_due(Some(-3), 100), "the clock was ahead");
        // A relay that did not answer is asked each day.
        assert!(!Question::is_due(None, Some(NOW - 9), 0, NOW) && Question::is_due(None, Some(NOW - A_DAY), 0, NOW));
    }

    #[test]
    fn only_filters_without_conditions_prove_a_kind() {
        let of = |filter: &str, kind: u16| !covered(&[report(filter, 9)], kind).intervals().is_empty();
        assert!(of("{}", 1) && of(r#"{"kinds":[0,1]}"#, 1));
        assert!(!of(r#"{"kinds":[0,1]}"#, 7) && !of(r##"{"#t":["a"]}"##, 1) && !of(r#"{"kinds":[1],"since":6}"#, 1));
        assert!(!of("not JSON", 1));
    }
}
