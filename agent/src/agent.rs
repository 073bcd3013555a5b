//! What every service is handed: configuration, archive, key and dialer.

use std::path::Path;
use std::sync::Arc;

use anyhow::Result;
use brotr_core::{Guard, RelayUrl};
use brotr_keys::{KeySource, Signer};
use brotr_net::Dialer;
use brotr_storage::{Archive, Lease, Task};
use tokio::sync::Notify;

pub use crate::clock::now;
use crate::config::Config;
use crate::ingest::Ingest;
use crate::outage::Outage;

/// A relay that is down is checked at least once in this many seconds.
pub const LONGEST_WAIT: i64 = 7 * 86_400;

/// The agent's means. A service sees of the archive the stores it names: `Agent<impl Stores>`.
#[derive(Debug)]
pub struct Agent<A: ?Sized = dyn Archive> {
    /// The configuration.
    pub config: Arc<Config>,
    /// The archive.
    pub archive: Arc<A>,
    /// The key.
    pub signer: Signer,
    /// The way out.
    pub dialer: Arc<Dialer>,
    /// The way in for events.
    pub ingest: Ingest,
    /// Told when something was archived that somebody waits for.
    pub archived: Arc<Notify>,
    /// What tells this process from others on the same database.
    pub holder: i64,
    /// Whether relays are silent because our own network is down.
    pub outage: Outage,
}

impl<A: ?Sized> Clone for Agent<A> {
    fn clone(&self) -> Self {
        Self {
            config: self.config.clone(),
            archive: self.archive.clone(),
            signer: self.signer.clone(),
            dialer: self.dialer.clone(),
            ingest: self.ingest.clone(),
            archived: self.archived.clone(),
            holder: self.holder,
            outage: self.outage.clone(),
        }
    }
}

impl Agent {
    /// Opens the archive and the key, making a key where there is none.
    ///
    /// # Errors
    /// When either cannot be opened.
    pub async fn open(config: Config) -> Result<Self> {
        let signer = match load_key(&config)? {
            Some(signer) => signer,
            None => {
                let signer = brotr_keys::write_new(config.key_file(), None)?;
                tracing::info!(file = %config.key_file().display(), npub = signer.npub(), "made a new key");
                signer
            }
        };
        let dialer = dialer(&config, &signer)?;
        let (url, options) = (config.storage_url(), config.archive_options());
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
            archived: Arc::default(),
            holder: fastrand::i64(1..),
            outage: Outage::default(),
        })
    }

    /// Pulls back to `now` what a clock that was ahead dated in the future: coverage, checks and due times.
    ///
    /// # Errors
    /// When the archive cannot be written.
    pub async fn clamp_future(&self, now: i64) -> Result<()> {
        let longest = LONGEST_WAIT.max(self.config.monitor.interval.as_secs());
        let synchronizer = &self.config.synchronizer;
        let intervals = synchronizer.overrides.iter().filter_map(|one| one.interval).chain([synchronizer.interval]);
        let longest = intervals.map(|interval| interval.as_secs()).fold(longest, i64::max);
        // Rests differ by a part of themselves.
        let longest = longest.saturating_add(longest / 4);
        let rows = self.archive.clamp_future(now, longest).await?;
        if rows > 0 {
            tracing::warn!(rows, "coverage, checks and due times that lay in the future were pulled back to now");
        }
        Ok(())
    }

    /// Gives up everything that this process has taken.
    ///
    /// # Errors
    /// When the archive cannot be written.
    pub async fn release_leases(&self) -> Result<()> {
        for task in [Task::Check, Task::Sync] {
            self.archive.release(task, None, self.holder).await?;
        }
        Ok(self.archive.release_leaders(self.holder).await?)
    }
}

impl<A: ?Sized> Agent<A> {
    /// For how long what this process takes is its own, should it die.
    #[must_use]
    pub fn lease(&self) -> Lease {
        Lease { holder: self.holder, seconds: self.config.storage.lease.as_secs() }
    }

    /// The relays that we publish to: those of the list that are addresses.
    #[must_use]
    pub fn own_relays(&self) -> Vec<RelayUrl> {
        addresses(&self.config.identity.relays, self.dialer.guard())
    }

    /// The relays on which jobs are sought: `dvm.relays`, else our own.
    #[must_use]
    pub fn job_relays(&self) -> Vec<RelayUrl> {
        let relays = addresses(&self.config.dvm.relays, self.dialer.guard());
        if relays.is_empty() { self.own_relays() } else { relays }
    }

    /// The directory whose disk the archive fills, where it is on this machine.
    #[must_use]
    pub fn archive_directory(&self) -> Option<&Path> {
        let directory = self.config.sqlite_file()?.parent();
        Some(directory.filter(|directory| !directory.as_os_str().is_empty()).unwrap_or(Path::new(".")))
    }
}

/// A dialer for this configuration.
///
/// # Errors
/// When the contact cannot stand in a header, or the settings of TLS or Tor are wrong.
pub fn dialer(config: &Config, signer: &Signer) -> Result<Arc<Dialer>> {
    let contact = config.network.contact.clone().unwrap_or_else(|| format!("nostr:{}", signer.npub()));
    let guard = Guard::new(config.network.allow.clone());
    let own = config.identity.relays.iter().chain(&config.dvm.relays);
    let own = own.filter_map(|text| Some(RelayUrl::parse(text, &guard).ok()?.as_str().to_owned())).collect();
    Ok(Arc::new(Dialer::new(config.network_settings(), &contact, own)?))
}

/// The key that the configuration names, if it is there.
///
/// # Errors
/// When it is there and cannot be opened.
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
