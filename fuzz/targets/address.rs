//! A URL that is accepted has one normalized form.
#![no_main]
use brotr_core::{Guard, RelayUrl};

libfuzzer_sys::fuzz_target!(|text: &str| {
    let guard = Guard::default();
    if let Ok(address) = RelayUrl::parse(text, &guard) {
        let again = RelayUrl::parse(address.as_str(), &guard).expect("what was written is an address");
        assert_eq!((again.as_str(), again.network()), (address.as_str(), address.network()));
        let _ = (address.is_made_up(), address.info_url());
        if let Some(root) = address.root(&guard) {
            assert_eq!((root.host(), root.port()), (address.host(), address.port()));
        }
    }
});
