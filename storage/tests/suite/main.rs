//! One suite for all backends: whatever holds for SQLite holds for PostgreSQL, behind a pooler and on Citus as well. Each case
//! is a test of its own on each backend, named `sqlite::CASE`, `postgres::CASE` and so on.

mod clients;
mod coverage;
mod events;
#[path = "../exact/mod.rs"]
mod exact;
mod jobs;
mod leases;
mod outbox;
mod plans;
mod postgres_only;
mod relays;
mod research;
mod search;
mod shape;
mod sqlite_only;

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::pin::Pin;
use std::process::ExitCode;
use std::sync::{Arc, OnceLock};

use brotr_core::*;
use brotr_storage::*;
use brotr_tests::{Bouncer, Cluster, Postgres};
use clients::*;
use coverage::*;
use events::*;
use jobs::*;
use leases::*;
use libtest_mimic::{Arguments, Failed, Trial};
use nostr::{Alphabet, EventBuilder, Filter, Keys, Kind, SingleLetterTag, Tag, TagKind, Timestamp};
use outbox::*;
use proptest::prelude::*;
use proptest::test_runner::{TestCaseError, TestRunner};
use relays::*;
use research::*;
use search::*;
use shape::*;

/// A case: what holds on every backend, for an archive of its own and its URL.
type Case = fn(Arc<dyn Archive>, String) -> Pin<Box<dyn Future<Output = ()>>>;

/// The cases that are named, each with its name.
macro_rules! cases {
    ($($name:ident),+ $(,)?) => {
        [$((stringify!($name), (|archive, url| Box::pin($name(archive, url))) as Case)),+]
    };
}

/// Tests of one backend, each with the name of its module.
macro_rules! tests {
    ($($module:ident::$name:ident),+ $(,)?) => {
        [$((concat!(stringify!($module), "::", stringify!($name)), (|| Box::pin($module::$name())) as Alone)),+]
    };
}
type Alone = fn() -> Pin<Box<dyn Future<Output = ()>>>;

/// Servers that the cases share, each started when the first case needs it, and ended with this program.
#[derive(Default)]
struct Servers {
    postgres: OnceLock<Postgres>,
    pooled: OnceLock<(Postgres, Bouncer)>,
    citus: OnceLock<Cluster>,
}

impl Servers {
    fn postgres(&self, database: &str) -> String {
        let server = self.postgres.get_or_init(|| Postgres::start().expect("PostgreSQL started"));
        server.database(database).expect("a database")
    }

    fn pooled(&self, database: &str) -> String {
        let (server, bouncer) = self.pooled.get_or_init(|| {
            let server = Postgres::start().expect("PostgreSQL started");
            let bouncer = Bouncer::start(&server).expect("pgbouncer started");
            (server, bouncer)
        });
        server.database(database).expect("a database");
        bouncer.url(database)
    }

    fn citus(&self, database: &str) -> String {
        let cluster = self.citus.get_or_init(|| Cluster::start().expect("servers started"));
        cluster.database(database).expect("a database")
    }
}

/// Runs a test on a runtime with a worker for each core.
fn run(test: impl Future<Output = ()>) -> Result<(), Failed> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(test);
    Ok(())
}

async fn open_empty(url: &str) -> Arc<dyn Archive> {
    open(url, Options::default()).await.expect("opened")
}

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let servers = Arc::new(Servers::default());
    let mut trials = Vec::new();
    for (name, case) in CASES {
        trials.push(Trial::test(format!("sqlite::{name}"), move || {
            let dir = tempfile::tempdir()?;
            let url = format!("sqlite://{}", dir.path().join("new/brotr.db").display());
            run(async { case(open_empty(&url).await, url).await })
        }));
        let shared = servers.clone();
        trials.push(Trial::test(format!("postgres::{name}"), move || {
            let url = shared.postgres(name);
            run(async { case(open_empty(&url).await, url).await })
        }));
        // A backup needs the server itself.
        if name != "a_backup_is_complete" {
            let shared = servers.clone();
            trials.push(Trial::test(format!("pgbouncer::{name}"), move || {
                let url = shared.pooled(name);
                run(async { case(open_empty(&url).await, url).await })
            }));
        }
        let shared = servers.clone();
        let spread = move || {
            let url = shared.citus(name);
            run(async {
                let archive = open_empty(&url).await;
                for table in ["event", "search", "hidden", "lost", "sighting"] {
                    let nodes =
                        format!("select count(distinct nodeport) from citus_shards where table_name::text = '{table}'");
                    assert_eq!(shell(&url, &nodes), "2", "{table} lies on both workers");
                }
                case(archive, url).await;
            })
        };
        trials.push(Trial::test(format!("citus::{name}"), spread).with_ignored_flag(!Cluster::is_installed()));
    }
    for (name, test) in TESTS {
        trials.push(Trial::test(name, move || run(test())));
    }
    let conclusion = libtest_mimic::run(&arguments, trials);
    drop(servers);
    conclusion.exit_code()
}

