//! What a scripted relay does on a connection, whatever carries it.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use data_encoding::HEXLOWER;
use futures::{SinkExt, StreamExt};
use nostr::filter::MatchEventOptions;
use nostr::{ClientMessage, Event, Filter, JsonUtil};
use serde_json::json;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::sync::broadcast;
use tokio::time::Instant;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

use crate::counts::Counts;
use crate::script::{Fault, Hints, Negentropy, Script};
use crate::{document, head};

/// Events that a slow subscriber may be behind.
const NEWS: usize = 1_024;

/// A scripted relay without a socket.
#[derive(Clone)]
pub struct House {
    /// Its counts.
    pub counts: Arc<Counts>,
    script: Script,
    events: Arc<Mutex<Vec<Event>>>,
    /// Its information document.
    nip11: Arc<Mutex<Option<String>>>,
    banned: Arc<Mutex<Option<Instant>>>,
    news: broadcast::Sender<Event>,
}

type Socket<S> = WebSocketStream<S>;
type Side = negentropy::Negentropy<'static, negentropy::NegentropyStorageVector>;

impl House {
    /// Returns a relay that follows this script.
    #[must_use]
    pub fn new(script: Script) -> Self {
        Self {
            counts: Arc::default(),
            events: Arc::new(Mutex::new(script.events.clone())),
            nip11: Arc::new(Mutex::new(script.nip11.clone())),
            script,
            banned: Arc::default(),
            news: broadcast::Sender::new(NEWS),
        }
    }

    /// Replaces its information document (NIP-11).
    pub fn describe(&self, document: String) {
        *self.nip11.lock().expect("no holder panics") = Some(document);
    }

    /// Returns its information document, if it has one.
    #[must_use]
    pub fn document(&self) -> Option<String> {
        self.nip11.lock().expect("no holder panics").clone()
    }

    /// Replaces its events.
    pub fn replace(&self, events: Vec<Event>) {
        *self.events.lock().expect("no holder panics") = events;
    }

    /// Returns its events.
    #[must_use]
    pub fn events(&self) -> Vec<Event> {
        self.events.lock().expect("no holder panics").clone()
    }

    /// Returns how many WebSockets are open.
    #[must_use]
    pub fn connected(&self) -> usize {
        self.news.receiver_count()
    }

    /// Adds an event, and sends it to those who subscribed, if the script is live.
    pub fn add(&self, event: Event) {
        if self.script.live {
            // Nobody may be there.
            let _ = self.news.send(event.clone());
        }
        self.keep(event);
    }

    /// Returns the events that are added from now on, if the script is live.
    #[must_use]
    pub fn follow(&self) -> broadcast::Receiver<Event> {
        self.news.subscribe()
    }

