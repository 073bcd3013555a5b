//! The one thread that stores events. Batches that wait while it writes are written together: sorted, they meet each
//! page of the b-trees once, and share one commit.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use nostr::{EventId, PublicKey};
use rusqlite::{Connection, OptionalExtension, params, params_from_iter};
use tokio::sync::{mpsc, oneshot};

use super::connection::WriterConnection;
use crate::archive::{Options, Profile};
use crate::filter::tag_key;
use crate::ledger::{event_id, public_key, relay_key};
use crate::patience::Patience;
use crate::payload::{self, Codec};
use crate::prepare::{Prepared, PreparedBatch, tagvalues};
use crate::rows::{Batch, Stored};
use crate::view::{Scene, Slot};
use crate::{StorageError, claims};

/// Batches that may wait. Who brings one more waits for room.
const WAITING: usize = 64;
/// Batches are written together up to so many events and sightings.
const GROUP: usize = 16_384;
/// Under load a group waits so long for more to write together: a commit costs by the pages it touches,
const LINGER: Duration = Duration::from_millis(250);
/// as long as something came within this time.
const LULL: Duration = Duration::from_millis(50);
/// So long after batches had to wait for each other there is load.
const LOADED: Duration = Duration::from_secs(1);
/// Authors whose numbers are remembered, 64 bytes each, and pairs of author and kind that have events, 32 bytes each.
const REMEMBERED: usize = 200_000;
/// Events from which the dictionary is trained, once there are so many.
const TRAIN_AT: i64 = 2_000;
const SAMPLES: i64 = 4_000;

/// A statement writes so many rows: to begin and end one costs as much as a row.
const ROWS: usize = 100;
/// The same of events, which have more columns.
const EVENT_ROWS: usize = 20;

type Answer = Result<Stored, StorageError>;
type Request = (Arc<PreparedBatch>, oneshot::Sender<Answer>);

/// What waits to be written.
#[derive(Debug)]
pub(super) struct Queue {
    requests: Mutex<Option<mpsc::Sender<Request>>>,
    ended: tokio::sync::Mutex<Option<oneshot::Receiver<()>>>,
    codec: Arc<Codec>,
    options: Options,
}

impl Queue {
    /// Starts the thread. It ends with the queue.
    pub(super) fn start(connection: WriterConnection, codec: Arc<Codec>, options: Options) -> Self {
        let (sender, receiver) = mpsc::channel(WAITING);
        let (end, ended) = oneshot::channel();
        let mut thread = Writer {
            connection,
            codec: codec.clone(),
            options,
            authors: HashMap::new(),
            pairs: HashSet::new(),
            vanished: None,
        };
        let run = move || {
            thread.run(receiver);
            let _ = end.send(());
        };
        std::thread::Builder::new().name("brotr-archive".into()).spawn(run).expect("a thread starts");
        Self { requests: Mutex::new(Some(sender)), ended: tokio::sync::Mutex::new(Some(ended)), codec, options }
    }

    /// Prepares a batch on a thread of the caller's runtime and waits until it is committed.
    pub(super) async fn store(&self, batch: Batch) -> Answer {
        let sender = self.requests.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let sender = sender.ok_or(StorageError::Closed)?;
        let (codec, options) = (self.codec.clone(), self.options);
        let prepare = move || {
            PreparedBatch::new(batch, options, |event| match options.profile {
                Profile::Bigbrotr => codec.pack(&event.tags, &event.content),
                Profile::Lilbrotr => codec.pack(&tagvalues(event), ""),
            })
        };
        let prepared = tokio::task::spawn_blocking(prepare).await.map_err(|_| StorageError::Closed)?;
        let prepared = Arc::new(prepared);
        let mut patience = Patience::with("store events");
        loop {
            let (answer, answered) = oneshot::channel();
            sender.send((prepared.clone(), answer)).await.map_err(|_| StorageError::Closed)?;
            match answered.await.map_err(|_| StorageError::Closed)? {
                Ok(stored) => return Ok(stored),
                Err(error) => patience.wait(error).await?,
            }
        }
    }

    /// Lets what waits be written, and ends the thread.
    pub(super) async fn end(&self) {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(ended) = self.ended.lock().await.take() {
            let _ = ended.await;
        }
    }
}

/// The state of the thread: what it remembers of what is committed.
struct Writer {
    connection: WriterConnection,
    codec: Arc<Codec>,
    options: Options,
    authors: HashMap<PublicKey, i64>,
    pairs: HashSet<(i64, u16)>,
    vanished: Option<HashMap<PublicKey, i64>>,
}

