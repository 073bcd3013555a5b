//! What is different for some relays.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Span;
use super::sections::{Monitor, Synchronizer};

/// Settings of the synchronizer that hold for some relays only; what is not set stays as it is for all.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Override {
    /// The relay's address, or a pattern of its host, in which `*` stands for anything.
    pub relay: String,
    /// Whether it is synchronized at all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
    /// Between two passes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interval: Option<Span>,
    /// What is archived of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub filters: Option<Vec<Value>>,
    /// Events asked for at a time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub page_size: Option<usize>,
    /// A request that brings nothing for so long has failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_timeout: Option<Span>,
    /// How many of the relays that this is about are synchronized at a time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub concurrency: Option<usize>,
    /// Whether it is followed live.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub live: Option<bool>,
    /// Whether it is compared with (NIP-77).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub negentropy: Option<bool>,
    /// Whether the agent says who it is when asked (NIP-42).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub auth: Option<bool>,
}

impl Override {
    /// Whether this is about a relay.
    pub(crate) fn is_about(&self, url: &str, host: &str) -> bool {
        match self.relay.contains("://") {
            true => self.relay.trim_end_matches('/') == url.trim_end_matches('/'),
            false => is_like(&self.relay.to_ascii_lowercase(), host),
        }
    }
}

/// Whether a text is like a pattern in which `*` stands for anything.
fn is_like(pattern: &str, text: &str) -> bool {
    let Some((start, rest)) = pattern.split_once('*') else { return pattern == text };
    let Some(mut text) = text.strip_prefix(start) else { return false };
    let mut parts: Vec<&str> = rest.split('*').collect();
    let end = parts.pop().unwrap_or_default();
    for part in parts {
        let Some(at) = text.find(part) else { return false };
        text = &text[at + part.len()..];
    }
    text.ends_with(end)
}

impl Monitor {
    /// Whether paths of this host are relays of their own.
    #[must_use]
    pub fn is_distinct(&self, host: &str) -> bool {
        self.distinct.iter().any(|pattern| is_like(&pattern.to_ascii_lowercase(), host))
    }
}

impl Synchronizer {
    /// The settings for one relay. Of several overrides about it, the last one counts.
    #[must_use]
    pub fn of(&self, url: &str, host: &str) -> Self {
        let mut settings = self.clone();
        for other in self.overrides.iter().filter(|other| other.is_about(url, host)) {
            let Override {
                relay: _,
                concurrency: _,
                enabled,
                interval,
                filters,
                page_size,
                request_timeout,
                live,
                negentropy,
                auth,
            } = other.clone();
            fn set<T>(place: &mut T, value: Option<T>) {
                if let Some(value) = value {
                    *place = value;
                }
            }
            set(&mut settings.enabled, enabled);
            set(&mut settings.interval, interval);
            set(&mut settings.filters, filters);
            set(&mut settings.page_size, page_size);
            set(&mut settings.live, live);
            set(&mut settings.negentropy, negentropy);
            set(&mut settings.auth, auth);
            settings.request_timeout = request_timeout.or(settings.request_timeout);
        }
        settings
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns() {
        for (pattern, text, like) in [
            ("relay.example", "relay.example", true),
            ("relay.example", "relay.example.org", false),
            ("*.example", "a.b.example", true),
            ("*.example", "example", false),
            ("*", "anything", true),
            ("relay*.example", "relay7.example", true),
            ("a*b*c", "a-b-c", true),
            ("a*b*c", "a-c-b", false),
            ("ab*ba", "aba", false),
        ] {
            assert_eq!(is_like(pattern, text), like, "{pattern} {text}");
        }
    }

    #[test]
    fn what_an_override_sets_holds_for_its_relays_only() {
        let value = serde_json::json!({"page_size": 400, "overrides": [
            {"relay": "*.slow.example", "page_size": 50, "request_timeout": "2m"},
            {"relay": "wss://a.slow.example", "page_size": 20, "enabled": false},
        ]});
        let all: Synchronizer = serde_json::from_value(value).expect("right");
        let of = |url: &str, host: &str| {
            let one = all.of(url, host);
            (one.page_size, one.enabled, one.request_timeout.map(Span::as_secs))
        };
        assert_eq!(of("wss://fast.example/", "fast.example"), (400, true, None));
        assert_eq!(of("wss://b.slow.example/", "b.slow.example"), (50, true, Some(120)));
        assert_eq!(of("wss://a.slow.example/", "a.slow.example"), (20, false, Some(120)));
    }
}
