//! The WebSocket of one client.

use std::sync::Arc;
use std::time::Duration;

use futures::future::poll_fn;
use futures::{SinkExt, StreamExt};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::io::AsyncReadExt;
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{CloseCode, Data, OpCode};
use tokio_tungstenite::tungstenite::protocol::frame::{CloseFrame, Frame};
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{self, Bytes, Message, Utf8Bytes};

use super::MAX_MESSAGE;
use super::budget::Account;

/// Larger messages are sent in fragments of this size, in bytes: the socket's buffer keeps the size of the largest frame.
pub(super) const FRAGMENT: usize = 16 << 10;
/// A client whose socket accepts nothing for this long is slow: what was read ahead for it is dropped.
const SLOW: Duration = Duration::from_millis(200);
/// A client that is slow for this long is disconnected if others wait for memory.
const STALLED: Duration = Duration::from_secs(1);
/// How long remaining input is read after the client was told to close.
const DRAIN: Duration = Duration::from_secs(2);

/// The client is gone, or is to be disconnected.
pub(super) struct Disconnected;

/// The socket, and what its client holds in memory.
pub(super) struct Line {
    socket: WebSocketStream<TokioIo<Upgraded>>,
    pub(super) account: Arc<Account>,
}

impl Line {
    pub(super) async fn new(upgraded: Upgraded, account: Arc<Account>) -> Self {
        let config = WebSocketConfig::default()
            .read_buffer_size(4 << 10)
            .write_buffer_size(8 << 10)
            .max_message_size(Some(MAX_MESSAGE))
            .max_frame_size(Some(MAX_MESSAGE));
        let socket = WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Server, Some(config)).await;
        Self { socket, account }
    }

    /// Receives a message. A client that violates the protocol is told so and disconnected. Dropping the future loses nothing.
    pub(super) async fn recv(&mut self) -> Result<Message, Disconnected> {
        match self.socket.next().await {
            Some(Ok(message)) => Ok(message),
            Some(Err(error)) => Err(self.reject(&error).await),
            None => Err(Disconnected),
        }
    }

    async fn reject(&mut self, error: &tungstenite::Error) -> Disconnected {
        let (code, reason) = match error {
            tungstenite::Error::Capacity(_) => (CloseCode::Size, format!("a message has at most {MAX_MESSAGE} bytes")),
            tungstenite::Error::Utf8(_) => (CloseCode::Invalid, "text must be UTF-8".to_owned()),
            tungstenite::Error::Protocol(_) => (CloseCode::Protocol, error.to_string()),
            _ => return Disconnected,
        };
        let close = async {
            let frame = CloseFrame { code, reason: reason.into() };
            self.socket.send(Message::Close(Some(frame))).await.ok()?;
            // Closing with unread input would reset the connection before the client has read the reason.
            let mut rest = [0; 4_096];
            while self.socket.get_mut().read(&mut rest).await.ok()? > 0 {}
            Some(())
        };
        let _ = timeout(DRAIN, close).await;
        Disconnected
    }

    /// Waits until the socket accepts a frame. Calls `slow` if that takes long.
    pub(super) async fn ready(&mut self, slow: impl FnOnce()) -> Result<(), Disconnected> {
        let budget = self.account.budget.clone();
        let ready = poll_fn(|cx| self.socket.poll_ready_unpin(cx));
        tokio::pin!(ready);
        if let Ok(done) = timeout(SLOW, &mut ready).await {
            return done.map_err(|_| Disconnected);
        }
        slow();
        if let Ok(done) = timeout(STALLED, &mut ready).await {
            return done.map_err(|_| Disconnected);
        }
        tokio::select! {
            done = ready => done.map_err(|_| Disconnected),
            () = budget.wanted() => {
                tracing::debug!("closed a slow client: others wait for memory");
                Err(Disconnected)
            }
        }
    }

    /// Queues an event for a subscription; calls `slow` if the socket takes long. A large event is not copied.
    pub(super) async fn event(&mut self, name: &str, json: &Utf8Bytes, slow: impl FnMut()) -> Result<(), Disconnected> {
        let mut text = format!("[\"EVENT\",{},", Value::from(name));
        if json.len() <= FRAGMENT {
            text.reserve(json.len() + 1);
            text.push_str(json);
            text.push(']');
            return self.put(Message::Text(text.into()), slow).await;
        }
        self.fragments([text.into(), json.clone().into(), Bytes::from_static(b"]")], slow).await
    }

    /// Queues one message in fragments.
    async fn fragments<const N: usize>(
        &mut self,
        parts: [Bytes; N],
        mut slow: impl FnMut(),
    ) -> Result<(), Disconnected> {
        let cut = |part: &Bytes| -> Vec<Bytes> {
            (0..part.len()).step_by(FRAGMENT).map(|start| part.slice(start..part.len().min(start + FRAGMENT))).collect()
        };
        let fragments: Vec<Bytes> = parts.iter().flat_map(cut).collect();
        let last = fragments.len().saturating_sub(1);
        for (n, bytes) in fragments.into_iter().enumerate() {
            let code = OpCode::Data(if n == 0 { Data::Text } else { Data::Continue });
            self.put(Message::Frame(Frame::message(bytes, code, n == last)), &mut slow).await?;
        }
        Ok(())
    }

    async fn put(&mut self, message: Message, slow: impl FnOnce()) -> Result<(), Disconnected> {
        self.ready(slow).await?;
        self.socket.start_send_unpin(message).map_err(|_| Disconnected)
    }

    /// Queues a message; [`Line::flush`] sends what is queued.
    pub(super) async fn send(&mut self, message: Value) -> Result<(), Disconnected> {
        let text = message.to_string();
        match text.len() <= FRAGMENT {
            true => self.put(Message::Text(text.into()), || ()).await,
            false => self.fragments([text.into()], || ()).await,
        }
    }

    pub(super) async fn ping(&mut self) -> Result<(), Disconnected> {
        self.put(Message::Ping(Bytes::new()), || ()).await
    }

    /// Sends what is queued.
    pub(super) async fn flush(&mut self) -> Result<(), Disconnected> {
        self.ready(|| ()).await?;
        self.socket.flush().await.map_err(|_| Disconnected)
    }
}
