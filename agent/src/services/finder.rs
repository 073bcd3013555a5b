//! Finds relays: JSON documents on the web, and URLs in archived events.

use std::collections::{BTreeSet, HashMap, HashSet};

use crate::error::{Error, Result};
use brotr_core::{Event, Guard, RelayUrl};
use brotr_net::http;
use brotr_storage::{EventStore, Lease, LeaseStore, RelayQuery, RelayStore, StateStore};
use nostr::PublicKey;
use nostr::nips::nip19::{FromBech32, Nip19};
use serde::Serialize;

use crate::agent::{Agent, now};
use crate::config::{Profile, Source};
use crate::initializer::{self, Sorted};
use crate::state::{Json, State};
use crate::telemetry::{RelaysFound, SourceFailed, Telemetry};

/// The name of the leader lease.
const SERVICE: &str = "finder";
/// When a source was last read, by its URL, in unix seconds.
const READ_AT: State<i64> = State::new(SERVICE, "checkpoint");
/// The version of a source that was last read.
const VERSION: State<Json<http::Version>> = State::new(SERVICE, "version");
/// The number of the last archived event that was read.
const CURSOR: State<i64> = State::new(SERVICE, "cursor");
/// The largest document of a source, in bytes.
const MAX_SOURCE: usize = 16 << 20;
/// The most relays taken from one event; longer lists are spam.
const MAX_IN_EVENT: usize = 50;
/// The most relays taken from one author per pass, over all their events.
const MAX_OF_AUTHOR: usize = 200;
/// Authors that are counted per pass.
const REMEMBERED: usize = 2_000;
/// The most references taken from one text, and the longest one in bytes.
const MAX_REFERENCES: usize = 50;
const MAX_REFERENCE: usize = 2_000;
/// The most paths of one host that are taken for separate relays.
const MAX_PATHS: usize = 8;
/// Archived events read per query.
const PAGE: i64 = 200;

/// The result of one pass over a source.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Found {
    /// The source: a URL, or `events`.
    pub source: String,
    /// URLs named there.
    pub named: usize,
    /// New relays.
    pub added: usize,
    /// Why it could not be read.
    pub error: Option<String>,
}

/// The stores that this service needs.
pub trait Stores: EventStore + LeaseStore + RelayStore + StateStore + 'static {}
impl<T: EventStore + LeaseStore + RelayStore + StateStore + 'static + ?Sized> Stores for T {}

/// Makes a pass over all sources once per interval. Runs until it fails.
///
/// # Errors
/// Fails if the archive cannot be used.
pub async fn run(agent: Agent<impl Stores + ?Sized>) -> Result<()> {
    loop {
        // One finder per database is enough; if the leader dies, another agent takes over after the next pass would have
        // been.
        let interval = agent.config.finder.interval;
        let lease = Lease { seconds: interval.as_secs() * 2, ..agent.lease() };
        if agent.archive.try_acquire_leader(SERVICE, lease).await? {
            pass(&agent, Sources::Due).await?;
        }
        tokio::time::sleep(agent.config.finder.interval.get()).await;
    }
}

/// Which web sources are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sources {
    /// Those whose interval has passed.
    Due,
    /// All of them.
    All,
}

/// Makes one pass over the sources and the events that were stored since the last pass.
///
/// # Errors
/// Fails if the archive cannot be used; the failure of a source is in the result.
pub async fn pass(agent: &Agent<impl Stores + ?Sized>, which: Sources) -> Result<Vec<Found>> {
    let mut found = Vec::new();
    for source in &agent.config.finder.sources {
        let last = READ_AT.get(agent.archive.as_ref(), &source.url).await?;
        let due = last.is_none_or(|t| t + source.interval.as_secs() <= now());
        if due || which == Sources::All {
            found.push(web(agent, source).await?);
        }
    }
    if agent.config.finder.events && agent.config.profile == Profile::Bigbrotr {
        found.push(events(agent).await?);
    }
    Ok(found)
}

async fn web(agent: &Agent<impl Stores + ?Sized>, source: &Source) -> Result<Found> {
    let mut found = Found { source: source.url.clone(), ..Found::default() };
    let archive = agent.archive.as_ref();
    let Json(had) = VERSION.get(archive, &version_key(source)).await?.unwrap_or_default();
    match addresses(agent, source, &had).await {
        Ok(read) => {
            if let Some((sorted, version)) = read {
                found.named = sorted.addresses.len();
                let refused = sorted.refused.len() + sorted.malformed.len();
                found.added = initializer::add(archive, sorted).await?.added;
                RelaysFound { source: &source.url, added: found.added, refused }.emit();
                VERSION.set(archive, &version_key(source), &Json(version)).await?;
            }
            READ_AT.set(archive, &source.url, &now()).await?;
        }
        Err(error) => {
            let error = error.to_string();
            SourceFailed { source: &source.url, error: &error }.emit();
            found.error = Some(error);
        }
    }
    Ok(found)
}

/// Returns the key of the version last read: with another expression the same document yields other URLs.
fn version_key(source: &Source) -> String {
    format!("{} {}", source.url, source.jmespath)
}

