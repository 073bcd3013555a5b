//! Any message of a relay can be parsed.
#![no_main]
libfuzzer_sys::fuzz_target!(|text: &str| brotr_net::parse_any(text));
