//! A Tor network of the test's own on loopback: five directory authorities that are also relays, the first of them the exit,
//! and a process with onion services in front of ports of this machine. Nothing of it can leave the machine.

use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, bail, ensure};
use serde_json::{Value, json};

const AUTHORITIES: usize = 5;
/// What the test network takes to come up, several times over.
const PATIENCE: Duration = Duration::from_secs(120);

/// One directory authority.
struct Authority {
    dir: PathBuf,
    or_port: u16,
    dir_port: u16,
    v3_identity: String,
    rsa_identity: String,
    ed_identity: String,
}

/// A running network; it ends when this is dropped.
pub struct TorNetwork {
    authorities: Vec<Authority>,
    processes: Vec<Child>,
    /// The onion services' host names, in the order of their ports.
    pub onions: Vec<String>,
    dir: tempfile::TempDir,
}

impl TorNetwork {
    /// Starts a network with an onion service in front of each of these ports; port 80 of the service leads to it. The exit
    /// resolves names by `dns`.
    ///
    /// # Errors
    /// Fails if `tor` is not installed (`tests/run` installs it), or the network does not come up within two minutes.
    pub fn start(backends: &[u16], dns: SocketAddr) -> anyhow::Result<Self> {
        let dir = tempfile::tempdir()?;
        let ports = crate::port::free(AUTHORITIES * 2)?;
        let authorities = std::thread::scope(|scope| {
            let made: Vec<_> = (0..AUTHORITIES)
                .map(|n| {
                    let place = dir.path().join(format!("authority{n}"));
                    let ports = (ports[n * 2], ports[n * 2 + 1]);
                    scope.spawn(move || Authority::make(place, n, ports))
                })
                .collect();
            made.into_iter().map(|one| one.join().expect("no panic")).collect::<anyhow::Result<Vec<_>>>()
        })?;
        let mut this = Self { authorities, processes: Vec::new(), onions: Vec::new(), dir };
        this.launch(dns)?;
        this.serve(backends)?;
        Ok(this)
    }

    /// Returns arti's settings for this network.
    #[must_use]
    pub fn settings(&self) -> Value {
        let identities: Vec<&str> = self.authorities.iter().map(|one| one.v3_identity.as_str()).collect();
        let caches: Vec<Value> = self
            .authorities
            .iter()
            .map(|one| {
                json!({"rsa_identity": one.rsa_identity, "ed_identity": one.ed_identity,
                    "orports": [format!("127.0.0.1:{}", one.or_port)]})
            })
            .collect();
        json!({
            "address_filter": {"allow_local_addrs": true, "allow_onion_addrs": true},
            "path_rules": {"ipv4_subnet_family_prefix": 33, "ipv6_subnet_family_prefix": 129},
            "storage": {"permissions": {"dangerously_trust_everyone": true}},
            "tor_network": {"authorities": {"v3idents": identities}, "fallback_caches": caches},
        })
    }

    fn everybody(&self) -> String {
        let mut text = "TestingTorNetwork 1\nSocksPort 0\nShutdownWaitLength 0\n".to_owned();
        let _ = writeln!(text, "__OwningControllerProcess {}", std::process::id());
        for (n, one) in self.authorities.iter().enumerate() {
            let _ = writeln!(
                text,
                "DirAuthority a{n} orport={} v3ident={} 127.0.0.1:{} {}",
                one.or_port, one.v3_identity, one.dir_port, one.rsa_identity
            );
        }
        text
    }

