//! Our dialer as the transport of rust-nostr's client, so that the agent's own connections pass the same guard.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use async_wsocket::{ConnectionMode, Message as SdkMessage};
use brotr_core::RelayUrl;
use futures::stream::SplitSink;
use futures::{Sink, StreamExt};
use nostr::Url;
use nostr::util::BoxedFuture;
use nostr_relay_pool::transport::error::TransportError;
use nostr_relay_pool::transport::websocket::{WebSocketSink, WebSocketStream, WebSocketTransport};
use tokio_tungstenite::tungstenite::Message;

use crate::permits::Permits;
use crate::shared::Party;
use crate::socket::Socket;
use crate::{Dialer, Purpose};

/// The dialer as rust-nostr's transport. The connect timeout is the dialer's own.
#[derive(Debug, Clone)]
pub struct GuardedTransport {
    dialer: Arc<Dialer>,
    is_shared: bool,
}

impl GuardedTransport {
    /// Returns a transport with connections of its own.
    #[must_use]
    pub fn new(dialer: Arc<Dialer>) -> Self {
        Self { dialer, is_shared: false }
    }

    /// Returns a transport that shares its connections with others to the same relay. All clients with it must have one key, since
    /// a relay may know one user of a connection (NIP-42).
    #[must_use]
    pub fn shared(dialer: Arc<Dialer>) -> Self {
        Self { dialer, is_shared: true }
    }
}

/// The sending half, with the connection's permits.
struct Sending {
    sink: SplitSink<Socket, Message>,
    _permits: Option<Permits>,
}

impl Sink<SdkMessage> for Sending {
    type Error = TransportError;

    fn poll_ready(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), TransportError>> {
        Poll::Ready(ready!(Pin::new(&mut self.sink).poll_ready(cx)).map_err(TransportError::backend))
    }

    fn start_send(mut self: Pin<&mut Self>, message: SdkMessage) -> Result<(), TransportError> {
        let message = match message {
            SdkMessage::Text(text) => Message::text(text),
            SdkMessage::Binary(data) => Message::binary(data),
            SdkMessage::Ping(data) => Message::Ping(data.into()),
            SdkMessage::Pong(data) => Message::Pong(data.into()),
            SdkMessage::Close(_) => Message::Close(None),
        };
        Pin::new(&mut self.sink).start_send(message).map_err(TransportError::backend)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), TransportError>> {
        Poll::Ready(ready!(Pin::new(&mut self.sink).poll_flush(cx)).map_err(TransportError::backend))
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), TransportError>> {
        Poll::Ready(ready!(Pin::new(&mut self.sink).poll_close(cx)).map_err(TransportError::backend))
    }
}

impl WebSocketTransport for GuardedTransport {
    fn support_ping(&self) -> bool {
        true
    }

    fn connect<'a>(
        &'a self,
        url: &'a Url,
        _mode: &'a ConnectionMode,
        _timeout: Duration,
    ) -> BoxedFuture<'a, Result<(WebSocketSink, WebSocketStream), TransportError>> {
        Box::pin(async move {
            let address = RelayUrl::parse(url.as_str(), self.dialer.guard()).map_err(TransportError::backend)?;
            let connection = match self.is_shared {
                true => self.dialer.dial_shared(&address, Purpose::Standing, Party::Client).await,
                false => self.dialer.dial(&address, Purpose::Standing).await,
            };
            let connection = connection.map_err(TransportError::backend)?;
            let (sink, stream) = connection.socket.split();
            let sink: WebSocketSink = Box::new(Sending { sink, _permits: connection.permits });
            let stream = stream.filter_map(|message| async {
                Some(match message {
                    Ok(Message::Text(text)) => Ok(SdkMessage::Text(text.to_string())),
                    Ok(Message::Binary(data)) => Ok(SdkMessage::Binary(data.to_vec())),
                    Ok(Message::Ping(data)) => Ok(SdkMessage::Ping(data.to_vec())),
                    Ok(Message::Pong(data)) => Ok(SdkMessage::Pong(data.to_vec())),
                    Ok(Message::Close(_)) => Ok(SdkMessage::Close(None)),
                    // Never returned by reads.
                    Ok(Message::Frame(_)) => return None,
                    Err(error) => Err(TransportError::backend(error)),
                })
            });
            Ok((sink, Box::pin(stream) as WebSocketStream))
        })
    }
}
