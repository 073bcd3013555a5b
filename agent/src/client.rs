//! The rust-nostr client, over the agent's dialer.

use std::sync::Arc;

use brotr_keys::Signer;
use brotr_net::{Dialer, GuardedTransport};
use brotr_storage::NostrArchive;
use nostr::NostrSigner;
use nostr_sdk::{Client, ClientBuilder, ClientOptions};

/// Returns a client that signs with this key and connects through the dialer's guard.
#[must_use]
pub fn client(signer: impl NostrSigner + 'static, dialer: &Arc<Dialer>) -> Client {
    builder(signer, GuardedTransport::new(dialer.clone())).build()
}

/// Returns the client of the agent itself: it uses the connections that are open to relays for other reasons.
#[must_use]
pub fn own_client(signer: Signer, dialer: &Arc<Dialer>) -> Client {
    builder(signer, GuardedTransport::shared(dialer.clone())).build()
}

/// Returns such a client that sends what an archive holds.
#[must_use]
pub fn client_of(archive: NostrArchive, signer: impl NostrSigner + 'static, dialer: &Arc<Dialer>) -> Client {
    builder(signer, GuardedTransport::new(dialer.clone())).database(archive).build()
}

fn builder(signer: impl NostrSigner + 'static, transport: GuardedTransport) -> ClientBuilder {
    Client::builder()
        .signer(signer)
        .websocket_transport(transport)
        .opts(ClientOptions::new().automatic_authentication(true))
}
