//! Events and sightings in SQLite.

use std::collections::{BTreeMap, HashMap, HashSet};

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

/// Rows of one insert.
const ROWS_A_STATEMENT: usize = 250;
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

/// `($1, $2), ($3, $4), ...` for as many rows.
fn rows(n: usize, columns: usize) -> String {
    let row = |r: usize| {
        let places: Vec<_> = (1..=columns).map(|c| format!("${}", r * columns + c)).collect();
        format!("({})", places.join(", "))
    };
    (0..n).map(row).collect::<Vec<_>>().join(", ")
}

/// Stores those of the events that are not stored yet; says how many. Many rows go into one statement, since each
/// statement is a trip to the connection's thread and back.
async fn insert(connection: &mut SqliteConnection, events: &[&Event]) -> Result<usize, StorageError> {
    let mut stored = 0;
    for events in events.chunks(ROWS_A_STATEMENT) {
        let sql = format!(
            "insert into event (id, pubkey, created_at, kind, tags, content, sig) values {} \
             on conflict (id) do nothing returning k, id",
            rows(events.len(), 7)
        );
        let mut query = sqlx::query_as(AssertSqlSafe(sql));
        for event in events {
            query = query
                .bind(event.id.as_bytes().as_slice())
                .bind(event.pubkey.as_bytes().as_slice())
                .bind(event.created_at)
                .bind(i64::from(event.kind))
                .bind(serde_json::to_string(&event.tags).expect("strings always serialize"))
                .bind(&event.content)
                .bind(event.sig.as_slice());
        }
        let new: Vec<(i64, Vec<u8>)> = query.fetch_all(&mut *connection).await?;
        let new =
            new.into_iter().map(|(k, id)| Ok((event_id(&id)?, k))).collect::<Result<HashMap<_, _>, StorageError>>()?;
        stored += new.len();
        let mut tags = Vec::new();
        for event in events {
            // Of an id that the list names twice, the first stands for both.
            if let Some(k) = new.get(&event.id) {
                let keys = event.indexed_tags().map(|(letter, value)| (tag_key(letter, value), event.created_at, *k));
                tags.extend(keys);
            }
        }
        tags.sort_unstable();
        tags.dedup();
        for tags in tags.chunks(ROWS_A_STATEMENT) {
            let sql = format!(
                "insert into tag (key, created_at, event) values {} on conflict do nothing",
                rows(tags.len(), 3)
            );
            let mut query = sqlx::query(AssertSqlSafe(sql));
            for (key, created_at, k) in tags {
                query = query.bind(key).bind(created_at).bind(k);
            }
            query.execute(&mut *connection).await?;
        }
    }
    Ok(stored)
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
        let events: Vec<&Event> = batch.events.iter().map(crate::Verified::event).collect();
        let new = insert(&mut tx, &events).await?;
        let stored = Stored { stored: new, known: events.len() - new + batch.known.len() };
        if let Some(relay) = relay {
            let sighted: Vec<EventId> =
                events.iter().map(|event| event.id).chain(batch.known.iter().copied()).collect();
            for ids in sighted.chunks(ROWS_A_STATEMENT) {
                let sql = format!(
                    "insert into sighting (event, relay, seen_at) select k, ${}, ${} from event where id in ({}) on conflict do nothing",
                    ids.len() + 1,
                    ids.len() + 2,
                    places(ids.len())
                );
                let ids = ids.iter().map(|id| Arg::Bytes(id.to_bytes().to_vec()));
                let args = ids.chain([Arg::Int(relay), Arg::Int(batch.seen_at)]).collect();
                bind(sqlx::query(AssertSqlSafe(sql)), args).execute(&mut *tx).await?;
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
