//! Accepts job requests (NIP-90), from job relays and from the agent's own relay.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use crate::error::Result;
use brotr_dvm::{Acceptance, Dvm, PreparedJob};
use brotr_storage::{JobStore, Outgoing, Payment, PaymentStore, StorageError};
use nostr::{Event, PublicKey};
use tokio::sync::{Notify, broadcast};

use crate::agent::{Agent, now};
use crate::outbox::{HERE, Publisher, outgoing, spelled};
use crate::telemetry::{JobReceived, Telemetry};

/// The delay of a pong behind answers, in milliseconds.
const PONGS: i64 = 2_000;
/// Zaps that are queued for verification.
const ZAPS: usize = 1_024;
/// The most customers that are remembered for priority.
const REGULARS: i64 = 100_000;

/// Accepts job requests from every source.
#[derive(Clone)]
pub struct JobIntake {
    /// The agent, with the jobs.
    pub agent: Agent<dyn JobStore>,
    /// Payments of jobs.
    pub payments: Arc<dyn PaymentStore>,
    /// Publishes feedback and results.
    pub publisher: Publisher,
    /// Validates and runs jobs.
    pub dvm: Arc<Dvm>,
    /// Notified of each accepted job.
    pub(crate) work: Arc<Notify>,
    /// Customers who were answered before.
    regulars: Arc<Mutex<HashSet<PublicKey>>>,
    /// Zaps, for the cashier.
    pub(crate) zaps: broadcast::Sender<Payment>,
}

impl JobIntake {
    /// Returns the intake of an agent.
    #[must_use]
    pub fn new(agent: &Agent, publisher: &Publisher, dvm: &Arc<Dvm>) -> Self {
        Self {
            agent: agent.with::<dyn JobStore>(agent.archive.clone()),
            payments: agent.archive.clone(),
            publisher: publisher.clone(),
            dvm: dvm.clone(),
            work: Arc::default(),
            regulars: Arc::default(),
            zaps: broadcast::Sender::new(ZAPS),
        }
    }

    /// Loads the customers who were answered before.
    pub(crate) async fn meet(&self) -> Result<()> {
        let known = self.agent.archive.answered_customers(REGULARS).await?;
        self.regulars.lock().unwrap_or_else(PoisonError::into_inner).extend(known);
        Ok(())
    }

    pub(crate) fn greet(&self, customer: PublicKey) {
        let mut regulars = self.regulars.lock().unwrap_or_else(PoisonError::into_inner);
        if regulars.len() < REGULARS as usize {
            regulars.insert(customer);
        }
    }

    pub(crate) fn some_regulars(&self, most: usize) -> Vec<PublicKey> {
        self.regulars.lock().unwrap_or_else(PoisonError::into_inner).iter().take(most).copied().collect()
    }

    pub(crate) fn is_regular(&self, customer: &PublicKey) -> bool {
        self.regulars.lock().unwrap_or_else(PoisonError::into_inner).contains(customer)
    }

    /// Accepts a verified event (a request, a cancellation, a ping or a zap) and queues the immediate replies.
    ///
    /// # Errors
    /// Fails if the archive cannot be used.
    pub async fn take(&self, event: &Event) -> Result<Acceptance> {
        let acceptance = self.dvm.accept(event, now()).await?;
        match &acceptance {
            Acceptance::New => {
                JobReceived { job: event.id, at: now() }.emit();
                self.work.notify_one();
            }
            Acceptance::Cancelled => tracing::debug!(by = %event.id, "a job was taken back"),
            Acceptance::Ping => {
                let pong = outgoing(&self.dvm.pong(event)?, &answering_relays(&self.agent));
                let pong: Vec<_> = pong.into_iter().map(|one| Outgoing { rank: PONGS, ..one }).collect();
                self.publisher.queue(&pong).await?;
            }
            // The cashier asks the wallet about it; nobody waits here.
            Acceptance::Paid(payment) => drop(self.zaps.send(payment.clone())),
            Acceptance::Known | Acceptance::Ignored(_) => {}
        }
        Ok(acceptance)
    }

    /// Returns the relays to which the answers to a job are sent.
    pub(crate) async fn reply_relays(&self, job: &PreparedJob) -> Result<Vec<String>, StorageError> {
        let mut relays = answering_relays(&self.agent);
        relays.extend(self.dvm.reply_relays(job).await?);
        relays.sort_unstable();
        relays.dedup();
        Ok(relays)
    }
}

/// Returns the relays to which every answer is sent.
fn answering_relays(agent: &Agent<impl ?Sized>) -> Vec<String> {
    let mut relays = spelled(&agent.own_relays());
    relays.extend(spelled(&agent.job_relays()));
    if agent.config.relay.enabled {
        relays.push(HERE.to_owned());
    }
    relays.sort_unstable();
    relays.dedup();
    relays
}
