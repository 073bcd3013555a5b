//! Comparisons of a client's events with those of the archive (NIP-77).

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use brotr_core::sanitize;
use brotr_storage::EventStore;
use data_encoding::{HEXLOWER, HEXLOWER_PERMISSIVE};
use negentropy::{Id, Negentropy, NegentropyStorageVector};
use nostr::Filter;
use serde_json::Value;
use tokio::time::Instant;

use super::budget::{Account, Held, Use};
use super::{parse, query, view};

/// Comparisons per client.
const MAX_OPEN: usize = 4;
/// Events per comparison.
const MAX_EVENTS: u64 = 200_000;
/// Bytes per message to the client.
const FRAME: u64 = 60_000;
/// A comparison that is not continued within this time is closed.
const IDLE: Duration = Duration::from_secs(60);
/// Size of an event in memory while ids are read, and after, in bytes.
const READING: usize = 96;
const KEPT: usize = 48;

/// The comparisons of one client, by name.
#[derive(Default)]
pub(super) struct Comparisons(HashMap<String, Comparison>);

struct Comparison {
    side: Negentropy<'static, NegentropyStorageVector>,
    idle_at: Instant,
    _held: Held,
}

impl Comparisons {
    /// Opens a comparison, replacing one of the same name, and returns the answer to its first message. The filter is one
    /// object; a list of filters, as NDK sends it, stands for the union.
    ///
    /// # Errors
    /// A message for the client.
    pub(super) async fn open(
        &mut self,
        name: &str,
        args: &[Value],
        archive: &dyn EventStore,
        account: &Arc<Account>,
    ) -> Result<String, String> {
        self.0.remove(name);
        if self.0.len() >= MAX_OPEN {
            return Err(format!("blocked: at most {MAX_OPEN} comparisons at a time"));
        }
        let filters: Vec<Value> = match args.first() {
            Some(Value::Array(filters)) => filters.clone(),
            _ => args.iter().take_while(|arg| arg.is_object()).cloned().collect(),
        };
        let filters = parse(&filters)?;
        let message = args.last().and_then(Value::as_str).ok_or("invalid: no message")?;
        let (side, held) = prepare(&filters, archive, account).await?;
        self.0.insert(name.to_owned(), Comparison { side, idle_at: Instant::now() + IDLE, _held: held });
        self.reply(name, message)
    }

    /// Returns the answer to a message. A comparison that fails is closed.
    ///
    /// # Errors
    /// A message for the client.
    pub(super) fn reply(&mut self, name: &str, message: &str) -> Result<String, String> {
        let comparison = self.0.get_mut(name).ok_or("closed: no such comparison")?;
        comparison.idle_at = Instant::now() + IDLE;
        let message = HEXLOWER_PERMISSIVE.decode(message.as_bytes()).map_err(|error| error.to_string());
        let answer = message.and_then(|message| comparison.side.reconcile(&message).map_err(|error| error.to_string()));
        answer.map(|answer| HEXLOWER.encode(&answer)).map_err(|error| {
            self.0.remove(name);
            format!("invalid: {}", sanitize(&error))
        })
    }

    pub(super) fn close(&mut self, name: &str) {
        self.0.remove(name);
    }

    /// Returns when the first of them will be idle for too long.
    pub(super) fn idle_at(&self) -> Option<Instant> {
        self.0.values().map(|comparison| comparison.idle_at).min()
    }

    /// Closes those that are idle for too long, and returns their names.
    pub(super) fn expire(&mut self) -> Vec<String> {
        let now = Instant::now();
        self.0.extract_if(|_, comparison| comparison.idle_at <= now).map(|(name, _)| name).collect()
    }
}

/// Returns our side of a comparison, and its memory.
async fn prepare(
    filters: &[Filter],
    archive: &dyn EventStore,
    account: &Arc<Account>,
) -> Result<(Negentropy<'static, NegentropyStorageVector>, Held), String> {
    // Filters may overlap: at most the sum is read.
    let mut most = 0;
    for filter in filters {
        most += query(archive.count(std::slice::from_ref(filter), view(), &[])).await?;
    }
    if most > MAX_EVENTS {
        return Err(format!("blocked: too many events, more than {MAX_EVENTS}: ask for less"));
    }
    let bytes = |events: usize, each: usize| events * each + (4 << 10);
    let reading = bytes(usize::try_from(most).unwrap_or(usize::MAX), READING);
    let short = "blocked: too many comparisons at a time: try again later, or ask for less";
    let mut held = account.try_hold(reading, Use::Standing).ok_or(short)?;
    let mut ids = Vec::new();
    for filter in filters {
        ids.extend(query(archive.ids(filter, view())).await?);
    }
    ids.sort_unstable_by_key(|(id, at)| (*at, *id));
    ids.dedup();
    let failed = |error: negentropy::Error| format!("error: {error}");
    let mut storage = NegentropyStorageVector::with_capacity(ids.len());
    for (id, at) in &ids {
        storage.insert(at.max(&0).cast_unsigned(), Id::from_byte_array(id.to_bytes())).map_err(failed)?;
    }
    storage.seal().map_err(failed)?;
    held.try_resize(bytes(ids.len(), KEPT));
    Ok((Negentropy::owned(storage, FRAME).map_err(failed)?, held))
}
