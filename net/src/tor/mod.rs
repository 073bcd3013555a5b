//! Tor, by arti inside this process; left out of a build without the feature `tor`.

#[cfg(not(feature = "tor"))]
mod absent;
#[cfg(feature = "tor")]
mod arti;

use std::fmt;

#[cfg(not(feature = "tor"))]
pub use absent::Tor;
#[cfg(feature = "tor")]
pub use arti::Tor;

/// The state of arti.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TorStatus {
    /// Not needed yet.
    Idle,
    /// Reading the directory; with the percentage done.
    Starting(u8),
    /// Circuits can be built.
    Ready,
    /// It could not be started.
    Failed(String),
}

impl fmt::Display for TorStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Idle => f.write_str("idle: not needed so far"),
            Self::Starting(percent) => write!(f, "starting, {percent} %"),
            Self::Ready => f.write_str("ready"),
            Self::Failed(why) => write!(f, "failed: {why}"),
        }
    }
}
