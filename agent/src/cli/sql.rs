//! `brotr sql`

use anyhow::Result;
use serde_json::Value;
use tokio::sync::mpsc;

use super::{Access, Done, Shared, output};

/// Rows that are buffered for printing.
const WAITING: usize = 256;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The statement, such as 'select kind, events from kind_counts_total'
    statement: String,
}

pub(super) async fn main(shared: &Shared, args: Args) -> Result<Done> {
    let config = shared.load()?;
    let archive = shared.archive(&config, Access::Read).await?;
    let (sender, mut rows) = mpsc::channel::<Vec<Value>>(WAITING);
    let print = async {
        let names = rows.recv().await.unwrap_or_default();
        while let Some(row) = rows.recv().await {
            if shared.json {
                let names = names.iter().map(|name| name.as_str().unwrap_or_default().to_owned());
                output::json(&names.zip(row).collect::<serde_json::Map<_, _>>())?;
            } else {
                output::line(&row.iter().map(cell).collect::<Vec<_>>().join("|"))?;
            }
        }
        anyhow::Ok(())
    };
    let (ran, printed) = tokio::join!(archive.sql(&args.statement, sender), print);
    printed?;
    ran?;
    Ok(Done::Well)
}

/// Formats a value as the shells of the databases do: nothing for null.
fn cell(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}
