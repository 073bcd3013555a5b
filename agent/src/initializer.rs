//! The initial relays: the built-in list, files and URLs, one address per line. Loading them again changes nothing.

use std::io::Read;
use std::path::Path;

use crate::error::{Error, Result};
use brotr_core::{Guard, RelayUrl, RelayUrlError};
use brotr_net::http;
use brotr_storage::RelayStore;
use serde::Serialize;

use crate::agent::{Agent, now};
use crate::telemetry::{RelaysFound, SourceFailed, Telemetry};

/// Well-known public relays, used if no other list is given.
const BUILTIN: &str = include_str!("bootstrap-relays.txt");
/// The largest list, in bytes.
const MAX_LIST: usize = 16 << 20;
/// Relays added per transaction.
const BATCH: usize = 1_000;

/// Returns the built-in relays.
pub fn builtin() -> Vec<RelayUrl> {
    sort(BUILTIN, &Guard::default()).addresses
}

/// Lines of a list, sorted by whether they are valid.
#[derive(Debug, Default)]
pub struct Sorted {
    /// Valid URLs, normalized.
    pub addresses: Vec<RelayUrl>,
    /// Valid, but not public.
    pub refused: Vec<Refused>,
    /// Not URLs of relays.
    pub malformed: Vec<Refused>,
}

/// A line that is not the URL of a public relay.
#[derive(Debug, Clone, Serialize)]
pub struct Refused {
    /// The text.
    pub input: String,
    /// Why.
    pub reason: String,
}

/// The result of adding relays.
#[derive(Debug, Default, Serialize)]
pub struct Added {
    /// New relays.
    pub added: usize,
    /// Relays that were known, or listed twice.
    pub known: usize,
    /// URLs that are not public.
    pub refused: Vec<Refused>,
    /// Lines that are not URLs of relays.
    pub malformed: Vec<Refused>,
}

/// Parses a list with one address per line; empty lines and comments (`#`) are skipped.
#[must_use]
pub fn sort(text: &str, guard: &Guard) -> Sorted {
    let mut sorted = Sorted::default();
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let refused = |reason: String| Refused { input: line.chars().take(200).collect(), reason };
        match RelayUrl::parse(line, guard) {
            Ok(address) => sorted.addresses.push(address),
            Err(RelayUrlError::Refused(reason)) => sorted.refused.push(refused(reason)),
            Err(RelayUrlError::Malformed(reason)) => sorted.malformed.push(refused(reason)),
        }
    }
    sorted
}

/// Reads a list: `builtin`, an http(s) URL, or a path. The URL of a relay is a list of one.
///
/// # Errors
/// Fails if it cannot be read, is larger than 16 MiB or is not text.
pub async fn read<A: ?Sized>(agent: &Agent<A>, source: &str) -> Result<String> {
    if source == "builtin" {
        return Ok(BUILTIN.to_owned());
    }
    if source.starts_with("ws://") || source.starts_with("wss://") {
        return Ok(source.to_owned());
    }
    if source.starts_with("http://") || source.starts_with("https://") {
        let answer = http::get(&agent.dialer, source, "text/plain, */*", MAX_LIST).await;
        let problem = || Error::List { place: source.to_owned(), problem: "is not UTF-8 text".into() };
        return String::from_utf8(answer?.body).map_err(|_| problem());
    }
    read_file(Path::new(source))
}

/// Reads a list from a file.
///
/// # Errors
/// As for [`read`].
pub fn read_file(path: &Path) -> Result<String> {
    let mut text = String::new();
    let most = MAX_LIST as u64 + 1;
    let file = std::fs::File::open(path).map_err(Error::file("open", path))?;
    file.take(most).read_to_string(&mut text).map_err(Error::file("read", path))?;
    if text.len() > MAX_LIST {
        let problem = format!("is larger than {MAX_LIST} bytes");
        return Err(Error::List { place: path.display().to_string(), problem });
    }
    Ok(text)
}

/// Adds the valid relays of a list.
///
/// # Errors
/// Fails if the archive cannot be written.
pub async fn add(archive: &(impl RelayStore + ?Sized), sorted: Sorted) -> Result<Added> {
    let named = sorted.addresses.len();
    let mut list: Vec<_> = sorted.addresses.iter().map(|a| (a.as_str().to_owned(), a.network())).collect();
    list.sort_unstable();
    list.dedup();
    let mut added = 0;
    for batch in list.chunks(BATCH) {
        added += archive.add_relays(batch, now()).await?;
    }
    Ok(Added { added, known: named - added, refused: sorted.refused, malformed: sorted.malformed })
}

/// Loads every configured list. A list that cannot be read is logged, and does not stop the others.
///
/// # Errors
/// Fails if the archive cannot be written.
pub async fn load(agent: &Agent<impl RelayStore + ?Sized>) -> Result<()> {
    for source in &agent.config.initializer.seeds {
        match read(agent, source).await {
            Ok(text) => {
                let added = add(agent.archive.as_ref(), sort(&text, agent.dialer.guard())).await?;
                let refused = added.refused.len() + added.malformed.len();
                RelaysFound { source, added: added.added, refused }.emit();
            }
            Err(error) => SourceFailed { source, error: &format!("{error:#}") }.emit(),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_built_in_relay_is_an_address_in_its_canonical_spelling() {
        let sorted = sort(BUILTIN, &Guard::default());
        assert!(sorted.refused.is_empty() && sorted.malformed.is_empty(), "{sorted:?}");
        let lines: Vec<_> = BUILTIN.lines().filter(|line| line.starts_with("wss://")).collect();
        let canonical: Vec<_> = sorted.addresses.iter().map(RelayUrl::as_str).collect();
        assert_eq!(lines, canonical);
        let mut distinct = canonical.clone();
        distinct.sort_unstable();
        distinct.dedup();
        assert_eq!(distinct.len(), canonical.len());
        assert!((40..80).contains(&distinct.len()), "{}", distinct.len());
        // Closed in 2026.
        for gone in ["relay.damus.io", "relay.nostr.band", "nostr.fmt.wiz.biz", "relay.nostr.bg"] {
            assert!(!canonical.iter().any(|url| url.contains(gone)), "{gone}");
        }
    }
}
