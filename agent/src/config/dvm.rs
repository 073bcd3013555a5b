//! The sections of `brotr.yaml` about jobs.

use nostr::nips::nip47::NostrWalletConnectURI;
use schemars::JsonSchema;
use secrecy::ExposeSecret;
use serde::{Deserialize, Serialize};

use super::Span;
use super::sections::section;
use super::units::Secret;

section! {
    /// Answering jobs (NIP-90).
    Dvm {
        /// Whether the service runs.
        enabled: bool = true,
        /// Relays on which requests are received. Without any, no requests are received.
        relays: Vec<String> = vec![],
        /// Requests that are older than this on arrival are ignored.
        max_age: Span = Span::seconds(3_600),
        /// A job that takes longer fails.
        deadline: Span = Span::seconds(30),
        /// Jobs run concurrently.
        concurrency: usize = 4,
        /// Interval of heartbeats (kind 11998); none are sent if not set.
        heartbeat: Option<Span> = Some(Span::seconds(240)),
        /// Whether the announcement is withdrawn when the agent stops.
        withdraw_on_stop: bool = false,
        /// Who may request jobs, and how many.
        limits: DvmLimits = DvmLimits::default(),
        /// What jobs cost.
        payment: Payment = Payment::default(),
    }
}

section! {
    /// What jobs cost. Without prices they are free.
    Payment {
        /// The wallet that makes invoices: a `nostr+walletconnect://` URI (NIP-47).
        wallet: Option<Secret> = None,
        /// Prices by kind of job.
        prices: Vec<Price> = vec![],
        /// Paid jobs that each customer gets free per day.
        free_per_day: u64 = 0,
        /// How long an invoice can be paid.
        expiry: Span = Span::seconds(600),
        /// Who signs zap receipts for the agent (npub or hexadecimal): the `nostrPubkey` of its Lightning address.
        zappers: Vec<String> = vec![],
    }
}

impl Payment {
    /// Returns the URI of the wallet.
    ///
    /// # Errors
    /// Says that it is not a NIP-47 URI. The error does not repeat the text, since it is a secret.
    pub fn wallet_uri(&self) -> Result<Option<NostrWalletConnectURI>, &'static str> {
        let Some(Secret(wallet)) = &self.wallet else { return Ok(None) };
        let uri = NostrWalletConnectURI::parse(wallet.expose_secret().trim());
        let problem = "is not a nostr+walletconnect:// URI with a relay and a secret: copy it again from the wallet";
        uri.map(Some).map_err(|_| problem)
    }
}

/// A price of some kinds of jobs.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Price {
    /// The kinds.
    pub kinds: Vec<u16>,
    /// Price of the job itself, in millisats.
    #[serde(default)]
    pub job: u64,
    /// Price of each result, in millisats.
    #[serde(default)]
    pub result: u64,
}

section! {
    /// Who may request jobs, and how many.
    DvmLimits {
        /// Requests per minute of one customer.
        per_minute: u32 = 30,
        /// Requests per minute of all customers.
        all_per_minute: u32 = 6_000,
        /// Open jobs of one customer.
        open: u64 = 20,
        /// Waiting jobs of all customers who were never answered before.
        newcomers: u64 = 500,
        /// If any are listed, only these customers are served (npub or hexadecimal).
        allow: Vec<String> = vec![],
        /// Customers who are never served.
        deny: Vec<String> = vec![],
        /// Bits of proof of work that the id of a request must have (NIP-13).
        pow: u8 = 0,
        /// If any are listed, only these (npub or hexadecimal), their follows, and the follows of their follows are served.
        trust: Vec<String> = vec![],
        /// The time limit of each query of the archive.
        statement: Span = Span::seconds(10),
    }
}
