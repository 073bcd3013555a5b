//! Matches payments to jobs: releases each paid result once, and ends jobs that are not paid.

use std::sync::Arc;
use std::time::Duration;

use crate::error::{Error, Result};
use brotr_dvm::PaymentRequest;
use brotr_storage::{Invoice, Job, Paid, Payment};
use nostr::{Event, JsonUtil};
use nostr_sdk::RelayPoolNotification;
use tokio::sync::broadcast::error::RecvError;

use super::wallet::Wallet;
use crate::agent::now;
use crate::intake::JobIntake;
use crate::outbox::outgoing;
use crate::telemetry::{JobEnded, PaymentReceived, Telemetry};

/// Interval at which invoices are looked up, for wallets that send no notifications,
const LOOK: Duration = Duration::from_secs(10);
/// and how many are looked up per query.
const LOOKED_UP: i64 = 20;
/// Seconds after the expiry of an invoice during which a payment still counts.
const GRACE: i64 = 30;
const A_DAY: i64 = 86_400;

/// Watches payments, and looks up invoices that the wallet does not report. Runs until it fails.
///
/// # Errors
/// Fails if the archive cannot be used.
pub async fn run(intake: JobIntake, wallet: Arc<Wallet>) -> Result<()> {
    let mut zaps = intake.zaps.subscribe();
    let mut heard = wallet.connect().await?;
    let mut look = tokio::time::interval(LOOK);
    // After a pause of the process, once is enough.
    look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut after = String::new();
    loop {
        tokio::select! {
            notice = heard.recv() => match notice {
                Ok(RelayPoolNotification::Event { event, .. }) => {
                    let Some((hash, msat)) = wallet.paid(&event) else { continue };
                    // The wallet receives other payments as well.
                    if let Some(job) = intake.payments.billed_job(&hash, None).await? {
                        paid(&intake, &Payment { source: hash, job, msat }).await?;
                    }
                }
                Ok(RelayPoolNotification::Shutdown) | Err(RecvError::Closed) => return Err(Error::Ended("the client of the wallet")),
                // Missed notifications are found by looking up invoices.
                Ok(_) | Err(RecvError::Lagged(_)) => {}
            },
            zap = zaps.recv() => match zap {
                Ok(zap) => zapped(&intake, &wallet, &zap).await?,
                // The receipts are still on the relays, and are received again when the agent starts.
                Err(RecvError::Lagged(missed)) => tracing::warn!(missed, "zaps came too fast to be looked at"),
                Err(RecvError::Closed) => return Err(Error::Ended("the channel of zaps")),
            },
            _ = look.tick() => {
                let invoices = intake.payments.open_invoices(&after, LOOKED_UP).await?;
                // From the start again, once all were looked up.
                after = invoices.last().map(|invoice| invoice.hash.clone()).unwrap_or_default();
                for invoice in invoices {
                    look_up(&intake, &wallet, invoice).await?;
                }
            }
        }
    }
}

/// Counts a zap if the wallet confirms that its invoice was paid.
async fn zapped(intake: &JobIntake, wallet: &Wallet, zap: &Payment) -> Result<()> {
    match wallet.settled(&zap.source).await {
        Ok(Some(msat)) => paid(intake, &Payment { msat: msat.min(zap.msat), ..zap.clone() }).await,
        Ok(None) => {
            tracing::warn!(job = %zap.job, "a zap receipt for money that did not come to the wallet: left alone");
            Ok(())
        }
        Err(error) => {
            tracing::warn!(error, job = %zap.job, "failed to look up a zap; it is looked up again at the next start");
            Ok(())
        }
    }
}

async fn look_up(intake: &JobIntake, wallet: &Wallet, invoice: Invoice) -> Result<()> {
    match wallet.settled(&invoice.hash).await {
        Ok(Some(msat)) => paid(intake, &Payment { source: invoice.hash, job: invoice.job, msat }).await,
        Ok(None) if invoice.expires_at + GRACE < now() => lapse(intake, &invoice).await,
        Ok(None) => Ok(()),
        // An invoice that the wallet says nothing of for a day lapses; a payment that is reported later still counts.
        Err(_) if invoice.expires_at + A_DAY < now() => lapse(intake, &invoice).await,
        Err(error) => {
            tracing::warn!(error, "failed to look up an invoice, trying again");
            Ok(())
        }
    }
}

/// Ends a job that was not paid in time.
async fn lapse(intake: &JobIntake, invoice: &Invoice) -> Result<()> {
    let JobIntake { agent, payments, dvm, publisher, .. } = intake;
    let Some(job) = agent.archive.job(invoice.job).await? else { return Ok(()) };
    let prepared = dvm.prepare(job).await;
    let answer = dvm.failed(&prepared, "the invoice expired before it was paid: ask again").await?;
    let relays = intake.reply_relays(&prepared).await?;
    let job = &prepared.job;
    if payments.lapse_job(job.id, now(), &outgoing(&answer.event, &relays)).await? {
        publisher.wake();
        ended(job, "unpaid");
    }
    Ok(())
}

fn ended(job: &Job, status: &'static str) {
    JobEnded { job: job.id, status, received_at: job.received_at, at: now() }.emit();
}

/// Stores a payment, and releases the result if it is fully paid. The rest of a partial payment is requested again.
async fn paid(intake: &JobIntake, payment: &Payment) -> Result<()> {
    let JobIntake { agent, payments, dvm, publisher, .. } = intake;
    let Some(job) = agent.archive.job(payment.job).await? else { return Ok(()) };
    let prepared = dvm.prepare(job).await;
    let relays = intake.reply_relays(&prepared).await?;
    let job = &prepared.job;
    let held = payments.held_result(job.id).await?.and_then(|json| Event::from_json(json).ok());
    let release = held.map(|result| outgoing(&result, &relays)).unwrap_or_default();
    let paid = payments.pay(payment, &release, now()).await?;
    let (expected, missing, excess) = match paid {
        Paid::Known => return Ok(()),
        Paid::InVain => (false, 0, 0),
        Paid::Missing(missing) => (true, missing, 0),
        Paid::Settled { over } => (true, 0, over),
    };
    PaymentReceived { job: job.id, msat: payment.msat, expected, missing, excess }.emit();
    match paid {
        Paid::Settled { .. } => {
            publisher.wake();
            ended(job, "answered");
        }
        Paid::Missing(missing) => match dvm.bill_rest(&prepared, payment.msat, missing).await {
            Ok(PaymentRequest { invoice, feedback }) => {
                payments.bill_again(&invoice, &outgoing(&feedback, &relays), now()).await?;
                publisher.wake();
            }
            // The payer can still zap the rest.
            Err(error) => tracing::warn!(%error, job = %job.id, missing, "failed to ask for the rest"),
        },
        Paid::Known | Paid::InVain => {}
    }
    Ok(())
}
