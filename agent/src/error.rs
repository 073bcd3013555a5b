//! Errors of the agent's setup and services.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use brotr_keys::KeyError;
use brotr_net::SettingsError;
use brotr_net::http::HttpError;
use brotr_storage::StorageError;
use nostr::SignerError;

use crate::config::ConfigError;

/// The result of a step that may fail for a reason of the agent's own.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why the agent could not be set up, or a service ended.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The archive failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The secret key could not be loaded or written.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// An event could not be signed or encrypted.
    #[error("failed to sign an event: {0}")]
    Signer(#[from] SignerError),
    /// A public key of the configuration is invalid.
    #[error("a public key is invalid: {0}")]
    PublicKey(#[from] nostr::key::Error),
    /// The dialer does not accept its settings.
    #[error(transparent)]
    Dialer(#[from] SettingsError),
    /// The configuration is invalid.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A filter of the configuration is invalid.
    #[error(transparent)]
    Filter(#[from] brotr_core::FilterError),
    /// A value could not be written as JSON.
    #[error("failed to write JSON: {0}")]
    Json(#[from] serde_json::Error),
    /// The client of rust-nostr does not accept the URL of a relay.
    #[error("the relay client refused a URL: {0}")]
    Url(#[from] nostr::types::url::Error),
    /// A list or document of relays could not be fetched.
    #[error(transparent)]
    Http(#[from] HttpError),
    /// A list or document of relays is not what it should be.
    #[error("{place} {problem}")]
    List {
        /// Its path or URL.
        place: String,
        /// What is wrong with it.
        problem: String,
    },
    /// A file or directory could not be used.
    #[error("failed to {action} {}: {error}", path.display())]
    File {
        /// What was tried: `read`, `remove`.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's error.
        error: io::Error,
    },
    /// A port could not be bound.
    #[error("failed to listen on {address}: {error}: set {key}.listen to another address, or {key}.enabled to false")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The section of the configuration.
        key: &'static str,
        /// The system's error.
        error: io::Error,
    },
    /// A socket failed.
    #[error("a socket failed: {0}")]
    Socket(#[from] io::Error),
    /// The metrics recorder could not be installed.
    #[error("failed to install the metrics recorder: {0}")]
    Metrics(#[from] metrics_exporter_prometheus::BuildError),
    /// The client of rust-nostr failed.
    #[error("failed to use the relay client: {0}")]
    Client(#[from] nostr_sdk::client::Error),
    /// A task or channel that a service depends on is gone.
    #[error("{0} has ended")]
    Ended(&'static str),
    /// A task was cancelled or panicked.
    #[error("a task failed: {0}")]
    Task(#[from] tokio::task::JoinError),
}

impl Error {
    /// Returns a function that adds what was done with which file to the system's error.
    pub(crate) fn file(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |error| Self::File { action, path, error }
    }
}
