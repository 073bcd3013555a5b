//! The operator's wallet, over Nostr Wallet Connect (NIP-47): it makes invoices and says which were paid. It never pays.

use std::time::Duration;

use async_trait::async_trait;
use brotr_core::sanitize;
use brotr_dvm::{Invoiced, Till};
use brotr_net::Dialer;
use nostr::nips::nip47::{LookupInvoiceRequest, MakeInvoiceRequest, NostrWalletConnectURI, Request};
use nostr::nips::{nip04, nip44};
use nostr::{Event, EventBuilder, Filter, JsonUtil, Keys, Kind, Tag, TagKind};
use nostr_sdk::{Client, RelayPoolNotification};
use serde_json::Value;
use tokio::sync::{OnceCell, broadcast};

use crate::client::client;
use crate::clock::timestamp;

/// Time limit of a request to the wallet.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(15);
/// Notifications of incoming payments: encrypted with NIP-44, or with NIP-04 by older wallets.
const NOTICES: [Kind; 2] = [Kind::Custom(23_197), Kind::Custom(23_196)];

/// A wallet.
#[derive(Debug)]
pub struct Wallet {
    client: Client,
    uri: NostrWalletConnectURI,
    /// How long its invoices can be paid.
    expiry: Duration,
    /// Whether it supports NIP-44, once that is known.
    nip44: OnceCell<bool>,
}

impl Wallet {
    /// Returns the wallet of a URI. Nothing is dialed yet.
    #[must_use]
    pub fn new(uri: NostrWalletConnectURI, expiry: Duration, dialer: &std::sync::Arc<Dialer>) -> Self {
        let client = client(Keys::new(uri.secret.clone()), dialer);
        Self { client, uri, expiry, nip44: OnceCell::new() }
    }

    /// Connects, and subscribes to payment notifications.
    ///
    /// # Errors
    /// Fails if none of its relays can be reached.
    pub async fn connect(&self) -> crate::error::Result<broadcast::Receiver<RelayPoolNotification>> {
        let notifications = self.client.notifications();
        for relay in &self.uri.relays {
            self.client.add_relay(relay).await?;
        }
        self.client.connect().await;
        let us = Keys::new(self.uri.secret.clone()).public_key();
        let notices = Filter::new().kinds(NOTICES).author(self.uri.public_key).pubkey(us).since(timestamp());
        self.client.subscribe(notices, None).await?;
        Ok(notifications)
    }

    /// Disconnects.
    pub async fn shutdown(&self) {
        self.client.shutdown().await;
    }

    /// Returns the payment that a notification reports: payment hash of the invoice, and amount in millisats.
    #[must_use]
    pub fn paid(&self, notice: &Event) -> Option<(String, u64)> {
        if !NOTICES.contains(&notice.kind) || notice.pubkey != self.uri.public_key {
            return None;
        }
        let content: Value = serde_json::from_str(&self.open(&notice.content).ok()?).ok()?;
        let payment = (content["notification_type"] == "payment_received").then(|| &content["notification"])?;
        Some((payment["payment_hash"].as_str()?.to_owned(), payment["amount"].as_u64()?))
    }

    /// Returns how much was paid on an invoice, in millisats; `None` if it is not paid.
    ///
    /// # Errors
    /// Fails if the wallet does not answer.
    pub async fn settled(&self, hash: &str) -> Result<Option<u64>, String> {
        let asked = LookupInvoiceRequest { payment_hash: Some(hash.to_owned()), invoice: None };
        let found = match self.call(Request::lookup_invoice(asked)).await {
            // It does not exist or was forgotten: it will not be paid any more.
            Err(error) if error.contains("NOT_FOUND") => return Ok(None),
            found => found?,
        };
        let settled = found["state"] == "settled" || found["settled_at"].as_u64().is_some_and(|at| at > 0);
        Ok(if settled { found["amount"].as_u64() } else { None })
    }

