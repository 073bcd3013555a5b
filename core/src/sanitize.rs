//! Text from outside, made safe to show and to store.

use std::borrow::Cow;

/// The most characters that are kept.
const MAX_CHARS: usize = 300;

/// Returns true if a terminal may act on a character instead of showing it: control characters (C0, DEL, C1), Unicode's controls
/// of direction and line breaks, and characters without width, which make a text look like another. The joiners (U+200C, U+200D)
/// are shown: scripts and emoji need them.
#[must_use]
pub fn is_unsafe_to_show(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}'
        )
        || matches!(c, '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}')
}

/// Returns a text in which such characters are escaped as in JSON, such as `\u001b` or `\n`: JSON stays the same JSON.
#[must_use]
pub fn escape(text: &str) -> Cow<'_, str> {
    if !text.contains(is_unsafe_to_show) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c {
            '\n' => escaped.push_str("\\n"),
            '\r' => escaped.push_str("\\r"),
            '\t' => escaped.push_str("\\t"),
            // All of them are in the basic plane.
            c if is_unsafe_to_show(c) => escaped.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => escaped.push(c),
        }
    }
    Cow::Owned(escaped)
}

/// Returns the first 300 characters of a text, with those that are unsafe to show replaced by spaces.
///
/// Messages of relays go to terminals, logs and the database. Control characters move a terminal's cursor, and PostgreSQL
/// cannot hold NUL.
#[must_use]
pub fn sanitize(text: &str) -> String {
    let shown = |c| if is_unsafe_to_show(c) { ' ' } else { c };
    let mut sanitized: String = text.chars().take(MAX_CHARS).map(shown).collect();
    if sanitized.len() < text.len() && text.chars().count() > MAX_CHARS {
        sanitized.push('…');
    }
    sanitized
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn escaped_json_is_the_same_json(text in "(\\PC|[\\x00-\\x20\\x7f-\\u{9f}\u{200b}\u{202e}\u{2066}\u{feff}]){0,40}") {
            let json = serde_json::to_string(&text).expect("a string");
            let escaped = escape(&json);
            prop_assert!(!escaped.contains(is_unsafe_to_show), "{escaped:?}");
            prop_assert_eq!(serde_json::from_str::<String>(&escaped).expect("JSON"), text);
        }

        #[test]
        fn text_is_sanitized_and_bounded(text in "\\PC{0,20}|[a-z\\x00\\u{9b}é]{280,320}") {
            let sanitized = sanitize(&text);
            prop_assert!(!sanitized.contains(is_unsafe_to_show));
            prop_assert!(sanitized.chars().count() <= MAX_CHARS + 1);
            let is_cut = text.chars().count() > MAX_CHARS;
            prop_assert_eq!(sanitized.chars().count() > MAX_CHARS, is_cut);
        }
    }
}
