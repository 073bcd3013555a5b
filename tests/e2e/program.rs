//! Running `brotr` in a directory of its own.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use brotr_tests::Signal;
use nostr::Timestamp;
use serde_json::Value;

/// A directory with a `brotr.yaml`.
pub(crate) struct Place {
    dir: tempfile::TempDir,
}

/// A command on a terminal.
pub(crate) struct Terminal {
    child: Child,
    path: PathBuf,
    /// Bytes of what it has shown that were waited for.
    read: usize,
}

impl Terminal {
    /// Types a text.
    pub(crate) fn say(&mut self, text: &str) {
        self.child.stdin.as_mut().expect("piped").write_all(text.as_bytes()).expect("it runs");
    }

    /// Returns true once the terminal shows a text, after the last one that was waited for.
    pub(crate) fn shows(&mut self, text: &str, within: Duration) -> bool {
        let end = Instant::now() + within;
        loop {
            let shown = self.shown();
            if let Some(place) = shown[self.read..].find(text) {
                self.read += place + text.len();
                return true;
            }
            if Instant::now() >= end {
                return false;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Returns all that it has shown.
    pub(crate) fn shown(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.path).expect("created")).into_owned()
    }

    /// Returns the exit status of the command, or `None` if it still runs after 20 s.
    pub(crate) fn status(&mut self) -> Option<i32> {
        let end = Instant::now() + Duration::from_secs(20);
        while Instant::now() < end {
            if let Some(status) = self.child.try_wait().expect("a child") {
                return status.code();
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        None
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // Nothing is left if it has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The result of a command.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) status: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ran {
    /// Parses the lines of stdout as JSON.
    pub(crate) fn json(&self) -> Vec<Value> {
        let parse = |line: &str| serde_json::from_str(line).unwrap_or_else(|e| panic!("{line:?} is no JSON: {e}"));
        self.stdout.lines().map(parse).collect()
    }

    pub(crate) fn ok(self) -> Self {
        assert_eq!(self.status, 0, "{self:?}");
        self
    }
}

impl Place {
    /// Returns an empty directory.
    pub(crate) fn empty() -> Self {
        Self { dir: tempfile::tempdir().expect("a directory") }
    }

    /// Returns a directory whose configuration reaches loopback only, with short timeouts. `more` is YAML, appended.
    pub(crate) fn with(more: &str) -> Self {
        let place = Self::empty();
        let config = format!(
            "version: 1\nnetwork:\n  allow: [127.0.0.0/8]\n  clearnet: {{connect_timeout: 2s, request_timeout: 3s}}\n\
             initializer: {{seeds: []}}\nhttp: {{listen: \"127.0.0.1:0\"}}\nstorage: {{min_free: 1 MiB{}}}\n{}\n",
            more.lines()
                .find_map(|l| l.strip_prefix("#storage "))
                .map(|url| format!(", url: \"{url}\""))
                .unwrap_or_default(),
            more.lines().filter(|l| !l.starts_with('#')).collect::<Vec<_>>().join("\n"),
        );
        place.write("brotr.yaml", &config);
        place
    }

    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.dir.path().join(name);
        std::fs::write(&path, text).expect("written");
        path
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_brotr"));
        command.args(args).current_dir(self.dir.path()).env_clear().env("RUST_BACKTRACE", "0");
        command
    }

    /// Runs a command, which must end within four minutes.
    pub(crate) fn run(&self, args: &[&str]) -> Ran {
        self.run_with(args, "", &[])
    }

    pub(crate) fn run_with(&self, args: &[&str], stdin: &str, environment: &[(&str, &str)]) -> Ran {
        let mut child = self
            .command(args)
            .envs(environment.iter().copied())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("started");
        let mut input = child.stdin.take().expect("piped");
        let text = stdin.to_owned();
        let writer = std::thread::spawn(move || {
            // A command that does not read its input is no failure of the test.
            let _ = input.write_all(text.as_bytes());
        });
        let id = rustix::process::Pid::from_child(&child);
        let (done, waiting) = std::sync::mpsc::sync_channel::<()>(1);
        let watch = std::thread::spawn(move || {
            if waiting.recv_timeout(Duration::from_secs(60 * SLOW_MACHINE)).is_err() {
                let _ = rustix::process::kill_process(id, Signal::KILL);
            }
        });
        let output = child.wait_with_output().expect("ended");
        let _ = done.send(());
        let _ = (writer.join(), watch.join());
        Ran {
            status: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8(output.stdout).expect("text"),
            stderr: String::from_utf8(output.stderr).expect("text"),
        }
    }

    /// Runs a command on a terminal of this width, and returns what the terminal received.
    pub(crate) fn run_on_terminal(&self, args: &[&str], columns: u16) -> String {
        self.run_on_terminal_by("", args, columns)
    }

    /// As `run_on_terminal`, with another program that runs the command, such as `timeout 3`.
    pub(crate) fn run_on_terminal_by(&self, runner: &str, args: &[&str], columns: u16) -> String {
        let output =
            self.on_terminal(runner, args, columns).stdin(Stdio::null()).output().expect("util-linux has script");
        String::from_utf8(output.stdout).expect("text")
    }

    /// Starts a command on a terminal at which someone types.
    pub(crate) fn terminal(&self, args: &[&str]) -> Terminal {
        let path = self.dir.path().join("terminal");
        let shown = std::fs::File::create(&path).expect("created");
        let mut command = self.on_terminal("", args, 100);
        let child = command.stdin(Stdio::piped()).stdout(shown).spawn().expect("util-linux has script");
        Terminal { child, path, read: 0 }
    }

    fn on_terminal(&self, runner: &str, args: &[&str], columns: u16) -> Command {
        let quoted = |arg: &&str| format!("'{}'", arg.replace('\'', r"'\''"));
        let args = args.iter().map(quoted).collect::<Vec<_>>().join(" ");
        let command = format!("stty cols {columns} rows 50; exec {runner} '{}' {args}", env!("CARGO_BIN_EXE_brotr"));
        let mut script = Command::new("script");
        script.args(["-qec", &command, "/dev/null"]).current_dir(self.dir.path()).env_clear().env("TERM", "xterm");
        script
    }

    /// Starts the daemon, with its log in a file.
    pub(crate) fn daemon(&self) -> Daemon<'_> {
        self.daemon_with(&[])
    }

    /// Starts the daemon with a limit on open files.
    pub(crate) fn daemon_with_files(&self, files: u32) -> Daemon<'_> {
        let log = std::fs::File::create(self.dir.path().join("log")).expect("a log");
        let child = Command::new("sh")
            .args(["-c", &format!("ulimit -n {files}; exec \"$0\" run"), env!("CARGO_BIN_EXE_brotr")])
            .current_dir(self.dir.path())
            .env_clear()
            .stdin(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("started");
        Daemon { child, place: self }
    }

    /// The same with more in its environment.
    pub(crate) fn daemon_with(&self, environment: &[(&str, &str)]) -> Daemon<'_> {
        let log = std::fs::File::create(self.dir.path().join("log")).expect("a log");
        let child = self
            .command(&["run"])
            .envs(environment.iter().copied())
            .stdin(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("started");
        Daemon { child, place: self }
    }
}

/// A running daemon; killed, by id, if the test does not end it.
pub(crate) struct Daemon<'a> {
    child: Child,
    place: &'a Place,
}

impl Daemon<'_> {
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.place.path().join("log")).unwrap_or_default()
    }

    /// The entries of a log in JSON (`log.format: json`) with a message that begins so, in order.
    pub(crate) fn entries(&self, message: &str) -> Vec<Entry> {
        let log = self.log();
        let entries = log.lines().filter_map(|line| {
            let line: serde_json::Value = serde_json::from_str(line).ok()?;
            let text = |value: &serde_json::Value| value.as_str().map(str::to_owned);
            let at = humantime::parse_rfc3339(line["timestamp"].as_str()?).ok()?;
            let message = text(&line["fields"]["message"])?;
            Some(Entry { at, message, relay: text(&line["fields"]["relay"]).unwrap_or_default() })
        });
        entries.filter(|entry| entry.message.starts_with(message)).collect()
    }

    /// Returns its process id.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        brotr_tests::signal(&self.child, signal).expect("it runs");
    }

    /// Sends a signal and waits; returns the exit status and how long it took.
    pub(crate) fn end(mut self, signal: Signal) -> (Option<i32>, Duration) {
        let began = Instant::now();
        brotr_tests::signal(&self.child, signal).expect("it runs");
        let status = self.child.wait().expect("ended");
        (status.code(), began.elapsed())
    }

    /// Returns its peak memory, in KiB.
    pub(crate) fn peak_memory_kib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("it runs");
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("Linux says so");
        peak.trim().trim_end_matches(" kB").parse().expect("a number")
    }

    /// Returns the address that it logged.
    pub(crate) fn http(&self) -> String {
        let log = self.log();
        let (_, rest) = log.split_once("dashboard: ").expect("it says where it listens");
        rest.split("/,").next().expect("a path").to_owned()
    }
}

/// An entry of a log in JSON.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) at: std::time::SystemTime,
    pub(crate) message: String,
    /// The relay that it is about; empty if it is about none.
    pub(crate) relay: String,
}

impl Drop for Daemon<'_> {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- the daemon's log\n{}", self.log());
        }
    }
}

/// How many times longer than on an idle machine a condition may take to come true: tests also run on one core, and beside
/// other work.
const SLOW_MACHINE: u64 = 4;

/// Polls until `ask` returns something. `seconds` is generous for an idle machine; a slower one gets [`SLOW_MACHINE`] times that.
pub(crate) async fn soon<T>(seconds: u64, what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let seconds = seconds * SLOW_MACHINE;
    let end = Instant::now() + Duration::from_secs(seconds);
    loop {
        if let Some(found) = ask().await {
            return found;
        }
        assert!(Instant::now() < end, "no {what} within {seconds} s");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Waits until the clock shows another second: events and coverage count whole seconds.
pub(crate) async fn next_second() {
    let now = Timestamp::now();
    while Timestamp::now() == now {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
