//! Tells readers when events may have been stored.

use std::time::Duration;

use tokio::sync::watch;

/// How often readers look for the events of other processes.
#[cfg(feature = "backends")]
const POLL: Duration = Duration::from_millis(200);

/// Waits for events that are stored.
#[derive(Debug)]
pub struct NewEvents {
    stored: watch::Receiver<()>,
    /// `None` if no other process stores events.
    poll: Option<Duration>,
}

impl NewEvents {
    /// Waits until events were stored since the last call. Where other processes store events too, it also returns after 200 ms:
    /// their commits are not announced.
    pub async fn wait(&mut self) {
        let changed = async {
            if self.stored.changed().await.is_err() {
                // The archive is closed.
                std::future::pending::<()>().await;
            }
        };
        match self.poll {
            None => changed.await,
            Some(poll) => drop(tokio::time::timeout(poll, changed).await),
        }
    }
}

/// Announces events that were stored to all [`NewEvents`] of an archive.
#[cfg(feature = "backends")]
#[derive(Debug, Default)]
pub(crate) struct Announcer(watch::Sender<()>);

#[cfg(feature = "backends")]
impl Announcer {
    pub(crate) fn announce(&self) {
        self.0.send_replace(());
    }

    /// Returns a receiver for an archive to which only this process writes, or others too.
    pub(crate) fn listen(&self, is_shared: bool) -> NewEvents {
        NewEvents { stored: self.0.subscribe(), poll: is_shared.then_some(POLL) }
    }
}
