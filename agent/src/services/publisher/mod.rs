//! Publishes the agent's own events: profile, relay list, announcements, and whatever is in the outbox.

mod delivery;
mod profile;
mod relay_client;

use brotr_storage::{EventStore, OutboxStore, StateStore};

pub use delivery::deliver;
pub use profile::{announce, beat, withdraw};
pub use relay_client::RelayClient;

/// The stores that this service needs.
pub trait Stores: EventStore + OutboxStore + StateStore + 'static {}
impl<T: EventStore + OutboxStore + StateStore + 'static + ?Sized> Stores for T {}
