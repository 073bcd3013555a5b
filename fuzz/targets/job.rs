//! A job request (NIP-90) is parsed or refused, whatever its tags are.
#![no_main]
use std::sync::LazyLock;

use brotr_dvm::JobRequest;
use brotr_keys::Signer;
use nostr::{Event, EventBuilder, JsonUtil, Keys, Kind, Tag};

static US: LazyLock<(Signer, Keys)> = LazyLock::new(|| (Signer::throwaway(), Keys::generate()));

libfuzzer_sys::fuzz_target!(|text: &str| {
    let read = |event: &Event| {
        if let Ok(request) = futures::executor::block_on(JobRequest::read(event, &US.0)) {
            for (name, _) in &request.params {
                let _ = (request.param(name).count(), request.number(name, 1, 1_000));
            }
        }
    };
    // As an event that somebody made, and as the tags of one.
    if let Ok(event) = Event::from_json(text) {
        read(&event);
    }
    if let Ok(tags) = serde_json::from_str::<Vec<Vec<String>>>(text) {
        let tags = tags.into_iter().filter_map(|tag| Tag::parse(tag).ok());
        if let Ok(event) = EventBuilder::new(Kind::Custom(5300), "").tags(tags).sign_with_keys(&US.1) {
            read(&event);
        }
    }
    let _ = brotr_dvm::Invoiced::read(text, 1_000);
});
