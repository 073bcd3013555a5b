//! The configuration: `brotr.yaml`, overridden by the environment, and what is derived from both.

mod document;
mod dvm;
mod overrides;
mod sections;
mod units;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

pub use dvm::{Dvm, DvmLimits, Payment, Price};
pub use overrides::Override;
pub use sections::*;
pub use units::{Size, Span};

use brotr_core::{Guard, RelayUrl};

/// The file that `brotr init` writes: every key with its default and a comment.
pub const TEMPLATE: &str = include_str!("brotr.yaml");

/// The largest value of a count.
const MOST: usize = 100_000;

/// The highest price of a job or result, in millisats: a higher one is taken for a mistake.
const MOST_MSAT: u64 = 1_000_000_000;

/// The file that is read if none is given.
pub const FILE_NAME: &str = "brotr.yaml";

impl Config {
    /// Reads the configuration: the given file, else `brotr.yaml` in the current directory, else the defaults; then the
    /// environment. Relative paths are relative to the file's directory.
    ///
    /// # Errors
    /// Fails if the file cannot be read or anything in it is invalid; the message names the key, its line and the remedy.
    pub fn load(file: Option<&Path>, data_dir: Option<&Path>) -> Result<Self> {
        let found = file.map(Path::to_owned).or_else(|| Some(PathBuf::from(FILE_NAME)).filter(|path| path.exists()));
        let text = match &found {
            Some(path) => std::fs::read_to_string(path)
                .with_context(|| format!("failed to read the configuration {}", path.display()))?,
            None => String::new(),
        };
        let name = found.as_deref().map_or_else(|| "the defaults".into(), |path| path.display().to_string());
        let mut config = Self::parse(&text, &name, std::env::vars())?;
        let base = found.as_deref().and_then(Path::parent).unwrap_or_else(|| Path::new("")).to_owned();
        config.data_dir = data_dir.map_or_else(|| base.join(&config.data_dir), Path::to_owned);
        config.settle(&base);
        Ok(config)
    }

