//! Which events clients see: not those that are replaced, deleted, expired, vanished, ephemeral or protected.
//!
//! The archive keeps everything that was signed. When an event is stored it is decided once what it hides and what hides it, so
//! that a query only has to skip marked events. The backends look up what the decision needs.

use std::collections::{HashMap, HashSet};

use brotr_core::Event;
use nostr::{EventId, PublicKey};
use sha2::{Digest, Sha256};

/// Which events a query returns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum View {
    /// Everything that was signed.
    All,
    /// What a relay serves to clients at a time.
    Client {
        /// The time, in unix seconds.
        now: i64,
    },
    /// The same, and the versions of replaceable and addressable events that newer ones replaced. A version that was deleted by
    /// its id, expired or vanished is left out; one that was deleted by its address after it was replaced is not.
    Versions {
        /// The time, in unix seconds.
        now: i64,
    },
}

impl View {
    /// Returns the time at which events may be hidden, and a condition on the rows of `hidden h` that hide them; `None` if no
    /// event is.
    pub(crate) fn hides(self) -> Option<(i64, &'static str)> {
        match self {
            Self::All => None,
            Self::Client { now } => Some((now, "true")),
            Self::Versions { now } => Some((now, "h.reason <> 'replaced'")),
        }
    }
}

const DELETION: u16 = 5;
pub(crate) const VANISH: u16 = 62;
const GIFT_WRAP: u16 = 1059;

fn key(parts: &[&[u8]]) -> i64 {
    let hash = parts.iter().fold(Sha256::new(), |hash, part| hash.chain_update(part)).finalize();
    i64::from_be_bytes(hash[..8].try_into().expect("a hash has 32 bytes"))
}

/// Returns the slot that holds the only event of an author and kind that clients may see, if the kind is replaceable.
pub(crate) fn replaceable_slot(author: &PublicKey, kind: u16) -> Option<i64> {
    is_replaceable(kind).then(|| slot_key(author, kind, ""))
}

fn slot_key(author: &PublicKey, kind: u16, d: &str) -> i64 {
    key(&[author.as_bytes(), &kind.to_be_bytes(), d.as_bytes()])
}

fn deletion_key(author: &PublicKey, id: &EventId) -> i64 {
    key(&[author.as_bytes(), id.as_bytes()])
}

fn is_replaceable(kind: u16) -> bool {
    matches!(kind, 0 | 3 | 10_000..20_000)
}

fn is_addressable(kind: u16) -> bool {
    matches!(kind, 30_000..40_000)
}

/// Returns the first value of the first tag of this name; empty if the tag has none.
fn first<'a>(event: &'a Event, name: &str) -> Option<&'a str> {
    let tag = event.tags.iter().find(|tag| tag.first().is_some_and(|n| n == name))?;
    Some(tag.get(1).map_or("", String::as_str))
}

fn values<'a>(event: &'a Event, name: &'a str) -> impl Iterator<Item = &'a str> {
    event
        .tags
        .iter()
        .filter(move |tag| tag.first().is_some_and(|n| n == name))
        .filter_map(|tag| Some(tag.get(1)?.as_str()))
}