    async fn reads_nip44(&self) -> Result<bool, String> {
        let ask = async || {
            let info = Filter::new().kind(Kind::WalletConnectInfo).author(self.uri.public_key).limit(1);
            let found = self.client.fetch_events(info, REQUEST_TIMEOUT).await.map_err(|e| sanitize(&e.to_string()))?;
            let info = found.first().ok_or("the wallet does not say what it can: its relay may be away")?;
            let schemes = info.tags.find(TagKind::custom("encryption")).and_then(|tag| tag.content());
            // A wallet that lists no schemes predates the choice.
            Ok(schemes.is_some_and(|schemes| schemes.contains("nip44_v2")))
        };
        self.nip44.get_or_try_init(ask).await.copied()
    }

    fn open(&self, text: &str) -> Result<String, String> {
        let (secret, wallet) = (&self.uri.secret, &self.uri.public_key);
        match text.contains("?iv=") {
            true => nip04::decrypt(secret, wallet, text).map_err(|e| e.to_string()),
            false => nip44::decrypt(secret, wallet, text).map_err(|e| e.to_string()),
        }
    }

    /// Sends a request to the wallet, and waits for the response.
    async fn call(&self, request: Request) -> Result<Value, String> {
        let (secret, wallet) = (&self.uri.secret, &self.uri.public_key);
        let asked = request.method;
        let builder = if self.reads_nip44().await? {
            let text =
                nip44::encrypt(secret, wallet, request.as_json(), nip44::Version::V2).map_err(|e| e.to_string())?;
            let scheme = Tag::custom(TagKind::custom("encryption"), ["nip44_v2"]);
            EventBuilder::new(Kind::WalletConnectRequest, text).tag(scheme)
        } else {
            let text = nip04::encrypt(secret, wallet, request.as_json()).map_err(|e| e.to_string())?;
            EventBuilder::new(Kind::WalletConnectRequest, text)
        };
        let signed = builder.tag(Tag::public_key(*wallet)).sign_with_keys(&Keys::new(secret.clone()));
        let event = signed.map_err(|e| e.to_string())?;
        let answer = Filter::new().kind(Kind::WalletConnectResponse).author(*wallet).event(event.id);
        let mut notifications = self.client.notifications();
        let subscription = self.client.subscribe(answer, None).await.map_err(|e| sanitize(&e.to_string()))?.val;
        let response = tokio::time::timeout(REQUEST_TIMEOUT, async {
            self.client.send_event(&event).await.map_err(|e| sanitize(&e.to_string()))?;
            loop {
                match notifications.recv().await {
                    Ok(RelayPoolNotification::Event { event: response, .. })
                        if response.kind == Kind::WalletConnectResponse
                            && response.pubkey == *wallet
                            && response.tags.event_ids().any(|id| *id == event.id) =>
                    {
                        return self.open(&response.content);
                    }
                    Ok(_) | Err(broadcast::error::RecvError::Lagged(_)) => {}
                    Err(broadcast::error::RecvError::Closed) => return Err("the connection was closed".into()),
                }
            }
        });
        let response =
            response.await.map_err(|_| format!("the wallet did not answer within {} s", REQUEST_TIMEOUT.as_secs()));
        self.client.unsubscribe(&subscription).await;
        let response: Value =
            serde_json::from_str(&response??).map_err(|_| "the wallet's answer is not JSON".to_owned())?;
        if let Some(error) = response["error"].as_object() {
            let word = |name: &str| error.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
            return Err(sanitize(&format!("{asked} was refused: {} {}", word("code"), word("message"))));
        }
        Ok(response["result"].clone())
    }
}

#[async_trait]
impl Till for Wallet {
    async fn invoice(&self, msat: u64, about: &str) -> Result<Invoiced, String> {
        let asked = MakeInvoiceRequest {
            amount: msat,
            description: Some(about.to_owned()),
            description_hash: None,
            expiry: Some(self.expiry.as_secs()),
        };
        let made = self.call(Request::make_invoice(asked)).await?;
        let bolt11 = made["invoice"].as_str().ok_or("the wallet made no invoice")?;
        Invoiced::read(bolt11, msat)
    }
}
