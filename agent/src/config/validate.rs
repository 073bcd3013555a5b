//! Checks what the types of the configuration cannot express.

use std::fmt;

use brotr_core::{Guard, RelayUrl};

use super::{Config, Override, Profile, Size};

/// The largest value of a count.
const MOST: usize = 100_000;
/// The highest price of a job or result, in millisats: a higher one is taken for a mistake.
const MOST_MSAT: u64 = 1_000_000_000;
/// The smallest message that every relay must be able to send.
const LEAST_MESSAGE: Size = Size::kib(64);
/// The least memory that the relay server works with.
const LEAST_MEMORY: Size = Size::mib(16);

/// An invalid key.
#[derive(Debug)]
pub(super) struct Invalid {
    pub(super) key: String,
    /// What is wrong and what to do, without the key.
    pub(super) problem: String,
}

fn invalid(key: impl Into<String>, problem: impl fmt::Display) -> Invalid {
    Invalid { key: key.into(), problem: problem.to_string() }
}

/// Fails with [`Invalid`] unless a condition holds.
macro_rules! require {
    ($condition:expr, $key:expr, $($problem:tt)+) => {
        if !$condition {
            return Err(invalid($key, format_args!($($problem)+)));
        }
    };
}

/// Checks a whole configuration.
pub(super) fn validate(config: &Config) -> Result<(), Invalid> {
    require!(config.version == 1, "version", " is {}, this program reads version 1", config.version);
    counts(config)?;
    let guard = Guard::new(config.network.allow.clone());
    network(config)?;
    storage(config)?;
    servers(config)?;
    identities(config, &guard)?;
    monitor(config)?;
    synchronizer(config, &guard)?;
    logs(config)?;
    jobs(config, &guard)?;
    profile(config)?;
    let keep = config.backup.keep;
    require!(keep > 0, "backup.keep", " must be 1 or more: turn backups off by backup.enabled");
    for source in &config.finder.sources {
        let problem = |error| format!(": the jmespath of {}: {error}", source.url);
        jmespath::compile(&source.jmespath).map_err(|error| invalid("finder.sources", problem(error)))?;
    }
    Ok(())
}

fn counts(config: &Config) -> Result<(), Invalid> {
    let network = &config.network;
    let connections = [
        ("network.max_connections", network.max_connections),
        ("network.clearnet.max_connections", network.clearnet.max_connections),
        ("network.tor.max_connections", network.tor.max_connections),
        ("network.i2p.max_connections", network.i2p.max_connections),
        ("network.loki.max_connections", network.loki.max_connections),
    ];
    let others = [
        ("network.dials_per_minute", network.dials_per_minute as usize),
        ("monitor.concurrency", config.monitor.concurrency),
        ("synchronizer.concurrency", config.synchronizer.concurrency),
        ("synchronizer.page_size", config.synchronizer.page_size),
        ("dvm.concurrency", config.dvm.concurrency),
        ("relay.max_connections", config.relay.max_connections),
        ("relay.max_per_address", config.relay.max_per_address),
        ("http.max_connections", config.http.max_connections),
        ("http.max_per_address", config.http.max_per_address),
        ("http.per_minute", config.http.per_minute as usize),
    ];
    for (key, value) in connections.into_iter().chain(others) {
        require!((1..=MOST).contains(&value), key, " is {value}: give a number from 1 to {MOST}");
    }
    for (key, value) in connections {
        require!(value >= 2, key, " is {value}: a check of a relay takes two connections");
    }
    Ok(())
}

fn network(config: &Config) -> Result<(), Invalid> {
    let network = &config.network;
    let message = network.max_message;
    require!(
        message.as_u64() >= LEAST_MESSAGE.as_u64(),
        "network.max_message",
        " is {message}: events are larger than that, give at least {LEAST_MESSAGE}"
    );
    let is_header = |text: &String| text.chars().all(|c| c.is_ascii() && !c.is_control());
    require!(
        network.contact.as_ref().is_none_or(is_header),
        "network.contact",
        " is sent in a header: use plain ASCII on one line"
    );
    Ok(())
}

fn storage(config: &Config) -> Result<(), Invalid> {
    let storage = &config.storage;
    let starts = |url: &Option<String>, schemes: &[&str]| {
        url.as_ref().is_some_and(|url| schemes.iter().any(|scheme| url.starts_with(scheme)))
    };
    let servers = ["postgres://", "postgresql://"];
    require!(
        storage.url.is_none() || starts(&storage.url, &["sqlite://"]) || starts(&storage.url, &servers),
        "storage.url",
        " must start with sqlite:// or postgres://"
    );
    require!(
        storage.read_url.is_none() || starts(&storage.url, &servers) && starts(&storage.read_url, &servers),
        "storage.read_url",
        " is a replica of the PostgreSQL server of storage.url: both must start with postgres://"
    );
    require!(
        storage.lease.as_secs() >= 5,
        "storage.lease",
        " must be 5s or longer: it is renewed three times in its length"
    );
    Ok(())
}

