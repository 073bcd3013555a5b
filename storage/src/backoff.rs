//! Backoff while a database cannot be written or reached: a full disk, a server that restarts, a lost deadlock.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::StorageError;
use crate::time_limit::time_limit;

const FIRST: Duration = Duration::from_millis(200);
const LONGEST: Duration = Duration::from_secs(10);

/// Waits between tries, longer each time.
#[derive(Debug)]
pub(crate) struct Backoff {
    call: &'static str,
    doing: &'static str,
    pause: Duration,
}

impl Backoff {
    /// Creates the backoff of a store call; `doing` completes the log line "failed to ...".
    pub(crate) fn new(call: &'static str, doing: &'static str) -> Self {
        Self { call, doing, pause: FIRST }
    }

    /// Waits if a retry may help; returns the error if it will not.
    pub(crate) async fn wait(&mut self, error: StorageError) -> Result<(), StorageError> {
        if !error.is_passing() {
            return Err(error);
        }
        StoreWaits { call: self.call, doing: self.doing, pause: self.pause, error: &error }.emit();
        tokio::time::sleep(self.pause).await;
        self.pause = (self.pause * 2).min(LONGEST);
        Ok(())
    }
}

/// The most tries of a store call,
const TRIES: u32 = 7;
/// none of which begins later than this after the first.
const LAST_TRY: Duration = Duration::from_secs(10);
/// The first backoff, doubled each time.
const BACKOFF: Duration = Duration::from_millis(50);

/// Whether a call may be repeated when it is unknown whether its first transaction was committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Repeat {
    /// Always: the call is idempotent.
    Always,
    /// Only if it was certainly rolled back: the result depends on who comes first.
    RolledBack,
}

/// Makes a store call, and repeats it after transient errors, with backoff. Tries are bounded in number and time.
pub(crate) async fn retry<T, F>(
    call: &'static str,
    repeat: Repeat,
    mut attempt: impl FnMut() -> F,
) -> Result<T, StorageError>
where
    F: Future<Output = Result<T, StorageError>>,
{
    let last = Instant::now() + time_limit().unwrap_or(LAST_TRY).min(LAST_TRY);
    let mut tries = 0;
    loop {
        let error = match attempt().await {
            Ok(done) => return Ok(done),
            Err(error) => error,
        };
        let worth = match &error {
            // The call has waited long for a connection already.
            StorageError::Statement(sqlx::Error::PoolTimedOut) => false,
            StorageError::Uncertain(_) => repeat == Repeat::Always,
            error => error.is_passing(),
        };
        tries += 1;
        let pause = BACKOFF * 2_u32.pow(tries - 1);
        if !worth || tries == TRIES || Instant::now() + pause > last {
            return Err(error);
        }
        StoreRetried { call, tries, error: &error }.emit();
        tokio::time::sleep(pause).await;
    }
}

/// A store call failed with a transient error, and is made again.
#[derive(Debug)]
struct StoreRetried<'a> {
    /// The method.
    call: &'static str,
    /// Tries so far.
    tries: u32,
    error: &'a StorageError,
}

impl StoreRetried<'_> {
    fn emit(self) {
        let Self { call, tries, error } = self;
        tracing::debug!(call, tries, %error, "retrying a store call");
        metrics::counter!("brotr_store_retries_total", "call" => call).increment(1);
    }
}

/// Lines about waiting are at least this far apart: many batches may wait for one database.
const LOGGED_EVERY: Duration = Duration::from_secs(1);
/// When the last one was written.
static LOGGED_AT: Mutex<Option<Instant>> = Mutex::new(None);

/// A store call waits for the database or the disk.
#[derive(Debug)]
struct StoreWaits<'a> {
    /// The method.
    call: &'static str,
    doing: &'static str,
    pause: Duration,
    error: &'a StorageError,
}

impl StoreWaits<'_> {
    fn emit(self) {
        let Self { call, doing, pause, error } = self;
        let is_due = {
            let mut logged_at = LOGGED_AT.lock().unwrap_or_else(PoisonError::into_inner);
            let is_due = logged_at.is_none_or(|at| at.elapsed() >= LOGGED_EVERY);
            if is_due {
                *logged_at = Some(Instant::now());
            }
            is_due
        };
        if is_due {
            tracing::warn!(%error, "failed to {doing}: retrying in {pause:?}");
        }
        metrics::counter!("brotr_store_retries_total", "call" => call).increment(1);
    }
}

#[cfg(test)]
mod tests {
    use metrics_exporter_prometheus::PrometheusBuilder;

    use super::*;

    fn failed(code: i32) -> StorageError {
        rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(code), None).into()
    }

    #[test]
    fn transient_errors_are_retried_and_counted_and_others_are_not() {
        let recorder = PrometheusBuilder::new().build_recorder();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
        let mut tries = 0;
        let mut call = |name: &'static str, code: i32| {
            tries = 0;
            let retried = retry(name, Repeat::Always, || {
                tries += 1;
                std::future::ready(if tries < 3 { Err(failed(code)) } else { Ok(()) })
            });
            let result = metrics::with_local_recorder(&recorder, || runtime.block_on(retried));
            (result.is_ok(), tries)
        };
        assert_eq!(call("busy", rusqlite::ffi::SQLITE_BUSY), (true, 3));
        assert_eq!(call("damaged", rusqlite::ffi::SQLITE_CORRUPT), (false, 1));
        metrics::with_local_recorder(&recorder, || {
            let mut backoff = Backoff::new("known", "look for known events");
            runtime.block_on(backoff.wait(failed(rusqlite::ffi::SQLITE_FULL))).expect("worth a retry");
            runtime.block_on(backoff.wait(failed(rusqlite::ffi::SQLITE_CORRUPT))).expect_err("not worth one");
        });
        let page = recorder.handle().render();
        let mut counted: Vec<_> = page.lines().filter(|line| line.starts_with("brotr_store_retries_total")).collect();
        counted.sort_unstable();
        let wanted = [r#"brotr_store_retries_total{call="busy"} 2"#, r#"brotr_store_retries_total{call="known"} 1"#];
        assert_eq!(counted, wanted);
    }
}
