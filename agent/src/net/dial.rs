//! Dialing: permits, one look-up, the guard, and a WebSocket to the very address that was checked.

use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::{Duration, Instant};

use brotr_storage::Network;
use dashmap::DashMap;
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::{HeaderValue, header};
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{self};

use super::guard::Private;
use super::{Address, Guard};
use crate::config;

/// Connections to one host at a time, whatever it is called for.
const PER_HOST: usize = 4;
/// Addresses of one host that are tried before giving up.
const TRIES: usize = 3;

/// Answers of more than a few hundred kilobytes that are in memory at a time.
const LARGE: usize = 6;

/// A stream under a WebSocket.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// An open WebSocket with the permits it holds.
pub struct Connection {
    /// The socket.
    pub socket: WebSocketStream<Box<dyn Stream>>,
    /// From the first packet to the end of the upgrade.
    pub opened_in: Duration,
    /// Given back when the connection is dropped.
    pub permits: Permits,
}

/// Why there is no connection.
#[derive(Debug, Clone, thiserror::Error)]
pub enum DialError {
    /// The guard refused what the name stands for.
    #[error("{host} resolves to {ip}: {reason}")]
    Private {
        /// The host.
        host: String,
        /// What it resolved to.
        ip: IpAddr,
        /// Why that is refused.
        reason: String,
    },
    /// The configuration, or this build, does not reach the network.
    #[error("{0} relays are not reached: {1}")]
    Unreachable(Network, &'static str),
    /// The name does not resolve.
    #[error("failed to resolve {0}: {1}")]
    Resolve(String, String),
    /// No TCP connection.
    #[error("failed to connect: {0}")]
    Connect(String),
    /// No TLS session.
    #[error("TLS failed: {0}")]
    Tls(String),
    /// The HTTP answer was no upgrade to WebSocket.
    #[error("the upgrade was answered with HTTP {0}")]
    Upgrade(u16),
    /// The upgrade failed otherwise.
    #[error("the upgrade failed: {0}")]
    Handshake(String),
    /// It took too long.
    #[error("no connection within {0:?}")]
    Timeout(Duration),
}

/// Dials relays within the limits of the configuration.
pub struct Dialer {
    guard: Guard,
    limits: config::Network,
    tls: Arc<rustls::ClientConfig>,
    user_agent: HeaderValue,
    all: Arc<Semaphore>,
    clearnet: Arc<Semaphore>,
    hosts: Arc<DashMap<String, Arc<Semaphore>>>,
    rate: DefaultDirectRateLimiter,
    large: Arc<Semaphore>,
}

impl std::fmt::Debug for Dialer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Dialer").field("guard", &self.guard).finish_non_exhaustive()
    }
}

/// The right to one connection.
pub struct Permits {
    host: String,
    hosts: Arc<DashMap<String, Arc<Semaphore>>>,
    _held: [OwnedSemaphorePermit; 3],
}

impl Drop for Permits {
    fn drop(&mut self) {
        // The permit itself goes after this, so the host's last holder finds two owners: the map and the permit.
        self.hosts.remove_if(&self.host, |_, semaphore| Arc::strong_count(semaphore) <= 2);
    }
}

impl Dialer {
    /// A dialer with these limits; `contact` tells operators whom they see.
    ///
    /// # Errors
    /// When `contact` cannot stand in an HTTP header.
    pub fn new(limits: &config::Network, contact: &str) -> anyhow::Result<Self> {
        let roots = rustls::RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tls = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let agent = format!("brotr/{} ({contact})", env!("CARGO_PKG_VERSION"));
        let quota = Quota::per_minute(NonZeroU32::new(limits.dials_per_minute).unwrap_or(NonZeroU32::MIN));
        Ok(Self {
            guard: Guard::new(limits.allow.clone()),
            all: Arc::new(Semaphore::new(limits.max_connections)),
            clearnet: Arc::new(Semaphore::new(limits.clearnet.max_connections)),
            limits: limits.clone(),
            tls: Arc::new(tls),
            user_agent: HeaderValue::from_str(&agent)?,
            hosts: Arc::default(),
            rate: RateLimiter::direct(quota),
            large: Arc::new(Semaphore::new(LARGE)),
        })
    }

    /// The guard that every address passes.
    #[must_use]
    pub fn guard(&self) -> &Guard {
        &self.guard
    }

    /// The limits in force.
    #[must_use]
    pub fn limits(&self) -> &config::Network {
        &self.limits
    }

    pub(super) fn tls(&self) -> &rustls::ClientConfig {
        &self.tls
    }

    pub(super) fn user_agent(&self) -> &HeaderValue {
        &self.user_agent
    }

    /// The networks that the configuration and this build reach.
    #[must_use]
    pub fn networks(&self) -> Vec<Network> {
        if self.limits.clearnet.enabled { vec![Network::Clearnet] } else { Vec::new() }
    }

