//! One connection to a relay that several parties use: a live subscription, passes, checks and the agent's publishing. Each has a
//! WebSocket of its own in front of it, a [`Branch`]; a message of the relay goes to the party whose request it answers.
//!
//! There are two kinds of parties. A [`Session`](crate::Session) takes turns with others, so that only one of them has requests
//! under way. rust-nostr's client takes no turns, and answers any challenge (NIP-42). On a connection that sessions use it does so
//! only if one of them has authenticated: the others read what the relay gives to anybody.

mod driver;

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use brotr_core::RelayUrl;
use dashmap::DashMap;
use futures::{Sink, Stream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_util::sync::PollSender;

use crate::permits::Permits;
use crate::stream::Stream as ByteStream;
use driver::{Driver, Listener};

/// Messages that wait for one party,
const MESSAGES: usize = 512;
/// and their size, in KiB.
const ROOM: u32 = 1_024;
/// Commands that wait for the connection.
const COMMANDS: usize = 64;
/// How long a relay is not visited over shared connections after that failed and a connection of the visit's own worked.
const ALONE: Duration = Duration::from_secs(3_600);
/// Relays without a connection that are remembered, beside as many as have one, before they are looked for.
const UNUSED: usize = 256;
/// How long a session waits for its turn.
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// A WebSocket that was opened, and its permits.
pub(crate) struct Opened {
    pub(crate) socket: Box<WebSocketStream<Box<dyn ByteStream>>>,
    pub(crate) opened_in: Duration,
    pub(crate) permits: Permits,
}

/// A branch, and how long opening the connection took.
pub(crate) struct Joined {
    pub(crate) branch: Branch,
    pub(crate) opened_in: Duration,
}

/// Who uses a branch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Party {
    /// A session. The flag says whether it may use a connection that is authenticated.
    Session(bool),
    /// rust-nostr's client.
    Client,
}

/// The shared connections, by the relay's URL.
#[derive(Default)]
pub(crate) struct SharedConnections {
    slots: DashMap<String, Arc<Slot>>,
    /// The tasks that drive them.
    drivers: Mutex<JoinSet<()>>,
}

/// The shared connections of one relay.
#[derive(Default)]
struct Slot {
    /// Locked while one is opened.
    open: tokio::sync::Mutex<Open>,
    /// Whether the client authenticates to this relay: then it has a connection of its own.
    logs_in: Arc<AtomicBool>,
    /// Until when sessions that read have connections of their own, because the relay serves them better there.
    alone_until: Mutex<Option<Instant>>,
}

impl Slot {
    fn is_alone(&self) -> bool {
        let until = *self.alone_until.lock().unwrap_or_else(PoisonError::into_inner);
        until.is_some_and(|until| until > Instant::now())
    }

    /// Returns true if a connection is open or being opened, or something is to be remembered.
    fn is_used(slot: &Arc<Self>) -> bool {
        let is_open = |open: &Open| open.common.strong_count() + open.of_client.strong_count() > 0;
        Arc::strong_count(slot) > 1 || slot.is_alone() || slot.open.try_lock().is_ok_and(|open| is_open(&open))
    }
}

#[derive(Default)]
struct Open {
    /// The one that everybody uses,
    common: Weak<Shared>,
    /// and the one on which the client is authenticated.
    of_client: Weak<Shared>,
}

/// An open connection, as its branches see it.
pub(crate) struct Shared {
    commands: mpsc::Sender<Command>,
    opened_in: Duration,
    branches: AtomicU64,
    /// Whether a party has authenticated (NIP-42).
    logged_in: Arc<AtomicBool>,
    turn: Arc<Semaphore>,
    /// Sessions that wait for their turn.
    waiting: AtomicUsize,
    /// The branch whose turn it is.
    holder: Arc<AtomicU64>,
    /// How often messages waited because a party did not read.
    held_up: Arc<AtomicU64>,
}

enum Command {
    Join(u64, Listener),
    Send(u64, Message),
    Leave(u64),
}

type Item = (Result<Message, String>, Option<OwnedSemaphorePermit>);

