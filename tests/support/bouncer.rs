//! pgbouncer as Debian has it, in transaction mode: each transaction of a client may get another of a few connections.

use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

use crate::Postgres;
use crate::postgres::as_server;

/// Connections to each database: fewer than its clients have.
const SHARED: usize = 4;

/// A running pgbouncer; it ends when this is dropped.
pub struct Bouncer {
    process: Child,
    port: u16,
    dir: tempfile::TempDir,
}

impl Bouncer {
    /// Starts a pgbouncer in front of a server.
    ///
    /// # Errors
    /// Fails if pgbouncer is not installed, or does not listen within 10 seconds.
    pub fn start(server: &Postgres) -> anyhow::Result<Self> {
        let dir = tempfile::tempdir()?;
        std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o755))?;
        let port = crate::port::free_one()?;
        let (users, settings) = (dir.path().join("users"), dir.path().join("pgbouncer.ini"));
        std::fs::write(&users, "\"brotr\" \"\"\n")?;
        let text = format!(
            "[databases]\n* = host=127.0.0.1 port={}\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\n\
             unix_socket_dir =\nauth_type = trust\nauth_file = {}\npool_mode = transaction\n\
             default_pool_size = {SHARED}\nmax_client_conn = 200\n",
            server.port(),
            users.display(),
        );
        std::fs::write(&settings, text)?;
        let process = as_server("pgbouncer".as_ref())
            .arg(&settings)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(dir.path().join("log"))?)
            .spawn()
            .context("failed to start pgbouncer: tests/run installs it (apt-get install pgbouncer)")?;
        let mut this = Self { process, port, dir };
        let end = Instant::now() + Duration::from_secs(10);
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            if Instant::now() > end || this.process.try_wait()?.is_some() {
                bail!("pgbouncer does not listen:\n{}", std::fs::read_to_string(this.dir.path().join("log"))?);
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(this)
    }

    /// Returns the URL of a database through the pooler.
    #[must_use]
    pub fn url(&self, database: &str) -> String {
        format!("postgres://brotr@127.0.0.1:{}/{database}", self.port)
    }
}

impl Drop for Bouncer {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
