//! Events and sightings in SQLite.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use async_trait::async_trait;
use brotr_core::{Event, Offset, Sketch, matches};
use nostr::{EventId, Filter};
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::connection::SqliteTransaction;
use super::hints::Hint;
use super::remove::remove;
use super::runs::{self, Indexes};
use super::{SqliteArchive, count, load_dictionaries, scan};
use crate::archive::SightingStore;
use crate::backoff::{Repeat, retry};
use crate::batch::{Batch, Stored};
use crate::database::Database;
use crate::decode::{event_id, public_key};
use crate::options::{Options, Profile};
use crate::payload::Codec;
use crate::prepare::{Preparer, tagvalues};
use crate::query::{common, sqlite};
use crate::rows::{Cursor, Stats};
use crate::search::{VERSION, searchable};
use crate::{EventStore, NewEvents, StorageError, View};

/// Events removed per transaction.
const REMOVED: usize = 10_000;
/// Events to be removed that are looked up at a time: 16 MB.
const FOUND: usize = 1_000_000;
const COLUMNS: &str = "event.k, event.id, author.pubkey, event.created_at, event.kind, event.sig, event.payload";

fn event(row: &Row<'_>, codec: &Codec) -> Result<(i64, Event), StorageError> {
    let damaged = |detail: &str| StorageError::Damaged { what: "event", detail: detail.to_owned() };
    let blob = |place| Ok::<_, StorageError>(row.get_ref(place)?.as_blob().map_err(rusqlite::Error::from)?);
    let sig = row.get_ref(5)?.as_blob_or_null().map_err(rusqlite::Error::from)?.ok_or(StorageError::NoContents)?;
    let (tags, content) = codec.unpack(blob(6)?)?;
    let event = Event {
        id: event_id(blob(1)?)?,
        pubkey: public_key(blob(2)?)?,
        created_at: row.get(3)?,
        kind: row.get(4)?,
        tags,
        content,
        sig: sig.try_into().map_err(|_| damaged("a signature of the wrong length"))?,
    };
    Ok((row.get(0)?, event))
}

impl SqliteArchive {
    fn can_search(&self, filters: &[Filter]) -> Result<(), StorageError> {
        self.options.can_search(filters)
    }

    /// Changes stored events in one transaction of the writer.
    async fn change<T: Send + 'static>(
        &self,
        change: impl FnOnce(&Connection) -> Result<T, StorageError> + Send + 'static,
    ) -> Result<T, StorageError> {
        let connection = self.writer()?.connection.clone();
        let tx = SqliteTransaction::begin(&connection).await?;
        let hints = self.hints.clone();
        let run = move || {
            let changed = change(tx.connection()?)?;
            connection.forget();
            tx.commit_then(|| hints.discard())?;
            Ok(changed)
        };
        tokio::task::spawn_blocking(run).await.map_err(|_| StorageError::Closed)?
    }

    /// Reads events; repeats the read if another process has added a dictionary meanwhile.
    async fn read_events<T: Send + 'static>(
        &self,
        read: impl Fn(&Connection, &Codec) -> Result<T, StorageError> + Send + 'static,
    ) -> Result<T, StorageError> {
        self.options.profile.keeps_contents()?;
        let codec = self.codec.clone();
        self.readers
            .read(move |connection| match read(connection, &codec) {
                Err(StorageError::UnknownDictionary(_)) => {
                    load_dictionaries(connection, &codec)?;
                    read(connection, &codec)
                }
                result => result,
            })
            .await
    }
}

