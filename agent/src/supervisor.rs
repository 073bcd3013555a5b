//! Starts, watches, restarts and stops services. Nothing else in the daemon spawns a task that outlives its caller.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use crate::error::Result;
use futures::FutureExt;
use futures::future::BoxFuture;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::pulse::Pulse;
use crate::telemetry::{ServiceFailed, ServiceStarted, Telemetry};

/// The first backoff of a failed service, doubled each time
const FIRST_WAIT: Duration = Duration::from_secs(1);
/// up to this.
const LAST_WAIT: Duration = Duration::from_secs(300);
/// A service that ran for this long starts from the first backoff again.
const SETTLED: Duration = Duration::from_secs(600);
/// How long services have to end.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(8);

/// The state of the services, for `/healthz`, and whether each is paused.
#[derive(Debug, Clone, Default)]
pub struct Vitals {
    services: Arc<RwLock<BTreeMap<&'static str, Option<String>>>>,
    pulses: Arc<Mutex<BTreeMap<&'static str, Pulse>>>,
    paused: Arc<watch::Sender<BTreeSet<&'static str>>>,
}

impl Vitals {
    fn set(&self, service: &'static str, trouble: Option<String>) {
        self.services.write().expect("no holder panics").insert(service, trouble);
    }

    /// Pauses or resumes a service; returns false if there is none of that name.
    #[must_use]
    pub fn pause(&self, service: &str, paused: bool) -> bool {
        let Some((name, _)) = self.services().into_iter().find(|(name, _)| *name == service) else { return false };
        self.paused.send_modify(|all| {
            if paused {
                all.insert(name);
            } else {
                all.remove(name);
            }
        });
        true
    }

    /// Returns true if a service is paused.
    #[must_use]
    pub fn is_paused(&self, service: &str) -> bool {
        self.paused.borrow().contains(service)
    }

    /// Waits until a service is paused, or is not.
    async fn until(&self, service: &'static str, paused: bool) {
        let mut all = self.paused.subscribe();
        let _ = all.wait_for(|all| all.contains(service) == paused).await;
    }

    /// Returns the pulse of a service, which it reports its work to.
    #[must_use]
    pub fn pulse(&self, service: &'static str) -> Pulse {
        self.pulses.lock().unwrap_or_else(PoisonError::into_inner).entry(service).or_default().clone()
    }

    /// Returns services that have work in progress and finish none of it, with how long that has been so.
    #[must_use]
    pub fn stalled(&self) -> BTreeMap<&'static str, Duration> {
        let pulses = self.pulses.lock().unwrap_or_else(PoisonError::into_inner);
        let idle = pulses.iter().filter_map(|(service, pulse)| Some((*service, pulse.stalled()?)));
        idle.filter(|(service, _)| !self.is_paused(service)).collect()
    }

    /// Returns each service with its error, if it has one.
    #[must_use]
    pub fn services(&self) -> BTreeMap<&'static str, Option<String>> {
        self.services.read().expect("no holder panics").clone()
    }
}

/// The services of one daemon.
#[derive(Debug, Default)]
pub struct Supervisor {
    stop: CancellationToken,
    vitals: Vitals,
    services: JoinSet<()>,
}

impl Supervisor {
    /// Returns the state of the services.
    #[must_use]
    pub fn vitals(&self) -> Vitals {
        self.vitals.clone()
    }

    /// Runs a service until the supervisor stops. A service that returns, fails or panics is restarted.
    ///
    /// It is stopped by dropping its future at an await point: what it committed stays, and an open transaction is rolled back.
    pub fn start<F, R>(&mut self, name: &'static str, service: F)
    where
        F: Fn() -> R + Send + 'static,
        R: Future<Output = Result<()>> + Send + 'static,
    {
        let (stop, vitals) = (self.stop.clone(), self.vitals.clone());
        vitals.set(name, None);
        let run = move || -> BoxFuture<'static, Result<()>> { Box::pin(service()) };
        self.services.spawn(async move {
            let _ = stop.clone().run_until_cancelled(keep_running(name, run, vitals)).await;
        });
    }

    /// Stops all services; returns false if some did not end in time and were aborted.
    pub async fn stop(mut self) -> bool {
        self.stop.cancel();
        let all = async { while self.services.join_next().await.is_some() {} };
        let ended = tokio::time::timeout(SHUTDOWN_TIMEOUT, all).await.is_ok();
        self.services.abort_all();
        ended
    }
}

async fn keep_running(name: &'static str, run: impl Fn() -> BoxFuture<'static, Result<()>>, vitals: Vitals) {
    let mut wait = FIRST_WAIT;
    loop {
        vitals.until(name, false).await;
        ServiceStarted { service: name }.emit();
        let began = Instant::now();
        let ended = tokio::select! {
            ended = std::panic::AssertUnwindSafe(run()).catch_unwind() => ended,
            () = vitals.until(name, true) => {
                tracing::info!(service = name, "service paused");
                continue;
            }
        };
        let error = match ended {
            Ok(Ok(())) => "it ended by itself".to_owned(),
            Ok(Err(error)) => error.to_string(),
            Err(panic) => format!("it panicked: {}", words(panic.as_ref())),
        };
        if began.elapsed() > SETTLED {
            wait = FIRST_WAIT;
        }
        ServiceFailed { service: name, error: &error, restart_in: wait.as_secs() }.emit();
        vitals.set(name, Some(error));
        tokio::time::sleep(wait).await;
        wait = (wait * 2).min(LAST_WAIT);
        vitals.set(name, None);
    }
}

fn words(panic: &(dyn std::any::Any + Send)) -> &str {
    panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("?")
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[tokio::test]
    async fn a_service_that_dies_is_restarted_and_reported() {
        let mut supervisor = Supervisor::default();
        let vitals = supervisor.vitals();
        let starts = Arc::new(AtomicUsize::new(0));
        let counter = starts.clone();
        supervisor.start("mortal", move || {
            let n = counter.fetch_add(1, Ordering::Relaxed);
            async move {
                match n {
                    0 => Err(crate::error::Error::Ended("the first life")),
                    1 => panic!("the second"),
                    2 => Ok(()),
                    _ => std::future::pending().await,
                }
            }
        });
        // Each state lasts until the next start, a second or more later.
        for wanted in
            [Some("the first life has ended"), Some("it panicked: the second"), Some("it ended by itself"), None]
        {
            let reached = async {
                while vitals.services()["mortal"].as_deref() != wanted {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            };
            tokio::time::timeout(Duration::from_secs(60), reached).await.unwrap_or_else(|_| panic!("never {wanted:?}"));
        }
        while starts.load(Ordering::Relaxed) < 4 {
            tokio::task::yield_now().await;
        }
        assert_eq!(vitals.services()["mortal"], None, "it runs on");
        assert!(supervisor.stop().await);
    }
}
