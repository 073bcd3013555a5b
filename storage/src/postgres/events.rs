//! Events and sightings in PostgreSQL.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

use async_trait::async_trait;
use brotr_core::{Event, Offset, Sketch, matches};
use nostr::{EventId, Filter};
use sqlx::postgres::PgRow;
use sqlx::{AssertSqlSafe, Row as _};
use tokio::sync::oneshot;

use super::key::{event_key, event_of, id_bytes};
use super::lock::lock;
use super::remove::remove;
use super::{PostgresArchive, bind, scan, store};
use crate::backoff::{Backoff, Repeat, retry};
use crate::batch::{Batch, PreparedBatch, Stored};
use crate::database::Database;
use crate::decode::{event_id, public_key};
use crate::error::of_commit;
use crate::new_events::NewEvents;
use crate::options::{Options, Profile};
use crate::payload::{pack_tags, unpack_tags};
use crate::prepare::{Preparer, tagvalues};
use crate::query::{common, postgres};
use crate::rows::{Cursor, Stats};
use crate::search::{self, searchable};
use crate::select::Condition;
use crate::{EventStore, StorageError, View};

const COLUMNS: &str = "event.id, author.pubkey, event.created_at, event.kind, event.sig, event.tags, event.content";
/// Numbers reserved per arrival: the most events stored in one transaction.
const PLACES: i64 = 1 << 20;
/// Batches are written in one transaction up to this number of events and sightings.
const GROUP: usize = 8_192;
/// The smallest number of events for which statistics are collected.
const ANALYZE_FROM: i64 = 5_000;
/// Events removed per transaction.
const REMOVED: u64 = 10_000;

fn event(row: &PgRow) -> Result<Event, StorageError> {
    let damaged = |detail: String| StorageError::Damaged { what: "event", detail };
    let sig: Option<&[u8]> = row.try_get(4)?;
    let sig = sig.ok_or(StorageError::NoContents)?;
    let (tags, exact) = unpack_tags(row.try_get(5)?)?;
    Ok(Event {
        id: event_id(row.try_get(0)?)?,
        pubkey: public_key(row.try_get(1)?)?,
        created_at: row.try_get(2)?,
        kind: u16::try_from(row.try_get::<i32, _>(3)?).map_err(|e| damaged(e.to_string()))?,
        tags,
        content: if exact.is_empty() { row.try_get(6)? } else { exact },
        sig: sig.try_into().map_err(|_| damaged("a signature of the wrong length".into()))?,
    })
}

fn payload(profile: Profile, event: &Event) -> Vec<u8> {
    match profile {
        Profile::Bigbrotr => pack_tags(&event.tags, event.content.contains('\0').then_some(event.content.as_str())),
        Profile::Lilbrotr => pack_tags(&tagvalues(&event.tags), None),
    }
}

impl PostgresArchive {
    /// Queues a batch and waits until it is written. The task whose turn it is writes everything queued in one transaction, for the
    /// others too.
    async fn store_in_turn(&self, batch: Arc<PreparedBatch>) -> Result<Stored, StorageError> {
        loop {
            let (answer, mut answered) = oneshot::channel();
            self.queue.lock().unwrap_or_else(PoisonError::into_inner).push_back((batch.clone(), answer));
            let stored = tokio::select! {
                biased;
                stored = &mut answered => stored,
                turn = self.turns.acquire() => {
                    let turn = turn.map_err(|_| StorageError::Closed)?;
                    // Until it is written here, or the other writer has it.
                    while answered.is_empty() && self.store_group().await {}
                    drop(turn);
                    answered.await
                }
            };
            // Without an answer, the task that took the batch was cancelled. If the batch was written already, writing it again does
            // no harm.
            if let Ok(stored) = stored {
                return stored;
            }
        }
    }

