//! Jobs (NIP-90): who asked for what, where it stands, what it costs and what came in for it.

use async_trait::async_trait;
use nostr::{EventId, PublicKey};

use crate::StorageError;
use crate::database::{Database, Dialect, Row, Transaction, args};
use crate::ledger::{event_id, public_key, write_outgoing};
use crate::rows::{Bill, Customer, Invoice, Job, JobStatus, Outgoing, Paid, Payment, Standing, Takings};

type Result<T> = std::result::Result<T, StorageError>;

/// Jobs and what is paid for them.
#[async_trait]
pub trait Jobs: Send + Sync {
    /// Keeps a job request; `false` when it was there already.
    async fn accept_job(&self, job: &Job) -> Result<bool>;

    /// How somebody stands who asks for a job.
    async fn standing(&self, customer: PublicKey) -> Result<Standing>;

    /// Customers who were answered, at most so many.
    async fn answered_customers(&self, limit: i64) -> Result<Vec<PublicKey>>;

    /// Ends a job without an answer, if this customer asked for it and it has not ended.
    async fn cancel_job(&self, id: EventId, customer: PublicKey, now: i64) -> Result<bool>;

    /// The answer to a job that ended with a result, as JSON.
    async fn job_answer(&self, id: EventId) -> Result<Option<String>>;

    /// The newest jobs, of those that stand so if that is asked for, at most so many.
    async fn jobs(&self, status: Option<JobStatus>, limit: i64) -> Result<Vec<Job>>;

    /// Takes a job that nobody has begun, and marks it as begun: of the customers with the fewest jobs in work the one
    /// whose turn it is: who asked for little of late comes first, and who was never answered last.
    async fn take_job(&self, now: i64) -> Result<Option<Job>>;

    /// Puts back the jobs that were begun at or before a time and have not ended: their agent stopped or died.
    async fn put_back_jobs(&self, begun_by: i64) -> Result<u64>;

    /// Puts a job in work back, to be begun again at a time, or when another one has ended.
    async fn postpone_job(&self, id: EventId, begin_at: i64, waits_for: EventId) -> Result<bool>;

    /// Ends a job that was begun and queues its answer, in one transaction. `false`, and nothing is queued, when it was not in work.
    async fn end_job(&self, id: EventId, status: JobStatus, now: i64, answer: &[Outgoing]) -> Result<bool>;

    /// Where a job stands.
    async fn job(&self, id: EventId) -> Result<Option<Job>>;

    /// How many other jobs of these kinds a customer got for nothing, of those received since a time. Of those in work the earlier
    /// ones count.
    async fn free_jobs(&self, job: &Job, kinds: &[u16], since: i64) -> Result<u64>;

    /// Holds the result of a job in work back until it is paid for, and queues the feedback that says so, in one transaction. `false`,
    /// and nothing is done, when it was not in work.
    async fn bill_job(&self, bill: &Bill, result: &str, feedback: &[Outgoing], now: i64) -> Result<bool>;

    /// Another invoice for a job that waits for money, in place of one that was paid in part; with its feedback.
    async fn bill_again(&self, invoice: &Invoice, feedback: &[Outgoing], now: i64) -> Result<()>;

    /// The invoices of jobs that wait for money, those after one by its hash, at most so many.
    async fn open_invoices(&self, after: &str, limit: i64) -> Result<Vec<Invoice>>;

    /// The job that an invoice with this hash, or the feedback with this id, asks money for.
    async fn billed_job(&self, hash: &str, feedback: Option<EventId>) -> Result<Option<EventId>>;

    /// The result of a job that is held back, or was until it lapsed, as JSON.
    async fn held_result(&self, id: EventId) -> Result<Option<String>>;

    /// Keeps a payment; each source counts once. With the last of what was missing the job ends, and what it is answered with is queued,
    /// in the same transaction: a job that lapsed for want of money as well.
    async fn pay(&self, payment: &Payment, release: &[Outgoing], now: i64) -> Result<Paid>;

    /// Ends a job that waits for money and has no invoice that can still be paid; its result is kept for what comes late. `false`
    /// when there is no such job.
    async fn lapse_job(&self, id: EventId, now: i64, feedback: &[Outgoing]) -> Result<bool>;

    /// Who asked, those who asked last first, at most so many.
    async fn customers(&self, limit: i64) -> Result<Vec<Customer>>;

