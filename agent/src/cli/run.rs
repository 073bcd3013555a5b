//! `brotr run`

use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::sync::Arc;

use anyhow::{Context, Result};
use sd_notify::NotifyState;
use tokio::signal::unix::{SignalKind, signal};

use super::{Done, Shared, control};
use crate::agent::Agent;
use crate::config::Config;
use crate::daemon::{Daemon, notify};
use crate::inbound;
use crate::services::{http, relay_server};
use crate::supervisor::Supervisor;

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
        true => Some(relay_server::bind(config.relay.listen).await?),
        false => None,
    };
    let agent = tokio::select! {
        opened = Agent::open(config) => opened?,
        _ = terminate.recv() => return Ok(Done::Well),
        _ = interrupt.recv() => return Ok(Done::Well),
    };
    let dashboard = listener.as_ref().and_then(|listener| listener.local_addr().ok());
    greet(&agent, dashboard, relay.as_ref().and_then(|relay| relay.local_addr().ok()));
    let mut supervisor = Supervisor::default();
    let daemon = Daemon::new(agent.clone(), relay.is_some())?;
    let socket = control::bind(&agent.config);
    let listens = socket.is_ok();
    match socket {
        Ok(socket) => {
            let agent = agent.clone();
            supervisor.start("control", move || {
                let (agent, socket) = (agent.clone(), socket.try_clone());
                async move { control::serve(agent, socket?).await }
            });
        }
        Err(error) => tracing::warn!(%error, "no socket: commands that write are refused while this runs on SQLite"),
    }
    if let Some(listener) = listener {
        daemon.start_http(&mut supervisor, listener, metrics);
    }
    if let Some(relay) = relay {
        daemon.start_relay(&mut supervisor, Arc::new(relay));
    }
    daemon.start(&mut supervisor);
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
    if listens {
        control::unbind(&agent.config);
    }
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

/// Logs the key, the directories, the addresses, and what is off and how it is turned on.
fn greet(agent: &Agent, dashboard: Option<SocketAddr>, relay: Option<SocketAddr>) {
    let config = &agent.config;
    tracing::info!(
        npub = agent.signer.npub(),
        data_dir = %config.data_dir.display(),
        archive = agent.archive.backend(),
        "brotr {} is running",
        env!("CARGO_PKG_VERSION")
    );
    if let Some(address) = dashboard {
        tracing::info!("dashboard: http://{address}/, with /healthz and /metrics");
    }
    if let Some(address) = relay {
        tracing::info!("the archive is a relay at ws://{address}");
    }
    let publishes = !agent.own_relays().is_empty();
    let off = [
        (dashboard.is_none(), "dashboard", "http.enabled: true"),
        (relay.is_none(), "serving the archive as a relay", "relay.enabled: true"),
        (!publishes, "publishing what is measured", "identity.relays: [wss://...]"),
        (
            config.dvm.enabled && agent.job_relays().is_empty() && relay.is_none(),
            "answering jobs (NIP-90)",
            "dvm.relays: [wss://...]",
        ),
        (!config.dvm.enabled, "answering jobs (NIP-90)", "dvm.enabled: true"),
        (!config.monitor.enabled, "checking relays", "monitor.enabled: true"),
        (!config.synchronizer.enabled, "archiving events", "synchronizer.enabled: true"),
        (agent.dialer.tor().is_none(), "onion relays", "network.tor.enabled: true, in a build with Tor"),
    ];
    for (_, what, how) in off.iter().filter(|(is_off, ..)| *is_off) {
        tracing::info!("off: {what}; turned on by {how}");
    }
}
