//! `brotr dvm`: jobs that were requested here, and how they ended.

use anyhow::Result;
use brotr_storage::{Customer, Job, JobStatus, Revenue};
use clap::Subcommand;
use nostr::EventId;
use serde_json::{Value, json};

use super::failure::Failure;
use super::{Access, Done, Shared, output};

#[derive(Debug, Clone, Subcommand)]
pub(super) enum Command {
    /// List jobs, newest first
    List {
        /// How many to list
        #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(i64).range(1..=100_000))]
        limit: i64,
        /// Only jobs with this status: received, working, unpaid, answered, failed or cancelled
        #[arg(long)]
        status: Option<JobStatus>,
    },
    /// List customers, most recent request first: number of jobs, failures and payments
    Customers {
        /// How many to list
        #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(i64).range(1..=100_000))]
        limit: i64,
    },
    /// Show the number of jobs and the revenue by kind of job
    Revenue,
    /// Show a job: the request, and the result if it has one
    Show {
        /// The id of the request, 64 hexadecimal digits
        id: String,
    },
}

pub(super) async fn main(shared: &Shared, command: Command) -> Result<Done> {
    let config = shared.load()?;
    let archive = shared.archive(&config, Access::Read).await?;
    match command {
        Command::List { limit, status } => {
            for job in archive.jobs(status, limit).await? {
                if shared.json { output::json(&row(&job))? } else { output::line(&line(&job))? }
            }
        }
        Command::Customers { limit } => {
            for one in archive.customers(limit).await? {
                if shared.json {
                    output::json(&json!(one))?;
                    continue;
                }
                let Customer { pubkey, jobs, failed, unpaid, msat, last_at } = one;
                let last = output::time(last_at);
                output::line(&format!(
                    "{last}  {pubkey}  {jobs} jobs, {failed} failed, {unpaid} unpaid, {msat} msat paid"
                ))?;
            }
        }
        Command::Revenue => {
            let mut sum = 0;
            for one in archive.revenue().await? {
                if shared.json {
                    output::json(&json!(one))?;
                    continue;
                }
                let Revenue { kind, jobs, answered, failed, unpaid, payments, msat } = one;
                sum += msat;
                output::line(&format!(
                    "{kind}  {jobs} jobs: {answered} answered, {failed} failed, {unpaid} unpaid; {msat} msat in {payments} payments"
                ))?;
            }
            if !shared.json {
                output::line(&format!("all   {sum} msat"))?;
            }
        }
        Command::Show { id } => {
            let id =
                EventId::parse(&id).map_err(|e| Failure::usage(format_args!("{id:?} is no id of a request: {e}")))?;
            let Some(job) = archive.job(id).await? else {
                anyhow::bail!("the job {id} is not known here: brotr dvm list shows those that are");
            };
            let parsed = |text: &str| serde_json::from_str::<Value>(text).unwrap_or_default();
            let result = archive.job_answer(id).await?.map(|text| parsed(&text));
            if shared.json {
                let mut shown = row(&job);
                (shown["request"], shown["result"]) = (parsed(&job.request), json!(result));
                output::json(&shown)?;
            } else {
                output::line(&line(&job))?;
                output::line(&format!("request:\n{}", serde_json::to_string_pretty(&parsed(&job.request))?))?;
                if let Some(result) = result {
                    output::line(&format!("result:\n{}", serde_json::to_string_pretty(&result)?))?;
                }
            }
        }
    }
    Ok(Done::Well)
}

fn row(job: &Job) -> Value {
    json!({"id": job.id, "kind": job.kind, "customer": job.customer, "received_at": job.received_at, "status": job.status})
}

fn line(job: &Job) -> String {
    format!(
        "{}  {}  {:<9}  {}  by {}",
        output::time(job.received_at),
        job.kind,
        job.status.as_str(),
        job.id,
        job.customer
    )
}
