//! The time limit of queries that a stranger asked for. A longer query is cancelled in the database,
//! not only left alone there.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::StorageError;

tokio::task_local! {
    static TIME_LIMIT: Duration;
}

/// Runs queries, each statement for at most `limit`; a longer one ends with
/// [`StorageError::TooLong`](crate::StorageError::TooLong). What is spawned from it is not bound by that.
pub async fn with_time_limit<F: Future>(limit: Duration, queries: F) -> F::Output {
    TIME_LIMIT.scope(limit, queries).await
}

/// Returns the time limit of statements here, if there is one.
pub(crate) fn time_limit() -> Option<Duration> {
    TIME_LIMIT.try_with(|limit| *limit).ok()
}

/// Waits for a place among the queries of strangers, for as long as the query itself may take.
pub(crate) async fn place(places: &Arc<Semaphore>, limit: Duration) -> Result<OwnedSemaphorePermit, StorageError> {
    let place = tokio::time::timeout(limit, places.clone().acquire_owned()).await;
    place.map_err(|_| StorageError::TooLong(limit))?.map_err(|_| StorageError::Closed)
}
