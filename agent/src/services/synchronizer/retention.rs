//! Measures the retention of a relay after it was synchronized.

use std::time::Duration;

use brotr_core::RelayUrl;
use brotr_storage::{StorageError, with_time_limit};

use super::{Pass, Stores};
use crate::agent::{Agent, now};
use crate::config::Profile;
use crate::error::Result;
use crate::relay_retention::{AUTHORS, Authors, EACH, RETENTION, Retention};
use crate::state::Json;

/// Time limit of a statement of a measurement.
const TIME_LIMIT: Duration = Duration::from_secs(30);

/// Adds the authors of a pass to the relay's sample, and measures the relay if the pass is complete and a measurement is due. An
/// archive without contents measures nothing.
pub(super) async fn update(agent: &Agent<impl Stores + ?Sized>, address: &RelayUrl, pass: &Pass) -> Result<()> {
    if agent.config.profile != Profile::Bigbrotr {
        return Ok(());
    }
    let (archive, url) = (agent.archive.as_ref(), address.as_str());
    let Json(before): Json<Authors> = AUTHORS.get(archive, url).await?.unwrap_or_default();
    let mut authors = before.clone();
    authors.merge(url, &pass.authors);
    if authors != before {
        AUTHORS.set(archive, url, &Json(authors.clone())).await?;
    }
    if pass.error.is_some() || pass.unfinished || authors.is_empty() {
        return Ok(());
    }
    let last = RETENTION.get(archive, url).await?;
    if last.is_some_and(|Json(last)| (0..EACH).contains(&(now() - last.measured_at))) {
        return Ok(());
    }
    let coverage = archive.coverage(Some(url)).await?;
    let measured = Retention::measure(archive, url, &authors, &coverage, now());
    match with_time_limit(TIME_LIMIT, measured).await {
        Ok(measured) => Ok(RETENTION.set(archive, url, &Json(measured)).await?),
        // It is measured after the next pass.
        Err(error @ StorageError::TooLong(_)) => {
            tracing::debug!(%error, relay = url, "failed to measure how much of its history a relay holds");
            Ok(())
        }
        Err(error) => Err(error.into()),
    }
}
