//! Name lookups: one for each connection, with the properties of the answer.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{ConnectionConfig, LookupIpStrategy, NameServerConfig, ResolverConfig, ResolverOpts};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::op::ResponseCode;
use hickory_resolver::proto::rr::RData;
use hickory_resolver::system_conf::read_system_conf;

use crate::settings::SettingsError;
use tokio::time::Instant;

/// Timeout of one query to a name server; it is tried twice.
const QUERY_TIMEOUT: Duration = Duration::from_secs(4);
/// The most addresses of one name.
const MOST: usize = 32;

/// The answer to a lookup.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Lookup {
    /// Its addresses, IPv4 first.
    pub addresses: Vec<IpAddr>,
    /// The canonical name, if the name is an alias.
    pub cname: Option<String>,
    /// Seconds for which the answer may be cached.
    pub ttl: u32,
    /// How long it took.
    pub took: Duration,
}

/// Why a name has no addresses.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LookupError {
    /// The name does not exist (NXDOMAIN).
    #[error("no such name")]
    NoName,
    /// The name exists, and has neither an A nor an AAAA record.
    #[error("the name has no address")]
    NoAddress,
    /// The name server answered with an error, such as SERVFAIL.
    #[error("the name server failed: {0}")]
    ServerFailed(String),
    /// No name server answered. It may be the network of this machine, or the name servers of the domain, that failed.
    #[error("no name server answered")]
    NoAnswer,
    /// Neither a valid name, nor a valid answer.
    #[error("{0}")]
    Invalid(String),
}

impl LookupError {
    /// Returns a code for the failure, for statistics.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::NoName => "dns_nxdomain",
            Self::NoAddress => "dns_no_address",
            Self::ServerFailed(_) => "dns_server_failure",
            Self::NoAnswer => "dns_timeout",
            Self::Invalid(_) => "dns_invalid",
        }
    }
}

impl From<NetError> for LookupError {
    fn from(error: NetError) -> Self {
        match &error {
            NetError::Timeout | NetError::NoConnections | NetError::Io(_) | NetError::Busy => Self::NoAnswer,
            NetError::Dns(DnsError::NoRecordsFound(found)) => match found.response_code {
                ResponseCode::NXDomain => Self::NoName,
                ResponseCode::NoError => Self::NoAddress,
                code => Self::ServerFailed(code.to_string()),
            },
            NetError::Dns(DnsError::ResponseCode(code)) => Self::ServerFailed(code.to_string()),
            _ => Self::Invalid(brotr_core::sanitize(&error.to_string())),
        }
    }
}

/// Queries name servers.
pub(crate) struct Resolver(TokioResolver);

impl Resolver {
    /// Returns a resolver that queries these servers, or those of the system.
    pub(crate) fn new(nameservers: &[SocketAddr]) -> Result<Self, SettingsError> {
        let (system, mut options) = read_system_conf().unwrap_or_else(|error| {
            tracing::debug!(%error, "no /etc/resolv.conf: asking the name server of this machine");
            (ResolverConfig::from_name_servers(vec![server(([127, 0, 0, 1], 53).into())]), ResolverOpts::default())
        });
        // Only the servers of the system's settings: search domains are of no use for relays.
        let (_, _, found) = system.into_parts();
        let servers = if nameservers.is_empty() { found } else { nameservers.iter().copied().map(server).collect() };
        options.ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
        options.timeout = QUERY_TIMEOUT;
        options.attempts = 2;
        // Every connection reflects the current state: a cached answer would have another query's TTL.
        options.cache_size = 0;
        let config = ResolverConfig::from_name_servers(servers);
        let builder = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
        let resolver = builder.with_options(options).build();
        Ok(Self(resolver.map_err(|error| SettingsError::Resolver(error.to_string()))?))
    }

    /// Looks up a name.
    pub(crate) async fn lookup(&self, host: &str) -> Result<Lookup, LookupError> {
        let began = Instant::now();
        let found = self.0.lookup_ip(host).await?;
        let mut lookup = Lookup { took: began.elapsed(), ttl: u32::MAX, ..Lookup::default() };
        for record in found.as_lookup().answers() {
            lookup.ttl = lookup.ttl.min(record.ttl);
            match &record.data {
                RData::A(ip) => lookup.addresses.push(IpAddr::V4(ip.0)),
                RData::AAAA(ip) => lookup.addresses.push(IpAddr::V6(ip.0)),
                RData::CNAME(name) => {
                    lookup.cname = Some(name.to_utf8().trim_end_matches('.').to_owned());
                }
                _ => {}
            }
        }
        lookup.addresses.sort_unstable_by_key(IpAddr::is_ipv6);
        lookup.addresses.dedup();
        lookup.addresses.truncate(MOST);
        Ok(lookup)
    }
}

fn server(address: SocketAddr) -> NameServerConfig {
    let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()].map(|mut connection| {
        connection.port = address.port();
        connection
    });
    NameServerConfig::new(address.ip(), true, connections.into())
}