/// The properties of an event that decide what it hides and what hides it.
#[derive(Debug, Clone)]
pub(crate) struct Marks {
    pub(crate) id: EventId,
    pub(crate) created_at: i64,
    /// Reasons in the event itself, and from when they hold.
    own: Vec<(&'static str, i64)>,
    /// The slot of which it is a version.
    pub(crate) slot: Option<i64>,
    /// The key of a deletion of it; `None` if it cannot be deleted.
    pub(crate) deletion: Option<i64>,
    /// Ids that it deletes, and the keys of the deletions.
    pub(crate) deletes: Vec<(EventId, i64)>,
    /// Slots whose versions up to its own date it deletes.
    pub(crate) clears: Vec<i64>,
    /// Whether it requests that its author vanishes (NIP-62).
    pub(crate) vanishes: bool,
    /// The keys whose vanishing hides it: its author and, of a gift wrap, the recipients.
    pub(crate) vanishes_with: Vec<PublicKey>,
}

impl Marks {
    pub(crate) fn of(event: &Event) -> Self {
        let mut own = Vec::new();
        if matches!(event.kind, 20_000..30_000) {
            own.push(("ephemeral", 0));
        }
        if event.tags.iter().any(|tag| tag.first().is_some_and(|name| name == "-")) {
            own.push(("protected", 0));
        }
        if let Some(at) = first(event, "expiration").and_then(|at| at.parse().ok()) {
            own.push(("expired", at));
        }
        let slot = if is_replaceable(event.kind) {
            Some(slot_key(&event.pubkey, event.kind, ""))
        } else if is_addressable(event.kind) {
            Some(slot_key(&event.pubkey, event.kind, first(event, "d").unwrap_or_default()))
        } else {
            None
        };
        let mut marks = Self {
            id: event.id,
            created_at: event.created_at,
            own,
            slot,
            deletion: None,
            deletes: vec![],
            clears: vec![],
            vanishes: false,
            vanishes_with: vec![],
        };
        match event.kind {
            VANISH => {
                marks.vanishes = values(event, "relay").any(|relay| relay == "ALL_RELAYS");
                return marks;
            }
            DELETION => {
                let ids = values(event, "e").filter_map(|id| EventId::from_hex(id).ok());
                marks.deletes = ids.map(|id| (id, deletion_key(&event.pubkey, &id))).collect();
                marks.clears = values(event, "a").filter_map(|address| cleared(address, &event.pubkey)).collect();
            }
            GIFT_WRAP => {
                marks.vanishes_with = values(event, "p").filter_map(|key| PublicKey::from_hex(key).ok()).collect();
                marks.deletion = Some(deletion_key(&event.pubkey, &event.id));
            }
            _ => marks.deletion = Some(deletion_key(&event.pubkey, &event.id)),
        }
        marks.vanishes_with.push(event.pubkey);
        marks
    }
}

/// Returns the slot that an `a` tag of a deletion by this author names: `kind:pubkey:d`. Events of other authors cannot be
/// deleted.
fn cleared(address: &str, author: &PublicKey) -> Option<i64> {
    let mut parts = address.splitn(3, ':');
    let kind: u16 = parts.next()?.parse().ok()?;
    let owner = PublicKey::from_hex(parts.next()?).ok()?;
    let d = parts.next().unwrap_or_default();
    let named = if is_replaceable(kind) { d.is_empty() } else { is_addressable(kind) };
    (named && owner == *author).then(|| slot_key(author, kind, d))
}

/// The newest version of a replaceable or addressable event.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Slot {
    /// Its number, date and id; `None` if only deletions are known.
    pub(crate) newest: Option<(i64, i64, EventId)>,
    /// Versions up to this date are deleted.
    pub(crate) deleted_until: Option<i64>,
}

/// What is known of everything that the new events affect, before and after them.
#[derive(Debug, Default)]
pub(crate) struct Scene {
    /// Slots by key.
    pub(crate) slots: HashMap<i64, Slot>,
    /// Deletions by key.
    pub(crate) deletions: HashSet<i64>,
    /// When each key vanished.
    pub(crate) vanished: HashMap<PublicKey, i64>,
    /// The slots that were changed.
    pub(crate) changed: HashSet<i64>,
    /// Events to hide, with reason and start.
    pub(crate) hidden: Vec<(i64, &'static str, i64)>,
}

impl Scene {
    /// Takes in one new event, numbered `k`. Deletions among the new events must be taken in first.
    pub(crate) fn take(&mut self, k: i64, marks: &Marks) {
        self.hidden.extend(marks.own.iter().map(|(reason, since)| (k, *reason, *since)));
        for key in &marks.clears {
            let slot = self.slots.entry(*key).or_default();
            slot.deleted_until = slot.deleted_until.max(Some(marks.created_at));
            self.changed.insert(*key);
            if let Some((newest, created_at, _)) = slot.newest
                && created_at <= marks.created_at
            {
                self.hidden.push((newest, "deleted", 0));
            }
        }
        if let Some(key) = marks.slot {
            let slot = self.slots.entry(key).or_default();
            if slot.deleted_until.is_some_and(|until| marks.created_at <= until) {
                self.hidden.push((k, "deleted", 0));
            }
            match slot.newest {
                // The later one counts, and the lower id within a second.
                Some((_, created_at, id)) if (created_at, marks.id) > (marks.created_at, id) => {
                    self.hidden.push((k, "replaced", 0));
                }
                older => {
                    // One that was removed and comes back replaces nothing.
                    let older = older.filter(|(_, _, id)| *id != marks.id);
                    self.hidden.extend(older.map(|(older, _, _)| (older, "replaced", 0)));
                    slot.newest = Some((k, marks.created_at, marks.id));
                    self.changed.insert(key);
                }
            }
        }
        if marks.deletion.is_some_and(|key| self.deletions.contains(&key)) {
            self.hidden.push((k, "deleted", 0));
        }
        if marks.vanishes_with.iter().filter_map(|who| self.vanished.get(who)).any(|until| marks.created_at <= *until) {
            self.hidden.push((k, "vanished", 0));
        }
    }
}
