//! Relay information documents (NIP-11), kept as received and read field by field, since real ones have many fields of the
//! wrong type.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use brotr_core::RelayUrl;
use serde_json::Value;

use crate::http::{self, HttpError};
use crate::{Dialer, Trace};

/// The largest document, in bytes.
const MAX_DOCUMENT: usize = 64 << 10;

/// Kinds listed per range: a document may name thousands of ranges, each of all kinds.
const MAX_OF_RANGE: usize = 50;

/// A relay information document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Info {
    /// The text as received.
    pub text: String,
    fields: Value,
}

impl Info {
    /// Parses a document.
    ///
    /// # Errors
    /// Fails if it is not a JSON object.
    pub fn parse(body: Vec<u8>) -> Result<Self, String> {
        let text = String::from_utf8(body).map_err(|_| "not UTF-8".to_owned())?;
        let fields: Value = serde_json::from_str(&text).map_err(|e| format!("not JSON: {e}"))?;
        if !fields.is_object() {
            return Err("not a JSON object".into());
        }
        Ok(Self { text, fields })
    }

    /// Returns the NIPs that it claims: whole numbers, also if written as text, in order and without duplicates.
    #[must_use]
    pub fn nips(&self) -> BTreeSet<u16> {
        let number = |v: &Value| match v {
            Value::String(text) => text.parse().ok(),
            other => other.as_u64().and_then(|n| u16::try_from(n).ok()),
        };
        self.fields["supported_nips"].as_array().into_iter().flatten().filter_map(number).collect()
    }

    /// Returns a switch under `limitation`, such as `auth_required`; `None` if it is absent.
    #[must_use]
    pub fn limitation(&self, name: &str) -> Option<bool> {
        match &self.fields["limitation"][name] {
            Value::Bool(on) => Some(*on),
            Value::Number(n) => Some(n.as_u64() != Some(0)),
            _ => None,
        }
    }

    /// Returns a number under `limitation`, such as `max_limit`.
    #[must_use]
    pub fn limit(&self, name: &str) -> Option<u64> {
        self.fields["limitation"][name].as_u64()
    }

    /// Returns true if another document has the same content, however it is written.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        self.fields == other.fields
    }

    /// Returns the topics (`tags`, which NIP-11 once had), in the form of NIP-66's `t`.
    pub fn topics(&self) -> impl Iterator<Item = String> {
        let is_topic = |text: &String| {
            text.starts_with(|c: char| c.is_ascii_lowercase())
                && text.len() <= 50
                && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        };
        self.words("tags").map(|text| text.to_lowercase()).filter(is_topic)
    }

    /// Returns the languages (`language_tags`, which NIP-11 once had), by their two letters (ISO 639-1).
    pub fn languages(&self) -> impl Iterator<Item = String> {
        let is_short = |text: &&str| matches!(text.as_bytes().get(2), None | Some(b'-'));
        let languages: BTreeSet<String> = self
            .words("language_tags")
            .filter(is_short)
            .filter_map(|text| Some(text.get(..2)?.to_lowercase()))
            .filter(|text| text.bytes().all(|b| b.is_ascii_lowercase()))
            .collect();
        languages.into_iter()
    }

    /// Returns the kinds with a retention time of zero (`retention`, which NIP-11 once had), alone or in ranges such as `[40,
    /// 49]`, in order. Of a range the first 50 are listed.
    pub fn refused_kinds(&self) -> impl Iterator<Item = u16> {
        let rules = self.fields["retention"].as_array().into_iter().flatten();
        let none = rules.filter(|rule| rule["time"].as_u64() == Some(0) && rule["count"].is_null());
        let kind = |value: &Value| value.as_u64().and_then(|kind| u16::try_from(kind).ok());
        let kinds: BTreeSet<u16> = none
            .flat_map(|rule| rule["kinds"].as_array().into_iter().flatten())
            .filter_map(|kinds| match kinds.as_array().map(Vec::as_slice) {
                Some([first, last]) => Some(kind(first)?..=kind(last)?),
                Some(_) => None,
                None => kind(kinds).map(|kind| kind..=kind),
            })
            .flat_map(|range| range.take(MAX_OF_RANGE))
            .collect();
        kinds.into_iter()
    }

    fn words(&self, field: &str) -> impl Iterator<Item = &str> {
        self.fields[field].as_array().into_iter().flatten().filter_map(Value::as_str)
    }

    /// Returns a text field, such as `name`.
    #[must_use]
    pub fn text_field(&self, name: &str) -> Option<&str> {
        self.fields[name].as_str()
    }
}

/// Fetches a relay's document; the content type is ignored, since many relays send a wrong one.
///
/// # Errors
/// Fails if there is none, or it is not a JSON object of at most 64 KiB.
pub async fn fetch(dialer: &Arc<Dialer>, address: &RelayUrl) -> Result<(Info, Duration), HttpError> {
    fetch_traced(dialer, address, &mut Trace::default()).await
}

/// The same, recording what is seen on the way.
///
/// # Errors
/// As [`fetch`]; what was seen before the failure is in the trace.
pub async fn fetch_traced(
    dialer: &Arc<Dialer>,
    address: &RelayUrl,
    trace: &mut Trace,
) -> Result<(Info, Duration), HttpError> {
    let answer = http::get_traced(dialer, &address.info_url(), "application/nostr+json", MAX_DOCUMENT, trace).await?;
    let info = Info::parse(answer.body).map_err(HttpError::Failed)?;
    Ok((info, answer.took))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_of_the_wrong_type_are_absent() {
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
    fn former_fields_of_nip_11_are_read() {
        let body = br#"{"tags": ["Bitcoin", "free speech", "7", 9], "language_tags": ["en-US", "en", "*", "deu", "DE"],
            "retention": [{"kinds": [4, [40, 43], [42, 45], [9, 8], [1], [7, 70000], "x", 70000], "time": 0},
            {"kinds": [[60000, 65535]], "time": 0}, {"kinds": [1], "time": 3600}, {"time": 0, "kinds": [7], "count": 9}, 3]}"#;
        let info = Info::parse(body.to_vec()).expect("an object");
        assert_eq!(info.topics().collect::<Vec<_>>(), ["bitcoin"]);
        assert_eq!(info.languages().collect::<Vec<_>>(), ["de", "en"]);
        let refused: Vec<u16> = info.refused_kinds().collect();
        assert_eq!(refused[..8], [4, 40, 41, 42, 43, 44, 45, 60_000]);
        assert_eq!(refused.len(), 7 + MAX_OF_RANGE);
        let many = format!(r#"{{"retention":[{{"time":0,"kinds":[{}0]}}]}}"#, "[0,65535],".repeat(6_000));
        let began = tokio::time::Instant::now();
        assert_eq!(Info::parse(many.into_bytes()).expect("an object").refused_kinds().count(), MAX_OF_RANGE);
        assert!(began.elapsed().as_secs() < 5, "a hostile document costs little");
    }

    #[test]
    fn only_objects_are_documents() {
        for body in [&b"[]"[..], b"\"x\"", b"<html>", b"\xff", b"", "[".repeat(100_000).as_bytes()] {
            assert!(Info::parse(body.to_vec()).is_err());
        }
    }
}
