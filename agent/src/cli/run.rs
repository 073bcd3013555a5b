//! `brotr run`

use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use brotr_dvm::Dvm;
use brotr_storage::EventStore;
use metrics_exporter_prometheus::PrometheusHandle;
use sd_notify::NotifyState;
use tokio::signal::unix::{SignalKind, signal};

use super::{Done, Shared};
use crate::agent::Agent;
use crate::config::Config;
use crate::inbound;
use crate::intake::JobIntake;
use crate::outbox::Publisher;
use crate::services::dvm::wallet::Wallet;
use crate::services::publisher::RelayClient;
use crate::services::{backup, dvm as jobs, finder, http, monitor, publisher, relay_server, retention, synchronizer};
use crate::supervisor::Supervisor;
use crate::{clock, initializer};

/// Time limits of disconnecting and of closing the archive.
const CLOSING: Duration = Duration::from_secs(1);

pub(super) async fn main(shared: &Shared) -> Result<Done> {
    inbound::raise_open_files();
    let config = shared.load_daemon()?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hangup = signal(SignalKind::hangup())?;
    let metrics = http::record()?;
    let listener = match config.http.enabled {
        true => Some(http::bind(config.http.listen).await?.into_std()?),
        false => None,
    };
    let relay = match config.relay.enabled {
        true => Some(relay_server::bind(config.relay.listen).await?.into_std()?),
        false => None,
    };
    let agent = tokio::select! {
        opened = Agent::open(config) => opened?,
        _ = terminate.recv() => return Ok(Done::Well),
        _ = interrupt.recv() => return Ok(Done::Well),
    };
    greet(&agent, listener.as_ref(), relay.as_ref());
    let mut supervisor = Supervisor::default();
    let daemon = Daemon::new(agent, relay.is_some())?;
    daemon.start_servers(&mut supervisor, Servers { metrics, listener, relay });
    daemon.start_upkeep(&mut supervisor);
    daemon.start_crawlers(&mut supervisor);
    daemon.start_jobs(&mut supervisor);
    daemon.start_publishing(&mut supervisor);
    notify(NotifyState::Ready);
    let (reason, again) = loop {
        tokio::select! {
            _ = terminate.recv() => break ("SIGTERM", false),
            _ = interrupt.recv() => break ("Ctrl-C", false),
            _ = hangup.recv() => match Config::load(shared.config.as_deref(), shared.data_dir.as_deref()) {
                Ok(_) => break ("SIGHUP", true),
                Err(error) => tracing::error!("{error:#}: the configuration is left as it was"),
            },
        }
    };
    notify(if again { NotifyState::Reloading } else { NotifyState::Stopping });
    tracing::info!(reason, "stopping");
    daemon.stop(supervisor).await;
    if again {
        tracing::info!("starting again with the configuration as it is now");
        // By the name it was started by: a newer binary may have that name now.
        let program = std::env::args_os().next().context("the program does not know its name")?;
        // Returns only if it fails. Every descriptor is closed on exec.
        return Err(std::process::Command::new(program).args(std::env::args_os().skip(1)).exec().into());
    }
    tracing::info!("stopped");
    Ok(Done::Well)
}

/// Sockets that were bound before the archive was opened, and the metrics recorder.
struct Servers {
    metrics: PrometheusHandle,
    listener: Option<TcpListener>,
    relay: Option<TcpListener>,
}

/// What the services of the daemon are made from.
struct Daemon {
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
    fn new(agent: Agent, is_relay: bool) -> Result<Self> {
        let publisher = Publisher::new(&agent);
        let client = RelayClient::new(&agent);
        let wallet = jobs::wallet(&agent)?;
        let dvm = Arc::new(jobs::dvm(&agent, wallet.clone()));
        let intake = JobIntake::new(&agent, &publisher, &dvm);
        let takes_jobs = agent.config.dvm.enabled && (!agent.job_relays().is_empty() || is_relay);
        Ok(Self { agent, publisher, client, wallet, dvm, intake, takes_jobs })
    }

    /// Starts the HTTP server and the relay server.
    fn start_servers(&self, supervisor: &mut Supervisor, servers: Servers) {
        if let Some(listener) = servers.listener {
            let (agent, vitals, metrics) = (self.agent.clone(), supervisor.vitals(), servers.metrics);
            supervisor.start("http", move || {
                let (agent, vitals, metrics, listener) =
                    (agent.clone(), vitals.clone(), metrics.clone(), listener.try_clone());
                async move { http::serve(agent, vitals, metrics, listener?).await }
            });
        }
        if let Some(listener) = servers.relay {
            let jobs = self.takes_jobs.then(|| self.intake.clone());
            let agent = self.agent.with::<dyn EventStore>(self.agent.archive.clone());
            supervisor.start("relay", move || {
                let (agent, jobs, listener) = (agent.clone(), jobs.clone(), listener.try_clone());
                async move { relay_server::serve(agent, jobs, listener?).await }
            });
        }
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
    async fn stop(&self, supervisor: Supervisor) {
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
fn notify(state: NotifyState<'_>) {
    if let Err(error) = sd_notify::notify(&[state]) {
        tracing::debug!(%error, "failed to tell the service manager");
    }
}

/// Feeds the service manager's watchdog as long as the archive answers.
async fn feed_watchdog(agent: Agent, every: Duration) -> crate::error::Result<()> {
    loop {
        match tokio::time::timeout(every, agent.archive.ping()).await {
            Ok(Ok(())) => notify(NotifyState::Watchdog),
            Ok(Err(error)) => tracing::warn!(%error, "the archive does not answer: the watchdog is not fed"),
            Err(_) => tracing::warn!("the archive does not answer in time: the watchdog is not fed"),
        }
        tokio::time::sleep(every).await;
    }
}

/// Logs the key, the directories, the listening addresses and what is off.
fn greet(agent: &Agent, listener: Option<&TcpListener>, relay: Option<&TcpListener>) {
    let config = &agent.config;
    tracing::info!(
        npub = agent.signer.npub(),
        data_dir = %config.data_dir.display(),
        archive = agent.archive.backend(),
        "brotr {} is running",
        env!("CARGO_PKG_VERSION")
    );
    if let Some(address) = listener.and_then(|listener| listener.local_addr().ok()) {
        tracing::info!("health and metrics at http://{address}/healthz and http://{address}/metrics");
    }
    if let Some(address) = relay.and_then(|l| l.local_addr().ok()) {
        tracing::info!("the archive is a relay at ws://{address}");
    }
    if agent.own_relays().is_empty() {
        tracing::info!("nothing is published: name relays in identity.relays to publish what is measured");
    }
    if agent.job_relays().is_empty() && relay.is_none() && config.dvm.enabled {
        tracing::info!("no jobs are sought: name relays in dvm.relays to answer NIP-90 requests");
    }
}