impl Writer {
    fn run(&mut self, mut requests: mpsc::Receiver<Request>) {
        let size = |(batch, _): &Request| batch.events.len() + batch.rest.known.len();
        let mut loaded_until = Instant::now();
        while let Some(first) = requests.blocking_recv() {
            let mut total = size(&first);
            let mut group = vec![first];
            let began = Instant::now();
            let mut last = began;
            while total < GROUP {
                match requests.try_recv() {
                    Ok(next) => {
                        total += size(&next);
                        group.push(next);
                        last = Instant::now();
                    }
                    Err(_) if began < loaded_until && last.elapsed() < LULL && began.elapsed() < LINGER => {
                        std::thread::sleep(LULL / 20);
                    }
                    Err(_) => break,
                }
            }
            if group.len() > 1 {
                loaded_until = Instant::now() + LOADED;
            }
            let (batches, answers): (Vec<_>, Vec<_>) = group.into_iter().unzip();
            match self.write(&batches) {
                Ok(stored) => {
                    answers.into_iter().zip(stored).for_each(|(answer, stored)| drop(answer.send(Ok(stored))))
                }
                // Of a group that cannot be written together, each has its own chance and its own error.
                Err(error) => {
                    tracing::debug!(%error, batches = batches.len(), "failed to write a group");
                    for (batch, answer) in batches.iter().zip(answers) {
                        let alone = self.write(std::slice::from_ref(batch));
                        drop(answer.send(alone.map(|stored| stored[0])));
                    }
                }
            }
        }
    }

    fn write(&mut self, batches: &[Arc<PreparedBatch>]) -> Result<Vec<Stored>, StorageError> {
        let result = self.write_group(batches);
        if result.is_err() {
            // What was remembered may have been rolled back.
            self.forget();
        }
        result
    }

    fn forget(&mut self) {
        self.authors.clear();
        self.pairs.clear();
        self.vanished = None;
    }

    fn write_group(&mut self, batches: &[Arc<PreparedBatch>]) -> Result<Vec<Stored>, StorageError> {
        let mut tx = self.connection.begin_here()?;
        if self.connection.is_to_forget() {
            self.forget();
        }
        let mut group = Group::begin(tx.connection()?)?;
        let mut stored = Vec::with_capacity(batches.len());
        for batch in batches {
            let relay = match batch.relay() {
                Some((url, network)) => Some(ready(relay_key(&mut tx, url, network, batch.rest.seen_at))?),
                None => None,
            };
            stored.push(group.insert(tx.connection()?, self, batch, relay)?);
            if let Some(relay) = relay {
                ready(claims::write(&mut tx, relay, &batch.rest))?;
            }
        }
        let connection = tx.connection()?;
        group.write_tags(connection)?;
        group.write_text(connection)?;
        group.write_totals(connection, &mut self.pairs)?;
        group.hide(connection, self)?;
        group.end(connection)?;
        let dictionary = self.train(connection, group.last_k)?;
        tx.commit_here()?;
        if let Some(dictionary) = dictionary {
            self.codec.add_dictionary(&dictionary);
        }
        Ok(stored)
    }

    /// The number of an author, who is added when not known.
    fn author(&mut self, connection: &Connection, pubkey: &PublicKey) -> rusqlite::Result<i64> {
        if let Some(k) = self.authors.get(pubkey) {
            return Ok(*k);
        }
        let mut find = connection.prepare_cached("select k from author where pubkey = ?1")?;
        let k = match find.query_row([pubkey.as_bytes()], |row| row.get(0)).optional()? {
            Some(k) => k,
            None => {
                connection.prepare_cached("insert into author (pubkey) values (?1)")?.execute([pubkey.as_bytes()])?;
                connection.last_insert_rowid()
            }
        };
        if self.authors.len() >= REMEMBERED {
            self.authors.clear();
        }
        self.authors.insert(*pubkey, k);
        Ok(k)
    }

    fn vanished(&mut self, connection: &Connection) -> Result<&mut HashMap<PublicKey, i64>, StorageError> {
        if self.vanished.is_none() {
            let mut statement =
                connection.prepare("select pubkey, vanished_until from author where vanished_until is not null")?;
            let rows = statement.query_map([], |row| Ok((row.get::<_, Vec<u8>>(0)?, row.get(1)?)))?;
            let rows = rows.collect::<rusqlite::Result<Vec<_>>>()?;
            let known = rows.iter().map(|(key, until)| Ok((public_key(key)?, *until)));
            self.vanished = Some(known.collect::<Result<_, StorageError>>()?);
        }
        Ok(self.vanished.get_or_insert_default())
    }

