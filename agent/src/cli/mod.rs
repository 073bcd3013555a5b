//! The command line: one file for each subcommand.

mod authors;
mod backup;
mod check;
mod config;
mod control;
mod count;
mod coverage;
mod doctor;
mod dvm;
mod export;
mod failure;
mod find;
mod import;
mod init;
mod job;
mod keys;
mod list;
mod monitor;
mod output;
mod push;
mod query;
mod relays;
mod remote;
mod rescue;
mod run;
mod show;
mod sql;
mod stats;
mod sync;
mod table;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, Result};
use brotr_storage::Archive;
use clap::{CommandFactory, Parser, Subcommand};

use failure::Failure;
use remote::Remote;

use crate::agent::Agent;
use crate::config::{Config, LogFormat};

/// A keyed Nostr agent: finds and monitors relays, archives their events, and answers jobs from the archive.
#[derive(Debug, Parser)]
#[command(name = "brotr", version, about, max_term_width = 100)]
pub struct Cli {
    #[command(flatten)]
    shared: Shared,
    #[command(subcommand)]
    command: Command,
}

/// Options of every command.
#[derive(Debug, Clone, clap::Args)]
pub struct Shared {
    /// The configuration file; ./brotr.yaml if it exists, else the defaults
    #[arg(long, global = true, value_name = "FILE", env = "BROTR_CONFIG")]
    config: Option<PathBuf>,
    /// The directory of the key file and the embedded database; overrides the configuration
    #[arg(long, global = true, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Print only JSON on stdout
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, Clone, Subcommand)]
enum Command {
    /// Write a commented brotr.yaml and a key, create and verify the database
    Init,
    /// Run the daemon: every enabled service
    Run,
    /// Add, list and show relays
    #[command(subcommand)]
    Relays(relays::Command),
    /// Check relays now and print a report
    Check(check::Args),
    /// Find relays: one pass, then exit
    Find,
    /// Check relays that are due, or the given ones: one pass, then exit
    Monitor(monitor::Args),
    /// Archive the events of relays: one pass, then exit
    Sync(sync::Args),
    /// Print archived events as JSON lines, newest first
    Query(query::Args),
    /// Print earlier versions of an author's profile, follows, relays or other replaceable event, and what changed
    History(authors::HistoryArgs),
    /// Read events from JSON lines
    Import(import::Args),
    /// Write archived events as JSON lines, newest first
    Export(export::Args),
    /// Send a relay the archived events that it lacks (NIP-77)
    Push(push::Args),
    /// Find the events that only failing or closing relays hold; write them to a file, or publish them to other relays
    Rescue(rescue::Args),
    /// Send a job request (NIP-90) and print the answers
    Job(job::Args),
    /// Write the whole archive, except the key, to a file; works beside a running daemon
    Backup(backup::Args),
    /// Create the archive from a backup; there must be no archive yet
    Restore(backup::Args),
    /// Run a read-only SQL statement; docs/DATABASE.md describes the relations
    Sql(sql::Args),
    /// Print statistics of the archive
    Stats,
    /// Print coverage and gaps by relay
    Coverage(coverage::Args),
    /// List and show the jobs that were requested here
    #[command(subcommand)]
    Dvm(dvm::Command),
    /// Show, make, import and encrypt the agent's key
    #[command(subcommand)]
    Keys(keys::Command),
    /// Check, show and describe the configuration
    #[command(subcommand)]
    Config(config::Command),
    /// Check everything that the agent needs, and say how to fix what is wrong
    Doctor(doctor::Args),
    /// Print a completion script for a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Write the manual pages into a directory
    Man {
        /// The directory; created if it does not exist
        directory: PathBuf,
    },
}

/// The outcome of a command that did not fail with an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Done {
    /// Exit status 0.
    Well,
    /// Exit status 1; the output says what is wrong.
    Badly,
}

impl Done {
    fn of(well: bool) -> Self {
        if well { Self::Well } else { Self::Badly }
    }
}

/// Runs the program.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("error: failed to start: {error}");
            return ExitCode::FAILURE;
        }
    };
    let result = runtime.block_on(run_here_or_there(cli));
    // A thread that blocks in a name lookup must not keep the program alive.
    runtime.shutdown_background();
    match result {
        Ok(Done::Well) => ExitCode::SUCCESS,
        Ok(Done::Badly) => ExitCode::FAILURE,
        Err(error) => {
            let failure = Failure::from(error);
            if !matches!(failure, Failure::ClosedPipe | Failure::Reported(_)) {
                eprintln!("error: {}", output::lines(&failure.to_string()));
                if let Some(hint) = failure.hint() {
                    eprintln!("hint: {hint}");
                }
            }
            ExitCode::from(failure.status())
        }
    }
}

/// Runs a command, or has the daemon run it that holds the archive.
async fn run_here_or_there(cli: Cli) -> Result<Done> {
    let (shared, command) = (cli.shared.clone(), cli.command.clone());
    match dispatch(cli).await {
        Err(error) if control::is_locked(&error) => {
            let config = Config::load(shared.config.as_deref(), shared.data_dir.as_deref())?;
            control::ask(&config, shared.json, &command).await?.ok_or(error)
        }
        done => done,
    }
}

