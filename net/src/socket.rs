//! The WebSocket of a session: one of its own, or a branch of one that others use as well.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::{Sink, Stream};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::{Error, Message};

use crate::permits::Permits;
use crate::shared::{Branch, Joined, Opened};
use crate::stream::Stream as ByteStream;

/// An open WebSocket and its permits.
pub struct Connection {
    /// The socket.
    pub socket: Socket,
    /// From the first packet to the end of the upgrade.
    pub opened_in: Duration,
    /// Released when the connection is dropped. A shared connection has them itself.
    pub permits: Option<Permits>,
}

impl From<Opened> for Connection {
    fn from(Opened { socket, opened_in, permits }: Opened) -> Self {
        Self { socket: Socket::Own(socket), opened_in, permits: Some(permits) }
    }
}

impl From<Joined> for Connection {
    fn from(Joined { branch, opened_in }: Joined) -> Self {
        Self { socket: Socket::Shared(branch), opened_in, permits: None }
    }
}

/// A WebSocket: one of its own, or a branch of one that others use.
pub enum Socket {
    /// Its own.
    Own(Box<WebSocketStream<Box<dyn ByteStream>>>),
    /// A branch.
    Shared(Branch),
}

impl Stream for Socket {
    type Item = Result<Message, Error>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        match self.get_mut() {
            Self::Own(socket) => Pin::new(socket).poll_next(cx),
            Self::Shared(branch) => Pin::new(branch).poll_next(cx),
        }
    }
}

impl Sink<Message> for Socket {
    type Error = Error;

    fn poll_ready(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        match self.get_mut() {
            Self::Own(socket) => Pin::new(socket).poll_ready(cx),
            Self::Shared(branch) => Pin::new(branch).poll_ready(cx),
        }
    }

    fn start_send(self: Pin<&mut Self>, message: Message) -> Result<(), Self::Error> {
        match self.get_mut() {
            Self::Own(socket) => Pin::new(socket).start_send(message),
            Self::Shared(branch) => Pin::new(branch).start_send(message),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        match self.get_mut() {
            Self::Own(socket) => Pin::new(socket).poll_flush(cx),
            Self::Shared(branch) => Pin::new(branch).poll_flush(cx),
        }
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        match self.get_mut() {
            Self::Own(socket) => Pin::new(socket).poll_close(cx),
            Self::Shared(branch) => Pin::new(branch).poll_close(cx),
        }
    }
}
