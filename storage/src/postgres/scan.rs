//! The newest events that match a filter, by statements whose plans do not depend on statistics: each range is read newest
//! first from one index, and hidden events are skipped on the way.

use nostr::Filter;
use sqlx::postgres::PgRow;
use sqlx::{AssertSqlSafe, PgConnection, Row as _};

use super::bind;
use crate::database::Value;
use crate::query::postgres;
use crate::select::Condition;
use crate::{Cursor, View};

/// The kinds of an author's events, each found by one lookup in the index.
const KINDS_OF: &str = "lateral (with recursive has (kind) as (select min(kind) from event where author = a.k union all \
    select (select min(kind) from event where author = a.k and kind > has.kind) from has where has.kind is not null) \
    select kind from has where kind is not null) n";

/// Events with a tag that are read before another way is tried.
const FEW: usize = 4_000;

/// The number of ranges that cost about as much as [`FEW`] events.
const MANY: usize = 200;

/// The newest events that match a filter.
pub(super) struct Newest<'a> {
    /// Columns of `event` and `author` to return.
    pub(super) columns: &'a str,
    pub(super) filter: &'a Filter,
    pub(super) view: View,
    /// The position after which they begin.
    pub(super) after: Option<Cursor>,
    pub(super) limit: usize,
}

impl Newest<'_> {
    /// Returns the rows, in order.
    pub(super) async fn page(
        &self,
        connection: &mut PgConnection,
        distributed: bool,
    ) -> Result<Vec<PgRow>, sqlx::Error> {
        let limit = self.limit;
        // Planned for these values: a generic plan would not tell a rare tag from one that half of all events have.
        let query = |(sql, args)| bind(sqlx::query(AssertSqlSafe(sql)), args).persistent(false);
        // Each server finds the newest of its own; statements with dependent parts cannot be distributed.
        if distributed {
            let authors = match &self.filter.authors {
                None => None,
                Some(keys) => {
                    let keys: Vec<&[u8]> = keys.iter().map(|key| key.as_bytes().as_slice()).collect();
                    let numbers = sqlx::query_scalar(postgres!("author_keys")).bind(keys);
                    Some(numbers.fetch_all(&mut *connection).await?)
                }
            };
            let plain = self.plain(authors.as_deref());
            return query(plain).fetch_all(connection).await;
        }
        if !is_by_tag(self.filter) {
            // Many followed authors write much: among the newest events of all there are often enough of theirs, which is cheaper
            // than one lookup per author.
            if is_of_many(self.filter) {
                let rows = query(self.walked(FEW)).fetch_all(&mut *connection).await?;
                if rows.len() >= limit {
                    return Ok(rows);
                }
            }
            return query(self.newest()).fetch_all(connection).await;
        }
        // A rare tag is best found by the tag, a frequent one among the newest events. Which it is is not known beforehand: each is
        // tried for as long as the other, and longer each time.
        let mut most = FEW.max(limit);
        loop {
            let mut rows = query(self.tagged(most)).fetch_all(&mut *connection).await?;
            let met: i64 = rows.first().map_or(Ok(0), |row| row.try_get(row.len() - 1))?;
            if usize::try_from(met).is_ok_and(|met| met < most) {
                rows.retain(|row| row.try_get::<Option<&[u8]>, _>(0).is_ok_and(|id| id.is_some()));
                return Ok(rows);
            }
            let more = most.saturating_mul(4);
            let rows = query(self.walked(more)).fetch_all(&mut *connection).await?;
            if rows.len() >= limit {
                return Ok(rows);
            }
            most = most.saturating_mul(8);
        }
    }

    /// Returns a statement for the newest events that match a filter which can be distributed. `authors` are those of the filter,
    /// by number: a lookup in the statement would make each server guess.
    fn plain(&self, authors: Option<&[i32]>) -> (String, Vec<Value>) {
        let Self { columns, filter, view, after, limit } = *self;
        let bare = Filter { authors: None, ..filter.clone() };
        let mut condition = Condition::of(&bare, view, after);
        if let Some(authors) = authors {
            let list = condition.list(authors.iter().map(|k| i64::from(*k)));
            condition.sql = format!("author in {list} and {}", condition.sql);
        }
        let sql = format!(
            "select {columns} from (select * from event where {} order by created_at desc, id limit {limit}) event \
             join author on author.k = event.author order by event.created_at desc, event.id",
            condition.sql
        );
        (sql, condition.args)
    }

    /// Returns a statement for a filter by tag, whose result is right if at most `most` events are read; their number is the last
    /// column, in a row without an event if none matches. GIN returns its rows in no order, so all of them are read.
    fn tagged(&self, most: usize) -> (String, Vec<Value>) {
        let Self { columns, filter, view, after, limit } = *self;
        let mut condition = Condition::of(filter, View::All, after);
        let shown = condition.shown("hit", view);
        let sql = format!(
            "with found as materialized (select id, k, created_at from event where {} limit {most}), \
             hits as (select id from found hit where {shown} order by created_at desc, id limit {limit}) \
             select {columns}, met.n from (select count(*) as n from found) met left join \
             (hits join event on event.id = hits.id join author on author.k = event.author) on true \
             order by event.created_at desc, event.id",
            condition.sql
        );
        (sql, condition.args)
    }

    /// Returns a statement for a filter by a frequent tag, whose result is right if it has `limit` rows: it reads the newest `most`
    /// events, with or without the tag.
    fn walked(&self, most: usize) -> (String, Vec<Value>) {
        let Self { columns, filter, view, after, limit } = *self;
        let one_kind = filter.kinds.as_ref().is_some_and(|kinds| kinds.len() == 1);
        let within = Filter {
            since: filter.since,
            until: filter.until,
            kinds: filter.kinds.clone().filter(|_| one_kind),
            ..Filter::default()
        };
        let mut condition = Condition::of(&within, View::All, after);
        let asked = condition.part(filter);
        let shown = condition.shown("event", view);
        let sql = format!(
            "select {columns} from (select id from (select * from event where {} order by created_at desc, id limit {most}) event \
             where {asked} and {shown} order by created_at desc, id limit {limit}) hits \
             join event on event.id = hits.id join author on author.k = event.author order by event.created_at desc, event.id",
            condition.sql
        );
        (sql, condition.args)
    }

    /// Returns a statement for `columns` of `event` and `author` of the newest events, in order; at most `limit`.
    fn newest(&self) -> (String, Vec<Value>) {
        let Self { columns, filter, view, after, limit } = *self;
        let picked = filter.ids.is_some() || filter.search.is_some();
        let hits = match (&filter.authors, &filter.kinds) {
            // These return rows in no order. The fences keep PostgreSQL from reading by date instead in the hope of meeting enough
            // of them soon; each hit is checked for being hidden only while more are wanted.
            _ if picked => {
                let mut condition = Condition::of(filter, View::All, after);
                let shown = condition.shown("hit", view);
                let sql = format!(
                    "select id from (select * from (select id, k, created_at from event where {} offset 0) found \
                     order by created_at desc, id) hit where {shown} limit {limit}",
                    condition.sql
                );
                (sql, condition.args)
            }
            (None, None) => {
                let mut condition = Condition::of(filter, View::All, after);
                let shown = condition.shown("event", view);
                let sql = format!(
                    "select id from event where {} and {shown} order by created_at desc, id limit {limit}",
                    condition.sql
                );
                (sql, condition.args)
            }
            (authors, kinds) => {
                let bare = Filter { authors: None, kinds: None, ..filter.clone() };
                let mut condition = Condition::of(&bare, View::All, after);
                let shown = condition.shown("met", view);
                let kinds = kinds.as_ref().map(|kinds| {
                    let list: Vec<String> = kinds.iter().map(|kind| kind.as_u16().to_string()).collect();
                    format!("unnest('{{{}}}'::int[]) n (kind)", list.join(","))
                });
                let (ranges, of) = match (authors, kinds) {
                    (None, kinds) => (kinds.unwrap_or_default(), "event.kind = r.kind"),
                    (Some(authors), kinds) => {
                        let keys = condition.list(authors.iter().map(|key| key.to_bytes().to_vec()));
                        let kinds = kinds.unwrap_or_else(|| KINDS_OF.to_owned());
                        let ranges =
                            format!("(select k from author where pubkey in {keys} offset 0) a cross join {kinds}");
                        (ranges, "event.author = r.k and event.kind = r.kind")
                    }
                };
                let ranges_as_r = format!("(select * from {ranges}) r");
                let newest = |and: &str, limit: usize| {
                    format!(
                        "(select id, created_at from (select id, k, created_at from event where {of} and {}{and} \
                         order by created_at desc, id) met where {shown} limit {limit})",
                        condition.sql
                    )
                };
                let sql = if authors.is_none() {
                    format!(
                        "select newest.id from {ranges_as_r} cross join lateral {} newest \
                         order by newest.created_at desc, newest.id limit {limit}",
                        newest("", limit)
                    )
                } else {
                    // Of many authors: the newest event of each range says how far back any of them has to be read, no further than
                    // to the oldest of as many as are wanted.
                    format!(
                        "with range as materialized (select r.*, first.created_at from {ranges_as_r} cross join lateral {} first), \
                         bound (at) as materialized (select coalesce((select created_at from range order by created_at desc offset {} limit 1), 0)) \
                         select newest.id from (select * from range where created_at >= (select at from bound)) r cross join lateral {} newest \
                         order by newest.created_at desc, newest.id limit {limit}",
                        newest("", 1),
                        limit.saturating_sub(1),
                        newest(" and created_at >= (select at from bound)", limit),
                    )
                };
                (sql, condition.args)
            }
        };
        let (hits, args) = hits;
        let sql = format!(
            "select {columns} from ({hits}) hits join event on event.id = hits.id join author on author.k = event.author \
             order by event.created_at desc, event.id"
        );
        (sql, args)
    }
}

/// Returns true if a filter has so many authors that [`Newest::walked`] may be faster.
fn is_of_many(filter: &Filter) -> bool {
    let authors = filter.authors.as_ref().map_or(0, |authors| authors.len());
    let kinds = filter.kinds.as_ref().map_or(1, |kinds| kinds.len());
    filter.ids.is_none() && filter.search.is_none() && authors * kinds >= MANY
}

/// Returns true if a filter is one for [`Newest::tagged`] and [`Newest::walked`].
fn is_by_tag(filter: &Filter) -> bool {
    filter.ids.is_none() && filter.search.is_none() && !filter.generic_tags.is_empty()
}
