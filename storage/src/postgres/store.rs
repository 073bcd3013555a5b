//! Stores batches in PostgreSQL: one statement per table, whatever the number of events.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use nostr::{EventId, PublicKey};
use sqlx::{AssertSqlSafe, PgConnection, Postgres};

use super::key::{event_key, event_of, id_bytes};
use super::lock::{lock, lock_relays};
use super::server::Server;
use super::{PostgresTransaction, sightings};
use crate::StorageError;
use crate::batch::{PreparedBatch, Stored};
use crate::decode::{event_id, public_key};
use crate::error::of_commit;
use crate::options::Profile;
use crate::prepare::Prepared;
use crate::query::postgres;
use crate::stores::relay_key;
use crate::stores::write_claims;
use crate::tag_key::tag_key;
use crate::view::{Scene, Slot};

type Result<T> = std::result::Result<T, StorageError>;

/// PostgreSQL's text cannot hold NUL; U+FFFD replaces it.
fn without_nul(text: &str) -> String {
    text.replace('\0', "\u{FFFD}")
}

/// Writes batches in one transaction, all or none; returns the result of each.
///
/// Rows of events, which cost the most, are written before the writers' lock is taken, so that two transactions can do so at the
/// same time. They may wait for each other's events, which all write in one order; a transaction that holds the lock waits for no other.
/// What depends on other events (totals, sightings, what is hidden) is written with the lock.
pub(super) async fn store(
    tx: sqlx::Transaction<'static, Postgres>,
    batches: &[Arc<PreparedBatch>],
    authors: &HashMap<PublicKey, i32>,
    profile: Profile,
    distributed: bool,
) -> Result<Vec<Stored>> {
    let mut tx = PostgresTransaction(tx);
    // Locks of distributed tables have an order of their own.
    if distributed {
        lock(&mut tx.0).await?;
    }
    // One statement must not meet an id twice; the first one counts.
    let mut firsts = HashMap::new();
    let mut events = Vec::new();
    for (place, batch) in batches.iter().enumerate() {
        for prepared in &batch.events {
            firsts.entry(prepared.event.id).or_insert_with(|| {
                events.push(prepared);
                place
            });
        }
    }
    let new = insert(&mut tx.0, &events, authors, profile).await?;
    let now = lock(&mut tx.0).await?;
    let relays = relays(&mut tx, batches).await?;
    let mut stored: Vec<Stored> =
        batches.iter().map(|batch| Stored { stored: 0, known: batch.events.len() + batch.rest.known.len() }).collect();
    for prepared in &new {
        let stored = &mut stored[firsts[&prepared.event.id]];
        stored.stored += 1;
        stored.known -= 1;
    }
    let ids: HashSet<EventId> = new.iter().map(|p| p.event.id).collect();
    let mut sighted = 0;
    for (place, batch) in batches.iter().enumerate() {
        if let Some((url, _)) = batch.relay() {
            let relay = relays[url];
            let is_new = |id: &EventId| ids.contains(id) && firsts[id] == place;
            sighted += sightings::sight(&mut tx.0, relay, batch, is_new, distributed).await?;
            if !batch.rest.gone.is_empty() {
                let gone: Vec<i64> = batch.rest.gone.iter().map(event_key).collect();
                sightings::unsee(&mut tx.0, &gone, Some((relay, batch.rest.seen_at)), distributed).await?;
            }
            write_claims(&mut tx, relay, &batch.rest, now).await?;
        }
    }
    if !new.is_empty() {
        totals(&mut tx.0, &new, authors, distributed).await?;
        hide(&mut tx.0, &new, authors, distributed).await?;
        let texts = new.iter().filter_map(|p| Some((event_key(&p.event.id), p.text.as_deref()?)));
        write_text(&mut tx.0, texts).await?;
        let ks: Vec<i64> = new.iter().map(|p| event_key(&p.event.id)).collect();
        sqlx::query(postgres!("arrival_add")).bind(ks).execute(&mut *tx.0).await?;
    }
    if sighted > 0 {
        sqlx::query(postgres!("archive_add_sightings")).bind(sighted).execute(&mut *tx.0).await?;
    }
    tx.0.commit().await.map_err(of_commit)?;
    Ok(stored)
}

/// Returns the numbers of the batches' relays, whose rows are locked in the order in which all writers lock them: added by URL,
/// changed by number.
async fn relays<'a>(tx: &mut PostgresTransaction, batches: &'a [Arc<PreparedBatch>]) -> Result<HashMap<&'a str, i64>> {
    let named: BTreeMap<&str, _> = batches
        .iter()
        .filter_map(|batch| batch.relay().map(|(url, network)| (url, (network, batch.rest.seen_at))))
        .collect();
    let mut relays = HashMap::with_capacity(named.len());
    for (url, (network, seen_at)) in named {
        relays.insert(url, relay_key(tx, url, network, seen_at).await?);
    }
    lock_relays(&mut tx.0, &relays.values().copied().collect::<Vec<_>>()).await?;
    Ok(relays)
}

