//! The state of a relay.

use crate::words;

words! {
    /// The result of the last check.
    RelayState, "relay state" {
        /// Not checked yet.
        New = "new",
        /// It answered as a relay does.
        Up = "up",
        /// It did not answer as a relay does.
        Down = "down",
        /// It is the relay at the root of its host, under another path.
        Alias = "alias",
        /// It is left alone, because its operator or the agent's asked for that.
        OptedOut = "opted-out",
    }
}