    fn launch(&mut self, dns: SocketAddr) -> anyhow::Result<()> {
        // The first one is the exit and nobody's guard: a client whose guard is the only exit has no way out.
        let guards: Vec<&str> = self.authorities[1..].iter().map(|one| one.rsa_identity.as_str()).collect();
        let resolv = self.dir.path().join("resolv.conf");
        std::fs::write(&resolv, format!("nameserver {dns}\n"))?;
        let mut files = Vec::new();
        for (n, one) in self.authorities.iter().enumerate() {
            let mut text = self.everybody();
            let _ = write!(
                text,
                "DataDirectory {dir}\nLog notice file {dir}/log\nNickname a{n}\nAddress 127.0.0.1\nORPort 127.0.0.1:{or}\n\
                 DirPort 127.0.0.1:{dp}\nAuthoritativeDirectory 1\nV3AuthoritativeDirectory 1\n\
                 TestingV3AuthInitialVotingInterval 10\nTestingV3AuthInitialVoteDelay 2\nTestingV3AuthInitialDistDelay 2\n\
                 V3AuthVotingInterval 20\nV3AuthVoteDelay 4\nV3AuthDistDelay 4\n\
                 ConsensusParams hsdir_interval=8 cbtdisabled=1\nAuthDirFastGuarantee 1 bytes\n\
                 TestingDirAuthVoteGuard {guards}\nTestingDirAuthVoteGuardIsStrict 1\n",
                dir = one.dir.display(),
                or = one.or_port,
                dp = one.dir_port,
                guards = guards.join(","),
            );
            if n == 0 {
                // From this source nothing but loopback can be reached.
                let _ = write!(
                    text,
                    "ExitRelay 1\nExitPolicy accept *:*\nExitPolicyRejectPrivate 0\nOutboundBindAddressExit 127.0.0.1\n\
                     ServerDNSResolvConfFile {}\nServerDNSDetectHijacking 0\n",
                    resolv.display()
                );
            } else {
                text.push_str("ExitRelay 0\n");
            }
            let file = one.dir.join("torrc");
            std::fs::write(&file, text)?;
            files.push(file);
        }
        // Votes come some seconds before a multiple of ten: started just after one, all of them know each other by then.
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
        std::thread::sleep(Duration::from_millis((13_000 - now.as_millis() % 10_000) as u64 % 10_000));
        for file in files {
            self.processes.push(tor(&file)?);
        }
        self.until("a consensus of all relays", |this| {
            let text = this.consensus()?;
            let relays = text.lines().filter(|line| line.starts_with("r ")).count();
            let flags: Vec<&str> = text.lines().filter(|line| line.starts_with("s ")).collect();
            let good = flags.iter().all(|line| line.contains("Fast")) && flags.iter().any(|line| line.contains("Exit"));
            (relays == AUTHORITIES && good).then_some(())
        })
    }

    /// Starts the onion services, once there is a consensus.
    fn serve(&mut self, backends: &[u16]) -> anyhow::Result<()> {
        let dir = self.dir.path().join("service");
        make_private(&dir)?;
        let mut text = self.everybody();
        let _ = write!(
            text,
            "DataDirectory {dir}\nLog notice [rend]info file {dir}/log\nVanguardsLiteEnabled 0\n",
            dir = dir.display()
        );
        for (n, port) in backends.iter().enumerate() {
            let _ = write!(text, "HiddenServiceDir {}/hs{n}\nHiddenServicePort 80 127.0.0.1:{port}\n", dir.display());
        }
        let file = dir.join("torrc");
        std::fs::write(&file, text)?;
        self.processes.push(tor(&file)?);
        self.until("onion services", |_| {
            let log = std::fs::read_to_string(dir.join("log")).ok()?;
            let published = log.matches("Uploaded hidden service descriptor (status 200").count();
            (published >= backends.len()).then_some(())
        })?;
        for n in 0..backends.len() {
            self.onions.push(std::fs::read_to_string(dir.join(format!("hs{n}/hostname")))?.trim().to_owned());
        }
        Ok(())
    }

