//! Settings: what may be dialed, how much of it at once, and how each network is reached.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use brotr_core::Network;
use ipnet::IpNet;

/// The settings of a [`Dialer`](crate::Dialer).
#[derive(Debug, Clone)]
pub struct Settings {
    /// Ranges outside the public internet that may be dialed.
    pub allow: Vec<IpNet>,
    /// Concurrent connections, over all networks.
    pub max_connections: usize,
    /// New connections per minute.
    pub dials_per_minute: u32,
    /// The largest message accepted from a relay, in bytes.
    pub max_message: usize,
    /// Name servers; the system's if empty.
    pub nameservers: Vec<SocketAddr>,
    /// A file with certificates (PEM) of additional trusted authorities.
    pub ca_file: Option<PathBuf>,
    /// The public internet.
    pub clearnet: Direct,
    /// Onion services.
    pub tor: TorSettings,
    /// I2P.
    pub i2p: Proxied,
    /// Lokinet.
    pub loki: Proxied,
}

/// The limits of one network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Time limit of everything up to an open WebSocket.
    pub connect_timeout: Duration,
    /// A relay that sends nothing in reply for this long has timed out.
    pub request_timeout: Duration,
    /// Concurrent connections.
    pub max_connections: usize,
}

/// The public internet, reached directly.
#[derive(Debug, Clone, Copy)]
pub struct Direct {
    /// Whether it is used.
    pub enabled: bool,
    /// Its limits.
    pub limits: Limits,
}

/// Onion services, reached through arti inside this process.
#[derive(Debug, Clone)]
pub struct TorSettings {
    /// Where arti keeps its state; Tor is not used if not set.
    pub directory: Option<PathBuf>,
    /// Whether the public internet is reached through Tor as well. Then no name is resolved locally.
    pub clearnet: bool,
    /// Settings of arti, as in its configuration file.
    pub arti: serde_json::Value,
    /// Its limits.
    pub limits: Limits,
}

/// A network that is reached through a SOCKS5 proxy.
#[derive(Debug, Clone, Copy)]
pub struct Proxied {
    /// Whether it is used.
    pub enabled: bool,
    /// The proxy; without one the network is not reached.
    pub socks: Option<SocketAddr>,
    /// Its limits.
    pub limits: Limits,
}

impl Settings {
    /// Returns the limits of one network.
    #[must_use]
    pub fn limits(&self, network: Network) -> Limits {
        match network {
            // Connections through Tor have Tor's timeouts.
            Network::Clearnet if self.tor.clearnet => {
                Limits { max_connections: self.clearnet.limits.max_connections, ..self.tor.limits }
            }
            Network::Clearnet => self.clearnet.limits,
            Network::Tor => self.tor.limits,
            Network::I2p => self.i2p.limits,
            Network::Loki => self.loki.limits,
        }
    }

    /// Returns why relays of a network are not reached; `None` if they are.
    #[must_use]
    pub fn unreached(&self, network: Network) -> Option<&'static str> {
        let tor = self.tor.directory.is_some();
        Some(match network {
            Network::Clearnet if !self.clearnet.enabled => "network.clearnet.enabled is false",
            Network::Clearnet if self.tor.clearnet && !tor => {
                "network.tor.clearnet is true and network.tor.enabled is not"
            }
            Network::Tor if !tor => "network.tor.enabled is false",
            Network::I2p if self.i2p.socks.is_none() => "network.i2p.socks names no proxy",
            Network::I2p if !self.i2p.enabled => "network.i2p.enabled is false",
            Network::Loki if self.loki.socks.is_none() => "network.loki.socks names no proxy",
            Network::Loki if !self.loki.enabled => "network.loki.enabled is false",
            _ => return None,
        })
    }
}

/// Why a [`Dialer`](crate::Dialer) could not be made from its settings.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// The contact cannot be sent in an HTTP header.
    #[error("network.contact: {0:?} cannot stand in an HTTP header")]
    Contact(String),
    /// The file of authorities cannot be read.
    #[error("network.ca_file: failed to read certificates from {}: {detail}", file.display())]
    Authorities {
        /// The file.
        file: PathBuf,
        /// What is wrong.
        detail: String,
    },
    /// The TLS library rejected its settings.
    #[error("failed to set up TLS: {0}")]
    Tls(String),
    /// The resolver rejected its settings.
    #[error("network.nameservers: failed to set up the resolver: {0}")]
    Resolver(String),
    /// Arti rejected its settings.
    #[error("network.tor.settings: arti refused them: {0}")]
    Tor(String),
}