    /// Writes what is queued, in one transaction; returns false if nothing is.
    async fn store_group(&self) -> bool {
        let (mut batches, mut answers, mut total) = (Vec::new(), Vec::new(), 0);
        {
            let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
            while total < GROUP
                && let Some((batch, answer)) = queue.pop_front()
            {
                total += batch.events.len() + batch.rest.known.len();
                batches.push(batch);
                answers.push(answer);
            }
        }
        if batches.is_empty() {
            return false;
        }
        match self.write(&batches).await {
            Ok(stored) => {
                let new: usize = stored.iter().map(|stored| stored.stored).sum();
                self.fresh.fetch_add(i64::try_from(new).unwrap_or(i64::MAX), Ordering::Relaxed);
                answers.into_iter().zip(stored).for_each(|(answer, stored)| drop(answer.send(Ok(stored))));
            }
            Err(error) if batches.len() == 1 => {
                answers.into_iter().next().map(|answer| answer.send(Err(error)));
            }
            // If a group cannot be written together, each batch is tried on its own and has its own error.
            Err(error) => {
                tracing::debug!(%error, batches = batches.len(), "failed to write a group");
                for (batch, answer) in batches.iter().zip(answers) {
                    let alone = self.write(std::slice::from_ref(batch)).await;
                    drop(answer.send(alone.map(|stored| stored[0])));
                }
            }
        }
        true
    }

    /// Updates the planner's statistics whenever this process has stored four times as many events as at the last time:
    /// autovacuum runs once a minute, and until then a table would be planned for as it was when it was small.
    async fn analyze(&self) {
        let (fresh, analyzed) = (self.fresh.load(Ordering::Relaxed), self.analyzed.load(Ordering::Relaxed));
        let due = fresh >= ANALYZE_FROM.max(analyzed.saturating_mul(4));
        if !due || self.analyzed.compare_exchange(analyzed, fresh, Ordering::Relaxed, Ordering::Relaxed).is_err() {
            return;
        }
        let Ok(mut reader) = self.server.reader().await else { return };
        let analyzed =
            sqlx::raw_sql("analyze event (k, created_at, author, kind, id, tagkeys), author, hidden, sighting, relay")
                .execute(reader.connection())
                .await;
        if let Err(error) = reader.ended(analyzed).await {
            tracing::warn!(%error, "failed to analyze the tables: queries may be slow until autovacuum does");
        }
    }

    /// Brings the full-text index in line with the options: empties it, or fills it with the terms of this version.
    pub(super) async fn settle_search(&self, options: Options) -> Result<(), StorageError> {
        let wanted = if options.indexes_text() { search::VERSION } else { 0 };
        let mut tx = self.server.begin().await?;
        lock(&mut tx).await?;
        let there: i32 = sqlx::query_scalar(postgres!("search_version")).fetch_one(&mut *tx).await?;
        if wanted == there {
            return Ok(());
        }
        sqlx::query(postgres!("search_clear")).execute(&mut *tx).await?;
        let (mut after, mut done) = (Vec::new(), !options.indexes_text());
        while !done {
            let rows: Vec<(Vec<u8>, i32, Vec<u8>, String)> =
                sqlx::query_as(postgres!("search_events")).bind(&after).fetch_all(&mut *tx).await?;
            done = rows.is_empty();
            let mut texts = Vec::with_capacity(rows.len());
            for (id, kind, tags, content) in rows {
                let (tags, _) = unpack_tags(&tags)?;
                let text = searchable(u16::try_from(kind).unwrap_or(u16::MAX), &tags, &content);
                if let Some(text) = text {
                    texts.push((event_key(&event_id(&id)?), text));
                }
                after = id;
            }
            store::write_text(&mut tx, texts.into_iter()).await?;
        }
        sqlx::query(postgres!("search_set_version")).bind(wanted).execute(&mut *tx).await?;
        Ok(tx.commit().await?)
    }

    async fn write(&self, batches: &[Arc<PreparedBatch>]) -> Result<Vec<Stored>, StorageError> {
        let authors = store::authors(&self.server, batches).await?;
        store::store(self.server.begin().await?, batches, &authors, self.options.profile, self.distributed).await
    }
}