#[async_trait]
impl EventStore for SqliteArchive {
    async fn known(&self, ids: &[EventId]) -> Result<HashSet<EventId>, StorageError> {
        let (mut ids, runs) = (ids.to_vec(), self.runs.clone());
        // Nobody takes the hints of an archive that is only read.
        let hints = self.writer.is_some().then(|| self.hints.clone());
        self.readers
            .read(move |connection| {
                // Sorted, they are read from each run in one pass.
                ids.sort_unstable();
                let generation = hints.as_ref().map(|hints| hints.generation());
                let tx = connection.unchecked_transaction()?;
                let mut index = Indexes::new(&tx, &runs.at(&tx)?)?;
                let last = tx.prepare_cached(sqlite!("archive_last_event"))?.query_row([], |row| row.get(0))?;
                let mut known = HashSet::with_capacity(ids.len());
                let mut found = Vec::with_capacity(ids.len());
                for id in ids {
                    let hint = match index.find(&id)? {
                        Some(event) => {
                            known.insert(id);
                            Hint::Stored(event)
                        }
                        None => Hint::NewAfter(last),
                    };
                    found.push((id, hint));
                }
                if let (Some(hints), Some(generation)) = (hints, generation) {
                    hints.add(generation, found);
                }
                Ok(known)
            })
            .await
    }

    async fn store(&self, batch: Batch) -> Result<Stored, StorageError> {
        self.writer()?.queue.store(&self.preparer(), batch).await
    }

    fn new_events(&self) -> NewEvents {
        // Another process writes to an archive that this one only reads.
        self.announcer.listen(self.writer.is_none())
    }

    fn preparer(&self) -> Preparer {
        let (codec, profile) = (self.codec.clone(), self.options.profile);
        Preparer::new(self.options, move |event| {
            // The row holds both in the payload, and nothing else reads them from here on.
            let (tags, content) = (std::mem::take(&mut event.tags), std::mem::take(&mut event.content));
            match profile {
                Profile::Bigbrotr => codec.pack(&tags, &content),
                Profile::Lilbrotr => codec.pack(&tagvalues(&tags), ""),
            }
        })
    }

    async fn page(
        &self,
        filter: &Filter,
        view: View,
        after: Option<Cursor>,
        limit: usize,
    ) -> Result<Vec<Event>, StorageError> {
        self.can_search(std::slice::from_ref(filter))?;
        let (filter, runs) = (filter.clone(), self.runs.clone());
        self.read_events(move |connection, codec| {
            let sql = format!("select {COLUMNS} from event join author on author.k = event.author where event.k = ?1");
            let tx = connection.unchecked_transaction()?;
            let hits = scan::newest(&tx, &runs.at(&tx)?, &filter, view, after, limit)?;
            let mut statement = tx.prepare_cached(&sql)?;
            let mut events = Vec::with_capacity(hits.len());
            for k in hits {
                let mut rows = statement.query([k])?;
                if let Some(row) = rows.next()? {
                    events.push(event(row, codec)?.1);
                }
            }
            events.retain(|event| matches(&filter, event));
            Ok(events)
        })
        .await
    }

    async fn count(&self, filters: &[Filter], view: View, relays: &[String]) -> Result<u64, StorageError> {
        self.can_search(filters)?;
        let (filters, relays, runs) = (filters.to_vec(), relays.to_vec(), self.runs.clone());
        self.readers
            .read(move |connection| {
                let tx = connection.unchecked_transaction()?;
                let mut find = tx.prepare_cached(sqlite!("relay_find"))?;
                let found = relays.iter().map(|url| find.query_row([url], |row| row.get(0)).optional());
                let keys = found.filter_map(Result::transpose).collect::<rusqlite::Result<Vec<i64>>>()?;
                if keys.is_empty() && !relays.is_empty() {
                    return Ok(0);
                }
                drop(find);
                if let Some(total) = count::total(&tx, &filters, view, &keys)? {
                    return Ok(total.cast_unsigned());
                }
                let mut events = count::found(&tx, &runs.at(&tx)?, &filters)?;
                if !keys.is_empty() {
                    count::retain_sighted(&tx, &mut events, &keys)?;
                }
                count::retain_shown(&tx, &mut events, view)?;
                Ok(events.len())
            })
            .await
    }