    /// Trains the archive's dictionary once it has enough to learn from, and writes it.
    fn train(&self, connection: &Connection, events: i64) -> Result<Option<Vec<u8>>, StorageError> {
        if self.codec.dictionaries() > 0 || events < TRAIN_AT {
            return Ok(None);
        }
        let mut statement = connection.prepare("select payload from event order by k desc limit ?1")?;
        let payloads = statement.query_map([SAMPLES], |row| row.get::<_, Vec<u8>>(0))?;
        let payloads = payloads.collect::<rusqlite::Result<Vec<_>>>()?;
        let samples = payloads.iter().map(|payload| self.codec.unpack(payload)).collect::<Result<Vec<_>, _>>()?;
        let Some(dictionary) = payload::train(&samples) else { return Ok(None) };
        connection.execute("insert into dictionary (n, data) values (1, ?1)", [&dictionary])?;
        Ok(Some(dictionary))
    }
}

/// The outcome of a future that has nothing to wait for: this thread's own statements.
fn ready<F: Future>(future: F) -> F::Output {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => unreachable!("a statement on this connection does not wait"),
    }
}

/// A statement that writes so many rows.
fn rows(head: &str, columns: usize, rows: usize, tail: &str) -> String {
    let row = format!("({})", vec!["?"; columns].join(", "));
    format!("{head} values {} {tail}", vec![row.as_str(); rows].join(", "))
}

/// As many whole portions as there are, and then one by one: so few sizes that each has its statement prepared.
fn portions<T>(list: &[T], size: usize) -> impl Iterator<Item = &[T]> {
    let whole = list.chunks_exact(size);
    let rest = whole.remainder().chunks(1);
    whole.chain(rest)
}

/// What one commit does, gathered so that each table is met once and in its own order.
struct Group<'a> {
    last_k: i64,
    /// New events with their numbers.
    new: Vec<(i64, &'a Prepared)>,
    tags: Vec<(i64, i64, i64)>,
    /// New events of each author and kind.
    pairs: BTreeMap<(i64, u16), i64>,
    sighted: usize,
    new_authors: i64,
}

impl<'a> Group<'a> {
    fn begin(connection: &Connection) -> rusqlite::Result<Self> {
        let last_k = connection.prepare_cached("select last_k from archive")?.query_row([], |row| row.get(0))?;
        Ok(Self { last_k, new: vec![], tags: vec![], pairs: BTreeMap::new(), sighted: 0, new_authors: 0 })
    }

    /// Writes the events of a batch and the sightings of all it saw.
    fn insert(
        &mut self,
        connection: &Connection,
        writer: &mut Writer,
        batch: &'a PreparedBatch,
        relay: Option<i64>,
    ) -> Result<Stored, StorageError> {
        let mut find = connection.prepare_cached("select k from event where id = ?1")?;
        let mut there = connection.prepare_cached("select 1 from event where k = ?1")?;
        let mut seen = Vec::with_capacity(batch.events.len() + batch.rest.known.len());
        let mut stored = 0;
        let full = writer.options.profile == Profile::Bigbrotr;
        for chunk in portions(&batch.events, EVENT_ROWS) {
            let authors = chunk.iter().map(|p| writer.author(connection, &p.event.pubkey));
            let authors = authors.collect::<rusqlite::Result<Vec<_>>>()?;
            let first = self.last_k + 1;
            let ks = || (first..).zip(chunk).zip(&authors);
            let mut insert = connection.prepare_cached(&rows(
                "insert or fail into event (k, id, author, created_at, kind, sig, payload)",
                7,
                chunk.len(),
                "on conflict (id) do nothing",
            ))?;
            let mut place = 0;
            for ((k, Prepared { event, payload, .. }), author) in ks() {
                let sig = full.then_some(event.sig.as_slice());
                let row = params![k, event.id.as_bytes(), author, event.created_at, event.kind, sig, payload];
                for value in row {
                    place += 1;
                    insert.raw_bind_parameter(place, value)?;
                }
            }
            let all = insert.raw_execute()? == chunk.len();
            for ((k, prepared), author) in ks() {
                let event = &prepared.event;
                if all || there.exists([k])? {
                    self.last_k = k;
                    self.new.push((k, prepared));
                    self.tags.extend(prepared.tags.iter().map(|key| (*key, event.created_at, k)));
                    *self.pairs.entry((*author, event.kind)).or_default() += 1;
                    stored += 1;
                    seen.push(k);
                } else {
                    seen.push(find.query_row([event.id.as_bytes()], |row| row.get(0))?);
                }
            }
        }
        if let Some(relay) = relay {
            for chunk in portions(&batch.rest.known, ROWS) {
                // An id that was removed since it was known has nothing to be sighted.
                let places = vec!["?"; chunk.len()].join(", ");
                let sql = format!("select k from event where id in ({places})");
                let mut find = connection.prepare_cached(&sql)?;
                let found = find.query_map(params_from_iter(chunk.iter().map(EventId::as_bytes)), |row| row.get(0))?;
                for k in found {
                    seen.push(k?);
                }
            }
            self.see(connection, relay, batch.rest.seen_at, seen)?;
        }
        Ok(Stored { stored, known: batch.events.len() - stored + batch.rest.known.len() })
    }

