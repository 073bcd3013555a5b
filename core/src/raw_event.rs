//! An event as received, parsed no further than necessary.

use data_encoding::HEXLOWER;
use nostr::{EventId, Filter, PublicKey};
use serde::Deserialize;
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

use crate::event::fixed;
use crate::filter::{asks_for, asks_for_tags};
use crate::{Event, InvalidEvent};

/// An event (NIP-01) of which id, author, time, kind and signature are parsed, while tags and content are the received text.
/// Most events that relays send are known already, and need no more.
#[derive(Debug, Clone)]
pub struct RawEvent {
    /// The claimed id.
    pub id: EventId,
    /// The author.
    pub pubkey: PublicKey,
    /// Unix seconds. Never negative.
    pub created_at: i64,
    /// The kind.
    pub kind: u16,
    sig: [u8; 64],
    /// The JSON of the tags, and from `content_at` on that of the content.
    text: Box<str>,
    content_at: usize,
}

#[derive(Deserialize)]
struct Wire<'a> {
    #[serde(borrow)]
    id: std::borrow::Cow<'a, str>,
    #[serde(borrow)]
    pubkey: std::borrow::Cow<'a, str>,
    created_at: i64,
    kind: u16,
    #[serde(borrow)]
    tags: &'a RawValue,
    #[serde(borrow)]
    content: &'a RawValue,
    #[serde(borrow)]
    sig: std::borrow::Cow<'a, str>,
}

fn malformed(what: &dyn std::fmt::Display) -> InvalidEvent {
    InvalidEvent::Malformed(what.to_string())
}

impl RawEvent {
    /// Parses one event. [`RawEvent::parse`] checks tags and content.
    ///
    /// # Errors
    /// Fails if the text is not JSON, or a field is missing, duplicated, of another type or out of range.
    pub fn from_json(json: &str) -> Result<Self, InvalidEvent> {
        // An array of the same values would deserialize as well.
        if !json.trim_start().starts_with('{') {
            return Err(malformed(&"an event is a JSON object"));
        }
        let wire: Wire<'_> = serde_json::from_str(json).map_err(|error| malformed(&error))?;
        if wire.created_at < 0 {
            return Err(malformed(&"created_at must not be negative"));
        }
        let (tags, content) = (wire.tags.get(), wire.content.get());
        Ok(Self {
            id: EventId::from_byte_array(fixed("id", &wire.id).map_err(|error| malformed(&error))?),
            pubkey: PublicKey::from_byte_array(fixed("pubkey", &wire.pubkey).map_err(|error| malformed(&error))?),
            created_at: wire.created_at,
            kind: wire.kind,
            sig: fixed("sig", &wire.sig).map_err(|error| malformed(&error))?,
            text: [tags, content].concat().into(),
            content_at: tags.len(),
        })
    }

    /// Parses the rest.
    ///
    /// # Errors
    /// Fails if tags are not lists of strings or the content is not a string.
    pub fn parse(&self) -> Result<Event, InvalidEvent> {
        Ok(Event {
            id: self.id,
            pubkey: self.pubkey,
            created_at: self.created_at,
            kind: self.kind,
            tags: self.tags()?,
            content: serde_json::from_str(&self.text[self.content_at..])
                .map_err(|error| malformed(&format_args!("content: {error}")))?,
            sig: self.sig,
        })
    }

    fn tags(&self) -> Result<Vec<Vec<String>>, InvalidEvent> {
        serde_json::from_str(&self.text[..self.content_at]).map_err(|error| malformed(&format_args!("tags: {error}")))
    }

    /// Returns true if the id is the hash of the received text. If it is the id of a known event, this is that event, down to
    /// the byte; of an unknown one it proves nothing yet, since only one serialization of an event is the right one.
    #[must_use]
    pub fn is_as_signed(&self) -> bool {
        let mut author = [0; 64];
        HEXLOWER.encode_mut(self.pubkey.as_bytes(), &mut author);
        let (tags, content) = self.text.split_at(self.content_at);
        let hash = Sha256::new()
            .chain_update("[0,\"")
            .chain_update(author)
            .chain_update(format!("\",{},{},", self.created_at, self.kind))
            .chain_update(tags)
            .chain_update(",")
            .chain_update(content)
            .chain_update("]")
            .finalize();
        hash.as_slice() == self.id.as_bytes()
    }

