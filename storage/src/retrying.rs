//! The one layer that retries transient errors: every store call passes through it, on either backend.
//!
//! A call is one transaction, or several that each leave the archive consistent, so a failed call can be repeated. `store` and
//! `remove` retry by themselves: a batch waits as long as necessary, and each portion of a removal is a transaction.

use std::collections::{BTreeMap, HashSet};
use std::path::Path;

use async_trait::async_trait;
use brotr_core::{Event, Network, Offset, Sketch};
use nostr::{EventId, Filter, PublicKey};

use crate::archive::{Archive, EventStore, Setting, SightingStore, SqlRow};
use crate::backoff::{Repeat, retry};
use crate::batch::{Batch, Stored};
use crate::new_events::NewEvents;
use crate::options::{InjectedFault, Options};
use crate::prepare::Preparer;
use crate::rows::Counts;
use crate::rows::*;
use crate::stores::*;
use crate::{StorageError, View};

type Result<T> = std::result::Result<T, StorageError>;

/// An archive whose calls are retried after transient errors.
#[derive(Debug)]
pub(crate) struct Retrying<A> {
    archive: A,
    options: Options,
}

impl<A: Archive> Retrying<A> {
    pub(crate) fn new(archive: A, options: Options) -> Self {
        Self { archive, options }
    }

    /// Makes a call, and repeats it after transient errors.
    async fn call<T, F>(&self, name: &'static str, repeat: Repeat, call: impl Fn() -> F) -> Result<T>
    where
        F: Future<Output = Result<T>>,
    {
        retry(name, repeat, || self.options.attempt(name, call())).await
    }
}

impl Options {
    /// Makes one try of a store call, with the fault that is injected into it.
    pub(crate) async fn attempt<T>(self, call: &'static str, attempt: impl Future<Output = Result<T>>) -> Result<T> {
        let lost = || sqlx::Error::Io(std::io::ErrorKind::ConnectionReset.into());
        match self.fault_injector.and_then(|fault| fault(call)) {
            None => attempt.await,
            Some(InjectedFault::RolledBack) => Err(StorageError::Statement(lost())),
            Some(InjectedFault::Uncertain) => attempt.await.and(Err(StorageError::Uncertain(lost()))),
            Some(InjectedFault::DiskFull) => {
                let full = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_FULL);
                Err(rusqlite::Error::SqliteFailure(full, None).into())
            }
            Some(InjectedFault::Delayed(delay)) => {
                tokio::time::sleep(delay).await;
                attempt.await
            }
        }
    }
}

/// Implements a trait by retrying each method: `Always`, or only if it was `RolledBack`. Methods in the second block are passed
/// on unchanged.
macro_rules! retrying {
    (
        impl $trait:ident {
            $($repeat:ident $name:ident($($arg:ident: $type:ty),*) -> $out:ty;)*
        }
        $($passed:item)*
    ) => {
        #[async_trait]
        impl<A: Archive> $trait for Retrying<A> {
            $(async fn $name(&self, $($arg: $type),*) -> Result<$out> {
                self.call(stringify!($name), Repeat::$repeat, || self.archive.$name($($arg),*)).await
            })*
            $($passed)*
        }
    };
}

retrying! {
    impl EventStore {
        Always known(ids: &[EventId]) -> HashSet<EventId>;
        Always page(filter: &Filter, view: View, after: Option<Cursor>, limit: usize) -> Vec<Event>;
        Always count(filters: &[Filter], view: View, relays: &[String]) -> u64;
        Always sketch(filter: &Filter, view: View, offset: Offset) -> (u64, Sketch);
        Always ids(filter: &Filter, view: View) -> Vec<(EventId, i64)>;
        Always stored_after(after: i64, limit: i64) -> Vec<(i64, Event)>;
        Always last_stored() -> i64;
        Always clear() -> ();
        Always stats() -> Stats;
    }

    async fn store(&self, batch: Batch) -> Result<Stored> {
        self.archive.store(batch).await
    }

    fn preparer(&self) -> Preparer {
        self.archive.preparer()
    }

    fn new_events(&self) -> NewEvents {
        self.archive.new_events()
    }

    async fn remove(&self, filter: &Filter, most: u64) -> Result<u64> {
        self.archive.remove(filter, most).await
    }

    async fn ping(&self) -> Result<()> {
        self.archive.ping().await
    }
}

retrying! {
    impl SightingStore {
        Always holders(ids: &[EventId]) -> BTreeMap<EventId, Vec<String>>;
        Always lost(ids: &[EventId]) -> BTreeMap<EventId, Vec<String>>;
    }
}

retrying! {
    impl RelayStore {
        Always add_relays(relays: &[(String, Network)], now: i64) -> usize;
        Always relays(query: &RelayQuery) -> Vec<Relay>;
        Always relay(url: &str) -> Option<Relay>;
    }
}