    async fn sketch(&self, filter: &Filter, view: View, offset: Offset) -> Result<(u64, Sketch), StorageError> {
        self.can_search(std::slice::from_ref(filter))?;
        let (filter, runs) = (filter.clone(), self.runs.clone());
        self.readers
            .read(move |connection| {
                let tx = connection.unchecked_transaction()?;
                let mut events = count::found(&tx, &runs.at(&tx)?, &[filter])?;
                count::retain_shown(&tx, &mut events, view)?;
                Ok((events.len(), count::sketch(&tx, &events, offset)?))
            })
            .await
    }

    async fn ids(&self, filter: &Filter, view: View) -> Result<Vec<(EventId, i64)>, StorageError> {
        self.can_search(std::slice::from_ref(filter))?;
        let (filter, runs) = (filter.clone(), self.runs.clone());
        self.readers
            .read(move |connection| {
                let tx = connection.unchecked_transaction()?;
                let set = runs.at(&tx)?;
                let mut ids = Vec::new();
                if count::is_about_time_only(&filter) && view == View::All {
                    let mut all = count::all(&tx, &set, &filter)?;
                    while let Some(entry) = all.next()? {
                        ids.push((EventId::from_byte_array(entry.id), entry.created_at));
                    }
                } else {
                    let mut events = count::found(&tx, &set, &[filter])?;
                    count::retain_shown(&tx, &mut events, view)?;
                    let mut find = tx.prepare_cached(sqlite!("event_id_date"))?;
                    for event in events {
                        let (id, created_at) =
                            find.query_row([count::number(event)], |row| Ok((row.get(0)?, row.get(1)?)))?;
                        ids.push((EventId::from_byte_array(id), created_at));
                    }
                }
                ids.sort_unstable_by_key(|(id, created_at)| (*created_at, *id));
                Ok(ids)
            })
            .await
    }

    async fn stored_after(&self, after: i64, limit: i64) -> Result<Vec<(i64, Event)>, StorageError> {
        self.read_events(move |connection, codec| {
            let sql = format!(
                "select {COLUMNS} from event join author on author.k = event.author where event.k > ?1 order by event.k limit ?2"
            );
            let mut statement = connection.prepare_cached(&sql)?;
            let mut rows = statement.query([after, limit])?;
            let mut events = Vec::new();
            while let Some(row) = rows.next()? {
                events.push(event(row, codec)?);
            }
            Ok(events)
        })
        .await
    }

    async fn last_stored(&self) -> Result<i64, StorageError> {
        let read =
            |connection: &Connection| Ok(connection.query_row(sqlite!("archive_last_event"), [], |row| row.get(0))?);
        self.readers.read(read).await
    }

    async fn remove(&self, filter: &Filter, most: u64) -> Result<u64, StorageError> {
        let mut removed = 0;
        loop {
            let (filter, runs) = (filter.clone(), self.runs.clone());
            let wanted = usize::try_from(most - removed).unwrap_or(FOUND).min(FOUND);
            let oldest = self.readers.read(move |connection| {
                let tx = connection.unchecked_transaction()?;
                count::oldest(&tx, &runs.at(&tx)?, &filter, wanted)
            });
            let oldest = oldest.await?;
            let before = removed;
            for portion in oldest.chunks(REMOVED) {
                let n = retry("remove", Repeat::RolledBack, || {
                    let (portion, codec, runs) = (portion.to_vec(), self.codec.clone(), self.runs.clone());
                    self.change(move |connection| remove(connection, &runs.at(connection)?, &portion, &codec))
                });
                removed += n.await?;
            }
            if oldest.len() < wanted || removed == before || removed >= most {
                return Ok(removed);
            }
        }
    }

    async fn clear(&self) -> Result<(), StorageError> {
        let clear = |connection: &Connection| {
            runs::clear(connection)?;
            Ok(connection.execute_batch(sqlite!("event_clear"))?)
        };
        self.change(clear).await
    }

    async fn ping(&self) -> Result<(), StorageError> {
        self.rows(common!("ping"), vec![]).await?;
        Ok(())
    }