#[async_trait]
impl EventStore for PostgresArchive {
    async fn known(&self, ids: &[EventId]) -> Result<HashSet<EventId>, StorageError> {
        let mut backoff = Backoff::new("known", "look for known events");
        let rows: Vec<Vec<u8>> = loop {
            let found = async {
                let mut reader = self.server.reader().await?;
                let query = sqlx::query_scalar(postgres!("event_known")).bind(id_bytes(ids));
                let found = query.fetch_all(reader.connection()).await;
                reader.ended(found).await
            };
            match found.await {
                Ok(rows) => break rows,
                Err(error) => backoff.wait(error).await?,
            }
        };
        rows.iter().map(|id| event_id(id)).collect()
    }

    async fn store(&self, batch: Batch) -> Result<Stored, StorageError> {
        let batch = Arc::new(PreparedBatch::new(batch, &self.preparer()).await?);
        let mut backoff = Backoff::new("store", "store events");
        loop {
            match self.options.attempt("store", self.store_in_turn(batch.clone())).await {
                Err(error) => backoff.wait(error).await?,
                Ok(stored) => {
                    if !batch.events.is_empty() {
                        self.announcer.announce();
                    }
                    // Not while others wait for the turn.
                    self.analyze().await;
                    return Ok(stored);
                }
            }
        }
    }

    fn new_events(&self) -> NewEvents {
        self.announcer.listen(true)
    }

    fn preparer(&self) -> Preparer {
        let profile = self.options.profile;
        Preparer::new(self.options, move |event| payload(profile, event))
    }

    async fn page(
        &self,
        filter: &Filter,
        view: View,
        after: Option<Cursor>,
        limit: usize,
    ) -> Result<Vec<Event>, StorageError> {
        self.options.can_search(std::slice::from_ref(filter))?;
        self.options.profile.keeps_contents()?;
        let mut reader = self.reader_for_clients().await?;
        let rows = scan::Newest { columns: COLUMNS, filter, view, after, limit }
            .page(reader.connection(), self.distributed)
            .await;
        let rows = reader.ended(rows).await?;
        let mut events = rows.iter().map(event).collect::<Result<Vec<_>, StorageError>>()?;
        events.retain(|event| matches(filter, event));
        Ok(events)
    }

    async fn count(&self, filters: &[Filter], view: View, relays: &[String]) -> Result<u64, StorageError> {
        self.options.can_search(filters)?;
        let mut reader = self.reader_for_clients().await?;
        let keys: Vec<i64> = match relays {
            [] => vec![],
            _ => {
                let relays: Vec<_> = relays.iter().filter(|url| !url.contains('\0')).collect();
                let query = sqlx::query_scalar(postgres!("relay_keys")).bind(relays);
                let keys = query.fetch_all(reader.connection()).await;
                reader.checked(keys)?
            }
        };
        if keys.is_empty() && !relays.is_empty() {
            return Ok(0);
        }
        if let [filter] = filters
            && filter.is_empty()
            && relays.is_empty()
        {
            let (now, reason) = view.hides().unwrap_or((0, "false"));
            let hidden = format!("select count(distinct event) from hidden h where since <= $1 and {reason}");
            let sql = format!("select events - ({hidden}) from archive where $1 >= 0");
            let count = sqlx::query_scalar(AssertSqlSafe(sql)).bind(now).fetch_one(reader.connection()).await;
            return Ok(reader.ended::<i64>(count).await?.cast_unsigned());
        }
        if let [filter] = filters
            && let Some(kinds) = filter
                .kinds
                .as_ref()
                .filter(|_| relays.is_empty() && !self.distributed && !matches!(view, View::Versions { .. }))
            && (Filter { kinds: None, ..filter.clone() }).is_empty()
        {
            let kinds: Vec<i32> = kinds.iter().map(|kind| i32::from(kind.as_u16())).collect();
            let query = match view {
                View::All => sqlx::query_scalar(postgres!("kind_count")).bind(kinds),
                // Minus events hidden permanently, and those hidden from a time on that has passed.
                View::Client { now } | View::Versions { now } => sqlx::query_scalar(AssertSqlSafe(format!(
                    "select coalesce((select sum(events - hidden) from kind where kind = any($1)), 0)::bigint - count(*) \
                     from (select distinct event from hidden where since <> 0 and since <= $2) h cross join lateral {} e \
                     where e.kind = any($1) and not exists (select 1 from hidden p where p.event = h.event and p.since = 0)",
                    event_of("h.event")
                )))
                .bind(kinds)
                .bind(now),
            };
            let count = query.fetch_one(reader.connection()).await;
            return Ok(u64::try_from(reader.ended::<i64>(count).await?).unwrap_or_default());
        }
        // If sightings are on other servers than their events, those of the relays are gathered first.
        let (beside, first) = if self.distributed { (vec![], keys) } else { (keys, vec![]) };
        let mut condition = Condition::any(filters, view, &beside);
        if !first.is_empty() {
            let relays = condition.list(first.into_iter());
            condition.sql =
                format!("k in (select unnest(events) from sighting where relay in {relays}) and {}", condition.sql);
        }
        let Condition { sql, args, .. } = condition;
        let sql = format!("select count(*) from event where {sql}");
        let row = bind(sqlx::query(AssertSqlSafe(sql)), args).persistent(false).fetch_one(reader.connection()).await;
        let row = reader.ended(row).await?;
        Ok(row.try_get::<i64, _>(0)?.cast_unsigned())
    }

