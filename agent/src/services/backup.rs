//! Backups made while the daemon runs: one per interval, of which the newest few are kept.

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use crate::error::{Error, Result};

use crate::agent::{Agent, now};

/// Prefix of the names of backups; other files in the directory are left alone.
const PREFIX: &str = "brotr-";

/// Makes a backup when the newest is older than the interval, and removes the oldest ones beyond the number to keep. Runs until
/// it fails.
///
/// # Errors
/// Fails if the directory cannot be used or a backup cannot be written.
pub async fn run(agent: Agent) -> Result<()> {
    let config = &agent.config.backup;
    let directory = agent.config.backup_directory();
    let made = DirBuilder::new().recursive(true).mode(0o700).create(&directory);
    made.map_err(Error::file("create", &directory))?;
    loop {
        let age = newest_age(&directory)?;
        let interval = config.interval.get();
        if let Some(rest) = age.and_then(|age| interval.checked_sub(age)).filter(|rest| !rest.is_zero()) {
            // In steps, since the clock may be set meanwhile.
            tokio::time::sleep(rest.min(Duration::from_secs(600))).await;
            continue;
        }
        let file = directory.join(format!(
            "{PREFIX}{}.{}",
            now(),
            if agent.archive.backend() == "SQLite" { "db" } else { "dump" }
        ));
        let began = tokio::time::Instant::now();
        let counts = agent.archive.backup(&file).await?;
        tracing::info!(file = %file.display(), events = counts.events, took = ?began.elapsed(), "backed up");
        for old in ours(&directory)?.into_iter().rev().skip(config.keep) {
            std::fs::remove_file(&old).map_err(Error::file("remove", &old))?;
        }
    }
}

/// Returns our complete backups, oldest first.
fn ours(directory: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(directory).map_err(Error::file("read", directory))? {
        let path = entry.map_err(Error::file("read", directory))?.path();
        let at = path.file_name().and_then(|name| name.to_str()).and_then(made_at);
        files.extend(at.map(|at| (at, path)));
    }
    files.sort();
    Ok(files.into_iter().map(|(_, path)| path).collect())
}

/// Returns when a backup of this name was made.
fn made_at(name: &str) -> Option<i64> {
    let (at, kind) = name.strip_prefix(PREFIX)?.split_once('.')?;
    matches!(kind, "db" | "dump").then_some(())?;
    at.parse().ok()
}

fn newest_age(directory: &Path) -> Result<Option<Duration>> {
    let Some(newest) = ours(directory)?.pop() else { return Ok(None) };
    let modified = newest.metadata().and_then(|file| file.modified());
    let modified = modified.map_err(Error::file("read", &newest))?;
    Ok(Some(SystemTime::now().duration_since(modified).unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_complete_backups_of_ours_are_rotated() {
        let dir = tempfile::tempdir().expect("a directory");
        for name in ["brotr-20.db", "brotr-3.dump", "brotr-30.db.part", "brotr-x.db", "other-1.db", "brotr-4"] {
            std::fs::write(dir.path().join(name), "").expect("written");
        }
        let names: Vec<_> =
            ours(dir.path()).expect("read").into_iter().map(|p| p.file_name().map(ToOwned::to_owned)).collect();
        assert_eq!(names, [Some("brotr-3.dump".into()), Some("brotr-20.db".into())]);
    }
}
