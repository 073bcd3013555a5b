//! An event as it was signed, and the proof that it was verified.
//!
//! The type is our own because the archive must return whatever a client can sign: `nostr::Event` refuses an empty inner tag
//! (`[[]]`), which NIP-01 allows.

use std::fmt;
use std::sync::LazyLock;

use brotr_schnorr::{Signed, Verifier};
use data_encoding::HEXLOWER;
use nostr::secp256k1::schnorr::Signature;
use nostr::{EventId, PublicKey};
use serde::{Serialize, Serializer};
use sha2::{Digest, Sha256};

use crate::RawEvent;

/// The most public keys that are cached for verification, 150 bytes each.
const KNOWN_KEYS: usize = 50_000;

/// A parsed event (NIP-01) whose id and signature are claims, not yet checked.
#[derive(Clone, PartialEq, Eq)]
pub struct Event {
    /// The claimed id.
    pub id: EventId,
    /// The author.
    pub pubkey: PublicKey,
    /// Unix seconds. Never negative, at most `i64::MAX`.
    pub created_at: i64,
    /// The kind.
    pub kind: u16,
    /// The tags, in order, values unchanged; an inner tag may be empty.
    pub tags: Vec<Vec<String>>,
    /// The content, which may hold NUL.
    pub content: String,
    /// The claimed Schnorr signature.
    pub sig: [u8; 64],
}

/// Why an event is invalid.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidEvent {
    /// Not the JSON of an event.
    #[error("not an event: {0}")]
    Malformed(String),
    /// The id is not the hash of the contents.
    #[error("wrong id: the contents hash to another")]
    Id,
    /// The signature is not one of the id by the author.
    #[error("wrong signature")]
    Signature,
}

impl Event {
    /// Parses one event. Fields other than NIP-01's are not signed and are dropped.
    ///
    /// # Errors
    /// Fails if the text is not JSON, or a field is missing, duplicated, of another type or out of range.
    pub fn from_json(json: &str) -> Result<Self, InvalidEvent> {
        RawEvent::from_json(json)?.parse()
    }

    /// Returns the event as one line of JSON, fields in NIP-01's order, without white space.
    #[must_use]
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("strings and numbers always serialize")
    }

    /// Recomputes the id.
    ///
    /// # Errors
    /// [`InvalidEvent::Id`] if it is not the claimed one.
    pub fn identify(self) -> Result<Identified, InvalidEvent> {
        let mut author = [0; 64];
        HEXLOWER.encode_mut(self.pubkey.as_bytes(), &mut author);
        let author = str::from_utf8(&author).expect("hexadecimal is ASCII");
        let preimage = (0, author, self.created_at, self.kind, &self.tags, &self.content);
        let preimage = serde_json::to_vec(&preimage).expect("strings and numbers always serialize");
        if Sha256::digest(&preimage).as_slice() == self.id.as_bytes() {
            Ok(Identified(self))
        } else {
            Err(InvalidEvent::Id)
        }
    }

    /// Recomputes the id and verifies the signature.
    ///
    /// # Errors
    /// [`InvalidEvent::Id`] or [`InvalidEvent::Signature`].
    pub fn verify(self) -> Result<Verified, InvalidEvent> {
        self.identify()?.verify()
    }

    /// Returns the first value of each tag with a one-letter name, which filters can match (NIP-01).
    pub fn indexed_tags(&self) -> impl Iterator<Item = (char, &str)> {
        crate::filter::indexed_tags(&self.tags)
    }
}

impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_json())
    }
}

/// An event whose id is the hash of its contents. This is enough to recognise a stored event, but not to store one.
#[derive(Debug, Clone)]
pub struct Identified(Event);

impl Identified {
    /// Returns the event.
    #[must_use]
    pub fn event(&self) -> &Event {
        &self.0
    }

    /// Verifies the signature.
    ///
    /// # Errors
    /// [`InvalidEvent::Signature`].
    pub fn verify(self) -> Result<Verified, InvalidEvent> {
        self.judge(|signed| signed.is_valid())
    }

    /// Verifies the signatures of several events together, which costs a quarter of verifying each by itself if there are
    /// hundreds. One invalid signature costs most of the gain.
    ///
    /// # Errors
    /// [`InvalidEvent::Signature`], for each event separately.
    #[must_use]
    pub fn verify_all(events: Vec<Self>) -> Vec<Result<Verified, InvalidEvent>> {
        static VERIFIER: LazyLock<Verifier> = LazyLock::new(|| Verifier::new(KNOWN_KEYS));
        let signed: Vec<Signed> = events.iter().map(Self::signed).collect();
        let verdicts = VERIFIER.verify(&signed);
        events.into_iter().zip(verdicts).map(|(event, is_valid)| event.judge(|_| is_valid)).collect()
    }

    fn signed(&self) -> Signed {
        Signed { public_key: self.0.pubkey.to_bytes(), message: self.0.id.to_bytes(), signature: self.0.sig }
    }

    fn judge(self, is_valid: impl FnOnce(Signed) -> bool) -> Result<Verified, InvalidEvent> {
        if is_valid(self.signed()) { Ok(Verified(self.0)) } else { Err(InvalidEvent::Signature) }
    }
}

/// An event whose id and signature were verified: the only thing the archive stores.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified(Event);

impl Verified {
    /// Returns the event.
    #[must_use]
    pub fn event(&self) -> &Event {
        &self.0
    }

    /// Returns the event without the proof.
    #[must_use]
    pub fn into_event(self) -> Event {
        self.0
    }
}

