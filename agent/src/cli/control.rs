//! Commands that write, beside a running daemon: the daemon holds the archive, and does what they ask on its socket.
//!
//! The socket is `brotr.sock` in the data directory, for its owner alone. A client sends one line of JSON, [`Request`], and then
//! its input; the daemon answers in lines of JSON, [`Answer`], the last of which has the exit status. The end of the input
//! interrupts a command that reads none.

use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use brotr_storage::StorageError;
use clap::Parser;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Notify, Semaphore};
use tokio::task::JoinSet;
use tokio_util::io::SyncIoBridge;
use tokio_util::sync::CancellationToken;

use super::remote::{Answer, Remote};
use super::{Cli, Command, Done, Failure, output, relays};
use crate::agent::Agent;
use crate::config::Config;

/// Commands that run at a time.
const AT_ONCE: usize = 4;
/// A client must send its request within this time.
const PATIENCE: Duration = Duration::from_secs(10);
/// The longest request, in bytes.
const LONGEST: u64 = 1 << 20;
/// The longest path of a socket.
const LONGEST_PATH: usize = 107;

/// Connections at a time; more of them are closed.
const CONNECTIONS: usize = 64;
/// How long a command may go on that its client has interrupted.
const GRACE: Duration = Duration::from_secs(10);
/// A client that reads nothing for this long ends its command.
const STALLED: Duration = Duration::from_secs(60);
/// Pause after an accept that failed for lack of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(500);
/// The longest line of an input that is kept together: an interrupt does not cut lines.
const LONGEST_LINE: usize = 8 << 20;

/// What a client asks for.
#[derive(Debug, Serialize, Deserialize)]
struct Request {
    /// The archive that it means: daemons of two may share a data directory.
    archive: Option<PathBuf>,
    /// The command line, without the name of the program.
    args: Vec<String>,
}

/// Returns true if a command failed because another process holds the archive.
pub(super) fn is_locked(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        let locked = |error: &StorageError| matches!(error, StorageError::Locked(_));
        cause.downcast_ref::<StorageError>().is_some_and(locked)
            || matches!(cause.downcast_ref(), Some(crate::error::Error::Storage(error)) if locked(error))
    })
}

/// Returns the path of the embedded archive.
fn archive(config: &Config) -> Option<PathBuf> {
    let path = config.sqlite_file()?;
    Some(path.canonicalize().unwrap_or_else(|_| path.to_owned()))
}

fn socket(config: &Config) -> PathBuf {
    config.data_dir.join("brotr.sock")
}

/// Returns true if a daemon listens.
pub(super) async fn is_answered(config: &Config) -> bool {
    UnixStream::connect(socket(config)).await.is_ok()
}

/// Has the daemon run a command. Returns `None` if no daemon listens.
///
/// # Errors
/// Fails if the connection breaks, or an input cannot be read.
pub(super) async fn ask(config: &Config, json: bool, command: &Command) -> Result<Option<Done>> {
    let Ok(stream) = UnixStream::connect(socket(config)).await else { return Ok(None) };
    let (mut args, input) = match command {
        Command::Find => (vec!["find".to_owned()], None),
        Command::Monitor(args) => ([&["monitor".to_owned()], &args.urls[..]].concat(), None),
        Command::Sync(args) => ([&["sync".to_owned()], &args.urls[..]].concat(), None),
        Command::Relays(relays::Command::Add { sources }) => {
            // The daemon may be in another directory, and not be allowed to read what its client may.
            let text = relays::read(sources.clone()).await?;
            let input: Box<dyn Read + Send> = Box::new(std::io::Cursor::new(text));
            (["relays", "add", "-"].map(str::to_owned).to_vec(), Some(input))
        }
        Command::Import(args) => {
            let relay = args.relay.iter().flat_map(|relay| ["--relay".to_owned(), relay.clone()]);
            ([vec!["import".to_owned()], relay.collect()].concat(), Some(args.open()?.0))
        }
        _ => return Ok(None),
    };
    if json {
        args.push("--json".to_owned());
    }
    let (read, mut write) = stream.into_split();
    let mut line = serde_json::to_vec(&Request { archive: archive(config), args })?;
    line.push(b'\n');
    let interrupt = output::Interrupt::new();
    let send = async {
        // If the daemon does not take it, its answer says why.
        if write.write_all(&line).await.is_err() {
            return Ok(false);
        }
        match input {
            Some(input) => copy(input, write, &interrupt).await,
            None => {
                interrupt.wait().await;
                drop(write);
                Ok(true)
            }
        }
    };
    let mut receive = std::pin::pin!(receive(read));
    let done = tokio::select! {
        done = &mut receive => done?,
        interrupted = send => match (interrupted?, receive.await?) {
            (true, Done::Well) => Done::Badly,
            (_, done) => done,
        },
    };
    Ok(Some(done))
}

