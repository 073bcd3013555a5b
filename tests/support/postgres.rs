//! A PostgreSQL server of the test's own, in a temporary directory, without durability.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};

/// A running server; it ends when this is dropped.
pub struct Postgres {
    server: Child,
    port: u16,
    dir: tempfile::TempDir,
}

impl Postgres {
    /// Starts a server.
    ///
    /// # Errors
    /// Fails if PostgreSQL 15 or later is not installed, or does not start within 30 seconds.
    pub fn start() -> anyhow::Result<Self> {
        Self::start_with(&[])
    }

    /// Starts a server with settings of its own, such as `work_mem=1MB`.
    ///
    /// # Errors
    /// As [`Postgres::start`].
    pub fn start_with(settings: &[&str]) -> anyhow::Result<Self> {
        let bin = programs()?;
        let dir = tempfile::tempdir()?;
        std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o777))?;
        let data = dir.path().join("data");
        let init = as_server(&bin.join("initdb"))
            .args(["--auth=trust", "--username=brotr", "--encoding=UTF8", "--locale=C", "--no-sync", "-D"])
            .arg(&data)
            .current_dir(dir.path())
            .output()
            .context("failed to run initdb")?;
        ensure!(init.status.success(), "initdb failed: {}", String::from_utf8_lossy(&init.stderr));
        let port = crate::port::free_one()?;
        std::fs::write(dir.path().join("settings"), settings.join("\n"))?;
        let server = Self::spawn(dir.path(), port)?;
        let mut this = Self { server, port, dir };
        this.wait()?;
        Ok(this)
    }

    fn spawn(dir: &Path, port: u16) -> anyhow::Result<Child> {
        let more = std::fs::read_to_string(dir.join("settings")).unwrap_or_default();
        let log = std::fs::File::create(dir.join("log"))?;
        as_server(&programs()?.join("postgres"))
            .arg("-D")
            .arg(dir.join("data"))
            .args(["-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories=", "-c", "max_connections=200"])
            .args(["-c", "fsync=off", "-c", "synchronous_commit=off", "-c", "full_page_writes=off"])
            .args(["-p", &port.to_string()])
            .args(more.lines().flat_map(|setting| ["-c", setting]))
            .current_dir(dir)
            .env("HOME", dir)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("failed to start postgres")
    }

    /// Starts a replica of this server.
    ///
    /// # Errors
    /// As [`Postgres::start`].
    pub fn follower(&self) -> anyhow::Result<Self> {
        let dir = tempfile::tempdir()?;
        std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o777))?;
        let copied = as_server(&programs()?.join("pg_basebackup"))
            .args(["-h", "127.0.0.1", "-p", &self.port.to_string(), "-U", "brotr", "--write-recovery-conf"])
            .args(["--checkpoint=fast", "--no-sync", "-D"])
            .arg(dir.path().join("data"))
            .current_dir(dir.path())
            .output()?;
        ensure!(copied.status.success(), "pg_basebackup failed: {}", String::from_utf8_lossy(&copied.stderr));
        let port = crate::port::free_one()?;
        let server = Self::spawn(dir.path(), port)?;
        let mut this = Self { server, port, dir };
        this.wait()?;
        Ok(this)
    }

    /// Returns what it has logged since it was last started.
    ///
    /// # Errors
    /// Fails if the log cannot be read.
    pub fn log(&self) -> anyhow::Result<String> {
        Ok(std::fs::read_to_string(self.dir.path().join("log"))?)
    }

    /// Returns the port it listens on.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Returns the URL of a database.
    #[must_use]
    pub fn url(&self, database: &str) -> String {
        format!("postgres://brotr@127.0.0.1:{}/{database}", self.port)
    }

    /// Stops the server as an operator would, breaking its connections, and starts it again after `pause`.
    ///
    /// # Errors
    /// Fails if it does not come back.
    pub fn restart(&mut self, pause: Duration) -> anyhow::Result<()> {
        crate::signal(&self.server, crate::Signal::INT)?;
        self.server.wait()?;
        std::thread::sleep(pause);
        self.server = Self::spawn(self.dir.path(), self.port)?;
        self.wait()
    }

    fn wait(&mut self) -> anyhow::Result<()> {
        let end = Instant::now() + Duration::from_secs(30);
        let log = self.dir.path().join("log");
        while Instant::now() < end {
            let said = std::fs::read_to_string(&log).unwrap_or_default();
            if said.contains("database system is ready to accept") {
                return Ok(());
            }
            if let Some(status) = self.server.try_wait()? {
                bail!("postgres ended with {status}:\n{said}");
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        bail!("postgres was not ready within 30 s:\n{}", std::fs::read_to_string(&log).unwrap_or_default())
    }

    /// Creates an empty database and returns its URL.
    ///
    /// # Errors
    /// Fails if `createdb` fails.
    pub fn database(&self, name: &str) -> anyhow::Result<String> {
        let made = Command::new(programs()?.join("createdb"))
            .args(["-h", "127.0.0.1", "-p", &self.port.to_string(), "-U", "brotr", name])
            .output()?;
        ensure!(made.status.success(), "createdb failed: {}", String::from_utf8_lossy(&made.stderr));
        Ok(self.url(name))
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // An immediate shutdown: the data goes with the directory.
        if crate::signal(&self.server, crate::Signal::QUIT).is_err() {
            let _ = self.server.kill();
        }
        let _ = self.server.wait();
    }
}

/// A coordinator and two workers of Citus.
pub struct Cluster([Postgres; 3]);

impl Cluster {
    /// Returns true if Citus is installed; Debian has no package of it.
    #[must_use]
    pub fn is_installed() -> bool {
        let extensions = Path::new("/usr/share/postgresql");
        let version = programs().ok().and_then(|bin| Some(bin.parent()?.file_name()?.to_owned()));
        version.is_some_and(|version| extensions.join(version).join("extension/citus.control").exists())
    }

    /// Starts a cluster.
    ///
    /// # Errors
    /// As [`Postgres::start`].
    pub fn start() -> anyhow::Result<Self> {
        let start = || Postgres::start_with(&["shared_preload_libraries=citus", "citus.node_conninfo=sslmode=disable"]);
        Ok(Self([start()?, start()?, start()?]))
    }

    /// Creates an empty database on all servers and returns its URL on the coordinator.
    ///
    /// # Errors
    /// Fails if a statement fails.
    pub fn database(&self, name: &str) -> anyhow::Result<String> {
        let [coordinator, workers @ ..] = &self.0;
        for server in &self.0 {
            say(&server.database(name)?, "create extension citus")?;
        }
        let url = coordinator.url(name);
        say(&url, &format!("select citus_set_coordinator_host('127.0.0.1', {})", coordinator.port))?;
        for worker in workers {
            say(&url, &format!("select citus_add_node('127.0.0.1', {})", worker.port))?;
        }
        Ok(url)
    }
}

fn say(url: &str, sql: &str) -> anyhow::Result<()> {
    let said = Command::new("psql").args([url, "--quiet", "--no-psqlrc", "-c", sql]).output()?;
    ensure!(said.status.success(), "{sql}: {}", String::from_utf8_lossy(&said.stderr));
    Ok(())
}

/// Returns the directory of the newest server's programs.
fn programs() -> anyhow::Result<PathBuf> {
    let mut versions: Vec<(u32, PathBuf)> = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| Some((entry.file_name().to_str()?.parse().ok()?, entry.path().join("bin"))))
        .filter(|(_, bin)| bin.join("initdb").exists())
        .collect();
    versions.sort();
    match versions.pop() {
        Some((version, bin)) if version >= 15 => Ok(bin),
        Some((version, _)) => bail!("PostgreSQL {version} is installed, 15 or later is needed"),
        None => bail!("PostgreSQL is not installed: tests/run installs it (apt-get install postgresql)"),
    }
}

/// Returns a command that runs as the server's user: PostgreSQL refuses to run as root. If the tests are killed, the server is
/// ended with them.
pub(crate) fn as_server(program: &Path) -> Command {
    let mut command = Command::new("setpriv");
    if std::fs::metadata("/proc/self").is_ok_and(|me| std::os::unix::fs::MetadataExt::uid(&me) == 0) {
        command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups"]);
    }
    command.arg(program);
    command
}
