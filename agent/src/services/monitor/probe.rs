//! What a relay claims, tried: both are kept, and where they contradict each other that is shown.

use std::collections::BTreeMap;

use brotr_core::RawEvent;
use brotr_net::info::Info;
use brotr_net::{End, Page, Refusal, Session};
use nostr::{Filter, Keys};
use serde::Serialize;

/// A word that is in the events of most relays.
const WORD: &str = "nostr";

/// A claim, and what was found of it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Probe {
    /// What the document says; nothing where it says nothing.
    pub claimed: Option<bool>,
    /// What was found; nothing where it could not be told.
    pub found: Option<bool>,
    /// What the relay said to it, or what was seen.
    pub detail: Option<String>,
}

impl Probe {
    /// Whether the relay does other than it says.
    #[must_use]
    pub fn contradicts(&self) -> bool {
        self.claimed.is_some() && self.found.is_some() && self.claimed != self.found
    }
}

/// What was found, by the name of what was tried.
pub type Probes = BTreeMap<&'static str, Probe>;

/// What the answer to the first request shows.
pub(super) fn of_reading(page: &Page, challenged: bool, info: Option<&Info>) -> Probes {
    let mut probes = Probes::new();
    let locked = matches!(&page.end, End::Closed(reason) if reason.starts_with("auth-required:"));
    let read = page.end == End::Eose;
    probes.insert(
        "auth_required",
        Probe {
            claimed: info.and_then(|info| info.limitation("auth_required")),
            found: (read || locked).then_some(locked),
            detail: None,
        },
    );
    probes.insert(
        "nip42",
        Probe {
            claimed: claims(info, 42),
            // Most relays ask only when they need to know.
            found: (challenged || locked).then_some(true),
            detail: None,
        },
    );
    if read && page.transferred > 1 {
        probes.insert("order", Probe { found: Some(page.in_order), ..Probe::default() });
    }
    if read {
        let late = page.transferred == 0 && !page.late.is_empty();
        probes.insert("eose", Probe { found: Some(!late), ..Probe::default() });
    }
    probes
}

fn claims(info: Option<&Info>, nip: u16) -> Option<bool> {
    info.map(|info| info.nips().contains(&nip))
}

/// Tries what a document claims: one small request for each.
pub(super) async fn claimed(session: &mut Session, info: &Info) -> Probes {
    let mut probes = Probes::new();
    let nips = info.nips();
    // Nobody's events: answered from an index by any relay.
    let nobody = || Filter::new().author(Keys::generate().public_key());
    let claimed = Some(true);
    if nips.contains(&45) {
        let (found, detail) = match session.count(&nobody()).await {
            Ok(_) => (Some(true), None),
            Err(End::Closed(reason)) => (Some(false), Some(format!("CLOSED: {reason}"))),
            Err(End::Notice(text)) => (Some(false), Some(format!("NOTICE: {text}"))),
            Err(End::Timeout) => (Some(false), Some("no answer".into())),
            Err(_) => (None, None),
        };
        probes.insert("nip45", Probe { claimed, found, detail });
    }
    if nips.contains(&50) {
        let page = session.request(&Filter::new().search(WORD).limit(1)).await;
        let has_word =
            |event: &RawEvent| event.parse().is_ok_and(|event| event.to_json().to_lowercase().contains(WORD));
        let (found, detail) = match &page.end {
            End::Eose if page.events.iter().any(has_word) => (Some(true), None),
            // It may have none, or mean something else by a match.
            End::Eose => (None, Some(format!("nothing that contains {WORD:?}"))),
            End::Closed(reason) => (Some(false), Some(format!("CLOSED: {reason}"))),
            End::Notice(text) => (Some(false), Some(format!("NOTICE: {text}"))),
            _ => (None, None),
        };
        probes.insert("nip50", Probe { claimed, found, detail });
    }
    if nips.contains(&77) {
        let (found, detail) = match session.reconcile(&nobody(), &[]).await {
            Ok(_) => (Some(true), None),
            Err(Refusal::TooLarge) => (Some(true), Some("too large".into())),
            Err(Refusal::Unwilling(why)) => (Some(false), Some(why)),
            Err(Refusal::Broken(_)) => (None, None),
        };
        probes.insert("nip77", Probe { claimed, found, detail });
    }
    probes
}
