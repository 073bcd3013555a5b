//! The thread that stores events. Batches that arrive while it writes are written together: sorted, they touch each page of the
//! b-trees once, and share one commit.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::{Duration, Instant};

use brotr_core::clock::unix_now;
use futures::executor::block_on;
use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};

use super::connection::WriterConnection;
use super::group::Group;
use super::hints::Hints;
use super::memory::Memory;
use super::runs::{Merges, PACE, Runs};
use crate::StorageError;
use crate::backoff::Backoff;
use crate::batch::{Batch, PreparedBatch, Stored};
use crate::new_events::Announcer;
use crate::options::Options;
use crate::payload::{self, Codec};
use crate::prepare::Preparer;
use crate::query::sqlite;
use crate::stores::relay_key;
use crate::stores::write_claims;

/// Batches in the queue; senders of further ones wait.
const WAITING: usize = 64;
/// The most events and sightings written in one transaction.
const GROUP: usize = 16_384;
/// Under load, a transaction with fewer of them waits for more batches: the cost of a commit is that of the pages it touches.
const FEW: usize = GROUP / 2;
/// The longest time for which it waits,
const LINGER: Duration = Duration::from_millis(250);
/// and the longest time without a new batch.
const LULL: Duration = Duration::from_millis(50);
/// A group of this many events and sightings means load for the time [`LOADED`].
const LOADED_FROM: usize = 1_000;
const LOADED: Duration = Duration::from_secs(1);
/// The number of events at which the dictionary is trained, and the number it is trained on.
const TRAIN_AT: i64 = 2_000;
const SAMPLES: i64 = 4_000;
/// While idle, this many entries of runs are merged per transaction: some 20 ms.
const MERGED_WHEN_IDLE: usize = 200_000;

/// After this time without a batch, the write-ahead log is checkpointed and truncated, if it is larger than [`LOG_WHEN_IDLE`]
/// bytes.
const IDLE: Duration = Duration::from_secs(2);
const LOG_WHEN_IDLE: u64 = 1 << 20;
/// The same is done under load if the log is larger than this, twice the size at which SQLite starts a checkpoint by itself.
/// Readers are waited for at most [`LOG_WAIT`], and the next try comes after [`LOG_PAUSE`].
const LOG_MOST: u64 = 256 << 20;
const LOG_WAIT: Duration = Duration::from_millis(500);
const LOG_PAUSE: Duration = Duration::from_secs(10);

type Answer = Result<Stored, StorageError>;
type Request = (Arc<PreparedBatch>, oneshot::Sender<Answer>);

/// The queue of batches to be written.
pub(super) struct Queue {
    options: Options,
    requests: Mutex<Option<Requests>>,
    ended: tokio::sync::Mutex<Option<oneshot::Receiver<()>>>,
}

impl std::fmt::Debug for Queue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Queue").finish_non_exhaustive()
    }
}

/// What writes the batches.
#[derive(Clone)]
enum Requests {
    /// The thread.
    Thread(mpsc::Sender<Request>),
    /// The caller that has the batch, on the blocking pool: see [`Options::paused_clock`].
    Sender(Arc<Mutex<Writer>>),
}

impl Queue {
    /// Starts the thread. It ends with the queue.
    ///
    /// `log` is the file of the write-ahead log.
    pub(super) fn start(connection: WriterConnection, shared: Shared, options: Options, log: PathBuf) -> Self {
        let (sender, receiver) = mpsc::channel(WAITING);
        let (end, ended) = oneshot::channel();
        let mut writer = Writer {
            connection,
            shared,
            options,
            memory: Memory::default(),
            merges: Merges::default(),
            // Merges that were in progress when the archive was last closed continue.
            must_merge: true,
            log,
            folded_at: None,
        };
        if options.paused_clock {
            let requests = Requests::Sender(Arc::new(Mutex::new(writer)));
            let requests = Mutex::new(Some(requests));
            return Self { options, requests, ended: tokio::sync::Mutex::default() };
        }
        let run = move || {
            writer.run(receiver);
            let _ = end.send(());
        };
        std::thread::Builder::new().name("brotr-archive".into()).spawn(run).expect("a thread starts");
        let requests = Mutex::new(Some(Requests::Thread(sender)));
        Self { options, requests, ended: tokio::sync::Mutex::new(Some(ended)) }
    }

    /// Prepares what is not prepared of a batch, and waits until the batch is committed.
    pub(super) async fn store(&self, preparer: &Preparer, batch: Batch) -> Answer {
        let requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let requests = requests.ok_or(StorageError::Closed)?;
        let prepared = Arc::new(PreparedBatch::new(batch, preparer).await?);
        let mut backoff = Backoff::new("store", "store events");
        loop {
            match self.options.attempt("store", requests.write(prepared.clone())).await {
                Ok(stored) => return Ok(stored),
                Err(error) => backoff.wait(error).await?,
            }
        }
    }