    /// Serves one connection until it ends.
    ///
    /// # Errors
    /// Fails if the other side leaves, or breaks the protocol.
    pub async fn serve<S: AsyncRead + AsyncWrite + Unpin>(&self, stream: S) -> anyhow::Result<()> {
        if self.script.fault == Fault::TarPit {
            tokio::time::sleep(Duration::from_secs(600)).await;
        }
        let banned = self.banned.lock().expect("no holder panics").is_some_and(|until| until > Instant::now());
        if banned {
            return Ok(());
        }
        let (head, mut stream) = head::peek(stream).await?;
        if !head.to_ascii_lowercase().contains("upgrade: websocket") {
            return document::answer(stream, &head, &self.script, self.document(), &self.counts).await;
        }
        if let Fault::WrongUpgrade(status) = self.script.fault {
            let page = "<html>this is not a relay</html>";
            let answer = format!(
                "HTTP/1.1 {status} No\r\nRetry-After: 60\r\nContent-Type: text/html\r\nContent-Length: {}\r\n\r\n{page}",
                page.len()
            );
            stream.write_all(answer.as_bytes()).await?;
            return Ok(());
        }
        let host = head::host(&head);
        let mut socket = tokio_tungstenite::accept_async(stream).await?;
        self.counts.upgrades.fetch_add(1, Ordering::Relaxed);
        if self.script.fault == Fault::Babble {
            socket.send(Message::Binary(vec![0, 1, 2, 255].into())).await?;
            socket.send(Message::text(r#"{"type":"hello"}"#)).await?;
        }
        let mut requests = 0;
        let mut comparisons = std::collections::HashMap::new();
        let mut taken = Vec::new();
        let mut subscriptions = std::collections::HashMap::<String, Vec<Filter>>::new();
        let mut locked = self.script.auth;
        if locked {
            socket.send(Message::text(json!(["AUTH", "say who you are"]).to_string())).await?;
        }
        let mut news = self.news.subscribe();
        loop {
            let message = tokio::select! {
                message = socket.next() => message,
                event = news.recv(), if self.script.live => {
                    let Ok(event) = event else { continue };
                    let asks = |filter: &Filter| filter.match_event(&event, MatchEventOptions::new());
                    for (id, _) in subscriptions.iter().filter(|(_, filters)| filters.iter().any(asks)) {
                        socket.send(Message::text(json!(["EVENT", id, event]).to_string())).await?;
                    }
                    continue;
                }
            };
            let Some(message) = message else { return Ok(()) };
            let Message::Text(text) = message? else { continue };
            match ClientMessage::from_json(text.as_str()) {
                Ok(ClientMessage::Auth(event)) => {
                    let says = |name: &str, value: &str| {
                        event
                            .tags
                            .iter()
                            .any(|tag| matches!(tag.as_slice(), [n, v, ..] if n == name && v.starts_with(value)))
                    };
                    let right = event.verify().is_ok()
                        && event.kind == nostr::Kind::Authentication
                        && says("challenge", "say who you are")
                        && says("relay", &format!("ws://{host}"));
                    locked &= !right;
                    socket.send(Message::text(json!(["OK", event.id, right, ""]).to_string())).await?;
                }
                Ok(ClientMessage::Req { subscription_id, .. }) if locked => {
                    self.counts.requests.fetch_add(1, Ordering::Relaxed);
                    let id = subscription_id.to_string();
                    let closed = json!(["CLOSED", id, "auth-required: we only serve friends"]);
                    socket.send(Message::text(closed.to_string())).await?;
                }
                Ok(ClientMessage::Req { subscription_id, filters }) => {
                    self.counts.requests.fetch_add(1, Ordering::Relaxed);
                    requests += 1;
                    if let Fault::ReconnectBan(after) = self.script.fault
                        && requests > after
                    {
                        let until = Instant::now() + Duration::from_secs(2);
                        *self.banned.lock().expect("no holder panics") = Some(until);
                        return Ok(());
                    }
                    let filters: Vec<Filter> = filters.into_iter().map(|f| f.into_owned()).collect();
                    if self.script.fault == Fault::OneSubscription && !subscriptions.is_empty() {
                        let refusal = json!(["CLOSED", subscription_id, "error: too many subscriptions"]);
                        socket.send(Message::text(refusal.to_string())).await?;
                        continue;
                    }
                    let n = self.counts.requests.load(Ordering::Relaxed);
                    if matches!(self.script.fault, Fault::FailsEach(each) if n.is_multiple_of(each)) {
                        for event in self.page(&filters).iter().take(3) {
                            let text = json!(["EVENT", subscription_id, event]).to_string();
                            socket.send(Message::text(text)).await?;
                        }
                        return Ok(());
                    }
                    subscriptions.insert(subscription_id.to_string(), filters.clone());
                    if !self.answer(&mut socket, &subscription_id.to_string(), &filters).await? {
                        return Ok(());
                    }
                }
                Ok(ClientMessage::Event(event)) => {
                    self.counts.published.fetch_add(1, Ordering::Relaxed);
                    if self.script.fault == Fault::NoOk {
                        continue;
                    }
                    if let Fault::SlowOks(ms) = self.script.fault {
                        tokio::time::sleep(Duration::from_millis(ms)).await;
                    }
                    if self.script.fault == Fault::PassesOn {
                        let asks = |filter: &Filter| filter.match_event(&event, MatchEventOptions::new());
                        for (id, _) in subscriptions.iter().filter(|(_, filters)| filters.iter().any(asks)) {
                            socket.send(Message::text(json!(["EVENT", id, event]).to_string())).await?;
                        }
                        continue;
                    }
                    match self.script.fault {
                        Fault::SilentAbout(what) if event.content == what => continue,
                        Fault::RefusesOnly(what) if event.content == what => {
                            let refusal = json!(["OK", event.id, false, "we do not like this one"]);
                            socket.send(Message::text(refusal.to_string())).await?;
                            continue;
                        }
                        _ => {}
                    }
                    if self.script.fault == Fault::OkOfAnother {
                        let other = json!(["OK", "0".repeat(64), true, ""]);
                        socket.send(Message::text(other.to_string())).await?;
                        continue;
                    }
                    if let Fault::TakesASecond(most) = self.script.fault {
                        taken.retain(|at: &Instant| at.elapsed() < Duration::from_secs(1));
                        if taken.len() >= most {
                            let refusal = json!(["OK", event.id, false, "rate-limited: slow down"]);
                            socket.send(Message::text(refusal.to_string())).await?;
                            continue;
                        }
                        taken.push(Instant::now());
                    }
                    let (accepted, message) = match &self.script.refuses {
                        Some(reason) => (false, reason.clone()),
                        None if event.verify().is_err() => (false, "invalid: not verified".to_owned()),
                        None => (true, String::new()),
                    };
                    if accepted && !event.kind.is_ephemeral() {
                        self.add(event.clone().into_owned());
                    }
                    socket.send(Message::text(json!(["OK", event.id, accepted, message]).to_string())).await?;
                }
                Ok(ClientMessage::NegOpen { subscription_id, .. }) if locked => {
                    let refusal = json!(["NEG-ERR", subscription_id, "auth-required: we only serve friends"]);
                    socket.send(Message::text(refusal.to_string())).await?;
                }
                Ok(ClientMessage::Close(id)) => drop(subscriptions.remove(&id.to_string())),
                Ok(ClientMessage::NegOpen { subscription_id, filter, initial_message, .. }) => {
                    let id = subscription_id.to_string();
                    comparisons.insert(id.clone(), self.side(&filter)?);
                    self.compare(&mut socket, &mut comparisons, &id, &initial_message).await?;
                }
                Ok(ClientMessage::NegMsg { subscription_id, message }) => {
                    self.compare(&mut socket, &mut comparisons, &subscription_id.to_string(), &message).await?;
                }
                _ => {}
            }
        }
    }

    /// Returns our side of a comparison.
    fn side(&self, filter: &Filter) -> anyhow::Result<Side> {
        let mut storage = negentropy::NegentropyStorageVector::new();
        let events = self.events.lock().expect("no holder panics");
        for event in events.iter().filter(|e| filter.match_event(e, MatchEventOptions::new())) {
            storage.insert(event.created_at.as_secs(), negentropy::Id::from_byte_array(event.id.to_bytes()))?;
        }
        storage.seal()?;
        Ok(negentropy::Negentropy::owned(storage, 60_000)?)
    }

    async fn compare<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        socket: &mut Socket<S>,
        comparisons: &mut std::collections::HashMap<String, Side>,
        id: &str,
        message: &str,
    ) -> anyhow::Result<()> {
        self.counts.comparisons.fetch_add(1, Ordering::Relaxed);
        let answer = match (&self.script.negentropy, comparisons.get_mut(id)) {
            (Negentropy::Speaks { .. }, Some(side)) => {
                let answer = side.reconcile(&HEXLOWER.decode(message.as_bytes())?)?;
                json!(["NEG-MSG", id, HEXLOWER.encode(&answer)]).to_string()
            }
            (Negentropy::Says(text), _) => text.replace('$', id),
            (Negentropy::HangsUp, _) => anyhow::bail!("no such command"),
            _ => return Ok(()),
        };
        socket.send(Message::text(answer)).await?;
        Ok(())
    }

    fn keep(&self, event: Event) {
        let mut events = self.events.lock().expect("no holder panics");
        if !events.iter().any(|e| e.id == event.id) {
            events.push(event);
        }
    }

    /// Answers one REQ; returns false to disconnect.
    async fn answer<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        socket: &mut Socket<S>,
        id: &str,
        filters: &[Filter],
    ) -> anyhow::Result<bool> {
        let page = self.page(filters);
        let hint = match self.script.hints {
            Hints::None => None,
            Hints::Finish => Some("finish"),
            Hints::True => Some(if self.is_cut_off(filters, page.len()) { "more" } else { "finish" }),
        };
        let eose = || {
            let said = hint.map_or_else(|| json!(["EOSE", id]), |hint| json!(["EOSE", id, [hint]]));
            Message::text(said.to_string())
        };
        match &self.script.fault {
            Fault::Mute | Fault::Babble => return Ok(true),
            Fault::Trickle => {
                for _ in 0..600 {
                    socket.send(Message::text(json!(["NOTICE", "patience"]).to_string())).await?;
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
                return Ok(true);
            }
            Fault::Huge => {
                // One text frame that says it has 64 MiB.
                let raw = socket.get_mut();
                raw.write_all(&[0x81, 127]).await?;
                raw.write_all(&(64_u64 << 20).to_be_bytes()).await?;
                for _ in 0..1_024 {
                    raw.write_all(&[b'x'; 0x1_0000]).await?;
                }
            }
            Fault::Fragments => {
                let raw = socket.get_mut();
                raw.write_all(&[0x01, 0x01, b'[']).await?;
                loop {
                    // A continuation frame of 16 KiB that is never the last.
                    raw.write_all(&[0x00, 126, 0x40, 0x00]).await?;
                    raw.write_all(&[b' '; 0x4000]).await?;
                }
            }
            Fault::NoticeOnly => {
                socket.send(Message::text(json!(["NOTICE", "ERROR: too many concurrent REQs"]).to_string())).await?;
                return Ok(true);
            }
            Fault::EoseFirst => socket.send(eose()).await?,
            Fault::Scrape(most) if filters.iter().any(|filter| filter.limit.is_none_or(|limit| limit > *most)) => {
                let reason = format!("blocked: scraping is not allowed, limit must be {most} or less");
                socket.send(Message::text(json!(["CLOSED", id, reason]).to_string())).await?;
                return Ok(true);
            }
            Fault::RefusesKind(kind)
                if filters.iter().flat_map(|filter| &filter.kinds).flatten().any(|one| one.as_u16() == *kind) =>
            {
                let reason = "restricted: we do not give these to strangers";
                socket.send(Message::text(json!(["CLOSED", id, reason]).to_string())).await?;
                return Ok(true);
            }
            Fault::RefusesIds if filters.iter().any(|filter| filter.ids.is_some()) => {
                let reason = "invalid: ids are not served here";
                socket.send(Message::text(json!(["CLOSED", id, reason]).to_string())).await?;
                return Ok(true);
            }
            Fault::Drip => loop {
                for event in &page {
                    socket.send(Message::text(json!(["EVENT", id, event]).to_string())).await?;
                    tokio::time::sleep(Duration::from_millis(200)).await;
                }
            },
            Fault::SlowPages(ms) => tokio::time::sleep(Duration::from_millis(*ms)).await,
            Fault::Challenges(n) => {
                for n in 0..*n {
                    socket.send(Message::text(json!(["AUTH", format!("challenge {n}")]).to_string())).await?;
                }
            }
            Fault::Endless => loop {
                for event in &page {
                    self.counts.sent.fetch_add(1, Ordering::Relaxed);
                    socket.send(Message::text(json!(["EVENT", id, event]).to_string())).await?;
                }
            },
            _ => {}
        }
        let stop = match &self.script.fault {
            Fault::HalfOpen(n) | Fault::Drop(n) => *n,
            Fault::Closed(_) => page.len() / 2,
            _ => page.len(),
        };
        let (began, mut bytes) = (Instant::now(), 0);
        for event in page.iter().take(stop) {
            let mut value = serde_json::to_value(event)?;
            bytes += value.to_string().len();
            if let Fault::Throttle(most) = self.script.fault
                && bytes > most
                && began.elapsed() < Duration::from_secs(1)
            {
                return Ok(false);
            }
            if self.script.fault == Fault::BadSignatures {
                value["sig"] = json!("00".repeat(64));
            }
            self.counts.sent.fetch_add(1, Ordering::Relaxed);
            socket.send(Message::text(json!(["EVENT", id, value]).to_string())).await?;
        }
        match &self.script.fault {
            Fault::HalfOpen(_) | Fault::NoEose | Fault::EoseFirst => Ok(true),
            Fault::Drop(n) if page.len() > *n => Ok(false),
            Fault::Also(texts) => {
                // Not after an empty page: they would be outside what was asked for.
                for text in texts.iter().filter(|_| !page.is_empty()) {
                    socket.send(Message::text(format!(r#"["EVENT","{id}",{text}]"#))).await?;
                }
                socket.send(eose()).await?;
                Ok(true)
            }
            Fault::NotText => {
                socket.get_mut().write_all(&[0x81, 0x04, b'[', 0xFF, 0xFE, b']']).await?;
                Ok(true)
            }
            Fault::Closed(reason) => {
                socket.send(Message::text(json!(["CLOSED", id, reason]).to_string())).await?;
                Ok(true)
            }
            _ => {
                socket.send(eose()).await?;
                Ok(true)
            }
        }
    }

    /// Returns true if more events match than a page of this length has.
    fn is_cut_off(&self, filters: &[Filter], sent: usize) -> bool {
        let events = self.events.lock().expect("no holder panics");
        let matches = |event: &&Event| {
            filters.iter().any(|filter| filter.match_event(event, MatchEventOptions::new().nip50(false)))
        };
        events.iter().filter(matches).count() > sent
    }

    /// Returns one page: newest first, lowest id first within a second, up to the filter's limit and the relay's cap.
    fn page(&self, filters: &[Filter]) -> Vec<Event> {
        let events = self.events.lock().expect("no holder panics");
        let mut page: Vec<Event> = Vec::new();
        for filter in filters {
            let mut asked = filter.clone();
            if self.script.fault == Fault::IgnoresWindow {
                (asked.since, asked.until) = (None, None);
            }
            if self.script.fault == Fault::ZeroIsNone && asked.until.is_some_and(|until| until.as_secs() == 0) {
                asked.until = None;
            }
            if self.script.fault == Fault::ExclusiveWindow {
                asked.since = asked.since.map(|t| t + 1);
                asked.until = asked.until.map(|t| t - 1);
            }
            let mut found: Vec<&Event> =
                events.iter().filter(|e| asked.match_event(e, MatchEventOptions::new().nip50(false))).collect();
            found.sort_by(|a, b| b.created_at.cmp(&a.created_at).then(a.id.cmp(&b.id)));
            if self.script.fault == Fault::OldestFirst {
                found.reverse();
            }
            if let (Negentropy::Speaks { withholds }, Some(_)) = (&self.script.negentropy, &filter.ids) {
                found.drain(..(*withholds).min(found.len()));
            }
            if self.script.fault == Fault::Shuffled {
                found.sort_by_key(|event| event.id);
            }
            let cap = if let Fault::SlowPages(_) = self.script.fault { 1 } else { self.script.cap };
            found.truncate(filter.limit.unwrap_or(usize::MAX).min(cap));
            if let Fault::Jitter(newest) = self.script.fault {
                let mut all: Vec<&Event> = events.iter().collect();
                all.sort_by_key(|event| std::cmp::Reverse(event.created_at));
                let oldest = all.get(newest.saturating_sub(1)).map(|event| event.created_at);
                let n = found.iter().take_while(|event| Some(event.created_at) >= oldest).count();
                found[..n].reverse();
            }
            let times = if let Fault::Repeats(times) = self.script.fault { times } else { 1 };
            page.extend(found.into_iter().flat_map(|event| std::iter::repeat_n(event, times)).cloned());
        }
        page
    }
}
