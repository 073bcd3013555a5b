//! NIP-66: what was measured, as events. What was not measured has no tag.

use nostr::{EventBuilder, Kind, Tag, TagKind, Timestamp};

use crate::config::{Check, Monitor};
use crate::monitor::{Health, Requirement};

/// A document is embedded when it is at most so large: relays take no events much larger.
const MAX_CONTENT: usize = 16 << 10;

fn tag<const N: usize>(name: &str, values: [&str; N]) -> Tag {
    Tag::custom(TagKind::custom(name), values)
}

/// Kind 30166: one relay, as found at `at`.
#[must_use]
pub fn discovery(health: &Health, at: i64) -> EventBuilder {
    let mut tags = vec![tag("d", [&health.url]), tag("n", [health.network.as_str()])];
    for name in ["open", "read", "write"] {
        if let Some(ms) = health.checks.get(name).and_then(|outcome| outcome.ms) {
            tags.push(tag(&format!("rtt-{name}"), [&ms.to_string()]));
        }
    }
    // Without a document and with nothing refused we know of no requirement, and say nothing.
    for requirement in [Requirement::Auth, Requirement::Payment, Requirement::Pow, Requirement::Writes] {
        if health.requires.contains(&requirement) {
            tags.push(tag("R", [requirement.as_str()]));
        } else if health.info.as_ref().is_some_and(|info| claims(info, requirement).is_some()) {
            tags.push(tag("R", [&format!("!{}", requirement.as_str())]));
        }
    }
    let mut content = "";
    if let Some(info) = &health.info {
        tags.extend(info.nips().iter().map(|nip| tag("N", [&nip.to_string()])));
        if info.text.len() <= MAX_CONTENT {
            content = &info.text;
        }
    }
    EventBuilder::new(Kind::Custom(30_166), content).tags(tags).custom_created_at(Timestamp::from(at.cast_unsigned()))
}

/// What a document says about a requirement, if it says anything.
fn claims(info: &crate::net::info::Info, requirement: Requirement) -> Option<bool> {
    info.limitation(match requirement {
        Requirement::Auth => "auth_required",
        Requirement::Payment => "payment_required",
        Requirement::Pow => "min_pow_difficulty",
        Requirement::Writes => "restricted_writes",
    })
}

/// Kind 10166: that we monitor relays, how often, and what is checked. One timeout holds for all checks, which is
/// the one form that every reader understands alike.
#[must_use]
pub fn announcement(monitor: &Monitor, timeout: std::time::Duration) -> EventBuilder {
    let mut tags = vec![
        tag("frequency", [&monitor.interval.as_secs().to_string()]),
        tag("timeout", [&timeout.as_millis().to_string()]),
        tag("n", ["clearnet"]),
    ];
    for check in &monitor.checks {
        let name = match check {
            Check::Open => "open",
            Check::Read => "read",
            Check::Write => "write",
            Check::Nip11 => "nip11",
        };
        tags.push(tag("c", [name]));
    }
    EventBuilder::new(Kind::Custom(10_166), "").tags(tags)
}
