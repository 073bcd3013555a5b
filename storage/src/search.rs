//! Full-text search (NIP-50): the terms of a text and of a search, which both backends index and compare alike.
//!
//! The databases would split and fold text in different ways. Here it is split once, and they index the terms.

use brotr_core::Event;
use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;

/// The kinds whose text is searched.
pub(crate) const SEARCHED: [u16; 3] = [0, 1, 30_023];
/// Version of [`terms`] and [`fold`]. An index of another version is rebuilt.
pub(crate) const VERSION: i32 = 2;
/// The most bytes of an event's text that are indexed, and of its terms.
const MAX_TEXT: usize = 256 << 10;
/// The most bytes of a term; the rest is ignored. PostgreSQL refuses terms of 2 KiB.
const MAX_TERM: usize = 128;
/// The most terms of a search; further ones are ignored.
const MAX_TERMS: usize = 100;

/// Returns the terms of a text that was [folded](fold): runs of letters and digits.
fn terms(folded: &str) -> impl Iterator<Item = &str> {
    let in_term = |c: char| c.is_alphanumeric() || is_combining_mark(c);
    folded.split(move |c| !in_term(c)).filter(|term| !term.is_empty()).map(|term| cut(term, MAX_TERM))
}

/// Returns a text in lower case and without accents, so that `Zürich` is `zurich`.
fn fold(text: &str) -> String {
    if text.is_ascii() {
        return text.to_ascii_lowercase();
    }
    text.nfkd().filter(|c| !is_accent(*c)).flat_map(char::to_lowercase).map(final_sigma).nfc().collect()
}

/// Returns true for marks that Latin, Greek and Cyrillic letters carry. Those of other scripts are parts of their words.
fn is_accent(c: char) -> bool {
    matches!(c, '\u{300}'..='\u{36F}' | '\u{1AB0}'..='\u{1AFF}' | '\u{1DC0}'..='\u{1DFF}' | '\u{20D0}'..='\u{20FF}' | '\u{FE20}'..='\u{FE2F}')
}

fn final_sigma(c: char) -> char {
    if c == 'ς' { 'σ' } else { c }
}

/// Returns the longest start of `text` that has at most `most` bytes.
fn cut(text: &str, most: usize) -> &str {
    &text[..text.floor_char_boundary(most)]
}

/// Returns the terms by which an event is found, separated by spaces: those of its content, and of the title and summary of
/// an article. `None` if its kind is not searched.
pub(crate) fn searchable(kind: u16, tags: &[Vec<String>], content: &str) -> Option<String> {
    SEARCHED.contains(&kind).then(|| {
        let mut text = String::with_capacity(content.len());
        for tag in tags {
            if let [name, value, ..] = tag.as_slice()
                && matches!(name.as_str(), "title" | "summary")
            {
                text.push_str(value);
                text.push('\n');
            }
        }
        text.push_str(content);
        let folded = fold(cut(&text, MAX_TEXT));
        let mut joined = String::with_capacity(folded.len());
        for term in terms(&folded) {
            if !joined.is_empty() {
                joined.push(' ');
            }
            joined.push_str(term);
        }
        joined.truncate(cut(&joined, MAX_TEXT).len());
        joined
    })
}

/// Returns the terms of a search, all of which an event must have: an empty list if nothing can match, `None` if the search
/// restricts nothing.
///
/// Extensions (`language:en`) are ignored, as NIP-50 requires of relays that do not support them.
pub(crate) fn search_terms(search: &str) -> Option<Vec<String>> {
    let mut words = search.split_whitespace().filter(|word| !is_extension(word)).peekable();
    words.peek()?;
    let mut wanted: Vec<String> = Vec::new();
    for word in words.map(fold) {
        for term in terms(&word) {
            if wanted.len() < MAX_TERMS && !wanted.iter().any(|known| known == term) {
                wanted.push(term.to_owned());
            }
        }
    }
    Some(wanted)
}

/// Returns true for `key:value`. URLs (`https://relay.example`, `nostr:npub1...`) and times (`12:30`) are words.
fn is_extension(word: &str) -> bool {
    word.split_once(':').is_some_and(|(key, value)| {
        let is_key = !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
        is_key && key != "nostr" && !value.is_empty() && !value.starts_with("//")
    })
}

