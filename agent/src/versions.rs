//! Earlier versions of an author's replaceable events (profiles, follow lists, relay lists), and what changed between them. The
//! archive keeps what was replaced.

use std::collections::BTreeSet;

use brotr_core::Event;
use brotr_storage::{Cursor, EventStore, StorageError, View};
use nostr::{Alphabet, Filter, Kind, PublicKey, SingleLetterTag};
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

/// The most versions that are returned at once.
pub const MOST: usize = 100;
/// The bytes of events, in memory, after which a list ends.
const MAX_BYTES: usize = 8 << 20;
/// The most events that are read for one list: of an addressable event without a `d` tag, all of its kind are.
const MAX_READ: usize = 2_000;
/// Versions read per query.
const PART: usize = 4;

/// The address of a replaceable or addressable event.
#[derive(Debug, Clone)]
pub struct Address {
    /// The author.
    pub author: PublicKey,
    /// The kind.
    pub kind: Kind,
    /// The `d` tag of an addressable event; empty for a replaceable one.
    pub d: String,
}

impl Address {
    /// Returns the address of a kind of which there are versions.
    ///
    /// # Errors
    /// Fails if the kind is neither replaceable nor addressable (NIP-01), or has a `d` tag although it is replaceable.
    pub fn new(author: PublicKey, kind: u16, d: &str) -> Result<Self, String> {
        let kind = Kind::from(kind);
        if !kind.is_replaceable() && !kind.is_addressable() {
            return Err(format!("kind {kind} has no versions: give 0, 3, 10000 to 19999 or 30000 to 39999"));
        }
        if kind.is_replaceable() && !d.is_empty() {
            return Err(format!("kind {kind} is replaceable: it has no d tag"));
        }
        Ok(Self { author, kind, d: d.to_owned() })
    }

    fn filter(&self) -> Filter {
        let filter = Filter::new().author(self.author).kind(self.kind);
        if self.d.is_empty() { filter } else { filter.identifier(&self.d) }
    }

    /// Returns true if an event that the filter matches is a version: its first `d` tag counts, and one without is empty.
    fn is_of(&self, event: &Event) -> bool {
        let first = event.tags.iter().find(|tag| tag.first().is_some_and(|name| name == "d"));
        !self.kind.is_addressable() || first.and_then(|tag| tag.get(1)).map_or("", String::as_str) == self.d
    }

    /// Returns a filter for deletions of the event by its address (NIP-09).
    fn deletions(&self) -> Filter {
        let author = self.author.to_hex();
        let mut named = Vec::new();
        for author in [author.to_uppercase(), author] {
            let address = format!("{}:{author}", self.kind);
            named.push(format!("{address}:{}", self.d));
            if self.d.is_empty() {
                named.push(address);
            }
        }
        Filter::new()
            .author(self.author)
            .kind(Kind::EventDeletion)
            .custom_tags(SingleLetterTag::lowercase(Alphabet::A), named)
    }
}

/// What differs between a version and the one before it.
#[derive(Debug, Default, PartialEq, Serialize, ToSchema)]
pub struct Changes {
    /// Tags that the version before did not have
    pub added: Vec<Vec<String>>,
    /// Tags of the version before that are gone
    pub removed: Vec<Vec<String>>,
    /// Fields of a content that is a JSON object (kind 0), with the new values; null for one that is gone
    #[schema(value_type = Object)]
    pub fields: Map<String, Value>,
    /// Whether the content changed
    pub content: bool,
}

impl Changes {
    /// Compares two versions. Their order of tags does not count.
    fn between(before: &Event, after: &Event) -> Self {
        let (had, has) = (tags_of(before), tags_of(after));
        let keep = |event: &Event, other: &BTreeSet<&Vec<String>>| {
            let mut seen = BTreeSet::new();
            let tags = event.tags.iter().filter(|tag| !other.contains(*tag) && seen.insert(*tag));
            tags.cloned().collect()
        };
        let object = |event: &Event| match serde_json::from_str(&event.content) {
            Ok(Value::Object(fields)) => fields,
            _ => Map::new(),
        };
        let (old, new) = (object(before), object(after));
        let changed = new.iter().filter(|(name, value)| old.get(*name) != Some(*value));
        let changed = changed.map(|(name, value)| (name.clone(), value.clone()));
        let gone = old.keys().filter(|name| !new.contains_key(*name)).map(|name| (name.clone(), Value::Null));
        Self {
            added: keep(after, &had),
            removed: keep(before, &has),
            fields: changed.chain(gone).collect(),
            content: before.content != after.content,
        }
    }
}

fn tags_of(event: &Event) -> BTreeSet<&Vec<String>> {
    event.tags.iter().collect()
}

/// Returns the bytes that an event takes in memory, roughly: many small tags take far more than their texts.
fn size_of(event: &Event) -> usize {
    let tag = |tag: &Vec<String>| 64 + tag.iter().map(|value| 32 + value.len()).sum::<usize>();
    event.content.len() + event.tags.iter().map(tag).sum::<usize>()
}

/// A version of an event.
#[derive(Debug, Serialize, ToSchema)]
pub struct Version {
    /// As signed
    #[schema(value_type = Object)]
    pub event: Event,
    /// What differs from the version before it; null for the first one in the archive
    pub changes: Option<Changes>,
}

/// Returns the versions of an event after a cursor, newest first, at most `limit`, and where to continue if there may be more. Those
/// that were deleted, expired or vanished are left out.
///
/// # Errors
/// Fails if the archive cannot be queried.
pub async fn list(
    archive: &(impl EventStore + ?Sized),
    address: &Address,
    after: Option<Cursor>,
    limit: usize,
    now: i64,
) -> Result<(Vec<Version>, Option<Cursor>), StorageError> {
    let limit = limit.min(MOST);
    // A deletion counts although it may be hidden itself.
    let deleted = archive.page(&address.deletions(), View::All, None, 1).await?;
    let deleted_until = deleted.first().map_or(i64::MIN, |event| event.created_at);
    let filter = address.filter();
    let (mut events, mut bytes, mut read) = (Vec::<Event>::new(), 0, 0);
    let (mut cursor, mut more) = (after, true);
    // One more than asked for: the last one is compared with it.
    while more && events.len() <= limit && (events.len() == 1 || (bytes <= MAX_BYTES && read < MAX_READ)) {
        let page = archive.page(&filter, View::Versions { now }, cursor, PART).await?;
        more = page.len() == PART;
        read += page.len();
        for event in page {
            cursor = Some(cursor_of(&event));
            more &= event.created_at > deleted_until;
            if event.created_at > deleted_until && address.is_of(&event) {
                bytes += size_of(&event);
                events.push(event);
            }
        }
    }
    let is_whole = !more && events.len() <= limit;
    if !is_whole {
        events.truncate(limit + 1);
    }
    let changes: Vec<_> = events.windows(2).map(|pair| Some(Changes::between(&pair[1], &pair[0]))).collect();
    if !is_whole {
        events.pop();
    }
    let next = if is_whole { None } else { events.last().map(cursor_of).or(cursor) };
    let changes = changes.into_iter().chain([None]);
    Ok((events.into_iter().zip(changes).map(|(event, changes)| Version { event, changes }).collect(), next))
}

fn cursor_of(event: &Event) -> Cursor {
    Cursor { created_at: event.created_at, id: event.id }
}