retrying! {
    impl CheckStore {
        RolledBack record_check(url: &str, network: Network, check: &CheckRecord) -> ();
        Always set_check_due(url: &str, due_at: i64) -> ();
        Always visits(url: &str, since: i64, limit: i64) -> Vec<Visit>;
        Always forget_visits(before: i64) -> u64;
        Always documents(url: &str) -> Vec<Document>;
        Always failures(url: &str, since: i64, limit: i64) -> Vec<Failure>;
        Always nip11_history(url: &str, limit: i64) -> Vec<DocumentSpan>;
    }
}

retrying! {
    impl CoverageStore {
        Always set_sync_due(url: &str, due_at: i64) -> ();
        Always coverage(url: Option<&str>) -> Vec<CoverageReport>;
        Always progress(now: i64) -> Progress;
        Always claims_by_method() -> Vec<CoverageTotal>;
        Always gaps_by_reason() -> Vec<CoverageTotal>;
        Always clamp_future(now: i64, longest_wait: i64) -> u64;
    }
}

retrying! {
    impl LeaseStore {
        RolledBack claim(task: Task, query: &RelayQuery, now: i64, lease: Lease) -> Vec<Relay>;
        Always renew(task: Task, url: &str, lease: Lease) -> bool;
        Always release(task: Task, url: Option<&str>, holder: i64) -> ();
        Always release_leaders(holder: i64) -> ();
        Always try_acquire_leader(name: &str, lease: Lease) -> bool;
    }
}

retrying! {
    impl OutboxStore {
        Always enqueue(outgoing: &[Outgoing], now: i64) -> ();
        Always enqueue_with_state(aftermath: &Aftermath, now: i64) -> ();
        Always due_relays(now: i64) -> Vec<(String, Lane)>;
        Always due_outgoing(relay: &str, lane: Lane, now: i64, limit: i64) -> Vec<Outgoing>;
        RolledBack delivered(ended: &[(Outgoing, Delivery)], now: i64) -> ();
        Always deliveries() -> Vec<Deliveries>;
        Always prune(before: i64) -> u64;
    }
}

retrying! {
    impl StateStore {
        Always state(service: &str, kind: &str, key: &str) -> Option<String>;
        Always states(service: &str, kind: &str) -> BTreeMap<String, String>;
        Always set_state(service: &str, kind: &str, key: &str, value: &str) -> ();
        Always register_agent(key: &PublicKey, now: i64) -> ();
    }
}

retrying! {
    impl JobStore {
        RolledBack accept_job(job: &Job) -> bool;
        Always standing(customer: PublicKey) -> Standing;
        Always answered_customers(limit: i64) -> Vec<PublicKey>;
        RolledBack cancel_job(id: EventId, customer: PublicKey, now: i64) -> bool;
        Always job_answer(id: EventId) -> Option<String>;
        Always jobs(status: Option<JobStatus>, limit: i64) -> Vec<JobRecord>;
        RolledBack take_job(now: i64) -> Option<Job>;
        Always put_back_jobs(begun_by: i64) -> u64;
        RolledBack postpone_job(id: EventId, begin_at: i64, waits_for: EventId) -> bool;
        RolledBack end_job(id: EventId, status: JobStatus, now: i64, answer: &[Outgoing]) -> bool;
        Always job(id: EventId) -> Option<Job>;
        Always free_jobs(job: &Job, kinds: &[u16], since: i64) -> u64;
    }
}

retrying! {
    impl PaymentStore {
        RolledBack bill_job(bill: &Bill, result: &str, feedback: &[Outgoing], now: i64) -> bool;
        RolledBack bill_again(invoice: &Invoice, feedback: &[Outgoing], now: i64) -> ();
        Always open_invoices(after: &str, limit: i64) -> Vec<Invoice>;
        Always billed_job(hash: &str, feedback: Option<EventId>) -> Option<EventId>;
        Always held_result(id: EventId) -> Option<String>;
        RolledBack pay(payment: &Payment, release: &[Outgoing], now: i64) -> Paid;
        RolledBack lapse_job(id: EventId, now: i64, feedback: &[Outgoing]) -> bool;
        Always customers(limit: i64) -> Vec<Customer>;
        Always revenue() -> Vec<Revenue>;
    }
}

#[async_trait]
impl<A: Archive> Archive for Retrying<A> {
    async fn backup(&self, target: &Path) -> Result<Counts> {
        self.archive.backup(target).await
    }

    async fn sql(&self, statement: &str, rows: tokio::sync::mpsc::Sender<SqlRow>) -> Result<()> {
        self.archive.sql(statement, rows).await
    }

    async fn costly_settings(&self) -> Result<Vec<Setting>> {
        self.archive.costly_settings().await
    }

    async fn close(&self) {
        self.archive.close().await;
    }

    fn backend(&self) -> &'static str {
        self.archive.backend()
    }
}
