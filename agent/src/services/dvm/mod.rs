//! The DVM's ears and hands: who hears requests and hands them to the `dvm` crate, who does them, and who takes the money.

pub mod cashier;
mod listener;
pub mod wallet;
mod worker;

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Result;
use brotr_dvm::{Acceptance, Canonical, Dvm, Limits, Price, Prices, Terms, Till};
use brotr_storage::{Job, Outgoing, Payment};
use nostr::{Event, PublicKey};
use tokio::sync::{Notify, broadcast};

pub use listener::listen;
pub use worker::work;

use crate::agent::{Agent, now};
use crate::config;
use crate::happening::Happening;
use crate::publish::{HERE, Publisher, outgoing, spelled};
use brotr_core::RelayUrl;
use wallet::Wallet;

/// Pings are answered after jobs.
const PONGS: i64 = 2_000;
/// Zaps that wait to be looked up.
const ZAPS: usize = 1_024;
/// Customers who are remembered to be served before others.
const REGULARS: i64 = 100_000;

/// The operator's wallet, if there is one.
///
/// # Errors
/// When it is named by something that is no NIP-47 URI.
pub fn wallet(agent: &Agent) -> Result<Option<Arc<Wallet>>> {
    let payment = &agent.config.dvm.payment;
    let uri = payment.wallet_uri()?;
    Ok(uri.map(|uri| Arc::new(Wallet::new(uri, payment.expiry.get(), &agent.dialer))))
}

/// The `dvm` crate on this agent's archive, key and guard, and the operator's wallet.
#[must_use]
pub fn dvm(agent: &Agent, wallet: Option<Arc<Wallet>>) -> Dvm {
    let guard = agent.dialer.guard().clone();
    let canonical: Canonical = Arc::new(move |url: &str| {
        RelayUrl::parse(url, &guard).map(|a| a.as_str().to_owned()).map_err(|e| e.to_string())
    });
    let config = &agent.config.dvm;
    let keys = |list: &[String]| list.iter().filter_map(|text| PublicKey::parse(text).ok()).collect();
    let limits = Limits {
        per_minute: config.limits.per_minute,
        all_per_minute: config.limits.all_per_minute,
        open: config.limits.open,
        newcomers: config.limits.newcomers,
        allow: keys(&config.limits.allow),
        deny: keys(&config.limits.deny),
        pow: config.limits.pow,
        trust: keys(&config.limits.trust),
        statement: config.limits.statement.get(),
    };
    let of_kinds = |price: &config::Price| {
        let (kinds, price) = (price.kinds.clone(), Price { job: price.job, result: price.result });
        kinds.into_iter().map(move |kind| (kind, price))
    };
    let prices = Prices {
        kinds: config.payment.prices.iter().flat_map(of_kinds).collect(),
        free_per_day: config.payment.free_per_day,
        zappers: keys(&config.payment.zappers),
    };
    let till = wallet.map(|wallet| wallet as Arc<dyn Till>);
    let terms = Terms { max_age: config.max_age.as_secs(), limits, prices, till };
    Dvm::new(agent.archive.clone(), agent.signer.clone(), canonical, terms)
}

/// Where requests are handed in, whichever way they came.
#[derive(Clone)]
pub struct Desk {
    /// Whose desk it is.
    pub agent: Agent,
    /// By which what is said goes out.
    pub publisher: Publisher,
    /// What knows the jobs.
    pub dvm: Arc<Dvm>,
    /// Told of each job.
    work: Arc<Notify>,
    /// Customers who were answered before.
    regulars: Arc<Mutex<HashSet<PublicKey>>>,
    /// Zaps, for who takes the money.
    zaps: broadcast::Sender<Payment>,
}

impl Desk {
    /// A desk of an agent.
    #[must_use]
    pub fn new(agent: &Agent, publisher: &Publisher, dvm: &Arc<Dvm>) -> Self {
        let (agent, publisher, dvm) = (agent.clone(), publisher.clone(), dvm.clone());
        Self {
            agent,
            publisher,
            dvm,
            work: Arc::default(),
            regulars: Arc::default(),
            zaps: broadcast::Sender::new(ZAPS),
        }
    }

    /// Remembers who was answered before.
    async fn meet(&self) -> Result<()> {
        let known = self.agent.archive.answered_customers(REGULARS).await?;
        self.regulars.lock().unwrap_or_else(PoisonError::into_inner).extend(known);
        Ok(())
    }

    fn greet(&self, customer: PublicKey) {
        let mut regulars = self.regulars.lock().unwrap_or_else(PoisonError::into_inner);
        if regulars.len() < REGULARS as usize {
            regulars.insert(customer);
        }
    }

    fn some_regulars(&self, most: usize) -> Vec<PublicKey> {
        self.regulars.lock().unwrap_or_else(PoisonError::into_inner).iter().take(most).copied().collect()
    }

    fn is_regular(&self, customer: &PublicKey) -> bool {
        self.regulars.lock().unwrap_or_else(PoisonError::into_inner).contains(customer)
    }

    /// Takes a verified event: a request, a deletion of one, a ping, a zap; and does what is to be done at once.
    ///
    /// # Errors
    /// When the archive cannot be used.
    pub async fn take(&self, event: &Event) -> Result<Acceptance> {
        let acceptance = self.dvm.accept(event, now()).await?;
        match &acceptance {
            Acceptance::New => {
                Happening::JobReceived(event.id).tell();
                self.work.notify_one();
            }
            Acceptance::Cancelled => tracing::debug!(by = %event.id, "a job was taken back"),
            Acceptance::Ping => {
                let pong = outgoing(&self.dvm.pong(event)?, &answering_relays(&self.agent));
                let pong: Vec<_> = pong.into_iter().map(|one| Outgoing { rank: PONGS, ..one }).collect();
                self.publisher.queue(&pong).await?;
            }
            // The wallet is asked about it by who takes the money: nobody waits here.
            Acceptance::Paid(payment) => drop(self.zaps.send(payment.clone())),
            Acceptance::Known | Acceptance::Ignored(_) => {}
        }
        Ok(acceptance)
    }
}

/// Where every answer goes.
fn answering_relays(agent: &Agent) -> Vec<String> {
    let mut relays = spelled(&agent.own_relays());
    relays.extend(spelled(&agent.job_relays()));
    if agent.config.relay.enabled {
        relays.push(HERE.to_owned());
    }
    relays.sort_unstable();
    relays.dedup();
    relays
}

/// Where the answers to a job go.
async fn reply_relays(agent: &Agent, dvm: &Dvm, job: &Job) -> Result<Vec<String>> {
    let mut relays = answering_relays(agent);
    relays.extend(dvm.reply_relays(job).await?);
    relays.sort_unstable();
    relays.dedup();
    Ok(relays)
}
