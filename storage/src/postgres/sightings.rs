//! Which relays were seen to hold which events, in sets.

use std::collections::{BTreeMap, HashSet};

use sqlx::{AssertSqlSafe, PgConnection};

use super::store::{event_key, id_bytes, lock_relays};
use crate::StorageError;
use crate::prepare::PreparedBatch;

/// So many rows of sightings are read to learn which events were seen before.
const OVERLAPPING: i64 = 64;

/// Sightings of one row: two rows of so many fill a page.
const ROW: usize = 500;

type Result<T> = std::result::Result<T, StorageError>;

/// Keeps what the relay was seen to hold; says how many of these sightings are new.
pub(super) async fn sight(
    connection: &mut PgConnection,
    relay: i64,
    batch: &PreparedBatch,
    spread: bool,
) -> Result<i64> {
    let mut seen: BTreeMap<i64, i64> =
        batch.events.iter().map(|p| (event_key(&p.event.id), p.event.created_at)).collect();
    if !batch.rest.known.is_empty() {
        // An id that was removed since it was known has nothing to be sighted.
        let rows: Vec<(i64, i64)> = sqlx::query_as("select k, created_at from event where id = any($1)")
            .bind(id_bytes(&batch.rest.known))
            .fetch_all(&mut *connection)
            .await?;
        seen.extend(rows);
    }
    let (Some(since), Some(until)) = (seen.values().min().copied(), seen.values().max().copied()) else {
        return Ok(0);
    };
    // What was seen here before is in rows of the same time: none, as a rule, and a few where a span is read again. Only a
    // relay that gives its events in no order has so many that each event is better looked up.
    let overlapping: i64 = sqlx::query_scalar(
        "select count(*) from (select 1 from sighting where relay = $1 and until >= $2 and since <= $3 limit $4) s",
    )
    .bind(relay)
    .bind(since)
    .bind(until)
    .bind(OVERLAPPING + 1)
    .fetch_one(&mut *connection)
    .await?;
    let mut ks: Vec<i64> = seen.into_keys().collect();
    if overlapping > 0 {
        let sql = if overlapping <= OVERLAPPING || spread {
            "select k from sighting, unnest(events) k where relay = $2 and until >= $3 and since <= $4 and k = any($1)"
        } else {
            "select k from unnest($1::bigint[]) k where exists \
             (select 1 from sighting where events @> array[k] and relay = $2 and until >= $3 and since <= $4)"
        };
        let old: Vec<i64> =
            sqlx::query_scalar(sql).bind(&ks).bind(relay).bind(since).bind(until).fetch_all(&mut *connection).await?;
        let old: HashSet<i64> = old.into_iter().collect();
        ks.retain(|k| !old.contains(k));
    }
    if ks.is_empty() {
        return Ok(0);
    }
    let n = i64::try_from(ks.len()).unwrap_or(i64::MAX);
    for part in ks.chunks(ROW) {
        sqlx::query("insert into sighting (relay, seen_at, since, until, events) values ($1, $2, $3, $4, $5)")
            .bind(relay)
            .bind(batch.rest.seen_at)
            .bind(since)
            .bind(until)
            .bind(part)
            .execute(&mut *connection)
            .await?;
    }
    sqlx::query(
        "update relay set events = events + $2, first_seen_at = least(first_seen_at, $3), last_seen_at = greatest(last_seen_at, $3) \
         where k = $1",
    )
    .bind(relay)
    .bind(n)
    .bind(batch.rest.seen_at)
    .execute(connection)
    .await?;
    Ok(n)
}

/// Takes sightings of these events back, of one relay or of all, and out of the totals. With a relay comes the time at which
/// it was found not to hold them, which is kept.
pub(super) async fn unsee(
    connection: &mut PgConnection,
    ks: &[i64],
    missed: Option<(i64, i64)>,
    spread: bool,
) -> Result<()> {
    let (of, at) = missed.unzip();
    let whose = "events && $1::bigint[] and ($2::bigint is null or relay = $2 and seen_at < $3)";
    let rows: Vec<(String, i64, i64, Vec<i64>)> = sqlx::query_as(AssertSqlSafe(format!(
        "select {}, relay, seen_at, array(select k from unnest(events) k where k = any($1)) from sighting where {whose}",
        if spread { "''" } else { "ctid::text" }
    )))
    .bind(ks)
    .bind(of)
    .bind(at)
    .persistent(false)
    .fetch_all(&mut *connection)
    .await?;
    if rows.is_empty() {
        return Ok(());
    }
    // Where a row lies is enough to find it again, on one server. What is left empty goes first.
    let rest = "events = array(select k from unnest(events) k where k <> all($1))";
    for sql in [
        format!("delete from sighting where {whose} and events <@ $1::bigint[]"),
        format!("update sighting set {rest} where {whose}"),
    ] {
        let sql = if spread { sql } else { sql.replace(whose, "ctid = any($2::text[]::tid[])") };
        let query = sqlx::query(AssertSqlSafe(sql)).bind(ks).persistent(false);
        let query = match spread {
            true => query.bind(of).bind(at),
            false => query.bind(rows.iter().map(|(place, ..)| place.as_str()).collect::<Vec<_>>()),
        };
        query.execute(&mut *connection).await?;
    }
    let mut lost = BTreeMap::<(i64, i64), i64>::new();
    let mut of_relay = BTreeMap::<i64, i64>::new();
    for (_, relay, seen_at, gone) in rows {
        *of_relay.entry(relay).or_default() += i64::try_from(gone.len()).unwrap_or(i64::MAX);
        for k in gone {
            let last = lost.entry((k, relay)).or_insert(seen_at);
            *last = seen_at.max(*last);
        }
    }
    if let Some((relay, at)) = missed {
        let (ks, seen): (Vec<i64>, Vec<i64>) = lost.into_iter().map(|((k, _), seen_at)| (k, seen_at)).unzip();
        sqlx::query(
            "insert into lost (event, relay, seen_at, missed_at) \
             select k, $3, seen_at, $4 from unnest($1::bigint[], $2::bigint[]) as l (k, seen_at) \
             on conflict (event, relay) do update set seen_at = excluded.seen_at, missed_at = excluded.missed_at",
        )
        .bind(ks)
        .bind(seen)
        .bind(relay)
        .bind(at)
        .execute(&mut *connection)
        .await?;
    }
    let (relays, counts): (Vec<i64>, Vec<i64>) = of_relay.into_iter().unzip();
    lock_relays(connection, &relays).await?;
    sqlx::query(
        "with of_relay as (update relay set events = relay.events - o.n \
             from unnest($1::bigint[], $2::bigint[]) as o (relay, n) where relay.k = o.relay) \
         update archive set sightings = sightings - (select sum(n) from unnest($2::bigint[]) n)::bigint",
    )
    .bind(relays)
    .bind(counts)
    .execute(connection)
    .await?;
    Ok(())
}
