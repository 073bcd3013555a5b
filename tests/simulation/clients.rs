//! Clients of the agent's relay: some read what they request, others do not, or send invalid messages.

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

/// Clients that read what they request.
const READERS: u8 = 3;
/// Seconds in which a client is answered.
const SERVED_IN: u64 = 10;
/// Pause before a client connects again.
const AGAIN: Duration = Duration::from_secs(5);

type Socket = WebSocketStream<DuplexStream>;
type Connection = (DuplexStream, SocketAddr);

/// Connections of clients to the agent that runs.
#[derive(Default)]
pub(crate) struct Inbound(Mutex<Option<mpsc::Sender<Connection>>>);

/// The agent's side.
struct PipeListener(tokio::sync::Mutex<mpsc::Receiver<Connection>>);

#[async_trait]
impl Listener for PipeListener {
    async fn accept(&self) -> std::io::Result<(Box<dyn Stream>, SocketAddr)> {
        match self.0.lock().await.recv().await {
            Some((stream, peer)) => Ok((Box::new(stream), peer)),
            None => std::future::pending().await,
        }
    }
}

impl Inbound {
    /// Returns the listener of an agent that starts. Clients connect to the newest.
    pub(crate) fn listen(&self) -> Arc<dyn Listener> {
        let (sender, receiver) = mpsc::channel(64);
        *locked(&self.0) = Some(sender);
        Arc::new(PipeListener(tokio::sync::Mutex::new(receiver)))
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

/// What a client received.
#[derive(Debug, Default)]
pub(crate) struct ClientLog {
    /// The events that its live subscription brought.
    pub(crate) received: HashSet<EventId>,
    /// From when and until when it was subscribed; the last one may last.
    pub(crate) subscribed: Vec<(i64, Option<i64>)>,
    /// Spans in which it was not served: from its last answer, or its next try, to the failure.
    pub(crate) unserved: Vec<(i64, i64)>,
    /// Answers that it got.
    pub(crate) answers: usize,
}

/// Starts the clients, which run until the set is dropped; returns the logs of those that read.
pub(crate) fn start(inbound: &Arc<Inbound>, tasks: &mut JoinSet<()>) -> Vec<Arc<Mutex<ClientLog>>> {
    let address = |last| IpAddr::V4(Ipv4Addr::new(9, 30, 0, last));
    for (last, abuse) in [Abuse::NeverReads, Abuse::ManyRequests, Abuse::Garbage].into_iter().enumerate() {
        let (inbound, from) = (inbound.clone(), address(200 + u8::try_from(last).expect("few")));
        tasks.spawn(async move { run_abuser(&inbound, from, abuse).await });
    }
    let good = (0..READERS).map(|n| {
        let (inbound, log) = (inbound.clone(), Arc::<Mutex<ClientLog>>::default());
        let theirs = log.clone();
        tasks.spawn(async move { run_reader(&inbound, address(n), &theirs).await });
        log
    });
    good.collect()
}

/// Follows kind 1, asks for the newest notes now and then, and connects again when it is disconnected.
async fn run_reader(inbound: &Inbound, from: IpAddr, log: &Mutex<ClientLog>) {
    let mut since = true_now();
    loop {
        if let Some(mut socket) = inbound.connect(from).await
            && ask(&mut socket, "live", r#"{"kinds":[1],"limit":0}"#, log).await
        {
            locked(log).subscribed.push((true_now(), None));
            loop {
                let next = Instant::now() + Duration::from_secs(fastrand::u64(300..900));
                let is_open = listen_until(&mut socket, next, log).await;
                since = true_now();
                if !is_open || !ask(&mut socket, "newest", r#"{"kinds":[1],"limit":20}"#, log).await {
                    break;
                }
            }
            if let Some((_, until @ None)) = locked(log).subscribed.last_mut() {
                *until = Some(since);
            }
        }
        locked(log).unserved.push((since, true_now()));
        sleep(AGAIN).await;
        since = true_now();
    }
}

/// Reads what a live subscription brings until a time; returns false if the connection ended.
async fn listen_until(socket: &mut Socket, end: Instant, log: &Mutex<ClientLog>) -> bool {
    loop {
        match timeout_at(end, socket.next()).await {
            Err(_) => return true,
            Ok(Some(Ok(message))) => record(&message, log),
            Ok(_) => return false,
        }
    }
}

/// Sends a request, and reads until its EOSE; returns false if it does not come in time.
async fn ask(socket: &mut Socket, name: &str, filter: &str, log: &Mutex<ClientLog>) -> bool {
    let end = within(SERVED_IN);
    let request = Message::text(format!(r#"["REQ","{name}",{filter}]"#));
    if !matches!(timeout_at(end, socket.send(request)).await, Ok(Ok(()))) {
        return false;
    }
    while let Ok(Some(Ok(message))) = timeout_at(end, socket.next()).await {
        record(&message, log);
        let text = message.to_text().unwrap_or_default();
        if text.starts_with(&format!(r#"["EOSE","{name}""#)) {
            locked(log).answers += 1;
            return true;
        }
    }
    false
}

/// Records an event of the live subscription.
fn record(message: &Message, log: &Mutex<ClientLog>) {
    let Ok(text) = message.to_text() else { return };
    if text.starts_with(r#"["EVENT","live""#) {
        let message: Value = serde_json::from_str(text).expect("JSON");
        let id = message[2]["id"].as_str().and_then(|id| EventId::from_hex(id).ok()).expect("an id");
        locked(log).received.insert(id);
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
    let mut clients: Vec<(Socket, Mutex<ClientLog>)> = Vec::new();
    let (mut counts, mut broken) = (Vec::new(), Vec::new());
    for (events, subscribers) in events.chunks(PROBES).zip([1, MANY]) {
        for last in u8::try_from(clients.len()).expect("few")..subscribers {
            let log = Mutex::new(ClientLog::default());
            let Some(mut socket) = world.inbound.connect(IpAddr::V4(Ipv4Addr::new(9, 31, 0, last))).await else {
                return vec![format!("subscriber {last} of {subscribers} is not let in")];
            };
            if !ask(&mut socket, "live", r#"{"limit":0}"#, &log).await {
                return vec![format!("subscriber {last} of {subscribers} is not served")];
            }
            clients.push((socket, log));
        }
        let before = reading();
        for event in events {
            // Not every relay is followed.
            world.relays.iter().filter(|relay| relay.honest && relay.is_up()).for_each(|relay| relay.post(event));
            let end = within(4);
            let listen = clients.iter_mut().map(|(socket, log)| listen_until(socket, end, log));
            futures::future::join_all(listen).await;
        }
        counts.push(reading() - before);
        for (n, (_, log)) in clients.iter().enumerate() {
            let received = &locked(log).received;
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

/// How a client misuses the relay.
#[derive(Clone, Copy)]
enum Abuse {
    /// It subscribes to everything, and never reads.
    NeverReads,
    /// It opens many connections with many requests each, and drops them.
    ManyRequests,
    /// It sends invalid messages.
    Garbage,
}

async fn run_abuser(inbound: &Inbound, from: IpAddr, abuse: Abuse) {
    loop {
        match abuse {
            Abuse::NeverReads => {
                if let Some(mut socket) = inbound.connect(from).await {
                    let sent = socket.send(Message::text(r#"["REQ","all",{}]"#));
                    let _ = timeout_at(within(SERVED_IN), sent).await;
                    sleep(Duration::from_secs(1_800)).await;
                }
            }
            Abuse::ManyRequests => {
                let mut sockets = Vec::new();
                for _ in 0..8 {
                    let Some(mut socket) = inbound.connect(from).await else { continue };
                    for n in 0..12 {
                        let request = Message::text(format!(r#"["REQ","{n}",{{"kinds":[1,7],"limit":500}}]"#));
                        let _ = timeout_at(Instant::now() + Duration::from_millis(20), socket.send(request)).await;
                    }
                    sockets.push(socket);
                }
                sleep(Duration::from_secs(30)).await;
            }
            Abuse::Garbage => {
                if let Some(mut socket) = inbound.connect(from).await {
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