/// Copies the input to the daemon until its end, or until the user interrupts it; returns true if that was so.
async fn copy(input: Box<dyn Read + Send>, mut write: OwnedWriteHalf, interrupt: &output::Interrupt) -> Result<bool> {
    let (sender, mut portions) = tokio::sync::mpsc::channel(4);
    // A thread of its own, which the end of the program does not wait for: a read from stdin may block forever.
    std::thread::Builder::new().name("brotr-input".into()).spawn(move || read_portions(input, &sender))?;
    let mut interrupted = false;
    while !interrupted {
        let portion = tokio::select! {
            portion = portions.recv() => portion,
            () = interrupt.wait() => {
                interrupted = true;
                None
            }
        };
        let Some(portion) = portion.transpose().context("failed to read")? else { break };
        let mut writing = std::pin::pin!(write.write_all(&portion));
        let written = loop {
            tokio::select! {
                written = &mut writing => break written,
                () = interrupt.wait() => interrupted = true,
            }
        };
        if written.is_err() {
            // Its answer says why it takes no more.
            return Ok(interrupted);
        }
    }
    let _ = write.shutdown().await;
    Ok(interrupted)
}

/// Reads an input in portions of whole lines, until its end or until nobody takes them.
fn read_portions(mut input: Box<dyn Read + Send>, sender: &tokio::sync::mpsc::Sender<std::io::Result<Vec<u8>>>) {
    let mut rest = Vec::new();
    loop {
        let start = rest.len();
        rest.resize(start + (64 << 10), 0);
        let portion = match input.read(&mut rest[start..]) {
            Ok(n) => {
                rest.truncate(start + n);
                let is_last = n == 0;
                let end = rest.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
                let end = if is_last || rest.len() > LONGEST_LINE { rest.len() } else { end };
                let portion: Vec<u8> = rest.drain(..end).collect();
                if is_last {
                    if !portion.is_empty() {
                        let _ = sender.blocking_send(Ok(portion));
                    }
                    return;
                }
                Ok(portion)
            }
            Err(error) => Err(error),
        };
        let failed = portion.is_err();
        if portion.as_ref().is_ok_and(Vec::is_empty) {
            continue;
        }
        if sender.blocking_send(portion).is_err() || failed {
            return;
        }
    }
}

/// Prints an answer.
async fn receive(read: OwnedReadHalf) -> Result<Done> {
    let mut lines = BufReader::new(read).lines();
    while let Some(line) = lines.next_line().await? {
        match serde_json::from_str(&line).context("the daemon answered with something else")? {
            Answer::Out(text) => output::line(&text)?,
            Answer::Err(text) => eprintln!("{}", output::lines(&text)),
            Answer::Status(0) => return Ok(Done::Well),
            Answer::Status(2) => return Err(Failure::Reported(2).into()),
            Answer::Status(_) => return Ok(Done::Badly),
        }
    }
    anyhow::bail!("the daemon stopped before the command was done")
}

/// Listens on the socket. The caller holds the archive, so that nobody else does.
///
/// # Errors
/// Fails if the socket cannot be made.
pub(super) fn bind(config: &Config) -> std::io::Result<std::os::unix::net::UnixListener> {
    let path = socket(config);
    if path.as_os_str().len() > LONGEST_PATH {
        return Err(std::io::Error::other(format!("{} is longer than {LONGEST_PATH} bytes", path.display())));
    }
    if std::os::unix::net::UnixStream::connect(&path).is_ok() {
        return Err(std::io::Error::other(format!("another daemon listens on {}", path.display())));
    }
    // An earlier daemon may have been killed.
    remove(&path)?;
    let listener = std::os::unix::net::UnixListener::bind(&path)?;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

fn remove(path: &Path) -> std::io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Removes the socket.
pub(super) fn unbind(config: &Config) {
    if let Err(error) = remove(&socket(config)) {
        tracing::debug!(%error, "failed to remove the socket");
    }
}

/// Runs what clients ask for. Runs forever.
///
/// # Errors
/// Fails if the socket cannot be listened on.
pub(super) async fn serve(agent: Agent, listener: std::os::unix::net::UnixListener) -> crate::error::Result<()> {
    let failed = |error| crate::error::Error::file("listen on", &socket(&agent.config))(error);
    let listener = UnixListener::from_std(listener).map_err(failed)?;
    let places = Arc::new(Semaphore::new(AT_ONCE));
    let mut clients = JoinSet::new();
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::debug!(%error, "failed to accept a connection on the socket");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        while clients.try_join_next().is_some() {}
        if clients.len() >= CONNECTIONS {
            continue;
        }
        let (agent, places) = (agent.clone(), places.clone());
        clients.spawn(async move {
            if let Err(error) = answer(agent, stream, places).await {
                tracing::debug!(%error, "a command on the socket ended early");
            }
        });
    }
}

