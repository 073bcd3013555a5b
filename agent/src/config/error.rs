//! Errors of the configuration.

use std::io;
use std::path::PathBuf;

/// Why there is no valid configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("failed to read the configuration {}: {error}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's error.
        error: io::Error,
    },
    /// A file that an environment variable names cannot be read.
    #[error("failed to read {}, which {variable} names: {error}", path.display())]
    Secret {
        /// The variable.
        variable: String,
        /// The file.
        path: PathBuf,
        /// The system's error.
        error: io::Error,
    },
    /// An environment variable sets no key.
    #[error("the environment variable {0} names no configuration key: see brotr config schema")]
    UnknownVariable(String),
    /// A key is unknown or has an invalid value, or the text is not YAML.
    #[error("{place}: {problem}")]
    Invalid {
        /// Where it was set: file and line, or an environment variable.
        place: String,
        /// The key, and what is wrong with it.
        problem: String,
    },
}
