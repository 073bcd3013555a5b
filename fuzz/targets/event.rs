//! An accepted event has the content of the text, and is written as it was read.
#![no_main]
use brotr_core::{Event, RawEvent};

libfuzzer_sys::fuzz_target!(|text: &str| {
    let raw = RawEvent::from_json(text);
    let parsed = raw.clone().and_then(|raw| raw.parse());
    if let (Ok(raw), Ok(event)) = (raw, parsed) {
        let value: serde_json::Value = serde_json::from_str(text).expect("JSON");
        assert_eq!(value["tags"], serde_json::json!(event.tags));
        assert_eq!(value["content"], serde_json::json!(event.content));
        assert_eq!(Event::from_json(&event.to_json()).as_ref(), Ok(&event));
        // What hashes as it came and would not hash as it is written is known to nobody.
        let canonical = event.clone().identify().is_ok();
        assert!(!canonical || RawEvent::from_json(&event.to_json()).expect("an event").is_as_signed());
        let _ = (raw.is_as_signed(), event.verify());
    }
});
