//! Invoices and payments of jobs.

use async_trait::async_trait;
use nostr::EventId;

use super::job::wake_waiting;
use super::outbox::write_outgoing;
use crate::StorageError;
use crate::database::{Database, Row, Transaction, args};
use crate::decode::{event_id, public_key};
use crate::query::common;
use crate::rows::{Bill, Customer, Invoice, JobStatus, Outgoing, Paid, Payment, Revenue};

type Result<T> = std::result::Result<T, StorageError>;

/// Stores invoices and payments of jobs.
#[async_trait]
pub trait PaymentStore: std::fmt::Debug + Send + Sync {
    /// Holds back the result of a job in work until it is paid, and queues the feedback that says so, in one transaction.
    /// Returns false, and does nothing, if it was not in work.
    async fn bill_job(&self, bill: &Bill, result: &str, feedback: &[Outgoing], now: i64) -> Result<bool>;

    /// Replaces a partly paid invoice of a job by another one, with its feedback.
    async fn bill_again(&self, invoice: &Invoice, feedback: &[Outgoing], now: i64) -> Result<()>;

    /// Returns invoices of unpaid jobs, ordered by hash, after the hash `after`, at most `limit`.
    async fn open_invoices(&self, after: &str, limit: i64) -> Result<Vec<Invoice>>;

    /// Returns the job of the invoice with this hash, or of the feedback with this id.
    async fn billed_job(&self, hash: &str, feedback: Option<EventId>) -> Result<Option<EventId>>;

    /// Returns the result of a job that is held back, or was until it lapsed, as JSON.
    async fn held_result(&self, id: EventId) -> Result<Option<String>>;

    /// Records a payment; each source counts once. If the price is reached, the job ends and its answer is queued in the same
    /// transaction, even if the job has lapsed.
    async fn pay(&self, payment: &Payment, release: &[Outgoing], now: i64) -> Result<Paid>;

    /// Ends an unpaid job without an invoice that can still be paid; its result is kept for a late payment. Returns false if
    /// there is no such job.
    async fn lapse_job(&self, id: EventId, now: i64, feedback: &[Outgoing]) -> Result<bool>;

    /// Returns customers, most recent first, at most `limit`.
    async fn customers(&self, limit: i64) -> Result<Vec<Customer>>;

    /// Returns jobs and revenue by kind.
    async fn revenue(&self) -> Result<Vec<Revenue>>;
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

async fn write_invoice(tx: &mut dyn Transaction, invoice: &Invoice) -> Result<()> {
    tx.execute(
        common!("invoice_add"),
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

/// Converts millisats to the database's type; all the money there is fits.
fn signed(msat: u64) -> i64 {
    i64::try_from(msat).unwrap_or(i64::MAX)
}

#[async_trait]
impl<D: Database> PaymentStore for D {
    async fn bill_job(&self, bill: &Bill, result: &str, feedback: &[Outgoing], now: i64) -> Result<bool> {
        let mut tx = self.begin().await?;
        let held = tx
            .execute(common!("job_bill"), args![bill.invoice.job.as_bytes().as_slice(), signed(bill.price), result])
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
        let sql = common!("invoice_open");
        self.rows(sql, args![after, limit]).await?.iter().map(invoice).collect()
    }

    async fn billed_job(&self, hash: &str, feedback: Option<EventId>) -> Result<Option<EventId>> {
        let feedback = feedback.map(|id| id.as_bytes().to_vec()).unwrap_or_default();
        let sql = common!("invoice_job");
        let rows = self.rows(sql, args![hash, feedback]).await?;
        rows.first().map(|row| event_id(&row.bytes(0)?)).transpose()
    }

    async fn held_result(&self, id: EventId) -> Result<Option<String>> {
        let sql = common!("job_held_result");
        let rows = self.rows(sql, args![id.as_bytes().as_slice()]).await?;
        rows.first().map_or(Ok(None), |row| row.opt_text(0))
    }

    async fn pay(&self, payment: &Payment, release: &[Outgoing], now: i64) -> Result<Paid> {
        let job = payment.job.as_bytes().as_slice();
        let mut tx = self.begin().await?;
        tx.execute(common!("job_lock"), args![job]).await?;
        let new = tx.execute(common!("payment_add"), args![&payment.source, job, signed(payment.msat), now]).await?;
        if new == 0 {
            return Ok(Paid::Known);
        }
        let rows = tx.rows(common!("payment_sum"), args![job]).await?;
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
            tx.execute(common!("job_settle"), args![job, now]).await?;
            wake_waiting(tx.as_mut(), payment.job).await?;
            write_outgoing(tx.as_mut(), release, now).await?;
            Paid::Settled { over: sum - price }
        };
        tx.commit().await?;
        Ok(paid)
    }

    async fn lapse_job(&self, id: EventId, now: i64, feedback: &[Outgoing]) -> Result<bool> {
        let mut tx = self.begin().await?;
        let lapsed = tx.execute(common!("job_lapse"), args![id.as_bytes().as_slice(), now]).await?;
        if lapsed == 1 {
            write_outgoing(tx.as_mut(), feedback, now).await?;
        }
        tx.commit().await?;
        Ok(lapsed == 1)
    }

    async fn customers(&self, limit: i64) -> Result<Vec<Customer>> {
        let sql = common!("job_customers");
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

    async fn revenue(&self) -> Result<Vec<Revenue>> {
        let sql = common!("job_revenue");
        let of_kind = |row: &Row| {
            let n = |place| row.int(place);
            let (kind, jobs, answered, failed) = (n(0)?, n(1)?, n(2)?, n(3)?);
            Ok(Revenue { kind, jobs, answered, failed, unpaid: n(4)?, payments: n(5)?, msat: n(6)? })
        };
        self.rows(sql, args![]).await?.iter().map(of_kind).collect()
    }
}
