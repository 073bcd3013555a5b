//! A subscription that stays open: events as a relay receives them.

use std::time::Duration;

use brotr_core::RawEvent;
use futures::StreamExt;
use nostr::Filter;
use tokio::time::{Instant, timeout_at};
use tokio_tungstenite::tungstenite::Message;

use crate::message::{RelayMessage, parse};
use crate::page::{End, Verdict};
use crate::session::{SMALL, Session};

/// Events that arrive within this time of the first are returned together,
const GATHERED: Duration = Duration::from_millis(100);
/// at most this many.
const MOST: usize = 200;
/// A relay that has been silent for this long is pinged.
const QUIET: Duration = Duration::from_secs(60);
/// Consecutive messages that were not requested, after which the subscription is ended.
const NONSENSE: usize = 1_000;

/// An open subscription. Dropping it disconnects.
pub struct Live {
    session: Session,
    id: String,
    filters: Vec<Filter>,
    nonsense: usize,
    /// How it ended, once earlier events were returned.
    end: Option<End>,
}

/// What was received together.
#[derive(Debug, Default)]
pub struct Received {
    /// Events that match the filters; not yet verified.
    pub events: Vec<RawEvent>,
    /// EVENT messages, including invalid ones.
    pub transferred: usize,
}

impl Session {
    /// Subscribes to events that arrive from now on.
    ///
    /// # Errors
    /// Fails if the relay cannot be sent to.
    pub async fn follow(mut self, filters: Vec<Filter>) -> Result<Live, End> {
        let id = self.name();
        self.subscribe(&id, &filters).await?;
        Ok(Live { session: self, id, filters, nonsense: 0, end: None })
    }

    async fn subscribe(&mut self, id: &str, filters: &[Filter]) -> Result<(), End> {
        // The newest stored event comes along: without a limit all of them would, and a limit by date would exclude events that
        // reach the relay long after they were signed.
        let asked = filters.iter().map(|filter| serde_json::json!(filter.clone().limit(1)));
        let message = [serde_json::json!("REQ"), serde_json::json!(id)].into_iter().chain(asked).collect();
        self.send(&serde_json::Value::Array(message)).await
    }
}

impl Live {
    /// Returns the relay's challenge (NIP-42), if it has sent one.
    #[must_use]
    pub fn challenge(&self) -> Option<&str> {
        self.session.challenge()
    }

    /// Authenticates (NIP-42), and subscribes again if the relay accepts it; returns whether it does.
    ///
    /// # Errors
    /// Fails if the relay cannot be sent to.
    pub async fn authenticate(&mut self, event: &nostr::Event) -> Result<bool, End> {
        if self.session.authenticate(event).await != Verdict::Accepted {
            return Ok(false);
        }
        self.id = self.session.name();
        self.session.subscribe(&self.id, &self.filters).await?;
        Ok(true)
    }

    /// Waits for events; those that arrive shortly after the first are returned with it. Dropping the future loses the events
    /// gathered so far, so callers must let it finish.
    ///
    /// # Errors
    /// How the subscription ended.
    pub async fn next(&mut self) -> Result<Received, End> {
        if let Some(end) = self.end.take() {
            return Err(end);
        }
        let mut received = Received::default();
        let mut until = Instant::now() + QUIET;
        let (mut asked, mut bytes) = (false, 0);
        loop {
            let text = match timeout_at(until, self.session.connection.socket.next()).await {
                Ok(Some(Ok(Message::Text(text)))) => Some(text),
                Ok(Some(Ok(Message::Close(_))) | None) => {
                    return self.ended(received, End::Disconnect("closed by the relay".into()));
                }
                Ok(Some(Ok(_))) => None,
                Ok(Some(Err(error))) => return self.ended(received, End::Disconnect(error.to_string())),
                Err(_) if received.transferred > 0 => return Ok(received),
                Err(_) if asked => return Err(End::Timeout),
                Err(_) => {
                    asked = true;
                    self.session.send_message(Message::Ping(self.id.clone().into())).await?;
                    until = Instant::now() + self.session.idle();
                    continue;
                }
            };
            if received.transferred == 0 {
                (until, asked) = (Instant::now() + QUIET, false);
            }
            let Some(text) = text else { continue };
            self.session.count_received(text.len());
            bytes += text.len() as u64;
            self.nonsense += 1;
            match parse(&text) {
                RelayMessage::Event(sub, json) if sub == self.id => {
                    if received.transferred == 0 {
                        until = Instant::now() + GATHERED;
                    }
                    received.transferred += 1;
                    let event = RawEvent::from_json(json.get()).ok();
                    if let Some(event) = event.filter(|event| self.filters.iter().any(|f| event.matches(f) == Ok(true)))
                    {
                        self.nonsense = 0;
                        received.events.push(event);
                    }
                }
                RelayMessage::Closed(sub, reason) if sub == self.id => {
                    return self.ended(received, End::Closed(reason));
                }
                RelayMessage::Eose(..) => self.nonsense = 0,
                RelayMessage::Auth(challenge) => self.session.set_challenge(&challenge),
                _ => {}
            }
            if received.transferred >= MOST || (received.transferred > 0 && bytes >= SMALL) {
                return Ok(received);
            }
            if self.nonsense >= NONSENSE {
                return self.ended(received, End::Overflow);
            }
        }
    }

    /// Returns events that arrived before the end, if any, and reports the end with the next call.
    fn ended(&mut self, received: Received, end: End) -> Result<Received, End> {
        if received.events.is_empty() {
            return Err(end);
        }
        self.end = Some(end);
        Ok(received)
    }
}