    async fn sketch(&self, filter: &Filter, view: View, offset: Offset) -> Result<(u64, Sketch), StorageError> {
        self.options.can_search(std::slice::from_ref(filter))?;
        let Condition { sql, args, .. } = Condition::of(filter, view, None);
        // The server computes the registers: 256 rows at most, whatever the number of authors.
        let (first, rest) = (offset.byte(), offset.byte() + 2);
        let sql = format!(
            "select get_byte(pubkey, {first}), \
             max(57 - length(ltrim(('x' || encode(substring(pubkey from {rest} for 7), 'hex'))::bit(56)::text, '0'))), \
             sum(found.n)::bigint \
             from (select author, count(*) as n from event where {sql} group by author) found \
             join author on author.k = found.author group by 1"
        );
        let mut reader = self.reader_for_clients().await?;
        let rows = bind(sqlx::query(AssertSqlSafe(sql)), args).persistent(false).fetch_all(reader.connection()).await;
        let (mut total, mut sketch) = (0, Sketch::default());
        for row in reader.ended(rows).await? {
            let byte = |column| Ok::<_, sqlx::Error>(u8::try_from(row.try_get::<i32, _>(column)?).unwrap_or(u8::MAX));
            sketch.raise(byte(0)?, byte(1)?);
            total += row.try_get::<i64, _>(2)?;
        }
        Ok((total.cast_unsigned(), sketch))
    }

    async fn ids(&self, filter: &Filter, view: View) -> Result<Vec<(EventId, i64)>, StorageError> {
        self.options.can_search(std::slice::from_ref(filter))?;
        let Condition { sql, args, .. } = Condition::of(filter, view, None);
        let sql = format!("select id, created_at from event where {sql} order by created_at, id");
        let mut reader = self.reader_for_clients().await?;
        let rows = bind(sqlx::query(AssertSqlSafe(sql)), args).persistent(false).fetch_all(reader.connection()).await;
        let rows = reader.ended(rows).await?;
        rows.iter().map(|row| Ok((event_id(row.try_get(0)?)?, row.try_get(1)?))).collect()
    }

