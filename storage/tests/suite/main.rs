//! One suite for both backends: whatever holds for SQLite holds for PostgreSQL.

mod clients;
mod coverage;
mod events;
#[path = "../exact/mod.rs"]
mod exact;
mod ledger;
mod plans;
mod postgres_only;
mod research;
mod shape;
mod sqlite_only;

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use brotr_core::*;
use brotr_storage::*;
use clients::*;
use coverage::*;
use events::*;
use ledger::*;
use nostr::{Alphabet, EventBuilder, Filter, Keys, Kind, SingleLetterTag, Tag, TagKind, Timestamp};
use proptest::prelude::*;
use proptest::test_runner::{TestCaseError, TestRunner};
use research::*;
use shape::*;

/// Runs every test of the list against one archive each, on one backend.
macro_rules! suite {
    ($($name:ident),+ $(,)?) => {
        #[tokio::test(flavor = "multi_thread")]
        async fn sqlite() {
            $({
                let dir = tempfile::tempdir().expect("a directory");
                let url = format!("sqlite://{}", dir.path().join("new/brotr.db").display());
                eprintln!("SQLite: {}", stringify!($name));
                $name(open(&url, Options::default()).await.expect("opened"), url).await;
            })+
        }

        #[tokio::test(flavor = "multi_thread")]
        async fn pgbouncer() {
            let server = brotr_tests::Postgres::start().expect("PostgreSQL started");
            let bouncer = brotr_tests::Bouncer::start(&server).expect("pgbouncer started");
            $({
                server.database(stringify!($name)).expect("a database");
                let url = bouncer.url(stringify!($name));
                if stringify!($name) != "a_backup_holds_what_the_archive_holds" {
                    eprintln!("pgbouncer: {}", stringify!($name));
                    $name(open(&url, Options::default()).await.expect("opened"), url).await;
                }
            })+
        }

        #[tokio::test(flavor = "multi_thread")]
        async fn citus() {
            let Some(cluster) = brotr_tests::Cluster::start().expect("servers started") else {
                eprintln!("Citus is not installed: what is said of it was not tried here");
                return;
            };
            $({
                let url = cluster.database(stringify!($name)).expect("a database");
                eprintln!("Citus: {}", stringify!($name));
                let archive = open(&url, Options::default()).await.expect("opened");
                for table in ["event", "search", "hidden", "lost", "sighting"] {
                    let nodes = format!("select count(distinct nodeport) from citus_shards where table_name::text = '{table}'");
                    assert_eq!(shell(&url, &nodes), "2", "{table} lies on both workers");
                }
                $name(archive, url).await;
            })+
        }

        #[tokio::test(flavor = "multi_thread")]
        async fn postgres() {
            let server = brotr_tests::Postgres::start().expect("PostgreSQL started");
            $({
                let url = server.database(stringify!($name)).expect("a database");
                eprintln!("PostgreSQL: {}", stringify!($name));
                $name(open(&url, Options::default()).await.expect("opened"), url).await;
            })+
        }
    };
}

suite!(
    events_come_back_exactly,
    a_batch_is_stored_once,
    what_a_relay_no_longer_holds_is_taken_back,
    any_filter_finds_what_a_naive_one_finds,
    clients_see_what_a_good_relay_would_give,
    pages_follow_each_other,
    a_tag_that_many_have_is_answered_as_any,
    a_look_ends_when_it_takes_too_long,
    coverage_merges_and_takes_gaps_away,
    a_second_is_never_covered_and_a_gap,
    the_future_is_not_proven,
    a_clock_that_was_ahead_is_forgiven,
    relays_are_added_once_and_listed_in_pages,
    checks_are_kept_by_content,
    a_check_and_its_aftermath_are_kept_together,
    a_history_is_kept_and_forgotten,
    uptime_is_a_share_of_time,
    a_job_is_taken_and_ended_once,
    jobs_are_shared_out_and_can_be_cancelled,
    takers_of_jobs_get_one_each,
    what_holds_nul_is_not_found,
    who_was_answered_before_comes_first,
    what_one_agent_is_at_others_leave_alone,
    a_holder_gives_up_what_it_left_claimed,
    writers_of_the_same_relays_do_not_deadlock,
    a_result_is_held_back_until_it_is_paid_for,
    the_outbox_keeps_what_is_not_delivered,
    text_is_found_where_it_is_indexed,
    words_that_many_have_are_found_newest_first,
    a_search_finds_the_same_everywhere,
    lilbrotr_keeps_what_can_be_counted,
    rust_nostr_can_stand_on_it,
    statistics_count_what_is_there,
    the_public_shape_is_there,
    questions_of_researchers_are_answered,
    statements_only_read,
    the_first_second_counts,
    opening_again_keeps_everything,
    a_backup_holds_what_the_archive_holds,
    a_newer_database_is_refused,
);

