//! What a relay was found to be.

use crate::words;

words! {
    /// What the last check found.
    RelayState, "relay state" {
        /// Not checked yet.
        New = "new",
        /// It answered as a relay does.
        Up = "up",
        /// It did not.
        Down = "down",
        /// It is the relay at the root of its host, under another path.
        Alias = "alias",
    }
}