    async fn stored_after(&self, after: i64, limit: i64) -> Result<Vec<(i64, Event)>, StorageError> {
        self.options.profile.keeps_contents()?;
        let sql = format!(
            "select {COLUMNS} from unnest($1::bigint[]) at (k) cross join lateral {} event \
             join author on author.k = event.author",
            event_of("at.k")
        );
        let mut after = after;
        loop {
            let mut reader = self.server.reader().await?;
            // By the primary key, and no further than to as many rows as could be wanted.
            let places = sqlx::query_as(postgres!("arrival_list"));
            let places = places.bind(after).bind(limit).bind(PLACES).fetch_all(reader.connection()).await;
            let places: Vec<(i64, i64)> = reader.checked(places)?;
            let Some((last, _)) = places.last().copied() else { return Ok(vec![]) };
            let ks: Vec<i64> = places.iter().map(|(_, k)| *k).collect();
            let rows =
                sqlx::query(AssertSqlSafe(sql.as_str().to_owned())).bind(ks).fetch_all(reader.connection()).await;
            let at: HashMap<i64, i64> = places.into_iter().map(|(n, k)| (k, n)).collect();
            let events = reader.ended(rows).await?.iter().map(event).collect::<Result<Vec<_>, _>>()?;
            if !events.is_empty() {
                let mut events: Vec<_> = events.into_iter().map(|event| (at[&event_key(&event.id)], event)).collect();
                events.sort_unstable_by_key(|(n, _)| *n);
                return Ok(events);
            }
            // All of these were removed since.
            after = last;
        }
    }

    async fn last_stored(&self) -> Result<i64, StorageError> {
        let mut reader = self.server.reader().await?;
        let last = sqlx::query_scalar(postgres!("arrival_last")).fetch_one(reader.connection()).await;
        let last: i64 = reader.ended(last).await?;
        Ok((last + 1) * PLACES - 1)
    }

    async fn remove(&self, filter: &Filter, most: u64) -> Result<u64, StorageError> {
        let mut removed = 0;
        while removed < most {
            let portion = REMOVED.min(most - removed);
            let n = retry("remove", Repeat::RolledBack, async || {
                let _turn = self.turns.acquire().await.map_err(|_| StorageError::Closed)?;
                let mut tx = self.server.begin().await?;
                lock(&mut tx).await?;
                let n = remove(&mut tx, filter, portion, self.distributed).await?;
                tx.commit().await.map_err(of_commit)?;
                Ok(n)
            });
            let n = n.await?;
            removed += n;
            if n < portion {
                break;
            }
        }
        Ok(removed)
    }

    async fn clear(&self) -> Result<(), StorageError> {
        let _turn = self.turns.acquire().await.map_err(|_| StorageError::Closed)?;
        let mut tx = self.server.begin().await?;
        lock(&mut tx).await?;
        sqlx::raw_sql(postgres!("event_clear")).execute(&mut *tx).await?;
        if self.distributed {
            sqlx::query("delete from pair").execute(&mut *tx).await?;
        }
        Ok(tx.commit().await?)
    }

    async fn ping(&self) -> Result<(), StorageError> {
        self.rows(common!("ping"), vec![]).await?;
        Ok(())
    }

    async fn stats(&self) -> Result<Stats, StorageError> {
        let mut tx = self.server.begin_as("isolation level repeatable read, read only").await?;
        let (events, pubkeys, sightings): (i64, i64, i64) =
            sqlx::query_as(postgres!("stats_totals")).fetch_one(&mut *tx).await?;
        let relays: Vec<(String, i64)> = sqlx::query_as(postgres!("stats_relays")).fetch_all(&mut *tx).await?;
        let kinds: Vec<(i64, i64)> = sqlx::query_as(postgres!("stats_kinds")).fetch_all(&mut *tx).await?;
        let jobs: Vec<(String, i64)> = sqlx::query_as(postgres!("stats_jobs")).fetch_all(&mut *tx).await?;
        let outbox = sqlx::query_scalar(postgres!("stats_outbox")).fetch_one(&mut *tx).await?;
        let disk_bytes = sqlx::query_scalar(postgres!("stats_disk")).fetch_one(&mut *tx).await?;
        Ok(Stats {
            events,
            sightings,
            pubkeys,
            relays: relays.into_iter().collect(),
            kinds: kinds.into_iter().collect(),
            jobs: jobs.into_iter().collect(),
            outbox,
            disk_bytes,
            free_bytes: None,
        })
    }
}
