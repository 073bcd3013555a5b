//! One client of the relay.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::ws::{Message, WebSocket};
use brotr_dvm::{Acceptance, PING};
use brotr_storage::{Event, StorageError, View, matches, parse_filter, within};
use data_encoding::{HEXLOWER, HEXLOWER_PERMISSIVE};
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use negentropy::{Id, Negentropy, NegentropyStorageVector};
use nostr::{Filter, JsonUtil, Kind};
use serde_json::{Value, json};
use tokio::sync::broadcast::error::RecvError;
use tokio::time::{Instant, timeout};

use super::{House, MAX_FILTERS, MAX_LIMIT, MAX_NAME, MAX_SUBSCRIPTIONS};
use crate::agent::now;
use crate::net::session::clip;
use crate::publish::HERE;

/// Messages a second of one client, and how many at once; more of them wait.
const PER_SECOND: NonZeroU32 = NonZeroU32::new(20).expect("not zero");
const AT_ONCE: NonZeroU32 = NonZeroU32::new(100).expect("not zero");
/// A look into the archive takes at most so long.
const PATIENCE: Duration = Duration::from_secs(10);
/// A client that takes nothing for so long is let go.
const SLOW: Duration = Duration::from_secs(10);
/// A client that says nothing for so long is asked whether it is there, and let go at the second time.
const QUIET: Duration = Duration::from_secs(90);
/// Comparisons (NIP-77) of one client at a time, ids of one, and bytes of one message of ours.
const COMPARISONS: usize = 4;
const MAX_COMPARED: u64 = 200_000;
const FRAME: u64 = 60_000;

struct Guest {
    house: House,
    socket: WebSocket,
    subscriptions: HashMap<String, Vec<Filter>>,
    comparisons: HashMap<String, Negentropy<'static, NegentropyStorageVector>>,
    rate: DefaultDirectRateLimiter,
}

/// Why a client is let go.
struct Gone;

/// Talks with a client until either has enough.
pub(super) async fn converse(house: House, socket: WebSocket) {
    let mut feed = house.feed.subscribe();
    let mut guest = Guest {
        house,
        socket,
        subscriptions: HashMap::new(),
        comparisons: HashMap::new(),
        rate: RateLimiter::direct(Quota::per_second(PER_SECOND).allow_burst(AT_ONCE)),
    };
    let (mut heard, mut asked) = (Instant::now(), false);
    loop {
        let done = tokio::select! {
            message = guest.socket.recv() => {
                (heard, asked) = (Instant::now(), false);
                match message {
                    Some(Ok(Message::Text(text))) => guest.hear(text.as_str()).await,
                    Some(Ok(Message::Close(_)) | Err(_)) | None => Err(Gone),
                    Some(Ok(_)) => Ok(()),
                }
            }
            event = feed.recv() => match event {
                Ok(event) => guest.tell(&event).await,
                Err(RecvError::Lagged(_)) => guest.close_all("error: you read too slowly").await,
                Err(RecvError::Closed) => Err(Gone),
            },
            () = tokio::time::sleep_until(heard + QUIET) => {
                heard = Instant::now();
                if asked { Err(Gone) } else {
                    asked = true;
                    guest.send(Message::Ping(b"still there?".as_slice().into())).await
                }
            }
        };
        if done.is_err() {
            return;
        }
    }
}

impl Guest {
    async fn send(&mut self, message: Message) -> Result<(), Gone> {
        match timeout(SLOW, self.socket.send(message)).await {
            Ok(Ok(())) => Ok(()),
            _ => Err(Gone),
        }
    }

    async fn say(&mut self, message: Value) -> Result<(), Gone> {
        self.send(Message::Text(message.to_string().into())).await
    }

    async fn hear(&mut self, text: &str) -> Result<(), Gone> {
        // Who asks too fast waits, and with them their socket.
        self.rate.until_ready().await;
        let Ok(parts) = serde_json::from_str::<Vec<Value>>(text) else {
            return self.say(json!(["NOTICE", "error: not a JSON list"])).await;
        };
        let word = |n: usize| parts.get(n).and_then(Value::as_str).unwrap_or_default();
        let name = word(1).to_owned();
        let named = !name.is_empty() && name.chars().count() <= MAX_NAME;
        match word(0) {
            "EVENT" => self.take(parts.get(1)).await,
            "REQ" | "COUNT" | "NEG-OPEN" if !named => {
                self.say(json!(["NOTICE", format!("error: a subscription's name has 1 to {MAX_NAME} letters")])).await
            }
            "REQ" => self.subscribe(name, &parts[2..]).await,
            "COUNT" => self.count(&name, &parts[2..]).await,
            "NEG-OPEN" => self.compare(name, parts.get(2), word(3)).await,
            "NEG-MSG" => self.go_on(&name, word(2)).await,
            "NEG-CLOSE" => {
                self.comparisons.remove(&name);
                Ok(())
            }
            "CLOSE" => {
                self.subscriptions.remove(&name);
                Ok(())
            }
            other => self.say(json!(["NOTICE", format!("error: unknown command {:?}", clip(other))])).await,
        }
    }

