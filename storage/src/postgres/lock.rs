//! The order in which writers take their locks.

use sqlx::PgConnection;

use crate::StorageError;
use crate::query::postgres;

type Result<T> = std::result::Result<T, StorageError>;

/// The advisory lock by which writers take turns, so that events are numbered in the order in which they become visible. The
/// number is "brotr" in ASCII.
const WRITER_LOCK: i64 = 0x62_72_6f_74_72;

/// Waits for the turn to write; returns the server's clock, in unix seconds.
pub(super) async fn lock(connection: &mut PgConnection) -> Result<i64> {
    let sql = postgres!("writer_lock");
    Ok(sqlx::query_scalar(sql).bind(WRITER_LOCK).fetch_one(connection).await?)
}

/// Locks relays that are about to be changed, in the order of their numbers.
pub(super) async fn lock_relays(connection: &mut PgConnection, ks: &[i64]) -> Result<()> {
    if !ks.is_empty() {
        let sql = postgres!("relay_lock_keys");
        sqlx::query(sql).bind(ks).execute(connection).await?;
    }
    Ok(())
}
