//! Events that would be lost with their relays: those that only relays hold which have been down for long, are down most of the
//! time, or announced that they will close.
//!
//! Cost: which relays these are takes the checks of a month of each relay that holds events, some milliseconds a relay. Which events
//! only they hold takes the sightings of each event that is looked at.

use std::collections::{BTreeMap, BTreeSet};

use brotr_core::{Event, RelayState, sanitize};
use brotr_storage::{CheckStore, DocumentType, Relay, RelayQuery, RelayStore, StorageError, Visit};
use nostr::EventId;
use serde_json::Value;

use crate::history::{self, History, percent};

const A_DAY: i64 = 86_400;
/// A relay that has been down for this long is failing,
const DOWN: i64 = 7 * A_DAY;
/// and so is one that was up for less than this share of the last month, if as much as [`DOWN`] of it is known.
const UNSTEADY: f64 = 0.5;
/// Relays read per query.
const PAGE: i64 = 5_000;
/// The most characters of a relay's announcement that are kept.
const MAX_TEXT: usize = 160;
/// What an operator writes into the information document (NIP-11) of a relay that will close, in lower case.
const ANNOUNCEMENTS: [&str; 20] = [
    "shutting down",
    "shut down on",
    "shut down in",
    "will shut down",
    "will be shut down",
    "closing down",
    "will close",
    "will be closed",
    "is closing",
    "going offline",
    "go offline on",
    "will go offline",
    "sunset",
    "end of life",
    "end-of-life",
    "being retired",
    "will be retired",
    "decommission",
    "discontinued",
    "no longer be available",
];
/// Kinds whose content only some can read: direct messages, seals and gift wraps (NIP-04, 17, 59), groups (MLS), wallets (NIP-60),
/// drafts (NIP-37).
const ENCRYPTED: [u16; 16] =
    [4, 13, 14, 15, 444, 445, 1_059, 1_060, 1_234, 7_374, 7_375, 7_376, 10_013, 17_375, 31_234, 37_375];
/// What relays say of their groups (NIP-29).
const GROUPS: std::ops::RangeInclusive<u16> = 39_000..=39_009;

/// Why a relay's events may be lost.
#[derive(Debug, Clone, PartialEq)]
pub enum Danger {
    /// The operator of this agent says so.
    Named,
    /// It has been down since this time, in unix seconds.
    Down(i64),
    /// It was up for this share of the last month, from 0 to 1.
    Unsteady(f64),
    /// Its information document announces that it will close; an excerpt.
    Closing(String),
}

impl Danger {
    /// Returns it in words.
    #[must_use]
    pub fn reason(&self, now: i64) -> String {
        match self {
            Self::Named => "named".into(),
            Self::Down(since) => format!("down for {} days", (now - since) / A_DAY),
            Self::Unsteady(uptime) => format!("up for {} of the last month", percent(*uptime)),
            Self::Closing(text) => format!("announces: {text}"),
        }
    }

    /// Returns why a relay's events may be lost, by its checks of the last month, newest first, and its information document.
    fn of(visits: &[Visit], info: Option<&str>, now: i64) -> Option<Self> {
        // Of a relay that was not checked lately nothing is known.
        if visits.first().is_none_or(|newest| now - newest.at > history::HOLDS) {
            return None;
        }
        if let Some(text) = info.and_then(announcement) {
            return Some(Self::Closing(text));
        }
        let down = visits.iter().take_while(|visit| !visit.up).last();
        if let Some(since) = down.map(|visit| visit.at).filter(|since| now - since >= DOWN) {
            return Some(Self::Down(since));
        }
        let is_known = visits.last().is_some_and(|oldest| now - oldest.at >= DOWN);
        let [_, _, (_, month), _] = History::of(visits, now).uptime;
        month.filter(|share| is_known && *share < UNSTEADY).map(Self::Unsteady)
    }
}

/// Returns the sentence of an information document that announces the end of its relay.
fn announcement(info: &str) -> Option<String> {
    let info: Value = serde_json::from_str(info).ok()?;
    let text = info["description"].as_str()?;
    let of_interest = |sentence: &&str| {
        let sentence = sentence.to_lowercase();
        ANNOUNCEMENTS.iter().any(|phrase| sentence.contains(phrase))
    };
    let sentence = text.split_inclusive(['.', '!', '\n']).find(of_interest)?;
    Some(sanitize(sentence.trim()).chars().take(MAX_TEXT).collect())
}

/// Returns the relays that hold events which may be lost with them, and why.
///
/// # Errors
/// Fails if the archive cannot be queried.
pub async fn endangered(
    store: &(impl RelayStore + CheckStore + ?Sized),
    now: i64,
) -> Result<BTreeMap<String, Danger>, StorageError> {
    let mut found = BTreeMap::new();
    let mut query = RelayQuery { limit: PAGE, ..RelayQuery::default() };
    loop {
        let relays = store.relays(&query).await?;
        let Some(last) = relays.last() else { return Ok(found) };
        query.after = Some(last.url.clone());
        for relay in relays {
            if relay.events > 0
                && relay.state != RelayState::OptedOut
                && let Some(danger) = danger(store, &relay, now).await?
            {
                found.insert(relay.url, danger);
            }
        }
    }
}

async fn danger(store: &(impl CheckStore + ?Sized), relay: &Relay, now: i64) -> Result<Option<Danger>, StorageError> {
    let since = now - 30 * A_DAY - history::HOLDS;
    let visits = store.visits(&relay.url, since, History::VISITS).await?;
    let documents = store.documents(&relay.url).await?;
    let info = documents.iter().find(|document| document.kind == DocumentType::Nip11);
    Ok(Danger::of(&visits, info.map(|document| document.data.as_str()), now))
}

