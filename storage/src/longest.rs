//! How long a look into the archive may take, where somebody else asked for it. What takes longer is ended in the database,
//! not only left alone there.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::StorageError;

tokio::task_local! {
    static LONGEST: Duration;
}

/// Runs what looks into an archive, each of its statements for at most so long; a longer one ends with
/// [`StorageError::TooLong`](crate::StorageError::TooLong). What is spawned from it is not bound by that.
pub async fn within<F: Future>(longest: Duration, look: F) -> F::Output {
    LONGEST.scope(longest, look).await
}

/// How long a statement may take here, if that is bounded.
pub(crate) fn longest() -> Option<Duration> {
    LONGEST.try_with(|longest| *longest).ok()
}

/// Waits for a place among those who ask for others, for as long as the look itself may take.
pub(crate) async fn place(places: &Arc<Semaphore>, longest: Duration) -> Result<OwnedSemaphorePermit, StorageError> {
    let place = tokio::time::timeout(longest, places.clone().acquire_owned()).await;
    place.map_err(|_| StorageError::TooLong(longest))?.map_err(|_| StorageError::Closed)
}