/// Returns true if an event matches the `search` of a filter (NIP-50), by the rules of the full-text index.
#[must_use]
pub fn search_matches(search: &str, event: &Event) -> bool {
    Search::new(search).matches(&EventTerms::of(event))
}

/// A search (NIP-50) that is compared with many events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Search(Option<Vec<String>>);

impl Search {
    /// Parses the `search` of a filter.
    #[must_use]
    pub fn new(search: &str) -> Self {
        Self(search_terms(search))
    }

    /// Returns true if an event has all the terms.
    #[must_use]
    pub fn matches(&self, event: &EventTerms) -> bool {
        let Some(wanted) = &self.0 else { return true };
        !wanted.is_empty() && wanted.iter().all(|term| event.contains(term))
    }
}

/// The terms of an event that is compared with many searches: none if its kind is not searched.
///
/// It takes little more memory than the text; a set of strings would take several times as much.
#[derive(Debug)]
pub struct EventTerms {
    text: String,
    /// Where each term starts, sorted by the terms.
    starts: Vec<usize>,
}

impl EventTerms {
    /// Splits the text of an event.
    #[must_use]
    pub fn of(event: &Event) -> Self {
        let text = searchable(event.kind, &event.tags, &event.content).unwrap_or_default();
        let ends = text.match_indices(' ').map(|(at, _)| at + 1);
        let mut starts: Vec<usize> = std::iter::once(0).chain(ends).collect();
        starts.sort_unstable_by_key(|start| term_at(&text, *start));
        starts.dedup_by_key(|start| term_at(&text, *start));
        starts.shrink_to_fit();
        Self { text, starts }
    }

    fn contains(&self, term: &str) -> bool {
        self.starts.binary_search_by(|start| term_at(&self.text, *start).cmp(term)).is_ok()
    }
}

/// Returns the term that starts at a position of a text whose terms are separated by spaces.
fn term_at(text: &str, start: usize) -> &str {
    let rest = &text[start..];
    rest.split_once(' ').map_or(rest, |(term, _)| term)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_text_is_split_and_folded() {
        let table: [(&str, &[&str]); 9] = [
            ("Good MORNING, relays\0and friends!", &["good", "morning", "relays", "and", "friends"]),
            ("https://Zürich.example/a_b?c=1", &["https", "zurich", "example", "a", "b", "c", "1"]),
            ("who@mail.example", &["who", "mail", "example"]),
            ("ΟΔΟΣ οδος", &["οδοσ", "οδοσ"]),
            ("İstanbul ＦＵＬＬ ﬁne", &["istanbul", "full", "fine"]),
            ("ガーデン 한글 की का", &["ガーデン", "한글", "की", "का"]),
            ("e\u{301}te\u{301} été", &["ete", "ete"]),
            ("don't", &["don", "t"]),
            (" \u{301} - ", &[]),
        ];
        for (text, wanted) in table {
            assert_eq!(terms(&fold(text)).collect::<Vec<_>>(), wanted, "{text}");
        }
    }

    #[test]
    fn extensions_are_ignored() {
        let of = |search: &str| search_terms(search).map(|terms| terms.join(" "));
        for (search, wanted) in [
            ("morning language:en", Some("morning")),
            ("morning color:green sort_by:new", Some("morning")),
            ("include:spam", None),
            ("", None),
            ("12:30", Some("12 30")),
            ("https://relay.example/", Some("https relay example")),
            ("re: Relays re: relays", Some("re relays")),
            ("nostr:npub1xyz", Some("nostr npub1xyz")),
            ("*", Some("")),
            ("Re:lays \0", Some("re lays")),
        ] {
            assert_eq!(of(search).as_deref(), wanted, "{search}");
        }
    }

    proptest! {
        #[test]
        fn terms_of_terms_are_the_same(text: String) {
            let folded = fold(&text);
            let once: Vec<&str> = terms(&folded).collect();
            let again = fold(&once.join(" "));
            prop_assert_eq!(terms(&again).collect::<Vec<_>>(), once.clone());
            prop_assert!(once.iter().all(|term| term.len() <= MAX_TERM && !term.contains([' ', '\'', '\\', '\0', '"'])));
        }
    }
}
