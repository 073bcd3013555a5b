//! The sections of `brotr.yaml`. The template beside this file explains each key to operators.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;

use brotr_net::Limits;
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::units::{Moment, Secret};
use super::{Dvm, Override, Size, Span};

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
        /// Where the key file and the embedded database are.
        data_dir: PathBuf = "./brotr-data".into(),
        /// Logs.
        log: Log = Log::default(),
        /// The archive.
        storage: Storage = Storage::default(),
        /// Who the agent is.
        identity: Identity = Identity::default(),
        /// What may be dialed, and how much of it at once.
        network: Network = Network::default(),
        /// The first relays.
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
        /// What the archive forgets.
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
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// A thing to check about a relay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Check {
    /// The WebSocket opens.
    Open,
    /// A REQ is answered with EOSE; and what the document claims is tried.
    Read,
    /// An event is answered with OK.
    Write,
    /// There is an information document.
    Nip11,
    /// The name resolves.
    Dns,
    /// The certificate is one that clients accept.
    Ssl,
    /// The address, and whose network it is in.
    Net,
    /// Where the address is.
    Geo,
}

impl Check {
    /// Every check.
    pub const ALL: [Self; 8] =
        [Self::Open, Self::Read, Self::Write, Self::Nip11, Self::Dns, Self::Ssl, Self::Net, Self::Geo];

    /// Its word.
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
    }
}

section! {
    /// The archive.
    Storage {
        /// `sqlite://PATH` or `postgres://...`; `brotr.db` in the data directory when not set.
        url: Option<String> = None,
        /// A PostgreSQL server that follows that one: clients of the relay, jobs and REST are answered from it.
        read_url: Option<String> = None,
        /// Whether the text of kinds 0, 1 and 30023 is indexed (NIP-50).
        search: bool = true,
        /// Archiving pauses when the disk of the embedded database has less free than this.
        min_free: Size = Size::mib(2_048),
        /// How long a relay stays reserved for the agent working on it; renewed while it works.
        lease: Span = Span::seconds(300),
    }
}

section! {
    /// Who the agent is.
    Identity {
        /// Holds the secret key; `agent.key` in the data directory when not set.
        key_file: Option<PathBuf> = None,
        /// The secret key itself: nsec, hex or ncryptsec. Goes before the file.
        secret: Option<Secret> = None,
        /// Opens an ncryptsec (NIP-49).
        passphrase: Option<Secret> = None,
        /// The agent's name, in its profile (kind 0).
        name: Option<String> = None,
        /// What it says about itself.
        about: Option<String> = None,
        /// The URL of its picture.
        picture: Option<String> = None,
        /// The relays it publishes to and names as its own (kind 10002). With none, nothing is published.
        relays: Vec<String> = vec![],
    }
}

section! {
    /// What may be dialed.
    Network {
        /// Ranges outside the public internet that may be dialed.
        #[schemars(with = "Vec<String>")]
        allow: Vec<IpNet> = vec![],
        /// Connections at a time, of all networks.
        max_connections: usize = 256,
        /// New connections a minute.
        dials_per_minute: u32 = 1_200,
        /// The largest message that is accepted from a relay.
        max_message: Size = Size::mib(1),
        /// How operators of relays can reach you; the agent's npub when not set.
        contact: Option<String> = None,
        /// Name servers (address and port); those of the system when none is named.
        #[schemars(with = "Vec<String>")]
        nameservers: Vec<SocketAddr> = vec![],
        /// Certificates (PEM) of authorities to trust beside Mozilla's.
        ca_file: Option<PathBuf> = None,
        /// The public internet.
        clearnet: Clearnet = Clearnet::default(),
        /// Onion services.
        tor: Tor = Tor::default(),
        /// I2P, through a proxy.
        i2p: Proxied = Proxied::default(),
        /// Lokinet, through a proxy.
        loki: Proxied = Proxied::default(),
    }
}

impl Network {
    /// The settings of the dialer; arti keeps its state in `tor`, if Tor is used.
    #[must_use]
    pub fn settings(&self, tor: Option<PathBuf>) -> brotr_net::Settings {
        brotr_net::Settings {
            allow: self.allow.clone(),
            max_connections: self.max_connections,
            dials_per_minute: self.dials_per_minute,
            max_message: self.max_message.as_u64().try_into().unwrap_or(usize::MAX),
            nameservers: self.nameservers.clone(),
            ca_file: self.ca_file.clone(),
            clearnet: brotr_net::Direct {
                enabled: self.clearnet.enabled,
                limits: Limits {
                    connect_timeout: self.clearnet.connect_timeout.get(),
                    request_timeout: self.clearnet.request_timeout.get(),
                    max_connections: self.clearnet.max_connections,
                },
            },
            tor: brotr_net::TorSettings {
                directory: tor,
                clearnet: self.tor.clearnet,
                arti: self.tor.settings.clone(),
                limits: Limits {
                    connect_timeout: self.tor.connect_timeout.get(),
                    request_timeout: self.tor.request_timeout.get(),
                    max_connections: self.tor.max_connections,
                },
            },
            i2p: self.i2p.settings(),
            loki: self.loki.settings(),
        }
    }
}

