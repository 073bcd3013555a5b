//! `brotr init`

use std::path::Path;

use anyhow::{Context, Result};
use serde_json::json;

use super::{Done, Shared, output};
use crate::agent::Agent;
use crate::config::{FILE_NAME, TEMPLATE};
use crate::initializer;

pub(super) async fn main(shared: &Shared) -> Result<Done> {
    let file = shared.config.as_deref().unwrap_or(Path::new(FILE_NAME));
    let wrote = !file.exists();
    if wrote {
        std::fs::write(file, TEMPLATE).with_context(|| format!("failed to write {}", file.display()))?;
    }
    let config = shared.load()?;
    let agent = Agent::open(config).await?;
    initializer::load(&agent).await?;
    let relays = agent.archive.stats().await?.relays.values().sum::<i64>();
    let key = agent.config.key_file().display().to_string();
    if shared.json {
        output::json(&json!({"config": file, "config_written": wrote, "key_file": key, "npub": agent.signer.npub(),
            "database": agent.config.shown()["storage"]["url"], "relays": relays}))?;
    } else {
        let was = if wrote { "written" } else { "left as it is" };
        output::line(&format!("configuration  {} ({was})", file.display()))?;
        output::line(&format!("key            {key}"))?;
        output::line(&format!("npub           {}", agent.signer.npub()))?;
        output::line(&format!("database       {} ({relays} relays)", agent.archive.backend()))?;
        output::line("next           brotr run")?;
    }
    agent.archive.close().await;
    Ok(Done::Well)
}