    /// The right to have a large answer in memory.
    pub(super) fn large(&self) -> Arc<Semaphore> {
        self.large.clone()
    }

    /// Waits for the right to connect to a host.
    pub async fn permit(&self, host: &str) -> Permits {
        let semaphore = self.hosts.entry(host.to_owned()).or_insert_with(|| Arc::new(Semaphore::new(PER_HOST))).clone();
        let closed = "the semaphores are never closed";
        // The host first, so that waiting for a busy one holds nothing that others need.
        let held = [
            semaphore.acquire_owned().await.expect(closed),
            self.clearnet.clone().acquire_owned().await.expect(closed),
            self.all.clone().acquire_owned().await.expect(closed),
        ];
        self.rate.until_ready().await;
        Permits { host: host.to_owned(), hosts: self.hosts.clone(), _held: held }
    }

    /// Opens a WebSocket to a relay. Waiting for permits is not counted against the connect timeout.
    ///
    /// # Errors
    /// See [`DialError`].
    pub async fn dial(&self, address: &Address) -> Result<Connection, DialError> {
        match address.network() {
            Network::Clearnet if self.limits.clearnet.enabled => {}
            Network::Clearnet => {
                return Err(DialError::Unreachable(Network::Clearnet, "network.clearnet.enabled is false"));
            }
            other => return Err(DialError::Unreachable(other, "this build has no way into that network")),
        }
        let permits = self.permit(address.host()).await;
        let limit = self.limits.clearnet.connect_timeout.get();
        let began = Instant::now();
        let socket = timeout(limit, self.connect(address)).await.map_err(|_| DialError::Timeout(limit))??;
        Ok(Connection { socket, opened_in: began.elapsed(), permits })
    }

    #[expect(clippy::disallowed_methods, reason = "this is the place that dials; the address was checked above")]
    async fn connect(&self, address: &Address) -> Result<WebSocketStream<Box<dyn Stream>>, DialError> {
        let addresses = self.resolve(address.host(), address.port()).await?;
        let mut last = DialError::Resolve(address.host().to_owned(), "no address".into());
        let mut tcp = None;
        for one in addresses.into_iter().take(TRIES) {
            match TcpStream::connect(one).await {
                Ok(stream) => {
                    tcp = Some(stream);
                    break;
                }
                Err(error) => last = DialError::Connect(format!("{one}: {error}")),
            }
        }
        let Some(tcp) = tcp else { return Err(last) };
        // A request is one small packet; waiting to fill it would be counted as the relay's round trip.
        let _ = tcp.set_nodelay(true);
        let stream: Box<dyn Stream> = if address.is_secure() {
            let name = ServerName::try_from(address.host().to_owned()).map_err(|e| DialError::Tls(e.to_string()))?;
            let tls = tokio_rustls::TlsConnector::from(self.tls.clone()).connect(name, tcp).await;
            Box::new(tls.map_err(|e| DialError::Tls(e.to_string()))?)
        } else {
            Box::new(tcp)
        };
        let mut request = address.as_str().into_client_request().map_err(|e| DialError::Handshake(e.to_string()))?;
        request.headers_mut().insert(header::USER_AGENT, self.user_agent.clone());
        let most = self.limits.max_message.as_u64().try_into().unwrap_or(usize::MAX);
        let config = WebSocketConfig::default()
            .max_message_size(Some(most))
            .max_frame_size(Some(most))
            // Pongs to a relay that pings and does not read are not piled up for it.
            .max_write_buffer_size(4 << 20)
            .read_buffer_size(32 << 10);
        match tokio_tungstenite::client_async_with_config(request, stream, Some(config)).await {
            Ok((socket, _)) => Ok(socket),
            Err(tungstenite::Error::Http(response)) => Err(DialError::Upgrade(response.status().as_u16())),
            Err(other) => Err(DialError::Handshake(other.to_string())),
        }
    }

    /// Looks a host up once and checks every address it stands for, IPv4 first. One that is not public condemns
    /// the host: a name that mixes both is a name in an attacker's hand.
    #[expect(clippy::disallowed_methods, reason = "this is the place that resolves")]
    pub(super) async fn resolve(&self, host: &str, port: u16) -> Result<Vec<SocketAddr>, DialError> {
        let found = tokio::net::lookup_host((host, port)).await;
        let found = found.map_err(|e| DialError::Resolve(host.to_owned(), e.to_string()))?;
        let mut addresses: Vec<SocketAddr> = found.collect();
        for address in &addresses {
            let private = |Private(name)| DialError::Private {
                host: host.to_owned(),
                ip: address.ip(),
                reason: Private(name).to_string(),
            };
            self.guard.check(address.ip()).map_err(private)?;
        }
        addresses.sort_by_key(SocketAddr::is_ipv6);
        Ok(addresses)
    }
}
