//! Relays.

use async_trait::async_trait;
use brotr_core::Network;

use crate::StorageError;
use crate::database::{Database, Row, Transaction, Value, args};
use crate::query::{common, each_backend};
use crate::rows::{Relay, RelayQuery};

type Result<T> = std::result::Result<T, StorageError>;

/// Stores known relays.
#[async_trait]
pub trait RelayStore: std::fmt::Debug + Send + Sync {
    /// Adds unknown relays; returns how many were new.
    async fn add_relays(&self, relays: &[(String, Network)], now: i64) -> Result<usize>;

    /// Returns relays by URL, or longest due first if a due time is given.
    async fn relays(&self, query: &RelayQuery) -> Result<Vec<Relay>>;

    /// Returns one relay.
    async fn relay(&self, url: &str) -> Result<Option<Relay>>;
}

/// Returns the arguments of `relay_list`.
fn listed_args(query: &RelayQuery) -> Vec<Value> {
    let order = match (query.check_due, query.sync_due) {
        (Some(_), _) => "check",
        (None, Some(_)) => "sync",
        (None, None) => "",
    };
    let mut listed = relay_args(query);
    listed.extend(args![order]);
    listed
}

/// Returns the arguments that every statement about several relays begins with.
pub(super) fn relay_args(query: &RelayQuery) -> Vec<Value> {
    let networks: Vec<String> = query.networks.iter().map(ToString::to_string).collect();
    let states: Vec<String> = query.states.iter().map(ToString::to_string).collect();
    // No URL contains NUL: none matches a text with one, and what sorts after a URL with one sorts after the part before it.
    let contains: String = query
        .contains
        .replace('\0', "\u{FFFD}")
        .chars()
        .flat_map(|c| ['!'].into_iter().filter(move |_| "!%_".contains(c)).chain([c]))
        .collect();
    let after = query.after.as_deref().unwrap_or_default().split('\0').next();
    args![
        after.unwrap_or_default(),
        networks,
        query.check_due.unwrap_or(i64::MAX),
        query.sync_due.unwrap_or(i64::MAX),
        query.limit,
        states,
        contains
    ]
}

/// Reads a row of the columns that statements about relays return.
pub(super) fn relay(row: &Row) -> Result<Relay> {
    Ok(Relay {
        url: row.text(0)?,
        network: row.text(1)?.parse()?,
        state: row.text(2)?.parse()?,
        discovered_at: row.int(3)?,
        checked_at: row.opt_int(4)?,
        failures: row.int(5)?,
        events: row.int(6)?,
    })
}

/// Returns the number of a relay, adding an unknown one.
///
/// It is inserted only after a lookup in vain: on PostgreSQL each insert takes a number from the sequence, even one that
/// conflicts.
pub(crate) async fn relay_key(tx: &mut dyn Transaction, url: &str, network: Network, now: i64) -> Result<i64> {
    let find = common!("relay_key");
    if let Some(row) = tx.rows(find, args![url]).await?.first() {
        return row.int(0);
    }
    add_relay(tx, url, network, now).await?;
    let rows = tx.rows(find, args![url]).await?;
    rows.first().ok_or(StorageError::Damaged { what: "relay", detail: url.to_owned() })?.int(0)
}

async fn add_relay(tx: &mut dyn Transaction, url: &str, network: Network, now: i64) -> Result<u64> {
    tx.execute(common!("relay_add"), args![url, network.as_str(), now]).await
}

#[async_trait]
impl<D: Database> RelayStore for D {
    async fn add_relays(&self, relays: &[(String, Network)], now: i64) -> Result<usize> {
        // In order, so that two writers take their row locks in the same order.
        let mut relays: Vec<_> = relays.iter().collect();
        relays.sort_unstable();
        let mut added = 0;
        let mut tx = self.begin().await?;
        for (url, network) in relays {
            added += add_relay(tx.as_mut(), url, *network, now).await?;
        }
        tx.commit().await?;
        Ok(usize::try_from(added).unwrap_or(usize::MAX))
    }

    async fn relays(&self, query: &RelayQuery) -> Result<Vec<Relay>> {
        self.rows(each_backend!("relay_list"), listed_args(query)).await?.iter().map(relay).collect()
    }

    async fn relay(&self, url: &str) -> Result<Option<Relay>> {
        let rows = self.rows(common!("relay_get"), args![url]).await?;
        rows.first().map(relay).transpose()
    }
}
