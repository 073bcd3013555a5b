//! Signs as the agent.

use std::fmt;

use nostr::nips::nip19::ToBech32;
use nostr::signer::SignerBackend;
use nostr::util::BoxedFuture;
use nostr::{Event, EventBuilder, Keys, NostrSigner, PublicKey, SignerError, UnsignedEvent};
use secrecy::SecretString;

/// Signs as the agent.
#[derive(Clone)]
pub struct Signer(Keys);

impl Signer {
    pub(crate) fn new(keys: Keys) -> Self {
        Self(keys)
    }

    /// Returns a signer with a new key that is not stored.
    #[must_use]
    pub fn throwaway() -> Self {
        Self(Keys::generate())
    }

    /// Returns the agent's public key.
    #[must_use]
    pub fn public_key(&self) -> PublicKey {
        self.0.public_key()
    }

    /// Returns the agent's public key as an npub (NIP-19).
    #[must_use]
    pub fn npub(&self) -> String {
        let Ok(npub) = self.0.public_key().to_bech32();
        npub
    }

    /// Signs an event.
    ///
    /// # Errors
    /// Fails if the builder has another author.
    pub fn sign(&self, builder: EventBuilder) -> Result<Event, SignerError> {
        builder.sign_with_keys(&self.0).map_err(SignerError::backend)
    }

    /// Returns the secret key as an nsec (NIP-19).
    #[must_use]
    pub fn reveal(&self) -> SecretString {
        let Ok(nsec) = self.0.secret_key().to_bech32();
        nsec.into()
    }

    pub(crate) fn keys(&self) -> &Keys {
        &self.0
    }
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Signer({})", self.npub())
    }
}

impl NostrSigner for Signer {
    fn backend(&self) -> SignerBackend<'_> {
        self.0.backend()
    }

    fn get_public_key(&self) -> BoxedFuture<'_, Result<PublicKey, SignerError>> {
        self.0.get_public_key()
    }

    fn sign_event(&self, unsigned: UnsignedEvent) -> BoxedFuture<'_, Result<Event, SignerError>> {
        self.0.sign_event(unsigned)
    }

    fn nip04_encrypt<'a>(&'a self, to: &'a PublicKey, text: &'a str) -> BoxedFuture<'a, Result<String, SignerError>> {
        self.0.nip04_encrypt(to, text)
    }

    fn nip04_decrypt<'a>(&'a self, from: &'a PublicKey, text: &'a str) -> BoxedFuture<'a, Result<String, SignerError>> {
        self.0.nip04_decrypt(from, text)
    }

    fn nip44_encrypt<'a>(&'a self, to: &'a PublicKey, text: &'a str) -> BoxedFuture<'a, Result<String, SignerError>> {
        self.0.nip44_encrypt(to, text)
    }

    fn nip44_decrypt<'a>(&'a self, from: &'a PublicKey, text: &'a str) -> BoxedFuture<'a, Result<String, SignerError>> {
        self.0.nip44_decrypt(from, text)
    }
}
