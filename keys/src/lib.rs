//! The agent's identity: where its secret key comes from, and the one [`Signer`] that the rest of the agent uses.
//!
//! No other crate holds the secret. [`Signer`] exposes it by [`Signer::reveal`] alone, for `brotr keys show --secret`, and its
//! `Debug` shows the public key.

mod signer;
mod source;

pub use signer::Signer;
pub use source::{KeyError, KeySource, encrypt, load, write_new};
