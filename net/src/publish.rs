//! Sending an event, and seeing whether the relay takes it.

use std::time::Duration;

use brotr_core::{RawEvent, sanitize};
use nostr::Filter;
use tokio::time::{Instant, timeout_at};

use crate::message::{RelayMessage, parse};
use crate::page::{End, Verdict};
use crate::session::Session;

impl Session {
    /// Sends an event and waits up to `timeout` for its OK, or for the event itself on a subscription opened for it: some
    /// relays forward events and never send OK. Returns the time since sending as well.
    pub async fn publish_watched(&mut self, event: &nostr::Event, timeout: Duration) -> (Verdict, Duration) {
        if let Err(end) = self.take_turn().await {
            return (Verdict::Unanswered(end), Duration::ZERO);
        }
        let (id, sub) = (event.id.to_hex(), self.name());
        let itself = Filter::new().author(event.pubkey).kind(event.kind).limit(1);
        let mut subscribed = true;
        let mut sent: Option<Instant> = None;
        let mut until = Instant::now() + timeout;
        let mut asked = self.send(&serde_json::json!(["REQ", sub, itself])).await;
        let verdict = loop {
            if let Err(end) = asked {
                break Verdict::Unanswered(end);
            }
            // The event is sent once the subscription stands, was refused, or got no answer.
            let mut answered = false;
            match timeout_at(until, self.recv()).await {
                Ok(Err(end)) => break Verdict::Unanswered(end),
                Err(_) if sent.is_some() => break Verdict::Unanswered(End::Timeout),
                Err(_) => answered = true,
                Ok(Ok(text)) => match parse(&text) {
                    RelayMessage::Event(of, json) if of == sub => {
                        let came = RawEvent::from_json(json.get()).and_then(|came| came.parse());
                        if came.is_ok_and(|came| came == brotr_core::Event::from(event)) {
                            break Verdict::Accepted;
                        }
                    }
                    RelayMessage::Ok(about, accepted, reason) if about == id => {
                        break if accepted { Verdict::Accepted } else { Verdict::Refused(sanitize(&reason)) };
                    }
                    RelayMessage::Eose(of, _) if of == sub => answered = true,
                    RelayMessage::Closed(of, _) if of == sub => (answered, subscribed) = (true, false),
                    _ => {}
                },
            }
            if answered && sent.is_none() {
                let now = Instant::now();
                (sent, until) = (Some(now), now + timeout);
                asked = self.send(&serde_json::json!(["EVENT", event])).await;
            }
        };
        let took = sent.map(|at| at.elapsed()).unwrap_or_default();
        if subscribed && !matches!(verdict, Verdict::Unanswered(End::Disconnect(_))) {
            let _ = self.send(&serde_json::json!(["CLOSE", sub])).await;
        }
        self.end_turn();
        (verdict, took)
    }
}
