//! `brotr config`

use anyhow::Result;
use clap::Subcommand;
use serde_json::json;

use super::{Done, Shared, output};
use crate::config::Config;

#[derive(Debug, Clone, Subcommand)]
pub(super) enum Command {
    /// Say whether the configuration is right
    Check,
    /// Print the configuration in force, without secrets
    Show,
    /// Print the JSON schema of the configuration
    Schema,
}

pub(super) fn main(shared: &Shared, command: Command) -> Result<Done> {
    match command {
        Command::Check if shared.json => {
            let loaded = shared.load();
            let (ok, detail) = match &loaded {
                Ok(_) => (true, "right".to_owned()),
                Err(error) => (false, format!("{error:#}")),
            };
            let remedy = if ok {
                json!(null)
            } else {
                json!("correct what the detail names; brotr config schema lists every key")
            };
            output::json(
                &json!({"ok": ok, "checks": [{"name": "configuration", "ok": ok, "detail": detail, "remedy": remedy}]}),
            )?;
            // The document is printed even if it is invalid; the error decides the exit status.
            loaded?;
        }
        Command::Check => {
            shared.load()?;
            output::line("the configuration is right")?;
        }
        Command::Show if shared.json => output::json(&shared.load()?.shown())?,
        Command::Show => output::line(serde_yaml::to_string(&shared.load()?.shown())?.trim_end())?,
        Command::Schema => output::line(&serde_json::to_string_pretty(&Config::schema())?)?,
    }
    Ok(Done::Well)
}
