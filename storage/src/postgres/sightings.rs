//! Which relays were seen to hold which events, in sets.

use std::collections::{BTreeMap, BTreeSet};

use nostr::EventId;
use sqlx::{AssertSqlSafe, PgConnection};

use super::key::{event_key, id_bytes};
use super::lock::lock_relays;
use crate::StorageError;
use crate::batch::PreparedBatch;
use crate::prepare::Prepared;
use crate::query::postgres;

/// Sets of one relay that overlap a batch are read if they are fewer than this and hold at most [`SCANNED`] sightings;
/// otherwise each event is looked up.
const SETS: i64 = 2_048;
const SCANNED: i64 = 32_768;

/// Sightings per row: two rows of this size fill a page.
const ROW: usize = 500;

type Result<T> = std::result::Result<T, StorageError>;

/// Records which events the relay was seen to hold; returns how many of the sightings are new. `new` tells which events were
/// stored with this batch: they have no sightings yet.
pub(super) async fn sight(
    connection: &mut PgConnection,
    relay: i64,
    batch: &PreparedBatch,
    new: impl Fn(&EventId) -> bool,
    distributed: bool,
) -> Result<i64> {
    let mut ks: BTreeSet<i64> = BTreeSet::new();
    let mut known: BTreeMap<i64, i64> = BTreeMap::new();
    let (mut since, mut until) = (i64::MAX, i64::MIN);
    let mut ids = batch.rest.known.clone();
    for Prepared { event, .. } in &batch.events {
        if new(&event.id) {
            (since, until) = (since.min(event.created_at), until.max(event.created_at));
            ks.insert(event_key(&event.id));
        } else {
            ids.push(event.id);
        }
    }
    if !ids.is_empty() {
        // An event that was removed since it was found to be known has no sightings.
        let rows: Vec<(i64, i64)> =
            sqlx::query_as(postgres!("event_dates")).bind(id_bytes(&ids)).fetch_all(&mut *connection).await?;
        for (k, created_at) in rows {
            (since, until) = (since.min(created_at), until.max(created_at));
            ks.insert(k);
            known.insert(k, created_at);
        }
    }
    for k in seen(connection, relay, &known, distributed).await? {
        ks.remove(&k);
    }
    let ks: Vec<i64> = ks.into_iter().collect();
    if ks.is_empty() {
        return Ok(0);
    }
    let n = i64::try_from(ks.len()).unwrap_or(i64::MAX);
    for part in ks.chunks(ROW) {
        sqlx::query(postgres!("sighting_add"))
            .bind(relay)
            .bind(batch.rest.seen_at)
            .bind(since)
            .bind(until)
            .bind(part)
            .execute(&mut *connection)
            .await?;
    }
    sqlx::query(postgres!("relay_add_sightings"))
        .bind(relay)
        .bind(n)
        .bind(batch.rest.seen_at)
        .execute(connection)
        .await?;
    Ok(n)
}

/// Returns those of the events, given by number and date, that the relay was seen to hold.
async fn seen(
    connection: &mut PgConnection,
    relay: i64,
    events: &BTreeMap<i64, i64>,
    distributed: bool,
) -> Result<Vec<i64>> {
    let (Some(since), Some(until)) = (events.values().min(), events.values().max()) else { return Ok(vec![]) };
    let ks: Vec<i64> = events.keys().copied().collect();
    // The box finds the sets; dates beyond 2^53 are compared exactly.
    let overlapping = "from sighting where box(point(relay, since), point(relay, until)) && box(point($1::bigint, $2::bigint), point($1::bigint, $3::bigint)) \
                       and relay = $1 and until >= $2 and since <= $3";
    let (sets, held): (i64, i64) = sqlx::query_as(AssertSqlSafe(format!(
        "select count(*), coalesce(sum(cardinality(events)), 0) from (select events {overlapping} limit $4) s"
    )))
    .bind(relay)
    .bind(since)
    .bind(until)
    .bind(SETS)
    .fetch_one(&mut *connection)
    .await?;
    if sets == 0 {
        return Ok(vec![]);
    }
    if (sets < SETS && held <= SCANNED) || distributed {
        let sql = format!("select k from (select events {overlapping}) s, unnest(events) k where k = any($4)");
        let query = sqlx::query_scalar(AssertSqlSafe(sql)).bind(relay).bind(since).bind(until).bind(ks);
        return Ok(query.persistent(false).fetch_all(connection).await?);
    }
    // Sets that were received in no order overlap everything. No estimate of how many sets hold one of some hundred events is
    // near the truth, so the index is forced: sequential scans are off, and no index serves the sum.
    sqlx::query("set local enable_seqscan = off").execute(&mut *connection).await?;
    let sql = postgres!("sighting_of_events");
    let seen = sqlx::query_scalar(sql).bind(ks).bind(relay).persistent(false).fetch_all(&mut *connection).await?;
    sqlx::query("set local enable_seqscan = on").execute(connection).await?;
    Ok(seen)
}

/// Removes sightings of these events, of one relay or of all, and updates the totals. With a relay comes the time at which it
/// was found not to hold them, which is recorded.
pub(super) async fn unsee(
    connection: &mut PgConnection,
    ks: &[i64],
    missed: Option<(i64, i64)>,
    distributed: bool,
) -> Result<()> {
    let (of, at) = missed.unzip();
    let whose = "events && $1::bigint[] and ($2::bigint is null or relay = $2 and seen_at < $3)";
    let rows: Vec<(String, i64, i64, Vec<i64>)> = sqlx::query_as(AssertSqlSafe(format!(
        "select {}, relay, seen_at, array(select k from unnest(events) k where k = any($1)) from sighting where {whose}",
        if distributed { "''" } else { "ctid::text" }
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
    // The row's position is enough to find it again, on one server. Empty rows are removed first.
    let rest = "events = array(select k from unnest(events) k where k <> all($1))";
    for sql in [
        format!("delete from sighting where {whose} and events <@ $1::bigint[]"),
        format!("update sighting set {rest} where {whose}"),
    ] {
        let sql = if distributed { sql } else { sql.replace(whose, "ctid = any($2::text[]::tid[])") };
        let query = sqlx::query(AssertSqlSafe(sql)).bind(ks).persistent(false);
        let query = match distributed {
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
        sqlx::query(postgres!("lost_add")).bind(ks).bind(seen).bind(relay).bind(at).execute(&mut *connection).await?;
    }
    let (relays, counts): (Vec<i64>, Vec<i64>) = of_relay.into_iter().unzip();
    lock_relays(connection, &relays).await?;
    sqlx::query(postgres!("sighting_remove_totals")).bind(relays).bind(counts).execute(connection).await?;
    Ok(())
}
