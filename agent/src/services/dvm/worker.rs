//! Runs stored jobs.

use std::time::Duration;

use crate::error::Result;
use brotr_dvm::{Outcome, PreparedJob};
use brotr_storage::{Job, JobStatus, Outgoing};
use futures::FutureExt;
use nostr::{Event, JsonUtil};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::agent::now;
use crate::intake::JobIntake;
use crate::outbox::outgoing;
use crate::telemetry::{JobEnded, Telemetry};

/// How often jobs are looked for that another agent left in the table, or that wait for another job.
const LOOK: Duration = Duration::from_secs(2);
/// How often jobs are looked for whose agent is gone.
const ABANDONED: Duration = Duration::from_secs(10);
/// How long after its deadline a job is started again: the agent that had it is gone.
const GRACE: Duration = Duration::from_secs(5);
/// Interval of partial feedback on a long job.
const PARTIAL: Duration = Duration::from_secs(5);
/// Seconds after which a job that waits for another is tried again, if the end of the other does not wake it.
const AGAIN: i64 = 2;

/// Runs stored jobs, several concurrently. Runs until it fails.
///
/// # Errors
/// Fails if the archive cannot be used.
pub async fn work(intake: JobIntake) -> Result<()> {
    let agent = &intake.agent;
    // Started before a restart, and not ended. If another agent on this database works on one of them, the first answer
    // counts.
    agent.archive.put_back_jobs(now()).await?;
    let longest = agent.config.dvm.deadline.get().as_secs().saturating_add(GRACE.as_secs()).cast_signed();
    let mut look = tokio::time::interval(LOOK);
    // After a pause of the process, once is enough.
    look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut abandoned = tokio::time::interval(ABANDONED);
    abandoned.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut working: JoinSet<Result<()>> = JoinSet::new();
    loop {
        while working.len() < agent.config.dvm.concurrency.max(1) {
            let Some(job) = agent.archive.take_job(now()).await? else { break };
            let intake = intake.clone();
            working.spawn(async move { answer(&intake, intake.dvm.prepare(job).await).await });
        }
        tokio::select! {
            Some(ended) = working.join_next() => ended??,
            () = intake.work.notified() => {}
            _ = look.tick() => {}
            _ = abandoned.tick() => {
                // Another agent had started them, and is gone.
                agent.archive.put_back_jobs(now().saturating_sub(longest)).await?;
            }
        }
    }
}

/// Returns the outbox entries of an answer. Answers to earlier jobs are sent first.
fn answers(job: &Job, event: &Event, relays: &[String]) -> Vec<Outgoing> {
    let rank = job.rank;
    outgoing(event, relays).into_iter().map(|one| Outgoing { rank, ..one }).collect()
}

/// Runs one job. Its status and its answer, or its invoice, are written in one transaction.
async fn answer(intake: &JobIntake, prepared: PreparedJob) -> Result<()> {
    let JobIntake { agent, payments, publisher, dvm, .. } = intake;
    let job = &prepared.job;
    let relays = intake.reply_relays(&prepared).await?;
    // Once per job, however often it is started: it may wait for another one.
    if job.waits_for.is_none() {
        publisher.queue(&answers(job, &dvm.processing(&prepared).await?, &relays)).await?;
    }
    let deadline = agent.config.dvm.deadline.get();
    let (sender, mut partial) = watch::channel(String::new());
    // If the deadline passes, its query continues in the database until its own time limit.
    let run = std::panic::AssertUnwindSafe(dvm.run(&prepared, &sender)).catch_unwind();
    let run = std::pin::pin!(tokio::time::timeout(deadline, run));
    let tell = async {
        loop {
            tokio::time::sleep(PARTIAL).await;
            if partial.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
            let content = partial.borrow_and_update().clone();
            if let Ok(event) = dvm.partial(&prepared, &content).await
                && let Err(error) = publisher.queue(&answers(job, &event, &relays)).await
            {
                tracing::warn!(%error, "failed to tell what is known of a job");
            }
        }
    };
    let done = tokio::select! {
        done = run => done,
        () = tell => unreachable!("the loop does not end"),
    };
    let outcome = match done {
        Ok(Ok(outcome)) => outcome?,
        Ok(Err(_)) => Outcome::Answer(dvm.failed(&prepared, "the job failed here; this was recorded").await?),
        Err(_) => {
            let why = format!("the job was not done within {} s: ask for less", deadline.as_secs());
            Outcome::Answer(dvm.failed(&prepared, &why).await?)
        }
    };
    let (status, written) = match outcome {
        Outcome::Later(other) => {
            agent.archive.postpone_job(job.id, now() + AGAIN, other).await?;
            return Ok(());
        }
        Outcome::Answer(answer) => {
            let event = answers(job, &answer.event, &relays);
            (answer.status, agent.archive.end_job(job.id, answer.status, now(), &event).await?)
        }
        Outcome::Billed(billed) => {
            let (result, feedback) = (billed.result.as_json(), answers(job, &billed.feedback, &relays));
            (JobStatus::Unpaid, payments.bill_job(&billed.bill, &result, &feedback, now()).await?)
        }
    };
    if written {
        publisher.wake();
        if status == JobStatus::Answered {
            intake.greet(job.customer);
        }
        JobEnded { job: job.id, status: status.as_str(), received_at: job.received_at, at: now() }.emit();
    }
    Ok(())
}
