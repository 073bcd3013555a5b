//! Prices, invoices and payments. Work is done first and its result held back: a failed job costs nothing, and the price
//! depends on the results.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::str::FromStr;

use async_trait::async_trait;
use lightning_invoice::Bolt11Invoice;
use nostr::{Event, EventId, JsonUtil, Kind, PublicKey};

/// Bids and prices are in millisats, and invoices are for whole sats, which every wallet can make.
const SAT: u64 = 1_000;

/// The price of one kind of job, in millisats.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Price {
    /// For the job itself.
    pub job: u64,
    /// For each result.
    pub result: u64,
}

/// The operator's prices.
#[derive(Debug, Clone, Default)]
pub struct Prices {
    /// By kind of job; other kinds are free.
    pub kinds: BTreeMap<u16, Price>,
    /// Free jobs of these kinds per customer and day.
    pub free_per_day: u64,
    /// Who signs zap receipts for us (the `nostrPubkey` of our Lightning address). Receipts of others prove nothing.
    pub zappers: Vec<PublicKey>,
}

impl Prices {
    /// Returns the price of a job of a kind with this result.
    #[must_use]
    pub(crate) fn of(&self, kind: u16, content: &str) -> u64 {
        let Some(price) = self.kinds.get(&kind) else { return 0 };
        let results = match serde_json::from_str::<serde_json::Value>(content) {
            Ok(serde_json::Value::Array(list)) => list.len(),
            Ok(serde_json::Value::Object(groups)) => groups.len(),
            _ => 1,
        };
        let whole = price.job.saturating_add(price.result.saturating_mul(results as u64));
        whole.div_ceil(SAT).saturating_mul(SAT)
    }
}

/// An invoice made for us.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invoiced {
    /// Its payment hash, in hexadecimal.
    pub hash: String,
    /// As wallets read it (bolt11).
    pub bolt11: String,
    /// In millisats.
    pub msat: u64,
    /// Unix seconds.
    pub expires_at: i64,
}

impl Invoiced {
    /// Parses an invoice, and checks its amount.
    ///
    /// # Errors
    /// A message for the operator.
    pub fn read(bolt11: &str, msat: u64) -> Result<Self, String> {
        let invoice = Bolt11Invoice::from_str(bolt11).map_err(|error| format!("no bolt11 invoice: {error}"))?;
        if invoice.amount_milli_satoshis() != Some(msat) {
            return Err(format!("an invoice over {:?} msat, not {msat}", invoice.amount_milli_satoshis()));
        }
        let expires_at = invoice.expires_at().map_or(i64::MAX, |at| i64::try_from(at.as_secs()).unwrap_or(i64::MAX));
        Ok(Self { hash: invoice.payment_hash().to_string(), bolt11: bolt11.to_owned(), msat, expires_at })
    }
}

/// What a customer owes, and the invoice for it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Owed<'a> {
    pub(crate) msat: u64,
    pub(crate) bolt11: &'a str,
}

/// Makes invoices: the operator's wallet.
#[async_trait]
pub trait Till: Send + Sync + Debug {
    /// Makes an invoice, for an amount in millisats.
    ///
    /// # Errors
    /// A message for the operator.
    async fn invoice(&self, msat: u64, about: &str) -> Result<Invoiced, String>;
}

/// A zap, as its receipt claims it.
pub(crate) struct Zap {
    /// The event that was zapped.
    pub(crate) of: EventId,
    /// The invoice's payment hash.
    pub(crate) hash: String,
    /// The amount, in millisats.
    pub(crate) msat: u64,
}

/// Parses a zap receipt (NIP-57) of a trusted signer. Only the wallet can confirm that the payment came to us: the signer of
/// receipts may sign them for many.
pub(crate) fn zap(receipt: &Event, us: PublicKey, zappers: &[PublicKey]) -> Result<Zap, &'static str> {
    if !zappers.contains(&receipt.pubkey) {
        return Err("a zap receipt by somebody who does not sign ours");
    }
    let value = |name: &str| {
        receipt.tags.iter().find(|tag| tag.as_slice()[0] == name).and_then(|tag| tag.as_slice().get(1)).cloned()
    };
    let request = value("description").and_then(|json| Event::from_json(json).ok());
    let request = request.filter(|request| request.kind == Kind::ZapRequest && request.verify().is_ok());
    let request = request.ok_or("a zap receipt without a zap request")?;
    if request.tags.public_keys().next() != Some(&us) {
        return Err("a zap of another");
    }
    let of = *request.tags.event_ids().next().ok_or("a zap of no event")?;
    let invoice = value("bolt11").and_then(|text| Bolt11Invoice::from_str(&text).ok());
    let invoice = invoice.ok_or("a zap receipt without an invoice")?;
    let msat = invoice.amount_milli_satoshis().ok_or("a zap receipt without an amount")?;
    Ok(Zap { of, hash: invoice.payment_hash().to_string(), msat })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_costs_what_its_results_cost_in_whole_sats() {
        let kinds = [(5_302, Price { job: 1_000, result: 100 }), (5_400, Price { job: 1, result: 0 })].into();
        let prices = Prices { kinds, ..Prices::default() };
        assert_eq!(prices.of(5_302, "[]"), 1_000);
        assert_eq!(prices.of(5_302, r#"[["e","a"],["e","b"]]"#), 2_000, "1,200 rounded up");
        assert_eq!(prices.of(5_400, "12"), 1_000);
        assert_eq!(prices.of(5_400, r#"{"a":1,"b":2}"#), 1_000);
        assert_eq!(prices.of(5_300, "[]"), 0);
    }

    #[test]
    fn an_invoice_is_read_and_its_amount_compared() {
        // The first examples of BOLT 11.
        let invoice = "lnbc2500u1pvjluezsp5zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zygspp5qqqsyqcyq5rqwzqfqqqsyqcyq5rqwzqfqqqsyqcyq5rqwzqfqypqdq5xysxxatsyp3k7enxv4jsxqzpu9qrsgquk0rl77nj30yxdy8j9vdx85fkpmdla2087ne0xh8nhedh8w27kyke0lp53ut353s06fv3qfegext0eh0ymjpf39tuven09sam30g4vgpfna3rh";
        let read = Invoiced::read(invoice, 250_000_000).expect("an invoice");
        assert_eq!(read.hash, "0001020304050607080900010203040506070809000102030405060708090102");
        assert_eq!(read.expires_at, 1_496_314_658 + 60);
        assert!(Invoiced::read(invoice, 250_000_001).expect_err("another amount").contains("250000000"));
        assert!(Invoiced::read("lnbc1", 1).is_err());
    }
}
