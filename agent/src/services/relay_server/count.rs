//! Counts for clients (NIP-45).

use std::num::NonZeroUsize;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use brotr_core::{Offset, Sketch};
use brotr_storage::EventStore;
use lru::LruCache;
use nostr::Filter;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::{query, view};

/// An answer that took longer than this to find is kept,
const SLOW: Duration = Duration::from_millis(50);
/// and given again for this long.
const KEPT: Duration = Duration::from_secs(60);
/// Answers that are kept,
const MOST: NonZeroUsize = NonZeroUsize::new(1_000).expect("not zero");
/// of filters up to this size, in bytes.
const MAX_FILTERS: usize = 1 << 10;

/// Answers to COUNT that took long to find, for the next client that asks.
#[derive(Debug)]
pub(super) struct Counts {
    kept: Mutex<LruCache<String, Counted>>,
}

#[derive(Debug, Clone)]
struct Counted {
    at: Instant,
    events: u64,
    sketch: Option<Sketch>,
}

impl Default for Counts {
    fn default() -> Self {
        Self { kept: Mutex::new(LruCache::new(MOST)) }
    }
}

impl Counts {
    /// Returns the answer to the filters, as COUNT has it. With the filters that NIP-45 names comes a sketch of the authors.
    ///
    /// # Errors
    /// Why there is no answer, as CLOSED has it.
    pub(super) async fn answer(&self, archive: &dyn EventStore, filters: &[Filter]) -> Result<Value, String> {
        let name = serde_json::to_string(filters).expect("filters always serialize");
        if let Some(counted) = self.kept(&name) {
            return Ok(counted.to_json(true));
        }
        let began = Instant::now();
        let sketched = match filters {
            [filter] => Offset::of(filter).map(|offset| (filter, offset)),
            _ => None,
        };
        let (events, sketch) = match sketched {
            Some((filter, offset)) => {
                let (events, sketch) = query(archive.sketch(filter, view(), offset)).await?;
                (events, Some(sketch))
            }
            None => (query(archive.count(filters, view(), &[])).await?, None),
        };
        let counted = Counted { at: Instant::now(), events, sketch };
        if began.elapsed() > SLOW && name.len() <= MAX_FILTERS {
            self.kept.lock().unwrap_or_else(PoisonError::into_inner).put(name, counted.clone());
        }
        Ok(counted.to_json(false))
    }

    fn kept(&self, name: &str) -> Option<Counted> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.get(name).filter(|counted| counted.at.elapsed() < KEPT).cloned()
    }
}

impl Counted {
    fn to_json(&self, is_kept: bool) -> Value {
        let mut answer = json!({"count": self.events});
        if is_kept {
            answer["approximate"] = true.into();
        }
        if let Some(sketch) = &self.sketch {
            answer["hll"] = sketch.to_string().into();
        }
        answer
    }
}
