//! `brotr sql`

use std::io::{IsTerminal, Read};
use std::path::PathBuf;

use anyhow::{Context, Result};
use brotr_storage::Archive;
use rustyline::error::ReadlineError;
use serde_json::Value as Json;
use tokio::sync::mpsc;

use super::failure::Failure;
use super::table::{Table, Value};
use super::{Access, Done, Shared, output};
use crate::config::Config;

/// Rows that are buffered for printing.
const WAITING: usize = 256;
/// Rows of one table, the width of whose columns is that of their widest value,
const ROWS: usize = 1_000;
/// or what has this many bytes;
const ROWS_BYTES: usize = 4 << 20;
/// and the most characters of a value in it.
const VALUE: usize = 1_000;
/// The longest statement that is read from a file or stdin, in bytes.
const LONGEST: u64 = 1 << 20;
/// The name of the shell's history in the data directory.
const HISTORY: &str = "sql_history";
const HELP: &str = "\\d         list the relations
\\d NAME    list the columns of a relation
\\q         leave, as Ctrl-D does
statements end with a semicolon, and may have several lines; Ctrl-C abandons one";

#[derive(Debug, Clone, clap::Args)]
pub(super) struct Args {
    /// The statement, such as 'select kind, events from kind_counts_total'; without one, and on a terminal, a shell is started,
    /// else the statement is read from stdin
    statement: Option<String>,
    /// Read the statement from a file; - is stdin
    #[arg(short, long, value_name = "FILE", conflicts_with = "statement")]
    file: Option<PathBuf>,
    /// Print comma-separated values with a header (RFC 4180)
    #[arg(long, conflicts_with = "json")]
    csv: bool,
}

/// How rows are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    /// A table with a header.
    Table,
    /// Values separated by `|`, without a header.
    Plain,
    /// Comma-separated values with a header.
    Csv,
    /// An object for each row.
    Json,
}

pub(super) async fn main(shared: &Shared, args: Args) -> Result<Done> {
    let config = shared.load()?;
    let format = match (shared.json, args.csv) {
        (true, _) => Format::Json,
        (_, true) => Format::Csv,
        _ if std::io::stdout().is_terminal() => Format::Table,
        _ => Format::Plain,
    };
    let statement = match (args.statement, args.file) {
        (Some(statement), _) => Some(statement),
        (None, Some(file)) if file.as_os_str() != "-" => {
            let opened = std::fs::File::open(&file).with_context(|| format!("failed to open {}", file.display()))?;
            Some(read(opened)?)
        }
        (None, None) if std::io::stdin().is_terminal() => None,
        _ => Some(read(std::io::stdin().lock())?),
    };
    let archive = shared.archive(&config, Access::Read).await?;
    match statement {
        Some(statement) => {
            print(archive.as_ref(), &statement, format, std::future::pending()).await?;
        }
        None => shell(&config, archive.as_ref(), format).await?,
    }
    Ok(Done::Well)
}

fn read(from: impl Read) -> Result<String> {
    let mut text = String::new();
    from.take(LONGEST + 1).read_to_string(&mut text).context("failed to read the statement")?;
    if text.len() as u64 > LONGEST {
        return Err(Failure::usage("the statement is longer than 1 MiB").into());
    }
    Ok(text)
}

/// Runs a statement and prints its rows as they come, until `stop` ends. Returns whether it was stopped.
async fn print(archive: &dyn Archive, statement: &str, format: Format, stop: impl Future<Output = ()>) -> Result<bool> {
    let (sender, rows) = mpsc::channel::<Vec<Json>>(WAITING);
    let print = async {
        match format {
            Format::Table => tables(rows).await,
            Format::Plain => plain(rows).await,
            Format::Csv => csv(rows).await,
            Format::Json => objects(rows).await,
        }
    };
    // A statement whose rows nobody reads any more is interrupted.
    let print = async {
        tokio::select! {
            printed = print => Some(printed),
            () = stop => None,
        }
    };
    let (ran, printed) = tokio::join!(archive.sql(statement, sender), print);
    let Some(printed) = printed else { return Ok(true) };
    printed?;
    ran?;
    Ok(false)
}

type Rows = mpsc::Receiver<Vec<Json>>;

/// Receives the names of the columns.
async fn names(rows: &mut Rows) -> Vec<String> {
    rows.recv().await.unwrap_or_default().iter().map(cell).collect()
}

