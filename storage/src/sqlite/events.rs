//! Events and sightings in SQLite.

use std::collections::{BTreeMap, HashSet};

use async_trait::async_trait;
use nostr::{EventId, Filter};
use sqlx::query::{Query, QueryAs};
use sqlx::sqlite::SqliteArguments;
use sqlx::{AssertSqlSafe, Sqlite, SqliteConnection};

use super::{SqliteArchive, relay_key, write_claims};
use crate::filter::{matches, tag_key};
use crate::ledger::{event_id, public_key};
use crate::rows::{Batch, Cursor, Stats, Stored};
use crate::select::{Arg, Condition};
use crate::{Event, Events, StorageError};

const COLUMNS: &str = "k, id, pubkey, created_at, kind, tags, content, sig";
type Row = (i64, Vec<u8>, Vec<u8>, i64, i64, String, String, Vec<u8>);

/// Well under SQLite's 32,766 values a statement.
const IDS_A_STATEMENT: usize = 5_000;

fn event((k, id, pubkey, created_at, kind, tags, content, sig): Row) -> Result<(i64, Event), StorageError> {
    let damaged = |detail: String| StorageError::Damaged { what: "event", detail };
    let event = Event {
        id: event_id(&id)?,
        pubkey: public_key(&pubkey)?,
        created_at,
        kind: u16::try_from(kind).map_err(|e| damaged(e.to_string()))?,
        tags: serde_json::from_str(&tags).map_err(|e| damaged(e.to_string()))?,
        content,
        sig: sig.try_into().map_err(|_| damaged("a signature of the wrong length".into()))?,
    };
    Ok((k, event))
}

fn bind_rows<'q, R>(
    mut query: QueryAs<'q, Sqlite, R, SqliteArguments>,
    args: Vec<Arg>,
) -> QueryAs<'q, Sqlite, R, SqliteArguments> {
    for arg in args {
        query = match arg {
            Arg::Int(n) => query.bind(n),
            Arg::Bytes(bytes) => query.bind(bytes),
            Arg::Text(text) => query.bind(text),
        };
    }
    query
}

