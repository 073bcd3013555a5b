//! Admission of requests, cancellations, pings and zaps, each checked before any work is done.

use std::collections::HashSet;

use brotr_storage::{Job, JobStatus, Payment, StorageError, View};
use nostr::{Event, Filter, JsonUtil, Kind, PublicKey, Timestamp};

use crate::jobs::JOBS;
use crate::payment::{self, Zap};
use crate::seal::Seal;
use crate::{Acceptance, Dvm};

/// The largest request event, in bytes.
const MAX_REQUEST: usize = 64 << 10;
/// A ping: asks whether the service is available (nostr-protocol/nips#1808).
pub const PING: Kind = Kind::Custom(7_007);
/// Follows of trusted people that are read.
const MAX_CIRCLE: usize = 5_000;
/// The most jobs cancelled by one deletion.
const MAX_CANCELLED: usize = 50;

impl Dvm {
    /// Stores a request before any work on it, or cancels one (NIP-09). The event must be verified.
    ///
    /// # Errors
    /// Fails if the archive cannot be written; nothing is lost, since the relay still has the request.
    pub async fn accept(&self, event: &Event, now: i64) -> Result<Acceptance, StorageError> {
        if event.kind == Kind::EventDeletion {
            return self.cancel(event, now).await;
        }
        if event.kind == Kind::ZapReceipt {
            return self.zapped(event).await;
        }
        if event.kind == PING {
            return Ok(self.pinged(event, now));
        }
        if !JOBS.iter().any(|work| work.kind() == event.kind.as_u16()) {
            return Ok(Acceptance::Ignored("not a kind of job done here"));
        }
        let targets: Vec<PublicKey> = event.tags.public_keys().copied().collect();
        if !targets.is_empty() && !targets.contains(&self.signer.public_key()) {
            return Ok(Acceptance::Ignored("addressed to another"));
        }
        if targets.is_empty() && Seal::of(event).is_some() {
            return Ok(Acceptance::Ignored("encrypted and addressed to nobody"));
        }
        let age = now.saturating_sub(i64::try_from(event.created_at.as_secs()).unwrap_or(i64::MAX));
        if !(-900..=self.max_age).contains(&age) {
            return Ok(Acceptance::Ignored("too old, or from the future"));
        }
        if event.is_expired_at(&Timestamp::from(now.max(0).cast_unsigned())) {
            return Ok(Acceptance::Ignored("expired"));
        }
        let request = event.as_json();
        if request.len() > MAX_REQUEST {
            return Ok(Acceptance::Ignored("too large"));
        }
        if let Err(why) = self.gate.admits(event).and_then(|()| self.gate.may_enter(event.pubkey)) {
            return Ok(Acceptance::Ignored(why));
        }
        // Known ones are not counted: relays send them again.
        if self.jobs.job(event.id).await?.is_some() {
            return Ok(Acceptance::Known);
        }
        if let Err(why) = self.gate.enters(event.pubkey) {
            return Ok(Acceptance::Ignored(why));
        }
        if !self.trusts(event.pubkey, now).await? {
            return Ok(Acceptance::Ignored("by somebody whom nobody trusted here follows"));
        }
        let standing = self.jobs.standing(event.pubkey).await?;
        if let Err(why) = self.gate.seats(&standing) {
            return Ok(Acceptance::Ignored(why));
        }
        let job = Job {
            id: event.id,
            kind: event.kind.as_u16(),
            customer: event.pubkey,
            request,
            received_at: now,
            status: JobStatus::Received,
            waits_for: None,
            rank: 0,
        };
        Ok(if self.jobs.accept_job(&job).await? { Acceptance::New } else { Acceptance::Known })
    }

    /// Cancels the jobs that a deletion names, if they are its author's.
    async fn cancel(&self, event: &Event, now: i64) -> Result<Acceptance, StorageError> {
        let mut cancelled = false;
        for id in event.tags.event_ids().take(MAX_CANCELLED) {
            cancelled |= self.jobs.cancel_job(*id, event.pubkey, now).await?;
        }
        Ok(if cancelled { Acceptance::Cancelled } else { Acceptance::Ignored("deletes no job that is open here") })
    }

    async fn zapped(&self, receipt: &Event) -> Result<Acceptance, StorageError> {
        if self.till.is_none() {
            return Ok(Acceptance::Ignored("a zap, where nothing costs anything"));
        }
        let Zap { of, hash: source, msat } = match payment::zap(receipt, self.signer.public_key(), &self.prices.zappers)
        {
            Ok(zap) => zap,
            Err(why) => return Ok(Acceptance::Ignored(why)),
        };
        let job = self.payments.billed_job("", Some(of)).await?;
        let payment = |job| Payment { source, job, msat };
        Ok(job.map_or(Acceptance::Ignored("a zap of what asks for no money"), |job| Acceptance::Paid(payment(job))))
    }

    fn pinged(&self, event: &Event, now: i64) -> Acceptance {
        let age = now.saturating_sub(i64::try_from(event.created_at.as_secs()).unwrap_or(i64::MAX));
        if event.tags.public_keys().next() != Some(&self.signer.public_key()) || !(-60..=60).contains(&age) {
            return Acceptance::Ignored("a ping of another, or of long ago");
        }
        let entered = self.gate.admits(event).and_then(|()| self.gate.enters(event.pubkey));
        match entered.and_then(|()| self.gate.answers()) {
            Ok(()) => Acceptance::Ping,
            Err(why) => Acceptance::Ignored(why),
        }
    }

    /// Returns true if a customer is trusted, followed by a trusted person, or followed by one of their follows.
    async fn trusts(&self, customer: PublicKey, now: i64) -> Result<bool, StorageError> {
        let trust = &self.gate.limits.trust;
        if trust.is_empty() || trust.contains(&customer) {
            return Ok(true);
        }
        let lists = |by: Vec<PublicKey>| Filter::new().kind(Kind::ContactList).authors(by);
        let mut circle: HashSet<PublicKey> = trust.iter().copied().collect();
        for list in self.events.page(&lists(trust.clone()), View::Client { now }, None, trust.len()).await? {
            circle.extend(
                list.tags
                    .iter()
                    .filter(|tag| tag.len() > 1 && tag[0] == "p")
                    .filter_map(|tag| PublicKey::from_hex(&tag[1]).ok()),
            );
        }
        if circle.contains(&customer) {
            return Ok(true);
        }
        let follows = lists(circle.into_iter().take(MAX_CIRCLE).collect()).pubkey(customer);
        Ok(!self.events.page(&follows, View::Client { now }, None, 1).await?.is_empty())
    }
}