async fn tables(mut rows: Rows) -> Result<()> {
    let names = names(&mut rows).await;
    let mut printed = 0_u64;
    loop {
        let mut batch = Vec::new();
        let (mut bytes, mut ended) = (0, false);
        while batch.len() < ROWS && bytes < ROWS_BYTES {
            let Some(row) = rows.recv().await else {
                ended = true;
                break;
            };
            let cut = |value: &Json| cell(value).chars().take(VALUE).collect::<String>();
            let row: Vec<String> = row.iter().map(cut).collect();
            bytes += row.iter().map(String::len).sum::<usize>();
            batch.push(row);
        }
        if names.is_empty() || (batch.is_empty() && printed > 0) {
            break;
        }
        let mut table = Table::named(&names);
        printed += batch.len() as u64;
        for row in batch {
            table.add(row.into_iter().map(Value::from).collect());
        }
        table.print(0)?;
        if ended {
            break;
        }
    }
    if !names.is_empty() {
        eprintln!("({})", output::counted(printed, "row"));
    }
    Ok(())
}

async fn plain(mut rows: Rows) -> Result<()> {
    names(&mut rows).await;
    while let Some(row) = rows.recv().await {
        output::line(&row.iter().map(cell).collect::<Vec<_>>().join("|"))?;
    }
    Ok(())
}

async fn csv(mut rows: Rows) -> Result<()> {
    let mut record = names(&mut rows).await;
    // Without columns there are no rows either.
    while !record.is_empty() {
        let mut writer = csv::WriterBuilder::new().terminator(csv::Terminator::Any(b'\n')).from_writer(Vec::new());
        writer.write_record(&record)?;
        output::line(String::from_utf8(writer.into_inner()?)?.trim_end_matches('\n'))?;
        record = rows.recv().await.unwrap_or_default().iter().map(cell).collect();
    }
    Ok(())
}

async fn objects(mut rows: Rows) -> Result<()> {
    let names = names(&mut rows).await;
    while let Some(row) = rows.recv().await {
        output::json(&names.iter().cloned().zip(row).collect::<serde_json::Map<_, _>>())?;
    }
    Ok(())
}

/// Formats a value as the shells of the databases do: nothing for null.
fn cell(value: &Json) -> String {
    match value {
        Json::Null => String::new(),
        Json::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// Reads statements from the terminal until its user leaves.
async fn shell(config: &Config, archive: &dyn Archive, format: Format) -> Result<()> {
    let mut editor = rustyline::DefaultEditor::new()?;
    let history = config.data_dir.join(HISTORY);
    // The first time it does not exist.
    let _ = editor.load_history(&history);
    eprintln!("\\? for help, \\q to leave; the archive is read-only here");
    let mut statement = String::new();
    loop {
        // The prompt waits for its user: nothing else runs here.
        let read = editor.readline(if statement.is_empty() { "brotr> " } else { "   ..> " });
        let line = match read {
            Ok(line) => line,
            Err(ReadlineError::Interrupted) => {
                statement.clear();
                continue;
            }
            Err(ReadlineError::Eof) => break,
            Err(error) => return Err(error.into()),
        };
        let line = line.trim();
        let asked = match line.split_once(' ').unwrap_or((line, "")) {
            _ if !statement.is_empty() => None,
            ("\\q" | "exit" | "quit", "") => break,
            ("\\d", name) => Some(described(archive.backend(), name.trim())),
            (command, _) if command.starts_with('\\') => {
                eprintln!("{HELP}");
                continue;
            }
            _ => None,
        };
        let asked = match asked {
            Some(Ok(asked)) => asked,
            Some(Err(error)) => {
                eprintln!("error: {error}");
                continue;
            }
            None => {
                statement.push_str(line);
                statement.push('\n');
                if !line.ends_with(';') {
                    if statement.trim().is_empty() {
                        statement.clear();
                    }
                    continue;
                }
                std::mem::take(&mut statement)
            }
        };
        let _ = editor.add_history_entry(asked.trim());
        let stop = async {
            // Without a signal handler there is no Ctrl-C either.
            let _ = tokio::signal::ctrl_c().await;
        };
        match print(archive, asked.trim().trim_end_matches(';'), format, stop).await {
            Ok(false) => {}
            Ok(true) => eprintln!("cancelled"),
            Err(error) => eprintln!("error: {}", output::lines(&Failure::from(error).to_string())),
        }
    }
    // Statements are not worth failing for.
    let _ = editor.save_history(&history);
    Ok(())
}

/// Returns the statement that lists the relations, or the columns of one.
fn described(backend: &str, name: &str) -> Result<String, Failure> {
    if !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
        return Err(Failure::usage("the name of a relation has letters, digits and _"));
    }
    Ok(match (backend, name) {
        ("SQLite", "") => "select name as relation from sqlite_schema where type = 'view' order by name".to_owned(),
        ("SQLite", name) => format!("select name as column, type from pragma_table_info('{name}')"),
        (_, "") => "select table_name as relation from information_schema.views where table_schema = current_schema() \
                    order by table_name"
            .to_owned(),
        (_, name) => format!(
            "select column_name as column, data_type as type from information_schema.columns \
             where table_schema = current_schema() and table_name = '{name}' order by ordinal_position"
        ),
    })
}
