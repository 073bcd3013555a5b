//! Events that clients send: job requests (NIP-90) and related events.

use brotr_core::{Event, sanitize};
use brotr_dvm::{Acceptance, PING};
use nostr::Kind;
use serde_json::{Value, json};
use tokio::time::timeout;

use super::{QUERY_TIMEOUT, Server};
use crate::error::Error;
use crate::outbox::HERE;

/// Handles an event and returns the message for the client.
pub(super) async fn submit(server: &Server, value: Option<&Value>) -> Value {
    let value = value.unwrap_or(&Value::Null);
    let event = Event::from_json(&value.to_string()).and_then(|event| nostr::Event::try_from(&event));
    let event = match event {
        Ok(event) => event,
        // An invalid event can be refused by the id that it claims, if it claims one.
        Err(error) => {
            let why = format!("invalid: {}", sanitize(&error.to_string()));
            return match value["id"].as_str().filter(|id| id.len() == 64) {
                Some(id) => json!(["OK", id, false, why]),
                None => json!(["NOTICE", why]),
            };
        }
    };
    let (accepted, why) = match judge(server, &event).await {
        Ok(why) => (true, why),
        Err(why) => (false, why),
    };
    json!(["OK", event.id, accepted, why])
}

async fn judge(server: &Server, event: &nostr::Event) -> Result<String, String> {
    let others = [Kind::EventDeletion, Kind::ZapReceipt, PING];
    let wanted = brotr_dvm::job_kinds().contains(&event.kind.as_u16()) || others.contains(&event.kind);
    let Some(jobs) = server.jobs.as_ref().filter(|_| wanted) else {
        return Err("restricted: this relay takes job requests (NIP-90) and nothing else".into());
    };
    if event.tags.iter().any(|tag| tag.as_slice().first().is_some_and(|name| name == "-")) {
        return Err(
            "blocked: protected events (NIP-70) are taken from their authors only, and this relay has no AUTH".into()
        );
    }
    if event.is_expired() {
        return Err("invalid: expired".into());
    }
    if event.verify().is_err() {
        return Err("invalid: the id or the signature is wrong".into());
    }
    let taken =
        timeout(QUERY_TIMEOUT, jobs.take(event)).await.map_err(|_| "error: timed out: try again later".to_owned())?;
    let failed = |error: Error| {
        tracing::warn!(%error, "failed to take a request");
        "error: the archive could not be asked".to_owned()
    };
    match taken.map_err(failed)? {
        Acceptance::Known => Ok("duplicate: it is known".into()),
        Acceptance::Ignored(why) => Err(format!("restricted: {why}")),
        Acceptance::Cancelled | Acceptance::Ping | Acceptance::Paid(_) => Ok(String::new()),
        Acceptance::New => {
            // So that other clients can read what was requested.
            let kept = jobs.publisher.publish_to(event.clone(), &[HERE.to_owned()]).await;
            kept.map_err(failed)?;
            Ok(String::new())
        }
    }
}
