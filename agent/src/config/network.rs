//! The sections of `brotr.yaml` about networks.

use std::net::SocketAddr;
use std::path::PathBuf;

use brotr_net::Limits;
use ipnet::IpNet;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::sections::section;
use super::{Size, Span};

section! {
    /// Limits on outgoing connections.
    Network {
        /// Address ranges outside the public internet that may be dialed.
        #[schemars(with = "Vec<String>")]
        allow: Vec<IpNet> = vec![],
        /// Concurrent connections on all networks.
        max_connections: usize = 256,
        /// New connections per minute.
        dials_per_minute: u32 = 1_200,
        /// The largest message accepted from a relay.
        max_message: Size = Size::mib(1),
        /// Relays that are neither checked nor read: URLs, or patterns of hosts in which `*` matches anything.
        avoid: Vec<String> = vec![],
        /// Whether the `robots.txt` of relays is honoured.
        robots: bool = true,
        /// How relay operators can contact you; the agent's npub if not set.
        contact: Option<String> = None,
        /// Name servers (address and port); the system's if none is listed.
        #[schemars(with = "Vec<String>")]
        nameservers: Vec<SocketAddr> = vec![],
        /// Certificates (PEM) of additional trusted authorities.
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
    /// Returns the settings of the dialer. Arti keeps its state in `tor`, if Tor is used.
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
        /// Time limit of name lookup, TCP, TLS and upgrade together.
        connect_timeout: Span = Span::seconds(10),
        /// A relay that sends nothing in reply for this long has timed out.
        request_timeout: Span = Span::seconds(20),
        /// Concurrent connections.
        max_connections: usize = 128,
    }
}

section! {
    /// Onion services, through arti in this process.
    Tor {
        /// Whether it is used; if not set, the profile decides: `bigbrotr` uses it.
        enabled: Option<bool> = None,
        /// Time limit of circuit, TLS and upgrade together.
        connect_timeout: Span = Span::seconds(90),
        /// A relay that sends nothing in reply for this long has timed out.
        request_timeout: Span = Span::seconds(60),
        /// Concurrent connections.
        max_connections: usize = 24,
        /// Whether the clearnet is reached through Tor as well. Then no name is resolved locally.
        clearnet: bool = false,
        /// Settings of arti, as in its configuration file: other directory authorities, bridges.
        settings: Value = json!({}),
    }
}

section! {
    /// A network that is reached through a SOCKS5 proxy.
    Proxied {
        /// Whether it is used.
        enabled: bool = true,
        /// Address and port of the proxy; without one the network is not reached.
        #[schemars(with = "Option<String>")]
        socks: Option<SocketAddr> = None,
        /// Time limit of proxy, TLS and upgrade together.
        connect_timeout: Span = Span::seconds(60),
        /// A relay that sends nothing in reply for this long has timed out.
        request_timeout: Span = Span::seconds(45),
        /// Concurrent connections.
        max_connections: usize = 16,
    }
}
