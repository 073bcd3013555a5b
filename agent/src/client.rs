//! The rust-nostr client, over the agent's dialer.

use std::sync::Arc;

use brotr_net::{Dialer, GuardedTransport};
use nostr::NostrSigner;
use nostr_sdk::{Client, ClientOptions};

/// Returns a client that signs with this key and connects through the dialer's guard.
#[must_use]
pub fn client(signer: impl NostrSigner + 'static, dialer: &Arc<Dialer>) -> Client {
    Client::builder()
        .signer(signer)
        .websocket_transport(GuardedTransport(dialer.clone()))
        .opts(ClientOptions::new().automatic_authentication(true))
        .build()
}
