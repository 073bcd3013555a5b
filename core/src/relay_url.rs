//! URLs of relays: one normalized form for each relay, and a reason for each text that is not a relay's URL.

use std::fmt;
use std::net::IpAddr;

use url::{Host, Url};

use crate::{Guard, Network};

/// The longest URL, in bytes; no known relay has a longer one.
pub const MAX_RELAY_URL: usize = 1_024;

/// The normalized URL of a relay: `ws` or `wss`, lower-case host without trailing dot (IDN in punycode), no default port, `/`
/// for an empty path, and neither user, query nor fragment (RFC 3986, section 6; NIP-66's `d`).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RelayUrl {
    url: String,
    host: String,
    port: u16,
    network: Network,
}

/// Why a text is not the URL of a relay that may be dialed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RelayUrlError {
    /// The URL is valid, but not on the public internet or a known network.
    #[error("{0}")]
    Refused(String),
    /// The text is not the URL of a relay.
    #[error("{0}")]
    Malformed(String),
}

impl RelayUrlError {
    fn malformed(reason: &str) -> Self {
        Self::Malformed(reason.to_owned())
    }
}

impl RelayUrl {
    /// Parses and normalizes a URL.
    ///
    /// # Errors
    /// See [`RelayUrlError`]; the message says what is wrong.
    pub fn parse(text: &str, guard: &Guard) -> Result<Self, RelayUrlError> {
        let text = text.trim();
        if text.len() > MAX_RELAY_URL {
            return Err(RelayUrlError::Malformed(format!("longer than {MAX_RELAY_URL} bytes")));
        }
        if text.contains(|c: char| c.is_whitespace() || c.is_control()) {
            return Err(RelayUrlError::malformed("white space inside"));
        }
        let Some((scheme, rest)) = text.split_once("://") else {
            return Err(RelayUrlError::malformed("no scheme: an address starts with wss:// or ws://"));
        };
        if !scheme.eq_ignore_ascii_case("wss") && !scheme.eq_ignore_ascii_case("ws") {
            return Err(RelayUrlError::malformed("not a wss:// or ws:// address"));
        }
        let lower = rest.to_ascii_lowercase();
        let glued = lower.contains("://") || lower.contains("%3a%2f%2f") || lower.contains(['|', ',', ';']);
        if glued || ["wss//", "ws//", "https//", "http//"].iter().any(|p| lower.starts_with(p)) {
            return Err(RelayUrlError::malformed("several addresses glued together"));
        }
        if text.contains('\\') {
            return Err(RelayUrlError::malformed("a backslash inside"));
        }
        let mut url = Url::parse(text).map_err(|e| RelayUrlError::Malformed(e.to_string()))?;
        if !url.username().is_empty() || url.password().is_some() {
            return Err(RelayUrlError::malformed("a user name or password inside"));
        }
        url.set_query(None);
        url.set_fragment(None);
        let no_host = || RelayUrlError::malformed("no host");
        // Trailing dots of a name are redundant; without them it may be an IP address, which is checked below.
        if let Some(Host::Domain(name)) = url.host()
            && name.ends_with('.')
        {
            let name = name.trim_end_matches('.').to_owned();
            url.set_host(Some(&name)).map_err(|_| no_host())?;
        }
        let network = match url.host().ok_or_else(no_host)? {
            Host::Ipv4(ip) => ip_network(IpAddr::V4(ip), guard)?,
            Host::Ipv6(ip) => ip_network(IpAddr::V6(ip), guard)?,
            Host::Domain(name) => name_network(name, guard)?,
        };
        let path = canonical_path(url.path())?;
        url.set_path(&path);
        if url.as_str().len() > MAX_RELAY_URL {
            return Err(RelayUrlError::Malformed(format!(
                "longer than {MAX_RELAY_URL} bytes once its path is escaped"
            )));
        }
        let port = url.port_or_known_default().filter(|port| *port != 0);
        Ok(Self {
            host: url.host_str().ok_or_else(no_host)?.trim_matches(['[', ']']).to_owned(),
            port: port.ok_or_else(|| RelayUrlError::malformed("port 0"))?,
            network,
            url: url.into(),
        })
    }