async fn dispatch(cli: Cli) -> Result<Done> {
    let shared = &cli.shared;
    match cli.command {
        Command::Init => init::main(shared).await,
        Command::Run => run::main(shared).await,
        Command::Relays(command) => relays::main(shared, command).await,
        Command::Check(args) => check::main(shared, args).await,
        Command::Find => find::main(shared).await,
        Command::Monitor(args) => monitor::main(shared, args).await,
        Command::Sync(args) => sync::main(shared, args).await,
        Command::Query(args) => query::main(shared, args).await,
        Command::History(args) => authors::history(shared, args).await,
        Command::Import(args) => import::main(shared, args).await,
        Command::Export(args) => export::main(shared, args).await,
        Command::Push(args) => push::main(shared, args).await,
        Command::Rescue(args) => rescue::main(shared, args).await,
        Command::Job(args) => job::main(shared, args).await,
        Command::Backup(args) => backup::backup(shared, args).await,
        Command::Restore(args) => backup::restore(shared, args).await,
        Command::Sql(args) => sql::main(shared, args).await,
        Command::Stats => stats::main(shared).await,
        Command::Coverage(args) => coverage::main(shared, args).await,
        Command::Dvm(command) => dvm::main(shared, command).await,
        Command::Keys(command) => keys::main(shared, command),
        Command::Config(command) => config::main(shared, command),
        Command::Doctor(args) => doctor::main(shared, args).await,
        Command::Completions { shell } => {
            // Through memory: the generator panics when its reader goes away.
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "brotr", &mut script);
            output::line(str::from_utf8(&script)?.trim_end())?;
            Ok(Done::Well)
        }
        Command::Man { directory } => {
            std::fs::create_dir_all(&directory)?;
            clap_mangen::generate_to(Cli::command(), &directory)
                .with_context(|| format!("failed to write manual pages into {}", directory.display()))?;
            Ok(Done::Well)
        }
    }
}

impl Shared {
    /// Loads the configuration for the daemon, and sets up logging as it says.
    fn load_daemon(&self) -> Result<Config> {
        let config = Config::load(self.config.as_deref(), self.data_dir.as_deref())?;
        log(&config, &config.log.level)?;
        Ok(config)
    }

    /// The same for a command that prints its result: it logs warnings and errors only, unless the configuration asks for more
    /// than the default.
    fn load(&self) -> Result<Config> {
        if let Some(remote) = Remote::current() {
            return Ok(remote.agent().config.as_ref().clone());
        }
        let config = Config::load(self.config.as_deref(), self.data_dir.as_deref())?;
        let level = if config.log.level == "info" { "warn" } else { &config.log.level };
        log(&config, level)?;
        Ok(config)
    }

    /// Opens the agent for a command that does one of its services' work.
    async fn agent(&self) -> Result<Agent> {
        match Remote::current() {
            Some(remote) => Ok(remote.agent().clone()),
            None => Ok(Agent::open(self.load()?).await?),
        }
    }

    /// Closes what a command has opened.
    async fn close(&self, archive: &dyn Archive) {
        // The daemon goes on.
        if Remote::current().is_none() {
            archive.close().await;
        }
    }

    /// Opens the archive for a command that needs nothing else. Read-only access does not create an archive.
    async fn archive(&self, config: &Config, access: Access) -> Result<Arc<dyn Archive>> {
        if let Some(remote) = Remote::current() {
            return Ok(remote.agent().archive.clone());
        }
        if access == Access::Write {
            return Ok(brotr_storage::open(config.storage_url(), config.archive_options()).await?);
        }
        if let Some(path) = config.sqlite_file()
            && !path.exists()
        {
            return Err(Failure::NoArchive(path.to_owned()).into());
        }
        Ok(brotr_storage::open_to_read(config.storage_url(), config.archive_options()).await?)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Access {
    Read,
    Write,
}

/// Writes the time in seconds (UTC).
struct Seconds;

impl tracing_subscriber::fmt::time::FormatTime for Seconds {
    fn format_time(&self, w: &mut tracing_subscriber::fmt::format::Writer<'_>) -> std::fmt::Result {
        w.write_str(&output::time(brotr_core::clock::system_ms().div_euclid(1_000)))
    }
}

fn log(config: &Config, level: &str) -> Result<()> {
    use tracing_subscriber::EnvFilter;
    let wrong = |error| Failure::usage(format_args!("log.level {level:?} is neither a level nor directives: {error}"));
    let mut filter = EnvFilter::try_new(level).map_err(wrong)?;
    if level == "info" {
        // These libraries log for their own developers at the level `info`.
        for quiet in ["sqlx=warn", "nostr_relay_pool=warn"] {
            filter = filter.add_directive(quiet.parse()?);
        }
    }
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let set = match config.log.format {
        // Where a line comes from is worth its room to those who look for something.
        LogFormat::Text => builder
            .with_ansi(table::takes_colour(&std::io::stderr()))
            .with_timer(Seconds)
            .with_target(!["info", "warn"].contains(&level))
            .try_init(),
        LogFormat::Json => builder.json().try_init(),
    };
    set.map_err(|e| anyhow::anyhow!("failed to set up logs: {e}"))
}
