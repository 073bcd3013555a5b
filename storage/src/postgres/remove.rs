//! Removes events, with everything that refers to them.

use std::collections::{HashMap, HashSet};

use nostr::Filter;
use sqlx::{AssertSqlSafe, PgConnection, Row as _};

use super::key::event_key;
use super::{bind, sightings};
use crate::decode::event_id;
use crate::query::postgres;
use crate::select::Condition;
use crate::{StorageError, View};

/// Removes some of the events that match a filter, oldest first, and updates the totals; returns how many were removed.
pub(super) async fn remove(
    connection: &mut PgConnection,
    filter: &Filter,
    most: u64,
    distributed: bool,
) -> Result<u64, StorageError> {
    let Condition { sql, args, .. } = Condition::of(filter, View::All, None);
    let sql = format!(
        "delete from event where id in (select id from event where {sql} order by created_at limit {most}) returning id, author, kind"
    );
    let rows = bind(sqlx::query(AssertSqlSafe(sql)), args).fetch_all(&mut *connection).await?;
    let ks = rows
        .iter()
        .map(|row| Ok(event_key(&event_id(row.try_get(0)?)?)))
        .collect::<Result<Vec<i64>, StorageError>>()?;
    let marks: Vec<(i64, i64)> =
        sqlx::query_as(postgres!("hidden_remove")).bind(&ks).fetch_all(&mut *connection).await?;
    let hidden: HashSet<i64> = marks.into_iter().filter(|(_, since)| *since == 0).map(|(k, _)| k).collect();
    let mut pairs = HashMap::<(i32, i32), (i64, i64)>::new();
    for (row, k) in rows.iter().zip(&ks) {
        let (n, gone) = pairs.entry((row.try_get(1)?, row.try_get(2)?)).or_default();
        *n += 1;
        *gone += i64::from(hidden.contains(k) && !distributed);
    }
    let (mut authors, mut kinds, mut counts, mut gone) = (vec![], vec![], vec![], vec![]);
    for ((author, kind), (n, of_these)) in pairs {
        authors.push(author);
        kinds.push(kind);
        counts.push(n);
        gone.push(of_these);
    }
    sqlx::query(postgres!("search_remove")).bind(&ks).execute(&mut *connection).await?;
    sqlx::query(postgres!("lost_remove")).bind(&ks).execute(&mut *connection).await?;
    sightings::unsee(connection, &ks, None, distributed).await?;
    // A pair is gone if none of its events is left.
    let left = if distributed {
        "select distinct p.author, p.kind from unnest($1::int[], $2::int[]) as p (author, kind) \
         join event e on e.author = p.author and e.kind = p.kind"
    } else {
        "select author, kind from unnest($1::int[], $2::int[]) as p (author, kind) \
         where exists (select 1 from event e where e.author = p.author and e.kind = p.kind)"
    };
    let left = sqlx::query_as(left).bind(&authors).bind(&kinds).fetch_all(&mut *connection).await?;
    let left: HashSet<(i32, i32)> = left.into_iter().collect();
    let last: Vec<i32> =
        authors.iter().zip(&kinds).map(|(author, kind)| i32::from(!left.contains(&(*author, *kind)))).collect();
    if distributed {
        sqlx::query(
            "delete from pair using unnest($1::int[], $2::int[], $3::int[]) as p (author, kind, last) \
             where pair.author = p.author and pair.kind = p.kind and p.last = 1",
        )
        .bind(&authors)
        .bind(&kinds)
        .bind(&last)
        .execute(&mut *connection)
        .await?;
    }
    sqlx::query(postgres!("event_remove_totals"))
        .bind(authors)
        .bind(kinds)
        .bind(counts)
        .bind(i64::try_from(rows.len()).unwrap_or(i64::MAX))
        .bind(last)
        .bind(gone)
        .execute(connection)
        .await?;
    Ok(rows.len() as u64)
}
