//! The totals of authors. An author's row is at a random place of its table, and each commit has events of thousands of
//! authors: writing a page for each would cost 5 KB per event in an archive with a million authors. So additions are collected
//! in `recent_author`, which is small, and applied to the rows in their order, a portion with each commit.

use std::collections::{BTreeMap, HashSet};

use rusqlite::{CachedStatement, Connection, Rows, params};

use crate::query::sqlite;

/// Rows that `recent_author` keeps: some 2 MB.
const KEPT: usize = 131_072;

/// Selects the number of the author with a key, and their number of events.
pub(super) const TOTAL: &str = sqlite!("author_total");

/// The writer's state of `recent_author`.
#[derive(Debug)]
pub(super) struct Authors {
    kept: usize,
    /// The authors that have a row, once they were read.
    waiting: Option<HashSet<i64>>,
    /// The author from which totals are applied next.
    next: i64,
}

/// What is added to the totals of an author.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Addition {
    pub(super) events: i64,
    /// Kinds of which the author had no event before.
    pub(super) kinds: i64,
    /// Whether the author is known to have had events before.
    pub(super) had_events: bool,
}

impl Default for Authors {
    fn default() -> Self {
        Self { kept: KEPT, waiting: None, next: 0 }
    }
}

impl Authors {
    /// Adds numbers of events and kinds to the totals of authors; returns how many authors had no events before. Rows of
    /// authors numbered above `last` were added in the same transaction, and are written at once.
    pub(super) fn add(
        &mut self,
        connection: &Connection,
        totals: &BTreeMap<i64, Addition>,
        last: i64,
    ) -> rusqlite::Result<i64> {
        let mut waiting = match self.waiting.take() {
            Some(waiting) => waiting,
            None => {
                let mut list = connection.prepare_cached(sqlite!("recent_author_keys"))?;
                list.query_map([], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?
            }
        };
        let mut update = writing(connection)?;
        let mut find = connection.prepare_cached(sqlite!("author_events"))?;
        let mut wait = connection.prepare_cached(sqlite!("recent_author_add"))?;
        let (mut appeared, mut added) = (0, 0);
        for (author, Addition { events, kinds, had_events }) in totals {
            if *author > last {
                update.execute(params![author, events, kinds])?;
                appeared += 1;
                continue;
            }
            if !had_events {
                let before: i64 = find.query_row([author], |row| row.get(0))?;
                appeared += i64::from(before == 0);
            }
            wait.execute(params![author, events, kinds])?;
            waiting.insert(*author);
            added += 1;
        }
        if waiting.len() > self.kept {
            // Twice as many as were added: the table shrinks to what is kept.
            for author in self.settle(connection, 2 * added)? {
                waiting.remove(&author);
            }
        }
        self.waiting = Some(waiting);
        Ok(appeared)
    }

    /// Applies collected additions to some of the authors' rows, in the order of the table; returns these authors.
    fn settle(&mut self, connection: &Connection, most: usize) -> rusqlite::Result<Vec<i64>> {
        let mut find = connection.prepare_cached(sqlite!("recent_author_list"))?;
        let settled = settle(connection, find.query(params![self.next, most])?)?;
        self.next = settled.last().filter(|_| settled.len() == most).map_or(0, |last| last + 1);
        Ok(settled)
    }
}

/// Applies collected additions to one author's row.
pub(super) fn settle_one(connection: &Connection, author: i64) -> rusqlite::Result<()> {
    let mut find = connection.prepare_cached(sqlite!("recent_author_get"))?;
    settle(connection, find.query([author])?)?;
    Ok(())
}

/// Applies collected additions; returns their authors.
fn settle(connection: &Connection, mut waiting: Rows<'_>) -> rusqlite::Result<Vec<i64>> {
    let mut found = Vec::new();
    while let Some(row) = waiting.next()? {
        found.push((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?, row.get::<_, i64>(2)?));
    }
    let mut update = writing(connection)?;
    let mut delete = connection.prepare_cached(sqlite!("recent_author_remove"))?;
    for (author, events, kinds) in &found {
        update.execute([author, events, kinds])?;
        delete.execute([author])?;
    }
    Ok(found.into_iter().map(|(author, _, _)| author).collect())
}

fn writing(connection: &Connection) -> rusqlite::Result<CachedStatement<'_>> {
    connection.prepare_cached(sqlite!("author_add_events"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::sqlite::MIGRATIONS;

    proptest! {
        #[test]
        fn totals_are_the_same_wherever_they_wait(
            commits in prop::collection::vec(prop::collection::btree_map(1..60_i64, (1..9_i64, 0..3_i64), 1..30), 1..20),
            kept in 0..40_usize,
            settled in 1..60_i64,
        ) {
            let connection = Connection::open_in_memory().expect("opened");
            MIGRATIONS.iter().for_each(|migration| connection.execute_batch(migration).expect("migrated"));
            let mut authors = Authors { kept, ..Authors::default() };
            let mut truth = BTreeMap::<i64, (i64, i64)>::new();
            let mut last = 0;
            for commit in &commits {
                let highest = commit.keys().max().copied().unwrap_or_default();
                for author in last + 1..=highest {
                    connection.execute("insert into author (pubkey) values (?1)", [author.to_be_bytes()]).expect("added");
                }
                let mut totals = commit.clone();
                // All that are added have events.
                (last + 1..=highest).for_each(|author| { totals.entry(author).or_insert((1, 1)); });
                let appeared = totals.keys().filter(|author| !truth.contains_key(author)).count();
                let additions = totals.iter().map(|(author, (events, kinds))| {
                    // It need not be known of those who had.
                    let had_events = truth.contains_key(author) && author % 2 == 0;
                    (*author, Addition { events: *events, kinds: *kinds, had_events })
                });
                prop_assert_eq!(authors.add(&connection, &additions.collect(), last).expect("added"), appeared as i64);
                for (author, (events, kinds)) in totals {
                    let sum = truth.entry(author).or_default();
                    *sum = (sum.0 + events, sum.1 + kinds);
                }
                last = last.max(highest);
                let mut rows = connection.prepare("select author from recent_author").expect("prepared");
                let rows = rows.query_map([], |row| row.get(0)).expect("asked").collect::<rusqlite::Result<HashSet<i64>>>().expect("listed");
                prop_assert!(rows.len() <= kept + 30, "{} wait", rows.len());
                prop_assert_eq!(&authors.waiting, &Some(rows));
                if settled <= last {
                    settle_one(&connection, settled).expect("settled");
                    authors.waiting = None;
                }
                let mut shown = connection.prepare("select pubkey, events, kinds from pubkey_counts_total").expect("prepared");
                let shown = shown.query_map([], |row| Ok((row.get::<_, Vec<u8>>(0)?, (row.get::<_, i64>(1)?, row.get::<_, i64>(2)?))));
                let shown: BTreeMap<i64, (i64, i64)> = shown.expect("asked").map(|row| {
                    let (key, totals) = row.expect("a row");
                    (i64::from_be_bytes(key.try_into().expect("eight bytes")), totals)
                }).collect();
                prop_assert_eq!(&shown, &truth);
            }
        }
    }
}
