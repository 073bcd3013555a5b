//! The stores: one for each noun, over statements that [`Database`](crate::database::Database) runs on either backend.

mod check;
mod claims;
mod coverage;
mod future;
mod job;
mod lease;
mod outbox;
mod payment;
mod relay;
mod state;

pub use check::CheckStore;
pub(crate) use claims::write as write_claims;
pub use coverage::CoverageStore;
pub use job::JobStore;
pub use lease::LeaseStore;
pub use outbox::OutboxStore;
pub use payment::PaymentStore;
pub use relay::RelayStore;
pub(crate) use relay::relay_key;
pub use state::StateStore;
