//! NIP-01 filters from outside, and their semantics.

use nostr::{EventId, Filter, PublicKey};

use crate::Event;

/// The most values one filter may hold, over all its lists.
pub const MAX_FILTER_VALUES: usize = 10_000;

/// Why a text is not a valid filter.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FilterError {
    /// Not JSON, or a field of another type.
    #[error("not a filter: {0}")]
    Malformed(String),
    /// A key that NIP-01 does not define. Relays would ignore it and return more than was requested.
    #[error(
        "unknown filter key {0:?}: a filter has ids, authors, kinds, since, until, limit, search and #x for one letter x"
    )]
    UnknownKey(String),
    /// More than [`MAX_FILTER_VALUES`] values.
    #[error("a filter may hold {MAX_FILTER_VALUES} values, this one has {0}")]
    TooLarge(usize),
}

/// Parses one NIP-01 filter strictly: an unknown key is an error.
///
/// A kind above 65535 matches no event. It is dropped, so that the other kinds of the list still match; a list with no other
/// kind matches nothing.
///
/// # Errors
/// See [`FilterError`].
pub fn parse_filter(value: &serde_json::Value) -> Result<Filter, FilterError> {
    let Some(object) = value.as_object() else {
        return Err(FilterError::Malformed("expected a JSON object such as {\"kinds\":[1]}".into()));
    };
    let mut values = 0;
    for (key, value) in object {
        let mut chars = key.chars();
        let tag =
            matches!((chars.next(), chars.next(), chars.next()), (Some('#'), Some(c), None) if c.is_ascii_alphabetic());
        match key.as_str() {
            "search" | "ids" | "authors" | "kinds" | "since" | "until" | "limit" => {}
            _ if tag => {}
            _ => return Err(FilterError::UnknownKey(key.clone())),
        }
        if value.is_null() {
            return Err(FilterError::Malformed(format!("{key} is null: leave it out instead")));
        }
        values += value.as_array().map_or(0, Vec::len);
    }
    if values > MAX_FILTER_VALUES {
        return Err(FilterError::TooLarge(values));
    }
    for key in ["ids", "authors"] {
        let hex = |value: &serde_json::Value| value.as_str().is_some_and(is_hex_id);
        if let Some(bad) = object.get(key).and_then(|list| list.as_array()?.iter().find(|value| !hex(value))) {
            return Err(FilterError::Malformed(format!("{key}: {bad} is not 64 lower-case hex digits")));
        }
    }
    let mut filter = object.clone();
    if let Some(serde_json::Value::Array(kinds)) = filter.get_mut("kinds") {
        if let Some(bad) = kinds.iter().find(|kind| !kind.is_u64()) {
            return Err(FilterError::Malformed(format!("kinds: {bad} is not a whole number from 0 to 65535")));
        }
        kinds.retain(|kind| kind.as_u64().is_some_and(|kind| kind <= u64::from(u16::MAX)));
    }
    // No event is dated later than `i64::MAX`.
    for key in ["since", "until"] {
        if let Some(time) = filter.get_mut(key)
            && time.as_u64().is_some_and(|time| time > i64::MAX.cast_unsigned())
        {
            *time = i64::MAX.into();
        }
    }
    serde_json::from_value(filter.into()).map_err(|error| FilterError::Malformed(error.to_string()))
}

/// Returns true for 64 lower-case hexadecimal digits, the only form of an id or key in NIP-01.
fn is_hex_id(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// Returns true if an event matches a filter. `limit` and `search` are ignored.
#[must_use]
pub fn matches(filter: &Filter, event: &Event) -> bool {
    asks_for(filter, &event.id, &event.pubkey, event.kind, event.created_at) && asks_for_tags(filter, &event.tags)
}

/// Returns true if an event matches a filter apart from its tags.
pub(crate) fn asks_for(filter: &Filter, id: &EventId, pubkey: &PublicKey, kind: u16, created_at: i64) -> bool {
    let created_at = created_at.cast_unsigned();
    filter.ids.as_ref().is_none_or(|ids| ids.contains(id))
        && filter.authors.as_ref().is_none_or(|authors| authors.contains(pubkey))
        && filter.kinds.as_ref().is_none_or(|kinds| kinds.contains(&nostr::Kind::from(kind)))
        && filter.since.is_none_or(|since| created_at >= since.as_secs())
        && filter.until.is_none_or(|until| created_at <= until.as_secs())
}

/// Returns true if an event's tags match a filter.
pub(crate) fn asks_for_tags(filter: &Filter, tags: &[Vec<String>]) -> bool {
    filter.generic_tags.iter().all(|(letter, wanted)| {
        indexed_tags(tags).any(|(name, value)| name == letter.as_char() && wanted.contains(value))
    })
}

/// Returns the first value of each tag with a one-letter name, which filters can match (NIP-01).
pub fn indexed_tags(tags: &[Vec<String>]) -> impl Iterator<Item = (char, &str)> {
    tags.iter().filter_map(|tag| {
        let mut name = tag.first()?.chars();
        match (name.next(), name.next()) {
            (Some(letter), None) if letter.is_ascii_alphabetic() => Some((letter, tag.get(1)?.as_str())),
            _ => None,
        }
    })
}

#[cfg(test)]
mod tests {
    use nostr::Kind;
    use serde_json::json;

    use super::*;

    #[test]
    fn impossible_kinds_match_nothing() {
        let kinds = |list: serde_json::Value| {
            let filter = parse_filter(&json!({ "kinds": list })).expect("a filter");
            filter.kinds.expect("a list").into_iter().collect::<Vec<_>>()
        };
        assert_eq!(kinds(json!([65_537])), []);
        assert_eq!(kinds(json!([1, 65_536, 65_535, u64::MAX])), [Kind::from(1), Kind::from(65_535)]);
        for bad in [json!(-1), json!(1.5), json!(1e20), json!("1"), json!(null)] {
            let error = parse_filter(&json!({ "kinds": [1, bad] })).expect_err("no kind").to_string();
            assert!(error.contains(&bad.to_string()), "{error}");
        }
    }

    #[test]
    fn null_is_no_condition() {
        for key in ["ids", "authors", "kinds", "since", "until", "limit", "search", "#e"] {
            let error = parse_filter(&json!({ key: null })).expect_err("refused").to_string();
            assert!(error.contains(key) && error.contains("null"), "{error}");
        }
    }

    #[test]
    fn ids_and_keys_are_lower_case() {
        for key in ["ids", "authors"] {
            parse_filter(&json!({ key: ["ab".repeat(32)] })).expect("a filter");
            for bad in ["AB".repeat(32), "ab".repeat(31), "npub1".into(), format!(" {}", "ab".repeat(32))] {
                let error = parse_filter(&json!({ key: [bad] })).expect_err("refused").to_string();
                assert!(error.contains(key) && error.contains("lower-case"), "{error}");
            }
        }
    }

    #[test]
    fn times_beyond_all_dates_do_not_wrap() {
        for far in [u64::MAX, i64::MAX.cast_unsigned() + 1] {
            let filter = parse_filter(&json!({ "since": far, "until": far })).expect("a filter");
            assert_eq!(filter.since.map(|t| t.as_secs()), Some(i64::MAX.cast_unsigned()));
            assert_eq!(filter.until.map(|t| t.as_secs()), Some(i64::MAX.cast_unsigned()));
        }
        parse_filter(&json!({ "until": -1 })).expect_err("before the first second");
    }
}
