//! Backups by PostgreSQL's own tools, which must be installed beside brotr.

use std::ffi::OsStr;
use std::path::Path;
use std::process::Stdio;

use tokio::process::Command;

use super::PostgresArchive;
use crate::StorageError;
use crate::archive::EventStore;
use crate::backup::{place, unfinished};
use crate::query::postgres;
use crate::rows::Counts;

/// Runs one of PostgreSQL's programs.
async fn run(program: &'static str, url: Option<&str>, args: &[&OsStr]) -> Result<(), StorageError> {
    let failed = |detail: String| StorageError::Tool { program, detail };
    let mut command = Command::new(program);
    command.args(args).stdin(Stdio::null()).stdout(Stdio::null()).kill_on_drop(true);
    if let Some(url) = url {
        // The password is passed in the environment: anybody can read the arguments of a process.
        let mut url = url::Url::parse(url).map_err(|e| failed(e.to_string()))?;
        if let Some(password) = url.password() {
            let password = percent_encoding::percent_decode_str(password).decode_utf8_lossy().into_owned();
            command.env("PGPASSWORD", password);
            url.set_password(None).map_err(|()| failed("the storage url cannot be taken apart".into()))?;
        }
        command.arg("--dbname").arg(url.as_str());
    }
    let output = command.output().await.map_err(|e| failed(format!("{e}: is postgresql-client installed?")))?;
    if output.status.success() {
        return Ok(());
    }
    Err(failed(String::from_utf8_lossy(&output.stderr).trim().chars().take(500).collect()))
}

impl PostgresArchive {
    pub(super) async fn dump(&self, target: &Path) -> Result<Counts, StorageError> {
        if self.server.is_pooled() {
            return Err(StorageError::Pooled);
        }
        let stats = self.stats().await?;
        let part = unfinished(target)?;
        let to = [
            OsStr::new("--format=custom"),
            "--no-owner".as_ref(),
            "--no-privileges".as_ref(),
            "--file".as_ref(),
            part.as_os_str(),
        ];
        run("pg_dump", Some(&self.url), &to).await?;
        run("pg_restore", None, &[OsStr::new("--file=/dev/null"), part.as_os_str()]).await?;
        place(&part, target)?;
        Ok(Counts { events: stats.events, sightings: stats.sightings, relays: stats.relays.values().sum() })
    }
}

/// Restores a dump into an empty database.
pub(crate) async fn restore(url: &str, copy: &Path) -> Result<Counts, StorageError> {
    let server = super::connect(url).await?;
    if server.is_pooled() {
        return Err(StorageError::Pooled);
    }
    let mut reader = server.reader().await?;
    let there = sqlx::query_scalar(postgres!("backup_find_archive")).fetch_one(reader.connection()).await;
    let there: Option<String> = reader.ended(there).await?;
    if there.is_some() {
        return Err(StorageError::Occupied("the database of storage.url".into()));
    }
    let how = ["--exit-on-error", "--single-transaction", "--no-owner", "--no-privileges"].map(OsStr::new);
    run("pg_restore", Some(url), &[&how, [copy.as_os_str()].as_slice()].concat()).await?;
    let mut reader = server.reader().await?;
    let counted = sqlx::query_as(postgres!("backup_counts")).fetch_one(reader.connection()).await;
    let (events, sightings, relays) = reader.ended(counted).await?;
    Ok(Counts { events, sightings, relays })
}
