//! Sees to it that what is paid for is given, once, and that what is not paid for ends.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use brotr_storage::{Invoice, Job, Paid, Payment};
use nostr::{Event, JsonUtil};
use nostr_sdk::RelayPoolNotification;
use tokio::sync::broadcast::error::RecvError;

use super::wallet::Wallet;
use crate::agent::now;
use crate::intake::{JobIntake, reply_relays};
use crate::outbox::outgoing;
use crate::telemetry::{JobEnded, PaymentReceived, Telemetry};

/// Invoices are looked up so often, for wallets that say nothing by themselves,
const LOOK: Duration = Duration::from_secs(10);
/// so many at a time.
const LOOKED_UP: i64 = 20;
/// Seconds after an invoice expired in which a payment that was under way still counts.
const GRACE: i64 = 30;
const A_DAY: i64 = 86_400;

/// Watches payments, and looks up invoices that the wallet does not report. Runs until it fails.
///
/// # Errors
/// When the archive cannot be used.
pub async fn run(intake: JobIntake, wallet: Arc<Wallet>) -> Result<()> {
    let agent = &intake.agent;
    let mut zaps = intake.zaps.subscribe();
    let mut heard = wallet.connect().await?;
    let mut look = tokio::time::interval(LOOK);
    let mut after = String::new();
    loop {
        tokio::select! {
            notice = heard.recv() => match notice {
                Ok(RelayPoolNotification::Event { event, .. }) => {
                    let Some((hash, msat)) = wallet.paid(&event) else { continue };
                    // The wallet is the operator's, and is paid for other things as well.
                    if let Some(job) = agent.archive.billed_job(&hash, None).await? {
                        paid(&intake, &Payment { source: hash, job, msat }).await?;
                    }
                }
                Ok(RelayPoolNotification::Shutdown) | Err(RecvError::Closed) => anyhow::bail!("the wallet's client is gone"),
                // What was missed is looked up.
                Ok(_) | Err(RecvError::Lagged(_)) => {}
            },
            zap = zaps.recv() => match zap {
                Ok(zap) => zapped(&intake, &wallet, &zap).await?,
                // They are still on the relays, and heard again when the agent starts.
                Err(RecvError::Lagged(missed)) => tracing::warn!(missed, "zaps came too fast to be looked at"),
                Err(RecvError::Closed) => anyhow::bail!("nobody hears of zaps any more"),
            },
            _ = look.tick() => {
                let invoices = agent.archive.open_invoices(&after, LOOKED_UP).await?;
                // From the start again, once all were looked up.
                after = invoices.last().map(|invoice| invoice.hash.clone()).unwrap_or_default();
                for invoice in invoices {
                    look_up(&intake, &wallet, invoice).await?;
                }
            }
        }
    }
}

/// Counts a zap, if the wallet says that its invoice was paid to it.
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
        // What the wallet does not tell in a day ends; should it have been paid, that still counts.
        Err(_) if invoice.expires_at + A_DAY < now() => lapse(intake, &invoice).await,
        Err(error) => {
            tracing::warn!(error, "failed to look up an invoice, trying again");
            Ok(())
        }
    }
}

/// Ends a job that nobody paid for in time.
async fn lapse(intake: &JobIntake, invoice: &Invoice) -> Result<()> {
    let JobIntake { agent, dvm, publisher, .. } = intake;
    let Some(job) = agent.archive.job(invoice.job).await? else { return Ok(()) };
    let answer = dvm.failed(&job, "the invoice expired before it was paid: ask again").await?;
    let relays = reply_relays(agent, dvm, &job).await?;
    if agent.archive.lapse_job(job.id, now(), &outgoing(&answer.event, &relays)).await? {
        publisher.wake();
        ended(&job, "unpaid");
    }
    Ok(())
}

fn ended(job: &Job, status: &'static str) {
    JobEnded { job: job.id, status, received_at: job.received_at, at: now() }.emit();
}

/// Keeps a payment, and gives what it was the last of. What was paid in part is asked for again.
async fn paid(intake: &JobIntake, payment: &Payment) -> Result<()> {
    let JobIntake { agent, dvm, publisher, .. } = intake;
    let Some(job) = agent.archive.job(payment.job).await? else { return Ok(()) };
    let relays = reply_relays(agent, dvm, &job).await?;
    let held = agent.archive.held_result(job.id).await?.and_then(|json| Event::from_json(json).ok());
    let release = held.map(|result| outgoing(&result, &relays)).unwrap_or_default();
    let paid = agent.archive.pay(payment, &release, now()).await?;
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
            ended(&job, "answered");
        }
        Paid::Missing(missing) => match dvm.bill_rest(&job, payment.msat, missing).await {
            Ok((invoice, feedback)) => {
                agent.archive.bill_again(&invoice, &outgoing(&feedback, &relays), now()).await?;
                publisher.wake();
            }
            // The payer can still zap what is missing.
            Err(error) => tracing::warn!(%error, job = %job.id, missing, "failed to ask for the rest"),
        },
        Paid::Known | Paid::InVain => {}
    }
    Ok(())
}
