//! The services of the daemon: which run, what each is given, and how they end.

use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use brotr_dvm::Dvm;
use brotr_net::Listener;
use brotr_storage::EventStore;
use metrics_exporter_prometheus::PrometheusHandle;
use sd_notify::NotifyState;

use crate::agent::Agent;
use crate::error::Result;
use crate::intake::JobIntake;
use crate::outbox::Publisher;
use crate::services::dvm::wallet::Wallet;
use crate::services::publisher::RelayClient;
use crate::services::{
    backup, dvm as jobs, finder, http, monitor, publisher, relay_server, retention, summary, synchronizer,
};
use crate::supervisor::Supervisor;
use crate::{clock, initializer};

/// Time limits of disconnecting and of closing the archive.
const CLOSING: Duration = Duration::from_secs(1);

/// What the services of the daemon are made from.
pub struct Daemon {
    agent: Agent,
    publisher: Publisher,
    client: RelayClient,
    wallet: Option<Arc<Wallet>>,
    dvm: Arc<Dvm>,
    intake: JobIntake,
    /// Whether job requests can arrive.
    takes_jobs: bool,
}

impl Daemon {
    /// Returns the daemon of an agent. `is_relay` tells whether it serves its archive as a relay, which takes jobs too.
    ///
    /// # Errors
    /// Fails if the wallet of `dvm.payment` is invalid.
    pub fn new(agent: Agent, is_relay: bool) -> Result<Self> {
        let publisher = Publisher::new(&agent);
        let client = RelayClient::new(&agent);
        let wallet = jobs::wallet(&agent)?;
        let dvm = Arc::new(jobs::dvm(&agent, wallet.clone()));
        let intake = JobIntake::new(&agent, &publisher, &dvm);
        let takes_jobs = agent.config.dvm.enabled && (!agent.job_relays().is_empty() || is_relay);
        Ok(Self { agent, publisher, client, wallet, dvm, intake, takes_jobs })
    }

    /// Starts the HTTP server. `metrics` renders the metrics of this process.
    pub fn start_http(&self, supervisor: &mut Supervisor, listener: TcpListener, metrics: PrometheusHandle) {
        let (agent, vitals) = (self.agent.clone(), supervisor.vitals());
        supervisor.start("http", move || {
            let (agent, vitals, metrics, listener) =
                (agent.clone(), vitals.clone(), metrics.clone(), listener.try_clone());
            async move { http::serve(agent, vitals, metrics, listener?).await }
        });
    }

    /// Starts the relay server.
    pub fn start_relay(&self, supervisor: &mut Supervisor, listener: Arc<dyn Listener>) {
        let jobs = self.takes_jobs.then(|| self.intake.clone());
        let agent = self.agent.with::<dyn EventStore>(self.agent.archive.clone());
        supervisor.start("relay", move || relay_server::serve(agent.clone(), jobs.clone(), listener.clone()));
    }

    /// Starts all services but the HTTP server and the relay server.
    pub fn start(&self, supervisor: &mut Supervisor) {
        self.start_upkeep(supervisor);
        self.start_crawlers(supervisor);
        self.start_jobs(supervisor);
        self.start_publishing(supervisor);
    }

    /// Starts the services that maintain the archive.
    fn start_upkeep(&self, supervisor: &mut Supervisor) {
        let agent = self.agent.clone();
        supervisor.start("clock", move || {
            let agent = agent.clone();
            clock::watch(move |at| {
                let agent = agent.clone();
                async move { agent.clamp_future(at).await }
            })
        });
        let agent = self.agent.clone();
        supervisor.start("initializer", move || {
            let agent = agent.clone();
            async move {
                initializer::load(&agent).await?;
                // Its work is done; a service that returned would be started again.
                std::future::pending().await
            }
        });
        if self.agent.config.backup.enabled {
            let agent = self.agent.clone();
            supervisor.start("backup", move || backup::run(agent.clone()));
        }
        if self.agent.config.retention.is_on() {
            let agent = self.agent.clone();
            supervisor.start("retention", move || retention::run(agent.clone()));
        }
        if let Some(every) = self.agent.config.log.summary {
            let agent = self.agent.clone();
            supervisor.start("summary", move || summary::run(agent.clone(), every.get()));
        }
        if let Some(timeout) = sd_notify::watchdog_enabled() {
            let agent = self.agent.clone();
            supervisor.start("watchdog", move || feed_watchdog(agent.clone(), timeout / 3));
        }
    }

