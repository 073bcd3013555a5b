//! Relay information documents (NIP-11), kept as received and read field by field, since real ones are full of
//! fields of the wrong type.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use super::http::{self, HttpError};
use super::{Address, Dialer};

/// A document is at most so large.
const MAX_DOCUMENT: usize = 512 << 10;

/// A relay information document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Info {
    /// The text as received.
    pub text: String,
    fields: Value,
}

impl Info {
    /// Reads a document.
    ///
    /// # Errors
    /// When it is not a JSON object.
    pub fn parse(body: Vec<u8>) -> Result<Self, String> {
        let text = String::from_utf8(body).map_err(|_| "not UTF-8".to_owned())?;
        let fields: Value = serde_json::from_str(&text).map_err(|e| format!("not JSON: {e}"))?;
        if !fields.is_object() {
            return Err("not a JSON object".into());
        }
        Ok(Self { text, fields })
    }

    /// The NIPs it claims: whole numbers, also where they are written as text, in order and once each.
    #[must_use]
    pub fn nips(&self) -> BTreeSet<u16> {
        let number = |v: &Value| match v {
            Value::String(text) => text.parse().ok(),
            other => other.as_u64().and_then(|n| u16::try_from(n).ok()),
        };
        self.fields["supported_nips"].as_array().into_iter().flatten().filter_map(number).collect()
    }

    /// A switch under `limitation`, such as `auth_required`; `None` where it is not said.
    #[must_use]
    pub fn limitation(&self, name: &str) -> Option<bool> {
        match &self.fields["limitation"][name] {
            Value::Bool(on) => Some(*on),
            Value::Number(n) => Some(n.as_u64() != Some(0)),
            _ => None,
        }
    }

    /// A number under `limitation`, such as `max_limit`.
    #[must_use]
    pub fn limit(&self, name: &str) -> Option<u64> {
        self.fields["limitation"][name].as_u64()
    }

    /// A text field, such as `name`.
    #[must_use]
    pub fn text_field(&self, name: &str) -> Option<&str> {
        self.fields[name].as_str()
    }
}

/// Fetches a relay's document; the content type is not looked at, since many relays send another.
///
/// # Errors
/// When there is none, or it is no JSON object of at most 512 KiB.
pub async fn fetch(dialer: &Arc<Dialer>, address: &Address) -> Result<(Info, Duration), HttpError> {
    let answer = http::get(dialer, &address.info_url(), "application/nostr+json", MAX_DOCUMENT).await?;
    let info = Info::parse(answer.body).map_err(HttpError::Failed)?;
    Ok((info, answer.took))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_of_the_wrong_type_are_not_there() {
        let body =
            br#"{"name": 7, "supported_nips": [1, "11", 42, 42, -1, 1.5, "7D", null, 99999], "limitation": null}"#;
        let info = Info::parse(body.to_vec()).expect("an object");
        assert_eq!(info.nips(), BTreeSet::from([1, 11, 42]));
        assert_eq!(
            (info.text_field("name"), info.limitation("auth_required"), info.limit("max_limit")),
            (None, None, None)
        );
        let info =
            Info::parse(br#"{"limitation":{"auth_required":true,"max_limit":500,"min_pow_difficulty":0}}"#.to_vec());
        let info = info.expect("an object");
        assert_eq!((info.limitation("auth_required"), info.limit("max_limit")), (Some(true), Some(500)));
        assert_eq!(info.limitation("min_pow_difficulty"), Some(false));
    }

    #[test]
    fn what_is_no_object_is_no_document() {
        for body in [&b"[]"[..], b"\"x\"", b"<html>", b"\xff", b"", "[".repeat(100_000).as_bytes()] {
            assert!(Info::parse(body.to_vec()).is_err());
        }
    }
}
