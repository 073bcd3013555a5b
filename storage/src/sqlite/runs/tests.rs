//! Tests the indexes against a map, through merges, removals, kills and migration.

use std::collections::{BTreeMap, BTreeSet};

use nostr::EventId;
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use sha2::{Digest, Sha256};

use super::*;
use crate::sqlite::migrate;

/// What the indexes must contain.
#[derive(Default, Clone)]
struct Model {
    ids: BTreeMap<EventId, i64>,
    tags: BTreeMap<i64, BTreeSet<(i64, i64)>>,
    /// By author and kind; author 0 stands for all.
    heads: BTreeMap<(i64, i64), BTreeSet<(i64, i64)>>,
    last: i64,
}

/// One operation on the indexes.
#[derive(Debug, Clone)]
enum Step {
    /// Adds this many events.
    Add(usize),
    /// Adds some, and is killed before the commit.
    Killed(usize),
    /// Removes every event whose number is a multiple of this.
    Remove(usize),
    /// Merges while idle.
    Idle,
    /// Forgets what is in memory.
    Reopen,
}

fn id(event: i64) -> EventId {
    EventId::from_byte_array(Sha256::digest(event.to_le_bytes()).into())
}

/// Returns the index entries of an event.
fn indexed(event: i64) -> Indexed {
    let kind = [1, 7, 30_023, u16::MAX, 0][(event % 5) as usize];
    let author = 1 + event * event % 97;
    Indexed { event, id: id(event).to_bytes(), author, kind, created_at: event * 7_919 % 1_000 }
}

fn entries_of(events: impl IntoIterator<Item = i64>) -> Entries {
    let mut entries = Entries::default();
    for event in events {
        entries.push(indexed(event), tags(event).into_iter().map(|tag| tag.key));
    }
    entries
}

impl Model {
    fn insert(&mut self, event: i64) {
        self.ids.insert(id(event), event);
        for tag in tags(event) {
            self.tags.entry(tag.key).or_default().insert((-tag.created_at, event));
        }
        let Indexed { author, kind, created_at, .. } = indexed(event);
        for author in [0, author] {
            self.heads.entry((author, i64::from(kind))).or_default().insert((-created_at, event));
        }
    }

    fn remove(&mut self, event: i64) {
        self.ids.remove(&id(event));
        for tag in tags(event) {
            self.tags.entry(tag.key).or_default().remove(&(-tag.created_at, event));
        }
        let Indexed { author, kind, created_at, .. } = indexed(event);
        for author in [0, author] {
            self.heads.entry((author, i64::from(kind))).or_default().remove(&(-created_at, event));
        }
    }
}

/// Six tags: one that many events have, and some rare ones.
fn tags(event: i64) -> Vec<TagEntry> {
    let created_at = event * 7_919 % 1_000;
    let key = |n: i64| i64::from_le_bytes(id(event / 3 * 10 + n).to_bytes()[..8].try_into().expect("eight bytes"));
    let keys = [event % 3, -(event % 50), key(1), key(2), key(3), i64::MIN];
    let keys: BTreeSet<_> = keys.into_iter().collect();
    keys.into_iter().map(|key| TagEntry { key, created_at, event }).collect()
}

fn add(connection: &Connection, runs: &Runs, merges: &mut Merges, model: &mut Model, events: usize) -> Arc<Set> {
    let new: Vec<i64> = (1..=events as i64).map(|n| model.last + n).collect();
    model.last += events as i64;
    new.iter().for_each(|event| model.insert(*event));
    let entries = entries_of(new);
    let most = PACE * entries.len();
    let mut change = merges.change(connection, &runs.at(connection).expect("runs")).expect("begun");
    change.add(entries, model.last).expect("added");
    change.advance(most).expect("merged");
    change.end().expect("ended")
}