impl Proxied {
    fn settings(&self) -> brotr_net::Proxied {
        brotr_net::Proxied {
            enabled: self.enabled,
            socks: self.socks,
            limits: Limits {
                connect_timeout: self.connect_timeout.get(),
                request_timeout: self.request_timeout.get(),
                max_connections: self.max_connections,
            },
        }
    }
}

section! {
    /// Limits on the clearnet.
    Clearnet {
        /// Whether it is used.
        enabled: bool = true,
        /// Look-up, TCP, TLS and upgrade together.
        connect_timeout: Span = Span::seconds(10),
        /// A relay that sends nothing it was asked for during this time is silent.
        request_timeout: Span = Span::seconds(20),
        /// Connections at a time.
        max_connections: usize = 128,
    }
}

section! {
    /// Onion services, through arti in this process.
    Tor {
        /// Whether it is used; by the profile when not set: `bigbrotr` does.
        enabled: Option<bool> = None,
        /// A circuit, TLS and upgrade together.
        connect_timeout: Span = Span::seconds(90),
        /// A relay that sends nothing it was asked for during this time is silent.
        request_timeout: Span = Span::seconds(60),
        /// Connections at a time.
        max_connections: usize = 24,
        /// Whether the clearnet is reached through Tor as well. Then no name is ever looked up here.
        clearnet: bool = false,
        /// Arti's own settings, as its configuration file has them: other directory authorities, bridges.
        settings: Value = json!({}),
    }
}

section! {
    /// A network that is reached through a SOCKS5 proxy of yours.
    Proxied {
        /// Whether it is used.
        enabled: bool = true,
        /// The proxy's address and port; without one the network is not reached.
        #[schemars(with = "Option<String>")]
        socks: Option<SocketAddr> = None,
        /// The proxy's work, TLS and upgrade together.
        connect_timeout: Span = Span::seconds(60),
        /// A relay that sends nothing it was asked for during this time is silent.
        request_timeout: Span = Span::seconds(45),
        /// Connections at a time.
        max_connections: usize = 16,
    }
}

section! {
    /// The archive as a relay.
    Relay {
        /// Whether it runs.
        enabled: bool = false,
        /// Where it listens.
        #[schemars(with = "String")]
        listen: SocketAddr = SocketAddr::from(([127, 0, 0, 1], 7777)),
        /// Clients at a time.
        max_connections: usize = 1_024,
        /// Clients of one address at a time (of IPv6, of one /64).
        max_per_address: usize = 32,
        /// Proxies whose X-Forwarded-For is believed; their own connections are not counted as those of one address.
        #[schemars(with = "Vec<String>")]
        trusted_proxies: Vec<IpNet> = loopback(),
        /// What all clients together may take: answers, filters, comparisons and what comes in.
        memory: Size = Size::mib(256),
    }
}

/// The addresses of this machine alone.
fn loopback() -> Vec<IpNet> {
    vec![
        Ipv4Net::new_assert(Ipv4Addr::new(127, 0, 0, 0), 8).into(),
        Ipv6Net::new_assert(Ipv6Addr::LOCALHOST, 128).into(),
    ]
}

section! {
    /// Backups made while the daemon runs.
    Backup {
        /// Whether any are made.
        enabled: bool = false,
        /// How often.
        interval: Span = Span::seconds(86_400),
        /// How many are kept.
        keep: usize = 7,
        /// Where; `backups` in the data directory when not set.
        directory: Option<PathBuf> = None,
    }
}

section! {
    /// What the archive forgets.
    Retention {
        /// What is removed by age.
        rules: Vec<KeepRule> = vec![],
        /// The oldest events are removed from an archive that is larger.
        max_size: Option<Size> = None,
        /// Between two passes.
        interval: Span = Span::seconds(3_600),
    }
}

impl Retention {
    /// Whether anything is ever removed.
    #[must_use]
    pub fn is_on(&self) -> bool {
        !self.rules.is_empty() || self.max_size.is_some()
    }