    async fn subscribe(&mut self, name: String, values: &[Value]) -> Result<(), Gone> {
        let filters = match parse(values) {
            Ok(filters) => filters,
            Err(why) => return self.say(json!(["CLOSED", name, why])).await,
        };
        if !self.subscriptions.contains_key(&name) && self.subscriptions.len() >= MAX_SUBSCRIPTIONS {
            let why = format!("rate-limited: at most {MAX_SUBSCRIPTIONS} subscriptions at a time");
            return self.say(json!(["CLOSED", name, why])).await;
        }
        match self.house.clone().stored(&filters).await {
            Err(why) => return self.say(json!(["CLOSED", name, why])).await,
            Ok(events) => {
                for event in events {
                    self.say(json!(["EVENT", name, event])).await?;
                }
            }
        }
        self.say(json!(["EOSE", name])).await?;
        self.subscriptions.insert(name, filters);
        Ok(())
    }

    async fn count(&mut self, name: &str, values: &[Value]) -> Result<(), Gone> {
        let counted = match parse(values) {
            Ok(filters) => looked(self.house.agent.archive.clone().count(&filters, view(), &[])).await,
            Err(why) => Err(why),
        };
        match counted {
            Ok(count) => self.say(json!(["COUNT", name, {"count": count}])).await,
            Err(why) => self.say(json!(["CLOSED", name, why])).await,
        }
    }

    /// Takes a job request, or a deletion of one.
    async fn take(&mut self, value: Option<&Value>) -> Result<(), Gone> {
        let event = value.and_then(|value| nostr::Event::from_json(value.to_string()).ok());
        let Some(event) = event else {
            return self.say(json!(["NOTICE", "invalid: not an event"])).await;
        };
        let (accepted, why) = match self.house.clone().judge(&event).await {
            Ok(why) => (true, why),
            Err(why) => (false, why),
        };
        self.say(json!(["OK", event.id, accepted, why])).await
    }

    async fn compare(&mut self, name: String, filter: Option<&Value>, message: &str) -> Result<(), Gone> {
        self.comparisons.remove(&name);
        let opened = match filter {
            _ if self.comparisons.len() >= COMPARISONS => Err("blocked: too many comparisons at a time".to_owned()),
            None => Err("invalid: no filter".to_owned()),
            Some(filter) => self.house.clone().open(filter).await,
        };
        match opened {
            Ok(side) => {
                self.comparisons.insert(name.clone(), side);
                self.go_on(&name, message).await
            }
            Err(why) => self.say(json!(["NEG-ERR", name, why])).await,
        }
    }

    async fn go_on(&mut self, name: &str, message: &str) -> Result<(), Gone> {
        let Some(side) = self.comparisons.get_mut(name) else {
            return self.say(json!(["NEG-ERR", name, "closed: no such comparison"])).await;
        };
        let answer = HEXLOWER_PERMISSIVE.decode(message.as_bytes()).map_err(|e| e.to_string());
        match answer.and_then(|message| side.reconcile(&message).map_err(|e| e.to_string())) {
            Ok(answer) => self.say(json!(["NEG-MSG", name, HEXLOWER.encode(&answer)])).await,
            Err(why) => {
                self.comparisons.remove(name);
                self.say(json!(["NEG-ERR", name, format!("invalid: {}", clip(&why))])).await
            }
        }
    }

    /// Tells of an event that came in, if it is asked for and clients may see it.
    async fn tell(&mut self, event: &Arc<Event>) -> Result<(), Gone> {
        let asks = |filters: &Vec<Filter>| filters.iter().any(|f| f.search.is_none() && matches(f, event));
        let names: Vec<String> =
            self.subscriptions.iter().filter(|(_, filters)| asks(filters)).map(|(name, _)| name.clone()).collect();
        if names.is_empty() {
            return Ok(());
        }
        let (archive, itself) = (self.house.agent.archive.clone(), Filter::new().id(event.id));
        // Not as others' looks are: the server that those go to may not have it yet.
        let seen = timeout(PATIENCE, archive.page(&itself, view(), None, 1)).await;
        if seen.is_ok_and(|page| page.is_ok_and(|page| page.is_empty())) {
            return Ok(());
        }
        for name in names {
            self.say(json!(["EVENT", name, event.as_ref()])).await?;
        }
        Ok(())
    }

