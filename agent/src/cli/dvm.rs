//! `brotr dvm`: what was asked here, and how it ended.

use anyhow::Result;
use brotr_storage::Job;
use clap::Subcommand;
use nostr::EventId;
use serde_json::{Value, json};

use super::{Access, Done, Shared, Usage, output};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// List jobs, newest first
    List {
        /// How many
        #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(i64).range(1..=100_000))]
        limit: i64,
    },
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
        Command::List { limit } => {
            for job in archive.jobs(limit).await? {
                if shared.json { output::json(&row(&job))? } else { output::line(&line(&job))? }
            }
        }
        Command::Show { id } => {
            let id = EventId::parse(&id).map_err(|e| Usage(anyhow::anyhow!("{id:?} is no id of a request: {e}")))?;
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