impl From<&nostr::Event> for Event {
    fn from(event: &nostr::Event) -> Self {
        Self {
            id: event.id,
            pubkey: event.pubkey,
            created_at: i64::try_from(event.created_at.as_secs()).unwrap_or(i64::MAX),
            kind: event.kind.as_u16(),
            tags: event.tags.iter().map(|tag| tag.as_slice().to_vec()).collect(),
            content: event.content.clone(),
            sig: event.sig.serialize(),
        }
    }
}

impl TryFrom<&Event> for nostr::Event {
    type Error = InvalidEvent;

    /// Fails for an event with an empty inner tag, which `nostr::Event` cannot hold.
    fn try_from(event: &Event) -> Result<Self, InvalidEvent> {
        let malformed = |what: &dyn fmt::Display| InvalidEvent::Malformed(what.to_string());
        let tags = event.tags.iter().map(|tag| nostr::Tag::parse(tag.iter()).map_err(|e| malformed(&e)));
        Ok(Self::new(
            event.id,
            event.pubkey,
            nostr::Timestamp::from(event.created_at.cast_unsigned()),
            nostr::Kind::from(event.kind),
            tags.collect::<Result<Vec<_>, _>>()?,
            event.content.clone(),
            Signature::from_slice(&event.sig).map_err(|e| malformed(&e))?,
        ))
    }
}

/// Decodes a field of `N` bytes in lower-case hexadecimal.
pub(crate) fn fixed<const N: usize>(name: &str, text: &str) -> Result<[u8; N], String> {
    let mut out = [0; N];
    match text.len() == N * 2 && HEXLOWER.decode_mut(text.as_bytes(), &mut out).is_ok() {
        true => Ok(out),
        false => Err(format!("{name} must be {} lower-case hex digits", N * 2)),
    }
}

#[derive(Serialize)]
struct Wire<'a> {
    id: String,
    pubkey: String,
    created_at: i64,
    kind: u16,
    tags: &'a [Vec<String>],
    content: &'a str,
    sig: String,
}

impl Serialize for Event {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Wire {
            id: self.id.to_hex(),
            pubkey: self.pubkey.to_hex(),
            created_at: self.created_at,
            kind: self.kind,
            tags: &self.tags,
            content: &self.content,
            sig: HEXLOWER.encode(&self.sig),
        }
        .serialize(serializer)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn an_event_is_written_as_it_was_read(
            content: String,
            tags in prop::collection::vec(prop::collection::vec(any::<String>(), 0..4), 0..4),
            created_at in 0..=i64::MAX,
            kind: u16,
            bytes in any::<[u8; 32]>(),
        ) {
            let sig = [bytes, bytes].concat().try_into().expect("64 bytes");
            let id = EventId::from_byte_array(bytes);
            let event = Event { id, pubkey: PublicKey::from_byte_array(bytes), created_at, kind, tags, content, sig };
            prop_assert_eq!(Event::from_json(&event.to_json()), Ok(event));
        }

        #[test]
        fn no_text_panics(text: String) {
            let _ = Event::from_json(&text);
        }
    }

    #[test]
    fn batches_have_the_verdicts_of_single_events() {
        let keys: Vec<_> = (0..5).map(|_| nostr::Keys::generate()).collect();
        for (n, bad) in [(0, vec![]), (3, vec![1]), (40, vec![]), (40, vec![0, 17, 39]), (200, vec![63])] {
            let events: Vec<Identified> = (0..n)
                .map(|i| {
                    let event =
                        nostr::EventBuilder::text_note(format!("{i}")).sign_with_keys(&keys[i % 5]).expect("signed");
                    let mut event = Event::from(&event);
                    if bad.contains(&i) {
                        // A valid signature by the same author, of something else.
                        event.sig =
                            keys[i % 5].sign_schnorr(&nostr::secp256k1::Message::from_digest([7; 32])).serialize();
                    }
                    event.identify().expect("its id")
                })
                .collect();
            let alone: Vec<_> = events.iter().cloned().map(Identified::verify).collect();
            assert_eq!(alone.iter().filter(|verdict| verdict.is_err()).count(), bad.len());
            assert_eq!(Identified::verify_all(events), alone);
        }
    }

    #[test]
    fn invalid_events_get_a_specific_error() {
        let good = serde_json::json!({"id": "0".repeat(64), "pubkey": "a".repeat(64), "created_at": 1, "kind": 1, "tags": [],
            "content": "", "sig": "0".repeat(128)});
        assert!(Event::from_json(&good.to_string()).is_ok());
        for (field, value) in [
            ("id", serde_json::json!("A".repeat(64))),
            ("pubkey", serde_json::json!("0".repeat(63))),
            ("created_at", serde_json::json!(-1)),
            ("created_at", serde_json::json!(1.7e9)),
            ("created_at", serde_json::json!(u64::MAX)),
            ("kind", serde_json::json!(65_536)),
            ("tags", serde_json::json!([[1]])),
            ("tags", serde_json::json!([["a", null]])),
            ("content", serde_json::json!(null)),
        ] {
            let mut bad = good.clone();
            bad[field] = value;
            assert!(matches!(Event::from_json(&bad.to_string()), Err(InvalidEvent::Malformed(_))), "{bad}");
        }
        let twice = good.to_string().replacen("{", r#"{"kind":2,"#, 1);
        assert!(Event::from_json(&twice).is_err(), "a key that is there twice");
        let list = serde_json::json!(["0".repeat(64), "a".repeat(64), 1, 1, [], "", "0".repeat(128)]);
        assert!(Event::from_json(&list.to_string()).is_err(), "the values without their names");
        assert!(Event::from_json(r#"{"content":"\ud800"}"#).is_err(), "a lone surrogate");
        assert_eq!(Event::from_json(&good.to_string()).expect("parsed").verify(), Err(InvalidEvent::Id));
    }
}