    /// Starts the finder, the monitor and the synchronizer.
    fn start_crawlers(&self, supervisor: &mut Supervisor) {
        let config = self.agent.config.clone();
        if config.finder.enabled {
            let agent = self.agent.clone();
            supervisor.start("finder", move || finder::run(agent.clone()));
        }
        if config.monitor.enabled {
            let parts = (self.agent.clone(), self.publisher.clone(), supervisor.vitals().pulse("monitor"));
            supervisor.start("monitor", move || {
                let (agent, publisher, pulse) = parts.clone();
                async move { monitor::run(agent, publisher, pulse).await }
            });
        }
        if config.synchronizer.enabled {
            let parts = (self.agent.clone(), supervisor.vitals().pulse("synchronizer"));
            supervisor.start("synchronizer", move || {
                let (agent, pulse) = parts.clone();
                async move { match synchronizer::run(&agent, &pulse).await {} }
            });
        }
        if config.synchronizer.enabled && config.synchronizer.live {
            let agent = self.agent.clone();
            supervisor.start("live", move || synchronizer::live::run(agent.clone()));
        }
    }

    /// Starts the services of the DVM.
    fn start_jobs(&self, supervisor: &mut Supervisor) {
        if !self.takes_jobs {
            return;
        }
        let intake = self.intake.clone();
        supervisor.start("dvm-listener", move || jobs::listen(intake.clone()));
        if let Some(wallet) = self.wallet.clone() {
            let intake = self.intake.clone();
            supervisor.start("dvm-cashier", move || jobs::cashier::run(intake.clone(), wallet.clone()));
        }
        let intake = self.intake.clone();
        supervisor.start("dvm-worker", move || jobs::work(intake.clone()));
        if let Some(every) = self.agent.config.dvm.heartbeat.filter(|_| !self.agent.job_relays().is_empty()) {
            let parts = (self.agent.clone(), self.publisher.clone(), self.dvm.clone(), supervisor.vitals());
            supervisor.start("heartbeat", move || {
                let (agent, publisher, dvm, vitals) = parts.clone();
                let runs = move |name| !vitals.is_paused(name) && matches!(vitals.services().get(name), Some(None));
                let serves = move || runs("dvm-listener") && runs("dvm-worker");
                publisher::beat(agent, publisher, dvm, every.get(), serves)
            });
        }
    }

    /// Starts the services that publish the agent's own events.
    fn start_publishing(&self, supervisor: &mut Supervisor) {
        if !self.takes_jobs && self.publisher.is_silent() {
            return;
        }
        let pulse = supervisor.vitals().pulse("outbox");
        let parts = (self.agent.clone(), self.publisher.clone(), self.client.clone(), pulse);
        supervisor.start("outbox", move || {
            let (agent, publisher, client, pulse) = parts.clone();
            publisher::deliver(agent, publisher, client, pulse)
        });
        let parts = (self.agent.clone(), self.publisher.clone(), self.dvm.clone());
        supervisor.start("announcer", move || {
            let (agent, publisher, dvm) = parts.clone();
            publisher::announce(agent, publisher, dvm, monitor::announcement)
        });
    }

    /// Stops the services, withdraws the announcement of jobs, disconnects, releases leases and closes the archive.
    pub async fn stop(&self, supervisor: Supervisor) {
        let orderly = supervisor.stop().await;
        if self.takes_jobs
            && self.agent.config.dvm.withdraw_on_stop
            && let Err(error) = publisher::withdraw(&self.agent, &self.client, &self.dvm).await
        {
            tracing::warn!(%error, "failed to withdraw the announcement of jobs");
        }
        let _ = tokio::time::timeout(CLOSING, self.client.shutdown()).await;
        if let Some(wallet) = &self.wallet {
            let _ = tokio::time::timeout(CLOSING, wallet.shutdown()).await;
        }
        if !matches!(tokio::time::timeout(CLOSING, self.agent.release_leases()).await, Ok(Ok(()))) {
            tracing::debug!("failed to release leases: they end by themselves");
        }
        let closed = tokio::time::timeout(CLOSING, self.agent.archive.close()).await;
        if !orderly || closed.is_err() {
            tracing::warn!("some work was cut off; what it had not committed is rolled back");
        }
    }
}

/// Notifies the service manager, if there is one.
pub fn notify(state: NotifyState<'_>) {
    if let Err(error) = sd_notify::notify(&[state]) {
        tracing::debug!(%error, "failed to tell the service manager");
    }
}

/// Feeds the service manager's watchdog as long as the archive answers.
async fn feed_watchdog(agent: Agent, every: Duration) -> Result<()> {
    loop {
        match tokio::time::timeout(every, agent.archive.ping()).await {
            Ok(Ok(())) => notify(NotifyState::Watchdog),
            Ok(Err(error)) => tracing::warn!(%error, "the archive does not answer: the watchdog is not fed"),
            Err(_) => tracing::warn!("the archive does not answer in time: the watchdog is not fed"),
        }
        tokio::time::sleep(every).await;
    }
}
