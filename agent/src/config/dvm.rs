//! The sections of `brotr.yaml` that are about jobs.

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
        /// Whether it runs.
        enabled: bool = true,
        /// Where requests are looked for. With none, no job is sought.
        relays: Vec<String> = vec![],
        /// Requests older than this when they are seen are left alone.
        max_age: Span = Span::seconds(3_600),
        /// A job that takes longer is answered with an error.
        deadline: Span = Span::seconds(30),
        /// Jobs worked on at a time.
        concurrency: usize = 4,
        /// How often the agent says that it is there (kind 11998); never when not set.
        heartbeat: Option<Span> = Some(Span::seconds(240)),
        /// Whether the announcement is taken back when the agent stops.
        withdraw_on_stop: bool = false,
        /// Who may ask, and how much.
        limits: DvmLimits = DvmLimits::default(),
        /// What it costs.
        payment: Payment = Payment::default(),
    }
}

section! {
    /// What jobs cost. Without prices they are free.
    Payment {
        /// The wallet that makes the invoices: a `nostr+walletconnect://` URI (NIP-47).
        wallet: Option<Secret> = None,
        /// What kinds of jobs cost.
        prices: Vec<Price> = vec![],
        /// Jobs that cost something and that a customer gets for nothing in a day.
        free_per_day: u64 = 0,
        /// How long an invoice can be paid.
        expiry: Span = Span::seconds(600),
        /// Who signs the receipts of zaps to the agent (npub or hexadecimal): the `nostrPubkey` of its Lightning address.
        zappers: Vec<String> = vec![],
    }
}

impl Payment {
    /// The wallet.
    ///
    /// # Errors
    /// When it is no NIP-47 URI. What it is instead is not repeated, since it is a secret.
    pub fn wallet_uri(&self) -> anyhow::Result<Option<NostrWalletConnectURI>> {
        let Some(Secret(wallet)) = &self.wallet else { return Ok(None) };
        let uri = NostrWalletConnectURI::parse(wallet.expose_secret().trim());
        uri.map(Some).map_err(|_| {
            anyhow::anyhow!(
                "dvm.payment.wallet is no nostr+walletconnect:// URI with a relay and a secret: copy it anew from the wallet"
            )
        })
    }
}

/// What kinds of jobs cost.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Price {
    /// The kinds.
    pub kinds: Vec<u16>,
    /// For the job itself, in millisats.
    #[serde(default)]
    pub job: u64,
    /// For each result, in millisats.
    #[serde(default)]
    pub result: u64,
}

section! {
    /// Who may ask for jobs, and how much.
    DvmLimits {
        /// Requests of one customer in a minute.
        per_minute: u32 = 30,
        /// Requests of all customers in a minute.
        all_per_minute: u32 = 6_000,
        /// Jobs of one customer that have not ended.
        open: u64 = 20,
        /// Jobs that wait, of all customers who were never answered before.
        newcomers: u64 = 500,
        /// Only these customers (npub or hexadecimal), if any are named.
        allow: Vec<String> = vec![],
        /// Never these.
        deny: Vec<String> = vec![],
        /// Bits of work that a request's id must show (NIP-13).
        pow: u8 = 0,
        /// Only these (npub or hexadecimal), whom they follow, and whom those follow, if any are named.
        trust: Vec<String> = vec![],
        /// The time limit of each query of the archive.
        statement: Span = Span::seconds(10),
    }
}