    /// Returns the URL as it is stored, shown and published.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.url
    }

    /// Returns the host: a name, or an IP address without brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Returns the port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Returns the URL of the host's root, if this is not it.
    #[must_use]
    pub fn root(&self, guard: &Guard) -> Option<Self> {
        let mut url = Url::parse(&self.url).ok().filter(|url| url.path() != "/")?;
        url.set_path("/");
        Self::parse(url.as_str(), guard).ok()
    }

    /// Returns true if the path is one that clients make up for a user and no relay has: with a key or the host's own name in
    /// it.
    #[must_use]
    pub fn is_made_up(&self) -> bool {
        let authority = self.url.split_once("://").map_or("", |(_, rest)| rest);
        let path = authority.split_once('/').map_or("", |(_, path)| path).to_ascii_lowercase();
        let is_key = |segment: &str| {
            segment.len() == 64 && segment.bytes().all(|b| b.is_ascii_hexdigit())
                || ["npub1", "nprofile1", "nevent1", "note1"].iter().any(|start| segment.starts_with(start))
        };
        path.split('/').any(is_key) || path.contains(&self.host)
    }

    /// Returns the relay's network.
    #[must_use]
    pub fn network(&self) -> Network {
        self.network
    }

    /// Returns true if the connection uses TLS.
    #[must_use]
    pub fn is_secure(&self) -> bool {
        self.url.starts_with("wss:")
    }

    /// Returns the URL of its information document (NIP-11): the same with `http` for `ws`.
    #[must_use]
    pub fn info_url(&self) -> String {
        self.url.replacen("ws", "http", 1)
    }
}

impl fmt::Display for RelayUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.url)
    }
}

impl fmt::Debug for RelayUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.url)
    }
}

fn ip_network(ip: IpAddr, guard: &Guard) -> Result<Network, RelayUrlError> {
    guard.check(ip).map_err(|reason| RelayUrlError::Refused(reason.to_string()))?;
    Ok(Network::Clearnet)
}

