//! The sections of `brotr.yaml`. The template beside this file explains each key to operators.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::units::{Moment, Secret};
use super::{Dvm, Network, Override, Size, Span};

/// Declares a section: a struct with a default for every key, refusing keys it does not have.
macro_rules! section {
    ($(#[$meta:meta])* $name:ident { $($(#[$fmeta:meta])* $field:ident: $type:ty = $default:expr),+ $(,)? }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
        #[serde(deny_unknown_fields, default)]
        pub struct $name { $($(#[$fmeta])* pub $field: $type),+ }

        impl Default for $name {
            fn default() -> Self {
                Self { $($field: $default),+ }
            }
        }
    };
}
pub(super) use section;

section! {
    /// The whole configuration.
    Config {
        /// The version of this file's format: 1.
        version: u32 = 1,
        /// What is kept of an event.
        profile: Profile = Profile::Bigbrotr,
        /// The directory of the key file and the embedded database.
        data_dir: PathBuf = "./brotr-data".into(),
        /// Logs.
        log: Log = Log::default(),
        /// The archive.
        storage: Storage = Storage::default(),
        /// The agent's identity.
        identity: Identity = Identity::default(),
        /// Limits on outgoing connections.
        network: Network = Network::default(),
        /// The initial relays.
        initializer: Initializer = Initializer::default(),
        /// Finding relays.
        finder: Finder = Finder::default(),
        /// Checking relays.
        monitor: Monitor = Monitor::default(),
        /// Archiving events.
        synchronizer: Synchronizer = Synchronizer::default(),
        /// Answering jobs.
        dvm: Dvm = Dvm::default(),
        /// Health and metrics.
        http: Http = Http::default(),
        /// The archive as a relay.
        relay: Relay = Relay::default(),
        /// Backups made while the daemon runs.
        backup: Backup = Backup::default(),
        /// What the archive removes.
        retention: Retention = Retention::default(),
    }
}

/// What is kept of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Profile {
    /// Everything, exactly as signed.
    Bigbrotr,
    /// Id, author, date, kind and tag values.
    Lilbrotr,
}

impl From<Profile> for brotr_storage::Profile {
    fn from(profile: Profile) -> Self {
        match profile {
            Profile::Bigbrotr => Self::Bigbrotr,
            Profile::Lilbrotr => Self::Lilbrotr,
        }
    }
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// Text for people.
    Text,
    /// One JSON object per line.
    Json,
}

/// A check of a relay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Check {
    /// The WebSocket opens.
    Open,
    /// A REQ is answered with EOSE; claims of the document are tried.
    Read,
    /// An event is answered with OK.
    Write,
    /// The relay has an information document.
    Nip11,
    /// The name resolves.
    Dns,
    /// The certificate is valid.
    Ssl,
    /// The address and its network.
    Net,
    /// The location of the address.
    Geo,
}

impl Check {
    /// Every check.
    pub const ALL: [Self; 8] =
        [Self::Open, Self::Read, Self::Write, Self::Nip11, Self::Dns, Self::Ssl, Self::Net, Self::Geo];

    /// Returns its name in the configuration and in tags.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Read => "read",
            Self::Write => "write",
            Self::Nip11 => "nip11",
            Self::Dns => "dns",
            Self::Ssl => "ssl",
            Self::Net => "net",
            Self::Geo => "geo",
        }
    }
}

section! {
    /// Logs, on stderr.
    Log {
        /// `text` or `json`.
        format: LogFormat = LogFormat::Text,
        /// A level, or directives such as `info,brotr_net=debug`.
        level: String = "info".into(),
        /// Interval of the lines that say how the agent is doing; none are written if not set.
        summary: Option<Span> = Some(Span::seconds(60)),
    }
}

section! {
    /// The archive.
    Storage {
        /// `sqlite://PATH` or `postgres://...`; `brotr.db` in the data directory when not set.
        url: Option<String> = None,
        /// A PostgreSQL replica of that server, which answers the queries of relay clients, jobs and REST.
        read_url: Option<String> = None,
        /// Whether the text of kinds 0, 1 and 30023 is indexed (NIP-50).
        search: bool = true,
        /// Archiving pauses while the disk of the embedded database has less than this free.
        min_free: Size = Size::mib(2_048),
        /// How long a relay stays reserved for the agent working on it; renewed while it works.
        lease: Span = Span::seconds(300),
    }
}

