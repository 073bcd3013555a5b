//! Dialing: one name lookup, the guard, a stream to the very address that was checked (or through Tor or a proxy), and a
//! WebSocket on it. Each step is recorded, even if a later one fails.

use std::collections::HashSet;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use brotr_core::{Guard, Network, RelayUrl, sanitize};
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout};
use tokio_socks::tcp::Socks5Stream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::{HeaderMap, HeaderValue, header};
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{self};

use crate::failure::{ConnectFailure, DialError};
use crate::internet::{Internet, System};
use crate::lookup::{Lookup, LookupError, Resolver};
use crate::permits::{Attempt, Busy, Gate, Permits, Purpose, UNANSWERED};
use crate::settings::{Limits, Settings, SettingsError};
use crate::shared::{Opened, Party, SharedConnections};
use crate::socket::Connection;
use crate::stream::Stream;
use crate::tls::{Connector, Seen, Tls, Trust};
use crate::tor::Tor;

/// Addresses of one host that are tried.
const TRIES: usize = 3;

/// Answers of more than [`SMALL`](crate::session::SMALL) bytes that are in memory at a time.
const LARGE: usize = 6;

/// What was seen until the WebSocket was open, as far as it came.
#[derive(Debug, Clone, Default)]
pub struct Trace {
    /// The name lookup, if there was one.
    pub lookup: Option<Lookup>,
    /// The address that was connected to.
    pub peer: Option<SocketAddr>,
    /// How long connecting took: TCP, a circuit, or a proxy's connection.
    pub connect: Option<Duration>,
    /// How long the upgrade to WebSocket took.
    pub upgrade: Option<Duration>,
    /// From the first packet to the first answer over HTTP, which is the end of the upgrade if it was asked for one.
    pub opened: Option<Duration>,
    /// The HTTP status of that answer.
    pub status: Option<u16>,
    /// The Server header.
    pub server: Option<String>,
    /// The X-Powered-By header.
    pub powered_by: Option<String>,
    seen: Option<Arc<Seen>>,
}

impl Trace {
    /// Returns what was seen of TLS.
    #[must_use]
    pub fn tls(&self) -> Option<Tls> {
        self.seen.as_ref().map(|seen| seen.tls())
    }

    pub(crate) fn headers(&mut self, status: u16, headers: &HeaderMap) {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(sanitize);
        self.status = Some(status);
        self.server = text("server");
        self.powered_by = text("x-powered-by");
    }
}

/// Dials relays within the limits of the configuration.
pub struct Dialer {
    guard: Guard,
    settings: Settings,
    internet: Arc<dyn Internet>,
    connector: Connector,
    tor: Option<Tor>,
    user_agent: HeaderValue,
    gate: Gate,
    large: Arc<Semaphore>,
    shared: SharedConnections,
}

impl std::fmt::Debug for Dialer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Dialer").field("guard", &self.guard).finish_non_exhaustive()
    }
}

/// The way to a relay on the clearnet: the addresses of its host, and the permit to try the first one. Other networks find their
/// own.
pub(crate) struct Way {
    addresses: Vec<IpAddr>,
    is_own: bool,
    attempt: Option<Attempt>,
}

/// Orders addresses so that IPv4 and IPv6 alternate: if one family cannot be reached, the other is tried soon.
fn alternating(addresses: Vec<IpAddr>) -> Vec<IpAddr> {
    let (v4, v6): (Vec<_>, Vec<_>) = addresses.into_iter().partition(IpAddr::is_ipv4);
    let (mut v4, mut v6) = (v4.into_iter(), v6.into_iter());
    std::iter::from_fn(|| Some([v4.next(), v6.next()]).filter(|pair| pair.iter().any(Option::is_some)))
        .flatten()
        .flatten()
        .take(TRIES)
        .collect()
}

impl Dialer {
    /// Returns a dialer with these settings; `contact` is sent to operators of relays. `own` has the URLs of the operator's own
    /// relays, to which the limits per host do not apply.
    ///
    /// # Errors
    /// See [`SettingsError`].
    pub fn new(settings: Settings, contact: &str, own: HashSet<String>) -> Result<Self, SettingsError> {
        let internet = Arc::new(System(Resolver::new(&settings.nameservers)?));
        Self::over(internet, settings, contact, own)
    }