    /// Reads a configuration from a text and an environment.
    ///
    /// # Errors
    /// As for [`Config::load`].
    pub fn parse(text: &str, name: &str, environment: impl Iterator<Item = (String, String)>) -> Result<Self> {
        let config: Self = document::read(text, name, environment)?;
        if config.version != 1 {
            bail!("{name}: version is {}, this program reads version 1", config.version);
        }
        for (key, value) in [
            ("network.max_connections", config.network.max_connections),
            ("network.dials_per_minute", config.network.dials_per_minute as usize),
            ("network.clearnet.max_connections", config.network.clearnet.max_connections),
            ("network.tor.max_connections", config.network.tor.max_connections),
            ("network.i2p.max_connections", config.network.i2p.max_connections),
            ("network.loki.max_connections", config.network.loki.max_connections),
            ("monitor.concurrency", config.monitor.concurrency),
            ("synchronizer.concurrency", config.synchronizer.concurrency),
            ("synchronizer.page_size", config.synchronizer.page_size),
            ("dvm.concurrency", config.dvm.concurrency),
            ("relay.max_connections", config.relay.max_connections),
            ("relay.max_per_address", config.relay.max_per_address),
            ("http.max_connections", config.http.max_connections),
            ("http.max_per_address", config.http.max_per_address),
            ("http.per_minute", config.http.per_minute as usize),
        ] {
            if !(1..=MOST).contains(&value) {
                bail!("{name}: {key} is {value}: give a number from 1 to {MOST}");
            }
        }
        // A check takes two connections at once.
        for (key, value) in [
            ("network.max_connections", config.network.max_connections),
            ("network.clearnet.max_connections", config.network.clearnet.max_connections),
            ("network.tor.max_connections", config.network.tor.max_connections),
            ("network.i2p.max_connections", config.network.i2p.max_connections),
            ("network.loki.max_connections", config.network.loki.max_connections),
        ] {
            if value < 2 {
                bail!("{name}: {key} is {value}: a check of a relay takes two connections");
            }
        }
        if config.monitor.withdraw_after.as_secs() <= config.monitor.interval.as_secs() {
            bail!("{name}: monitor.withdraw_after must be longer than monitor.interval, between two checks of a relay");
        }
        if config.network.max_message.as_u64() < 64 << 10 {
            bail!(
                "{name}: network.max_message is {}: events are larger than that, give at least 64 KiB",
                config.network.max_message
            );
        }
        if config.relay.memory.as_u64() < 16 << 20 {
            bail!("{name}: relay.memory is {}: give at least 16 MiB", config.relay.memory);
        }
        if let Some(url) = &config.http.public_url
            && !url::Url::parse(url).is_ok_and(|url| matches!(url.scheme(), "http" | "https"))
        {
            bail!("{name}: http.public_url is {url:?}: give a URL such as https://brotr.example.com");
        }
        let schemes = ["sqlite://", "postgres://", "postgresql://"];
        if config.storage.url.as_ref().is_some_and(|url| !schemes.iter().any(|scheme| url.starts_with(scheme))) {
            bail!("{name}: storage.url must start with sqlite:// or postgres://");
        }
        let is_postgres = |url: &Option<String>| url.as_ref().is_some_and(|url| url.starts_with("postgres"));
        if config.storage.read_url.is_some()
            && !(is_postgres(&config.storage.url) && is_postgres(&config.storage.read_url))
        {
            bail!(
                "{name}: storage.read_url is a PostgreSQL server that follows the one of storage.url: both must start with postgres://"
            );
        }
        if config
            .network
            .contact
            .as_ref()
            .is_some_and(|contact| contact.chars().any(|c| !c.is_ascii() || c.is_control()))
        {
            bail!("{name}: network.contact is sent in a header: use plain ASCII on one line");
        }
        if config.storage.lease.as_secs() < 5 {
            bail!("{name}: storage.lease must be 5s or longer: it is renewed three times in its length");
        }
        let guard = Guard::new(config.network.allow.clone());
        for (key, list) in [("identity.relays", &config.identity.relays), ("dvm.relays", &config.dvm.relays)] {
            for url in list {
                RelayUrl::parse(url, &guard).with_context(|| format!("{name}: {key}: {url}"))?;
            }
        }
        let (limits, payment) = (&config.dvm.limits, &config.dvm.payment);
        for (key, list) in [
            ("dvm.limits.allow", &limits.allow),
            ("dvm.limits.deny", &limits.deny),
            ("dvm.limits.trust", &limits.trust),
            ("dvm.payment.zappers", &payment.zappers),
            ("http.admins", &config.http.admins),
        ] {
            for text in list {
                nostr::PublicKey::parse(text).with_context(|| format!("{name}: {key}: {text:?} is no public key"))?;
            }
        }
        let wallet = payment.wallet_uri().with_context(|| name.to_owned())?;
        for relay in wallet.iter().flat_map(|uri| &uri.relays) {
            RelayUrl::parse(relay.as_str(), &guard)
                .with_context(|| format!("{name}: dvm.payment.wallet: its relay {relay}"))?;
        }
        if wallet.is_none() && !payment.prices.is_empty() {
            bail!("{name}: dvm.payment.prices needs a wallet that makes invoices: set dvm.payment.wallet");
        }
        for price in &payment.prices {
            if let Some(kind) = price.kinds.iter().find(|kind| !brotr_dvm::job_kinds().contains(kind)) {
                bail!(
                    "{name}: dvm.payment.prices: jobs of kind {kind} are not done here, only those of {:?}",
                    brotr_dvm::job_kinds()
                );
            }
            if price.job.max(price.result) > MOST_MSAT {
                bail!("{name}: dvm.payment.prices are in millisats: give {MOST_MSAT} (0.01 BTC) or less");
            }
        }
        if config.dvm.heartbeat.is_some_and(|every| every.as_secs() < 60) {
            bail!("{name}: dvm.heartbeat must be 1m or longer: it is an event for each of dvm.relays");
        }
        if config.dvm.max_age.as_secs() > 7 * 86_400 {
            bail!("{name}: dvm.max_age is more than 7d, and longer than that ended jobs are not remembered");
        }
        let geohash = config.monitor.geohash.as_deref().unwrap_or("u");
        if geohash::decode(geohash).is_err() {
            bail!("{name}: monitor.geohash is no geohash: such as u33dc for Berlin");
        }
        let overrides = &config.synchronizer.overrides;
        for other in overrides {
            if other.relay.is_empty() {
                bail!("{name}: synchronizer.overrides: relay is missing: an address, or a host such as *.example.com");
            }
            if other.relay.contains("://") {
                RelayUrl::parse(&other.relay, &guard)
                    .with_context(|| format!("{name}: synchronizer.overrides: {}", other.relay))?;
            }
            if other.concurrency == Some(0) {
                bail!("{name}: synchronizer.overrides: concurrency of {} must be 1 or more: use enabled", other.relay);
            }
            if other.page_size == Some(0) {
                bail!("{name}: synchronizer.overrides: page_size of {} must be 1 or more", other.relay);
            }
        }
        let theirs = overrides.iter().flat_map(|other| other.filters.iter().flatten());
        for filter in config.synchronizer.filters.iter().chain(theirs) {
            let filter = brotr_core::parse_filter(filter).with_context(|| format!("{name}: synchronizer.filters"))?;
            if filter.since.is_some() || filter.until.is_some() || filter.limit.is_some() {
                bail!(
                    "{name}: synchronizer.filters: since, until and limit are set by the synchronizer; use synchronizer.since"
                );
            }
        }
        if !config.dvm.limits.trust.is_empty() && config.profile == Profile::Lilbrotr {
            bail!("{name}: dvm.limits.trust: the profile lilbrotr keeps no lists of who follows whom");
        }
        if config.relay.enabled && config.profile == Profile::Lilbrotr {
            bail!("{name}: relay.enabled: the profile lilbrotr keeps no events to serve");
        }
        if config.backup.keep == 0 {
            bail!("{name}: backup.keep must be 1 or more: turn backups off by backup.enabled");
        }
        for source in &config.finder.sources {
            jmespath::compile(&source.jmespath)
                .with_context(|| format!("{name}: finder.sources: the jmespath of {}", source.url))?;
        }
        Ok(config)
    }

