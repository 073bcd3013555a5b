//! Why a connection could not be opened.

use std::borrow::Cow;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use brotr_core::Network;

use crate::lookup::LookupError;
use crate::tls::TlsError;

/// Why a connection could not be opened.
#[derive(Debug, Clone, thiserror::Error)]
pub enum DialError {
    /// The guard refused the address.
    #[error("{host} resolves to {ip}: {reason}")]
    Private {
        /// The host.
        host: String,
        /// What it resolved to.
        ip: IpAddr,
        /// Why that is refused.
        reason: String,
    },
    /// The configuration does not reach the network.
    #[error("{0} relays are not reached: {1}")]
    Unreachable(Network, &'static str),
    /// The name does not resolve.
    #[error("failed to resolve {0}: {1}")]
    Resolve(String, LookupError),
    /// Tor could not be started, or the proxy is not there. This says nothing about the relay.
    #[error("no way into the network: {0}")]
    Way(String),
    /// The connection was refused.
    #[error("failed to connect: {0}")]
    Refused(String),
    /// The connection failed.
    #[error("failed to connect: {1}")]
    Connect(ConnectFailure, String),
    /// The TLS handshake failed.
    #[error("TLS failed: {0}")]
    Tls(TlsError),
    /// The HTTP response was not an upgrade to WebSocket.
    #[error("the upgrade was answered with HTTP {0}")]
    Upgrade(u16),
    /// The upgrade failed otherwise.
    #[error("the upgrade failed: {0}")]
    Handshake(String),
    /// The timeout passed.
    #[error("no connection within {0:?}")]
    Timeout(Duration),
    /// The agent's own limit on connections is reached.
    #[error(
        "no connection to {0} was free: too many are open to its host or in all (network.max_connections), or being opened to its neighbours"
    )]
    Busy(String),
}

impl DialError {
    /// Returns whether the failure is the agent's own and says nothing about the relay.
    #[must_use]
    pub fn is_ours(&self) -> bool {
        matches!(self, Self::Way(_) | Self::Busy(_))
    }

    /// Returns true if nothing beyond this machine answered: no name server, or there was no route. Either the agent's own
    /// network is away, or the relay's part of the internet.
    #[must_use]
    pub fn is_local(&self) -> bool {
        matches!(self, Self::Resolve(_, LookupError::NoAnswer) | Self::Connect(ConnectFailure::NoRoute, _))
    }

    /// Returns true if this machine cannot reach addresses of this kind, which says nothing about the others of a host.
    pub(crate) fn is_of_the_kind(&self) -> bool {
        matches!(self, Self::Connect(ConnectFailure::NoRoute | ConnectFailure::NoIpv6, _))
    }

    /// Returns a code for the failure, for statistics.
    #[must_use]
    pub fn code(&self) -> Cow<'static, str> {
        Cow::Borrowed(match self {
            Self::Private { .. } => "private_address",
            Self::Unreachable(..) => "network_off",
            Self::Resolve(_, error) => error.code(),
            Self::Way(_) => "network_unavailable",
            Self::Refused(_) => "connection_refused",
            Self::Connect(ConnectFailure::NoRoute | ConnectFailure::NoIpv6, _) => "no_route",
            Self::Connect(ConnectFailure::Reset, _) => "connection_reset",
            Self::Connect(ConnectFailure::Other, _) => "connection_failed",
            Self::Tls(error) => error.code(),
            Self::Upgrade(status) => return Cow::Owned(format!("http_{status}")),
            Self::Handshake(_) => "handshake_failed",
            Self::Timeout(_) => "timeout_connect",
            Self::Busy(_) => "busy",
        })
    }

    /// Classifies a failed `connect`. Lack of file descriptors, ports or buffers is not a fault of the relay.
    pub(crate) fn of_connect(to: SocketAddr, error: &std::io::Error) -> Self {
        use rustix::io::Errno;
        const OURS: [Errno; 4] = [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::ADDRNOTAVAIL];
        match error.raw_os_error().map(Errno::from_raw_os_error) {
            Some(Errno::NETUNREACH | Errno::NETDOWN | Errno::ADDRNOTAVAIL) if to.is_ipv6() => {
                Self::Connect(ConnectFailure::NoIpv6, format!("{to}: {error}"))
            }
            Some(errno) if OURS.contains(&errno) => {
                Self::Way(format!("this machine cannot open a connection: {error}"))
            }
            Some(Errno::CONNREFUSED) => Self::Refused(format!("{to}: {error}")),
            Some(Errno::NETUNREACH | Errno::NETDOWN) => {
                Self::Connect(ConnectFailure::NoRoute, format!("{to}: {error}"))
            }
            Some(Errno::CONNRESET) => Self::Connect(ConnectFailure::Reset, format!("{to}: {error}")),
            _ => Self::Connect(ConnectFailure::Other, format!("{to}: {error}")),
        }
    }
}

/// How a connection failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConnectFailure {
    /// This machine has no route to an IPv4 address.
    NoRoute,
    /// This machine has no route to an IPv6 address: many have none to any.
    NoIpv6,
    /// The other side reset it.
    Reset,
    /// Otherwise.
    Other,
}
