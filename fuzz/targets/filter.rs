//! An accepted filter (NIP-01) means the same after it was written.
#![no_main]
use std::sync::LazyLock;

use nostr::{EventBuilder, Keys, Tag};
use brotr_core::{Event, matches, parse_filter};

static SOME: LazyLock<Event> = LazyLock::new(|| {
    let tag = Tag::parse(["t", "nostr"]).expect("a tag");
    let event = EventBuilder::text_note("a").tag(tag).sign_with_keys(&Keys::generate()).expect("signed");
    Event::from(&event)
});

libfuzzer_sys::fuzz_target!(|text: &str| {
    let Ok(value) = serde_json::from_str(text) else { return };
    if let Ok(filter) = parse_filter(&value) {
        let written = serde_json::to_value(&filter).expect("a filter is JSON");
        let again = parse_filter(&written).expect("what was written is a filter");
        assert_eq!(again, filter);
        assert_eq!(matches(&again, &SOME), matches(&filter, &SOME));
    }
});
