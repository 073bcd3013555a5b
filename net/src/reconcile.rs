//! Set reconciliation with a relay (NIP-77): finds the differences without sending the events.

use std::collections::HashSet;

use brotr_core::sanitize;
use data_encoding::{HEXLOWER, HEXLOWER_PERMISSIVE};
use negentropy::{Id, Negentropy, NegentropyStorageVector};
use nostr::{EventId, Filter};
use tokio::time::{Duration, Instant, timeout_at};

use crate::message::{RelayMessage, parse};
use crate::page::End;
use crate::session::{NOTICE_TIMEOUT, STEADY, Session};

/// Bytes per message to the relay, before hexadecimal encoding: many relays accept 128 KiB.
const FRAME: u64 = 60_000;
/// Messages per comparison, in each direction.
const ROUNDS: usize = 500;
/// The most ids that one comparison may find missing here; a window with more is split.
const MAX_MISSING: usize = 200_000;
/// A relay that does not answer within this time does not support the protocol.
const SILENCE: Duration = Duration::from_secs(5);

/// The result of a comparison.
#[derive(Debug, Default)]
pub struct Difference {
    /// Events that the relay has and we do not have.
    pub missing: Vec<EventId>,
    /// Events that we have and the relay does not have.
    pub extra: HashSet<EventId>,
    /// Messages sent.
    pub rounds: u64,
}

/// Why there is no result.
#[derive(Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The relay does not support it, or not for us.
    Unwilling(String),
    /// Too many events for one comparison.
    TooLarge,
    /// It began, and broke off.
    Broken(End),
}

impl Session {
    /// Compares our ids and times with what a relay has for a filter. The filter must have no limit, which would select
    /// different sets on each side.
    ///
    /// # Errors
    /// See [`Refusal`].
    pub async fn reconcile(&mut self, filter: &Filter, ours: &[(EventId, i64)]) -> Result<Difference, Refusal> {
        let broken = |what: String| Refusal::Unwilling(sanitize(&what));
        let mut storage = NegentropyStorageVector::with_capacity(ours.len());
        for (id, at) in ours {
            let inserted = storage.insert(at.max(&0).cast_unsigned(), Id::from_byte_array(id.to_bytes()));
            inserted.map_err(|error| broken(error.to_string()))?;
        }
        storage.seal().map_err(|error| broken(error.to_string()))?;
        let mut side = Negentropy::owned(storage, FRAME).map_err(|error| broken(error.to_string()))?;
        let first = side.initiate().map_err(|error| broken(error.to_string()))?;
        self.take_turn().await.map_err(Refusal::Broken)?;
        let result = self.exchange_all(filter, &mut side, &first).await;
        self.end_turn();
        result
    }

    async fn exchange_all(
        &mut self,
        filter: &Filter,
        side: &mut Negentropy<'_, NegentropyStorageVector>,
        first: &[u8],
    ) -> Result<Difference, Refusal> {
        let id = self.name();
        let open = serde_json::json!(["NEG-OPEN", id, filter, HEXLOWER.encode(first)]);
        self.send(&open).await.map_err(Refusal::Broken)?;
        let mut found = Difference { rounds: 1, ..Difference::default() };
        let result = self.exchange(&id, side, &mut found).await;
        if !matches!(result, Err(Refusal::Broken(End::Disconnect(_)))) {
            let _ = self.send(&serde_json::json!(["NEG-CLOSE", id])).await;
        }
        result.map(|()| found)
    }

    async fn exchange(
        &mut self,
        id: &str,
        side: &mut Negentropy<'_, NegentropyStorageVector>,
        found: &mut Difference,
    ) -> Result<(), Refusal> {
        let (mut missing, mut extra) = (Vec::new(), Vec::new());
        let began = Instant::now();
        let stop_at = began + self.idle() * STEADY;
        let mut idle_at = began + SILENCE.min(self.idle());
        let mut notice = None;
        loop {
            let text = match timeout_at(idle_at.min(stop_at), self.recv()).await {
                Ok(Ok(text)) => text,
                Ok(Err(end)) => return Err(Refusal::Broken(end)),
                Err(_) if found.rounds > 1 => return Err(Refusal::Broken(End::Timeout)),
                Err(_) => return Err(Refusal::Unwilling(notice.unwrap_or_else(|| "no answer to NEG-OPEN".to_owned()))),
            };
            let message = match parse(&text) {
                RelayMessage::NegMsg(sub, message) if sub == id => HEXLOWER_PERMISSIVE.decode(message.as_bytes()),
                RelayMessage::NegErr(sub, reason) if sub == id => {
                    return Err(if is_too_large(&reason) { Refusal::TooLarge } else { Refusal::Unwilling(reason) });
                }
                RelayMessage::Closed(sub, reason) if sub == id => return Err(Refusal::Unwilling(reason)),
                RelayMessage::Notice(text) => {
                    if found.rounds == 1 && notice.is_none() {
                        idle_at = idle_at.min(Instant::now() + NOTICE_TIMEOUT);
                    }
                    notice = Some(format!("NOTICE: {}", sanitize(&text)));
                    continue;
                }
                _ => continue,
            };
            let Ok(message) = message else { return Err(Refusal::Unwilling("NEG-MSG is not hexadecimal".into())) };
            let next = side.reconcile_with_ids(&message, &mut extra, &mut missing);
            if missing.len() > MAX_MISSING {
                return Err(Refusal::TooLarge);
            }
            match next.map_err(|error| Refusal::Unwilling(sanitize(&error.to_string())))? {
                None => {
                    let ids = |list: &[Id]| {
                        list.iter().map(|id| EventId::from_byte_array(*id.as_bytes())).collect::<HashSet<_>>()
                    };
                    // A hostile relay may name one id again and again.
                    found.missing = ids(&missing).into_iter().collect();
                    found.extra = ids(&extra);
                    return Ok(());
                }
                Some(_) if found.rounds as usize >= ROUNDS => return Err(Refusal::TooLarge),
                Some(next) => {
                    let message = serde_json::json!(["NEG-MSG", id, HEXLOWER.encode(&next)]);
                    self.send(&message).await.map_err(Refusal::Broken)?;
                    found.rounds += 1;
                    idle_at = Instant::now() + self.idle();
                }
            }
        }
    }
}

/// Returns true if a smaller window may be accepted. `blocked` alone also stands for "not at all".
fn is_too_large(reason: &str) -> bool {
    let reason = reason.to_ascii_lowercase();
    ["too many", "too big", "too large", "max_sync_events"].iter().any(|words| reason.contains(words))
}