/// Indexes the terms of texts by event.
pub(super) async fn write_text<T: Into<String>>(
    connection: &mut PgConnection,
    texts: impl Iterator<Item = (i64, T)>,
) -> Result<()> {
    let (ks, texts): (Vec<i64>, Vec<String>) = texts.map(|(k, text)| (k, text.into())).unzip();
    if !ks.is_empty() {
        sqlx::query(postgres!("search_add")).bind(ks).bind(texts).execute(connection).await?;
    }
    Ok(())
}

/// Returns the numbers of the batches' authors. Unknown ones are added in a transaction of its own: a writer that added the same
/// authors would wait until this one has stored its events.
pub(super) async fn authors(server: &Server, batches: &[Arc<PreparedBatch>]) -> Result<HashMap<PublicKey, i32>> {
    let events = batches.iter().flat_map(|batch| &batch.events);
    let keys: BTreeSet<&[u8]> = events.map(|p| p.event.pubkey.as_bytes().as_slice()).collect();
    let keys: Vec<&[u8]> = keys.into_iter().collect();
    let mut known = HashMap::with_capacity(keys.len());
    if keys.is_empty() {
        return Ok(known);
    }
    let mut tx = server.begin().await?;
    // An author that another transaction adds meanwhile is neither found nor added at first, but found when it has committed.
    for sql in [postgres!("author_find"), postgres!("author_add")].into_iter().cycle() {
        let rows: Vec<(Vec<u8>, i32)> = sqlx::query_as(sql).bind(&keys).fetch_all(&mut *tx).await?;
        for (key, k) in rows {
            known.insert(public_key(&key)?, k);
        }
        if known.len() == keys.len() {
            break;
        }
        // The commit of their events makes them durable.
        sqlx::query(postgres!("commit_later")).execute(&mut *tx).await?;
    }
    tx.commit().await?;
    Ok(known)
}

/// Stores those of the events that are not stored yet, and returns them.
async fn insert<'a>(
    connection: &mut PgConnection,
    events: &[&'a Prepared],
    authors: &HashMap<PublicKey, i32>,
    profile: Profile,
) -> Result<Vec<&'a Prepared>> {
    if events.is_empty() {
        return Ok(Vec::new());
    }
    // Newest first, as the indexes are ordered; all writers have the same order.
    let mut events = events.to_vec();
    events.sort_unstable_by_key(|p| (std::cmp::Reverse(p.event.created_at), p.event.id));
    let n = events.len();
    let (mut ks, mut times, mut numbers, mut kinds) =
        (Vec::with_capacity(n), Vec::with_capacity(n), Vec::with_capacity(n), Vec::with_capacity(n));
    let (mut ids, mut sigs, mut tags, mut contents, mut keys) = (
        Vec::with_capacity(n),
        Vec::with_capacity(n),
        Vec::with_capacity(n),
        Vec::with_capacity(n),
        Vec::with_capacity(n),
    );
    for prepared in &events {
        let event = &prepared.event;
        ks.push(event_key(&event.id));
        times.push(event.created_at);
        numbers.push(authors[&event.pubkey]);
        kinds.push(i32::from(event.kind));
        ids.push(event.id.as_bytes().as_slice());
        sigs.push((profile == Profile::Bigbrotr).then_some(event.sig.as_slice()));
        tags.push(prepared.payload.as_slice());
        contents.push(match profile {
            Profile::Lilbrotr => std::borrow::Cow::Borrowed(""),
            Profile::Bigbrotr if event.content.contains('\0') => without_nul(&event.content).into(),
            Profile::Bigbrotr => event.content.as_str().into(),
        });
        // A column of arrays cannot be bound: arrays of arrays are rectangular.
        keys.push(format!("{{{}}}", prepared.tags.iter().map(i64::to_string).collect::<Vec<_>>().join(",")));
    }
    let contents: Vec<&str> = contents.iter().map(AsRef::as_ref).collect();
    let new: Vec<Vec<u8>> = sqlx::query_scalar(postgres!("event_add"))
        .bind(ks)
        .bind(times)
        .bind(numbers)
        .bind(kinds)
        .bind(ids)
        .bind(sigs)
        .bind(tags)
        .bind(contents)
        .bind(keys)
        .fetch_all(connection)
        .await?;
    let new = new.iter().map(|id| event_id(id)).collect::<Result<HashSet<_>>>()?;
    events.retain(|p| new.contains(&p.event.id));
    Ok(events)
}