    fn consensus(&self) -> Option<String> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, self.authorities[0].dir_port));
        let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(1)).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(2))).ok()?;
        stream.write_all(b"GET /tor/status-vote/current/consensus-microdesc HTTP/1.0\r\n\r\n").ok()?;
        let mut answer = String::new();
        stream.take(1 << 20).read_to_string(&mut answer).ok()?;
        answer.contains(" 200 ").then_some(answer)
    }

    fn until(&mut self, what: &str, is_so: impl Fn(&Self) -> Option<()>) -> anyhow::Result<()> {
        let end = Instant::now() + PATIENCE;
        while is_so(self).is_none() {
            for process in &mut self.processes {
                if let Some(status) = process.try_wait()? {
                    bail!("tor ended with {status}:\n{}", self.logs());
                }
            }
            ensure!(Instant::now() < end, "no {what} within {PATIENCE:?}:\n{}", self.logs());
            std::thread::sleep(Duration::from_millis(100));
        }
        Ok(())
    }

    /// Returns the last lines of all logs.
    fn logs(&self) -> String {
        let mut text = String::new();
        let service = self.dir.path().join("service");
        for dir in self.authorities.iter().map(|one| &one.dir).chain([&service]) {
            let log = std::fs::read_to_string(dir.join("log")).unwrap_or_default();
            let lines: Vec<&str> = log.lines().rev().take(8).collect();
            let _ = writeln!(text, "{}:\n{}", dir.display(), lines.into_iter().rev().collect::<Vec<_>>().join("\n"));
        }
        text
    }
}

impl Drop for TorNetwork {
    fn drop(&mut self) {
        for process in &self.processes {
            let _ = crate::signal(process, crate::Signal::TERM);
        }
        for process in &mut self.processes {
            let end = Instant::now() + Duration::from_secs(10);
            while process.try_wait().is_ok_and(|status| status.is_none()) {
                if Instant::now() > end {
                    let _ = process.kill();
                }
                std::thread::sleep(Duration::from_millis(20));
            }
        }
    }
}

impl Authority {
    /// Makes the keys.
    fn make(dir: PathBuf, n: usize, (or_port, dir_port): (u16, u16)) -> anyhow::Result<Self> {
        let keys = dir.join("keys");
        make_private(&dir)?;
        make_private(&keys)?;
        let mut gencert = Command::new("tor-gencert")
            .args(["--create-identity-key", "--passphrase-fd", "0", "-m", "12", "-a", &format!("127.0.0.1:{dir_port}")])
            .arg("-i")
            .arg(keys.join("authority_identity_key"))
            .arg("-s")
            .arg(keys.join("authority_signing_key"))
            .arg("-c")
            .arg(keys.join("authority_certificate"))
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("failed to run tor-gencert: tests/run installs tor (apt-get install tor)")?;
        gencert.stdin.take().context("a pipe")?.write_all(b"a passphrase\n")?;
        ensure!(gencert.wait()?.success(), "tor-gencert failed");
        let certificate = std::fs::read_to_string(keys.join("authority_certificate"))?;
        let v3_identity = certificate.lines().find_map(|line| line.strip_prefix("fingerprint "));
        let made = Command::new("tor")
            .args(["--ignore-missing-torrc", "-f", "none", "--defaults-torrc", "none", "--quiet", "--SocksPort", "0"])
            .args(["--list-fingerprint", "--Address", "127.0.0.1", "--Nickname", &format!("a{n}")])
            .args(["--ORPort", &format!("127.0.0.1:{or_port}"), "--DataDirectory"])
            .arg(&dir)
            .stdin(Stdio::null())
            .output()?;
        ensure!(made.status.success(), "tor made no keys: {}", String::from_utf8_lossy(&made.stdout));
        let second = |file: &str| -> anyhow::Result<String> {
            let text = std::fs::read_to_string(dir.join(file))?;
            let (_, rest) = text.split_once(' ').context("a nickname and a fingerprint")?;
            Ok(rest.split_whitespace().collect())
        };
        Ok(Self {
            v3_identity: v3_identity.context("a certificate has a fingerprint")?.to_owned(),
            rsa_identity: second("fingerprint")?,
            ed_identity: second("fingerprint-ed25519")?,
            or_port,
            dir_port,
            dir,
        })
    }
}

fn tor(file: &Path) -> anyhow::Result<Child> {
    Command::new("tor")
        .arg("-f")
        .arg(file)
        // No setting of the system's own leaks in.
        .args(["--defaults-torrc", "/nonexistent"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .context("failed to start tor")
}

fn make_private(dir: &Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(dir)?;
    Ok(std::fs::set_permissions(dir, std::fs::Permissions::from_mode(0o700))?)
}
