//! Encrypted requests and answers (NIP-90): tags become a JSON list in the content, encrypted between customer and service.
//! Both NIP-44 and NIP-04 are supported, and answered in kind.

use brotr_keys::Signer;
use nostr::{Event, NostrSigner, PublicKey, Tag};

use crate::JobError;

/// How a request was encrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seal {
    /// NIP-44.
    Nip44,
    /// NIP-04, which NIP-90 still names.
    Nip04,
}

impl Seal {
    /// Returns how an event is encrypted, if it is.
    #[must_use]
    pub fn of(event: &Event) -> Option<Self> {
        let sealed = event.tags.iter().any(|tag| tag.as_slice()[0] == "encrypted");
        sealed.then(|| if event.content.contains("?iv=") { Self::Nip04 } else { Self::Nip44 })
    }

    /// Returns the tags in an event's encrypted content.
    ///
    /// # Errors
    /// Fails if it was not encrypted to us, or holds no tags.
    pub(crate) async fn open(self, signer: &Signer, event: &Event) -> Result<Vec<Tag>, JobError> {
        let opened = self.read(signer, &event.pubkey, &event.content).await;
        let unreadable = || JobError::Wrong("the request cannot be decrypted: encrypt it to our key by NIP-44".into());
        let text = opened.map_err(|_| unreadable())?;
        // The registry's own example omits the outer brackets.
        let tags: Vec<Vec<String>> = serde_json::from_str(&text)
            .or_else(|_| serde_json::from_str(&format!("[{text}]")))
            .map_err(|_| JobError::Wrong("what was encrypted is no JSON list of tags".into()))?;
        Ok(tags.into_iter().filter_map(|tag| Tag::parse(tag).ok()).collect())
    }

    /// Decrypts text between a customer and us.
    ///
    /// # Errors
    /// Fails if it cannot be decrypted.
    pub(crate) async fn read(
        self,
        signer: &Signer,
        with: &PublicKey,
        text: &str,
    ) -> Result<String, nostr::SignerError> {
        match self {
            Self::Nip44 => signer.nip44_decrypt(with, text).await,
            Self::Nip04 => signer.nip04_decrypt(with, text).await,
        }
    }

    /// Encrypts text for the customer.
    ///
    /// # Errors
    /// Fails if it is too long.
    pub(crate) async fn close(self, signer: &Signer, to: &PublicKey, text: &str) -> Result<String, nostr::SignerError> {
        match self {
            Self::Nip44 => signer.nip44_encrypt(to, text).await,
            Self::Nip04 => signer.nip04_encrypt(to, text).await,
        }
    }
}
