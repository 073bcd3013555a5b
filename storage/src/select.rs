//! Conditions of PostgreSQL's SELECT for NIP-01 filters, and search queries for both databases.

use nostr::Filter;

use crate::database::Value;
use crate::search::search_terms;
use crate::tag_key::tag_key;
use crate::{Cursor, View};

/// Returns a query for FTS5 that requires all of these terms. A term has no quotes.
pub(crate) fn fts5(terms: &[String]) -> String {
    terms.iter().map(|term| format!("\"{term}\"")).collect::<Vec<_>>().join(" ")
}

/// Returns the same for PostgreSQL, as the text of a `tsquery`.
fn tsquery(terms: &[String]) -> String {
    terms.iter().map(|term| format!("'{term}'")).collect::<Vec<_>>().join(" & ")
}

/// A condition on the table `event` with its values, numbered from `$1`.
#[derive(Debug, Default)]
pub(crate) struct Condition {
    pub(crate) sql: String,
    pub(crate) args: Vec<Value>,
}

impl Condition {
    /// Returns the condition for the events of a view that match `filter` and come after `cursor`.
    pub(crate) fn of(filter: &Filter, view: View, after: Option<Cursor>) -> Self {
        let mut condition = Self::default();
        condition.filter(filter);
        condition.view(view);
        if let Some(cursor) = after {
            let at = condition.bind(cursor.created_at);
            let id = condition.bind(cursor.id.to_bytes().to_vec());
            let more = format!(" and created_at <= {at} and (created_at < {at} or id > {id})");
            condition.sql.push_str(&more);
        }
        condition
    }

    /// Returns the condition for the events of a view that match any of the filters and were seen on one of these relays, if
    /// there are any.
    pub(crate) fn any(filters: &[Filter], view: View, relays: &[i64]) -> Self {
        let mut condition = Self::default();
        if !relays.is_empty() {
            let list = condition.list(relays.iter().copied());
            condition.sql = format!(
                "exists (select 1 from sighting s where s.events @> array[event.k] and s.relay in {list}) and "
            );
        }
        condition.sql.push('(');
        for (n, filter) in filters.iter().enumerate() {
            condition.sql.push_str(if n == 0 { "(" } else { ") or (" });
            condition.filter(filter);
        }
        condition.sql.push_str(if filters.is_empty() { "1 = 0)" } else { "))" });
        condition.view(view);
        condition
    }

    fn bind(&mut self, value: impl Into<Value>) -> String {
        self.args.push(value.into());
        format!("${}", self.args.len())
    }

    pub(crate) fn list(&mut self, values: impl Iterator<Item = impl Into<Value>>) -> String {
        let places: Vec<_> = values.map(|value| self.bind(value)).collect();
        // `in ()` is not valid in PostgreSQL; an empty list matches nothing.
        if places.is_empty() { "(null)".into() } else { format!("({})", places.join(", ")) }
    }

    /// Returns a condition that the event with number `k` of a table is not hidden: a lookup per row, not a join. The planner
    /// assumes that an inequality holds for nearly all rows, which is true here, and that `is null` holds for nearly none.
    pub(crate) fn shown(&mut self, table: &str, view: View) -> String {
        let Some((now, reason)) = view.hides() else { return "true".into() };
        let now = self.bind(now);
        format!(
            "coalesce((select 1 from hidden h where h.event = {table}.k and h.since <= {now} and {reason} limit 1), 0) <> 1"
        )
    }

    /// Returns the condition of `filter` alone, whose values are added to these.
    pub(crate) fn part(&mut self, filter: &Filter) -> String {
        let sql = std::mem::take(&mut self.sql);
        self.filter(filter);
        std::mem::replace(&mut self.sql, sql)
    }

    fn view(&mut self, view: View) {
        if let Some((now, reason)) = view.hides() {
            let now = self.bind(now);
            let shown = format!(
                " and not exists (select 1 from hidden h where h.event = event.k and h.since <= {now} and {reason})"
            );
            self.sql.push_str(&shown);
        }
    }

    fn filter(&mut self, filter: &Filter) {
        let mut parts = vec!["1 = 1".to_owned()];
        if let Some(ids) = &filter.ids {
            let list = self.list(ids.iter().map(|id| id.to_bytes().to_vec()));
            parts.push(format!("id in {list}"));
        }
        if let Some(authors) = &filter.authors {
            let list = self.list(authors.iter().map(|key| key.to_bytes().to_vec()));
            parts.push(format!("author in (select k from author where pubkey in {list})"));
        }
        if let Some(kinds) = &filter.kinds {
            let list = self.list(kinds.iter().map(|kind| i64::from(kind.as_u16())));
            parts.push(format!("kind in {list}"));
        }
        let second = |t: nostr::Timestamp| i64::try_from(t.as_secs()).unwrap_or(i64::MAX);
        if let Some(since) = filter.since {
            parts.push(format!("created_at >= {}", self.bind(second(since))));
        }
        if let Some(until) = filter.until {
            parts.push(format!("created_at <= {}", self.bind(second(until))));
        }
        if let Some(terms) = filter.search.as_deref().and_then(search_terms) {
            parts.push(match terms.as_slice() {
                [] => "1 = 0".into(),
                terms => format!(
                    "k in (select event from search where document @@ cast({} as tsquery))",
                    self.bind(tsquery(terms))
                ),
            });
        }
        for (letter, values) in &filter.generic_tags {
            let keys = self.list(values.iter().map(|value| tag_key(letter.as_char(), value)));
            parts.push(match values.is_empty() {
                true => "1 = 0".into(),
                false => format!("tagkeys && array[{}]::bigint[]", &keys[1..keys.len() - 1]),
            });
        }
        self.sql.push_str(&parts.join(" and "));
    }
}
