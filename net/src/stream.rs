//! Byte streams below WebSockets and HTTP.

use tokio::io::{AsyncRead, AsyncWrite};

/// A stream of bytes: TCP, TLS, a circuit or a proxy's connection.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}