/// Returns the URLs that a source lists, if it has changed since it was last read.
async fn addresses(
    agent: &Agent<impl Stores + ?Sized>,
    source: &Source,
    had: &http::Version,
) -> Result<Option<(Sorted, http::Version)>> {
    let answer = http::get_if_changed(&agent.dialer, &source.url, "application/json", MAX_SOURCE, had).await?;
    let Some(answer) = answer else { return Ok(None) };
    let place = source.url.clone();
    let wrong = move |problem: String| Error::List { place, problem };
    let body = match String::from_utf8(answer.body) {
        Ok(body) => body,
        Err(_) => return Err(wrong("is not UTF-8 text".into())),
    };
    let (expression, guard) = (source.jmespath.clone(), agent.dialer.guard().clone());
    // The expression is the operator's, the document is not: evaluating them must not block the runtime.
    tokio::task::spawn_blocking(move || {
        let list = select(&body, &expression).map_err(wrong)?;
        Ok(Some((initializer::sort(&list, &guard), answer.version)))
    })
    .await?
}

/// Returns the texts that a JMESPath expression selects from a JSON document, one per line.
fn select(body: &str, expression: &str) -> Result<String, String> {
    let document = jmespath::Variable::from_json(body).map_err(|error| format!("is not JSON: {error}"))?;
    let selected = jmespath::compile(expression).and_then(|expression| expression.search(document));
    let selected = selected.map_err(|error| format!("cannot be searched: {error}"))?;
    let list = selected.as_array().ok_or_else(|| format!("has no list under {expression}"))?;
    let texts: Vec<&str> = list.iter().filter_map(|item| item.as_string().map(String::as_str)).collect();
    Ok(texts.join("\n"))
}

async fn events(agent: &Agent<impl Stores + ?Sized>) -> Result<Found> {
    let mut found = Found { source: "events".into(), ..Found::default() };
    let mut after = CURSOR.get(agent.archive.as_ref(), "events").await?.unwrap_or(0);
    let mut authors = HashMap::<PublicKey, HashSet<RelayUrl>>::new();
    loop {
        let page = agent.archive.stored_after(after, PAGE).await?;
        let Some((last, _)) = page.last() else { break };
        after = *last;
        let mut named = BTreeSet::new();
        for (_, event) in &page {
            if authors.len() >= REMEMBERED {
                authors.clear();
            }
            for address in named_in(event, agent.dialer.guard()) {
                let theirs = authors.entry(event.pubkey).or_default();
                if theirs.len() < MAX_OF_AUTHOR && theirs.insert(address.clone()) {
                    named.insert(address);
                }
            }
        }
        let named = fold(agent, named).await?;
        found.named += named.len();
        let sorted = Sorted { addresses: named.into_iter().collect(), ..Sorted::default() };
        found.added += initializer::add(agent.archive.as_ref(), sorted).await?.added;
        // Last: if the process is killed before this, the page is read again, which changes nothing.
        CURSOR.set(agent.archive.as_ref(), "events", &after).await?;
    }
    if found.added > 0 {
        RelaysFound { source: "events", added: found.added, refused: 0 }.emit();
    }
    Ok(found)
}

/// Replaces URLs that lead to the same relay by that of its root: a host that answers on any path has as many URLs as people
/// make up.
async fn fold(agent: &Agent<impl Stores + ?Sized>, named: BTreeSet<RelayUrl>) -> Result<BTreeSet<RelayUrl>> {
    let mut folded = BTreeSet::new();
    let mut paths = HashMap::<RelayUrl, usize>::new();
    for address in named {
        let Some(root) = address.root(agent.dialer.guard()) else {
            folded.insert(address);
            continue;
        };
        if address.is_made_up() {
            folded.insert(root);
            continue;
        }
        if agent.archive.relay(address.as_str()).await?.is_some() {
            folded.insert(address);
            continue;
        }
        let known = match paths.get(&root) {
            Some(known) => *known,
            None => {
                let query = RelayQuery {
                    after: Some(root.as_str().to_owned()),
                    limit: MAX_PATHS as i64,
                    ..RelayQuery::default()
                };
                let next = agent.archive.relays(&query).await?;
                next.iter().take_while(|relay| relay.url.starts_with(root.as_str())).count()
            }
        };
        paths.insert(root.clone(), known + 1);
        folded.insert(if known < MAX_PATHS { address } else { root });
    }
    Ok(folded)
}

/// Returns the relays that an event names: in any value of its tags (`r`, `relay`, `d` of 30166, hints in `e`, `p`, `a`), in
/// the content of kind 2, in the keys of kind 3's content, and in the references (NIP-19) of any content.
#[must_use]
pub fn named_in(event: &Event, guard: &Guard) -> Vec<RelayUrl> {
    let mut texts: Vec<String> = event.tags.iter().flat_map(|tag| tag.iter().skip(1)).cloned().collect();
    match event.kind {
        2 => texts.push(event.content.clone()),
        3 => {
            if let Ok(serde_json::Value::Object(relays)) = serde_json::from_str(&event.content) {
                texts.extend(relays.into_iter().map(|(url, _)| url));
            }
        }
        _ => {}
    }
    texts.extend(references(&event.content));
    let looks_so = |text: &&String| {
        let head: String = text.trim_start().chars().take(6).collect();
        head.eq_ignore_ascii_case("wss://") || head.to_ascii_lowercase().starts_with("ws://")
    };
    let mut named: Vec<RelayUrl> =
        texts.iter().filter(looks_so).take(MAX_IN_EVENT).filter_map(|text| RelayUrl::parse(text, guard).ok()).collect();
    named.sort_unstable();
    named.dedup();
    named
}