    /// Writes that a relay was seen to hold these events.
    fn see(&mut self, connection: &Connection, relay: i64, seen_at: i64, mut seen: Vec<i64>) -> rusqlite::Result<()> {
        seen.sort_unstable();
        let mut new = 0;
        for chunk in portions(&seen, ROWS) {
            let mut insert = connection.prepare_cached(&rows(
                "insert or ignore into sighting (event, relay, seen_at)",
                3,
                chunk.len(),
                "",
            ))?;
            new += insert.execute(params_from_iter(chunk.iter().flat_map(|event| [*event, relay, seen_at])))?;
        }
        if new > 0 {
            self.sighted += new;
            connection
                .prepare_cached(
                    "update relay set events = events + ?2, first_seen_at = min(coalesce(first_seen_at, ?3), ?3), \
                     last_seen_at = max(coalesce(last_seen_at, ?3), ?3) where k = ?1",
                )?
                .execute(params![relay, new, seen_at])?;
        }
        Ok(())
    }

    fn write_tags(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        self.tags.sort_unstable();
        for chunk in portions(&self.tags, ROWS) {
            let mut insert = connection.prepare_cached(&rows(
                "insert or fail into tag (key, created_at, event)",
                3,
                chunk.len(),
                "",
            ))?;
            insert.execute(params_from_iter(chunk.iter().flat_map(|(key, at, event)| [*key, *at, *event])))?;
        }
        Ok(())
    }

    fn write_text(&self, connection: &Connection) -> rusqlite::Result<()> {
        let mut insert = connection.prepare_cached("insert into search (rowid, text) values (?1, ?2)")?;
        for (k, prepared) in &self.new {
            if let Some(text) = &prepared.text {
                insert.execute(params![k, text])?;
            }
        }
        Ok(())
    }

    /// Adds what is new to the totals of its author and kind.
    fn write_totals(&mut self, connection: &Connection, known: &mut HashSet<(i64, u16)>) -> rusqlite::Result<()> {
        if known.len() + self.pairs.len() > REMEMBERED {
            known.clear();
        }
        let mut count = connection
            .prepare_cached("select count(*) from (select 1 from event where author = ?1 and kind = ?2 limit ?3)")?;
        let mut authors = BTreeMap::<i64, (i64, i64)>::new();
        let mut kinds = BTreeMap::<u16, (i64, i64)>::new();
        for ((author, kind), n) in &self.pairs {
            // The pair is new if all that is there came with this group.
            let first = known.insert((*author, *kind))
                && count.query_row(params![author, kind, n + 1], |row| row.get::<_, i64>(0))? == *n;
            let first = i64::from(first);
            let totals = authors.entry(*author).or_default();
            *totals = (totals.0 + n, totals.1 + first);
            let totals = kinds.entry(*kind).or_default();
            *totals = (totals.0 + n, totals.1 + first);
        }
        let mut update = connection.prepare_cached(
            "update author set events = events + ?2, kinds = kinds + ?3 where k = ?1 returning events",
        )?;
        for (author, (events, pairs)) in authors {
            let there: i64 = update.query_row(params![author, events, pairs], |row| row.get(0))?;
            self.new_authors += i64::from(there == events);
        }
        let mut upsert = connection.prepare_cached(
            "insert into kind (kind, events, pubkeys) values (?1, ?2, ?3) on conflict (kind) do update \
             set events = events + excluded.events, pubkeys = pubkeys + excluded.pubkeys",
        )?;
        for (kind, (events, pairs)) in kinds {
            upsert.execute(params![kind, events, pairs])?;
        }
        Ok(())
    }

