//! The way to the hosts of the public internet, and from clients to this one. A simulation has its own.

use std::net::SocketAddr;

use async_trait::async_trait;
use tokio::net::{TcpListener, TcpStream};

use crate::lookup::{Lookup, LookupError, Resolver};
use crate::stream::Stream;

/// Looks up names and connects to addresses.
#[async_trait]
pub trait Internet: Send + Sync {
    /// Looks up a name.
    ///
    /// # Errors
    /// See [`LookupError`].
    async fn lookup(&self, host: &str) -> Result<Lookup, LookupError>;

    /// Connects to an address, which the guard has passed. The caller enforces the timeout.
    ///
    /// # Errors
    /// As `connect(2)`.
    async fn connect(&self, to: SocketAddr) -> std::io::Result<Box<dyn Stream>>;
}

/// Accepts connections of clients.
#[async_trait]
pub trait Listener: Send + Sync {
    /// Returns the next connection, and the address of its peer.
    ///
    /// # Errors
    /// As `accept(2)`.
    async fn accept(&self) -> std::io::Result<(Box<dyn Stream>, SocketAddr)>;
}

#[async_trait]
impl Listener for TcpListener {
    async fn accept(&self) -> std::io::Result<(Box<dyn Stream>, SocketAddr)> {
        let (stream, peer) = Self::accept(self).await?;
        // Answers are small and waited for.
        let _ = stream.set_nodelay(true);
        Ok((Box::new(stream), peer))
    }
}

/// The internet that this machine is connected to.
pub(crate) struct System(pub(crate) Resolver);

#[async_trait]
impl Internet for System {
    async fn lookup(&self, host: &str) -> Result<Lookup, LookupError> {
        self.0.lookup(host).await
    }

    #[expect(clippy::disallowed_methods, reason = "this is the place that dials; the guard has passed the address")]
    async fn connect(&self, to: SocketAddr) -> std::io::Result<Box<dyn Stream>> {
        let stream = TcpStream::connect(to).await?;
        // A request is one small packet; waiting to fill it would be counted as the relay's round trip.
        let _ = stream.set_nodelay(true);
        Ok(Box::new(stream))
    }
}
