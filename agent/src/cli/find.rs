//! `brotr find`

use anyhow::Result;
use serde_json::json;

use super::{Done, Shared, output};
use crate::initializer;
use crate::services::finder::{self, Sources};

pub(super) async fn main(shared: &Shared) -> Result<Done> {
    let agent = shared.agent().await?;
    initializer::load(&agent).await?;
    let bar = output::progress(0, "finding", output::Unit::Things);
    let found = finder::pass(&agent, Sources::All).await?;
    bar.finish_and_clear();
    let added: usize = found.iter().map(|f| f.added).sum();
    let failed = found.iter().filter(|f| f.error.is_some()).count();
    for one in &found {
        if shared.json {
            output::json(one)?;
        } else {
            let text = one.error.clone().unwrap_or_else(|| format!("{} named, {} new", one.named, one.added));
            output::line(&format!("{}: {text}", one.source))?;
        }
    }
    if shared.json {
        output::json(&json!({"total": {"sources": found.len(), "added": added, "failed": failed}}))?;
    }
    shared.close(agent.archive.as_ref()).await;
    Ok(Done::of(failed < found.len() || found.is_empty()))
}
