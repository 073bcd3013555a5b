//! A Lightning wallet that speaks Nostr Wallet Connect (NIP-47) on a relay, and a zapper (NIP-57). The invoices are real ones, of a
//! node that nobody can pay.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use futures::{SinkExt, StreamExt};
use lightning_invoice::{Currency, InvoiceBuilder, PaymentSecret};
use nostr::hashes::{Hash, sha256};
use nostr::nips::{nip04, nip44};
use nostr::secp256k1::{SECP256K1, SecretKey};
use nostr::{Event, EventBuilder, EventId, JsonUtil, Keys, Kind, PublicKey, Tag, TagKind, Timestamp};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::Message;

/// Properties of a wallet.
#[derive(Debug, Clone, Copy, Default)]
pub struct Manners {
    /// Whether it supports NIP-44, or only NIP-04.
    pub nip44: bool,
    /// Whether it sends notifications of payments.
    pub tells: bool,
}

#[derive(Debug)]
struct Made {
    bolt11: String,
    msat: u64,
    paid: Option<u64>,
}

/// The wallet.
#[derive(Debug)]
pub struct Wallet {
    /// The connection URI.
    pub uri: String,
    /// By payment hash.
    made: Arc<Mutex<HashMap<String, Made>>>,
    notices: mpsc::UnboundedSender<Value>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Wallet {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Returns an invoice and its payment hash.
#[must_use]
pub fn invoice(msat: u64, about: &str, expiry: Duration) -> (String, String) {
    let node = SecretKey::from_slice(&[7; 32]).expect("a key");
    let hash = sha256::Hash::hash(Keys::generate().public_key().as_bytes());
    let built = InvoiceBuilder::new(Currency::Regtest)
        .description(about.to_owned())
        .payment_hash(hash)
        .payment_secret(PaymentSecret([1; 32]))
        .amount_milli_satoshis(msat)
        .duration_since_epoch(Duration::from_secs(Timestamp::now().as_secs()))
        .expiry_time(expiry)
        .min_final_cltv_expiry_delta(18)
        .build_signed(|message| SECP256K1.sign_ecdsa_recoverable(message, &node));
    (built.expect("an invoice").to_string(), hash.to_string())
}

impl Wallet {
    /// Returns a zap receipt, signed by the service of this wallet's Lightning address.
    #[must_use]
    pub fn zap(&self, zapper: &Keys, payer: &Keys, to: PublicKey, of: EventId, msat: u64) -> Event {
        let tag = |name: &str, value: String| Tag::custom(TagKind::custom(name), [value]);
        let request = EventBuilder::new(Kind::ZapRequest, "")
            .tags([tag("amount", msat.to_string()), Tag::public_key(to), Tag::event(of)])
            .sign_with_keys(payer)
            .expect("signed");
        let (bolt11, hash) = invoice(msat, "zap", Duration::from_secs(60));
        let made = Made { bolt11: bolt11.clone(), msat, paid: Some(msat) };
        self.made.lock().unwrap_or_else(PoisonError::into_inner).insert(hash, made);
        EventBuilder::new(Kind::ZapReceipt, "")
            .tags([Tag::public_key(to), Tag::event(of), tag("bolt11", bolt11), tag("description", request.as_json())])
            .sign_with_keys(zapper)
            .expect("signed")
    }

    /// Returns the receipt of a zap that went to somebody else.
    #[must_use]
    pub fn foreign_zap(&self, zapper: &Keys, payer: &Keys, to: PublicKey, of: EventId, msat: u64) -> Event {
        let receipt = self.zap(zapper, payer, to, of, msat);
        let bolt11 = receipt.tags.find(TagKind::custom("bolt11")).and_then(|tag| tag.content()).unwrap_or_default();
        self.made.lock().unwrap_or_else(PoisonError::into_inner).retain(|_, made| made.bolt11 != bolt11);
        receipt
    }

    /// Opens a wallet on a relay.
    ///
    /// # Errors
    /// Fails if the relay cannot be reached.
    pub async fn start(relay: &str, manners: Manners) -> Result<Self> {
        let (wallet, user) = (Keys::generate(), Keys::generate());
        let uri = format!(
            "nostr+walletconnect://{}?relay={relay}&secret={}",
            wallet.public_key(),
            user.secret_key().to_secret_hex()
        );
        let (mut socket, _) = tokio_tungstenite::connect_async(relay).await.context("the wallet's relay")?;
        let mut info = EventBuilder::new(Kind::WalletConnectInfo, "make_invoice lookup_invoice");
        if manners.nip44 {
            info = info.tag(Tag::custom(TagKind::custom("encryption"), ["nip44_v2 nip04"]));
        }
        let ask = json!(["REQ", "w", {"kinds": [23_194], "#p": [wallet.public_key()], "since": Timestamp::now()}]);
        for message in [json!(["EVENT", info.sign_with_keys(&wallet)?]), ask] {
            socket.send(Message::text(message.to_string())).await?;
        }
        let made = Arc::<Mutex<HashMap<String, Made>>>::default();
        let (notices, mut noticed) = mpsc::unbounded_channel::<Value>();
        let invoices = made.clone();
        let task = tokio::spawn(async move {
            let say = |kind: u16, text: Value, of: Option<EventId>| {
                let (secret, to) = (wallet.secret_key(), user.public_key());
                let text = text.to_string();
                let content = match manners.nip44 {
                    true => nip44::encrypt(secret, &to, text, nip44::Version::V2).expect("encrypted"),
                    false => nip04::encrypt(secret, &to, text).expect("encrypted"),
                };
                let builder = EventBuilder::new(Kind::from(kind), content).tag(Tag::public_key(to));
                let event = builder.tags(of.map(Tag::event)).sign_with_keys(&wallet).expect("signed");
                Message::text(json!(["EVENT", event]).to_string())
            };
            loop {
                let said = tokio::select! {
                    Some(notice) = noticed.recv() => {
                        say(if manners.nip44 { 23_197 } else { 23_196 }, notice, None)
                    }
                    Some(Ok(message)) = socket.next() => {
                        let Message::Text(text) = message else { continue };
                        let Ok(parts) = serde_json::from_str::<Value>(&text) else { continue };
                        let Ok(request) = Event::from_json(parts[2].to_string()) else { continue };
                        let (secret, from) = (wallet.secret_key(), &request.pubkey);
                        let opened = match request.content.contains("?iv=") {
                            true => nip04::decrypt(secret, from, &request.content).expect("for us"),
                            false => nip44::decrypt(secret, from, &request.content).expect("for us"),
                        };
                        let asked: Value = serde_json::from_str(&opened).expect("JSON");
                        say(23_195, answer(&invoices, &asked), Some(request.id))
                    }
                    else => return,
                };
                if socket.send(said).await.is_err() {
                    return;
                }
            }
        });
        let notices_on = if manners.tells { notices } else { mpsc::unbounded_channel().0 };
        Ok(Self { uri, made, notices: notices_on, task })
    }

    /// Pays an invoice with this many millisats.
    pub fn pay(&self, bolt11: &str, msat: u64) {
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        let (hash, invoice) = made.iter_mut().find(|(_, made)| made.bolt11 == bolt11).expect("an invoice of ours");
        invoice.paid = Some(msat);
        let notice = json!({"notification_type": "payment_received",
            "notification": {"type": "incoming", "payment_hash": hash, "amount": msat, "invoice": bolt11}});
        let _ = self.notices.send(notice);
    }

    /// Returns the number of invoices and their sum.
    #[must_use]
    pub fn made(&self) -> (usize, u64) {
        let made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        (made.len(), made.values().map(|made| made.msat).sum())
    }
}

fn answer(made: &Mutex<HashMap<String, Made>>, asked: &Value) -> Value {
    let mut made = made.lock().unwrap_or_else(PoisonError::into_inner);
    let params = &asked["params"];
    let result = match asked["method"].as_str() {
        Some("make_invoice") => {
            let (msat, expiry) = (params["amount"].as_u64().unwrap_or(0), params["expiry"].as_u64().unwrap_or(3_600));
            let about = params["description"].as_str().unwrap_or_default();
            let (bolt11, hash) = invoice(msat, about, Duration::from_secs(expiry));
            made.insert(hash.clone(), Made { bolt11: bolt11.clone(), msat, paid: None });
            json!({"type": "incoming", "invoice": bolt11, "payment_hash": hash, "amount": msat})
        }
        Some("lookup_invoice") => match made.get(params["payment_hash"].as_str().unwrap_or_default()) {
            Some(Made { msat, paid, .. }) => {
                let mut found = json!({"type": "incoming", "amount": paid.unwrap_or(*msat), "state": "pending"});
                if paid.is_some() {
                    (found["state"], found["settled_at"]) = (json!("settled"), json!(Timestamp::now()));
                }
                found
            }
            None => return json!({"result_type": "lookup_invoice", "error": {"code": "NOT_FOUND", "message": "no"}}),
        },
        _ => return json!({"result_type": asked["method"], "error": {"code": "RESTRICTED", "message": "not this"}}),
    };
    json!({"result_type": asked["method"], "result": result})
}