/// Which events are looked for.
#[derive(Debug, Clone)]
pub struct Search {
    /// The relays whose events may be lost.
    pub endangered: BTreeSet<String>,
    /// Only events that one of these relays holds; of any relay if empty.
    pub of: BTreeSet<String>,
    /// Whether events that a single relay holds are found as well, whatever its state.
    pub alone: bool,
}

impl Search {
    /// Returns the relays that hold an event which may be lost; `None` if some other relay holds it, or none was seen to.
    #[must_use]
    pub fn at_risk<'a>(&self, event: EventId, holders: &'a BTreeMap<EventId, Vec<String>>) -> Option<&'a [String]> {
        let holders = holders.get(&event).filter(|relays| !relays.is_empty())?;
        if !self.of.is_empty() && !holders.iter().any(|relay| self.of.contains(relay)) {
            return None;
        }
        let is_alone = self.alone && holders.len() == 1;
        (is_alone || holders.iter().all(|relay| self.endangered.contains(relay))).then_some(holders)
    }
}

/// Returns true if an event may be sent to other relays: anybody can read it, its author did not restrict it (NIP-70), and it is
/// not of a group that may be closed (NIP-29).
#[must_use]
pub fn is_public(event: &Event) -> bool {
    let is_restricted = event.tags.iter().any(|tag| tag.first().is_some_and(|name| name == "-" || name == "h"));
    !is_restricted && !ENCRYPTED.contains(&event.kind) && !GROUPS.contains(&event.kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_700_000_000;

    fn visits(days: &[(i64, bool)]) -> Vec<Visit> {
        days.iter().map(|(ago, up)| Visit { at: NOW - ago * A_DAY, up: *up, rtt_ms: [None; 3] }).collect()
    }

    #[test]
    fn relays_that_fail_or_close_are_found() {
        let of = |days: &[(i64, bool)]| Danger::of(&visits(days), None, NOW);
        assert_eq!(of(&[]), None);
        assert_eq!(of(&[(0, true), (6, true), (12, false)]), None);
        assert_eq!(of(&[(0, false), (3, false), (6, false), (14, true)]), None, "down for six days");
        assert_eq!(of(&[(0, false), (7, false), (14, true)]), Some(Danger::Down(NOW - 7 * A_DAY)));
        assert!(matches!(of(&[(0, true), (1, false), (8, false)]), Some(Danger::Unsteady(share)) if share < 0.2));
        assert_eq!(of(&[(0, true), (1, false), (5, false)]), None, "five days are too few");
        let said = |text: &str| {
            let info = serde_json::json!({"name": "A relay", "description": text}).to_string();
            Danger::of(&visits(&[(0, true)]), Some(&info), NOW)
        };
        assert_eq!(said("Free for all. Up since 2021!"), None);
        let text = "We will SHUT DOWN on 1 May\u{202e}.";
        assert!(matches!(said(&format!("Thanks to all. {text} Bye.")), Some(Danger::Closing(said))
            if said.starts_with("We will SHUT DOWN") && !said.contains('\u{202e}') && !said.contains("Bye")));
        assert_eq!(Danger::of(&visits(&[(0, true)]), Some("not JSON"), NOW), None);
        let named = serde_json::json!({"name": "Sunset Relay", "description": ""}).to_string();
        assert_eq!(Danger::of(&visits(&[(0, true)]), Some(&named), NOW), None);
        assert_eq!(of(&[(20, false), (30, false)]), None, "not checked since");
    }

    #[test]
    fn only_what_anybody_may_read_is_public() {
        let event = |kind: u16, tag: &[&str]| Event {
            id: EventId::all_zeros(),
            pubkey: nostr::PublicKey::from_byte_array([1; 32]),
            created_at: NOW,
            kind,
            tags: vec![tag.iter().map(|text| (*text).to_owned()).collect()],
            content: String::new(),
            sig: [0; 64],
        };
        for kind in [0, 1, 3, 7, 1_111, 10_002, 30_023] {
            assert!(is_public(&event(kind, &["t", "h"])), "{kind}");
            assert!(!is_public(&event(kind, &["-"])) && !is_public(&event(kind, &["h", "group"])), "{kind}");
        }
        for kind in [4, 13, 445, 1_059, 1_234, 7_375, 10_013, 31_234, 39_000, 39_003] {
            assert!(!is_public(&event(kind, &["t", "a"])), "{kind}");
        }
    }

    #[test]
    fn an_event_is_at_risk_unless_another_relay_holds_it() {
        let id = |n| EventId::from_byte_array([n; 32]);
        let urls = |urls: &[&str]| urls.iter().map(|url| (*url).to_owned()).collect::<Vec<_>>();
        let holders = BTreeMap::from([
            (id(1), urls(&["bad"])),
            (id(2), urls(&["bad", "worse"])),
            (id(3), urls(&["bad", "good"])),
            (id(4), urls(&["good"])),
            (id(5), vec![]),
        ]);
        let endangered: BTreeSet<String> = urls(&["bad", "worse"]).into_iter().collect();
        let found = |alone, of: &[&str]| {
            let search = Search { endangered: endangered.clone(), of: urls(of).into_iter().collect(), alone };
            (0..7_u8).filter(|n| search.at_risk(id(*n), &holders).is_some()).collect::<Vec<_>>()
        };
        assert_eq!(found(false, &[]), [1, 2]);
        assert_eq!(found(true, &[]), [1, 2, 4]);
        assert_eq!(found(true, &["worse"]), [2]);
    }
}
