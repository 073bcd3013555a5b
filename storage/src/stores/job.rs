//! Jobs (NIP-90) and their status.

use async_trait::async_trait;
use nostr::{EventId, PublicKey};

use super::outbox::write_outgoing;
use crate::StorageError;
use crate::database::{Database, Row, Transaction, args};
use crate::decode::{event_id, public_key};
use crate::query::{common, each_backend};
use crate::rows::{Job, JobRecord, JobStatus, Outgoing, Standing};

type Result<T> = std::result::Result<T, StorageError>;

/// Stores job requests and their answers.
#[async_trait]
pub trait JobStore: std::fmt::Debug + Send + Sync {
    /// Stores a job request; returns false if it was known.
    async fn accept_job(&self, job: &Job) -> Result<bool>;

    /// Returns the standing of a customer.
    async fn standing(&self, customer: PublicKey) -> Result<Standing>;

    /// Returns customers who were answered, at most `limit`.
    async fn answered_customers(&self, limit: i64) -> Result<Vec<PublicKey>>;

    /// Cancels a job, if this customer requested it and it has not ended.
    async fn cancel_job(&self, id: EventId, customer: PublicKey, now: i64) -> Result<bool>;

    /// Returns the result of a job that was answered, as JSON.
    async fn job_answer(&self, id: EventId) -> Result<Option<String>>;

    /// Returns the newest jobs, of one status if it is given, at most `limit`.
    async fn jobs(&self, status: Option<JobStatus>, limit: i64) -> Result<Vec<JobRecord>>;

    /// Starts a waiting job and returns it. Customers with the fewest jobs in work come first; among them those with the fewest
    /// recent requests, and customers who were never answered last.
    async fn take_job(&self, now: i64) -> Result<Option<Job>>;

    /// Puts back jobs that were started at or before a time and have not ended: their agent stopped or died.
    async fn put_back_jobs(&self, begun_by: i64) -> Result<u64>;

    /// Puts a job in work back, to be started again at a time, or when another one has ended.
    async fn postpone_job(&self, id: EventId, begin_at: i64, waits_for: EventId) -> Result<bool>;

    /// Ends a job in work and queues its answer, in one transaction. Returns false, and queues nothing, if it was not in work.
    async fn end_job(&self, id: EventId, status: JobStatus, now: i64, answer: &[Outgoing]) -> Result<bool>;

    /// Returns a job.
    async fn job(&self, id: EventId) -> Result<Option<Job>>;

    /// Counts the customer's other free jobs of these kinds that were received since a time. Of those in work the earlier ones
    /// count.
    async fn free_jobs(&self, job: &Job, kinds: &[u16], since: i64) -> Result<u64>;
}

fn job(row: &Row) -> Result<Job> {
    let kind = row.int(1)?;
    Ok(Job {
        id: event_id(&row.bytes(0)?)?,
        kind: u16::try_from(kind).map_err(|_| StorageError::Damaged { what: "job kind", detail: kind.to_string() })?,
        customer: public_key(&row.bytes(2)?)?,
        request: row.text(3)?,
        received_at: row.int(4)?,
        status: row.text(5)?.parse()?,
        waits_for: row.opt_bytes(6)?.map(|id| event_id(&id)).transpose()?,
        rank: row.int(7)?,
    })
}

/// Makes jobs startable that waited for one.
pub(super) async fn wake_waiting(tx: &mut dyn Transaction, ended: EventId) -> Result<()> {
    let sql = common!("job_wake_waiting");
    tx.execute(sql, args![ended.as_bytes().as_slice()]).await?;
    Ok(())
}

#[async_trait]
impl<D: Database> JobStore for D {
    async fn accept_job(&self, job: &Job) -> Result<bool> {
        let mut tx = self.begin().await?;
        let accepted = tx
            .execute(
                common!("job_accept"),
                args![
                    job.id.as_bytes().as_slice(),
                    i64::from(job.kind),
                    job.customer.to_bytes().as_slice(),
                    &job.request,
                    job.received_at,
                    job.status.as_str()
                ],
            )
            .await?;
        tx.commit().await?;
        Ok(accepted == 1)
    }

