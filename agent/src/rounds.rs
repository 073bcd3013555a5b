//! Work that comes due relay by relay: several at a time, none twice at once.

use std::collections::HashSet;
use std::future::Future;
use std::time::Duration;

use anyhow::Result;
use brotr_storage::{Relay, StorageError};
use tokio::task::JoinSet;

/// How often to look for what is due while there is room for more.
const TICK: Duration = Duration::from_secs(1);

/// For ever: looks for relays that are due and works on up to `concurrency` of them at a time.
///
/// `due` is asked for at most as many relays as it is told. A relay that is in work may be among them; it is passed over.
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
    loop {
        if busy.len() < concurrency {
            let asked = i64::try_from(concurrency * 2).unwrap_or(i64::MAX);
            for relay in due(asked).await? {
                if busy.len() < concurrency && busy.insert(relay.url.clone()) {
                    let url = relay.url.clone();
                    let work = work(relay);
                    working.spawn(async move { (url, work.await) });
                }
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
