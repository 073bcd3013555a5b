//! Clients of the agent's own relay: some read as they should, others ask without reading, or send what is no request.

use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use brotr_net::{Listener, Stream};
use futures::{SinkExt, StreamExt};
use nostr::{Event, EventId};
use serde_json::Value;
use tokio::io::DuplexStream;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until, timeout_at};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

use crate::world::{World, calls, locked, true_now};

/// Clients that read as they should.
const GOOD: u8 = 3;
/// Seconds in which a client is answered.
pub(crate) const SERVED_IN: u64 = 10;
/// Pause before a client connects again.
const AGAIN: Duration = Duration::from_secs(5);

type Socket = WebSocketStream<DuplexStream>;
type Visitor = (DuplexStream, SocketAddr);

/// Where clients connect: to whichever agent runs.
#[derive(Default)]
pub(crate) struct Door(Mutex<Option<mpsc::Sender<Visitor>>>);

/// The agent's side of the door.
struct Inside(tokio::sync::Mutex<mpsc::Receiver<Visitor>>);

#[async_trait]
impl Listener for Inside {
    async fn accept(&self) -> std::io::Result<(Box<dyn Stream>, SocketAddr)> {
        match self.0.lock().await.recv().await {
            Some((stream, peer)) => Ok((Box::new(stream), peer)),
            None => std::future::pending().await,
        }
    }
}

impl Door {
    /// Opens it to an agent that starts.
    pub(crate) fn open(&self) -> Arc<dyn Listener> {
        let (sender, receiver) = mpsc::channel(64);
        *locked(&self.0) = Some(sender);
        Arc::new(Inside(tokio::sync::Mutex::new(receiver)))
    }

    /// Connects, and upgrades to a WebSocket.
    async fn connect(&self, from: IpAddr) -> Option<Socket> {
        let (ours, theirs) = tokio::io::duplex(1 << 16);
        let sender = locked(&self.0).clone()?;
        sender.try_send((theirs, SocketAddr::new(from, 40_000))).ok()?;
        drop(sender);
        let upgraded = tokio_tungstenite::client_async("ws://brotr.example/", ours);
        Some(timeout_at(within(SERVED_IN), upgraded).await.ok()?.ok()?.0)
    }
}

fn within(seconds: u64) -> Instant {
    Instant::now() + Duration::from_secs(seconds)
}

/// What a client that reads has seen.
#[derive(Debug, Default)]
pub(crate) struct Diary {
    /// The events that its live subscription brought.
    pub(crate) received: HashSet<EventId>,
    /// From when and until when it was subscribed; the last one may last.
    pub(crate) subscribed: Vec<(i64, Option<i64>)>,
    /// When it began to try to be served, and when it gave up.
    pub(crate) unserved: Vec<(i64, i64)>,
    /// Answers that it got.
    pub(crate) answers: usize,
}

/// Lets clients come until the set is dropped; returns the diaries of those that read.
pub(crate) fn come(door: &Arc<Door>, tasks: &mut JoinSet<()>) -> Vec<Arc<Mutex<Diary>>> {
    let address = |last| IpAddr::V4(Ipv4Addr::new(9, 30, 0, last));
    for (last, manner) in [Manner::Deaf, Manner::Greedy, Manner::Babbles].into_iter().enumerate() {
        let (door, from) = (door.clone(), address(200 + u8::try_from(last).expect("few")));
        tasks.spawn(async move { behave_badly(&door, from, manner).await });
    }
    let good = (0..GOOD).map(|n| {
        let (door, diary) = (door.clone(), Arc::<Mutex<Diary>>::default());
        let theirs = diary.clone();
        tasks.spawn(async move { read_well(&door, address(n), &theirs).await });
        diary
    });
    good.collect()
}