    /// Waits until all queued batches are written, and ends the thread.
    pub(super) async fn end(&self) {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(ended) = self.ended.lock().await.take() {
            let _ = ended.await;
        }
    }
}

impl Requests {
    /// Writes a batch, and waits until it is committed.
    async fn write(&self, batch: Arc<PreparedBatch>) -> Answer {
        match self {
            Self::Thread(sender) => {
                let (answer, answered) = oneshot::channel();
                sender.send((batch, answer)).await.map_err(|_| StorageError::Closed)?;
                answered.await.map_err(|_| StorageError::Closed)?
            }
            Self::Sender(writer) => {
                let writer = writer.clone();
                let run = move || writer.lock().unwrap_or_else(PoisonError::into_inner).write_alone(&[batch]);
                tokio::task::spawn_blocking(run).await.map_err(|_| StorageError::Closed)?
            }
        }
    }
}

/// What the thread shares with readers.
pub(super) struct Shared {
    pub(super) codec: Arc<Codec>,
    pub(super) runs: Arc<Runs>,
    pub(super) hints: Arc<Hints>,
    pub(super) announcer: Arc<Announcer>,
}

/// The state of the thread: its cache of committed data.
pub(super) struct Writer {
    connection: WriterConnection,
    shared: Shared,
    options: Options,
    memory: Memory,
    merges: Merges,
    /// Whether runs are to be merged while idle.
    must_merge: bool,
    log: PathBuf,
    /// When the log was last found too long.
    folded_at: Option<Instant>,
}