/// A party's WebSocket on a shared connection. Dropping it leaves the connection, which ends with the last of them.
pub struct Branch {
    shared: Arc<Shared>,
    id: u64,
    commands: PollSender<Command>,
    messages: mpsc::Receiver<Item>,
    cut_off: Arc<AtomicBool>,
    has_left: bool,
}

/// The exclusive right of a session to send requests, until it is dropped.
pub(crate) struct Turn {
    _permit: OwnedSemaphorePermit,
}

/// A session that waits for its turn, counted until it is dropped.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn new(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl SharedConnections {
    /// Joins a relay's connection, if there is one that this party may use.
    pub(crate) async fn join(&self, address: &RelayUrl, party: Party) -> Option<Joined> {
        let slot = self.slots.get(address.as_str())?.clone();
        if slot.is_alone() {
            return None;
        }
        let shared = slot.open.try_lock().ok()?.usable(party, &slot)?;
        shared.join(party).await
    }

    /// Joins a relay's connection that this party may use, or opens one.
    ///
    /// # Errors
    /// Why it cannot be opened.
    pub(crate) async fn join_or_open<E>(
        &self,
        address: &RelayUrl,
        party: Party,
        opening: impl Future<Output = Result<Opened, E>>,
    ) -> Result<Joined, E> {
        let slot = self.slots.entry(address.as_str().to_owned()).or_default().clone();
        let mut open = slot.open.lock().await;
        if let Some(shared) = open.usable(party, &slot)
            && let Some(joined) = shared.join(party).await
        {
            return Ok(joined);
        }
        let Opened { socket, opened_in, permits } = opening.await?;
        let (commands, queue) = mpsc::channel(COMMANDS);
        let shared = Arc::new(Shared {
            commands,
            opened_in,
            branches: AtomicU64::new(0),
            logged_in: Arc::default(),
            turn: Arc::new(Semaphore::new(1)),
            waiting: AtomicUsize::new(0),
            holder: Arc::default(),
            held_up: Arc::default(),
        });
        let (branch, listener) = shared.branch(party);
        let driver = Driver::new(&shared, slot.logs_in.clone(), socket, permits, (branch.id, listener));
        self.spawn(driver.run(queue));
        open.put(&shared, party == Party::Client && slot.logs_in.load(Ordering::Relaxed));
        Ok(Joined { branch, opened_in })
    }

    /// Notes that a relay serves a visit better over a connection of its own.
    pub(crate) fn keep_alone(&self, address: &RelayUrl) {
        let slot = self.slots.entry(address.as_str().to_owned()).or_default().clone();
        *slot.alone_until.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now() + ALONE);
    }

    /// Starts to drive a connection, and forgets relays to which none is open.
    fn spawn(&self, driving: impl Future<Output = ()> + Send + 'static) {
        let mut drivers = self.drivers.lock().unwrap_or_else(PoisonError::into_inner);
        while drivers.try_join_next().is_some() {}
        drivers.spawn(driving);
        if self.slots.len() > drivers.len() * 2 + UNUSED {
            self.slots.retain(|_, slot| Slot::is_used(slot));
        }
    }
}

impl Open {
    /// Keeps a connection that was opened.
    fn put(&mut self, shared: &Arc<Shared>, is_of_client: bool) {
        if is_of_client {
            self.of_client = Arc::downgrade(shared);
            return;
        }
        // One that is replaced has ended, or a party has authenticated on it: the client may still use it.
        let before = std::mem::replace(&mut self.common, Arc::downgrade(shared));
        let is_open = |one: &Weak<Shared>| one.upgrade().is_some_and(|one| !one.commands.is_closed());
        if is_open(&before) && !is_open(&self.of_client) {
            self.of_client = before;
        }
    }