    /// Returns such a dialer over another internet than that of this machine.
    ///
    /// # Errors
    /// See [`SettingsError`].
    pub fn over(
        internet: Arc<dyn Internet>,
        settings: Settings,
        contact: &str,
        own: HashSet<String>,
    ) -> Result<Self, SettingsError> {
        let agent = format!("brotr/{} ({contact})", env!("CARGO_PKG_VERSION"));
        let user_agent = HeaderValue::from_str(&agent).map_err(|_| SettingsError::Contact(contact.to_owned()))?;
        let tor = settings.tor.directory.as_deref();
        Ok(Self {
            guard: Guard::new(settings.allow.clone()),
            internet,
            connector: Connector::new(settings.ca_file.as_deref())?,
            tor: tor.map(|directory| Tor::new(directory, &settings.tor.arti)).transpose()?,
            user_agent,
            gate: Gate::new(&settings, own),
            large: Arc::new(Semaphore::new(LARGE)),
            shared: SharedConnections::default(),
            settings,
        })
    }

    /// Returns the guard that every address passes.
    #[must_use]
    pub fn guard(&self) -> &Guard {
        &self.guard
    }

    /// Returns the limits on a network.
    #[must_use]
    pub fn limits(&self, network: Network) -> Limits {
        self.settings.limits(network)
    }

    /// Returns the Tor client, if Tor is used.
    #[must_use]
    pub fn tor(&self) -> Option<&Tor> {
        self.tor.as_ref()
    }

    /// Starts Tor, if it is used and not started yet.
    ///
    /// # Errors
    /// Why it cannot be started.
    pub async fn start_tor(&self) -> Result<(), String> {
        match &self.tor {
            Some(tor) => tor.client().await.map(drop),
            None => Ok(()),
        }
    }

    /// Looks up a name, as for a relay.
    ///
    /// # Errors
    /// See [`LookupError`].
    pub async fn lookup(&self, host: &str) -> Result<Lookup, LookupError> {
        self.internet.lookup(host).await
    }

    pub(crate) fn user_agent(&self) -> &HeaderValue {
        &self.user_agent
    }

    /// Returns the networks that the configuration reaches.
    #[must_use]
    pub fn networks(&self) -> Vec<Network> {
        Network::ALL.iter().copied().filter(|network| self.reaches(*network).is_ok()).collect()
    }

    /// Checks that relays of a network can be reached.
    ///
    /// # Errors
    /// Why not, and what to do about it.
    pub fn reaches(&self, network: Network) -> Result<(), DialError> {
        match self.settings.unreached(network) {
            Some(why) => Err(DialError::Unreachable(network, why)),
            None => Ok(()),
        }
    }

    /// Returns the semaphore for large answers in memory.
    pub(crate) fn large(&self) -> Arc<Semaphore> {
        self.large.clone()
    }

    /// Returns true for the operator's own relays.
    #[must_use]
    pub fn is_own(&self, address: &RelayUrl) -> bool {
        self.gate.is_own(address)
    }

    /// Returns true if every connection for this purpose to a host is taken.
    #[must_use]
    pub fn is_full(&self, host: &str, purpose: Purpose) -> bool {
        self.gate.is_full(host, purpose)
    }

    /// Acquires a permit to connect to a relay, within a bounded time.
    pub(crate) async fn permit(&self, address: &RelayUrl, purpose: Purpose) -> Result<Permits, DialError> {
        self.gate.permit(address, purpose).await.map_err(|Busy| DialError::Busy(address.host().to_owned()))
    }

    /// Opens a WebSocket to a relay. Waiting for permits is bounded, and not counted against the connect timeout.
    ///
    /// # Errors
    /// See [`DialError`].
    pub async fn dial(&self, address: &RelayUrl, purpose: Purpose) -> Result<Connection, DialError> {
        self.dial_traced(address, purpose, &mut Trace::default()).await
    }

    /// The same, recording what is seen on the way.
    ///
    /// # Errors
    /// See [`DialError`]; what was seen before the failure is in the trace.
    pub async fn dial_traced(
        &self,
        address: &RelayUrl,
        purpose: Purpose,
        trace: &mut Trace,
    ) -> Result<Connection, DialError> {
        self.open_one(address, purpose, trace).await.map(Connection::from)
    }

    async fn open_one(&self, address: &RelayUrl, purpose: Purpose, trace: &mut Trace) -> Result<Opened, DialError> {
        self.reaches(address.network())?;
        let permits = self.permit(address, purpose).await?;
        self.dial_with(address, permits, trace).await
    }

    /// Opens a WebSocket that others use as well, or joins one that is open.
    ///
    /// # Errors
    /// See [`DialError`].
    pub(crate) async fn dial_shared(
        &self,
        address: &RelayUrl,
        purpose: Purpose,
        party: Party,
    ) -> Result<Connection, DialError> {
        let mut trace = Trace::default();
        let opening = self.open_one(address, purpose, &mut trace);
        self.shared.join_or_open(address, party, opening).await.map(Connection::from)
    }