fn bind(mut query: Query<'_, Sqlite, SqliteArguments>, args: Vec<Arg>) -> Query<'_, Sqlite, SqliteArguments> {
    for arg in args {
        query = match arg {
            Arg::Int(n) => query.bind(n),
            Arg::Bytes(bytes) => query.bind(bytes),
            Arg::Text(text) => query.bind(text),
        };
    }
    query
}

/// `$1, $2, ...` for as many values.
fn places(n: usize) -> String {
    (1..=n).map(|i| format!("${i}")).collect::<Vec<_>>().join(", ")
}

/// The event's surrogate when it was not stored yet.
async fn insert(connection: &mut SqliteConnection, event: &Event) -> Result<Option<i64>, StorageError> {
    let k: Option<i64> = sqlx::query_scalar(
        "insert into event (id, pubkey, created_at, kind, tags, content, sig) values ($1, $2, $3, $4, $5, $6, $7) \
         on conflict (id) do nothing returning k",
    )
    .bind(event.id.as_bytes().as_slice())
    .bind(event.pubkey.as_bytes().as_slice())
    .bind(event.created_at)
    .bind(i64::from(event.kind))
    .bind(serde_json::to_string(&event.tags).expect("strings always serialize"))
    .bind(&event.content)
    .bind(event.sig.as_slice())
    .fetch_optional(&mut *connection)
    .await?;
    if let Some(k) = k {
        let keys: HashSet<i64> = event.indexed_tags().map(|(letter, value)| tag_key(letter, value)).collect();
        for key in keys {
            sqlx::query("insert into tag (key, created_at, event) values ($1, $2, $3)")
                .bind(key)
                .bind(event.created_at)
                .bind(k)
                .execute(&mut *connection)
                .await?;
        }
    }
    Ok(k)
}

#[async_trait]
impl Events for SqliteArchive {
    async fn known(&self, ids: &[EventId]) -> Result<HashSet<EventId>, StorageError> {
        let mut known = HashSet::new();
        for ids in ids.chunks(IDS_A_STATEMENT) {
            let sql = format!("select id from event where id in ({})", places(ids.len()));
            let args = ids.iter().map(|id| Arg::Bytes(id.to_bytes().to_vec())).collect();
            let rows: Vec<(Vec<u8>,)> =
                bind_rows(sqlx::query_as(AssertSqlSafe(sql)), args).fetch_all(&self.reader).await?;
            for (id,) in rows {
                known.insert(event_id(&id)?);
            }
        }
        Ok(known)
    }

    async fn store(&self, batch: &Batch) -> Result<Stored, StorageError> {
        let mut tx = self.begin().await?;
        let relay = match &batch.relay {
            Some((url, network)) => Some(relay_key(&mut tx, url, *network, batch.seen_at).await?),
            None => None,
        };
        let mut stored = Stored { stored: 0, known: batch.known.len() };
        let mut sighted: Vec<EventId> = batch.known.clone();
        for event in batch.events.iter().map(crate::Verified::event) {
            match insert(&mut tx, event).await? {
                Some(_) => stored.stored += 1,
                None => stored.known += 1,
            }
            sighted.push(event.id);
        }
        if let Some(relay) = relay {
            for id in sighted {
                sqlx::query(
                    "insert into sighting (event, relay, seen_at) select k, $2, $3 from event where id = $1 on conflict do nothing",
                )
                .bind(id.as_bytes().as_slice())
                .bind(relay)
                .bind(batch.seen_at)
                .execute(&mut *tx)
                .await?;
            }
            write_claims(&mut tx, relay, batch).await?;
        }
        tx.commit().await?;
        Ok(stored)
    }

    async fn page(&self, filter: &Filter, after: Option<Cursor>, limit: usize) -> Result<Vec<Event>, StorageError> {
        let condition = Condition::of(filter, after);
        let sql =
            format!("select {COLUMNS} from event where {} order by created_at desc, id limit {limit}", condition.sql);
        let rows: Vec<Row> =
            bind_rows(sqlx::query_as(AssertSqlSafe(sql)), condition.args).fetch_all(&self.reader).await?;
        let mut events = rows.into_iter().map(|row| Ok(event(row)?.1)).collect::<Result<Vec<_>, StorageError>>()?;
        events.retain(|event| matches(filter, event));
        Ok(events)
    }

    async fn count(&self, filters: &[Filter], relays: &[String]) -> Result<u64, StorageError> {
        let condition = Condition::any(filters, relays);
        let sql = format!("select count(*) from event where {}", condition.sql);
        let (n,): (i64,) =
            bind_rows(sqlx::query_as(AssertSqlSafe(sql)), condition.args).fetch_one(&self.reader).await?;
        Ok(n.cast_unsigned())
    }

    async fn ids(&self, filter: &Filter) -> Result<Vec<(EventId, i64)>, StorageError> {
        let condition = Condition::of(filter, None);
        let sql = format!("select id, created_at from event where {} order by created_at, id", condition.sql);
        let rows: Vec<(Vec<u8>, i64)> =
            bind_rows(sqlx::query_as(AssertSqlSafe(sql)), condition.args).fetch_all(&self.reader).await?;
        rows.into_iter().map(|(id, at)| Ok((event_id(&id)?, at))).collect()
    }

    async fn holders(&self, ids: &[EventId]) -> Result<BTreeMap<EventId, Vec<String>>, StorageError> {
        let mut holders = BTreeMap::<EventId, Vec<String>>::new();
        for ids in ids.chunks(IDS_A_STATEMENT) {
            let sql = format!(
                "select event.id, relay.url from event join sighting on sighting.event = event.k join relay on relay.k = sighting.relay \
                 where event.id in ({}) order by relay.url",
                places(ids.len())
            );
            let args = ids.iter().map(|id| Arg::Bytes(id.to_bytes().to_vec())).collect();
            let rows: Vec<(Vec<u8>, String)> =
                bind_rows(sqlx::query_as(AssertSqlSafe(sql)), args).fetch_all(&self.reader).await?;
            for (id, url) in rows {
                holders.entry(event_id(&id)?).or_default().push(url);
            }
        }
        Ok(holders)
    }

    async fn stored_after(&self, after: i64, limit: i64) -> Result<Vec<(i64, Event)>, StorageError> {
        let sql = format!("select {COLUMNS} from event where k > $1 order by k limit $2");
        let rows: Vec<Row> = sqlx::query_as(AssertSqlSafe(sql)).bind(after).bind(limit).fetch_all(&self.reader).await?;
        rows.into_iter().map(event).collect()
    }

    async fn remove(&self, filter: &Filter) -> Result<(), StorageError> {
        let condition = Condition::of(filter, None);
        let sql = format!("delete from event where {}", condition.sql);
        let mut tx = self.begin().await?;
        bind(sqlx::query(AssertSqlSafe(sql)), condition.args).execute(&mut *tx).await?;
        tx.commit().await?;
        Ok(())
    }

    async fn stats(&self) -> Result<Stats, StorageError> {
        let (events, pubkeys, sightings): (i64, i64, i64) =
            sqlx::query_as("select events, pubkeys, sightings from events_statistics").fetch_one(&self.reader).await?;
        let relays: Vec<(String, i64)> =
            sqlx::query_as("select state, count(*) from relay group by state").fetch_all(&self.reader).await?;
        let kinds: Vec<(i64, i64)> =
            sqlx::query_as("select kind, events from kind_counts_total").fetch_all(&self.reader).await?;
        let jobs: Vec<(String, i64)> =
            sqlx::query_as("select status, count(*) from job group by status").fetch_all(&self.reader).await?;
        let outbox =
            sqlx::query_scalar("select count(*) from outbox where due_at is not null").fetch_one(&self.reader).await?;
        let disk_bytes =
            sqlx::query_scalar("select page_count * page_size from pragma_page_count(), pragma_page_size()")
                .fetch_one(&self.reader)
                .await?;
        Ok(Stats {
            events,
            sightings,
            pubkeys,
            relays: relays.into_iter().collect(),
            kinds: kinds.into_iter().collect(),
            jobs: jobs.into_iter().collect(),
            outbox,
            disk_bytes,
        })
    }
}