    /// Returns an open connection that a party may use.
    fn usable(&self, party: Party, slot: &Slot) -> Option<Arc<Shared>> {
        let is_open = |shared: &Arc<Shared>| !shared.commands.is_closed();
        let logged_in = |shared: &Arc<Shared>| shared.logged_in.load(Ordering::Relaxed);
        let [common, of_client] = [&self.common, &self.of_client].map(|one| one.upgrade().filter(is_open));
        match party {
            Party::Session(may_be_logged_in) => common.filter(|shared| may_be_logged_in || !logged_in(shared)),
            Party::Client if slot.logs_in.load(Ordering::Relaxed) => of_client.or(common.filter(logged_in)),
            Party::Client => common,
        }
    }
}

impl Shared {
    fn branch(self: &Arc<Self>, party: Party) -> (Branch, Listener) {
        let id = self.branches.fetch_add(1, Ordering::Relaxed) + 1;
        let (sender, messages) = mpsc::channel(MESSAGES);
        let cut_off = Arc::new(AtomicBool::new(false));
        let listener = Listener::new(party, sender, Arc::new(Semaphore::new(ROOM as usize)), cut_off.clone());
        let commands = PollSender::new(self.commands.clone());
        (Branch { shared: self.clone(), id, commands, messages, cut_off, has_left: false }, listener)
    }

    async fn join(self: &Arc<Self>, party: Party) -> Option<Joined> {
        let (branch, listener) = self.branch(party);
        self.commands.send(Command::Join(branch.id, listener)).await.ok()?;
        Some(Joined { branch, opened_in: self.opened_in })
    }
}

impl Branch {
    /// Returns the number of this branch; no other of the connection has it.
    pub(crate) fn id(&self) -> u64 {
        self.id
    }

    /// Waits for the turn of this party, at most half a minute.
    pub(crate) async fn turn(&self) -> Option<Turn> {
        if self.has_left {
            return None;
        }
        let waiting = Waiting::new(&self.shared.waiting);
        let permit = timeout(LONGEST_WAIT, self.shared.turn.clone().acquire_owned()).await;
        drop(waiting);
        let turn = Turn { _permit: permit.ok()?.ok()? };
        self.shared.holder.store(self.id, Ordering::Relaxed);
        Some(turn)
    }

    /// Returns how often messages waited because a party did not read.
    pub(crate) fn held_up(&self) -> u64 {
        self.shared.held_up.load(Ordering::Relaxed)
    }

    /// Returns true if another session waits for its turn.
    pub(crate) fn is_awaited(&self) -> bool {
        self.shared.waiting.load(Ordering::Relaxed) > 0
    }

    fn closed<T>(_: T) -> Error {
        Error::ConnectionClosed
    }
}

impl Drop for Branch {
    fn drop(&mut self) {
        if !self.has_left {
            // If the queue is full, the connection finds out with the next message for this branch.
            let _ = self.shared.commands.try_send(Command::Leave(self.id));
        }
    }
}

impl Stream for Branch {
    type Item = Result<Message, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Poll::Ready(match ready!(self.messages.poll_recv(cx)) {
            Some((message, _room)) => Some(message.map_err(|error| Error::Io(std::io::Error::other(error)))),
            None if self.cut_off.swap(false, Ordering::Relaxed) => {
                Some(Err(Error::Io(std::io::Error::other("cut off, so that others can use the connection"))))
            }
            None => None,
        })
    }
}

impl Sink<Message> for Branch {
    type Error = Error;

    fn poll_ready(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        if self.has_left {
            return Poll::Ready(Err(Error::ConnectionClosed));
        }
        self.commands.poll_reserve(cx).map_err(Self::closed)
    }

    fn start_send(mut self: Pin<&mut Self>, message: Message) -> Result<(), Error> {
        let command = match message {
            Message::Close(_) => {
                self.has_left = true;
                // The others do not wait for a party that leaves.
                self.messages.close();
                while self.messages.try_recv().is_ok() {}
                Command::Leave(self.id)
            }
            message => Command::Send(self.id, message),
        };
        self.commands.send_item(command).map_err(Self::closed)
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        if !self.has_left {
            ready!(self.as_mut().poll_ready(cx))?;
            self.start_send(Message::Close(None))?;
        }
        Poll::Ready(Ok(()))
    }
}
