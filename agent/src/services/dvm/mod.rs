//! The DVM: the listener that receives job requests (NIP-90), the workers that run jobs, and the cashier that watches
//! payments.

pub mod cashier;
mod listener;
pub mod wallet;
mod worker;

use std::sync::Arc;

use crate::config::ConfigError;
use crate::error::Result;
use brotr_core::RelayUrl;
use brotr_dvm::{Canonical, Dvm, Limits, Price, Prices, Terms, Till};
use nostr::PublicKey;

pub use listener::listen;
pub use worker::work;

use crate::agent::{Agent, now};
use crate::config;
use wallet::Wallet;

/// Returns the operator's wallet, if there is one.
///
/// # Errors
/// Fails if `dvm.payment.wallet` is not a NIP-47 URI.
pub fn wallet(agent: &Agent) -> Result<Option<Arc<Wallet>>> {
    let payment = &agent.config.dvm.payment;
    let invalid = |problem: &str| ConfigError::Invalid { place: "dvm.payment.wallet".into(), problem: problem.into() };
    let uri = payment.wallet_uri().map_err(invalid)?;
    Ok(uri.map(|uri| Arc::new(Wallet::new(uri, payment.expiry.get(), &agent.dialer))))
}

/// Returns the DVM on this agent's archive, key and guard, and the operator's wallet.
#[must_use]
pub fn dvm(agent: &Agent, wallet: Option<Arc<Wallet>>) -> Dvm {
    let guard = agent.dialer.guard().clone();
    let canonical: Canonical = Arc::new(move |url: &str| {
        RelayUrl::parse(url, &guard).map(|a| a.as_str().to_owned()).map_err(|e| e.to_string())
    });
    let config = &agent.config.dvm;
    let keys = |list: &[String]| list.iter().filter_map(|text| PublicKey::parse(text).ok()).collect();
    let limits = Limits {
        per_minute: config.limits.per_minute,
        all_per_minute: config.limits.all_per_minute,
        open: config.limits.open,
        newcomers: config.limits.newcomers,
        allow: keys(&config.limits.allow),
        deny: keys(&config.limits.deny),
        pow: config.limits.pow,
        trust: keys(&config.limits.trust),
        statement: config.limits.statement.get(),
    };
    let of_kinds = |price: &config::Price| {
        let (kinds, price) = (price.kinds.clone(), Price { job: price.job, result: price.result });
        kinds.into_iter().map(move |kind| (kind, price))
    };
    let prices = Prices {
        kinds: config.payment.prices.iter().flat_map(of_kinds).collect(),
        free_per_day: config.payment.free_per_day,
        zappers: keys(&config.payment.zappers),
    };
    let till = wallet.map(|wallet| wallet as Arc<dyn Till>);
    let terms = Terms { max_age: config.max_age.as_secs(), limits, prices, till, now };
    Dvm::new(agent.archive.clone(), agent.signer.clone(), canonical, terms)
}
