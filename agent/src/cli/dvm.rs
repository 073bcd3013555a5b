//! `brotr dvm`: jobs that were requested here, and how they ended.

use anyhow::Result;
use brotr_storage::{Archive, Customer, Job, JobStatus, Revenue};
use clap::Subcommand;
use nostr::EventId;
use serde_json::{Value, json};

use super::failure::Failure;
use super::table::{self, Column, Table, Tone};
use super::{Access, Done, Shared, output};

/// Digits of an id that are printed in a list,
const SHOWN: usize = 12;
/// and that are enough to name a job.
const SHORTEST: usize = 4;
/// The newest jobs, among which one is found by the beginning of its id.
const SEARCHED: i64 = 1_000;

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
        /// The id of the request, or the beginning of one of the newest 1,000
        id: String,
    },
}

pub(super) async fn main(shared: &Shared, command: Command) -> Result<Done> {
    let config = shared.load()?;
    let archive = shared.archive(&config, Access::Read).await?;
    match command {
        Command::List { limit, status } => {
            let records = archive.jobs(status, limit).await?;
            list(shared, &records.into_iter().map(|record| record.job).collect::<Vec<_>>())?;
        }
        Command::Customers { limit } => customers(shared, archive.customers(limit).await?)?,
        Command::Revenue => revenue(shared, archive.revenue().await?)?,
        Command::Show { id } => {
            let job = find(archive.as_ref(), &id).await?;
            let parsed = |text: &str| serde_json::from_str::<Value>(text).unwrap_or_default();
            let result = archive.job_answer(job.id).await?.map(|text| parsed(&text));
            if shared.json {
                let mut shown = row(&job);
                (shown["request"], shown["result"]) = (parsed(&job.request), json!(result));
                output::json(&shown)?;
            } else {
                list(shared, std::slice::from_ref(&job))?;
                output::line(&format!("id        {}\ncustomer  {}", job.id, job.customer))?;
                output::heading("\nRequest")?;
                output::line(&serde_json::to_string_pretty(&parsed(&job.request))?)?;
                if let Some(result) = result {
                    output::heading(if job.status == JobStatus::Failed { "\nWhy it failed" } else { "\nResult" })?;
                    output::line(&serde_json::to_string_pretty(&result)?)?;
                }
            }
        }
    }
    Ok(Done::Well)
}

/// Returns the job with this id, or the only one of the newest whose id begins so.
async fn find(archive: &dyn Archive, id: &str) -> Result<Job> {
    let known = "brotr dvm list shows those that are";
    if let Ok(whole) = EventId::parse(id) {
        let job = archive.job(whole).await?;
        return job.ok_or_else(|| anyhow::anyhow!("the job {id} is not known here: {known}"));
    }
    if id.len() < SHORTEST || !id.chars().all(|c| c.is_ascii_hexdigit()) {
        let wanted =
            format!("{id:?} is neither the id of a request nor its first {SHORTEST} or more hexadecimal digits");
        return Err(Failure::usage(wanted).into());
    }
    let id = id.to_ascii_lowercase();
    let mut found: Vec<Job> = archive.jobs(None, SEARCHED).await?.into_iter().map(|record| record.job).collect();
    found.retain(|job| job.id.to_hex().starts_with(&id));
    match found.len() {
        0 => anyhow::bail!("no job begins with {id}: {known}"),
        1 => Ok(found.remove(0)),
        n => anyhow::bail!("{n} jobs begin with {id}: give more of it"),
    }
}

fn list(shared: &Shared, jobs: &[Job]) -> Result<()> {
    if shared.json {
        return jobs.iter().try_for_each(|job| output::json(&row(job)));
    }
    let mut table = Table::new(&[
        Column::Key("Received"),
        Column::Number("Kind"),
        Column::Key("Status"),
        Column::Key("Id"),
        Column::Text("Customer"),
    ]);
    for job in jobs {
        let status = table::Value::from(job.status.as_str());
        table.add(vec![
            output::time(job.received_at).into(),
            job.kind.to_string().into(),
            match job.status {
                JobStatus::Answered => status.toned(Tone::Good),
                JobStatus::Failed => status.toned(Tone::Bad),
                _ => status,
            },
            job.id.to_hex()[..SHOWN].into(),
            job.customer.to_hex().into(),
        ]);
    }
    table.print(0)
}

fn customers(shared: &Shared, customers: Vec<Customer>) -> Result<()> {
    if shared.json {
        return customers.iter().try_for_each(output::json);
    }
    let mut table = Table::new(&[
        Column::Key("Last request"),
        Column::Number("Jobs"),
        Column::Number("Failed"),
        Column::Number("Unpaid"),
        Column::Number("Paid, msat"),
        Column::Text("Customer"),
    ]);
    for Customer { pubkey, jobs, failed, unpaid, msat, last_at } in customers {
        let mut row = vec![output::time(last_at).into()];
        row.extend([jobs, failed, unpaid, msat].map(|n| table::Value::from(output::number(n))));
        row.push(pubkey.to_string().into());
        table.add(row);
    }
    table.print(0)
}

fn revenue(shared: &Shared, revenue: Vec<Revenue>) -> Result<()> {
    if shared.json {
        return revenue.iter().try_for_each(output::json);
    }
    let columns = ["Kind", "Jobs", "Answered", "Failed", "Unpaid", "Payments", "Revenue, msat"].map(Column::Number);
    let (mut table, mut sum) = (Table::new(&columns), 0);
    for Revenue { kind, jobs, answered, failed, unpaid, payments, msat } in revenue {
        sum += msat;
        let mut row = vec![kind.to_string().into()];
        row.extend([jobs, answered, failed, unpaid, payments, msat].map(|n| table::Value::from(output::number(n))));
        table.add(row);
    }
    table.print(0)?;
    output::line(&format!("{} msat in all", output::number(sum)))
}

fn row(job: &Job) -> Value {
    json!({"id": job.id, "kind": job.kind, "customer": job.customer, "received_at": job.received_at, "status": job.status})
}