    /// Fills in defaults that depend on other keys, and resolves relative paths against `base`.
    fn settle(&mut self, base: &Path) {
        let data_dir = self.data_dir.clone();
        self.identity.key_file = match &self.identity.key_file {
            Some(path) => Some(base.join(path)),
            None => Some(data_dir.join("agent.key")),
        };
        self.network.ca_file = self.network.ca_file.as_ref().map(|path| base.join(path));
        for file in [&mut self.monitor.geo.city, &mut self.monitor.geo.asn] {
            *file = file.as_ref().map(|path| base.join(path));
        }
        self.backup.directory = self.backup.directory.as_ref().map(|path| base.join(path));
        self.storage.url = Some(match self.storage.url.as_deref() {
            None => format!("sqlite://{}", data_dir.join("brotr.db").display()),
            Some(url) => match url.strip_prefix("sqlite://") {
                Some(path) => format!("sqlite://{}", base.join(path).display()),
                None => url.to_owned(),
            },
        });
    }

    /// Returns the settings of the dialer.
    #[must_use]
    pub fn network_settings(&self) -> brotr_net::Settings {
        self.network.settings(self.uses_tor().then(|| self.data_dir.join("tor")))
    }

    /// Returns true if onion services are reached.
    #[must_use]
    pub fn uses_tor(&self) -> bool {
        self.network.tor.enabled.unwrap_or(self.profile == Profile::Bigbrotr)
    }

    /// Returns the options that the archive is opened with.
    #[must_use]
    pub fn archive_options(&self) -> brotr_storage::Options {
        brotr_storage::Options { profile: self.profile.into(), search: self.storage.search }
    }

    /// Returns the directory of backups.
    #[must_use]
    pub fn backup_directory(&self) -> PathBuf {
        self.backup.directory.clone().unwrap_or_else(|| self.data_dir.join("backups"))
    }

    /// Returns the URL of the database.
    #[must_use]
    pub fn storage_url(&self) -> &str {
        self.storage.url.as_deref().expect("settled when it was loaded")
    }

    /// Returns the file of the embedded database; `None` for a server.
    #[must_use]
    pub fn sqlite_file(&self) -> Option<&Path> {
        let path = self.storage_url().strip_prefix("sqlite://")?;
        Some(Path::new(path.split('?').next().unwrap_or(path)))
    }

    /// Returns the path of the key file.
    #[must_use]
    pub fn key_file(&self) -> &Path {
        self.identity.key_file.as_deref().expect("settled when it was loaded")
    }

    /// Returns the JSON schema of the configuration.
    #[must_use]
    pub fn schema() -> serde_json::Value {
        schemars::schema_for!(Self).to_value()
    }

    /// Returns the effective configuration as JSON, which is valid YAML, without secrets.
    #[must_use]
    pub fn shown(&self) -> serde_json::Value {
        let mut value = serde_json::to_value(self).expect("a configuration always serializes");
        for (key, url) in [("url", &self.storage.url), ("read_url", &self.storage.read_url)] {
            if let Some(url) = url {
                value["storage"][key] = without_password(url).into();
            }
        }
        value
    }
}

