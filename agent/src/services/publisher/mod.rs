//! What the agent signs and sends as itself: profile, relay list, announcements, and whatever is in the outbox.

mod delivery;
mod profile;
mod voice;

pub use delivery::deliver;
pub use profile::{announce, beat, withdraw};
pub use voice::Voice;
