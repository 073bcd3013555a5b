//! The networks that relays are reached over.

use crate::words;

words! {
    /// How a relay is reached.
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
