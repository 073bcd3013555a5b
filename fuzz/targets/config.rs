//! A configuration is taken or refused in words, and one that is taken can be shown.
#![no_main]
use brotr::config::Config;

libfuzzer_sys::fuzz_target!(|text: &str| match Config::parse(text, "brotr.yaml", std::iter::empty()) {
    Ok(config) => assert!(config.shown().is_object()),
    Err(error) => assert!(!format!("{error:#}").is_empty()),
});