fn servers(config: &Config) -> Result<(), Invalid> {
    let memory = config.relay.memory;
    require!(memory.as_u64() >= LEAST_MEMORY.as_u64(), "relay.memory", " is {memory}: give at least {LEAST_MEMORY}");
    if let Some(url) = &config.http.public_url {
        let is_http = url::Url::parse(url).is_ok_and(|url| matches!(url.scheme(), "http" | "https"));
        require!(is_http, "http.public_url", " is {url:?}: give a URL such as https://brotr.example.com");
    }
    Ok(())
}

/// Checks relays and public keys.
fn identities(config: &Config, guard: &Guard) -> Result<(), Invalid> {
    for (key, list) in [("identity.relays", &config.identity.relays), ("dvm.relays", &config.dvm.relays)] {
        for url in list {
            relay(key, url, guard)?;
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
            let problem = |error| format!(": {text:?} is not a public key: {error}");
            nostr::PublicKey::parse(text).map_err(|error| invalid(key, problem(error)))?;
        }
    }
    Ok(())
}

fn relay(key: &str, url: &str, guard: &Guard) -> Result<(), Invalid> {
    match RelayUrl::parse(url, guard) {
        Ok(_) => Ok(()),
        Err(error) => Err(invalid(key, format_args!(": {url}: {error}"))),
    }
}

fn monitor(config: &Config) -> Result<(), Invalid> {
    let monitor = &config.monitor;
    require!(
        monitor.withdraw_after.as_secs() > monitor.interval.as_secs(),
        "monitor.withdraw_after",
        " must be longer than monitor.interval, between two checks of a relay"
    );
    let geohash = monitor.geohash.as_deref().unwrap_or("u");
    require!(
        geohash::decode(geohash).is_ok(),
        "monitor.geohash",
        " is {geohash:?}: give a geohash, such as u33dc for Berlin"
    );
    Ok(())
}

fn synchronizer(config: &Config, guard: &Guard) -> Result<(), Invalid> {
    const OVERRIDES: &str = "synchronizer.overrides";
    let overrides = &config.synchronizer.overrides;
    for Override { relay: of, concurrency, page_size, .. } in overrides {
        require!(!of.is_empty(), OVERRIDES, ": relay is missing: an address, or a host such as *.example.com");
        if of.contains("://") {
            relay(OVERRIDES, of, guard)?;
        }
        require!(*concurrency != Some(0), OVERRIDES, ": concurrency of {of} must be 1 or more: use enabled");
        require!(*page_size != Some(0), OVERRIDES, ": page_size of {of} must be 1 or more");
    }
    let theirs = overrides.iter().flat_map(|other| other.filters.iter().flatten());
    for filter in config.synchronizer.filters.iter().chain(theirs) {
        const FILTERS: &str = "synchronizer.filters";
        let filter = brotr_core::parse_filter(filter).map_err(|error| invalid(FILTERS, format_args!(": {error}")))?;
        require!(
            filter.since.is_none() && filter.until.is_none() && filter.limit.is_none(),
            FILTERS,
            ": since, until and limit are set by the synchronizer; use synchronizer.since"
        );
    }
    Ok(())
}

fn logs(config: &Config) -> Result<(), Invalid> {
    require!(
        config.log.summary.is_none_or(|every| every.as_secs() >= 1),
        "log.summary",
        " must be 1s or longer, or null"
    );
    Ok(())
}

fn jobs(config: &Config, guard: &Guard) -> Result<(), Invalid> {
    let (dvm, payment) = (&config.dvm, &config.dvm.payment);
    require!(
        dvm.heartbeat.is_none_or(|every| every.as_secs() >= 60),
        "dvm.heartbeat",
        " must be 1m or longer: it is an event for each of dvm.relays"
    );
    require!(
        dvm.max_age.as_secs() <= 7 * 86_400,
        "dvm.max_age",
        " is more than 7d, and ended jobs are kept no longer than that"
    );
    let wallet = payment.wallet_uri().map_err(|problem| invalid("dvm.payment.wallet", format_args!(" {problem}")))?;
    for url in wallet.iter().flat_map(|uri| &uri.relays) {
        relay("dvm.payment.wallet", url.as_str(), guard)?;
    }
    const PRICES: &str = "dvm.payment.prices";
    require!(
        wallet.is_some() || payment.prices.is_empty(),
        PRICES,
        " needs a wallet that makes invoices: set dvm.payment.wallet"
    );
    let known = brotr_dvm::job_kinds();
    for price in &payment.prices {
        if let Some(kind) = price.kinds.iter().find(|kind| !known.contains(kind)) {
            return Err(invalid(PRICES, format_args!(": jobs of kind {kind} are not done here, only {known:?}")));
        }
        require!(
            price.job.max(price.result) <= MOST_MSAT,
            PRICES,
            " are in millisats: give {MOST_MSAT} (0.01 BTC) or less"
        );
    }
    Ok(())
}

fn profile(config: &Config) -> Result<(), Invalid> {
    if config.profile == Profile::Bigbrotr {
        return Ok(());
    }
    let trust = &config.dvm.limits.trust;
    require!(trust.is_empty(), "dvm.limits.trust", ": the profile lilbrotr keeps no lists of who follows whom");
    require!(!config.relay.enabled, "relay.enabled", ": the profile lilbrotr keeps no events to serve");
    Ok(())
}