const CASES: [(&str, Case); 46] = cases!(
    a_statement_ends_when_nobody_reads_its_rows,
    events_come_back_exactly,
    a_batch_is_stored_once,
    a_batch_is_stored_as_the_archive_is_then,
    events_of_several_relays_are_stored_once,
    readers_are_told_of_new_events,
    sightings_of_lost_events_are_removed,
    filters_agree_with_a_naive_implementation,
    hidden_events_agree_with_a_naive_implementation,
    pages_follow_each_other,
    a_frequent_tag_has_the_results_of_a_rare_one,
    a_query_is_cancelled_at_its_time_limit,
    coverage_merges_and_takes_gaps_away,
    a_second_is_never_covered_and_a_gap,
    the_future_is_not_proven,
    timestamps_of_a_clock_that_was_ahead_are_clamped,
    relays_are_added_once_and_listed_in_pages,
    checks_are_kept_by_content,
    a_check_and_its_aftermath_are_kept_together,
    visits_are_stored_and_forgotten,
    the_documents_of_a_relay_are_told_apart_by_time,
    uptime_is_a_share_of_time,
    a_job_is_taken_and_ended_once,
    jobs_are_shared_out_and_can_be_cancelled,
    a_job_is_taken_by_one_worker,
    values_with_nul_match_nothing,
    answered_customers_come_first,
    a_claimed_relay_is_claimed_by_nobody_else,
    a_holder_releases_its_own_claims_only,
    writers_of_the_same_relays_do_not_deadlock,
    writers_of_the_same_events_do_not_deadlock,
    a_result_is_held_back_until_it_is_paid_for,
    the_outbox_keeps_undelivered_events,
    text_is_found_where_it_is_indexed,
    frequent_terms_are_found_newest_first,
    both_backends_search_alike,
    lilbrotr_answers_counts,
    it_serves_as_the_database_of_rust_nostr,
    statistics_equal_a_count,
    the_public_views_exist,
    the_statements_of_research_md_run,
    statements_only_read,
    events_of_second_zero_are_stored,
    reopening_keeps_everything,
    a_backup_is_complete,
    a_newer_database_is_refused,
);

const TESTS: [(&str, Alone); 19] = tests!(
    plans::views_are_read_by_their_indexes,
    plans::storing_reads_no_more_than_what_it_stores,
    plans::clients_are_answered_by_their_indexes,
    postgres_only::known_relays_consume_no_sequence_numbers,
    postgres_only::urls_sort_by_bytes,
    postgres_only::costly_settings_are_reported,
    postgres_only::calls_are_retried_when_connections_are_lost,
    postgres_only::only_the_requested_arrivals_are_read,
    postgres_only::a_document_in_use_is_kept,
    postgres_only::an_event_removed_while_a_writer_waits_is_not_seen,
    postgres_only::opening_read_only_creates_nothing,
    shape::a_backup_through_a_pooler_is_refused,
    shape::an_archive_that_cannot_be_opened_is_named,
    shape::client_queries_use_the_replica,
    sqlite_only::a_lock_of_another_process_blocks_no_worker_thread,
    sqlite_only::files_are_private,
    sqlite_only::readers_are_told_of_events_whose_sender_is_gone,
    sqlite_only::the_log_is_truncated_when_idle,
    sqlite_only::a_panic_fails_one_batch_only,
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

/// The number of cases of a property test. `BROTR_TEST_CASES=5000 cargo test -p brotr-storage` runs more.
fn cases(usual: u32) -> u32 {
    std::env::var("BROTR_TEST_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(usual)
}

/// Runs a statement as `brotr sql` does; returns the rows without the names.
async fn sql_rows(archive: &Arc<dyn Archive>, sql: &str) -> Vec<SqlRow> {
    let (sender, mut receiver) = tokio::sync::mpsc::channel(100);
    archive.sql(sql, sender).await.expect(sql);
    let mut rows = Vec::new();
    while let Some(row) = receiver.recv().await {
        rows.push(row);
    }
    rows.into_iter().skip(1).collect()
}

/// Returns the stock shell of a database: sqlite3 or psql.
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
