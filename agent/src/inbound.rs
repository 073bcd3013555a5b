//! HTTP connections from clients: accepted within limits in total and per address, and closed when the service that
//! accepted them ends.

use std::collections::HashMap;
use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use crate::error::Result;
use axum::Router;
use axum::extract::ConnectInfo;
use axum::http::{HeaderMap, Request};
use brotr_net::{Listener, Stream};
use futures::future::BoxFuture;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use ipnet::IpNet;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::task::{AbortHandle, Id, JoinError, JoinSet};
use tokio::time::{Instant, Sleep, sleep, timeout};

use crate::config::Config;

/// A client must send the headers of each request within this time.
const HEADERS: Duration = Duration::from_secs(10);
/// The largest head of a request, in bytes.
const MAX_HEAD: usize = 64 << 10;
/// A write that makes no progress for this long closes the connection.
const STALLED: Duration = Duration::from_secs(10);
/// Pause after an accept that failed for lack of descriptors or memory.
const ACCEPT_PAUSE: Duration = Duration::from_millis(500);
/// Refusals in progress at a time; further connections are closed without an answer.
const REFUSALS: usize = 32;
/// Descriptors reserved for files, the archive and Tor, besides those of `network.max_connections`.
const RESERVED_FILES: u64 = 192;

/// Limits on the connections of one server.
#[derive(Debug, Clone)]
pub(crate) struct Limits {
    /// Connections at a time.
    pub(crate) connections: usize,
    /// Concurrent connections per address. It does not apply to `proxies`, which speak for many clients.
    pub(crate) per_address: usize,
    /// Peers whose `X-Forwarded-For` header is trusted.
    pub(crate) proxies: Vec<IpNet>,
}

/// The client of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Client {
    /// Its address; of IPv6 the /64, which is what one customer is assigned.
    pub(crate) address: IpAddr,
    /// False if the address is that of a proxy that did not name the client.
    pub(crate) known: bool,
}

impl Client {
    /// Returns the client behind a peer: the last address of `X-Forwarded-For` that is not a trusted proxy's, or the peer itself.
    pub(crate) fn of(peer: SocketAddr, headers: &HeaderMap, proxies: &[IpNet]) -> Self {
        let trusted = |ip: IpAddr| proxies.iter().any(|net| net.contains(&ip));
        let peer = peer.ip().to_canonical();
        if !trusted(peer) {
            return Self { address: prefix(peer), known: true };
        }
        let forwarded = headers.get_all("x-forwarded-for").iter().rev().filter_map(|value| value.to_str().ok());
        let client = forwarded
            .flat_map(|value| value.rsplit(','))
            .map_while(|part| part.trim().parse::<IpAddr>().ok())
            .map(|ip| ip.to_canonical())
            .find(|ip| !trusted(*ip));
        Self { address: prefix(client.unwrap_or(peer)), known: client.is_some() }
    }
}

/// Returns the part of an address that identifies one customer.
fn prefix(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V6(ip) => IpAddr::V6((ip.to_bits() & !u128::from(u64::MAX)).into()),
        ip => ip,
    }
}

/// Takes over a connection after a request was answered with an upgrade. A request has it as an extension.
#[derive(Clone, Default)]
pub(crate) struct Takeover(Arc<Mutex<Option<BoxFuture<'static, ()>>>>);

impl Takeover {
    /// Sets the task that runs on the connection once HTTP has ended on it.
    pub(crate) fn set(&self, session: impl Future<Output = ()> + Send + 'static) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Box::pin(session));
    }

    fn take(&self) -> Option<BoxFuture<'static, ()>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// Serves a router until the future is dropped, which closes every connection.
///
/// # Errors
/// Never; a failed accept is retried.
pub(crate) async fn serve(listener: &dyn Listener, limits: Limits, router: Router) -> Result<()> {
    let mut connections = Connections { limits, tasks: JoinSet::new(), refusals: JoinSet::new(), held: HashMap::new() };
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => connections.admit(stream, peer, &router),
                Err(error) if is_of_peer(&error) => {}
                Err(error) => {
                    tracing::warn!(%error, "failed to accept a connection");
                    sleep(ACCEPT_PAUSE).await;
                }
            },
            Some(ended) = connections.tasks.join_next_with_id() => connections.forget(ended),
            Some(_) = connections.refusals.join_next() => {}
        }
    }
}

