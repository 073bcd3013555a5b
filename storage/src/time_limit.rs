//! The time limit of client queries. A longer query is cancelled in the database, not only abandoned.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::StorageError;

tokio::task_local! {
    static TIME_LIMIT: Duration;
}

/// Runs queries, each statement for at most `limit`; a longer one fails with
/// [`StorageError::TooLong`](crate::StorageError::TooLong). Spawned tasks are not limited.
pub async fn with_time_limit<F: Future>(limit: Duration, queries: F) -> F::Output {
    TIME_LIMIT.scope(limit, queries).await
}

/// Returns the current time limit of statements, if there is one.
pub(crate) fn time_limit() -> Option<Duration> {
    TIME_LIMIT.try_with(|limit| *limit).ok()
}

/// Waits for a permit among client queries, for as long as the query itself may take.
pub(crate) async fn place(places: &Arc<Semaphore>, limit: Duration) -> Result<OwnedSemaphorePermit, StorageError> {
    let place = tokio::time::timeout(limit, places.clone().acquire_owned()).await;
    place.map_err(|_| StorageError::TooLong(limit))?.map_err(|_| StorageError::Closed)
}