/// Adds the new events to the totals of author and kind, and of the archive.
async fn totals(
    connection: &mut PgConnection,
    new: &[&Prepared],
    authors: &HashMap<PublicKey, i32>,
    distributed: bool,
) -> Result<()> {
    let mut pairs = BTreeMap::<(i32, i32), i64>::new();
    for prepared in new {
        *pairs.entry((authors[&prepared.event.pubkey], i32::from(prepared.event.kind))).or_default() += 1;
    }
    let (mut of, mut kinds, mut counts) = (vec![], vec![], vec![]);
    for ((author, kind), n) in pairs {
        of.push(author);
        kinds.push(kind);
        counts.push(n);
    }
    let counted = if distributed {
        "there as (insert into pair select * from unnest($1::int[], $2::int[]) on conflict do nothing returning author, kind), \
         counted as (select author, kind, n, (there.kind is not null)::int as first \
             from unnest($1::int[], $2::int[], $3::bigint[]) as p (author, kind, n) left join there using (author, kind))"
    } else {
        // A pair is new if all its events came with this batch.
        "counted as (select author, kind, n, \
             ((select count(*) from (select 1 from event e where e.author = p.author and e.kind = p.kind limit p.n + 1) there) = p.n)::int as first \
             from unnest($1::int[], $2::int[], $3::bigint[]) as p (author, kind, n))"
    };
    sqlx::query(AssertSqlSafe(format!(
        "with {counted}, \
         of_author as (update author set events = events + s.n, kinds = kinds + s.first \
             from (select author, sum(n)::bigint as n, sum(first)::bigint as first from counted group by author) s where author.k = s.author \
             returning author.events = s.n as appeared), \
         of_kind as (insert into kind (kind, events, pubkeys) select kind, sum(n)::bigint, sum(first)::bigint from counted group by kind \
             on conflict (kind) do update set events = kind.events + excluded.events, pubkeys = kind.pubkeys + excluded.pubkeys) \
         update archive set events = events + $4, pubkeys = pubkeys + (select count(*) from of_author where appeared)"
    )))
    .bind(of)
    .bind(kinds)
    .bind(counts)
    .bind(i64::try_from(new.len()).unwrap_or(i64::MAX))
    .execute(connection)
    .await?;
    Ok(())
}

/// Marks the events that the new ones hide, and those of the new ones that are hidden.
async fn hide(
    connection: &mut PgConnection,
    new: &[&Prepared],
    authors: &HashMap<PublicKey, i32>,
    distributed: bool,
) -> Result<()> {
    let mut scene = Scene::default();
    let mut deletes = Vec::new();
    for Prepared { event, marks, .. } in new {
        deletes.extend(marks.deletes.iter().map(|(id, key)| (*id, *key, authors[&event.pubkey])));
        if marks.vanishes {
            vanish(connection, &event.pubkey, authors[&event.pubkey], event.created_at, distributed).await?;
        }
    }
    if !deletes.is_empty() {
        let keys: Vec<i64> = deletes.iter().map(|(_, key, _)| *key).collect();
        sqlx::query(postgres!("deletion_add")).bind(keys).execute(&mut *connection).await?;
        let named: Vec<(Vec<u8>, i64, i32)> = sqlx::query_as(postgres!("deletion_targets"))
            .bind(id_bytes(deletes.iter().map(|(id, _, _)| id)))
            .fetch_all(&mut *connection)
            .await?;
        let own: HashSet<(&[u8], i32)> =
            deletes.iter().map(|(id, _, author)| (id.as_bytes().as_slice(), *author)).collect();
        let targets = named.iter().filter(|(id, _, author)| own.contains(&(id.as_slice(), *author)));
        scene.hidden.extend(targets.map(|(_, k, _)| (*k, "deleted", 0)));
    }
    let keys: Vec<i64> = new.iter().filter_map(|p| p.marks.deletion).collect();
    let deleted: Vec<i64> =
        sqlx::query_scalar(postgres!("deletion_find")).bind(keys).fetch_all(&mut *connection).await?;
    scene.deletions = deleted.into_iter().collect();
    let companions: HashSet<&[u8]> =
        new.iter().flat_map(|p| p.marks.vanishes_with.iter().map(|key| key.as_bytes().as_slice())).collect();
    let vanished: Vec<(Vec<u8>, i64)> = sqlx::query_as(postgres!("author_vanished"))
        .bind(companions.into_iter().collect::<Vec<_>>())
        .fetch_all(&mut *connection)
        .await?;
    for (key, until) in vanished {
        scene.vanished.insert(public_key(&key)?, until);
    }
    let slots: HashSet<i64> = new.iter().flat_map(|p| p.marks.slot.iter().chain(&p.marks.clears)).copied().collect();
    if !slots.is_empty() {
        type SlotRow = (i64, Option<i64>, Option<i64>, Option<Vec<u8>>, Option<i64>);
        let rows: Vec<SlotRow> = sqlx::query_as(postgres!("slot_find"))
            .bind(slots.into_iter().collect::<Vec<_>>())
            .fetch_all(&mut *connection)
            .await?;
        for (key, k, created_at, id, deleted_until) in rows {
            let newest = match (k, created_at, id) {
                (Some(k), Some(created_at), Some(id)) => Some((k, created_at, event_id(&id)?)),
                _ => None,
            };
            scene.slots.insert(key, Slot { newest, deleted_until });
        }
    }
    // Deletions come first, whatever the order of arrival.
    let mut new = new.to_vec();
    new.sort_by_key(|p| p.marks.clears.is_empty());
    for prepared in new {
        scene.take(event_key(&prepared.event.id), &prepared.marks);
    }
    write_scene(connection, scene, distributed).await
}