section! {
    /// The agent's identity.
    Identity {
        /// File of the secret key; `agent.key` in the data directory if not set.
        key_file: Option<PathBuf> = None,
        /// The secret key itself: nsec, hex or ncryptsec. Takes precedence over the file.
        secret: Option<Secret> = None,
        /// Decrypts an ncryptsec (NIP-49).
        passphrase: Option<Secret> = None,
        /// The agent's name, in its profile (kind 0).
        name: Option<String> = None,
        /// The agent's description, in its profile.
        about: Option<String> = None,
        /// URL of the agent's picture, in its profile.
        picture: Option<String> = None,
        /// The relays that the agent publishes to and lists as its own (kind 10002). Without any, nothing is published.
        relays: Vec<String> = vec![],
    }
}

section! {
    /// The archive as a relay.
    Relay {
        /// Whether it runs.
        enabled: bool = false,
        /// Listening address.
        #[schemars(with = "String")]
        listen: SocketAddr = SocketAddr::from(([127, 0, 0, 1], 7777)),
        /// Concurrent clients.
        max_connections: usize = 1_024,
        /// Concurrent clients per address (per /64 of IPv6).
        max_per_address: usize = 32,
        /// Proxies whose X-Forwarded-For is trusted; the limit per address does not apply to them.
        #[schemars(with = "Vec<String>")]
        trusted_proxies: Vec<IpNet> = loopback(),
        /// Memory of all clients together: answers, filters, comparisons and the feed of new events.
        memory: Size = Size::mib(256),
    }
}

/// Loopback ranges.
fn loopback() -> Vec<IpNet> {
    vec![
        Ipv4Net::new_assert(Ipv4Addr::new(127, 0, 0, 0), 8).into(),
        Ipv6Net::new_assert(Ipv6Addr::LOCALHOST, 128).into(),
    ]
}

section! {
    /// Backups made while the daemon runs.
    Backup {
        /// Whether backups are made.
        enabled: bool = false,
        /// Time between two backups.
        interval: Span = Span::seconds(86_400),
        /// Backups that are kept.
        keep: usize = 7,
        /// Directory; `backups` in the data directory if not set.
        directory: Option<PathBuf> = None,
    }
}

section! {
    /// What the archive removes.
    Retention {
        /// Rules that remove events by age.
        rules: Vec<KeepRule> = vec![],
        /// If the archive is larger than this, the oldest events are removed.
        max_size: Option<Size> = None,
        /// Time between two passes.
        interval: Span = Span::seconds(3_600),
    }
}

impl Retention {
    /// Returns true if anything is ever removed.
    #[must_use]
    pub fn is_on(&self) -> bool {
        !self.rules.is_empty() || self.max_size.is_some()
    }

    /// Returns the time from which all events are kept, in unix seconds: older ones are removed and need not be fetched.
    #[must_use]
    pub fn floor(&self, now: i64) -> i64 {
        let whole = self.rules.iter().filter(|rule| rule.kinds.is_none() && rule.except.is_empty());
        whole.map(|rule| now - rule.max_age.as_secs()).max().unwrap_or(0)
    }
}

/// How long events of some kinds are kept.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct KeepRule {
    /// The kinds; all if not set.
    #[serde(default)]
    pub kinds: Option<Vec<u16>>,
    /// Kinds to which the rule does not apply.
    #[serde(default)]
    pub except: Vec<u16>,
    /// Events older than this are removed.
    pub max_age: Span,
}

section! {
    /// The initial relays.
    Initializer {
        /// `builtin`, URLs of relays, and paths and http(s) URLs of lists with one URL per line.
        seeds: Vec<String> = vec!["builtin".into()],
    }
}

section! {
    /// Finding relays.
    Finder {
        /// Whether it runs.
        enabled: bool = true,
        /// Time between two passes.
        interval: Span = Span::seconds(600),
        /// JSON documents on the web that list relays.
        sources: Vec<Source> = vec![],
        /// Whether relay URLs are extracted from archived events.
        events: bool = true,
    }
}

/// A JSON document on the web that lists relays.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Source {
    /// Its http(s) URL.
    pub url: String,
    /// A JMESPath expression that yields a list of URLs.
    #[serde(default = "whole_document")]
    pub jmespath: String,
    /// Time between two fetches.
    #[serde(default = "a_day")]
    pub interval: Span,
}

