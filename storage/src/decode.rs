//! Decodes ids and keys from columns.

use nostr::{EventId, PublicKey};

use crate::StorageError;

pub(crate) fn event_id(bytes: &[u8]) -> Result<EventId, StorageError> {
    EventId::from_slice(bytes).map_err(|e| StorageError::Damaged { what: "event id", detail: e.to_string() })
}

pub(crate) fn public_key(bytes: &[u8]) -> Result<PublicKey, StorageError> {
    PublicKey::from_slice(bytes).map_err(|e| StorageError::Damaged { what: "public key", detail: e.to_string() })
}