impl Writer {
    fn run(&mut self, mut requests: mpsc::Receiver<Request>) {
        let size = |(batch, _): &Request| batch.events.len() + batch.rest.known.len();
        let mut loaded_until = Instant::now();
        loop {
            let first = match recv_timeout(&mut requests, if self.must_merge { Duration::ZERO } else { IDLE }) {
                Received::Value(first) => first,
                Received::Timeout if self.must_merge => {
                    self.merge_when_idle();
                    self.fold_long_log();
                    continue;
                }
                Received::Timeout => {
                    self.fold_log(LOG_WHEN_IDLE, Duration::ZERO);
                    continue;
                }
                Received::Closed => break,
            };
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
                    Err(_)
                        if total < FEW && began < loaded_until && last.elapsed() < LULL && began.elapsed() < LINGER =>
                    {
                        std::thread::sleep(LULL / 20);
                    }
                    Err(_) => break,
                }
            }
            if total >= LOADED_FROM {
                loaded_until = Instant::now() + LOADED;
            }
            let (batches, answers): (Vec<_>, Vec<_>) = group.into_iter().unzip();
            match self.write(&batches) {
                Ok(stored) => {
                    answers.into_iter().zip(stored).for_each(|(answer, stored)| drop(answer.send(Ok(stored))))
                }
                Err(error) if batches.len() == 1 => {
                    answers.into_iter().next().map(|answer| answer.send(Err(error)));
                }
                // If a group cannot be written together, each batch is tried on its own and has its own error.
                Err(error) => {
                    tracing::debug!(%error, batches = batches.len(), "failed to write a group");
                    for (batch, answer) in batches.iter().zip(answers) {
                        let alone = self.write(std::slice::from_ref(batch));
                        drop(answer.send(alone.map(|stored| stored[0])));
                    }
                }
            }
            self.fold_long_log();
        }
    }

    /// Writes a batch, and then does all that the thread would do while idle.
    fn write_alone(&mut self, batch: &[Arc<PreparedBatch>]) -> Answer {
        let stored = self.write(batch);
        while self.must_merge {
            self.merge_when_idle();
        }
        self.fold_long_log();
        Ok(stored?[0])
    }

    /// Checkpoints the write-ahead log if it is too long, and was not found so a moment ago.
    fn fold_long_log(&mut self) {
        if self.folded_at.is_none_or(|at| at.elapsed() >= LOG_PAUSE) && self.fold_log(LOG_MOST, LOG_WAIT) {
            self.folded_at = Some(Instant::now());
        }
    }

    /// Checkpoints the write-ahead log if it has more than `most` bytes. SQLite does so itself, but its file never shrinks, and
    /// grows as long as some reader keeps the log from starting over.
    fn fold_log(&self, most: u64, wait: Duration) -> bool {
        let is_long = self.log.metadata().is_ok_and(|log| log.len() > most);
        if is_long && let Err(error) = self.connection.checkpoint(wait) {
            tracing::warn!(%error, "failed to checkpoint the write-ahead log");
        }
        is_long
    }

    /// Writes batches, all or none. A panic becomes their error and does not end the thread.
    fn write(&mut self, batches: &[Arc<PreparedBatch>]) -> Result<Vec<Stored>, StorageError> {
        let result = catch_unwind(AssertUnwindSafe(|| self.write_group(batches))).unwrap_or_else(|panic| {
            let message = panic.downcast_ref::<&str>().map(|message| (*message).to_owned());
            let message = message.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default();
            tracing::error!(panic = message, "the archive's writer panicked: nothing of the batch is stored");
            Err(StorageError::Panicked(message))
        });
        if result.is_err() {
            // Cached data may have been rolled back.
            self.forget();
        }
        result
    }

    fn forget(&mut self) {
        self.memory = Memory::default();
        self.merges = Merges::default();
    }

    /// Continues merges while there is nothing to store.
    fn merge_when_idle(&mut self) {
        let merged = (|| {
            let tx = self.connection.begin_here()?;
            if self.connection.is_to_forget() {
                self.forget();
            }
            let connection = tx.connection()?;
            let set = self.shared.runs.at(connection)?;
            let mut change = self.merges.change(connection, &set)?;
            let more = change.advance(MERGED_WHEN_IDLE)?;
            let set = change.end()?;
            tx.commit_here()?;
            self.shared.runs.publish(set);
            Ok::<_, StorageError>(more)
        })();
        self.must_merge = merged.unwrap_or_else(|error| {
            tracing::warn!(%error, "failed to merge runs of an index");
            self.forget();
            // Tried again when something is stored.
            false
        });
    }

    fn write_group(&mut self, batches: &[Arc<PreparedBatch>]) -> Result<Vec<Stored>, StorageError> {
        let mut tx = self.connection.begin_here()?;
        if self.connection.is_to_forget() {
            self.forget();
        }
        let set = self.shared.runs.at(tx.connection()?)?;
        let mut group = Group::begin(tx.connection()?, self.options.profile, set.clone())?;
        let mut stored = Vec::with_capacity(batches.len());
        for batch in batches {
            let relay = match batch.relay() {
                Some((url, network)) => Some(block_on(relay_key(&mut tx, url, network, batch.rest.seen_at))?),
                None => None,
            };
            let ids = batch.events.iter().map(|prepared| &prepared.event.id).chain(&batch.rest.known);
            let hints = self.shared.hints.take(ids);
            stored.push(group.insert(tx.connection()?, &mut self.memory, batch, &hints, relay)?);
            if let Some(relay) = relay {
                block_on(write_claims(&mut tx, relay, &batch.rest, unix_now()))?;
            }
        }
        let connection = tx.connection()?;
        group.write_text(connection)?;
        group.write_totals(connection, &mut self.memory)?;
        group.hide(connection, &mut self.memory)?;
        group.end(connection)?;
        let dictionary = self.train(connection, group.last_k)?;
        let entries = group.take_entries();
        let most = PACE * entries.len();
        let mut change = self.merges.change(connection, &set)?;
        change.add(entries, group.last_k)?;
        let must_merge = change.advance(most)?;
        let set = change.end()?;
        let (new, last) = (group.take_ids(), group.last_k);
        tx.commit_here()?;
        // Not by the sender of the batch, which may have been dropped.
        if !new.is_empty() {
            self.shared.announcer.announce();
        }
        self.memory.last_events.add(new, last);
        self.shared.runs.publish(set);
        self.must_merge |= must_merge;
        if let Some(dictionary) = dictionary {
            self.shared.codec.add_dictionary(&dictionary);
        }
        Ok(stored)
    }

    /// Trains the archive's dictionary once there are enough events, and stores it.
    fn train(&self, connection: &Connection, events: i64) -> Result<Option<Vec<u8>>, StorageError> {
        if self.shared.codec.dictionaries() > 0 || events < TRAIN_AT {
            return Ok(None);
        }
        let mut statement = connection.prepare(sqlite!("event_payloads"))?;
        let payloads = statement.query_map([SAMPLES], |row| row.get::<_, Vec<u8>>(0))?;
        let payloads = payloads.collect::<rusqlite::Result<Vec<_>>>()?;
        let samples =
            payloads.iter().map(|payload| self.shared.codec.unpack(payload)).collect::<Result<Vec<_>, _>>()?;
        let Some(dictionary) = payload::train(&samples) else { return Ok(None) };
        connection.execute(sqlite!("dictionary_add"), [&dictionary])?;
        Ok(Some(dictionary))
    }
}

/// The result of waiting for a value.
enum Received<T> {
    Value(T),
    Timeout,
    /// All senders are gone.
    Closed,
}

/// Unparks a thread.
struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Waits for a value on this thread, up to a timeout.
fn recv_timeout<T>(values: &mut mpsc::Receiver<T>, longest: Duration) -> Received<T> {
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let end = Instant::now() + longest;
    loop {
        match values.poll_recv(&mut Context::from_waker(&waker)) {
            Poll::Ready(Some(value)) => return Received::Value(value),
            Poll::Ready(None) => return Received::Closed,
            Poll::Pending => match end.checked_duration_since(Instant::now()) {
                Some(left) if !left.is_zero() => std::thread::park_timeout(left),
                _ => return Received::Timeout,
            },
        }
    }
}
