//! An event that is read in two steps is the one that is read in one, and is written as it was read.
#![no_main]
use brotr_storage::{Event, RawEvent};

libfuzzer_sys::fuzz_target!(|text: &str| {
    let raw = RawEvent::from_json(text);
    let whole = Event::from_json(text);
    let parsed = raw.clone().and_then(|raw| raw.parse());
    assert_eq!(parsed.clone().ok(), whole.ok());
    if let (Ok(raw), Ok(event)) = (raw, parsed) {
        assert_eq!(Event::from_json(&event.to_json()).as_ref(), Ok(&event));
        // What hashes as it came and would not hash as it is written is known to nobody.
        let canonical = event.clone().identify().is_ok();
        assert!(!canonical || RawEvent::from_json(&event.to_json()).expect("an event").is_as_signed());
        let _ = (raw.is_as_signed(), event.verify());
    }
});
