//! Text from outside, made safe to show and to store.

/// The most characters that are kept.
const MAX_CHARS: usize = 300;

/// Returns the first 300 characters of a text, with control characters replaced by spaces.
///
/// Messages of relays go to terminals, logs and the database. Control characters move a terminal's cursor, and PostgreSQL
/// cannot hold NUL.
#[must_use]
pub fn sanitize(text: &str) -> String {
    let mut sanitized: String = text.chars().take(MAX_CHARS).map(|c| if c.is_control() { ' ' } else { c }).collect();
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
        fn text_is_sanitized_and_bounded(text in "\\PC{0,20}|[a-z\\x00\\u{9b}é]{280,320}") {
            let sanitized = sanitize(&text);
            prop_assert!(!sanitized.contains(char::is_control));
            prop_assert!(sanitized.chars().count() <= MAX_CHARS + 1);
            let is_cut = text.chars().count() > MAX_CHARS;
            prop_assert_eq!(sanitized.chars().count() > MAX_CHARS, is_cut);
        }
    }
}
