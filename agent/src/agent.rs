//! What every service is given: configuration, archive, key and dialer.

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;

use crate::error::Result;
use brotr_core::{Guard, RelayUrl};
use brotr_keys::{KeySource, Signer};
use brotr_net::{Dialer, Internet, Settings};
use brotr_storage::{Archive, FaultInjector, Lease, Task};

pub use crate::clock::now;
use crate::config::Config;
use crate::ingest::Ingest;
use crate::outage::Outage;
use crate::robots::RobotsCache;

/// The longest interval between two checks of a relay that is down, in seconds.
pub const LONGEST_WAIT: i64 = 7 * 86_400;

/// The agent's shared resources. A service sees only the stores that it names: `Agent<impl Stores>`.
#[derive(Debug)]
pub struct Agent<A: ?Sized = dyn Archive> {
    /// The configuration.
    pub config: Arc<Config>,
    /// The archive.
    pub archive: Arc<A>,
    /// The key.
    pub signer: Signer,
    /// Opens connections to relays.
    pub dialer: Arc<Dialer>,
    /// Verifies events before they are stored.
    pub ingest: Ingest,
    /// Identifies this process among others on the same database.
    pub holder: i64,
    /// Tells an outage of our own network from relays that are down.
    pub outage: Outage,
    /// What relays' hosts say to crawlers.
    pub robots: RobotsCache,
}

impl<A: ?Sized> Clone for Agent<A> {
    fn clone(&self) -> Self {
        self.with(self.archive.clone())
    }
}

impl Agent {
    /// Opens the archive and the key, creating a key if there is none.
    ///
    /// # Errors
    /// Fails if either cannot be opened.
    pub async fn open(config: Config) -> Result<Self> {
        let options = config.archive_options();
        Self::open_with(config, options, dialer).await
    }

    /// Opens an agent in a simulation: with another internet, a clock that is paused, and failures of the database.
    ///
    /// # Errors
    /// As [`Agent::open`].
    pub async fn open_simulated(config: Config, internet: Arc<dyn Internet>, faults: FaultInjector) -> Result<Self> {
        let options =
            brotr_storage::Options { paused_clock: true, fault_injector: Some(faults), ..config.archive_options() };
        Self::open_with(config, options, |config, signer| {
            let (settings, contact, own) = dialer_parts(config, signer);
            Ok(Arc::new(Dialer::over(internet, settings, &contact, own)?))
        })
        .await
    }

    async fn open_with(
        config: Config,
        options: brotr_storage::Options,
        dialer: impl FnOnce(&Config, &Signer) -> Result<Arc<Dialer>>,
    ) -> Result<Self> {
        let signer = match load_key(&config)? {
            Some(signer) => signer,
            None => {
                let signer = brotr_keys::write_new(config.key_file(), None)?;
                tracing::info!(file = %config.key_file().display(), npub = signer.npub(), "made a new key");
                signer
            }
        };
        let dialer = dialer(&config, &signer)?;
        let url = config.storage_url();
        let archive = match &config.storage.read_url {
            Some(read_url) => brotr_storage::open_with_replica(url, read_url, options).await?,
            None => brotr_storage::open(url, options).await?,
        };
        archive.register_agent(&signer.public_key(), crate::clock::now()).await?;
        let ingest = Ingest::new(archive.clone());
        Ok(Self {
            config: Arc::new(config),
            archive,
            signer,
            dialer,
            ingest,
            holder: fastrand::i64(1..),
            outage: Outage::default(),
            robots: RobotsCache::default(),
        })
    }

    /// Moves timestamps of coverage, checks and due times that lie after `now` back to `now`: a clock that was ahead wrote
    /// them.
    ///
    /// # Errors
    /// Fails if the archive cannot be written.
    pub async fn clamp_future(&self, now: i64) -> Result<()> {
        let longest = LONGEST_WAIT.max(self.config.monitor.interval.as_secs());
        let synchronizer = &self.config.synchronizer;
        let intervals = synchronizer.overrides.iter().filter_map(|one| one.interval).chain([synchronizer.interval]);
        let longest = intervals.map(|interval| interval.as_secs()).fold(longest, i64::max);
        // A margin for the jitter of intervals.
        let longest = longest.saturating_add(longest / 4);
        let rows = self.archive.clamp_future(now, longest).await?;
        if rows > 0 {
            tracing::warn!(rows, "coverage, checks and due times that lay in the future were pulled back to now");
        }
        Ok(())
    }