fn name_network(name: &str, guard: &Guard) -> Result<Network, RelayUrlError> {
    let labels: Vec<&str> = name.split('.').collect();
    let label_ok = |label: &&str| {
        !label.is_empty()
            && label.len() <= 63
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    if name.len() > 253 || !labels.iter().all(label_ok) {
        return Err(RelayUrlError::malformed("not a host name"));
    }
    let base32 = |label: &str, len| label.len() == len && label.bytes().all(|b| matches!(b, b'a'..=b'z' | b'2'..=b'7'));
    match labels.as_slice() {
        [.., service, "onion"] if base32(service, 56) => Ok(Network::Tor),
        [.., "onion"] => Err(RelayUrlError::malformed("not a version 3 onion address")),
        [_, .., "i2p"] => Ok(Network::I2p),
        [_, .., "loki"] => Ok(Network::Loki),
        _ => {
            guard.check_name(name).map_err(|reason| RelayUrlError::Refused(reason.to_string()))?;
            Ok(Network::Clearnet)
        }
    }
}

/// Normalizes a path: escapes in one form, no empty segments, no trailing slash but the root's.
fn canonical_path(path: &str) -> Result<String, RelayUrlError> {
    let mut out = String::new();
    for segment in path.split('/').filter(|segment| !segment.is_empty()) {
        out.push('/');
        let mut bytes = segment.bytes();
        while let Some(byte) = bytes.next() {
            let byte = if byte == b'%' {
                let digit = |b: Option<u8>| b.and_then(|b| char::from(b).to_digit(16));
                let (Some(high), Some(low)) = (digit(bytes.next()), digit(bytes.next())) else {
                    return Err(RelayUrlError::malformed("a broken percent escape in the path"));
                };
                u8::try_from(high * 16 + low).expect("two hex digits")
            } else {
                byte
            };
            match byte {
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b':' | b'@' | b'+' | b'=' => {
                    out.push(char::from(byte));
                }
                0x21..=0x7e | 0x80.. => out.push_str(&format!("%{byte:02X}")),
                _ => return Err(RelayUrlError::malformed("white space or a control character in the path")),
            }
        }
    }
    if out.is_empty() {
        out.push('/');
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn invented_paths_are_distinguished_from_relays() {
        let key = "a".repeat(64);
        for (text, made_up) in [
            ("wss://a.example".to_owned(), false),
            ("wss://a.example/inbox".to_owned(), false),
            (format!("wss://a.example/{key}"), true),
            (format!("wss://a.example/chat/{key}/"), true),
            ("wss://a.example/npub1xyz".to_owned(), true),
            ("wss://a.example/a.example".to_owned(), true),
        ] {
            let address = RelayUrl::parse(&text, &Guard::default()).expect("an address");
            assert_eq!(address.is_made_up(), made_up, "{text}");
            let root = address.root(&Guard::default()).unwrap_or_else(|| address.clone());
            assert_eq!(root.as_str(), "wss://a.example/");
            assert!(root.root(&Guard::default()).is_none());
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]
        #[test]
        fn no_text_panics_and_what_is_canonical_stays_so(
            text in prop_oneof![
                any::<String>(),
                "[wW][sS]{1,2}://[a-z0-9.:@%/?#\\[\\]-]{0,40}",
                "wss://[a-z]{1,8}\\.example(:[0-9]{1,6})?(/[a-zA-Z0-9%~._é -]{0,12}){0,3}",
            ]
        ) {
            if let Ok(address) = RelayUrl::parse(&text, &Guard::default()) {
                let again = RelayUrl::parse(address.as_str(), &Guard::default());
                prop_assert_eq!(again.as_ref(), Ok(&address));
                prop_assert!(!address.as_str().contains(char::is_whitespace) && address.port() != 0);
            }
        }
    }

    #[test]
    fn one_spelling_for_each_relay() {
        let onion = "a".repeat(56);
        let table = [
            ("wss://relay.example.com", "wss://relay.example.com/"),
            ("  WSS://Relay.Example.COM/  ", "wss://relay.example.com/"),
            ("wss://relay.example.com:443/", "wss://relay.example.com/"),
            ("ws://relay.example.com:80", "ws://relay.example.com/"),
            ("wss://relay.example.com:80", "wss://relay.example.com:80/"),
            ("ws://relay.example.com:443", "ws://relay.example.com:443/"),
            ("wss://relay.example.com./", "wss://relay.example.com/"),
            ("wss://relay.example.com//", "wss://relay.example.com/"),
            ("wss://relay.example.com/a/", "wss://relay.example.com/a"),
            ("wss://relay.example.com//a//b/", "wss://relay.example.com/a/b"),
            ("wss://relay.example.com/a/../b", "wss://relay.example.com/b"),
            ("wss://relay.example.com/A", "wss://relay.example.com/A"),
            ("wss://relay.example.com/?x=1&y=2", "wss://relay.example.com/"),
            ("wss://relay.example.com#here", "wss://relay.example.com/"),
            ("wss://relay.example.com/%61%7e", "wss://relay.example.com/a~"),
            ("wss://relay.example.com/%c3%a9", "wss://relay.example.com/%C3%A9"),
            ("wss://relay.example.com/é", "wss://relay.example.com/%C3%A9"),
            ("wss://bücher.example", "wss://xn--bcher-kva.example/"),
            ("wss://XN--BCHER-KVA.example", "wss://xn--bcher-kva.example/"),
            ("wss://my_relay.example.com", "wss://my_relay.example.com/"),
            ("wss://1.1.1.1", "wss://1.1.1.1/"),
            ("wss://0x01010101", "wss://1.1.1.1/"),
            ("wss://[2606:4700:4700:0:0:0:0:1111]:443", "wss://[2606:4700:4700::1111]/"),
            (&format!("ws://{onion}.onion"), &format!("ws://{onion}.onion/")),
            ("ws://relay.i2p", "ws://relay.i2p/"),
            ("ws://relay.loki:22", "ws://relay.loki:22/"),
        ];
        let guard = Guard::default();
        for (text, wanted) in table {
            let address = RelayUrl::parse(text, &guard).unwrap_or_else(|e| panic!("{text}: {e}"));
            assert_eq!(address.as_str(), wanted, "{text}");
            assert_eq!(RelayUrl::parse(wanted, &guard).expect("canonical"), address, "parsing again changes nothing");
        }
    }

    #[test]
    fn invalid_relay_urls_are_refused() {
        let long = format!("wss://{}.example", "a".repeat(2_000));
        let label = format!("wss://{}.example", "a".repeat(64));
        let table = [
            "",
            "wss://",
            "wss:///",
            "relay.example.com",
            "https://relay.example.com",
            "wss//relay.example.com",
            "wss://wss://relay.example.com",
            "wss://https//relay.example.com",
            "wss://relay.example.comwss://other.example.com",
            "wss://relay.example.com/wss://other.example.com",
            "wss://relay.example.com/wss%3A%2F%2Fother.example.com",
            "wss://relay.example.com,wss://other.example.com",
            "wss://relay.example.com|other.example.com",
            "wss://relay.example.com other",
            "wss://relay.example.com/%20",
            "wss://relay.example.com/a%0Ab",
            "wss://relay.example.com/%zz",
            "wss://relay.example.com/%2",
            "wss://user@relay.example.com",
            "wss://user:password@relay.example.com",
            "wss://relay.example.com:0",
            "wss://relay.example.com:99999",
            "wss://relay.example.com:port",
            "wss://-relay.example.com",
            "wss://relay..example.com",
            "wss://relay\\.example.com",
            "wss://256.1.1.1",
            "wss://[::1",
            "ws://short.onion",
            "ws://.i2p",
            &long,
            &label,
        ];
        for text in table {
            match RelayUrl::parse(text, &Guard::default()) {
                Err(RelayUrlError::Malformed(_)) => {}
                other => panic!("{text:?} gave {other:?}"),
            }
        }
    }

    #[test]
    fn every_private_range_is_refused_in_every_spelling() {
        let table = [
            "wss://127.0.0.1",
            "wss://127.1",
            "wss://127.1..",
            "wss://127.0.0.1...",
            "ws://0.8.....",
            "wss://2130706433",
            "wss://0x7f000001",
            "wss://0x7f.0.0.1",
            "wss://0177.0.0.1",
            "wss://0.0.0.0",
            "wss://10.0.0.72:4848",
            "wss://100.64.0.1",
            "wss://100.127.255.255",
            "wss://169.254.169.254",
            "wss://172.16.0.1",
            "wss://172.31.255.255",
            "wss://192.0.0.1",
            "wss://192.0.2.1",
            "wss://192.88.99.1",
            "wss://192.168.3.30:4848",
            "wss://198.18.0.1",
            "wss://198.19.255.255",
            "wss://198.51.100.7",
            "wss://203.0.113.7",
            "wss://224.0.0.1",
            "wss://240.0.0.1",
            "wss://255.255.255.255",
            "wss://[::]",
            "wss://[::1]",
            "wss://[0:0:0:0:0:0:0:1]",
            "wss://[::ffff:127.0.0.1]",
            "wss://[::ffff:8.8.8.8]",
            "wss://[::127.0.0.1]",
            "wss://[64:ff9b::7f00:1]",
            "wss://[64:ff9b:1::1]",
            "wss://[100::1]",
            "wss://[2001::1]",
            "wss://[2001:db8::1]",
            "wss://[2002:7f00:1::]",
            "wss://[3fff::1]",
            "wss://[5f00::1]",
            "wss://[fc00::1]",
            "wss://[fd12:3456::1]",
            "wss://[fe80::1]",
            "wss://[fec0::1]",
            "wss://[ff02::1]",
            "wss://localhost",
            "wss://LOCALHOST.",
            "wss://relay.localhost",
            "wss://umbrel.local",
            "wss://metadata.google.internal",
            "wss://nas.home.arpa",
            "wss://relay",
        ];
        for text in table {
            match RelayUrl::parse(text, &Guard::default()) {
                Err(RelayUrlError::Refused(_)) => {}
                other => panic!("{text:?} gave {other:?}"),
            }
        }
    }

    #[test]
    fn only_allowed_ranges_are_dialed() {
        let guard = Guard::new(vec!["127.0.0.0/8".parse().expect("a range")]);
        assert_eq!(RelayUrl::parse("ws://127.0.0.1:7777", &guard).expect("allowed").as_str(), "ws://127.0.0.1:7777/");
        assert_eq!(RelayUrl::parse("ws://localhost:7777", &guard).expect("resolved later").host(), "localhost");
        for text in ["ws://10.0.0.1", "ws://[::1]", "ws://[::ffff:127.0.0.1]"] {
            assert!(matches!(RelayUrl::parse(text, &guard), Err(RelayUrlError::Refused(_))), "{text}");
        }
    }
}
