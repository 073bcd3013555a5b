//! The context of one visit to a relay.

use brotr_core::RelayUrl;
use brotr_net::{Difference, End, Page, Refusal, Session, Verdict};
use brotr_storage::Batch;
use nostr::{EventId, Filter};

use super::{Bounds, Pass, Stores, auth_event};
use crate::agent::{Agent, now};
use crate::config::Synchronizer;
use crate::error::Result;
use crate::relay_retention::Authors;

/// A visit to a relay: what all of its requests share.
pub(super) struct Visit<'a, A: ?Sized> {
    pub(super) agent: &'a Agent<A>,
    pub(super) address: &'a RelayUrl,
    pub(super) settings: &'a Synchronizer,
    pub(super) session: &'a mut Session,
    pub(super) pass: &'a mut Pass,
    /// A sample of the authors whose events the relay gave, in this visit and before.
    pub(super) authors: Authors,
    /// Called after each page.
    pub(super) progress: &'a (dyn Fn(&Pass) + Send + Sync),
}

/// What is archived: a filter, and its JSON, under which coverage is stored.
pub(super) struct Subject {
    pub(super) filter: Filter,
    pub(super) key: String,
}

/// What is known of how a relay answers requests.
pub(super) struct Manner {
    /// Whether it includes the bounds of a window, once that is known.
    pub(super) bounds: Option<Bounds>,
    /// Events requested per page.
    pub(super) page_size: usize,
    /// Events that it was seen to return per request, if fewer than requested.
    pub(super) cap: Option<usize>,
    /// Events that it returns per request, as its document says.
    pub(super) offered: Option<usize>,
    /// Whether it compares (NIP-77).
    pub(super) compares: bool,
    /// Whether its hints (NIP-67) were found true in this visit: each visit counts once.
    pub(super) confirmed: bool,
}

impl Manner {
    /// Returns the bounds to request with: the wider ones while they are not known.
    pub(super) fn bounds(&self) -> Bounds {
        self.bounds.unwrap_or(Bounds::Outside)
    }
}

/// An event that a relay holds.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sample {
    pub(super) id: EventId,
    /// Its date, in unix seconds.
    pub(super) at: i64,
}

impl<A: Stores + ?Sized> Visit<'_, A> {
    /// Returns an empty batch of events that this relay holds.
    pub(super) fn batch(&self, subject: &Subject) -> Batch {
        let relay = Some((self.address.as_str().to_owned(), self.address.network()));
        Batch { relay, seen_at: now(), filter: subject.key.clone(), ..Batch::default() }
    }

    /// Requests stored events. See [`request_ahead`](Self::request_ahead).
    pub(super) async fn request(&mut self, asked: &Filter) -> Page {
        self.session.forget_ahead().await;
        self.request_ahead(asked, None).await
    }

    /// Requests stored events, and sends the request `next` before this answer ends. What fails on a connection that others use
    /// is requested again on one of the visit's own, before it counts: the relay may limit what one connection does.
    pub(super) async fn request_ahead(&mut self, asked: &Filter, next: Option<&Filter>) -> Page {
        let page = self.session.request_ahead(asked, next).await;
        if !self.session.is_shared() || matches!(page.end, End::Eose | End::Overflow) {
            return page;
        }
        // Others may have used up what the relay allows one connection; a broken connection says nothing of it.
        let is_limited = matches!(page.end, End::Closed(_) | End::Notice(_) | End::Timeout);
        // It may have a permit for which the next page waits.
        drop(page);
        self.leave_shared().await;
        let page = self.session.request_ahead(asked, next).await;
        if is_limited && page.end == End::Eose {
            self.agent.dialer.keep_alone(self.address);
        }
        page
    }

    /// Compares ids (NIP-77), on a connection of the visit's own if that fails on one that others use.
    pub(super) async fn reconcile(&mut self, filter: &Filter, ours: &[(EventId, i64)]) -> Result<Difference, Refusal> {
        match self.session.reconcile(filter, ours).await {
            Err(refusal @ (Refusal::Unwilling(_) | Refusal::Broken(_))) if self.session.is_shared() => {
                self.leave_shared().await;
                let compared = self.session.reconcile(filter, ours).await;
                if compared.is_ok() && matches!(refusal, Refusal::Unwilling(_) | Refusal::Broken(End::Timeout)) {
                    self.agent.dialer.keep_alone(self.address);
                }
                compared
            }
            compared => compared,
        }
    }

    /// Continues on a connection of the visit's own. If none can be opened, the next request ends as one on a broken connection.
    async fn leave_shared(&mut self) {
        if let Err(error) = self.session.reopen(&self.agent.dialer, self.address).await {
            tracing::debug!(%error, relay = %self.address, "failed to open a connection beside a shared one");
        }
    }

    /// Authenticates (NIP-42) if the relay has asked for it; returns true if the relay accepted.
    pub(super) async fn log_in(&mut self) -> Result<bool> {
        let Some(event) = auth_event(self.agent, self.address, self.session.challenge())? else { return Ok(false) };
        Ok(self.session.authenticate(&event).await == Verdict::Accepted)
    }
}
