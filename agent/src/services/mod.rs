//! The services that the supervisor runs. None of them imports another: what two of them share is a type of the agent, such
//! as the outbox, or a store.

pub mod backup;
pub mod dvm;
pub mod finder;
pub mod http;
pub mod monitor;
pub mod publisher;
pub mod relay_server;
pub mod retention;
pub mod summary;
pub mod synchronizer;