/// Returns the relays that `nprofile`, `nevent`, `naddr` and `nrelay` in a text name (NIP-19, NIP-21).
fn references(text: &str) -> Vec<String> {
    let starts = ["nprofile1", "nevent1", "naddr1", "nrelay1"].iter().flat_map(|start| text.match_indices(start));
    let relays = |at: usize| {
        let rest = &text.as_bytes()[at..text.len().min(at + MAX_REFERENCE)];
        let end = rest.iter().position(|byte| !byte.is_ascii_alphanumeric()).unwrap_or(rest.len());
        let word = text.get(at..at + end)?;
        if word.starts_with("nrelay1") {
            return Some(vec![nrelay(word)?]);
        }
        let relays = match Nip19::from_bech32(word).ok()? {
            Nip19::Profile(profile) => profile.relays,
            Nip19::Event(event) => event.relays,
            Nip19::Coordinate(coordinate) => coordinate.relays,
            _ => return None,
        };
        Some(relays.into_iter().map(|relay| relay.to_string()).collect())
    };
    starts.take(MAX_REFERENCES).filter_map(|(at, _)| relays(at)).flatten().collect()
}

/// Returns the relay of an `nrelay`, which NIP-19 has dropped and old events still hold: TLV, in which type 0 is the URL.
fn nrelay(word: &str) -> Option<String> {
    let (_, bytes) = bech32::decode(word).ok()?;
    let mut rest = bytes.as_slice();
    while let [kind, length, tail @ ..] = rest {
        let (value, tail) = tail.split_at_checked(usize::from(*length))?;
        if *kind == 0 {
            return String::from_utf8(value.to_vec()).ok();
        }
        rest = tail;
    }
    None
}

#[cfg(test)]
mod tests {
    use nostr::nips::nip19::{Nip19Profile, ToBech32};

    use super::*;

    fn named(kind: u16, tags: serde_json::Value, content: &str) -> Vec<String> {
        let zeros = "0".repeat(64);
        let json = serde_json::json!({"id": zeros, "pubkey": zeros, "created_at": 1, "kind": kind, "tags": tags,
            "content": content, "sig": zeros.repeat(2)});
        let event = Event::from_json(&json.to_string()).expect("an event");
        named_in(&event, &Guard::default()).iter().map(|a| a.as_str().to_owned()).collect()
    }

    #[test]
    fn relays_are_found_wherever_events_name_them() {
        let a = ["wss://a.example/"];
        assert_eq!(
            named(10_002, serde_json::json!([["r", "WSS://A.example"], ["r", "wss://a.example", "read"]]), ""),
            a
        );
        assert_eq!(named(1, serde_json::json!([["e", "00", "wss://a.example", "reply"], ["p", "00", ""], []]), ""), a);
        assert_eq!(named(30_166, serde_json::json!([["d", "wss://a.example/"]]), ""), a);
        assert_eq!(named(10_050, serde_json::json!([["relay", "ws://b.example"]]), ""), ["ws://b.example/"]);
        assert_eq!(named(2, serde_json::json!([]), "wss://a.example"), a);
        let profile = Nip19Profile::new(
            nostr::Keys::generate().public_key(),
            [nostr::RelayUrl::parse("wss://a.example").expect("an address")],
        );
        let text = format!("é nprofile1 nostr:{}, nevent1qqqq naddr1", profile.to_bech32().expect("bech32"));
        assert_eq!(named(1, serde_json::json!([]), &text), a);
        let hrp = bech32::Hrp::parse("nrelay").expect("a prefix");
        let bytes = [&[0, 15][..], b"wss://a.example"].concat();
        let text = bech32::encode::<bech32::Bech32>(hrp, &bytes).expect("short");
        assert_eq!(named(1, serde_json::json!([]), &text), a);
        assert_eq!(named(3, serde_json::json!([]), r#"{"wss://a.example": {"read": true}, "nonsense": 1}"#), a);
    }

    #[test]
    fn private_and_invalid_urls_are_not_added() {
        let tags =
            serde_json::json!([["r", "wss://10.0.0.1"], ["r", "https://a.example"], ["r", "wss://"], ["t", "wss"]]);
        assert!(named(10_002, tags, "wss://in.the.text").is_empty());
        assert!(named(3, serde_json::json!([]), "not json").is_empty());
        let many: Vec<_> = (0..5_000).map(|i| ["r".to_owned(), format!("wss://r{i}.example")]).collect();
        assert_eq!(named(10_002, serde_json::json!(many), "").len(), MAX_IN_EVENT);
    }
}
