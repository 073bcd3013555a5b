//! The configuration: `brotr.yaml`, overridden by the environment, and what is derived from both.

mod document;
mod dvm;
mod error;
mod network;
mod overrides;
mod sections;
mod units;
mod validate;

use std::path::{Path, PathBuf};

pub use dvm::{Dvm, DvmLimits, Payment, Price};
pub use error::ConfigError;
pub use network::{Clearnet, Network, Proxied, Tor};
pub use overrides::Override;
pub use sections::*;
pub use units::{Size, Span};

use document::Document;
use validate::Invalid;

/// The file that `brotr init` writes: every key with its default and a comment.
pub const TEMPLATE: &str = include_str!("brotr.yaml");

/// The file that is read if none is given.
pub const FILE_NAME: &str = "brotr.yaml";

impl Config {
    /// Reads the configuration: the given file, else `brotr.yaml` in the current directory, else the defaults; then the
    /// environment. Relative paths are relative to the file's directory.
    ///
    /// # Errors
    /// Fails if the file cannot be read or anything in it is invalid; the message names the key, its line and the remedy.
    pub fn load(file: Option<&Path>, data_dir: Option<&Path>) -> Result<Self, ConfigError> {
        let found = file.map(Path::to_owned).or_else(|| Some(PathBuf::from(FILE_NAME)).filter(|path| path.exists()));
        let text = match &found {
            Some(path) => {
                std::fs::read_to_string(path).map_err(|error| ConfigError::Read { path: path.clone(), error })?
            }
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
    pub fn parse(
        text: &str,
        name: &str,
        environment: impl Iterator<Item = (String, String)>,
    ) -> Result<Self, ConfigError> {
        let Document { value: config, origins } = document::read::<Self>(text, name, environment)?;
        validate::validate(&config).map_err(|Invalid { key, problem }| ConfigError::Invalid {
            place: origins.place(&key).unwrap_or(name).to_owned(),
            problem: key + &problem,
        })?;
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
        self.network.tor.enabled.unwrap_or(self.profile == Profile::Bigbrotr && cfg!(feature = "tor"))
    }

    /// Returns the options that the archive is opened with.
    #[must_use]
    pub fn archive_options(&self) -> brotr_storage::Options {
        brotr_storage::Options {
            profile: self.profile.into(),
            search: self.storage.search,
            ..brotr_storage::Options::default()
        }
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

    fn parse(text: &str) -> Result<Config, ConfigError> {
        Config::parse(text, "brotr.yaml", std::iter::empty())
    }

    fn fails(text: &str) -> String {
        parse(text).expect_err("wrong").to_string()
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
            ("version: 1\nmonitor:\n  concurrency: 0\n", "brotr.yaml:3: monitor.concurrency is 0"),
            ("version: 1\nmonitor: { interval: 8d }\n", "brotr.yaml:2: monitor.withdraw_after must"),
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
    fn the_environment_overrides_the_file() {
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
            assert!(error.to_string().contains(wanted), "{error}");
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