fn is_of_peer(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

struct Connections {
    limits: Limits,
    tasks: JoinSet<()>,
    refusals: JoinSet<()>,
    /// The connections of each address, in the order in which they were accepted.
    held: HashMap<IpAddr, Vec<AbortHandle>>,
}

impl Connections {
    /// Serves a connection, or refuses it. When all places are taken, the address with the most connections loses its newest
    /// one to a client that has fewer.
    fn admit(&mut self, stream: Box<dyn Stream>, peer: SocketAddr, router: &Router) {
        let peer_ip = peer.ip().to_canonical();
        let address = prefix(peer_ip);
        let own = self.held.get(&address).map_or(0, Vec::len);
        let is_proxy = self.limits.proxies.iter().any(|net| net.contains(&peer_ip));
        if own >= self.limits.per_address && !is_proxy {
            return self.refuse(stream, "429 Too Many Requests", "too many connections from one address\n");
        }
        if self.tasks.len() >= self.limits.connections {
            let most = self.held.values_mut().max_by_key(|handles| handles.len());
            match most.filter(|handles| handles.len() > own + 1).and_then(Vec::pop) {
                Some(newest) => newest.abort(),
                None => {
                    return self.refuse(stream, "503 Service Unavailable", "too many connections, try again later\n");
                }
            }
        }
        let handle = self.tasks.spawn(converse(stream, peer, router.clone()));
        self.held.entry(address).or_default().push(handle);
    }

    fn forget(&mut self, ended: Result<(Id, ()), JoinError>) {
        let id = match &ended {
            Ok((id, ())) => *id,
            Err(error) => {
                if error.is_panic() {
                    tracing::error!(%error, "a connection's task panicked");
                }
                error.id()
            }
        };
        self.held.retain(|_, handles| {
            handles.retain(|handle| handle.id() != id);
            !handles.is_empty()
        });
    }

    fn refuse(&mut self, mut stream: Box<dyn Stream>, status: &'static str, why: &'static str) {
        if self.refusals.len() >= REFUSALS {
            return;
        }
        self.refusals.spawn(async move {
            let length = why.len();
            let answer = format!("HTTP/1.1 {status}\r\nConnection: close\r\nRetry-After: 60\r\nContent-Type: text/plain\r\nContent-Length: {length}\r\n\r\n{why}");
            let refuse = async {
                stream.write_all(answer.as_bytes()).await?;
                stream.shutdown().await?;
                // Closing with unread input would reset the connection before the client has read the answer.
                let mut rest = [0; 1_024];
                while stream.read(&mut rest).await? > 0 {}
                io::Result::Ok(())
            };
            let _ = timeout(Duration::from_secs(1), refuse).await;
        });
    }
}

/// Serves one connection to its end.
async fn converse(stream: Box<dyn Stream>, peer: SocketAddr, router: Router) {
    let (service, takeover) = (TowerToHyperService::new(router), Takeover::default());
    let later = takeover.clone();
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(ConnectInfo(peer));
        request.extensions_mut().insert(takeover.clone());
        service.call(request)
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADERS)
        .max_buf_size(MAX_HEAD)
        .serve_connection(TokioIo::new(Unstalled::new(stream)), service)
        .with_upgrades();
    if let Err(error) = connection.await {
        tracing::debug!(%error, "a client's connection ended early");
    }
    if let Some(session) = later.take() {
        session.await;
    }
}

/// A stream whose writes fail when they make no progress.
struct Unstalled {
    stream: Box<dyn Stream>,
    deadline: Pin<Box<Sleep>>,
    waiting: bool,
}

impl Unstalled {
    fn new(stream: Box<dyn Stream>) -> Self {
        Self { stream, deadline: Box::pin(sleep(STALLED)), waiting: false }
    }

    fn bounded(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if written.is_ready() {
            self.waiting = false;
            return written;
        }
        if !self.waiting {
            self.waiting = true;
            self.deadline.as_mut().reset(Instant::now() + STALLED);
        }
        ready!(self.deadline.as_mut().poll(cx));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncRead for Unstalled {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Unstalled {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.bounded(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, bytes);
        self.bounded(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// Raises the limit of open files to its maximum.
pub(crate) fn raise_open_files() {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current.is_some()
        && current != maximum
        && let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })
    {
        tracing::warn!(%error, "failed to raise the limit of open files");
    }
}

/// Returns how many of `wanted` connections can be served with the descriptors that the agent's own work leaves.
pub(crate) fn affordable(wanted: usize, config: &Config) -> usize {
    let Some(files) = getrlimit(Resource::Nofile).current else { return wanted };
    let of = |enabled: bool, connections: usize| if enabled { connections as u64 } else { 0 };
    let served =
        of(config.relay.enabled, config.relay.max_connections) + of(config.http.enabled, config.http.max_connections);
    let left = files.saturating_sub(config.network.max_connections as u64 + RESERVED_FILES).max(files / 4);
    if served <= left {
        return wanted;
    }
    let share = usize::try_from(wanted as u64 * left / served).unwrap_or(wanted).max(1);
    tracing::warn!(
        files,
        wanted,
        served = share,
        "fewer connections are served than configured: raise the limit of open files (ulimit -n, LimitNOFILE)"
    );
    share
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxy_is_believed_and_nobody_else() {
        let proxies: Vec<IpNet> = ["127.0.0.0/8", "10.0.0.0/8"].iter().map(|net| net.parse().expect("a net")).collect();
        let client = |peer: &str, forwarded: &[&str]| {
            let mut headers = HeaderMap::new();
            for value in forwarded {
                headers.append("x-forwarded-for", value.parse().expect("a value"));
            }
            let Client { address, known } = Client::of(peer.parse().expect("an address"), &headers, &proxies);
            (address.to_string(), known)
        };
        let is = |address: &str, known| (address.to_owned(), known);
        assert_eq!(client("203.0.113.9:1", &["198.51.100.1"]), is("203.0.113.9", true), "not a proxy");
        assert_eq!(client("127.0.0.1:1", &[]), is("127.0.0.1", false));
        assert_eq!(
            client("127.0.0.1:1", &["1.2.3.4, 198.51.100.1"]),
            is("198.51.100.1", true),
            "the last is the proxy's"
        );
        assert_eq!(client("127.0.0.1:1", &["1.2.3.4", "198.51.100.1, 10.0.0.2"]), is("198.51.100.1", true));
        assert_eq!(client("127.0.0.1:1", &["198.51.100.1, nonsense"]), is("127.0.0.1", false));
        assert_eq!(client("[::ffff:203.0.113.9]:1", &[]), is("203.0.113.9", true));
        assert_eq!(client("[2001:db8:1:2:3:4:5:6]:1", &[]), is("2001:db8:1:2::", true));
    }
}
