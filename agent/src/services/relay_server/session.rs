//! One client of the relay server.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use brotr_core::sanitize;
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use nostr::Filter;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};

use super::answer::{Answer, weight};
use super::budget::{Held, Use};
use super::compare::Comparisons;
use super::feed::{Batch, Listener, NewEvent, Wanted};
use super::line::{Disconnected, FRAGMENT, Line};
use super::submit::submit;
use super::{MAX_NAME, MAX_SUBSCRIPTIONS, QUERY_TIMEOUT, Server, parse};

/// Messages per second of one client, and the burst; further ones wait.
const PER_SECOND: NonZeroU32 = NonZeroU32::new(20).expect("not zero");
const AT_ONCE: NonZeroU32 = NonZeroU32::new(100).expect("not zero");
/// A client that sends nothing for this long is pinged, and disconnected the second time.
const QUIET: Duration = Duration::from_secs(90);
/// Memory of the filters of one client, in bytes.
const MAX_FILTER_BYTES: usize = 1 << 20;

struct Session {
    server: Server,
    line: Line,
    subscriptions: Vec<Subscription>,
    comparisons: Comparisons,
    /// Held while there are subscriptions.
    listener: Option<Listener>,
    rate: DefaultDirectRateLimiter,
}

/// A REQ: first its stored events, then new ones.
struct Subscription {
    name: String,
    wanted: Vec<Wanted>,
    /// The remaining stored events.
    answer: Option<Answer>,
    /// The number of the next event of the feed.
    next: u64,
    /// The memory of its filters.
    held: Held,
}

/// Serves a client until either side disconnects.
pub(super) async fn converse(server: Server, line: Line) {
    let mut session = Session {
        server,
        line,
        subscriptions: Vec::new(),
        comparisons: Comparisons::default(),
        listener: None,
        rate: RateLimiter::direct(Quota::per_second(PER_SECOND).allow_burst(AT_ONCE)),
    };
    let (mut received_at, mut pinged) = (Instant::now(), false);
    loop {
        let busy = session.is_busy();
        if session.expire().await.is_err() || (!busy && session.line.flush().await.is_err()) {
            return;
        }
        let deadline = session.comparisons.idle_at().unwrap_or(received_at + QUIET).min(received_at + QUIET);
        let done = tokio::select! {
            biased;
            message = session.line.recv() => {
                (received_at, pinged) = (Instant::now(), false);
                match message {
                    Ok(Message::Text(text)) => session.receive(text.as_str()).await,
                    Ok(Message::Close(_)) | Err(Disconnected) => Err(Disconnected),
                    Ok(_) => Ok(()),
                }
            }
            () = std::future::ready(()), if busy => session.turn().await,
            () = changed(&mut session.listener), if !busy => Ok(()),
            () = sleep_until(deadline) => {
                if received_at + QUIET > Instant::now() {
                    // A comparison was idle for too long: it is closed above.
                    Ok(())
                } else if pinged {
                    Err(Disconnected)
                } else {
                    (received_at, pinged) = (Instant::now(), true);
                    session.line.ping().await
                }
            }
        };
        if done.is_err() {
            return;
        }
    }
}

async fn changed(listener: &mut Option<Listener>) {
    match listener {
        Some(listener) => listener.changed().await,
        None => std::future::pending().await,
    }
}

impl Session {
    /// Returns true if there is something to send.
    fn is_busy(&self) -> bool {
        let end = self.listener.as_ref().map_or(0, Listener::end);
        self.subscriptions.iter().any(|one| one.answer.is_some() || one.next < end)
    }