    async fn close_all(&mut self, why: &str) -> Result<(), Gone> {
        for name in std::mem::take(&mut self.subscriptions).into_keys() {
            self.say(json!(["CLOSED", name, why])).await?;
        }
        Ok(())
    }
}

impl House {
    /// The newest events that any of the filters asks for, each filter up to its limit.
    async fn stored(&self, filters: &[Filter]) -> Result<Vec<Event>, String> {
        let mut found = BTreeMap::new();
        for filter in filters {
            let limit = filter.limit.unwrap_or(MAX_LIMIT).min(MAX_LIMIT);
            if limit > 0 {
                let page = self.agent.archive.page(filter, view(), None, limit);
                found.extend(
                    looked(page).await?.into_iter().map(|event| ((Reverse(event.created_at), event.id), event)),
                );
            }
        }
        Ok(found.into_values().collect())
    }

    async fn judge(&self, event: &nostr::Event) -> Result<String, String> {
        let others = [Kind::EventDeletion, Kind::ZapReceipt, PING];
        let wanted = brotr_dvm::job_kinds().contains(&event.kind.as_u16()) || others.contains(&event.kind);
        let Some(jobs) = self.jobs.as_ref().filter(|_| wanted) else {
            return Err("restricted: this relay takes job requests (NIP-90) and nothing else".into());
        };
        if event.verify().is_err() {
            return Err("invalid: the id or the signature is wrong".into());
        }
        let taken = timeout(PATIENCE, jobs.take(event)).await.map_err(|_| "error: this takes too long".to_owned())?;
        let failed = |error: anyhow::Error| {
            tracing::warn!(%error, "failed to take a request");
            "error: the archive could not be asked".to_owned()
        };
        match taken.map_err(failed)? {
            Acceptance::Known => Ok("duplicate: it is known".into()),
            Acceptance::Ignored(why) => Err(format!("restricted: {why}")),
            Acceptance::Cancelled | Acceptance::Ping | Acceptance::Paid(_) => Ok(String::new()),
            Acceptance::New => {
                // So that others who read here see what was asked.
                let kept = jobs.publisher.publish_to(event.clone(), &[HERE.to_owned()]).await;
                kept.map_err(failed)?;
                Ok(String::new())
            }
        }
    }

    /// Our side of a comparison.
    async fn open(&self, filter: &Value) -> Result<Negentropy<'static, NegentropyStorageVector>, String> {
        let filter = parse_filter(filter).map_err(|error| format!("invalid: {error}"))?;
        let archive = &self.agent.archive;
        if looked(archive.count(std::slice::from_ref(&filter), view(), &[])).await? > MAX_COMPARED {
            return Err(format!("blocked: too many events, more than {MAX_COMPARED}: ask for less"));
        }
        let failed = |error: negentropy::Error| format!("error: {error}");
        let mut storage = NegentropyStorageVector::new();
        for (id, at) in looked(archive.ids(&filter, view())).await? {
            storage.insert(at.max(0).cast_unsigned(), Id::from_byte_array(id.to_bytes())).map_err(failed)?;
        }
        storage.seal().map_err(failed)?;
        Negentropy::owned(storage, FRAME).map_err(failed)
    }
}

/// What clients see now.
fn view() -> View {
    View::Client { now: now() }
}

/// The filters of a message, each bounded.
fn parse(values: &[Value]) -> Result<Vec<Filter>, String> {
    if values.is_empty() || values.len() > MAX_FILTERS {
        return Err(format!("invalid: give 1 to {MAX_FILTERS} filters"));
    }
    values.iter().map(|value| parse_filter(value).map_err(|error| format!("invalid: {error}"))).collect()
}

/// What the archive gives within the time, or why it does not, in words for the client.
async fn looked<T>(look: impl Future<Output = Result<T, StorageError>>) -> Result<T, String> {
    // The statement has the time; waiting for the turn to run it has it once more.
    match timeout(PATIENCE * 2, within(PATIENCE, look)).await {
        Ok(Ok(found)) => Ok(found),
        Ok(Err(error @ (StorageError::NoSearch | StorageError::NoContents))) => Err(format!("unsupported: {error}")),
        Ok(Err(error @ StorageError::TooLong(_))) => Err(format!("error: {error}")),
        Ok(Err(error)) => {
            tracing::warn!(%error, "failed to answer a client of the relay");
            Err("error: the archive could not be asked".into())
        }
        Err(_) => Err("error: too many ask at once: try again later".into()),
    }
}
