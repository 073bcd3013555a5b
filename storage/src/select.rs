//! A NIP-01 filter as the condition of a SELECT that both dialects read.

use nostr::Filter;

use crate::Cursor;
use crate::filter::tag_key;

/// A value to bind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Arg {
    Int(i64),
    Bytes(Vec<u8>),
    Text(String),
}

/// A condition on the table `event` with its values, numbered from `$1`.
#[derive(Debug, Default)]
pub(crate) struct Condition {
    pub(crate) sql: String,
    pub(crate) args: Vec<Arg>,
}

impl Condition {
    /// The events that `filter` asks for and that come after `cursor`.
    pub(crate) fn of(filter: &Filter, after: Option<Cursor>) -> Self {
        let mut condition = Self::default();
        condition.filter(filter);
        if let Some(cursor) = after {
            let at = condition.bind(Arg::Int(cursor.created_at));
            let id = condition.bind(Arg::Bytes(cursor.id.to_bytes().to_vec()));
            let more = format!(" and created_at <= {at} and (created_at < {at} or id > {id})");
            condition.sql.push_str(&more);
        }
        condition
    }

    /// The events that any of the filters asks for, seen on one of these relays unless there are none.
    pub(crate) fn any(filters: &[Filter], relays: &[String]) -> Self {
        let mut condition = Self::default();
        if !relays.is_empty() {
            let list = condition.list(relays.iter().map(|url| Arg::Text(url.clone())));
            condition.sql = format!(
                "exists (select 1 from sighting join relay on relay.k = sighting.relay \
                 where sighting.event = event.k and relay.url in {list}) and "
            );
        }
        condition.sql.push('(');
        for (n, filter) in filters.iter().enumerate() {
            condition.sql.push_str(if n == 0 { "(" } else { ") or (" });
            condition.filter(filter);
        }
        condition.sql.push_str(if filters.is_empty() { "1 = 0)" } else { "))" });
        condition
    }

    fn bind(&mut self, arg: Arg) -> String {
        self.args.push(arg);
        format!("${}", self.args.len())
    }

    fn list(&mut self, args: impl Iterator<Item = Arg>) -> String {
        let places: Vec<_> = args.map(|arg| self.bind(arg)).collect();
        // `in ()` is no SQL in PostgreSQL; an empty list asks for nothing.
        if places.is_empty() { "(null)".into() } else { format!("({})", places.join(", ")) }
    }

    fn filter(&mut self, filter: &Filter) {
        let mut parts = vec!["1 = 1".to_owned()];
        if let Some(ids) = &filter.ids {
            let list = self.list(ids.iter().map(|id| Arg::Bytes(id.to_bytes().to_vec())));
            parts.push(format!("id in {list}"));
        }
        if let Some(authors) = &filter.authors {
            let list = self.list(authors.iter().map(|key| Arg::Bytes(key.to_bytes().to_vec())));
            parts.push(format!("pubkey in {list}"));
        }
        if let Some(kinds) = &filter.kinds {
            let list = self.list(kinds.iter().map(|kind| Arg::Int(i64::from(kind.as_u16()))));
            parts.push(format!("kind in {list}"));
        }
        let second = |t: nostr::Timestamp| Arg::Int(i64::try_from(t.as_secs()).unwrap_or(i64::MAX));
        if let Some(since) = filter.since {
            parts.push(format!("created_at >= {}", self.bind(second(since))));
        }
        if let Some(until) = filter.until {
            parts.push(format!("created_at <= {}", self.bind(second(until))));
        }
        for (letter, values) in &filter.generic_tags {
            let list = self.list(values.iter().map(|value| Arg::Int(tag_key(letter.as_char(), value))));
            parts.push(format!("k in (select event from tag where key in {list})"));
        }
        self.sql.push_str(&parts.join(" and "));
    }
}