    /// Marks what the new events hide, and those of them that are hidden.
    fn hide(&mut self, connection: &Connection, writer: &mut Writer) -> Result<(), StorageError> {
        let mut scene = Scene::default();
        let mut delete = connection.prepare_cached("insert or ignore into deletion (key) values (?1)")?;
        let mut target = connection.prepare_cached(
            "select e.k from event e join author a on a.k = e.author where e.id = ?1 and a.pubkey = ?2 and e.kind not in (5, 62)",
        )?;
        for (_, prepared) in &self.new {
            let (event, marks) = (&prepared.event, &prepared.marks);
            for (id, key) in &marks.deletes {
                delete.execute([key])?;
                scene.deletions.insert(*key);
                let found = target.query_row(params![id.as_bytes(), event.pubkey.as_bytes()], |row| row.get(0));
                scene.hidden.extend(found.optional()?.map(|k: i64| (k, "deleted", 0)));
            }
            if marks.vanishes {
                vanish(connection, &event.pubkey, event.created_at)?;
                let until = writer.vanished(connection)?.entry(event.pubkey).or_insert(event.created_at);
                *until = (*until).max(event.created_at);
            }
        }
        scene.vanished.clone_from(writer.vanished(connection)?);
        if connection.prepare_cached("select 1 from deletion limit 1")?.exists([])? {
            let mut deleted = connection.prepare_cached("select 1 from deletion where key = ?1")?;
            for key in self.new.iter().filter_map(|(_, prepared)| prepared.marks.deletion) {
                if deleted.exists([key])? {
                    scene.deletions.insert(key);
                }
            }
        }
        let slots: HashSet<i64> =
            self.new.iter().flat_map(|(_, p)| p.marks.slot.iter().chain(&p.marks.clears)).copied().collect();
        let mut read =
            connection.prepare_cached("select event, created_at, id, deleted_until from slot where key = ?1")?;
        for key in slots {
            let row = read.query_row([key], |row| {
                let newest: (Option<i64>, Option<i64>, Option<Vec<u8>>) = (row.get(0)?, row.get(1)?, row.get(2)?);
                Ok((newest, row.get(3)?))
            });
            if let Some((newest, deleted_until)) = row.optional()? {
                let newest = match newest {
                    (Some(k), Some(created_at), Some(id)) => Some((k, created_at, event_id(&id)?)),
                    _ => None,
                };
                scene.slots.insert(key, Slot { newest, deleted_until });
            }
        }
        // Deletions come first, whatever the order of arrival.
        self.new.sort_by_key(|(_, prepared)| prepared.marks.clears.is_empty());
        for (k, prepared) in &self.new {
            scene.take(*k, &prepared.marks);
        }
        let mut write = connection.prepare_cached(
            "insert into slot (key, event, created_at, id, deleted_until) values (?1, ?2, ?3, ?4, ?5) on conflict (key) do update \
             set event = excluded.event, created_at = excluded.created_at, id = excluded.id, deleted_until = excluded.deleted_until",
        )?;
        for key in &scene.changed {
            let slot = scene.slots.remove(key).unwrap_or_default();
            let (k, created_at, id) = match slot.newest {
                Some((k, created_at, id)) => (Some(k), Some(created_at), Some(id.to_bytes().to_vec())),
                None => (None, None, None),
            };
            write.execute(params![key, k, created_at, id, slot.deleted_until])?;
        }
        let mut hide =
            connection.prepare_cached("insert or ignore into hidden (event, reason, since) values (?1, ?2, ?3)")?;
        scene.hidden.sort_unstable();
        for row in &scene.hidden {
            hide.execute(*row)?;
        }
        Ok(())
    }

    fn end(&self, connection: &Connection) -> rusqlite::Result<()> {
        connection
            .prepare_cached(
                "update archive set events = events + ?1, sightings = sightings + ?2, pubkeys = pubkeys + ?3, last_k = ?4",
            )?
            .execute(params![self.new.len(), self.sighted, self.new_authors, self.last_k])?;
        Ok(())
    }
}

/// Hides everything by an author, and every gift to them, up to a date (NIP-62).
fn vanish(connection: &Connection, author: &PublicKey, until: i64) -> rusqlite::Result<()> {
    let key = author.as_bytes();
    connection
        .prepare_cached("update author set vanished_until = max(coalesce(vanished_until, 0), ?2) where pubkey = ?1")?
        .execute(params![key, until])?;
    connection
        .prepare_cached(
            "insert or ignore into hidden (event, reason, since) select e.k, 'vanished', 0 from event e \
             where e.author = (select k from author where pubkey = ?1) and e.created_at <= ?2 and e.kind <> 62",
        )?
        .execute(params![key, until])?;
    connection
        .prepare_cached(
            "insert or ignore into hidden (event, reason, since) select e.k, 'vanished', 0 \
             from tag t join event e on e.k = t.event where t.key = ?1 and t.created_at <= ?2 and e.kind = 1059",
        )?
        .execute(params![tag_key('p', &author.to_hex()), until])?;
    Ok(())
}