    /// The date from which all events are kept, in unix seconds: what is older is removed, and need not be fetched.
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
    /// The kinds; all when not set.
    #[serde(default)]
    pub kinds: Option<Vec<u16>>,
    /// Kinds that the rule leaves alone.
    #[serde(default)]
    pub except: Vec<u16>,
    /// Events dated longer ago are removed.
    pub max_age: Span,
}

section! {
    /// The first relays.
    Initializer {
        /// `builtin`, paths and http(s) URLs of lists with one address a line.
        seeds: Vec<String> = vec!["builtin".into()],
    }
}

section! {
    /// Finding relays.
    Finder {
        /// Whether it runs.
        enabled: bool = true,
        /// Between two passes.
        interval: Span = Span::seconds(600),
        /// JSON documents on the web that name relays.
        sources: Vec<Source> = vec![],
        /// Whether archived events are read for relay addresses.
        events: bool = true,
    }
}

/// A JSON document on the web that names relays.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Source {
    /// Its http(s) URL.
    pub url: String,
    /// A JMESPath expression that yields a list of addresses.
    #[serde(default = "whole_document")]
    pub jmespath: String,
    /// Between two fetches.
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
        /// Between two checks of a relay; announced as `frequency` (NIP-66).
        interval: Span = Span::seconds(3_600),
        /// What is checked.
        checks: Vec<Check> = Check::ALL.to_vec(),
        /// Relays at a time.
        concurrency: usize = 32,
        /// Whether results are published (kinds 10166 and 30166) to `identity.relays`.
        publish: bool = true,
        /// Whether nothing is published before every relay was checked once.
        warm_up: bool = true,
        /// How long a relay is unreachable before what was published of it is withdrawn (kind 5).
        withdraw_after: Span = Span::seconds(7 * 86_400),
        /// How long checks are remembered; for ever when not set.
        history: Option<Span> = Some(Span::seconds(90 * 86_400)),
        /// The most bits of proof of work (NIP-13) that the write test is mined to, for relays that ask for it.
        max_pow: u8 = 18,
        /// Where the agent itself is, as a geohash; announced if set.
        geohash: Option<String> = None,
        /// Databases of places.
        geo: Geo = Geo::default(),
        /// Hosts whose paths are relays of their own, though their documents are the same; `*` stands for anything.
        distinct: Vec<String> = vec![],
    }
}

section! {
    /// Databases in MaxMind's format. A file may be exchanged while the agent runs.
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
        /// Between two passes over a relay.
        interval: Span = Span::seconds(600),
        /// What is archived (NIP-01 filters without since, until and limit).
        filters: Vec<Value> = vec![json!({})],
        /// From when on: unix seconds or RFC 3339.
        since: Moment = Moment(0),
        /// What is younger than this may still reach a relay: it is fetched, and asked for again.
        settle: Span = Span::seconds(120),
        /// Whether events are taken as relays take them in, beside the passes.
        live: bool = true,
        /// Relays followed at a time.
        live_relays: usize = 64,
        /// Whether relays that can (NIP-77) are compared with what is archived before anything is fetched.
        negentropy: bool = true,
        /// The interval at which everything is compared again, to see what a relay no longer holds and what it took in late.
        recheck: Span = Span::seconds(7 * 86_400),
        /// Whether the agent says who it is to relays that ask (NIP-42).
        auth: bool = false,
        /// Events asked for at a time.
        page_size: usize = 500,
        /// Relays at a time.
        concurrency: usize = 16,
        /// What is different for some relays.
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
        /// Where it listens.
        #[schemars(with = "String")]
        listen: SocketAddr = SocketAddr::from(([127, 0, 0, 1], 8080)),
        /// What may be written is written with this token, or signed (NIP-98).
        token: Option<Secret> = None,
        /// Whose signatures count beside the agent's own (npub or hexadecimal).
        admins: Vec<String> = vec![],
        /// Pages of these origins may read; `*` for all.
        cors: Vec<String> = vec![],
        /// Requests a minute from one address.
        per_minute: u32 = 600,
        /// Connections at a time.
        max_connections: usize = 256,
        /// Connections of one address at a time (of IPv6, of one /64).
        max_per_address: usize = 32,
        /// Proxies whose X-Forwarded-For is believed; their own connections are not counted as those of one address.
        #[schemars(with = "Vec<String>")]
        trusted_proxies: Vec<IpNet> = loopback(),
        /// Where others reach it, such as https://brotr.example.com: signatures (NIP-98) count for this URL. Without it they count
        /// for the address where it listens, and for loopback.
        public_url: Option<String> = None,
    }
}