    async fn standing(&self, customer: PublicKey) -> Result<Standing> {
        let rows = self.rows(common!("job_standing"), args![customer.to_bytes().as_slice()]).await?;
        let row = rows.first().ok_or(StorageError::Damaged { what: "count", detail: "none".into() })?;
        let n = |place| row.int(place).map(i64::cast_unsigned);
        Ok(Standing { open: n(0)?, known: n(1)? > 0, newcomers: n(2)? })
    }

    async fn answered_customers(&self, limit: i64) -> Result<Vec<PublicKey>> {
        let sql = common!("job_customers_answered");
        self.rows(sql, args![limit]).await?.iter().map(|row| public_key(&row.bytes(0)?)).collect()
    }

    async fn cancel_job(&self, id: EventId, customer: PublicKey, now: i64) -> Result<bool> {
        let mut tx = self.begin().await?;
        let cancelled = tx
            .execute(common!("job_cancel"), args![id.as_bytes().as_slice(), customer.to_bytes().as_slice(), now])
            .await?;
        tx.commit().await?;
        Ok(cancelled == 1)
    }

    async fn job_answer(&self, id: EventId) -> Result<Option<String>> {
        let sql = common!("job_answer");
        let rows = self.rows(sql, args![id.as_bytes().as_slice()]).await?;
        rows.first().map_or(Ok(None), |row| row.opt_text(0))
    }

    async fn jobs(&self, status: Option<JobStatus>, limit: i64) -> Result<Vec<JobRecord>> {
        let status = status.map_or("", JobStatus::as_str);
        let record = |row: &Row| {
            let (begun_at, ended_at, failure) = (row.opt_int(8)?, row.opt_int(9)?, row.opt_text(10)?);
            Ok(JobRecord { job: job(row)?, begun_at, ended_at, failure })
        };
        self.rows(common!("job_list"), args![status, limit]).await?.iter().map(record).collect()
    }

    async fn take_job(&self, now: i64) -> Result<Option<Job>> {
        let mut tx = self.begin().await?;
        let rows = tx.rows(each_backend!("job_take"), args![now]).await?;
        tx.commit().await?;
        rows.first().map(job).transpose()
    }

    async fn put_back_jobs(&self, begun_by: i64) -> Result<u64> {
        let mut tx = self.begin().await?;
        let sql = common!("job_put_back");
        let n = tx.execute(sql, args![begun_by]).await?;
        tx.commit().await?;
        Ok(n)
    }

    async fn postpone_job(&self, id: EventId, begin_at: i64, waits_for: EventId) -> Result<bool> {
        let mut tx = self.begin().await?;
        let postponed = tx
            .execute(
                common!("job_postpone"),
                args![id.as_bytes().as_slice(), begin_at, waits_for.as_bytes().as_slice()],
            )
            .await?;
        tx.commit().await?;
        Ok(postponed == 1)
    }

    async fn end_job(&self, id: EventId, status: JobStatus, now: i64, answer: &[Outgoing]) -> Result<bool> {
        let mut tx = self.begin().await?;
        let ended = tx
            .execute(
                common!("job_end"),
                args![id.as_bytes().as_slice(), status.as_str(), now, answer.first().map(|one| one.body.as_str())],
            )
            .await?;
        if ended == 1 {
            wake_waiting(tx.as_mut(), id).await?;
            write_outgoing(tx.as_mut(), answer, now).await?;
        }
        tx.commit().await?;
        Ok(ended == 1)
    }

    async fn job(&self, id: EventId) -> Result<Option<Job>> {
        let rows = self.rows(common!("job_get"), args![id.as_bytes().as_slice()]).await?;
        rows.first().map(job).transpose()
    }

    async fn free_jobs(&self, job: &Job, kinds: &[u16], since: i64) -> Result<u64> {
        let kinds: Vec<i64> = kinds.iter().copied().map(i64::from).collect();
        let sql = each_backend!("job_count_free");
        let (customer, id) = (job.customer.to_bytes(), job.id);
        let args = args![customer.as_slice(), since, job.received_at, id.as_bytes().as_slice(), kinds];
        Ok(self.rows(sql, args).await?.first().map(|row| row.int(0)).transpose()?.unwrap_or_default().cast_unsigned())
    }
}