fn whole_document() -> String {
    "@".into()
}

fn a_day() -> Span {
    Span::seconds(86_400)
}

section! {
    /// Checking relays.
    Monitor {
        /// Whether it runs.
        enabled: bool = true,
        /// Time between two checks of a relay; announced as `frequency` (NIP-66).
        interval: Span = Span::seconds(3_600),
        /// The checks.
        checks: Vec<Check> = Check::ALL.to_vec(),
        /// Relays checked concurrently.
        concurrency: usize = 32,
        /// Whether results are published (kinds 10166 and 30166) to `identity.relays`.
        publish: bool = true,
        /// Whether publishing waits until every relay was checked once.
        warm_up: bool = true,
        /// After this time of unreachability, published results are withdrawn (kind 5).
        withdraw_after: Span = Span::seconds(7 * 86_400),
        /// How long checks are kept; indefinitely if not set.
        history: Option<Span> = Some(Span::seconds(90 * 86_400)),
        /// The most proof of work (NIP-13), in bits, that the write test is mined to for relays that require it.
        max_pow: u8 = 18,
        /// Location of the agent as a geohash; announced if set.
        geohash: Option<String> = None,
        /// Location databases.
        geo: Geo = Geo::default(),
        /// Hosts whose paths are separate relays even if their documents are equal; `*` matches anything.
        distinct: Vec<String> = vec![],
    }
}

section! {
    /// Databases in MaxMind's format. A file may be replaced while the agent runs.
    Geo {
        /// Cities, such as GeoLite2-City.mmdb.
        city: Option<PathBuf> = None,
        /// Networks, such as GeoLite2-ASN.mmdb.
        asn: Option<PathBuf> = None,
    }
}

section! {
    /// Archiving events.
    Synchronizer {
        /// Whether it runs.
        enabled: bool = true,
        /// Time between two passes over a relay.
        interval: Span = Span::seconds(600),
        /// Filters of the events that are archived (NIP-01, without since, until and limit).
        filters: Vec<Value> = vec![json!({})],
        /// Start of the archived time: unix seconds or RFC 3339.
        since: Moment = Moment(0),
        /// Younger events may still reach a relay: they are fetched, and requested again later.
        settle: Span = Span::seconds(120),
        /// Whether events are received live, beside the passes.
        live: bool = true,
        /// Relays followed live concurrently.
        live_relays: usize = 64,
        /// Whether relays that support NIP-77 are compared with the archive before anything is fetched.
        negentropy: bool = true,
        /// The interval at which everything is compared again, to find events that a relay no longer holds or received late.
        recheck: Span = Span::seconds(7 * 86_400),
        /// Whether the agent authenticates to relays that ask (NIP-42).
        auth: bool = false,
        /// Events requested per page.
        page_size: usize = 500,
        /// Relays synchronized concurrently.
        concurrency: usize = 16,
        /// Settings that differ for some relays.
        overrides: Vec<Override> = vec![],
        /// Set by overrides only.
        #[serde(skip)]
        request_timeout: Option<Span> = None,
    }
}

section! {
    /// Health, metrics, REST and the dashboard over HTTP.
    Http {
        /// Whether it runs.
        enabled: bool = true,
        /// Listening address.
        #[schemars(with = "String")]
        listen: SocketAddr = SocketAddr::from(([127, 0, 0, 1], 8080)),
        /// Write requests need this token or a signature (NIP-98).
        token: Option<Secret> = None,
        /// Keys whose signatures are accepted besides the agent's own (npub or hexadecimal).
        admins: Vec<String> = vec![],
        /// Origins whose pages may read; `*` for all.
        cors: Vec<String> = vec![],
        /// Requests per minute per address.
        per_minute: u32 = 600,
        /// Concurrent connections.
        max_connections: usize = 256,
        /// Concurrent connections per address (per /64 of IPv6).
        max_per_address: usize = 32,
        /// Proxies whose X-Forwarded-For is trusted; the limit per address does not apply to them.
        #[schemars(with = "Vec<String>")]
        trusted_proxies: Vec<IpNet> = loopback(),
        /// Public URL, such as https://brotr.example.com: signatures (NIP-98) must name it. Without it they must name the
        /// listening address or loopback.
        public_url: Option<String> = None,
    }
}
