//! The agent's identity: where its secret key comes from, and the one [`Signer`] that the rest of the agent sees.
//!
//! No other crate holds the secret. [`Signer`] has no accessor for it but [`Signer::reveal`], which exists for
//! `brotr keys show --secret` alone, and its `Debug` shows the public key.

mod signer;
mod source;

pub use signer::Signer;
pub use source::{KeyError, KeySource, encrypt, load, write_new};
