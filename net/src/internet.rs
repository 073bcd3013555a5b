//! The way to the hosts of the public internet. A simulation has one of its own.

use std::net::SocketAddr;

use async_trait::async_trait;
use tokio::net::TcpStream;

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
