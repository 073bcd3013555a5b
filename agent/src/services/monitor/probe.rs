//! Tests of a relay's claims: claim and finding are both recorded, and contradictions are shown.

use std::collections::BTreeMap;

use brotr_core::RawEvent;
use brotr_net::info::Info;
use brotr_net::{End, Page, Refusal, Session};
use nostr::{Filter, Keys};
use serde::Serialize;

/// A word that occurs on most relays.
const WORD: &str = "nostr";

/// A claim and the finding.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Probe {
    /// What the document says, if anything.
    pub claimed: Option<bool>,
    /// What was found, if it could be determined.
    pub found: Option<bool>,
    /// What the relay replied, or what was seen.
    pub detail: Option<String>,
}

impl Probe {
    /// Returns true if the relay does not do what it claims.
    #[must_use]
    pub fn contradicts(&self) -> bool {
        self.claimed.is_some() && self.found.is_some() && self.claimed != self.found
    }

    /// Returns true if the relay refused or broke off the request, which may be due to other requests on the same connection.
    pub(super) fn is_in_doubt(&self) -> bool {
        self.found == Some(false) || (self.found.is_none() && self.detail.is_none())
    }
}

/// Claims and findings by name.
pub type Probes = BTreeMap<&'static str, Probe>;

/// Returns what the answer to the first request shows.
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
            // Most relays ask for authentication only when they need it.
            found: (challenged || locked).then_some(true),
            detail: None,
        },
    );
    let claimed = claims(info, 67);
    if page.hints.any() || claimed == Some(true) {
        // A relay that says nothing may have nothing to say.
        probes.insert("nip67", Probe { claimed, found: page.hints.any().then_some(true), detail: None });
    }
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

/// Tests the claims of a document, with one small request each.
pub(super) async fn claimed(session: &mut Session, info: &Info) -> Probes {
    let mut probes = Probes::new();
    let nips = info.nips();
    // An author without events: any relay answers this from an index.
    let nobody = || Filter::new().author(Keys::generate().public_key());
    let claimed = Some(true);
    if nips.contains(&45) {
        // Whether it sketches authors shows with a filter that NIP-45 names.
        let followers = Filter::new().kind(nostr::Kind::ContactList).pubkey(Keys::generate().public_key());
        let (found, detail) = match session.count(&followers).await {
            Ok(count) => (Some(true), count.sketch.map(|_| "with HyperLogLog".to_owned())),
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
            // It may have none, or define a match differently.
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
