//! The rust-nostr client, over the agent's dialer.

use std::sync::Arc;

use brotr_net::{Dialer, GuardedTransport};
use brotr_storage::NostrArchive;
use nostr::NostrSigner;
use nostr_sdk::{Client, ClientBuilder, ClientOptions};

/// Returns a client that signs with this key and connects through the dialer's guard.
#[must_use]
pub fn client(signer: impl NostrSigner + 'static, dialer: &Arc<Dialer>) -> Client {
    builder(signer, dialer).build()
}

/// Returns such a client that sends what an archive holds.
#[must_use]
pub fn client_of(archive: NostrArchive, signer: impl NostrSigner + 'static, dialer: &Arc<Dialer>) -> Client {
    builder(signer, dialer).database(archive).build()
}

fn builder(signer: impl NostrSigner + 'static, dialer: &Arc<Dialer>) -> ClientBuilder {
    Client::builder()
        .signer(signer)
        .websocket_transport(GuardedTransport(dialer.clone()))
        .opts(ClientOptions::new().automatic_authentication(true))
}