    async fn receive(&mut self, text: &str) -> Result<(), Disconnected> {
        // A client that sends too fast waits, and its socket with it.
        self.rate.until_ready().await;
        let Ok(parts) = serde_json::from_str::<Vec<Value>>(text) else {
            return self.line.send(json!(["NOTICE", "error: not a JSON list"])).await;
        };
        let word = |n: usize| parts.get(n).and_then(Value::as_str).unwrap_or_default();
        let name = word(1);
        let named = !name.is_empty() && name.chars().count() <= MAX_NAME;
        match word(0) {
            "EVENT" => {
                let answer = submit(&self.server, parts.get(1)).await;
                self.line.send(answer).await
            }
            "REQ" | "COUNT" | "NEG-OPEN" if !named => {
                let why = format!("error: a subscription's name has 1 to {MAX_NAME} letters");
                self.line.send(json!(["NOTICE", why])).await
            }
            "REQ" => match self.subscribe(name, &parts[2..]).await {
                Ok(()) => Ok(()),
                Err(why) => self.line.send(json!(["CLOSED", name, why])).await,
            },
            "COUNT" => self.count(name, &parts[2..]).await,
            "NEG-OPEN" => {
                let (archive, account) = (self.server.agent.archive.clone(), self.line.account.clone());
                let answer = self.comparisons.open(name, &parts[2..], archive.as_ref(), &account).await;
                self.compared(name, answer).await
            }
            "NEG-MSG" => {
                let answer = self.comparisons.reply(name, word(2));
                self.compared(name, answer).await
            }
            "NEG-CLOSE" => {
                self.comparisons.close(name);
                Ok(())
            }
            "CLOSE" => {
                self.comparisons.close(name);
                self.drop_subscription(name);
                Ok(())
            }
            other => self.line.send(json!(["NOTICE", format!("error: unknown command {:?}", sanitize(other))])).await,
        }
    }

    /// Opens a subscription, replacing one of the same name.
    async fn subscribe(&mut self, name: &str, values: &[Value]) -> Result<(), String> {
        let filters = parse(values)?;
        self.drop_subscription(name);
        if self.subscriptions.len() >= MAX_SUBSCRIPTIONS {
            return Err(format!("rate-limited: at most {MAX_SUBSCRIPTIONS} subscriptions at a time"));
        }
        let bytes: usize = filters.iter().map(filter_bytes).sum();
        let others: usize = self.subscriptions.iter().map(|one| one.held.bytes()).sum();
        if bytes + others > MAX_FILTER_BYTES {
            return Err("rate-limited: the filters of your subscriptions are too large together: close some".into());
        }
        let short = "rate-limited: the relay is short of memory for subscriptions: try again later";
        let held = self.line.account.try_hold(bytes, Use::Standing).ok_or(short)?;
        // What is stored from here on is in the feed, what was stored before in the answer.
        let listener = match self.listener.take() {
            Some(listener) => listener,
            None => match timeout(QUERY_TIMEOUT, self.server.feed.listen()).await {
                Ok(listener) => listener,
                Err(_) => return Err("error: the archive could not be asked: try again later".into()),
            },
        };
        let (name, next) = (name.to_owned(), listener.end());
        self.listener = Some(listener);
        let answer = Some(Answer::new(&filters));
        let wanted = filters.into_iter().map(Wanted::new).collect();
        self.subscriptions.push(Subscription { name, wanted, answer, next, held });
        Ok(())
    }

    fn drop_subscription(&mut self, name: &str) {
        self.subscriptions.retain(|one| one.name != name);
        if self.subscriptions.is_empty() {
            self.listener = None;
        }
    }

    async fn count(&mut self, name: &str, values: &[Value]) -> Result<(), Disconnected> {
        let counted = match parse(values) {
            Ok(filters) => self.server.counts.answer(self.server.agent.archive.as_ref(), &filters).await,
            Err(why) => Err(why),
        };
        match counted {
            Ok(answer) => self.line.send(json!(["COUNT", name, answer])).await,
            Err(why) => self.line.send(json!(["CLOSED", name, why])).await,
        }
    }

    async fn compared(&mut self, name: &str, answer: Result<String, String>) -> Result<(), Disconnected> {
        match answer {
            Ok(message) => self.line.send(json!(["NEG-MSG", name, message])).await,
            Err(why) => self.line.send(json!(["NEG-ERR", name, why])).await,
        }
    }

    /// Closes comparisons that are idle for too long.
    async fn expire(&mut self) -> Result<(), Disconnected> {
        for name in self.comparisons.expire() {
            self.line.send(json!(["NEG-ERR", name, "closed: not continued in time"])).await?;
        }
        Ok(())
    }

