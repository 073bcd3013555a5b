//! What stands in for arti in a build without the feature `tor`: a client that cannot be made.

use std::convert::Infallible;
use std::path::Path;
use std::sync::Arc;

use serde_json::Value;

use super::TorStatus;
use crate::settings::SettingsError;
use crate::stream::Stream;

/// Connects through Tor. No value of this type exists in this build.
#[derive(Debug)]
pub struct Tor(Infallible);

impl Tor {
    /// Fails, since Tor is not in this build.
    ///
    /// # Errors
    /// Always.
    pub fn new(_directory: &Path, _settings: &Value) -> Result<Self, SettingsError> {
        Err(SettingsError::Tor(
            "this program was built without the feature tor: set network.tor.enabled to false".into(),
        ))
    }

    /// Returns the state.
    #[must_use]
    pub fn status(&self) -> TorStatus {
        match self.0 {}
    }

    #[expect(clippy::unused_async, reason = "the signature of the client that this stands in for")]
    pub(crate) async fn connect(
        &self,
        _client: &Infallible,
        _host: &str,
        _port: u16,
    ) -> Result<Box<dyn Stream>, String> {
        match self.0 {}
    }

    #[expect(clippy::unused_async, reason = "the signature of the client that this stands in for")]
    pub(crate) async fn client(&self) -> Result<Arc<Infallible>, String> {
        match self.0 {}
    }
}
