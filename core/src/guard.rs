//! Which addresses may be dialed: those of the public internet, and the ranges in `network.allow`.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

/// Special-purpose ranges of IPv4 (IANA's registry) without public relays.
const NOT_PUBLIC_V4: &[(Ipv4Net, &str)] = &[
    (v4(0, 0, 0, 0, 8), "this network"),
    (v4(10, 0, 0, 0, 8), "private network"),
    (v4(100, 64, 0, 0, 10), "carrier-grade NAT"),
    (v4(127, 0, 0, 0, 8), "loopback"),
    (v4(169, 254, 0, 0, 16), "link-local"),
    (v4(172, 16, 0, 0, 12), "private network"),
    (v4(192, 0, 0, 0, 24), "protocol assignments"),
    (v4(192, 0, 2, 0, 24), "documentation"),
    (v4(192, 88, 99, 0, 24), "6to4 relay"),
    (v4(192, 168, 0, 0, 16), "private network"),
    (v4(198, 18, 0, 0, 15), "benchmarking"),
    (v4(198, 51, 100, 0, 24), "documentation"),
    (v4(203, 0, 113, 0, 24), "documentation"),
    (v4(224, 0, 0, 0, 4), "multicast"),
    (v4(240, 0, 0, 0, 4), "reserved"),
];

/// The routed range of IPv6, and what is not public within it. Everything outside (loopback, mapped, NAT64, unique local,
/// link-local, multicast) is refused as well.
const GLOBAL_V6: Ipv6Net = v6([0x2000, 0, 0], 3);
const NOT_PUBLIC_V6: &[(Ipv6Net, &str)] = &[
    (v6([0x2001, 0, 0], 23), "protocol assignments"),
    (v6([0x2001, 0xdb8, 0], 32), "documentation"),
    (v6([0x2002, 0, 0], 16), "6to4"),
    (v6([0x3fff, 0, 0], 20), "documentation"),
];

/// Names that are never public.
const NOT_PUBLIC_NAMES: &[&str] = &["localhost", "local", "internal", "home.arpa", "lan", "invalid"];

const fn v4(a: u8, b: u8, c: u8, d: u8, bits: u8) -> Ipv4Net {
    Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), bits)
}

const fn v6([a, b, c]: [u16; 3], bits: u8) -> Ipv6Net {
    Ipv6Net::new_assert(Ipv6Addr::new(a, b, c, 0, 0, 0, 0, 0), bits)
}

/// Decides which addresses may be dialed.
#[derive(Debug, Clone, Default)]
pub struct Guard {
    allow: Vec<IpNet>,
}

/// Why an address may not be dialed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PrivateAddress(&'static str);

impl fmt::Display for PrivateAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "private address ({})", self.0)
    }
}

impl Guard {
    /// Returns a guard that allows these ranges besides the public internet.
    #[must_use]
    pub fn new(allow: Vec<IpNet>) -> Self {
        Self { allow }
    }

    /// Checks an address.
    ///
    /// # Errors
    /// Fails if it is neither public nor in an allowed range.
    pub fn check(&self, ip: IpAddr) -> Result<(), PrivateAddress> {
        if self.is_allowed(ip) {
            return Ok(());
        }
        let found = match ip {
            IpAddr::V4(ip) => NOT_PUBLIC_V4.iter().find(|(net, _)| net.contains(&ip)).map(|(_, name)| *name),
            IpAddr::V6(ip) if !GLOBAL_V6.contains(&ip) => Some("not global unicast"),
            IpAddr::V6(ip) => NOT_PUBLIC_V6.iter().find(|(net, _)| net.contains(&ip)).map(|(_, name)| *name),
        };
        found.map_or(Ok(()), |name| Err(PrivateAddress(name)))
    }

    /// Returns true if an address is in an allowed range.
    #[must_use]
    pub fn is_allowed(&self, ip: IpAddr) -> bool {
        self.allow.iter().any(|net| net.contains(&ip))
    }

    /// Checks a name. If ranges are allowed, local names may resolve into them, and [`Guard::check`] decides on the addresses.
    ///
    /// # Errors
    /// Fails if the name is never public.
    pub fn check_name(&self, name: &str) -> Result<(), PrivateAddress> {
        let within = |zone: &str| name.strip_suffix(zone).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'));
        let local = NOT_PUBLIC_NAMES.iter().any(|zone| within(zone)) || !name.contains('.');
        if local && self.allow.is_empty() { Err(PrivateAddress("local name")) } else { Ok(()) }
    }
}
