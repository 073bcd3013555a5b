//! Whatever a relay says is heard.
#![no_main]
libfuzzer_sys::fuzz_target!(|text: &str| brotr_net::parse_any(text));