    /// What was asked and what it brought, by kind.
    async fn takings(&self) -> Result<Vec<Takings>>;
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

fn invoice(row: &Row) -> Result<Invoice> {
    Ok(Invoice {
        hash: row.text(0)?,
        job: event_id(&row.bytes(1)?)?,
        msat: row.int(2)?.cast_unsigned(),
        bolt11: row.text(3)?,
        feedback: event_id(&row.bytes(4)?)?,
        expires_at: row.int(5)?,
    })
}

/// Lets the jobs begin that waited for one.
async fn wake_waiting(tx: &mut dyn Transaction, ended: EventId) -> Result<()> {
    let sql = "update job set begin_at = null where waits_for = $1 and status = 'received'";
    tx.execute(sql, args![ended.as_bytes().as_slice()]).await?;
    Ok(())
}

async fn write_invoice(tx: &mut dyn Transaction, invoice: &Invoice) -> Result<()> {
    tx.execute(
        "insert into invoice (hash, job, msat, bolt11, feedback, expires_at) values ($1, $2, $3, $4, $5, $6)",
        args![
            &invoice.hash,
            invoice.job.as_bytes().as_slice(),
            signed(invoice.msat),
            &invoice.bolt11,
            invoice.feedback.as_bytes().as_slice(),
            invoice.expires_at
        ],
    )
    .await?;
    Ok(())
}

/// All the money there is fits.
fn signed(msat: u64) -> i64 {
    i64::try_from(msat).unwrap_or(i64::MAX)
}

/// Takes the job whose turn it is. Both statuses are named, so that the index of open jobs is used: the ended ones are many.
macro_rules! take_job {
    ($lock:literal) => {
        concat!(
            "update job set status = 'working', begun_at = $1 where id = (select id from job j \
             where status in ('received', 'working') and status = 'received' and coalesce(begin_at, 0) <= $1 \
             order by (select count(*) from job w where w.customer = j.customer and w.status = 'working'), \
             rank, received_at, id limit 1",
            $lock,
            ") and status = 'received' returning id, kind, customer, request, received_at, status, waits_for, rank"
        )
    };
}

#[async_trait]
impl<D: Database> Jobs for D {
    async fn accept_job(&self, job: &Job) -> Result<bool> {
        let mut tx = self.begin().await?;
        let accepted = tx
            .execute(
                "insert into job (id, kind, customer, request, received_at, status, rank) select $1, cast($2 as bigint), $3, $4, \
                 cast($5 as bigint), $6, \
                 (select count(*) from job where customer = $3 and received_at > cast($5 as bigint) - 600) \
                 + case when exists (select 1 from job where customer = $3 and status = 'answered') then 0 else 1000 end \
                 where 1 = 1 on conflict (id) do nothing",
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

    async fn take_job(&self, now: i64) -> Result<Option<Job>> {
        let sql = match self.dialect() {
            Dialect::Sqlite => take_job!(""),
            // A taker that comes second to a job takes the next one.
            Dialect::Postgres => take_job!(" for no key update of j skip locked"),
        };
        let mut tx = self.begin().await?;
        let rows = tx.rows(sql, args![now]).await?;
        tx.commit().await?;
        rows.first().map(job).transpose()
    }

    async fn standing(&self, customer: PublicKey) -> Result<Standing> {
        let rows = self
            .rows(
                "select (select count(*) from job where customer = $1 and status in ('received', 'working', 'unpaid')), \
                 (select count(*) from (select 1 as one from job where customer = $1 and status = 'answered' limit 1) answered), \
                 (select count(*) from job where rank >= 1000 and status = 'received')",
                args![customer.to_bytes().as_slice()],
            )
            .await?;
        let row = rows.first().ok_or(StorageError::Damaged { what: "count", detail: "none".into() })?;
        let n = |place| row.int(place).map(i64::cast_unsigned);
        Ok(Standing { open: n(0)?, known: n(1)? > 0, newcomers: n(2)? })
    }

    async fn answered_customers(&self, limit: i64) -> Result<Vec<PublicKey>> {
        let sql = "select distinct customer from job where status = 'answered' limit $1";
        self.rows(sql, args![limit]).await?.iter().map(|row| public_key(&row.bytes(0)?)).collect()
    }

    async fn cancel_job(&self, id: EventId, customer: PublicKey, now: i64) -> Result<bool> {
        let mut tx = self.begin().await?;
        let cancelled = tx
            .execute(
                "update job set status = 'cancelled', ended_at = $3 \
                 where id = $1 and customer = $2 and status in ('received', 'working', 'unpaid')",
                args![id.as_bytes().as_slice(), customer.to_bytes().as_slice(), now],
            )
            .await?;
        tx.commit().await?;
        Ok(cancelled == 1)
    }

    async fn job_answer(&self, id: EventId) -> Result<Option<String>> {
        let sql = "select answer from job where id = $1 and status = 'answered'";
        let rows = self.rows(sql, args![id.as_bytes().as_slice()]).await?;
        rows.first().map_or(Ok(None), |row| row.opt_text(0))
    }

    async fn jobs(&self, status: Option<JobStatus>, limit: i64) -> Result<Vec<Job>> {
        let status = status.map_or("", JobStatus::as_str);
        let sql = "select id, kind, customer, request, received_at, status, waits_for, rank from job where $1 = '' or status = $1 \
                   order by received_at desc, id limit $2";
        self.rows(sql, args![status, limit]).await?.iter().map(job).collect()
    }

    async fn put_back_jobs(&self, begun_by: i64) -> Result<u64> {
        let mut tx = self.begin().await?;
        let sql = "update job set status = 'received' where status in ('received', 'working') and status = 'working' \
                   and coalesce(begun_at, 0) <= $1";
        let n = tx.execute(sql, args![begun_by]).await?;
        tx.commit().await?;
        Ok(n)
    }

    async fn postpone_job(&self, id: EventId, begin_at: i64, waits_for: EventId) -> Result<bool> {
        let mut tx = self.begin().await?;
        let postponed = tx
            .execute(
                "update job set status = 'received', begin_at = $2, waits_for = $3 where id = $1 and status = 'working'",
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
                "update job set status = $2, ended_at = $3, answer = $4 where id = $1 and status = 'working'",
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
        let rows = self
            .rows(
                "select id, kind, customer, request, received_at, status, waits_for, rank from job where id = $1",
                args![id.as_bytes().as_slice()],
            )
            .await?;
        rows.first().map(job).transpose()
    }

    async fn free_jobs(&self, job: &Job, kinds: &[u16], since: i64) -> Result<u64> {
        let kinds = kinds.iter().map(u16::to_string).collect::<Vec<_>>().join(" ");
        let sql = "select count(*) from job where customer = $1 and received_at >= $2 and price is null \
                   and id <> $4 and (status = 'answered' or status = 'working' and (received_at < $3 or received_at = $3 and id < $4)) \
                   and ' ' || $5 || ' ' like '% ' || kind || ' %'";
        let (customer, id) = (job.customer.to_bytes(), job.id);
        let args = args![customer.as_slice(), since, job.received_at, id.as_bytes().as_slice(), kinds];
        Ok(self.rows(sql, args).await?.first().map(|row| row.int(0)).transpose()?.unwrap_or_default().cast_unsigned())
    }

    async fn bill_job(&self, bill: &Bill, result: &str, feedback: &[Outgoing], now: i64) -> Result<bool> {
        let mut tx = self.begin().await?;
        let held = tx
            .execute(
                "update job set status = 'unpaid', price = $2, answer = $3 where id = $1 and status = 'working'",
                args![bill.invoice.job.as_bytes().as_slice(), signed(bill.price), result],
            )
            .await?;
        if held == 1 {
            write_invoice(tx.as_mut(), &bill.invoice).await?;
            write_outgoing(tx.as_mut(), feedback, now).await?;
        }
        tx.commit().await?;
        Ok(held == 1)
    }

    async fn bill_again(&self, invoice: &Invoice, feedback: &[Outgoing], now: i64) -> Result<()> {
        let mut tx = self.begin().await?;
        write_invoice(tx.as_mut(), invoice).await?;
        write_outgoing(tx.as_mut(), feedback, now).await?;
        tx.commit().await
    }

    async fn open_invoices(&self, after: &str, limit: i64) -> Result<Vec<Invoice>> {
        let sql = "select invoice.hash, invoice.job, invoice.msat, invoice.bolt11, invoice.feedback, invoice.expires_at \
                   from invoice join job on job.id = invoice.job \
                   where job.status = 'unpaid' and invoice.hash > $1 order by invoice.hash limit $2";
        self.rows(sql, args![after, limit]).await?.iter().map(invoice).collect()
    }

    async fn billed_job(&self, hash: &str, feedback: Option<EventId>) -> Result<Option<EventId>> {
        let feedback = feedback.map(|id| id.as_bytes().to_vec()).unwrap_or_default();
        let sql = "select job from invoice where hash = $1 union select job from invoice where feedback = $2 limit 1";
        let rows = self.rows(sql, args![hash, feedback]).await?;
        rows.first().map(|row| event_id(&row.bytes(0)?)).transpose()
    }

    async fn held_result(&self, id: EventId) -> Result<Option<String>> {
        let sql = "select answer from job where id = $1 and price is not null and status in ('unpaid', 'failed')";
        let rows = self.rows(sql, args![id.as_bytes().as_slice()]).await?;
        rows.first().map_or(Ok(None), |row| row.opt_text(0))
    }

    async fn pay(&self, payment: &Payment, release: &[Outgoing], now: i64) -> Result<Paid> {
        let job = payment.job.as_bytes().as_slice();
        let mut tx = self.begin().await?;
        // Takes the row's lock: two payments for one job are added up one after the other.
        tx.execute("update job set price = price where id = $1", args![job]).await?;
        let new = tx
            .execute(
                "insert into payment (source, job, customer, kind, msat, paid_at) \
                 select $1, id, customer, kind, cast($3 as bigint), cast($4 as bigint) from job where id = $2 \
                 on conflict (source) do nothing",
                args![&payment.source, job, signed(payment.msat), now],
            )
            .await?;
        if new == 0 {
            return Ok(Paid::Known);
        }
        let rows = tx
            .rows(
                "select status, price, (select cast(sum(msat) as bigint) from payment where payment.job = $1) from job where id = $1",
                args![job],
            )
            .await?;
        let (status, price, sum) = match rows.first() {
            Some(row) => (row.text(0)?.parse()?, row.opt_int(1)?.unwrap_or_default().cast_unsigned(), row.int(2)?),
            None => return Ok(Paid::Known),
        };
        let (sum, before) = (sum.cast_unsigned(), sum.cast_unsigned().saturating_sub(payment.msat));
        let paid = if !matches!(status, JobStatus::Unpaid | JobStatus::Failed) || before >= price {
            Paid::InVain
        } else if sum < price {
            Paid::Missing(price - sum)
        } else {
            tx.execute("update job set status = 'answered', ended_at = $2 where id = $1", args![job, now]).await?;
            wake_waiting(tx.as_mut(), payment.job).await?;
            write_outgoing(tx.as_mut(), release, now).await?;
            Paid::Settled { over: sum - price }
        };
        tx.commit().await?;
        Ok(paid)
    }

    async fn lapse_job(&self, id: EventId, now: i64, feedback: &[Outgoing]) -> Result<bool> {
        let mut tx = self.begin().await?;
        let lapsed = tx
            .execute(
                "update job set status = 'failed', ended_at = $2 where id = $1 and status = 'unpaid' \
                 and not exists (select 1 from invoice where invoice.job = $1 and expires_at >= $2)",
                args![id.as_bytes().as_slice(), now],
            )
            .await?;
        if lapsed == 1 {
            write_outgoing(tx.as_mut(), feedback, now).await?;
        }
        tx.commit().await?;
        Ok(lapsed == 1)
    }

    async fn customers(&self, limit: i64) -> Result<Vec<Customer>> {
        // What was paid is remembered longer than the jobs.
        let sql = "select customer, cast(sum(jobs) as bigint), cast(sum(failed) as bigint), cast(sum(unpaid) as bigint), \
                   cast(sum(msat) as bigint), max(at) from ( \
                     select customer, 1 as jobs, case when status = 'failed' then 1 else 0 end as failed, \
                            case when status = 'unpaid' then 1 else 0 end as unpaid, 0 as msat, received_at as at from job \
                     union all select customer, 0, 0, 0, msat, paid_at from payment) asked \
                   group by customer order by max(at) desc, customer limit $1";
        let customer = |row: &Row| {
            Ok(Customer {
                pubkey: public_key(&row.bytes(0)?)?,
                jobs: row.int(1)?,
                failed: row.int(2)?,
                unpaid: row.int(3)?,
                msat: row.int(4)?,
                last_at: row.int(5)?,
            })
        };
        self.rows(sql, args![limit]).await?.iter().map(customer).collect()
    }

    async fn takings(&self) -> Result<Vec<Takings>> {
        let sql = "select kind, cast(sum(jobs) as bigint), cast(sum(answered) as bigint), cast(sum(failed) as bigint), \
                   cast(sum(unpaid) as bigint), cast(sum(payments) as bigint), cast(sum(msat) as bigint) from ( \
                     select kind, 1 as jobs, case when status = 'answered' then 1 else 0 end as answered, \
                            case when status = 'failed' then 1 else 0 end as failed, \
                            case when status = 'unpaid' then 1 else 0 end as unpaid, 0 as payments, 0 as msat from job \
                     union all select kind, 0, 0, 0, 0, 1, msat from payment) asked \
                   group by kind order by kind";
        let of_kind = |row: &Row| {
            let n = |place| row.int(place);
            let (kind, jobs, answered, failed) = (n(0)?, n(1)?, n(2)?, n(3)?);
            Ok(Takings { kind, jobs, answered, failed, unpaid: n(4)?, payments: n(5)?, msat: n(6)? })
        };
        self.rows(sql, args![]).await?.iter().map(of_kind).collect()
    }
}
