//! Why a command failed, and what that means for the exit status and the user.

use std::io;
use std::path::PathBuf;

use crate::config::ConfigError;

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    /// An argument is wrong.
    #[error("{0}")]
    Usage(String),
    /// The configuration is wrong.
    #[error(transparent)]
    Config(ConfigError),
    /// There is no archive to read.
    #[error("there is no archive at {}", .0.display())]
    NoArchive(PathBuf),
    /// The reader of stdout is gone, which ends a command like `brotr query | head` as it should.
    #[error("stdout was closed")]
    ClosedPipe,
    /// The daemon ran the command and reported its error.
    #[error("the daemon reported an error")]
    Reported(u8),
    /// Anything else.
    #[error("{}", text(.0))]
    Other(anyhow::Error),
}

impl Failure {
    pub(super) fn usage(problem: impl ToString) -> Self {
        Self::Usage(problem.to_string())
    }

    /// Returns the exit status: 2 for usage and configuration, 1 for anything else.
    pub(super) fn status(&self) -> u8 {
        match self {
            Self::Usage(_) | Self::Config(_) => 2,
            Self::ClosedPipe => 0,
            Self::NoArchive(_) | Self::Other(_) => 1,
            Self::Reported(status) => *status,
        }
    }

    /// Returns what to do about it, if the error itself does not say so.
    pub(super) fn hint(&self) -> Option<&'static str> {
        match self {
            Self::NoArchive(_) => Some("start one with brotr run or brotr init, or name it by --config or --data-dir"),
            Self::Config(_) => Some("brotr config check tests the configuration, brotr config schema describes it"),
            Self::Usage(_) | Self::ClosedPipe | Self::Reported(_) | Self::Other(_) => None,
        }
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        let error = match error.downcast::<Self>() {
            Ok(failure) => return failure,
            Err(error) => error,
        };
        let error = match error.downcast::<ConfigError>() {
            Ok(error) => return Self::Config(error),
            Err(error) => error,
        };
        if error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe) {
            return Self::ClosedPipe;
        }
        Self::Other(error)
    }
}

/// Returns an error with its causes, except those that its own text repeats.
fn text(error: &anyhow::Error) -> String {
    let mut text = error.to_string();
    for cause in error.chain().skip(1).map(ToString::to_string) {
        if !text.ends_with(&cause) {
            text.push_str(": ");
            text.push_str(&cause);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use anyhow::Context;
    use brotr_storage::StorageError;

    use super::*;

    #[test]
    fn an_error_is_printed_once() {
        let inner = io::Error::other("no space");
        let open = StorageError::Io { doing: "open", place: "x.db".into(), source: inner };
        let error = Err::<(), _>(open).context("failed to start").expect_err("an error");
        assert_eq!(Failure::from(error).to_string(), "failed to start: failed to open x.db: no space");
    }

    #[test]
    fn the_kind_of_error_decides_what_follows() {
        let usage = Failure::from(anyhow::Error::from(Failure::usage("no relay")));
        assert!(matches!(usage, Failure::Usage(ref text) if text == "no relay") && usage.hint().is_none());
        let closed = io::Error::from(io::ErrorKind::BrokenPipe);
        assert!(matches!(Failure::from(anyhow::Error::from(closed)), Failure::ClosedPipe));
        let config = ConfigError::UnknownVariable("BROTR_X".into());
        let config = Failure::from(anyhow::Error::from(config));
        assert!(matches!(config, Failure::Config(_)) && config.hint().is_some());
    }
}
