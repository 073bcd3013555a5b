//! Whatever a relay says is heard.
#![no_main]
libfuzzer_sys::fuzz_target!(|text: &str| brotr::net::session::hear_any(text));
