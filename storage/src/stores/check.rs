//! Checks of relays and the documents they found.

use async_trait::async_trait;
use brotr_core::{Network, RelayState};
use data_encoding::HEXLOWER;
use sha2::{Digest, Sha256};

use super::outbox::write_aftermath;
use super::relay::relay_key;
use crate::StorageError;
use crate::database::{Database, Row, Transaction, args};
use crate::query::{common, each_backend, postgres_only};
use crate::rows::{CheckRecord, Document, DocumentSpan, DocumentType, Failure, Visit};

type Result<T> = std::result::Result<T, StorageError>;

/// Stores results of checks.
#[async_trait]
pub trait CheckStore: std::fmt::Debug + Send + Sync {
    /// Records a check with its aftermath, in one transaction. An unknown relay is added.
    async fn record_check(&self, url: &str, network: Network, check: &CheckRecord) -> Result<()>;

    /// Sets when a relay is checked next.
    async fn set_check_due(&self, url: &str, due_at: i64) -> Result<()>;

    /// Returns the checks of a relay since a time, newest first, at most `limit`.
    async fn visits(&self, url: &str, since: i64, limit: i64) -> Result<Vec<Visit>>;

    /// Removes checks from before a time, except the newest of each relay and the newest that has its document; returns how
    /// many.
    async fn forget_visits(&self, before: i64) -> Result<u64>;

    /// Returns the newest document of each type of a relay.
    async fn documents(&self, url: &str) -> Result<Vec<Document>>;

    /// Returns the checks since a time that found a relay down, newest first, at most `limit`.
    async fn failures(&self, url: &str, since: i64, limit: i64) -> Result<Vec<Failure>>;

    /// Returns the information documents (NIP-11) that a relay has sent, the last seen first, at most `limit`.
    async fn nip11_history(&self, url: &str, limit: i64) -> Result<Vec<DocumentSpan>>;
}

/// Returns the content hash under which a document is stored.
fn document_id(data: &str) -> Vec<u8> {
    Sha256::digest(data).to_vec()
}

/// Returns the number of a document, adding an unknown one.
///
/// On PostgreSQL it stays locked until the transaction that refers to it ends, so that it is not removed meanwhile.
async fn document_key(tx: &mut dyn Transaction, kind: DocumentType, data: &str) -> Result<i64> {
    let id = document_id(data);
    let find = each_backend!("document_key");
    let found = tx.rows(find, args![id.as_slice(), kind.as_str()]).await?;
    if let Some(row) = found.first() {
        return row.int(0);
    }
    tx.execute(common!("document_add"), args![id.as_slice(), kind.as_str(), data]).await?;
    let found = tx.rows(find, args![id.as_slice(), kind.as_str()]).await?;
    found.first().ok_or(StorageError::Damaged { what: "document", detail: HEXLOWER.encode(&id) })?.int(0)
}

#[async_trait]
impl<D: Database> CheckStore for D {
    async fn record_check(&self, url: &str, network: Network, check: &CheckRecord) -> Result<()> {
        let mut tx = self.begin().await?;
        let relay = relay_key(tx.as_mut(), url, network, check.at).await?;
        tx.execute(common!("check_update"), args![relay, check.state.as_str(), check.at, check.due_at]).await?;
        if check.state == RelayState::OptedOut {
            // Nothing was checked.
            write_aftermath(tx.as_mut(), &check.aftermath, check.at).await?;
            return tx.commit().await;
        }
        let nip11 = match &check.nip11 {
            Some(data) => Some(document_key(tx.as_mut(), DocumentType::Nip11, data).await?),
            None => None,
        };
        let nip66 = document_key(tx.as_mut(), DocumentType::Nip66, &check.nip66).await?;
        let up = i64::from(check.state != RelayState::Down);
        tx.execute(
            common!("check_add"),
            args![relay, check.at, up, nip11, nip66, check.rtt_ms[0], check.rtt_ms[1], check.rtt_ms[2], check.dns_ttl],
        )
        .await?;
        write_aftermath(tx.as_mut(), &check.aftermath, check.at).await?;
        tx.commit().await
    }

    async fn set_check_due(&self, url: &str, due_at: i64) -> Result<()> {
        let mut tx = self.begin().await?;
        tx.execute(common!("relay_set_check_due"), args![url, due_at]).await?;
        tx.commit().await
    }

    async fn visits(&self, url: &str, since: i64, limit: i64) -> Result<Vec<Visit>> {
        let rows = self.rows(common!("check_list"), args![url, since, limit]).await?;
        let visit = |row: &Row| {
            Ok(Visit {
                at: row.int(0)?,
                up: row.int(1)? == 1,
                rtt_ms: [row.opt_int(2)?, row.opt_int(3)?, row.opt_int(4)?],
            })
        };
        rows.iter().map(visit).collect()
    }

    async fn forget_visits(&self, before: i64) -> Result<u64> {
        let mut tx = self.begin().await?;
        let gone = tx.execute(common!("check_forget"), args![before]).await?;
        if gone > 0 {
            tx.execute(postgres_only!("document_lock"), args![]).await?;
            tx.execute(common!("document_forget"), args![]).await?;
        }
        tx.commit().await?;
        Ok(gone)
    }

    async fn documents(&self, url: &str) -> Result<Vec<Document>> {
        let rows = self.rows(common!("document_latest"), args![url]).await?;
        rows.iter()
            .map(|row| {
                Ok(Document {
                    kind: row.text(0)?.parse()?,
                    generated_at: row.int(1)?,
                    data: row.text(2)?,
                    rtt_ms: [row.opt_int(3)?, row.opt_int(4)?, row.opt_int(5)?],
                })
            })
            .collect()
    }

    async fn failures(&self, url: &str, since: i64, limit: i64) -> Result<Vec<Failure>> {
        let rows = self.rows(common!("check_failures"), args![url, since, limit]).await?;
        rows.iter().map(|row| Ok(Failure { at: row.int(0)?, code: row.opt_text(1)? })).collect()
    }

    async fn nip11_history(&self, url: &str, limit: i64) -> Result<Vec<DocumentSpan>> {
        let rows = self.rows(common!("document_history"), args![url, limit]).await?;
        let span = |row: &Row| Ok(DocumentSpan { since: row.int(0)?, until: row.int(1)?, data: row.text(2)? });
        rows.iter().map(span).collect()
    }
}