/// Returns a database URL without its password. A URL that does not parse is not shown at all, since the password may be
/// anywhere in it.
fn without_password(text: &str) -> String {
    const HIDDEN: &str = "********";
    if text.starts_with("sqlite:") {
        return text.to_owned();
    }
    let Ok(mut url) = url::Url::parse(text) else { return HIDDEN.to_owned() };
    if url.password().is_some() {
        let _ = url.set_password(Some(HIDDEN));
    }
    if url.query().is_some() {
        let pairs: Vec<(String, String)> = url.query_pairs().into_owned().collect();
        let hide =
            |(key, value): (String, String)| if key.contains("pass") { (key, HIDDEN.into()) } else { (key, value) };
        url.query_pairs_mut().clear().extend_pairs(pairs.into_iter().map(hide));
    }
    url.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Config> {
        Config::parse(text, "brotr.yaml", std::iter::empty())
    }

    fn fails(text: &str) -> String {
        format!("{:#}", parse(text).expect_err("wrong"))
    }

    #[test]
    fn the_template_is_the_defaults_and_names_every_key() {
        let template = serde_json::to_value(parse(TEMPLATE).expect("the template is right")).expect("json");
        let default = serde_json::to_value(parse("").expect("nothing is right too")).expect("json");
        assert_eq!(template, default);
        let lines: Vec<&str> = TEMPLATE.lines().collect();
        fn check(value: &serde_json::Value, lines: &[&str], path: &str) {
            for (key, value) in value.as_object().into_iter().flatten() {
                assert!(
                    lines.iter().any(|line| line.trim_start().trim_start_matches("# ").starts_with(&format!("{key}:"))),
                    "the template does not name {path}{key}"
                );
                check(value, lines, &format!("{path}{key}."));
            }
        }
        check(&default, &lines, "");
    }

    #[test]
    fn an_unknown_key_is_named_with_its_line_and_the_nearest() {
        let error = fails("version: 1\nnetwork:\n  clearnet:\n    conect_timeout: 3s\n");
        assert!(error.contains("brotr.yaml:4: unknown key network.clearnet.conect_timeout"), "{error}");
        assert!(error.contains("connect_timeout"), "{error}");
        let error = fails("version: 1\nsynchroniser: {}\n");
        assert!(error.contains("brotr.yaml:2: unknown key synchroniser") && error.contains("synchronizer"), "{error}");
        let error = fails("version: 1\nfinder: { sources: [{url: 'https://x.example', jmespat: '[*]'}] }\n");
        assert!(error.contains("unknown key finder.sources[0].jmespat"), "{error}");
    }

    #[test]
    fn a_wrong_value_is_named_with_its_line() {
        for (text, wanted) in [
            ("version: 1\nmonitor:\n  interval: soon\n", "brotr.yaml:3: monitor.interval"),
            ("version: 1\nmonitor:\n  interval: 30\n", "brotr.yaml:3: monitor.interval"),
            ("version: 1\nnetwork:\n  allow: [10.0.0.0/99]\n", "brotr.yaml:3: network.allow[0]"),
            ("version: 1\nhttp:\n  listen: nowhere\n", "brotr.yaml:3: http.listen"),
            ("version: 2\n", "version is 2"),
            ("version: 1\nversion: 1\n", "brotr.yaml"),
            ("version: [\n", "brotr.yaml"),
            ("version: 1\nsynchronizer: { filters: [{kindz: [1]}] }\n", "kindz"),
            ("version: 1\nsynchronizer: { since: yesterday }\n", "synchronizer.since"),
            ("version: 1\nfinder: { sources: [{url: 'https://x.example', jmespath: '[['}] }\n", "jmespath"),
            ("version: 1\nmonitor: { concurrency: 0 }\n", "monitor.concurrency is 0"),
            ("version: 1\nmonitor: { concurrency: 18446744073709551615 }\n", "monitor.concurrency is"),
            ("version: 1\nnetwork: { dials_per_minute: 0 }\n", "network.dials_per_minute is 0"),
            ("version: 1\nnetwork: { max_message: 0 B }\n", "network.max_message"),
            ("version: 1\nnetwork: { contact: \"a\\nb\" }\n", "network.contact"),
            ("version: 1\nstorage: { url: 'mysql://x' }\n", "storage.url"),
            ("version: 1\nstorage: { read_url: 'postgres://x/y' }\n", "storage.read_url"),
            ("version: 1\nidentity: { relays: [junk] }\n", "identity.relays: junk"),
            ("version: 1\ndvm: { relays: ['wss://10.0.0.1'] }\n", "private address"),
        ] {
            let error = fails(text);
            assert!(error.contains(wanted), "{text:?} gave {error}");
        }
    }

    #[test]
    fn the_environment_goes_over_the_file() {
        let dir = tempfile::tempdir().expect("a directory");
        let secret = dir.path().join("secret");
        std::fs::write(&secret, "from a file\n").expect("written");
        let environment = |pairs: &[(&str, &str)]| {
            pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect::<Vec<_>>().into_iter()
        };
        let good = environment(&[
            ("BROTR_MONITOR__INTERVAL", "5m"),
            ("BROTR_NETWORK__ALLOW", "[127.0.0.0/8]"),
            ("BROTR_IDENTITY__PASSPHRASE_FILE", secret.to_str().expect("text")),
            ("BROTR_IDENTITY__NAME", "${WHO:-nobody} and ${WHERE}"),
            ("WHERE", "somewhere"),
            ("UNRELATED", "x"),
        ]);
        let config = Config::parse("version: 1\nmonitor: {interval: 1h}\n", "f", good).expect("right");
        assert_eq!(config.monitor.interval.get(), std::time::Duration::from_secs(300));
        assert_eq!(config.network.allow.len(), 1);
        assert_eq!(config.identity.name.as_deref(), Some("nobody and somewhere"));
        let passphrase = config.identity.passphrase.as_ref().expect("set");
        assert_eq!(secrecy::ExposeSecret::expose_secret(&passphrase.0), "from a file");
        assert!(!config.shown().to_string().contains("from a file"));
        for (name, value, wanted) in [
            ("BROTR_MONITR__INTERVAL", "5m", "BROTR_MONITR__INTERVAL"),
            ("BROTR_MONITOR__INTERVAL", "x", "BROTR_MONITOR__INTERVAL"),
            ("BROTR_IDENTITY__NAME", "${NOT_THERE}", "NOT_THERE"),
            ("BROTR_IDENTITY__PASSPHRASE_FILE", "/not/there", "/not/there"),
        ] {
            let error = Config::parse("", "f", environment(&[(name, value)])).expect_err("wrong");
            assert!(format!("{error:#}").contains(wanted), "{error:#}");
        }
    }

    #[test]
    fn a_password_is_not_shown() {
        let config = parse("version: 1\nstorage: { url: 'postgres://u:hunter2@h/db' }\nidentity: {secret: abc}\n");
        let shown = config.expect("right").shown().to_string();
        assert!(!shown.contains("hunter2") && !shown.contains("abc"), "{shown}");
        for url in ["postgres://h/db?user=u&password=hunter2", "postgres://u:hun/hunter2@h/db"] {
            assert!(!without_password(url).contains("hunter2"), "{url}");
        }
        assert_eq!(without_password("postgres://u@h/db"), "postgres://u@h/db");
    }

    #[test]
    fn no_error_repeats_a_secret() {
        for text in [
            "version: 1\nidentity:\n  secret: hunter2\n  secret: hunter2\n",
            "version: 1\nidentity:\n  passphrase: [hunter2]\n",
            "version: 1\nidentity:\n  passphrase: {hunter2: 1}\n",
            "version: 1\nidentity:\n  passphrase: hunter2\nmonitor: [\n",
            "version: 1\nidentity:\n  passphrase: \"hunter2\nmonitor: {}\n",
        ] {
            let error = fails(text);
            assert!(!error.contains("hunter2") && error.contains("brotr.yaml"), "{error}");
        }
    }

    #[test]
    fn a_passphrase_may_hold_anything() {
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("pass");
        for odd in ["12345678", "pass #word", "correct: horse", "ab${cd}ef", "[x", "null", " spaces "] {
            std::fs::write(&file, odd).expect("written");
            let by_file = ("BROTR_IDENTITY__PASSPHRASE_FILE".to_owned(), file.to_str().expect("text").to_owned());
            let by_name = ("BROTR_IDENTITY__PASSPHRASE".to_owned(), odd.to_owned());
            for variable in [by_file, by_name] {
                let config = Config::parse("", "f", std::iter::once(variable)).expect("right");
                let passphrase = config.identity.passphrase.expect("set");
                assert_eq!(secrecy::ExposeSecret::expose_secret(&passphrase.0), odd);
            }
        }
    }
}