fn check(connection: &Connection, runs: &Runs, model: &Model) {
    let tx = connection.unchecked_transaction().expect("begun");
    let set = runs.at(&tx).expect("runs");
    let mut indexes = Indexes::new(&tx, &set).expect("indexes");
    for event in (1..=model.last).step_by(1 + model.last as usize / 2_000) {
        let id = id(event);
        assert_eq!(indexes.find(&id).expect("found"), model.ids.get(&id).copied(), "event {event}");
    }
    for other in -500..0 {
        assert_eq!(indexes.find(&id(other)).expect("found"), None);
    }
    assert_eq!(count(&tx).expect("counted"), model.ids.len() as i64);
    for (key, events) in model.tags.iter().step_by(1 + model.tags.len() / 300).chain(model.tags.first_key_value()) {
        for (since, until) in [(0, 2_000), (200, 500)] {
            let wanted: Vec<_> = events.iter().copied().filter(|(at, _)| (since..=until).contains(&-at)).collect();
            let mut found = indexes.tagged(*key, since, until).expect("found");
            let mut all = Vec::new();
            while let Some(entry) = found.next().expect("read") {
                assert_eq!(entry.key, *key);
                all.push((-entry.created_at, entry.event));
            }
            assert!(all == wanted, "{key} from {since} to {until}: {} of {}", all.len(), wanted.len());
        }
    }
    for (since, until) in [(i64::MIN, i64::MAX), (200, 500)] {
        let within = |events: &BTreeSet<(i64, i64)>| -> Vec<_> {
            events.iter().copied().filter(|(at, _)| (since..=until).contains(&-at)).collect()
        };
        for ((author, kind), events) in &model.heads {
            let found = match author {
                0 => rest(indexes.of_kind(*kind, since, until)),
                _ => rest(indexes.authored(*author, *kind, since, until)),
            };
            assert!(
                found == within(events),
                "author {author}, kind {kind}: {} of {}",
                found.len(),
                within(events).len()
            );
        }
        let mut all: Vec<_> =
            model.ids.values().map(|event| (-indexed(*event).created_at, id(*event), *event)).collect();
        all.retain(|(at, _, _)| (since..=until).contains(&-at));
        all.sort_unstable();
        let all: Vec<_> = all.into_iter().map(|(at, _, event)| (at, event)).collect();
        assert!(rest(indexes.all(since, until)) == all, "from {since} to {until}");
    }
    let dates = || model.ids.values().map(|event| indexed(*event).created_at);
    assert_eq!((indexes.oldest().expect("read"), indexes.newest().expect("read")), (dates().min(), dates().max()));
    for author in 1..100 {
        let of_author = model.heads.range((author, 0)..(author + 1, 0)).filter(|(_, events)| !events.is_empty());
        let kinds: Vec<_> = of_author.map(|((_, kind), _)| *kind).collect();
        assert_eq!(indexes.kinds_of(author).expect("read"), kinds);
        for kind in [0, 1, 2, 65_535] {
            assert_eq!(indexes.has_kind(author, kind).expect("read"), kinds.contains(&kind));
        }
    }
    for event in (1..=model.last).step_by(1 + model.last as usize / 200) {
        for tag in tags(event) {
            let is_there = model.tags.get(&tag.key).is_some_and(|of| of.contains(&(-tag.created_at, event)));
            assert_eq!(indexes.has_tag(tag).expect("looked up"), is_there);
            assert!(!indexes.has_tag(TagEntry { created_at: tag.created_at + 1, ..tag }).expect("looked up"));
        }
    }
}

#[test]
fn runs_behave_as_a_map_through_merges_removals_and_kills() {
    let step = prop_oneof![
        4 => (1..200_usize).prop_map(Step::Add),
        6 => (2_000..6_000_usize).prop_map(Step::Add),
        1 => (3_000..6_000_usize).prop_map(Step::Killed),
        1 => (2..40_usize).prop_map(Step::Remove),
        1 => Just(Step::Idle),
        1 => Just(Step::Reopen),
    ];
    let most = std::cell::Cell::new(0);
    let config = ProptestConfig { cases: 4, failure_persistence: None, ..ProptestConfig::default() };
    let ran = TestRunner::new(config).run(&prop::collection::vec(step, 5..30), |steps| {
        let mut connection = Connection::open_in_memory().expect("opened");
        migrate(&mut connection, "memory".as_ref()).expect("migrated");
        settle(&mut connection).expect("settled");
        let (mut runs, mut merges, mut model) = (Runs::default(), Merges::default(), Model::default());
        // Enough for merges of merges, whatever follows.
        for step in std::iter::repeat_n(Step::Add(4_100), 17).chain(steps) {
            match step {
                Step::Add(events) => {
                    let tx = connection.transaction().expect("begun");
                    let set = add(&tx, &runs, &mut merges, &mut model, events);
                    tx.commit().expect("committed");
                    runs.publish(set);
                }
                Step::Killed(events) => {
                    let tx = connection.transaction().expect("begun");
                    add(&tx, &runs, &mut merges, &mut model.clone(), events);
                    tx.rollback().expect("rolled back");
                    merges = Merges::default();
                }
                Step::Remove(nth) => {
                    let gone: Vec<i64> = model.ids.values().copied().filter(|k| k % nth as i64 == 0).collect();
                    let tx = connection.transaction().expect("begun");
                    let entries = entries_of(gone.iter().copied());
                    remove(&tx, &runs.at(&tx).expect("runs"), entries).expect("removed");
                    tx.commit().expect("committed");
                    gone.into_iter().for_each(|event| model.remove(event));
                }
                Step::Idle => {
                    let tx = connection.transaction().expect("begun");
                    let mut change = merges.change(&tx, &runs.at(&tx).expect("runs")).expect("begun");
                    change.advance(6_000).expect("merged");
                    let set = change.end().expect("ended");
                    tx.commit().expect("committed");
                    runs.publish(set);
                }
                Step::Reopen => (runs, merges) = (Runs::default(), Merges::default()),
            }
            let runs = runs.at(&connection).expect("runs");
            most.set(most.get().max(runs.all().map(|run| run.level).max().unwrap_or(0)));
            let of_ids: Vec<_> = runs.of(Index::Ids).collect();
            prop_assert!(of_ids.windows(2).all(|pair| pair[0].last < pair[1].first), "{:?}", of_ids);
        }
        check(&connection, &runs, &model);
        check(&connection, &Runs::default(), &model);
        clear(&connection).expect("cleared");
        check(&connection, &runs, &Model::default());
        Ok(())
    });
    ran.expect("as in a map");
    assert!(most.get() >= 2, "runs of level {} at most: merges of merges were not tried", most.get());
}

