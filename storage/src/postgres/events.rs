//! Events and sightings in PostgreSQL.

use std::collections::{BTreeMap, HashMap, HashSet};

use async_trait::async_trait;
use nostr::{EventId, Filter};
use sqlx::postgres::PgArguments;
use sqlx::query::{Query, QueryAs};
use sqlx::types::Json;
use sqlx::{AssertSqlSafe, PgConnection, Postgres};

use super::{PostgresArchive, WRITER_LOCK, relay_key, write_claims};
use crate::filter::{matches, tag_key};
use crate::ledger::{event_id, public_key};
use crate::rows::{Batch, Cursor, Stats, Stored};
use crate::select::{Arg, Condition};
use crate::{Event, Events, StorageError};

const COLUMNS: &str = "k, id, pubkey, created_at, kind, tags, content, sig, exact";
type Row = (i64, Vec<u8>, Vec<u8>, i64, i32, Json<Vec<Vec<String>>>, String, Vec<u8>, Option<Vec<u8>>);

fn event(row: Row) -> Result<(i64, Event), StorageError> {
    let (k, id, pubkey, created_at, kind, Json(tags), content, sig, exact) = row;
    let damaged = |detail: String| StorageError::Damaged { what: "event", detail };
    if let Some(exact) = exact {
        return Ok((k, serde_json::from_slice(&exact).map_err(|e| damaged(e.to_string()))?));
    }
    let event = Event {
        id: event_id(&id)?,
        pubkey: public_key(&pubkey)?,
        created_at,
        kind: u16::try_from(kind).map_err(|e| damaged(e.to_string()))?,
        tags,
        content,
        sig: sig.try_into().map_err(|_| damaged("a signature of the wrong length".into()))?,
    };
    Ok((k, event))
}

fn bind_rows<'q, R>(
    mut query: QueryAs<'q, Postgres, R, PgArguments>,
    args: Vec<Arg>,
) -> QueryAs<'q, Postgres, R, PgArguments> {
    for arg in args {
        query = match arg {
            Arg::Int(n) => query.bind(n),
            Arg::Bytes(bytes) => query.bind(bytes),
            Arg::Text(text) => query.bind(text),
        };
    }
    query
}

fn bind(mut query: Query<'_, Postgres, PgArguments>, args: Vec<Arg>) -> Query<'_, Postgres, PgArguments> {
    for arg in args {
        query = match arg {
            Arg::Int(n) => query.bind(n),
            Arg::Bytes(bytes) => query.bind(bytes),
            Arg::Text(text) => query.bind(text),
        };
    }
    query
}

/// PostgreSQL's text and jsonb cannot hold NUL; what people see instead is U+FFFD.
fn without_nul(text: &str) -> String {
    text.replace('\0', "\u{FFFD}")
}

fn id_bytes<'a>(ids: impl IntoIterator<Item = &'a EventId>) -> Vec<Vec<u8>> {
    ids.into_iter().map(|id| id.to_bytes().to_vec()).collect()
}

/// Stores those of the events that are not stored yet; gives their ids and surrogates.
async fn insert(connection: &mut PgConnection, events: &[&Event]) -> Result<HashMap<EventId, i64>, StorageError> {
    let (mut ids, mut pubkeys, mut times, mut kinds) = (vec![], vec![], vec![], vec![]);
    let (mut tags, mut contents, mut sigs, mut exact) = (vec![], vec![], vec![], vec![]);
    for event in events {
        let nul = event.content.contains('\0') || event.tags.iter().flatten().any(|value| value.contains('\0'));
        ids.push(event.id.to_bytes().to_vec());
        pubkeys.push(event.pubkey.to_bytes().to_vec());
        times.push(event.created_at);
        kinds.push(i32::from(event.kind));
        tags.push(Json(if nul {
            event.tags.iter().map(|tag| tag.iter().map(|value| without_nul(value)).collect()).collect()
        } else {
            event.tags.clone()
        }));
        contents.push(if nul { without_nul(&event.content) } else { event.content.clone() });
        sigs.push(event.sig.to_vec());
        exact.push(nul.then(|| event.to_json().into_bytes()));
    }
    let rows: Vec<(i64, Vec<u8>)> = sqlx::query_as(
        "insert into event (id, pubkey, created_at, kind, tags, content, sig, exact) \
         select * from unnest($1::bytea[], $2::bytea[], $3::bigint[], $4::int[], $5::jsonb[], $6::text[], $7::bytea[], $8::bytea[]) \
         on conflict (id) do nothing returning k, id",
    )
    .bind(ids)
    .bind(pubkeys)
    .bind(times)
    .bind(kinds)
    .bind(tags)
    .bind(contents)
    .bind(sigs)
    .bind(exact)
    .fetch_all(&mut *connection)
    .await?;
    let new =
        rows.into_iter().map(|(k, id)| Ok((event_id(&id)?, k))).collect::<Result<HashMap<_, _>, StorageError>>()?;
    let (mut keys, mut times, mut ks) = (vec![], vec![], vec![]);
    for event in events {
        let Some(k) = new.get(&event.id) else { continue };
        let distinct: HashSet<i64> = event.indexed_tags().map(|(letter, value)| tag_key(letter, value)).collect();
        for key in distinct {
            keys.push(key);
            times.push(event.created_at);
            ks.push(*k);
        }
    }
    sqlx::query(
        "insert into tag (key, created_at, event) select * from unnest($1::bigint[], $2::bigint[], $3::bigint[])",
    )
    .bind(keys)
    .bind(times)
    .bind(ks)
    .execute(connection)
    .await?;
    Ok(new)
}