/// Follows kind 1, asks for the newest notes now and then, and connects again when it is disconnected.
async fn read_well(door: &Door, from: IpAddr, diary: &Mutex<Diary>) {
    let mut since = true_now();
    loop {
        if let Some(mut socket) = door.connect(from).await
            && ask(&mut socket, "live", r#"{"kinds":[1],"limit":0}"#, diary).await
        {
            locked(diary).subscribed.push((true_now(), None));
            loop {
                let next = Instant::now() + Duration::from_secs(fastrand::u64(300..900));
                let is_open = listen_until(&mut socket, next, diary).await;
                since = true_now();
                if !is_open || !ask(&mut socket, "newest", r#"{"kinds":[1],"limit":20}"#, diary).await {
                    break;
                }
            }
            if let Some((_, until @ None)) = locked(diary).subscribed.last_mut() {
                *until = Some(since);
            }
        }
        locked(diary).unserved.push((since, true_now()));
        sleep(AGAIN).await;
        since = true_now();
    }
}

/// Reads what a live subscription brings until a time; returns false if the connection ended.
async fn listen_until(socket: &mut Socket, end: Instant, diary: &Mutex<Diary>) -> bool {
    loop {
        match timeout_at(end, socket.next()).await {
            Err(_) => return true,
            Ok(Some(Ok(message))) => take_down(&message, diary),
            Ok(_) => return false,
        }
    }
}

/// Sends a request, and reads until its EOSE; returns false if it does not come in time.
async fn ask(socket: &mut Socket, name: &str, filter: &str, diary: &Mutex<Diary>) -> bool {
    let end = within(SERVED_IN);
    let request = Message::text(format!(r#"["REQ","{name}",{filter}]"#));
    if !matches!(timeout_at(end, socket.send(request)).await, Ok(Ok(()))) {
        return false;
    }
    while let Ok(Some(Ok(message))) = timeout_at(end, socket.next()).await {
        take_down(&message, diary);
        let text = message.to_text().unwrap_or_default();
        if text.starts_with(&format!(r#"["EOSE","{name}""#)) {
            locked(diary).answers += 1;
            return true;
        }
    }
    false
}

/// Notes an event of the live subscription.
fn take_down(message: &Message, diary: &Mutex<Diary>) {
    let Ok(text) = message.to_text() else { return };
    if text.starts_with(r#"["EVENT","live""#) {
        let message: Value = serde_json::from_str(text).expect("JSON");
        let id = message[2]["id"].as_str().and_then(|id| EventId::from_hex(id).ok()).expect("an id");
        locked(diary).received.insert(id);
    }
}

/// Events of one half of a probe.
pub(crate) const PROBES: usize = 15;

/// Events reach one subscriber and many, and the archive is read for many about as often as for one.
pub(crate) async fn probe(world: &World, events: Vec<Event>) -> Vec<String> {
    const MANY: u8 = 25;
    let reading = || {
        let calls = calls();
        ["ids", "page", "stored_after"].iter().filter_map(|call| calls.get(call)).sum::<u64>()
    };
    let mut clients: Vec<(Socket, Mutex<Diary>)> = Vec::new();
    let (mut counts, mut broken) = (Vec::new(), Vec::new());
    for (events, subscribers) in events.chunks(PROBES).zip([1, MANY]) {
        for last in u8::try_from(clients.len()).expect("few")..subscribers {
            let diary = Mutex::new(Diary::default());
            let Some(mut socket) = world.door.connect(IpAddr::V4(Ipv4Addr::new(9, 31, 0, last))).await else {
                return vec![format!("subscriber {last} of {subscribers} is not let in")];
            };
            if !ask(&mut socket, "live", r#"{"limit":0}"#, &diary).await {
                return vec![format!("subscriber {last} of {subscribers} is not served")];
            }
            clients.push((socket, diary));
        }
        let before = reading();
        for event in events {
            // Not every relay is followed.
            world.relays.iter().filter(|relay| relay.honest && relay.is_up()).for_each(|relay| relay.post(event));
            let end = within(4);
            let listen = clients.iter_mut().map(|(socket, diary)| listen_until(socket, end, diary));
            futures::future::join_all(listen).await;
        }
        counts.push(reading() - before);
        for (n, (_, diary)) in clients.iter().enumerate() {
            let received = &locked(diary).received;
            let missed = events.iter().filter(|event| !received.contains(&event.id)).count();
            if missed > 0 {
                broken.push(format!("subscriber {n} of {subscribers} did not receive {missed} of {PROBES} events"));
            }
        }
    }
    println!("probe: {} events, for which the archive was read {counts:?} times", events.len());
    // The agent reads the archive for its own work, too.
    if counts[1] > counts[0] + u64::from(MANY) * PROBES as u64 / 3 {
        broken.push(format!("with {MANY} subscribers the archive is read {} times, with one {}", counts[1], counts[0]));
    }
    broken
}

#[derive(Clone, Copy)]
enum Manner {
    /// Subscribes to everything, and never reads.
    Deaf,
    /// Opens many connections with many requests each, and drops them.
    Greedy,
    /// Sends what is no request.
    Babbles,
}

async fn behave_badly(door: &Door, from: IpAddr, manner: Manner) {
    loop {
        match manner {
            Manner::Deaf => {
                if let Some(mut socket) = door.connect(from).await {
                    let sent = socket.send(Message::text(r#"["REQ","all",{}]"#));
                    let _ = timeout_at(within(SERVED_IN), sent).await;
                    sleep(Duration::from_secs(1_800)).await;
                }
            }
            Manner::Greedy => {
                let mut sockets = Vec::new();
                for _ in 0..8 {
                    let Some(mut socket) = door.connect(from).await else { continue };
                    for n in 0..12 {
                        let request = Message::text(format!(r#"["REQ","{n}",{{"kinds":[1,7],"limit":500}}]"#));
                        let _ = timeout_at(Instant::now() + Duration::from_millis(20), socket.send(request)).await;
                    }
                    sockets.push(socket);
                }
                sleep(Duration::from_secs(30)).await;
            }
            Manner::Babbles => {
                if let Some(mut socket) = door.connect(from).await {
                    let deep = format!("{}1{}", "[".repeat(5_000), "]".repeat(5_000));
                    let long = format!(r#"["REQ","{}",{{}}]"#, "x".repeat(200_000));
                    let texts =
                        ["", "[]", "{}", r#"["REQ"]"#, r#"["EVENT",{}]"#, r#"["NEG-OPEN","n",{},"zz"]"#, &deep, &long];
                    for text in texts {
                        let _ = timeout_at(within(1), socket.send(Message::text(text))).await;
                    }
                    let _ = timeout_at(within(1), socket.send(Message::binary(vec![0, 159, 146, 150]))).await;
                }
            }
        }
        sleep_until(Instant::now() + Duration::from_secs(fastrand::u64(600..3_600))).await;
    }
}