    /// Joins a WebSocket that is open and may be used by this party, if there is one.
    pub(crate) async fn join(&self, address: &RelayUrl, party: Party) -> Option<Connection> {
        self.shared.join(address, party).await.map(Connection::from)
    }

    /// Notes that a relay serves a visit better over a connection of its own than over one that others use: for an hour
    /// [`Session::join`](crate::Session::join) finds none.
    pub fn keep_alone(&self, address: &RelayUrl) {
        self.shared.keep_alone(address);
    }

    /// Opens a WebSocket in place of a broken one and takes over its permits: tasks in the same position never wait for each
    /// other's permits.
    pub(crate) async fn redial(&self, address: &RelayUrl, permits: Permits) -> Result<Connection, DialError> {
        self.gate.until_ready().await;
        self.dial_with(address, permits, &mut Trace::default()).await.map(Connection::from)
    }

    async fn dial_with(&self, address: &RelayUrl, permits: Permits, trace: &mut Trace) -> Result<Opened, DialError> {
        let limit = self.limits(address.network()).connect_timeout;
        let way = self.way(address, trace).await?;
        let began = Instant::now();
        let socket = timeout(limit, self.open(address, way, trace)).await.map_err(|_| DialError::Timeout(limit))??;
        let opened_in = began.elapsed();
        trace.opened = Some(opened_in);
        Ok(Opened { socket: Box::new(socket), opened_in, permits })
    }

    async fn open(
        &self,
        address: &RelayUrl,
        way: Way,
        trace: &mut Trace,
    ) -> Result<WebSocketStream<Box<dyn Stream>>, DialError> {
        let stream = self.stream(address, way, trace).await?;
        let mut request = address.as_str().into_client_request().map_err(|e| DialError::Handshake(e.to_string()))?;
        request.headers_mut().insert(header::USER_AGENT, self.user_agent.clone());
        let most = self.settings.max_message;
        let config = WebSocketConfig::default()
            .max_message_size(Some(most))
            .max_frame_size(Some(most))
            // Pongs to a relay that pings and does not read do not accumulate.
            .max_write_buffer_size(4 << 20)
            .read_buffer_size(32 << 10);
        let began = Instant::now();
        match tokio_tungstenite::client_async_with_config(request, stream, Some(config)).await {
            Ok((socket, response)) => {
                trace.upgrade = Some(began.elapsed());
                trace.headers(response.status().as_u16(), response.headers());
                Ok(socket)
            }
            Err(tungstenite::Error::Http(response)) => {
                trace.headers(response.status().as_u16(), response.headers());
                Err(DialError::Upgrade(response.status().as_u16()))
            }
            Err(other) => Err(DialError::Handshake(other.to_string())),
        }
    }

    /// Finds the way to a relay: looks up its host, and waits until few other attempts are under way in the neighbourhood of its
    /// first address. Both are bounded, and not counted against the connect timeout.
    ///
    /// The operator's own relays, and addresses of `network.allow`, have no neighbours.
    pub(crate) async fn way(&self, address: &RelayUrl, trace: &mut Trace) -> Result<Way, DialError> {
        let through_tor = self.tor.is_some() && self.settings.tor.clearnet;
        if address.network() != Network::Clearnet || through_tor {
            return Ok(Way { addresses: vec![], is_own: false, attempt: None });
        }
        let addresses = alternating(self.resolve(address.host(), trace).await?);
        let busy = |Busy| DialError::Busy(address.host().to_owned());
        let is_own = self.gate.is_own(address);
        let attempt = match addresses.first().filter(|ip| !is_own && !self.guard.is_allowed(**ip)) {
            Some(ip) => Some(self.gate.attempt(*ip).await.map_err(busy)?),
            None => None,
        };
        Ok(Way { addresses, is_own, attempt })
    }

