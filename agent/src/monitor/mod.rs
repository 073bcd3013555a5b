//! Checking relays on schedule, keeping what was found, and publishing it (NIP-66).

mod check;

use anyhow::Result;
use brotr_storage::{CheckRecord, Relay, RelayQuery};

pub use check::{Health, Outcome, Requirement, WriteTest, check};

use crate::agent::{Agent, now};
use crate::happening::Happening;
use crate::net::Address;
use crate::publish::{Publisher, nip66};
use crate::rounds::rounds;

/// A relay that is down is checked less and less often, and at least once in so many seconds.
const LONGEST_WAIT: i64 = 7 * 86_400;

/// For ever: checks what is due.
///
/// # Errors
/// When the archive cannot be used.
pub async fn run(agent: Agent, publisher: Publisher) -> Result<()> {
    let due = |limit| {
        let query =
            RelayQuery { networks: agent.dialer.networks(), check_due: Some(now()), limit, ..RelayQuery::default() };
        let archive = agent.archive.clone();
        async move { archive.relays(&query).await }
    };
    let work = |relay: Relay| {
        let (agent, publisher) = (agent.clone(), publisher.clone());
        async move {
            visit(&agent, &publisher, &relay).await?;
            Ok(())
        }
    };
    rounds(agent.config.monitor.concurrency, due, work).await
}

/// Checks one relay, keeps what was found, and publishes it when the relay answered.
///
/// # Errors
/// When the archive cannot be used; what is wrong with the relay is in the result.
pub async fn visit(agent: &Agent, publisher: &Publisher, relay: &Relay) -> Result<Option<Health>> {
    let Ok(address) = Address::parse(&relay.url, agent.dialer.guard()) else {
        // It was let in under another network.allow.
        let record =
            CheckRecord { at: now(), due_at: now() + LONGEST_WAIT, nip66: "{}".into(), ..CheckRecord::default() };
        agent.archive.record_check((&relay.url, relay.network), &record).await?;
        return Ok(None);
    };
    let own = agent.own_relays();
    // Without relays of our own nothing of ours is sent anywhere, not even for a moment.
    let write = if own.is_empty() { WriteTest::Skip } else { WriteTest::As(agent.signer.clone()) };
    let at = now();
    let health = check(&agent.dialer, &address, &agent.config.monitor.checks, &write).await;
    Happening::Checked(&health).tell();
    let record = CheckRecord {
        at,
        up: health.up,
        due_at: at + wait(agent.config.monitor.interval.as_secs(), if health.up { 0 } else { relay.failures + 1 }),
        nip11: health.info.as_ref().map(|info| info.text.clone()),
        nip66: health.facts().to_string(),
        rtt_ms: health.rtt_ms(),
    };
    agent.archive.record_check((&relay.url, relay.network), &record).await?;
    if agent.config.monitor.publish && health.up {
        publisher.publish(agent.signer.sign(nip66::discovery(&health, at))?).await?;
    }
    Ok(Some(health))
}

/// Seconds until the next check: the interval, doubled with each failure in a row.
fn wait(interval: i64, failures: i64) -> i64 {
    let doublings = u32::try_from(failures.clamp(0, 20)).unwrap_or(20);
    interval.saturating_mul(1_i64 << doublings).min(LONGEST_WAIT.max(interval))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_dead_are_asked_less_and_less() {
        assert_eq!(wait(3_600, 0), 3_600);
        assert_eq!(wait(3_600, 1), 7_200);
        assert_eq!(wait(3_600, 3), 28_800);
        assert_eq!(wait(3_600, 1_000), LONGEST_WAIT);
        assert_eq!(wait(30 * 86_400, 5), 30 * 86_400, "never more often than the operator wants");
    }
}