#[async_trait]
impl Events for PostgresArchive {
    async fn known(&self, ids: &[EventId]) -> Result<HashSet<EventId>, StorageError> {
        let rows: Vec<Vec<u8>> = sqlx::query_scalar("select id from event where id = any($1)")
            .bind(id_bytes(ids))
            .fetch_all(&self.pool)
            .await?;
        rows.iter().map(|id| event_id(id)).collect()
    }

    async fn store(&self, batch: &Batch) -> Result<Stored, StorageError> {
        let _turn = self.turn.acquire().await.expect("the semaphore is never closed");
        let mut tx = self.begin().await?;
        sqlx::query("select pg_advisory_xact_lock($1)").bind(WRITER_LOCK).execute(&mut *tx).await?;
        let relay = match &batch.relay {
            Some((url, network)) => Some(relay_key(&mut tx, url, *network, batch.seen_at).await?),
            None => None,
        };
        // One statement may not meet an id twice.
        let mut ids = HashSet::new();
        let events: Vec<_> = batch.events.iter().map(crate::Verified::event).filter(|e| ids.insert(e.id)).collect();
        let new = insert(&mut tx, &events).await?;
        if let Some(relay) = relay {
            ids.extend(&batch.known);
            sqlx::query(
                "insert into sighting (event, relay, seen_at) select k, $2, $3 from event where id = any($1) on conflict do nothing",
            )
            .bind(id_bytes(&ids))
            .bind(relay)
            .bind(batch.seen_at)
            .execute(&mut *tx)
            .await?;
            write_claims(&mut tx, relay, batch).await?;
        }
        tx.commit().await?;
        Ok(Stored { stored: new.len(), known: batch.events.len() - new.len() + batch.known.len() })
    }

    async fn page(&self, filter: &Filter, after: Option<Cursor>, limit: usize) -> Result<Vec<Event>, StorageError> {
        let condition = Condition::of(filter, after);
        let sql =
            format!("select {COLUMNS} from event where {} order by created_at desc, id limit {limit}", condition.sql);
        let rows: Vec<Row> =
            bind_rows(sqlx::query_as(AssertSqlSafe(sql)), condition.args).fetch_all(&self.pool).await?;
        let mut events = rows.into_iter().map(|row| Ok(event(row)?.1)).collect::<Result<Vec<_>, StorageError>>()?;
        events.retain(|event| matches(filter, event));
        Ok(events)
    }

    async fn count(&self, filters: &[Filter], relays: &[String]) -> Result<u64, StorageError> {
        let condition = Condition::any(filters, relays);
        let sql = format!("select count(*) from event where {}", condition.sql);
        let (n,): (i64,) = bind_rows(sqlx::query_as(AssertSqlSafe(sql)), condition.args).fetch_one(&self.pool).await?;
        Ok(n.cast_unsigned())
    }

    async fn ids(&self, filter: &Filter) -> Result<Vec<(EventId, i64)>, StorageError> {
        let condition = Condition::of(filter, None);
        let sql = format!("select id, created_at from event where {} order by created_at, id", condition.sql);
        let rows: Vec<(Vec<u8>, i64)> =
            bind_rows(sqlx::query_as(AssertSqlSafe(sql)), condition.args).fetch_all(&self.pool).await?;
        rows.into_iter().map(|(id, at)| Ok((event_id(&id)?, at))).collect()
    }

    async fn holders(&self, ids: &[EventId]) -> Result<BTreeMap<EventId, Vec<String>>, StorageError> {
        let rows: Vec<(Vec<u8>, String)> = sqlx::query_as(
            "select event.id, relay.url from event join sighting on sighting.event = event.k join relay on relay.k = sighting.relay \
             where event.id = any($1) order by relay.url",
        )
        .bind(id_bytes(ids))
        .fetch_all(&self.pool)
        .await?;
        let mut holders = BTreeMap::<EventId, Vec<String>>::new();
        for (id, url) in rows {
            holders.entry(event_id(&id)?).or_default().push(url);
        }
        Ok(holders)
    }

    async fn stored_after(&self, after: i64, limit: i64) -> Result<Vec<(i64, Event)>, StorageError> {
        let sql = format!("select {COLUMNS} from event where k > $1 order by k limit $2");
        let rows: Vec<Row> = sqlx::query_as(AssertSqlSafe(sql)).bind(after).bind(limit).fetch_all(&self.pool).await?;
        rows.into_iter().map(event).collect()
    }

    async fn remove(&self, filter: &Filter) -> Result<(), StorageError> {
        let condition = Condition::of(filter, None);
        let sql = format!("delete from event where {}", condition.sql);
        bind(sqlx::query(AssertSqlSafe(sql)), condition.args).execute(&self.pool).await?;
        Ok(())
    }

    async fn stats(&self) -> Result<Stats, StorageError> {
        let (events, pubkeys, sightings): (i64, i64, i64) =
            sqlx::query_as("select events, pubkeys, sightings from events_statistics").fetch_one(&self.pool).await?;
        let relays: Vec<(String, i64)> =
            sqlx::query_as("select state, count(*) from relay group by state").fetch_all(&self.pool).await?;
        let kinds: Vec<(i64, i64)> =
            sqlx::query_as("select kind::bigint, events from kind_counts_total").fetch_all(&self.pool).await?;
        let jobs: Vec<(String, i64)> =
            sqlx::query_as("select status, count(*) from job group by status").fetch_all(&self.pool).await?;
        let outbox =
            sqlx::query_scalar("select count(*) from outbox where due_at is not null").fetch_one(&self.pool).await?;
        let disk_bytes =
            sqlx::query_scalar("select pg_database_size(current_database())").fetch_one(&self.pool).await?;
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
