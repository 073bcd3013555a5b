//! Settings that differ for some relays.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Span;
use super::network::Network;
use super::sections::{Monitor, Synchronizer};

/// Synchronizer settings for some relays; keys that are not set keep the general value.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Override {
    /// The relay's URL, or a pattern of its host in which `*` matches anything.
    pub relay: String,
    /// Whether the relay is synchronized.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
    /// Time between two passes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interval: Option<Span>,
    /// Filters of the events that are archived.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub filters: Option<Vec<Value>>,
    /// Events requested per page.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub page_size: Option<usize>,
    /// A request that receives nothing for this long has failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_timeout: Option<Span>,
    /// How many of the matching relays are synchronized concurrently.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub concurrency: Option<usize>,
    /// Whether the relay is followed live.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub live: Option<bool>,
    /// Whether the relay is compared with (NIP-77).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub negentropy: Option<bool>,
    /// Whether the agent authenticates when asked (NIP-42).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub auth: Option<bool>,
}

impl Override {
    /// Returns true if the override applies to a relay.
    pub(crate) fn is_about(&self, url: &str, host: &str) -> bool {
        is_about(&self.relay, url, host)
    }
}

/// Returns true if a URL, or a pattern of hosts, stands for a relay.
fn is_about(relay: &str, url: &str, host: &str) -> bool {
    match relay.contains("://") {
        true => relay.trim_end_matches('/') == url.trim_end_matches('/'),
        false => is_like(&relay.to_ascii_lowercase(), host),
    }
}

/// Returns true if a text matches a pattern in which `*` matches anything.
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

impl Network {
    /// Returns true if a relay is to be left alone.
    #[must_use]
    pub fn avoids(&self, url: &str, host: &str) -> bool {
        self.avoid.iter().any(|relay| is_about(relay, url, host))
    }
}

impl Monitor {
    /// Returns true if paths of this host are separate relays.
    #[must_use]
    pub fn is_distinct(&self, host: &str) -> bool {
        self.distinct.iter().any(|pattern| is_like(&pattern.to_ascii_lowercase(), host))
    }
}

impl Synchronizer {
    /// Returns the settings for one relay. If several overrides apply, the last one wins.
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
    fn an_override_applies_to_its_relays_only() {
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
