//! Sessions on a shared connection, and the turns that they take.

use brotr_core::RelayUrl;

use crate::page::End;
use crate::session::Session;
use crate::shared::Party;
use crate::socket::Socket;
use crate::{DialError, Dialer, Purpose};

impl Session {
    /// Connects to a relay for a subscription that stays open. The connection is shared with those that [join](Self::join) it;
    /// `logged_in` says whether it may be one that is authenticated (NIP-42).
    ///
    /// # Errors
    /// See [`DialError`].
    pub async fn open_shared(dialer: &Dialer, address: &RelayUrl, logged_in: bool) -> Result<Self, DialError> {
        let connection = dialer.dial_shared(address, Purpose::Live, Party::Session(logged_in)).await?;
        Ok(Self::of(dialer, address, connection))
    }

    /// Joins a connection to a relay that is open and shared, if there is one. `logged_in` says whether it may be one that is
    /// authenticated (NIP-42).
    pub async fn join(dialer: &Dialer, address: &RelayUrl, logged_in: bool) -> Option<Self> {
        let connection = dialer.join(address, Party::Session(logged_in)).await?;
        Some(Self::of(dialer, address, connection))
    }

    /// Returns true if others use the connection as well.
    #[must_use]
    pub fn is_shared(&self) -> bool {
        matches!(self.connection.socket, Socket::Shared(_))
    }

    /// Keeps other sessions from the connection until this one ends, so that it can measure; returns false if they do not let
    /// go of it.
    pub async fn keep_turn(&mut self) -> bool {
        self.keeps_turn = self.take_turn().await.is_ok();
        self.keeps_turn
    }

    /// Waits until no other session has a request under way on a shared connection.
    pub(crate) async fn take_turn(&mut self) -> Result<(), End> {
        if let Socket::Shared(branch) = &self.connection.socket
            && self.turn.is_none()
        {
            let turn = branch.turn().await;
            self.turn = Some(turn.ok_or_else(|| End::Disconnect("others do not let go of the connection".to_owned()))?);
        }
        Ok(())
    }

    /// Returns how often messages of this connection waited because a party did not read: a time that was measured meanwhile is
    /// not the relay's.
    #[must_use]
    pub fn held_up(&self) -> u64 {
        match &self.connection.socket {
            Socket::Own(_) => 0,
            Socket::Shared(branch) => branch.held_up(),
        }
    }

    /// Returns true if another session waits for a turn.
    pub(crate) fn is_awaited(&self) -> bool {
        matches!(&self.connection.socket, Socket::Shared(branch) if branch.is_awaited())
    }

    /// Lets other sessions use a shared connection.
    pub(crate) fn end_turn(&mut self) {
        if !self.keeps_turn && self.ahead.is_none() {
            self.turn = None;
        }
    }
}