    /// Releases every lease of this process.
    ///
    /// # Errors
    /// Fails if the archive cannot be written.
    pub async fn release_leases(&self) -> Result<()> {
        for task in [Task::Check, Task::Sync] {
            self.archive.release(task, None, self.holder).await?;
        }
        Ok(self.archive.release_leaders(self.holder).await?)
    }
}

impl<A: ?Sized> Agent<A> {
    /// Returns this agent with other stores: those of its archive that a service needs.
    #[must_use]
    pub fn with<B: ?Sized>(&self, archive: Arc<B>) -> Agent<B> {
        Agent {
            config: self.config.clone(),
            archive,
            signer: self.signer.clone(),
            dialer: self.dialer.clone(),
            ingest: self.ingest.clone(),
            holder: self.holder,
            outage: self.outage.clone(),
            robots: self.robots.clone(),
        }
    }

    /// Returns a new lease of this process, which ends after `storage.lease` if the process dies.
    #[must_use]
    pub fn lease(&self) -> Lease {
        Lease { holder: self.holder, seconds: self.config.storage.lease.as_secs() }
    }

    /// Returns the relays that the agent publishes to: the valid URLs of `identity.relays`.
    #[must_use]
    pub fn own_relays(&self) -> Vec<RelayUrl> {
        addresses(&self.config.identity.relays, self.dialer.guard())
    }

    /// Returns the relays on which jobs are requested: `dvm.relays`, or [`Agent::own_relays`] if there are none.
    #[must_use]
    pub fn job_relays(&self) -> Vec<RelayUrl> {
        let relays = addresses(&self.config.dvm.relays, self.dialer.guard());
        if relays.is_empty() { self.own_relays() } else { relays }
    }

    /// Returns the directory of the embedded database; `None` for a server.
    #[must_use]
    pub fn archive_directory(&self) -> Option<&Path> {
        let directory = self.config.sqlite_file()?.parent();
        Some(directory.filter(|directory| !directory.as_os_str().is_empty()).unwrap_or(Path::new(".")))
    }
}

/// Returns a dialer for this configuration.
///
/// # Errors
/// Fails if the contact cannot be sent in a header, or if the settings of TLS or Tor are invalid.
pub fn dialer(config: &Config, signer: &Signer) -> Result<Arc<Dialer>> {
    let (settings, contact, own) = dialer_parts(config, signer);
    Ok(Arc::new(Dialer::new(settings, &contact, own)?))
}

/// Returns the settings of the dialer, the contact that it sends, and the URLs of the operator's own relays.
fn dialer_parts(config: &Config, signer: &Signer) -> (Settings, String, HashSet<String>) {
    let contact = config.network.contact.clone().unwrap_or_else(|| format!("nostr:{}", signer.npub()));
    let guard = Guard::new(config.network.allow.clone());
    let own = config.identity.relays.iter().chain(&config.dvm.relays);
    let own = own.filter_map(|text| Some(RelayUrl::parse(text, &guard).ok()?.as_str().to_owned())).collect();
    (config.network_settings(), contact, own)
}

/// Returns the key that the configuration names, if it exists.
///
/// # Errors
/// Fails if the key exists and cannot be opened.
pub fn load_key(config: &Config) -> Result<Option<Signer>> {
    let identity = &config.identity;
    let source = KeySource {
        secret: identity.secret.as_ref().map(|secret| secret.0.clone()),
        file: config.key_file().to_owned(),
        passphrase: identity.passphrase.as_ref().map(|secret| secret.0.clone()),
    };
    Ok(brotr_keys::load(&source)?)
}

fn addresses(list: &[String], guard: &Guard) -> Vec<RelayUrl> {
    list.iter()
        .filter_map(|text| match RelayUrl::parse(text, guard) {
            Ok(address) => Some(address),
            Err(error) => {
                tracing::warn!(relay = text, %error, "left out a configured relay");
                None
            }
        })
        .collect()
}