const RELAY: &str = "wss://relay.example/";

fn event(content: &str, tags: Vec<Vec<&str>>, created_at: i64) -> Verified {
    // Signed by hand, since the library refuses the empty inner tag that this archive must keep.
    let keys = Keys::generate();
    let tags: Vec<Vec<String>> = tags.into_iter().map(|t| t.into_iter().map(str::to_owned).collect()).collect();
    let preimage = serde_json::json!([0, keys.public_key().to_hex(), created_at, 1, tags, content]).to_string();
    let id: [u8; 32] = <sha2::Sha256 as sha2::Digest>::digest(preimage).into();
    let sig = keys.sign_schnorr(&nostr::secp256k1::Message::from_digest(id));
    let id = nostr::EventId::from_byte_array(id);
    Event { id, pubkey: keys.public_key(), created_at, kind: 1, tags, content: content.into(), sig: sig.serialize() }
        .verify()
        .expect("signed")
}

fn batch(events: Vec<Verified>) -> Batch {
    Batch {
        relay: Some((RELAY.into(), Network::Clearnet)),
        seen_at: 1_700_000_000,
        events,
        filter: "{}".into(),
        ..Batch::default()
    }
}

/// Unix seconds.
fn now() -> i64 {
    std::time::SystemTime::UNIX_EPOCH.elapsed().expect("after 1970").as_secs() as i64
}

async fn all(archive: &Arc<dyn Archive>) -> Vec<Event> {
    archive.page(&Filter::new(), View::All, None, 10_000).await.expect("a page")
}

/// More by hand: `BROTR_TEST_CASES=5000 cargo test -p brotr-storage`.
fn cases(usual: u32) -> u32 {
    std::env::var("BROTR_TEST_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(usual)
}

/// Runs a statement as `brotr sql` does; gives the rows without the names.
async fn sql_rows(archive: &Arc<dyn Archive>, sql: &str) -> Vec<SqlRow> {
    let (sender, mut receiver) = tokio::sync::mpsc::channel(100);
    archive.sql(sql, sender).await.expect(sql);
    let mut rows = Vec::new();
    while let Some(row) = receiver.recv().await {
        rows.push(row);
    }
    rows.into_iter().skip(1).collect()
}

/// The shell that people have: sqlite3 or psql.
fn shell_of(url: &str) -> std::process::Command {
    let (program, option, place) = match url.strip_prefix("sqlite://") {
        Some(path) => ("sqlite3", "-batch", path),
        None => ("psql", "-At", url),
    };
    let mut command = std::process::Command::new(program);
    command.args([option, place]);
    command
}

/// A shell that has run some statements and keeps its transaction open until it is dropped.
struct Held(std::process::Child);

impl Held {
    fn begin(url: &str, statements: &str) -> Self {
        use std::io::{BufRead, BufReader, Write};
        let mut shell = shell_of(url);
        let shell = shell.stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped());
        let mut child = shell.spawn().expect("started");
        let stdin = child.stdin.as_mut().expect("piped");
        writeln!(stdin, "{statements}; select 'ready';").expect("written");
        stdin.flush().expect("written");
        let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        assert!(lines.any(|line| line.is_ok_and(|line| line == "ready")), "{statements}: it has begun");
        Self(child)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Runs a statement in a shell.
fn shell(url: &str, sql: &str) -> String {
    let mut command = shell_of(url);
    if !url.starts_with("sqlite:") {
        command.arg("-c");
    }
    let output = command.arg(sql).output().expect("the shell runs");
    assert!(output.status.success(), "{sql}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}