async fn answer(agent: Agent, stream: UnixStream, places: Arc<Semaphore>) -> Result<()> {
    let (read, mut write) = stream.into_split();
    let mut read = BufReader::new(read);
    let mut line = String::new();
    tokio::time::timeout(PATIENCE, (&mut read).take(LONGEST).read_line(&mut line)).await??;
    let parsed = parse(&line, &agent.config);
    let place = places.try_acquire_owned();
    let takes_input = matches!(parsed, Ok(Cli { command: Command::Import(_) | Command::Relays(_), .. }));
    let interrupted = Arc::new(Notify::new());
    let mut waiting = None;
    let input: Option<Box<dyn Read + Send>> = if takes_input {
        Some(Box::new(SyncIoBridge::new(read)))
    } else {
        waiting = Some(read);
        None
    };
    let remote = Remote::new(agent, input, interrupted.clone());
    let stop = CancellationToken::new();
    // Ends the command if this ends.
    let _guard = stop.clone().drop_guard();
    let (here, runtime, is_stopped) = (remote.clone(), tokio::runtime::Handle::current(), stop.clone());
    // A thread of the blocking pool: the futures of commands are not made to move between threads.
    let command = tokio::task::spawn_blocking(move || {
        let command = here.scope(run(&here, parsed, place.is_err()));
        let ran = runtime.block_on(is_stopped.run_until_cancelled(command));
        here.end();
        ran.unwrap_or(Ok(()))
    });
    let watch = async {
        if let Some(mut read) = waiting {
            // A byte, the end or an error: all of them mean that the client is done.
            let _ = read.read(&mut [0]).await;
            interrupted.notify_one();
            tokio::time::sleep(GRACE).await;
            stop.cancel();
        }
        std::future::pending::<()>().await
    };
    let write_out = async {
        loop {
            let (lines, is_all) = remote.next().await;
            tokio::time::timeout(STALLED, write.write_all(&lines)).await??;
            if is_all {
                return anyhow::Ok(());
            }
        }
    };
    tokio::select! {
        written = write_out => written?,
        () = watch => {}
    }
    command.await?
}

/// Runs a command and sends its exit status.
async fn run(remote: &Remote, parsed: Result<Cli>, is_busy: bool) -> Result<()> {
    let ended = match parsed {
        _ if is_busy => Err(anyhow::anyhow!("the daemon runs {AT_ONCE} other commands: try again later")),
        Ok(cli) => super::dispatch(cli).await,
        Err(error) => Err(error),
    };
    let status = match ended {
        Ok(Done::Well) => 0,
        Ok(Done::Badly) => 1,
        Err(error) => {
            let failure = Failure::from(error);
            remote.err(&format!("error: {failure}"))?;
            if let Some(hint) = failure.hint() {
                remote.err(&format!("hint: {hint}"))?;
            }
            failure.status()
        }
    };
    remote.send(&Answer::Status(status))
}

/// Parses a request: one of the commands that clients may ask for, with the daemon's configuration.
fn parse(line: &str, config: &Config) -> Result<Cli> {
    let Request { archive: wanted, args } = serde_json::from_str(line).context("failed to read the request")?;
    if wanted != archive(config) {
        return Err(Failure::usage("the daemon on this socket has another archive").into());
    }
    let cli = Cli::try_parse_from([vec!["brotr".to_owned()], args].concat()).map_err(Failure::usage)?;
    match cli.command {
        Command::Find
        | Command::Monitor(_)
        | Command::Sync(_)
        | Command::Import(_)
        | Command::Relays(relays::Command::Add { .. }) => Ok(cli),
        _ => Err(Failure::usage("this command does not run in the daemon").into()),
    }
}