    /// Returns true if it matches a filter. `limit` and `search` are ignored.
    ///
    /// # Errors
    /// Fails if the filter matches tags, and these are not lists of strings.
    pub fn matches(&self, filter: &Filter) -> Result<bool, InvalidEvent> {
        let head = asks_for(filter, &self.id, &self.pubkey, self.kind, self.created_at);
        Ok(head && (filter.generic_tags.is_empty() || asks_for_tags(filter, &self.tags()?)))
    }
}

#[cfg(test)]
mod tests {
    use nostr::{EventBuilder, Keys, Kind, Tag};
    use proptest::prelude::*;

    use super::*;
    use crate::matches;

    proptest! {
        #[test]
        fn an_event_is_parsed_as_in_whole_messages(
            content: String,
            tags in prop::collection::vec(prop::collection::vec("[a-z\\PC]{0,5}", 1..4), 0..4),
            created_at in 0..=u64::MAX / 2,
            letter in "[a-c]",
        ) {
            let tags = tags.into_iter().map(|tag| Tag::parse(tag).expect("a tag"));
            let event = EventBuilder::new(Kind::TextNote, content)
                .tags(tags)
                .custom_created_at(created_at.into())
                .sign_with_keys(&Keys::generate())
                .expect("signed");
            let event = Event::from(&event);
            let raw = RawEvent::from_json(&event.to_json()).expect("an event");
            prop_assert!(raw.is_as_signed());
            prop_assert_eq!(raw.parse(), Ok(event.clone()));
            // Serialized in another way, it is the same event, but not as it was signed.
            let spaced = event.to_json().replacen("\"tags\":[", "\"tags\":[ ", 1).replacen('{', "{\"more\":[],", 1);
            let spaced = RawEvent::from_json(&spaced).expect("an event");
            prop_assert!(!spaced.is_as_signed());
            prop_assert_eq!(spaced.parse(), Ok(event.clone()));
            for filter in [
                serde_json::json!({ format!("#{letter}"): ["a", "b", ""] }),
                serde_json::json!({"kinds": [1], "until": 1_u64 << 40}),
                serde_json::json!({"kinds": [2]}),
                serde_json::json!({"ids": [event.id], "authors": [event.pubkey], "since": created_at}),
            ] {
                let filter = crate::parse_filter(&filter).expect("a filter");
                prop_assert_eq!(raw.matches(&filter), Ok(matches(&filter, &event)));
            }
        }

        #[test]
        fn a_raw_event_agrees_with_its_text(
            text: String,
            tags in prop_oneof![any::<String>(), r#"\[(\["[a-z\\]{0,4}"\])?\]"#],
            content in prop_oneof![any::<String>(), r#""[a-z\\"nu0-9]{0,6}""#],
        ) {
            let _ = RawEvent::from_json(&text);
            let event = format!(r#"{{"id":"{0}","pubkey":"{0}","created_at":1,"kind":1,"sig":"{0}{0}","tags":{tags},"content":{content}}}"#,
                "0".repeat(64));
            if let Ok(parsed) = RawEvent::from_json(&event).and_then(|raw| raw.parse()) {
                let value: serde_json::Value = serde_json::from_str(&event).expect("JSON");
                prop_assert_eq!(&value["tags"], &serde_json::json!(parsed.tags));
                prop_assert_eq!(&value["content"], &serde_json::json!(parsed.content));
            }
        }
    }

    #[test]
    fn a_signature_counts_only_for_what_was_signed() {
        let event = EventBuilder::text_note("a").sign_with_keys(&Keys::generate()).expect("signed");
        let json = Event::from(&event).to_json();
        for (from, to) in
            [("\"content\":\"a\"", "\"content\":\"b\""), ("\"tags\":[]", "\"tags\":[[]]"), ("\"kind\":1", "\"kind\":2")]
        {
            let other = RawEvent::from_json(&json.replacen(from, to, 1)).expect("an event");
            assert!(!other.is_as_signed(), "{to}");
        }
        for (from, to) in [
            ("\"tags\":[]", "\"tags\":[1]"),
            ("\"content\":\"a\"", "\"content\":null"),
            ("\"content\":\"a\"", "\"content\":\"\\ud800\""),
        ] {
            let bad = json.replacen(from, to, 1);
            assert!(RawEvent::from_json(&bad).and_then(|raw| raw.parse()).is_err(), "{to}");
        }
    }
}