    async fn stats(&self) -> Result<Stats, StorageError> {
        let stats = |connection: &Connection| {
            let tx = connection.unchecked_transaction()?;
            let pairs = |sql| {
                let mut statement = tx.prepare_cached(sql)?;
                let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
                rows.collect::<rusqlite::Result<BTreeMap<String, i64>>>()
            };
            let bytes = |sql| tx.query_row(sql, [], |row| row.get::<_, i64>(0));
            let (events, pubkeys, sightings) =
                tx.query_row(sqlite!("stats_totals"), [], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
            let mut kinds = tx.prepare_cached(sqlite!("stats_kinds"))?;
            let kinds = kinds.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
            Ok(Stats {
                events,
                sightings,
                pubkeys,
                relays: pairs(sqlite!("stats_relays"))?,
                kinds: kinds.collect::<rusqlite::Result<_>>()?,
                jobs: pairs(sqlite!("stats_jobs"))?,
                outbox: tx.query_row(sqlite!("stats_outbox"), [], |row| row.get(0))?,
                disk_bytes: bytes(sqlite!("stats_disk"))?,
                free_bytes: Some(bytes(sqlite!("stats_free"))?),
            })
        };
        self.readers.read(stats).await
    }
}

#[async_trait]
impl SightingStore for SqliteArchive {
    async fn holders(&self, ids: &[EventId]) -> Result<BTreeMap<EventId, Vec<String>>, StorageError> {
        self.relays_of(ids, sqlite!("sighting_holders")).await
    }

    async fn lost(&self, ids: &[EventId]) -> Result<BTreeMap<EventId, Vec<String>>, StorageError> {
        self.relays_of(ids, sqlite!("lost_relays")).await
    }
}

impl SqliteArchive {
    /// Returns the relays that a statement has of each of these events.
    async fn relays_of(
        &self,
        ids: &[EventId],
        statement: &'static str,
    ) -> Result<BTreeMap<EventId, Vec<String>>, StorageError> {
        let ids: BTreeSet<EventId> = ids.iter().copied().collect();
        let runs = self.runs.clone();
        self.readers
            .read(move |connection| {
                let tx = connection.unchecked_transaction()?;
                let mut index = Indexes::new(&tx, &runs.at(&tx)?)?;
                let mut statement = tx.prepare_cached(statement)?;
                let mut relays = BTreeMap::new();
                for id in ids {
                    let Some(k) = index.find(&id)? else { continue };
                    let urls = statement.query_map([k], |row| row.get(0))?;
                    let urls = urls.collect::<rusqlite::Result<Vec<String>>>()?;
                    if !urls.is_empty() {
                        relays.insert(id, urls);
                    }
                }
                Ok(relays)
            })
            .await
    }
}

/// Brings the full-text index in line with the options: empties it, or fills it with the terms of this version.
pub(super) fn settle_search(connection: &mut Connection, options: Options, codec: &Codec) -> Result<(), StorageError> {
    let tx = connection.transaction()?;
    let wanted = if options.indexes_text() { VERSION } else { 0 };
    let there: i32 = tx.query_row(sqlite!("search_version"), [], |row| row.get(0))?;
    if wanted == there {
        return Ok(());
    }
    tx.execute(sqlite!("search_clear"), [])?;
    if options.indexes_text() {
        let mut insert = tx.prepare(sqlite!("search_add"))?;
        let mut events = tx.prepare(sqlite!("search_events"))?;
        let mut rows = events.query([])?;
        while let Some(row) = rows.next()? {
            let (tags, content) = codec.unpack(row.get_ref(2)?.as_blob().map_err(rusqlite::Error::from)?)?;
            if let Some(text) = searchable(row.get(1)?, &tags, &content) {
                insert.execute(params![row.get::<_, i64>(0)?, text])?;
            }
        }
    }
    tx.execute(sqlite!("search_set_version"), [wanted])?;
    Ok(tx.commit()?)
}