/// Reads the rest of a merge, as date and number.
fn rest<R: Dated>(merge: Result<Merge<'_, R>, StorageError>) -> Vec<(i64, i64)> {
    let mut merge = merge.expect("found");
    let mut all = Vec::new();
    while let Some(entry) = merge.next().expect("read") {
        all.push((-entry.created_at(), entry.event()));
    }
    all
}

/// The environment variable that names the file of the child to be killed.
const FILE: &str = "BROTR_TEST_RUNS_FILE";
const KILLS: usize = 100;

fn open(file: &std::path::Path) -> Connection {
    let mut connection = Connection::open(file).expect("opened");
    connection.execute_batch("pragma journal_mode = wal; pragma synchronous = normal").expect("set");
    migrate(&mut connection, file).expect("migrated");
    settle(&mut connection).expect("settled");
    connection
}

/// What the indexes must contain after events up to this one were added.
fn up_to(last: i64) -> Model {
    let mut model = Model { last, ..Model::default() };
    (1..=last).for_each(|event| model.insert(event));
    model
}

/// Not a test by itself: the process that is killed. It adds events and merges, in commits of many sizes.
#[test]
fn child() {
    let Ok(file) = std::env::var(FILE) else { return };
    let connection = open(file.as_ref());
    let (runs, mut merges) = (Runs::default(), Merges::default());
    for n in 0_usize.. {
        let tx = connection.unchecked_transaction().expect("begun");
        let last: i64 = tx.query_row("select last_k from archive", [], |row| row.get(0)).expect("read");
        let mut model = Model { last, ..Model::default() };
        let set = add(&tx, &runs, &mut merges, &mut model, [700, 40, 4_100][n % 3]);
        tx.execute("update archive set last_k = ?1", [model.last]).expect("written");
        tx.commit().expect("committed");
        runs.publish(set);
        println!("\ncommitted");
    }
}

#[test]
fn a_process_that_is_killed_while_it_merges_loses_nothing() {
    use std::io::{BufRead, BufReader};
    use std::process::{Command, Stdio};

    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("runs.db");
    drop(open(&file));
    let mut in_merges = 0;
    for n in 0..KILLS {
        let mut child = Command::new(std::env::current_exe().expect("a path"))
            .args(["--exact", "sqlite::runs::tests::child", "--nocapture"])
            .env(FILE, &file)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("started");
        let mut said = BufReader::new(child.stdout.take().expect("piped")).lines();
        let first = said.find(|line| line.as_ref().is_ok_and(|line| line == "committed"));
        first.expect("it commits").expect("read");
        std::thread::sleep(std::time::Duration::from_micros((n * 7_919 % 40_000) as u64));
        child.kill().expect("killed");
        child.wait().expect("ended");
        let connection = open(&file);
        let read = |sql| connection.query_row(sql, [], |row| row.get::<_, i64>(0)).expect(sql);
        let last = read("select last_k from archive");
        in_merges += read("select exists (select 1 from run where state <> 'live')");
        assert_eq!(count(&connection).expect("counted"), last, "kill {n}");
        if n % 20 == 19 {
            check(&connection, &Runs::default(), &up_to(last));
            let sound: String = connection.query_row("pragma integrity_check", [], |row| row.get(0)).expect("read");
            assert_eq!(sound, "ok");
        }
    }
    assert!(in_merges > KILLS as i64 / 10, "only {in_merges} kills met a merge or what one leaves to free");
}

