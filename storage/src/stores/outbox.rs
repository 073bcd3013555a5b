//! The outbox: the agent's own events on their way to relays.

use async_trait::async_trait;

use super::state::write_state;
use crate::StorageError;
use crate::database::{Database, Row, Transaction, args};
use crate::decode::event_id;
use crate::query::{common, postgres_only};
use crate::rows::{Aftermath, Deliveries, Delivery, Lane, Outgoing};

type Result<T> = std::result::Result<T, StorageError>;

/// Stores events to send, and the results of sending.
#[async_trait]
pub trait OutboxStore: std::fmt::Debug + Send + Sync {
    /// Queues events for sending; pairs of event and relay that are queued already stay unchanged.
    async fn enqueue(&self, outgoing: &[Outgoing], now: i64) -> Result<()>;

    /// Queues events for sending and stores state, in one transaction.
    async fn enqueue_with_state(&self, aftermath: &Aftermath, now: i64) -> Result<()>;

    /// Returns the relays and lanes on which events are due, longest due first.
    async fn due_relays(&self, now: i64) -> Result<Vec<(String, Lane)>>;

    /// Returns the events that are due to a relay on a lane, in the order in which they were queued.
    async fn due_outgoing(&self, relay: &str, lane: Lane, now: i64, limit: i64) -> Result<Vec<Outgoing>>;

    /// Records results of sending. A delay applies to all events for the same relay.
    async fn delivered(&self, ended: &[(Outgoing, Delivery)], now: i64) -> Result<()>;

    /// Returns the results of sending, by relay.
    async fn deliveries(&self) -> Result<Vec<Deliveries>>;

    /// Removes jobs that ended before this time, and events that were queued before it, sent or not.
    async fn prune(&self, before: i64) -> Result<u64>;
}

pub(super) async fn write_outgoing(tx: &mut dyn Transaction, outgoing: &[Outgoing], now: i64) -> Result<()> {
    for one in outgoing {
        let event = one.event.as_bytes().as_slice();
        if let Some(slot) = &one.slot {
            // A newer version replaces one that still waits.
            tx.execute(common!("outbox_supersede"), args![&one.relay, slot, event]).await?;
        }
        tx.execute(common!("outbox_add"), args![event, &one.relay, &one.body, one.slot.as_deref(), now, one.rank])
            .await?;
    }
    Ok(())
}

pub(super) async fn write_aftermath(tx: &mut dyn Transaction, aftermath: &Aftermath, now: i64) -> Result<()> {
    for state in &aftermath.states {
        write_state(tx, [state.service, state.kind, &state.key, &state.value]).await?;
    }
    write_outgoing(tx, &aftermath.outgoing, now).await
}

#[async_trait]
impl<D: Database> OutboxStore for D {
    async fn enqueue(&self, outgoing: &[Outgoing], now: i64) -> Result<()> {
        let mut tx = self.begin().await?;
        write_outgoing(tx.as_mut(), outgoing, now).await?;
        tx.commit().await
    }

    async fn enqueue_with_state(&self, aftermath: &Aftermath, now: i64) -> Result<()> {
        let mut tx = self.begin().await?;
        write_aftermath(tx.as_mut(), aftermath, now).await?;
        tx.commit().await
    }

    async fn due_relays(&self, now: i64) -> Result<Vec<(String, Lane)>> {
        let rows = self.rows(common!("outbox_due_relays"), args![now]).await?;
        let place = |row: &Row| {
            let lane = if row.int(1)? == 1 { Lane::Answers } else { Lane::Versions };
            Ok((row.text(0)?, lane))
        };
        rows.iter().map(place).collect()
    }

    async fn due_outgoing(&self, relay: &str, lane: Lane, now: i64, limit: i64) -> Result<Vec<Outgoing>> {
        let rows = self.rows(common!("outbox_due"), args![relay, now, limit, i64::from(lane == Lane::Answers)]).await?;
        rows.iter()
            .map(|row| {
                Ok(Outgoing {
                    event: event_id(&row.bytes(0)?)?,
                    relay: row.text(1)?,
                    body: row.text(2)?,
                    slot: row.opt_text(3)?,
                    attempts: row.int(4)?,
                    rank: row.int(5)?,
                })
            })
            .collect()
    }

    async fn delivered(&self, ended: &[(Outgoing, Delivery)], now: i64) -> Result<()> {
        let mut tx = self.begin().await?;
        for (outgoing, delivery) in ended {
            let (sent_at, trouble, due_at) = match delivery {
                Delivery::Accepted => (Some(now), None, None),
                Delivery::Refused(reason) => (None, Some(reason.as_str()), None),
                Delivery::Postponed { reason, due_at } | Delivery::Delayed { reason, due_at } => {
                    (None, Some(reason.as_str()), Some(*due_at))
                }
            };
            tx.execute(
                common!("outbox_settle"),
                args![outgoing.event.as_bytes().as_slice(), &outgoing.relay, sent_at, trouble, due_at],
            )
            .await?;
            if let Delivery::Delayed { due_at, .. } = delivery {
                // They were not tried themselves, and that is not counted.
                tx.execute(common!("outbox_delay"), args![&outgoing.relay, *due_at]).await?;
            }
        }
        tx.commit().await
    }

    async fn deliveries(&self) -> Result<Vec<Deliveries>> {
        let rows = self.rows(common!("outbox_deliveries"), args![]).await?;
        let one = |row: &Row| {
            Ok(Deliveries {
                relay: row.text(0)?,
                accepted: row.int(1)?,
                refused: row.int(2)?,
                waiting: row.int(3)?,
                trouble: row.opt_text(4)?,
            })
        };
        rows.iter().map(one).collect()
    }

    async fn prune(&self, before: i64) -> Result<u64> {
        let mut tx = self.begin().await?;
        let queued = tx.execute(common!("outbox_forget"), args![before]).await?;
        let jobs = tx.execute(common!("job_forget"), args![before]).await?;
        tx.execute(postgres_only!("arrival_forget"), args![before]).await?;
        tx.execute(common!("invoice_forget"), args![before]).await?;
        tx.commit().await?;
        Ok(queued + jobs)
    }
}
