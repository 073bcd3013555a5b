//! Work that comes due relay by relay: several at a time, none twice at once.

use std::collections::{HashSet, VecDeque};
use std::future::Future;
use std::time::{Duration, Instant};

use anyhow::Result;
use brotr_storage::{Relay, StorageError};
use tokio::task::JoinSet;

/// How often to look for what is due while there is room for more.
const TICK: Duration = Duration::from_secs(1);
/// So many times as many relays as are worked on are asked for at once: each look sorts all that are due, and what one agent has taken
/// another one cannot begin.
const AHEAD: usize = 2;

/// For ever: looks for relays that are due and works on up to `concurrency` of them at a time.
///
/// `due` gives at most as many relays as it is told, and may give one that is in work: that one is passed over.
///
/// # Errors
/// When the archive cannot be asked, or work fails in a way that is not the relay's.
pub async fn rounds<D, W>(concurrency: usize, due: impl Fn(i64) -> D, work: impl Fn(Relay) -> W) -> Result<()>
where
    D: Future<Output = Result<Vec<Relay>, StorageError>>,
    W: Future<Output = Result<()>> + Send + 'static,
{
    let mut working: JoinSet<(String, Result<()>)> = JoinSet::new();
    let mut busy = HashSet::new();
    let mut waiting = VecDeque::new();
    let mut looked_at: Option<Instant> = None;
    loop {
        if waiting.is_empty() && busy.len() < concurrency && looked_at.is_none_or(|at| at.elapsed() >= TICK) {
            let asked = i64::try_from(concurrency * AHEAD).unwrap_or(i64::MAX);
            // Somebody else may have brought one forward that is in work.
            waiting.extend(due(asked).await?.into_iter().filter(|relay| !busy.contains(&relay.url)));
            // Where there was as much as was asked for there is more, and no reason to wait before asking again.
            looked_at = (waiting.len() * 2 < concurrency * AHEAD).then(Instant::now);
        }
        while busy.len() < concurrency
            && let Some(relay) = waiting.pop_front()
        {
            let url = relay.url.clone();
            if busy.insert(url.clone()) {
                let work = work(relay);
                working.spawn(async move { (url, work.await) });
            }
        }
        let ended = tokio::time::timeout(TICK, working.join_next());
        if let Ok(Some(ended)) = ended.await {
            let (url, result) = ended?;
            busy.remove(&url);
            result?;
        } else if working.is_empty() {
            tokio::time::sleep(TICK).await;
        }
    }
}