    /// Opens a stream to a relay's host and port, with TLS if its URL says so. The network must be one that is reached; the
    /// caller enforces the timeout.
    pub(crate) async fn stream(
        &self,
        address: &RelayUrl,
        way: Way,
        trace: &mut Trace,
    ) -> Result<Box<dyn Stream>, DialError> {
        let (host, port) = (address.host(), address.port());
        let failed = |error: String| DialError::Connect(ConnectFailure::Other, sanitize(&error));
        let through_tor = address.network() == Network::Tor || self.settings.tor.clearnet;
        let began = Instant::now();
        let stream: Box<dyn Stream> = match (address.network(), &self.tor) {
            (Network::Clearnet | Network::Tor, Some(tor)) if through_tor => {
                let client = tor.client().await.map_err(|error| DialError::Way(sanitize(&error)))?;
                let stream = tor.connect(&client, host, port).await.map_err(failed)?;
                trace.connect = Some(began.elapsed());
                stream
            }
            (Network::Clearnet, _) => self.connect(host, port, way, trace).await?,
            (network, _) => {
                let proxy = match network {
                    Network::I2p => self.settings.i2p.socks,
                    _ => self.settings.loki.socks,
                };
                let proxy = proxy.ok_or(DialError::Unreachable(network, "no proxy is configured"))?;
                let stream = Socks5Stream::connect(proxy, (host, port)).await.map_err(|error| match error {
                    tokio_socks::Error::Io(_) | tokio_socks::Error::ProxyServerUnreachable => {
                        DialError::Way(sanitize(&format!("the proxy {proxy}: {error}")))
                    }
                    other => failed(other.to_string()),
                })?;
                trace.connect = Some(began.elapsed());
                Box::new(stream)
            }
        };
        if !address.is_secure() {
            return Ok(stream);
        }
        let trust = if address.network() == Network::Clearnet { Trust::Vouched } else { Trust::Address };
        let seen = trace.seen.insert(Arc::default()).clone();
        let tls = self.connector.connect(host, stream, trust, &seen).await;
        Ok(Box::new(tls.map_err(DialError::Tls)?))
    }

    async fn connect(&self, host: &str, port: u16, way: Way, trace: &mut Trace) -> Result<Box<dyn Stream>, DialError> {
        let Way { addresses: tried, is_own, mut attempt } = way;
        // An address that never answers leaves time for the others, and for the upgrade.
        let each = self.limits(Network::Clearnet).connect_timeout / u32::try_from(tried.len() + 1).unwrap_or(1);
        let mut failed: Option<DialError> = None;
        let (alone, mut is_busy) = (tried.len() == 1, false);
        for ip in tried {
            let one = SocketAddr::new(ip, port);
            let permit = match attempt.take() {
                Some(permit) => Some(permit),
                None if is_own || self.guard.is_allowed(ip) => None,
                // Another address of the host: this wait counts against the timeout of the whole, and fits into what is left.
                None => match timeout(UNANSWERED.min(each / 4), self.gate.attempt(ip)).await {
                    Ok(Ok(permit)) => Some(permit),
                    _ => {
                        is_busy = true;
                        continue;
                    }
                },
            };
            let began = Instant::now();
            let connecting = Attempt::cover(permit, self.internet.connect(one));
            let connected = if alone { Ok(connecting.await) } else { timeout(each, connecting).await };
            match connected {
                Ok(Ok(stream)) => {
                    (trace.connect, trace.peer) = (Some(began.elapsed()), Some(one));
                    return Ok(stream);
                }
                Ok(Err(error)) => {
                    let error = DialError::of_connect(one, &error);
                    if failed.is_none() || !error.is_of_the_kind() {
                        failed = Some(error);
                    }
                }
                Err(_) => failed = Some(DialError::Timeout(each)),
            }
        }
        // An address that was not tried might have answered.
        let failed = failed.filter(|_| !is_busy);
        let untried = if is_busy {
            DialError::Busy(host.to_owned())
        } else {
            DialError::Resolve(host.to_owned(), LookupError::NoAddress)
        };
        Err(failed.unwrap_or(untried))
    }

    /// Looks up a host once and checks every address, IPv4 first. If one is not public, the host is refused: a name that mixes
    /// both is under an attacker's control.
    async fn resolve(&self, host: &str, trace: &mut Trace) -> Result<Vec<IpAddr>, DialError> {
        let addresses = match host.parse::<IpAddr>() {
            Ok(ip) => vec![ip],
            Err(_) => {
                let limit = self.limits(Network::Clearnet).connect_timeout;
                let lookup = timeout(limit, self.internet.lookup(host)).await.unwrap_or(Err(LookupError::NoAnswer));
                let lookup = lookup.map_err(|error| DialError::Resolve(host.to_owned(), error))?;
                trace.lookup.insert(lookup).addresses.clone()
            }
        };
        for ip in &addresses {
            self.guard.check(*ip).map_err(|reason| DialError::Private {
                host: host.to_owned(),
                ip: *ip,
                reason: reason.to_string(),
            })?;
        }
        Ok(addresses)
    }
}
