//! The agent in a simulation: its configuration, and its life from start to stop or kill.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use brotr::agent::Agent;
use brotr::config::Config;
use brotr::daemon::Daemon;
use brotr::supervisor::Supervisor;
use brotr_storage::Archive;

use crate::world::{World, fault};

/// Seconds between two checks of a relay.
pub(crate) const CHECKED_EVERY: i64 = 3_600;
/// Seconds between two passes over a relay.
pub(crate) const SYNCHRONIZED_EVERY: i64 = 1_200;
/// Relays checked, and relays synchronized, at a time: few, so that some wait for others.
const AT_ONCE: usize = 4;

/// The agent while it runs.
pub(crate) struct Life {
    pub(crate) archive: Arc<dyn Archive>,
    daemon: Daemon,
    pub(crate) supervisor: Supervisor,
}

impl Life {
    pub(crate) async fn begin(directory: &Path, world: &Arc<World>) -> Self {
        let config = Config::load(Some(&directory.join("brotr.yaml")), None).expect("a configuration");
        // The tasks of a killed agent may not be dropped yet, and one of them holds the archive's lock.
        let mut tries = 0;
        let agent = loop {
            match Agent::open_simulated(config.clone(), world.clone(), fault).await {
                Ok(agent) => break agent,
                Err(error) if tries == 100 => panic!("the agent does not start: {error}"),
                Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
            }
            tries += 1;
        };
        let archive = agent.archive.clone();
        let daemon = Daemon::new(agent, true).expect("a daemon");
        let mut supervisor = Supervisor::default();
        daemon.start_relay(&mut supervisor, world.inbound.listen());
        daemon.start(&mut supervisor);
        Self { archive, daemon, supervisor }
    }

    pub(crate) async fn end(self, orderly: bool) {
        if orderly {
            self.daemon.stop(self.supervisor).await;
        }
    }
}

/// Returns how many relays are in the list that the agent begins with. Events name the others.
pub(crate) fn known(relays: usize) -> usize {
    relays - relays / 4
}

pub(crate) fn write_config(directory: &Path, world: &World) {
    let relays = &world.relays[..known(world.relays.len())];
    let seeds: Vec<&str> = relays
        .iter()
        .flat_map(|relay| [Some(&relay.url), relay.alias.as_ref()])
        .flatten()
        .map(String::as_str)
        .collect();
    std::fs::write(directory.join("seeds.txt"), seeds.join("\n")).expect("written");
    let config = format!(
        "version: 1\n\
         data_dir: {0}\n\
         storage: {{min_free: 1 MiB}}\n\
         identity: {{relays: [\"{1}\"]}}\n\
         network: {{tor: {{enabled: false}}}}\n\
         initializer: {{seeds: [{0}/seeds.txt]}}\n\
         finder: {{interval: 1h}}\n\
         monitor: {{interval: {CHECKED_EVERY}s, concurrency: {AT_ONCE}, checks: [open, read, write, nip11, dns], withdraw_after: 6h}}\n\
         synchronizer: {{interval: {SYNCHRONIZED_EVERY}s, recheck: 1day, concurrency: {AT_ONCE}, live_relays: 8, auth: true}}\n\
         relay: {{enabled: true}}\n\
         http: {{enabled: false}}\n",
        directory.display(),
        world.relays[0].url,
    );
    std::fs::write(directory.join("brotr.yaml"), config).expect("written");
}
