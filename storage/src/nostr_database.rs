//! The archive as a `nostr_database::NostrDatabase`, so that rust-nostr's clients can send what it holds.

use std::sync::Arc;

use nostr::util::BoxedFuture;
use nostr::{Event, EventId, Filter, Timestamp};
use nostr_database::{
    Backend, DatabaseError, DatabaseEventStatus, Events, NostrDatabase, RejectedReason, SaveEventStatus,
};

use crate::rows::Cursor;
use crate::{Archive, View};

/// Events read per query.
const PAGE: usize = 1_000;

/// An archive behind rust-nostr's database trait, read-only. Queries return the events of one view.
///
/// The few events that `nostr::Event` cannot hold (those with an empty inner tag) are in the archive and in
/// `count`, and left out of `query`.
#[derive(Debug, Clone)]
pub struct NostrArchive {
    archive: Arc<dyn Archive>,
    view: View,
}

impl NostrArchive {
    /// Returns this view of the archive.
    #[must_use]
    pub fn new(archive: Arc<dyn Archive>, view: View) -> Self {
        Self { archive, view }
    }
}

impl NostrDatabase for NostrArchive {
    fn backend(&self) -> Backend {
        match self.archive.backend() {
            "SQLite" => Backend::SQLite,
            other => Backend::Custom(other.to_owned()),
        }
    }

    /// Rejects the event. A client saves whatever its relays send, asked for or not.
    fn save_event<'a>(&'a self, _: &'a Event) -> BoxedFuture<'a, Result<SaveEventStatus, DatabaseError>> {
        Box::pin(async { Ok(SaveEventStatus::Rejected(RejectedReason::Other)) })
    }

    fn check_id<'a>(&'a self, id: &'a EventId) -> BoxedFuture<'a, Result<DatabaseEventStatus, DatabaseError>> {
        Box::pin(async move {
            let known = self.archive.known(&[*id]).await.map_err(DatabaseError::backend)?;
            Ok(if known.is_empty() { DatabaseEventStatus::NotExistent } else { DatabaseEventStatus::Saved })
        })
    }

    fn event_by_id<'a>(&'a self, id: &'a EventId) -> BoxedFuture<'a, Result<Option<Event>, DatabaseError>> {
        Box::pin(async move { Ok(self.query(Filter::new().id(*id)).await?.first_owned()) })
    }

    fn count(&self, filter: Filter) -> BoxedFuture<'_, Result<usize, DatabaseError>> {
        Box::pin(async move {
            let limit = filter.limit.unwrap_or(usize::MAX);
            let count = self.archive.count(&[filter], self.view, &[]).await.map_err(DatabaseError::backend)?;
            Ok(usize::try_from(count).unwrap_or(usize::MAX).min(limit))
        })
    }

    fn query(&self, filter: Filter) -> BoxedFuture<'_, Result<Events, DatabaseError>> {
        Box::pin(async move {
            let mut events = Events::new(&filter);
            let mut left = filter.limit.unwrap_or(usize::MAX);
            let mut after = None;
            while left > 0 {
                let asked = left.min(PAGE);
                let page = self.archive.page(&filter, self.view, after, asked).await.map_err(DatabaseError::backend)?;
                let Some(last) = page.last() else { break };
                after = Some(Cursor { created_at: last.created_at, id: last.id });
                left -= page.len();
                for event in &page {
                    if let Ok(event) = Event::try_from(event) {
                        events.insert(event);
                    }
                }
            }
            Ok(events)
        })
    }

    fn negentropy_items(&self, filter: Filter) -> BoxedFuture<'_, Result<Vec<(EventId, Timestamp)>, DatabaseError>> {
        Box::pin(async move {
            let ids = self.archive.ids(&filter, self.view).await.map_err(DatabaseError::backend)?;
            Ok(ids.into_iter().map(|(id, at)| (id, Timestamp::from(at.cast_unsigned()))).collect())
        })
    }

    fn delete(&self, _: Filter) -> BoxedFuture<'_, Result<(), DatabaseError>> {
        Box::pin(async { Err(DatabaseError::NotSupported) })
    }

    fn wipe(&self) -> BoxedFuture<'_, Result<(), DatabaseError>> {
        Box::pin(async { Err(DatabaseError::NotSupported) })
    }
}