/// An archive of schema 7, whose indexes are b-trees.
fn older(events: i64) -> Connection {
    let connection = Connection::open_in_memory().expect("opened");
    for migration in &crate::sqlite::MIGRATIONS[..7] {
        connection.execute_batch(migration).expect("migrated");
    }
    connection.pragma_update(None, "user_version", 7).expect("set");
    let tx = connection.unchecked_transaction().expect("begun");
    for event in 1..=events {
        let sql = "insert into event (k, id, author, created_at, kind, payload) values (?1, ?2, ?3, ?4, ?5, x'')";
        let Indexed { id, author, kind, created_at, .. } = indexed(event);
        let mut insert = tx.prepare_cached(sql).expect("prepared");
        insert.execute(params![event, id, author, created_at, kind]).expect("written");
        for tag in tags(event) {
            let mut insert =
                tx.prepare_cached("insert into tag (key, created_at, event) values (?1, ?2, ?3)").expect("prepared");
            insert.execute([tag.key, tag.created_at, tag.event]).expect("written");
        }
    }
    tx.execute("update archive set events = ?1, last_k = ?1", [events]).expect("written");
    tx.commit().expect("committed");
    connection
}

#[test]
fn an_older_archive_is_migrated_into_runs_despite_interruptions() {
    let events = 20_000;
    let mut connection = older(events);
    migrate(&mut connection, "memory".as_ref()).expect("migrated");
    let mut broken_off = 0;
    loop {
        let mut steps = 30 + broken_off * 37 % 300;
        let handler = move || {
            steps -= 1;
            steps < 0
        };
        connection.progress_handler(2_000, Some(handler)).expect("set");
        match older::settle_in(&mut connection, 12_000) {
            Ok(()) => break,
            Err(error) => assert!(error.is_interrupted(), "{error}"),
        }
        connection.progress_handler(0, None::<fn() -> bool>).expect("set");
        broken_off += 1;
        assert!(!is_settled(&connection).expect("read"));
        assert!(broken_off < 1_000, "it gets on");
    }
    connection.progress_handler(0, None::<fn() -> bool>).expect("set");
    assert!(broken_off > 3, "broken off {broken_off} times");
    assert!(is_settled(&connection).expect("read"));
    check(&connection, &Runs::default(), &up_to(events));
    let schema: Vec<String> = connection
        .prepare("select name from sqlite_schema where tbl_name in ('event', 'tag') and type in ('table', 'index') order by name")
        .expect("prepared")
        .query_map([], |row| row.get(0))
        .expect("read")
        .collect::<Result<_, _>>()
        .expect("read");
    assert_eq!(schema, ["event", "event_by_arrival"]);
    let sound: String = connection.query_row("pragma integrity_check", [], |row| row.get(0)).expect("read");
    assert_eq!(sound, "ok");
}

/// Without a pause in which merges could catch up.
#[test]
fn merges_keep_up_with_what_is_added_and_what_they_leave_is_freed() {
    let mut connection = Connection::open_in_memory().expect("opened");
    migrate(&mut connection, "memory".as_ref()).expect("migrated");
    settle(&mut connection).expect("settled");
    let (runs, mut merges, mut model) = (Runs::default(), Merges::default(), Model::default());
    for n in 1..=80_u32 {
        let tx = connection.transaction().expect("begun");
        let set = add(&tx, &runs, &mut merges, &mut model, 4_100);
        tx.commit().expect("committed");
        runs.publish(set.clone());
        // Three at rest per level, and four that are being merged into the next.
        let levels = n.ilog(4) as usize + 1;
        for index in Index::ALL {
            let live = set.of(index).count();
            assert!(live <= levels * 7, "{live} runs of {index:?} after {n} of 4,100 events");
        }
        let count = |sql| connection.query_row(sql, [], |row| row.get::<_, i64>(0)).expect(sql);
        let wanted = count("select sum(blocks) from run where state = 'live'");
        let all = count("select count(*) from block");
        assert!(all <= 3 * wanted, "{all} blocks for {wanted} that are read, after {n} of 4,100 events");
    }
}
