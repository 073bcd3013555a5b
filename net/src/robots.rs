//! `robots.txt` (RFC 9309): operators of relays can ask crawlers to stay away.
//!
//! Groups, `Allow`, `Disallow`, `*` and `$` count as in the RFC. Redirects are not followed, and a server that fails is no answer.

use std::sync::Arc;

use brotr_core::RelayUrl;
use texting_robots::Robot;
use tokio::time::timeout;

use crate::Dialer;
use crate::http::{self, Answer, HttpError};

/// The name by which operators can address this agent, besides `*`.
pub const NAME: &str = "brotr";
/// The largest file, in bytes. A larger one is no answer.
const MAX_FILE: usize = 512 << 10;
/// The most bytes and lines of rules that count.
const MAX_RULES: usize = 16 << 10;
const MAX_LINES: usize = 500;
/// The most `*` of a rule: patterns with `$` are compiled.
const MAX_STARS: usize = 8;
/// Where it is looked for. The second spelling is the one that nostr.watch asked operators to use.
const PATHS: [&str; 2] = ["/robots.txt", "/Robots.txt"];

/// Reads the rules of a relay's host, for [`is_allowed`]; empty if it has none. Returns `None` if there was no answer within half of
/// the time limit of a connection.
pub async fn read(dialer: &Arc<Dialer>, address: &RelayUrl) -> Option<String> {
    let limit = dialer.limits(address.network()).connect_timeout / 2;
    timeout(limit, fetch(dialer, address)).await.ok()?
}

async fn fetch(dialer: &Arc<Dialer>, address: &RelayUrl) -> Option<String> {
    match http::get_first(dialer, &address.info_url(), &PATHS, "text/plain", MAX_FILE).await {
        Ok(Answer { body, .. }) => Some(rules(&String::from_utf8_lossy(&body))),
        Err(HttpError::Status(400..500)) => Some(String::new()),
        Err(_) => None,
    }
}

/// Returns the lines of a file that are rules; nothing if they allow everything. Relays answer other requests with their document,
/// or a page.
#[must_use]
pub fn rules(file: &str) -> String {
    let mut rules = String::new();
    for line in file.lines().map(|line| line.split('#').next().unwrap_or_default().trim()).take(MAX_LINES) {
        let Some((name, value)) = line.split_once(':') else { continue };
        let name = name.trim().to_ascii_lowercase();
        let is_cheap = value.matches('*').count() <= MAX_STARS && !value.trim_end().trim_end_matches('$').contains('$');
        if !matches!(name.as_str(), "user-agent" | "allow" | "disallow") || !is_cheap {
            continue;
        }
        if rules.len() + line.len() >= MAX_RULES {
            break;
        }
        rules.push_str(line);
        rules.push('\n');
    }
    let disallows = |line: &str| {
        line.split_once(':')
            .is_some_and(|(name, value)| name.trim().eq_ignore_ascii_case("disallow") && !value.trim().is_empty())
    };
    if rules.lines().any(disallows) { rules } else { String::new() }
}

/// Returns true if rules allow `brotr` to read a relay. It takes milliseconds if they are hostile.
#[must_use]
pub fn is_allowed(rules: &str, address: &RelayUrl) -> bool {
    rules.is_empty() || Robot::new(NAME, rules.as_bytes()).map_or(true, |robot| robot.allowed(&address.info_url()))
}

#[cfg(test)]
mod tests {
    use brotr_core::Guard;
    use proptest::prelude::*;

    use super::*;

    fn allows(file: &str, url: &str) -> bool {
        is_allowed(&rules(file), &RelayUrl::parse(url, &Guard::default()).expect("an address"))
    }

    #[test]
    fn the_rules_for_this_agent_and_for_all_count() {
        let relay = "wss://relay.example.com/";
        for (file, allowed) in [
            ("", true),
            ("User-agent: *\nDisallow: /", false),
            ("User-agent: * # everyone\nDisallow: / # and everything", false),
            ("User-agent: brotr\nDisallow: /", false),
            ("user-agent: BROTR\r\ndisallow: /\r\n", false),
            ("User-agent: *\nDisallow:", true),
            ("User-agent: *\nDisallow: /private", true),
            ("User-agent: *\nDisallow: /\n\nUser-agent: brotr\nAllow: /", true),
            ("User-agent: nostr.watch\nDisallow: /", true),
            ("User-agent: other\nUser-agent: brotr\nDisallow: /", false),
            ("User-agent: *\nDisallow: /$", false),
            // A rule that is too costly does not take the others with it.
            ("User-agent: *\nDisallow: /*a*b*c*d*e*f*g*h*i*j$\nDisallow: /", false),
            ("{\"name\": \"a relay\", \"supported_nips\": [1, 11]}", true),
            ("<!doctype html><title>User-agent: *</title>", true),
        ] {
            assert_eq!(allows(file, relay), allowed, "{file}");
        }
        assert!(!allows("User-agent: *\nDisallow: /inbox", "wss://relay.example.com/inbox"));
        assert!(allows("User-agent: *\nDisallow: /inbox", relay));
    }

    #[test]
    fn rules_are_bounded_and_cut_between_lines() {
        let long = format!("User-agent: *\n{}", "Disallow: /private/archive/of/everything\n".repeat(10_000));
        let kept = rules(&long);
        assert!(kept.len() < MAX_RULES && kept.lines().count() <= MAX_LINES, "{} bytes", kept.len());
        assert!(kept.lines().skip(1).all(|line| line == "Disallow: /private/archive/of/everything"));
        assert!(allows(&long, "wss://relay.example.com/"));
    }

    proptest! {
        #[test]
        fn no_file_is_a_problem(file in "(?s).{0,200}", lines in prop::collection::vec("(user-agent|allow|disallow|crawl-delay): ?[*/$a-z%]{0,12}", 0..12)) {
            allows(&file, "wss://relay.example.com/");
            allows(&lines.join("\n"), "wss://relay.example.com/inbox");
        }
    }
}