    /// Sends each subscription one portion of what is due.
    async fn turn(&mut self) -> Result<(), Disconnected> {
        // From the last one, since one that fails is removed.
        for n in (0..self.subscriptions.len()).rev() {
            let done = match self.subscriptions[n].answer {
                Some(_) => self.answer(n).await?,
                None => self.tell(n).await?,
            };
            if let Err(why) = done {
                let name = self.subscriptions[n].name.clone();
                self.drop_subscription(&name);
                self.line.send(json!(["CLOSED", name, why])).await?;
            }
        }
        Ok(())
    }

    /// Sends the next stored event of a subscription, or EOSE.
    async fn answer(&mut self, n: usize) -> Result<Result<(), String>, Disconnected> {
        let Self { server, line, subscriptions, .. } = self;
        let Subscription { name, answer, .. } = &mut subscriptions[n];
        let Some(answer) = answer else { return Ok(Ok(())) };
        // Nothing is read for a client that does not take it.
        line.ready(|| answer.slow_down()).await?;
        let event = match answer.next(&server.source, &line.account).await {
            Ok(Some(event)) => event,
            Ok(None) => {
                let hint = answer.hint();
                let end = hint.map_or_else(|| json!(["EOSE", name]), |hint| json!(["EOSE", name, [hint]]));
                subscriptions[n].answer = None;
                return line.send(end).await.map(Ok);
            }
            Err(why) => return Ok(Err(why)),
        };
        // One that does not fit into the socket's buffer is accounted for while it is sent.
        let mut held = None;
        if weight(&event) > FRAGMENT {
            held = line.account.try_hold(weight(&event), Use::Answer);
            if held.is_none() {
                answer.park();
                held = line.account.hold(weight(&event), QUERY_TIMEOUT).await;
            }
            if held.is_none() {
                return Ok(Err("error: the relay is short of memory: try again later".into()));
            }
        }
        let json = Utf8Bytes::from(event.to_json());
        drop(event);
        if let Some(held) = &mut held {
            held.try_resize(json.len());
        }
        line.event(name, &json, || answer.slow_down()).await.map(Ok)
    }

    /// Sends the new events that a subscription matches.
    async fn tell(&mut self, n: usize) -> Result<Result<(), String>, Disconnected> {
        let Self { line, subscriptions, listener: Some(listener), .. } = self else { return Ok(Ok(())) };
        let Subscription { name, wanted, next, .. } = &mut subscriptions[n];
        match listener.read(*next) {
            Batch::Events(events, end) => {
                *next = end;
                let asked = |new: &&Arc<NewEvent>| wanted.iter().any(|one| one.matches(new));
                // The text is enough to send it: the feed may drop the event meanwhile.
                let texts: Vec<Utf8Bytes> = events.iter().filter(asked).map(|new| new.json.clone()).collect();
                drop(events);
                for json in texts {
                    let held = match json.len() > FRAGMENT {
                        true => line.account.hold(json.len(), QUERY_TIMEOUT).await,
                        false => None,
                    };
                    if held.is_none() && json.len() > FRAGMENT {
                        return Ok(Err("error: the relay is short of memory: subscribe again later".into()));
                    }
                    line.event(name, &json, || ()).await?;
                    drop(held);
                }
                Ok(Ok(()))
            }
            Batch::Lost => {
                Ok(Err("error: you read too slowly, and what came in meanwhile is gone: subscribe again".into()))
            }
        }
    }
}

/// Returns the approximate size of a filter in memory, in bytes.
fn filter_bytes(filter: &Filter) -> usize {
    let ids = filter.ids.as_ref().map_or(0, |ids| ids.len() * 48);
    let authors = filter.authors.as_ref().map_or(0, |authors| authors.len() * 48);
    let kinds = filter.kinds.as_ref().map_or(0, |kinds| kinds.len() * 8);
    let tags = filter.generic_tags.values().flatten().map(|value| value.len() + 64).sum::<usize>();
    // An answer copies them.
    2 * (ids + authors + kinds + tags + filter.search.as_ref().map_or(0, String::len) + 512)
}