async fn write_scene(connection: &mut PgConnection, mut scene: Scene, distributed: bool) -> Result<()> {
    if !scene.changed.is_empty() {
        let (mut keys, mut ks, mut times, mut ids, mut until) = (vec![], vec![], vec![], vec![], vec![]);
        for key in &scene.changed {
            let slot = scene.slots.remove(key).unwrap_or_default();
            keys.push(*key);
            ks.push(slot.newest.map(|(k, _, _)| k));
            times.push(slot.newest.map(|(_, created_at, _)| created_at));
            ids.push(slot.newest.map(|(_, _, id)| id.to_bytes().to_vec()));
            until.push(slot.deleted_until);
        }
        sqlx::query(postgres!("slot_set"))
            .bind(keys)
            .bind(ks)
            .bind(times)
            .bind(ids)
            .bind(until)
            .execute(&mut *connection)
            .await?;
    }
    if !scene.hidden.is_empty() {
        let (mut ks, mut reasons, mut since) = (vec![], vec![], vec![]);
        for (k, reason, from) in scene.hidden {
            ks.push(k);
            reasons.push(reason);
            since.push(from);
        }
        let rows = "select * from unnest($1::bigint[], $2::text[], $3::bigint[]) as m (event, reason, since)";
        sqlx::query(AssertSqlSafe(marking(rows, distributed)))
            .bind(ks)
            .bind(reasons)
            .bind(since)
            .execute(connection)
            .await?;
    }
    Ok(())
}

/// Returns a statement that marks events as hidden, given as rows of event, reason and since, and counts those hidden
/// permanently, unless the archive is distributed. Events that are not stored are ignored.
fn marking(rows: &str, distributed: bool) -> String {
    if distributed {
        return format!("insert into hidden (event, reason, since) {rows} on conflict do nothing");
    }
    let event = event_of("m.event");
    format!(
        "with mark as materialized (select m.event, m.reason, m.since, e.kind from ({rows}) m cross join lateral {event} e), \
         added as (insert into hidden (event, reason, since) select event, reason, since from mark on conflict do nothing), \
         gone as (select distinct event, kind from mark where since = 0 \
                  and coalesce((select 1 from hidden h where h.event = mark.event and h.since = 0 limit 1), 0) <> 1) \
         update kind set hidden = kind.hidden + g.n from (select kind, count(*) as n from gone group by kind) g where kind.kind = g.kind"
    )
}

/// Hides all events of an author except requests to vanish, and all gift wraps to them, up to a date (NIP-62).
async fn vanish(
    connection: &mut PgConnection,
    author: &PublicKey,
    number: i32,
    until: i64,
    distributed: bool,
) -> Result<()> {
    let key = author.as_bytes().as_slice();
    sqlx::query(postgres!("author_vanish")).bind(key).bind(until).execute(&mut *connection).await?;
    let rows = "select e.k as event, 'vanished' as reason, 0 as since from event e where e.created_at <= $2 \
                and (e.kind <> 62 and e.author = $1 or e.kind = 1059 and e.tagkeys @> array[$3::bigint])";
    sqlx::query(AssertSqlSafe(marking(rows, distributed)))
        .bind(number)
        .bind(until)
        .bind(tag_key('p', &author.to_hex()))
        .execute(connection)
        .await?;
    Ok(())
}
