//! Messages of a relay (NIP-01, NIP-42, NIP-45, NIP-77).

use std::borrow::Cow;

use brotr_core::{Sketch, sanitize};
use serde_json::value::RawValue;

use crate::page::Hints;

/// A message of a relay, as far as it could be parsed.
pub(crate) enum RelayMessage<'a> {
    Event(Cow<'a, str>, &'a RawValue),
    Eose(Cow<'a, str>, Hints),
    Closed(Cow<'a, str>, String),
    Notice(String),
    Ok(Cow<'a, str>, bool, String),
    Auth(Cow<'a, str>),
    NegMsg(Cow<'a, str>, Cow<'a, str>),
    NegErr(Cow<'a, str>, String),
    Count(Cow<'a, str>, Count),
    Other,
}

/// What a client asks of a relay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Asked {
    /// Events, or a count of them.
    Events,
    /// A comparison (NIP-77).
    Comparison,
    /// That an event is taken.
    Publication,
    /// Authentication (NIP-42).
    Login,
    /// The next message of a comparison.
    Continuation,
    /// The end of a request.
    Close,
}

/// Returns what a client's message asks, and the id of the subscription or the event.
pub(crate) fn asked(text: &str) -> Option<(String, Asked)> {
    #[derive(serde::Deserialize)]
    struct Named {
        id: String,
    }
    let parts: Vec<&RawValue> = serde_json::from_str(text).ok()?;
    let asked = match serde_json::from_str::<&str>(parts.first()?.get()).ok()? {
        "REQ" | "COUNT" => Asked::Events,
        "NEG-OPEN" => Asked::Comparison,
        "NEG-MSG" => Asked::Continuation,
        "CLOSE" | "NEG-CLOSE" => Asked::Close,
        "EVENT" => Asked::Publication,
        "AUTH" => Asked::Login,
        _ => return None,
    };
    let second = parts.get(1)?.get();
    let id = match asked {
        Asked::Publication | Asked::Login => serde_json::from_str::<Named>(second).ok()?.id,
        _ => serde_json::from_str(second).ok()?,
    };
    Some((id, asked))
}

/// A relay's answer to COUNT (NIP-45).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Count {
    /// The number of events.
    pub events: u64,
    /// Whether the relay says that the number is not exact.
    pub is_approximate: bool,
    /// A sketch of their authors; `None` if the relay sent none, or something else.
    pub sketch: Option<Sketch>,
}

/// For `fuzz/`.
#[cfg(fuzzing)]
pub fn parse_any(text: &str) {
    let _ = parse(text);
}

/// Parses a message; one that is malformed or unknown is [`RelayMessage::Other`].
pub(crate) fn parse(text: &str) -> RelayMessage<'_> {
    let Ok(parts) = serde_json::from_str::<Vec<&RawValue>>(text) else { return RelayMessage::Other };
    fn word<'a>(part: Option<&&'a RawValue>) -> Option<Cow<'a, str>> {
        let text = part?.get();
        // Most strings have no escapes and need no copy.
        serde_json::from_str::<&str>(text)
            .map(Cow::Borrowed)
            .or_else(|_| serde_json::from_str::<String>(text).map(Cow::Owned))
            .ok()
    }
    let parsed = || {
        let text = |n: usize| word(parts.get(n)).map(Cow::into_owned).unwrap_or_default();
        Some(match word(parts.first())?.as_ref() {
            "EVENT" => RelayMessage::Event(word(parts.get(1))?, parts.get(2)?),
            "EOSE" => RelayMessage::Eose(
                word(parts.get(1))?,
                parts.get(2).map(|part| Hints::parse(part.get())).unwrap_or_default(),
            ),
            "CLOSED" => RelayMessage::Closed(word(parts.get(1))?, sanitize(&text(2))),
            "NOTICE" => RelayMessage::Notice(text(1)),
            "AUTH" => RelayMessage::Auth(word(parts.get(1))?),
            "NEG-MSG" => RelayMessage::NegMsg(word(parts.get(1))?, word(parts.get(2))?),
            "NEG-ERR" => RelayMessage::NegErr(word(parts.get(1))?, sanitize(&text(2))),
            "COUNT" => {
                let answer: serde_json::Value = serde_json::from_str(parts.get(2)?.get()).ok()?;
                let sketch = answer["hll"].as_str().and_then(|hex| hex.parse().ok());
                let is_approximate = answer["approximate"].as_bool().unwrap_or_default();
                RelayMessage::Count(
                    word(parts.get(1))?,
                    Count { events: answer["count"].as_u64()?, is_approximate, sketch },
                )
            }
            "OK" => RelayMessage::Ok(word(parts.get(1))?, parts.get(2)?.get() == "true", text(3)),
            _ => return None,
        })
    };
    parsed().unwrap_or(RelayMessage::Other)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_text_is_parsed_without_a_panic(
            text in prop_oneof![
                any::<String>(),
                r#"\[ ?"(EVENT|EOSE|CLOSED|NOTICE|OK|AUTH|COUNT|NEG-MSG|NEG-ERR)"(, ?("[a-z\\"]{0,4}"|\{[^}]{0,9}\}|null|true|[0-9]{1,4}|\[\])){0,4}\]?"#,
            ]
        ) {
            let _ = parse(&text);
        }
    }

    #[test]
    fn requests_are_told_apart() {
        let is = |text: &str| asked(text).map(|(id, asked)| (id.clone(), asked));
        for (text, id, what) in [
            (r#"["REQ","a",{"kinds":[1]},{}]"#, "a", Asked::Events),
            (r#"[ "COUNT" , "\u0061" ,{}]"#, "a", Asked::Events),
            (r#"["NEG-OPEN","n",{},"61"]"#, "n", Asked::Comparison),
            (r#"["NEG-MSG","n","61"]"#, "n", Asked::Continuation),
            (r#"["NEG-CLOSE","n"]"#, "n", Asked::Close),
            (r#"["CLOSE","a"]"#, "a", Asked::Close),
            (r#"["EVENT",{"kind":1,"id":"00ff","tags":[["id","x"]]}]"#, "00ff", Asked::Publication),
            (r#"["AUTH",{"id":"00fe"}]"#, "00fe", Asked::Login),
        ] {
            assert_eq!(is(text), Some((id.to_owned(), what)), "{text}");
        }
        for other in ["", "[]", r#"["REQ"]"#, r#"["REQ",1]"#, r#"["EVENT","a"]"#, r#"["PING","a"]"#] {
            assert_eq!(is(other), None, "{other}");
        }
    }

    #[test]
    fn messages_are_told_apart() {
        assert!(
            matches!(parse(r#"["EVENT","s",{"id":1}]"#), RelayMessage::Event(s, json) if s == "s" && json.get() == r#"{"id":1}"#)
        );
        assert!(
            matches!(parse(r#"[ "EOSE" , "\u0073" ]"#), RelayMessage::Eose(s, hints) if s == "s" && hints == Hints::default())
        );
        assert!(matches!(parse(r#"["CLOSED","s"]"#), RelayMessage::Closed(s, reason) if s == "s" && reason.is_empty()));
        assert!(
            matches!(parse(r#"["OK","id",false,"pow: 20"]"#), RelayMessage::Ok(_, false, reason) if reason == "pow: 20")
        );
        assert!(matches!(parse(r#"["NOTICE"]"#), RelayMessage::Notice(text) if text.is_empty()));
        for other in ["", "[]", "{}", "[1]", r#"["EVENT","s"]"#, r#"["EOSE","s"]x"#] {
            assert!(matches!(parse(other), RelayMessage::Other), "{other}");
        }
        let hints = |third: &str| match parse(&format!(r#"["EOSE","s",{third}]"#)) {
            RelayMessage::Eose(_, Hints { finish, more, auth }) => [finish, more, auth],
            _ => panic!("{third}"),
        };
        assert_eq!(hints(r#"["finish"]"#), [true, false, false]);
        assert_eq!(hints(r#"["auth","finish","wine"]"#), [true, false, true]);
        assert_eq!(hints(r#"["more", 1, null, ["finish"]]"#), [false, true, false]);
        // As earlier drafts have it.
        assert_eq!(hints(r#""finish""#), [true, false, false]);
        assert_eq!(hints(r#""auth, more""#), [false, true, true]);
        for nothing in ["[]", "{}", "null", "1", r#""""#, r#"{"finish":true}"#] {
            assert_eq!(hints(nothing), [false; 3], "{nothing}");
        }
        let deep = format!(r#"["EVENT","s",{}]"#, "[".repeat(100_000));
        assert!(matches!(parse(&deep), RelayMessage::Other));
    }
}
