//! The rust-nostr client, over this agent's own dialer.

use std::sync::Arc;

use brotr_net::{Dialer, GuardedTransport};
use nostr::NostrSigner;
use nostr_sdk::{Client, ClientOptions};

/// A client that signs with this key and dials through this guard.
#[must_use]
pub fn client(signer: impl NostrSigner + 'static, dialer: &Arc<Dialer>) -> Client {
    Client::builder()
        .signer(signer)
        .websocket_transport(GuardedTransport(dialer.clone()))
        .opts(ClientOptions::new().automatic_authentication(true))
        .build()
}
