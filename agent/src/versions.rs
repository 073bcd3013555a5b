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
/// The bytes of events after which a list ends.
const MAX_BYTES: usize = 4 << 20;
/// Versions read per query.
const PART: usize = 10;

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
        if self.kind.is_addressable() { filter.identifier(&self.d) } else { filter }
    }

    /// Returns a filter for deletions of the event by its address (NIP-09).
    fn deletions(&self) -> Filter {
        let coordinate = format!("{}:{}:", self.kind, self.author.to_hex());
        let mut named = vec![format!("{coordinate}{}", self.d)];
        if self.d.is_empty() {
            named.push(coordinate.trim_end_matches(':').to_owned());
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
        let of = |event: &Event| event.tags.iter().cloned().collect::<BTreeSet<_>>();
        let (had, has) = (of(before), of(after));
        let keep = |event: &Event, other: &BTreeSet<Vec<String>>| {
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

/// A version of an event.
#[derive(Debug, Serialize, ToSchema)]
pub struct Version {
    /// As signed
    #[schema(value_type = Object)]
    pub event: Event,
    /// What differs from the version before it; null for the first one in the archive
    pub changes: Option<Changes>,
}

/// Returns the versions of an event after a cursor, newest first, at most `limit`, and whether there are more. Those that were
/// deleted, expired or vanished are left out.
///
/// # Errors
/// Fails if the archive cannot be queried.
pub async fn list(
    archive: &(impl EventStore + ?Sized),
    address: &Address,
    after: Option<Cursor>,
    limit: usize,
    now: i64,
) -> Result<(Vec<Version>, bool), StorageError> {
    let limit = limit.min(MOST);
    let deleted = archive.page(&address.deletions(), View::Client { now }, None, 1).await?;
    let deleted_until = deleted.first().map_or(i64::MIN, |event| event.created_at);
    let filter = address.filter();
    let (mut events, mut bytes, mut cursor, mut more) = (Vec::<Event>::new(), 0, after, true);
    // One more than asked for: the last one is compared with it.
    while more && events.len() <= limit && (bytes <= MAX_BYTES || events.len() < 2) {
        let page = archive.page(&filter, View::Versions { now }, cursor, PART).await?;
        more = page.len() == PART;
        for event in page {
            more &= event.created_at > deleted_until;
            if event.created_at > deleted_until {
                bytes += event.content.len() + event.tags.iter().flatten().map(String::len).sum::<usize>();
                cursor = Some(Cursor { created_at: event.created_at, id: event.id });
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
    let changes = changes.into_iter().chain([None]);
    let versions = events.into_iter().zip(changes).map(|(event, changes)| Version { event, changes }).collect();
    Ok((versions, !is_whole))
}
