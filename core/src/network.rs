//! The networks of relays.

use crate::words;

words! {
    /// A network on which relays are reached.
    Network, "network" {
        /// The public internet.
        Clearnet = "clearnet",
        /// A `.onion` service.
        Tor = "tor",
        /// An `.i2p` service.
        I2p = "i2p",
        /// A `.loki` service.
        Loki = "loki",
    }
}
