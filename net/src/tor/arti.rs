//! Arti inside this process. It is started when the first onion service is dialed, and its failures do not delay anything else.

use std::fmt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arti_client::config::{CfgPath, TorClientConfigBuilder};
use arti_client::isolation::IsolationHelper;
use arti_client::{BootstrapBehavior, StreamPrefs, TorClient, TorClientConfig};
use futures::StreamExt;
use serde_json::Value;
use tor_rtcompat::PreferredRuntime;

use super::TorStatus;
use crate::settings::SettingsError;
use crate::stream::Stream;
use tokio::time::Instant;

/// Time between two attempts to start arti.
const REST: Duration = Duration::from_secs(60);

/// Time limit of a start. What arti has read of the directory by then is kept for the next attempt.
const START_TIMEOUT: Duration = Duration::from_secs(60);

pub(crate) type Client = TorClient<PreferredRuntime>;

/// Isolates streams: circuits are shared by streams to the same host only.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Host(String);

impl IsolationHelper for Host {
    fn compatible_same_type(&self, other: &Self) -> bool {
        self == other
    }

    fn join_same_type(&self, other: &Self) -> Option<Self> {
        (self == other).then(|| self.clone())
    }
}

/// Connects through Tor.
pub struct Tor {
    config: TorClientConfig,
    client: tokio::sync::Mutex<Option<Arc<Client>>>,
    status: Mutex<TorStatus>,
    failed_at: Mutex<Option<Instant>>,
}

impl fmt::Debug for Tor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tor").field("status", &self.status()).finish_non_exhaustive()
    }
}

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Returns an error with its causes, which are more specific.
fn with_causes(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |error| error.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

impl Tor {
    /// Returns a Tor client that keeps its state under `directory`, with settings of arti as in its configuration file.
    ///
    /// # Errors
    /// Fails if arti rejects the settings.
    pub fn new(directory: &Path, settings: &Value) -> Result<Self, SettingsError> {
        let refused = |error: &dyn fmt::Display| SettingsError::Tor(error.to_string());
        let mut builder: TorClientConfigBuilder =
            serde_json::from_value(settings.clone()).map_err(|error| refused(&error))?;
        let directory = std::path::absolute(directory).map_err(|error| refused(&error))?;
        builder
            .storage()
            .state_dir(CfgPath::new_literal(directory.join("state")))
            .cache_dir(CfgPath::new_literal(directory.join("cache")));
        builder.address_filter().allow_onion_addrs(true);
        let config = builder.build().map_err(|error| refused(&error))?;
        Ok(Self {
            config,
            client: tokio::sync::Mutex::default(),
            status: Mutex::new(TorStatus::Idle),
            failed_at: Mutex::default(),
        })
    }

    /// Returns the state.
    #[must_use]
    pub fn status(&self) -> TorStatus {
        locked(&self.status).clone()
    }

    /// Opens a stream to a host by name: an onion service, or a host of the public internet whose name the exit resolves.
    pub(crate) async fn connect(&self, client: &Client, host: &str, port: u16) -> Result<Box<dyn Stream>, String> {
        let mut prefs = StreamPrefs::new();
        prefs.set_isolation(Host(host.to_owned()));
        let stream = client.connect_with_prefs((host, port), &prefs).await;
        Ok(Box::new(stream.map_err(|error| with_causes(&error))?))
    }

    /// Returns the client, started by the first caller; others wait.
    pub(crate) async fn client(&self) -> Result<Arc<Client>, String> {
        let mut client = self.client.lock().await;
        if let (Some(client), TorStatus::Ready) = (&*client, self.status()) {
            return Ok(client.clone());
        }
        if let TorStatus::Failed(why) = self.status()
            && locked(&self.failed_at).is_some_and(|at| at.elapsed() < REST)
        {
            return Err(format!("Tor could not be started: {why}"));
        }
        match self.start(&mut client).await {
            Ok(client) => {
                tracing::info!("Tor is ready");
                *locked(&self.status) = TorStatus::Ready;
                Ok(client)
            }
            Err(why) => {
                tracing::warn!(error = why, "failed to start Tor: onion services are not reached");
                *locked(&self.status) = TorStatus::Failed(why.clone());
                *locked(&self.failed_at) = Some(Instant::now());
                Err(format!("Tor could not be started: {why}"))
            }
        }
    }

    async fn start(&self, place: &mut Option<Arc<Client>>) -> Result<Arc<Client>, String> {
        // If another one was installed before, that one is used.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = match place {
            Some(client) => client.clone(),
            None => {
                tracing::info!("starting Tor: the first onion service is dialed");
                *locked(&self.status) = TorStatus::Starting(0);
                let builder = TorClient::builder().config(self.config.clone());
                let client = builder
                    .bootstrap_behavior(BootstrapBehavior::Manual)
                    .create_unbootstrapped()
                    .map_err(|error| with_causes(&error))?;
                place.insert(client).clone()
            }
        };
        let mut events = client.bootstrap_events();
        let mut bootstrap = std::pin::pin!(client.bootstrap());
        let mut deadline = std::pin::pin!(tokio::time::sleep(START_TIMEOUT));
        loop {
            tokio::select! {
                () = &mut deadline => {
                    return Err(format!("not ready within {START_TIMEOUT:?}, {}", client.bootstrap_status()));
                }
                ended = &mut bootstrap => {
                    ended.map_err(|error| with_causes(&error))?;
                    return Ok(client.clone());
                }
                Some(event) = events.next() => {
                    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a percentage")]
                    let percent = (event.as_frac() * 100.0) as u8;
                    tracing::info!(percent, "starting Tor: {event}");
                    *locked(&self.status) = TorStatus::Starting(percent);
                }
            }
        }
    }
}
