//! Cost of event numbers, sequential or random:
//!
//! ```sh
//! cargo bench -p brotr --bench keys
//! ```
//!
//! A million rows of 400 bytes with an index by time, in groups of ten thousand, on SQLite (where rows are in the order of
//! their number) and on a throwaway PostgreSQL (where they are in the order of arrival), and tags that refer to them. Prints
//! microseconds and bytes per row.

use std::process::Command;
use std::time::Instant;

use anyhow::ensure;

const ROWS: u64 = 1_000_000;
const GROUP: u64 = 10_000;

fn main() -> anyhow::Result<()> {
    println!("{:<28}{:>12}{:>12}", "", "us a row", "B a row");
    let server = brotr_tests::Postgres::start()?;
    for (name, sqlite, postgres) in [
        ("numbered in order", "n", "n"),
        (
            "first 64 bits of the id",
            "(n * 2654435761 % 4294967296 * 2147483648 + n)",
            "('x' || substr(md5(n::text), 1, 16))::bit(64)::bigint",
        ),
    ] {
        let dir = tempfile::tempdir()?;
        let file = dir.path().join("keys.db");
        let began = Instant::now();
        let mut script = String::from(
            "pragma page_size = 8192; pragma journal_mode = wal; pragma synchronous = normal; pragma cache_size = -65536; \
             create table event (k integer primary key, created_at integer, payload blob); create index by_time on event (created_at desc); \
             create table tag (key integer, created_at integer, event integer, primary key (key, created_at, event)) without rowid;\n",
        );
        for first in (1..=ROWS).step_by(GROUP as usize) {
            let rows = format!("(select value as n from generate_series({first}, {}))", first + GROUP - 1);
            script += &format!(
                "begin; insert into event select {sqlite}, {ROWS} - n, zeroblob(400) from {rows}; \
                 insert into tag select n % 50000, {ROWS} - n, {sqlite} from {rows} order by 1, 2; commit;\n"
            );
        }
        run(Command::new("sqlite3").arg(&file), &script)?;
        let took = began.elapsed();
        let bytes = std::fs::metadata(&file)?.len();
        show(&format!("SQLite, {name}"), took, bytes);

        let url = server.database(&format!("keys{}", sqlite.len()))?;
        let began = Instant::now();
        let mut script = String::from(
            "create table event (k bigint primary key, created_at bigint, payload bytea); create index by_time on event (created_at desc); \
             alter table event alter payload set storage plain; \
             create table tag (key bigint, created_at bigint, event bigint, primary key (key, created_at, event));\n",
        );
        for first in (1..=ROWS).step_by(GROUP as usize) {
            let rows = format!("generate_series({first}, {}) n", first + GROUP - 1);
            script += &format!(
                "begin; insert into event select {postgres}, {ROWS} - n, decode(repeat('00', 400), 'hex') from {rows}; \
                 insert into tag select n % 50000, {ROWS} - n, {postgres} from {rows} order by 1, 2; commit;\n"
            );
        }
        run(Command::new("psql").args(["-qX", "-v", "ON_ERROR_STOP=1", &url]), &script)?;
        let took = began.elapsed();
        let size = Command::new("psql")
            .args(["-qXAt", "-c", "select pg_total_relation_size('event') + pg_total_relation_size('tag')", &url])
            .output()?;
        show(&format!("PostgreSQL, {name}"), took, String::from_utf8(size.stdout)?.trim().parse()?);
    }
    Ok(())
}

fn run(command: &mut Command, script: &str) -> anyhow::Result<()> {
    let file = tempfile::NamedTempFile::new()?;
    std::fs::write(file.path(), script)?;
    let output = command.stdin(std::fs::File::open(file.path())?).output()?;
    ensure!(output.status.success() && output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

fn show(name: &str, took: std::time::Duration, bytes: u64) {
    let (us, bytes) = (took.as_secs_f64() * 1e6 / ROWS as f64, bytes as f64 / ROWS as f64);
    println!("{name:<40}{us:>8.2}{bytes:>12.0}");
}
