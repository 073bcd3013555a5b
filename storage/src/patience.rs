//! Waiting for a database that cannot be written or reached for now: a full disk, a server that is started again.

use std::time::Duration;

use crate::StorageError;

const FIRST: Duration = Duration::from_millis(200);
const LONGEST: Duration = Duration::from_secs(10);

/// How long something has been waited for.
#[derive(Debug)]
pub(crate) struct Patience {
    doing: &'static str,
    pause: Duration,
}

impl Patience {
    pub(crate) fn with(doing: &'static str) -> Self {
        Self { doing, pause: FIRST }
    }

    /// Waits, longer each time, if trying again may help; gives the error back if it will not.
    pub(crate) async fn wait(&mut self, error: StorageError) -> Result<(), StorageError> {
        if !error.is_passing() {
            return Err(error);
        }
        tracing::warn!(%error, "failed to {}: trying again in {:?}, and nothing is lost", self.doing, self.pause);
        tokio::time::sleep(self.pause).await;
        self.pause = (self.pause * 2).min(LONGEST);
        Ok(())
    }
}
