//! A configuration is accepted or refused with an error, and an accepted one can be shown.
#![no_main]
use brotr::config::Config;

libfuzzer_sys::fuzz_target!(|text: &str| match Config::parse(text, "brotr.yaml", std::iter::empty()) {
    Ok(config) => assert!(config.shown().is_object()),
    Err(error) => assert!(!format!("{error:#}").is_empty()),
});
