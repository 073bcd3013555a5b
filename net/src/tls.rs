//! TLS that records the server's certificate, even if it is rejected.

use std::fmt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use brotr_core::sanitize;
use data_encoding::HEXLOWER;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use serde::Serialize;
use sha2::{Digest, Sha256};
use tokio_rustls::client::TlsStream;
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

use crate::settings::SettingsError;
use crate::stream::Stream;
use tokio::time::Instant;

/// The most alternative names of a certificate that are kept.
const MOST_NAMES: usize = 50;
/// The largest certificate that is parsed, in bytes.
const MOST_BYTES: usize = 64 << 10;

/// The contents of a certificate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Certificate {
    /// The subject: the common name, or the whole subject.
    pub subject: String,
    /// The issuer: its organisation, or the whole issuer.
    pub issuer: String,
    /// The host names that it is valid for.
    pub names: Vec<String>,
    /// Start of its validity, in unix seconds,
    pub not_before: i64,
    /// and end.
    pub not_after: i64,
    /// SHA-256 of the certificate, in hexadecimal.
    pub fingerprint: String,
}

/// What was seen of a server's TLS.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tls {
    /// Its certificate, if it was sent.
    pub certificate: Option<Certificate>,
    /// Why the certificate was rejected; `None` if it was accepted or not sent.
    pub refused: Option<String>,
    /// The version of the protocol, once negotiated.
    pub version: Option<&'static str>,
    /// How long the handshake took, if it succeeded.
    pub took: Option<Duration>,
}

impl Tls {
    /// Returns true if the certificate is valid; `None` if none was seen.
    #[must_use]
    pub fn is_valid(&self) -> Option<bool> {
        self.certificate.as_ref().map(|_| self.refused.is_none())
    }
}

/// Why the handshake failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TlsError {
    /// The certificate has expired.
    #[error("the certificate has expired")]
    Expired,
    /// The certificate is not valid yet.
    #[error("the certificate is not valid yet")]
    NotYetValid,
    /// The certificate is for other names.
    #[error("the certificate is for another host{}", named(.0))]
    WrongName(Vec<String>),
    /// No trusted authority has signed the certificate.
    #[error("the certificate is not signed by a trusted authority")]
    UnknownIssuer,
    /// The certificate was revoked.
    #[error("the certificate was revoked")]
    Revoked,
    /// The certificate is invalid otherwise.
    #[error("the certificate is not valid: {0}")]
    Invalid(String),
    /// The handshake failed for another reason.
    #[error("the handshake failed: {0}")]
    Handshake(String),
}

fn named(names: &[String]) -> String {
    if names.is_empty() { String::new() } else { format!(": {}", sanitize(&names.join(", "))) }
}

impl TlsError {
    /// Returns a code for the failure, for statistics.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Expired => "tls_expired",
            Self::NotYetValid => "tls_not_yet_valid",
            Self::WrongName(_) => "tls_wrong_name",
            Self::UnknownIssuer => "tls_unknown_issuer",
            Self::Revoked => "tls_revoked",
            Self::Invalid(_) => "tls_invalid_certificate",
            Self::Handshake(_) => "tls_handshake",
        }
    }

    fn of_io(error: &std::io::Error) -> Self {
        match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
            Some(error) => error.into(),
            None => Self::Handshake(sanitize(&error.to_string())),
        }
    }
}

impl From<&rustls::Error> for TlsError {
    fn from(error: &rustls::Error) -> Self {
        use rustls::CertificateError as Of;
        let rustls::Error::InvalidCertificate(why) = error else {
            return Self::Handshake(sanitize(&error.to_string()));
        };
        match why {
            Of::Expired | Of::ExpiredContext { .. } => Self::Expired,
            Of::NotValidYet | Of::NotValidYetContext { .. } => Self::NotYetValid,
            Of::NotValidForName => Self::WrongName(vec![]),
            Of::NotValidForNameContext { presented, .. } => {
                Self::WrongName(presented.iter().map(|name| plain(name)).collect())
            }
            Of::UnknownIssuer => Self::UnknownIssuer,
            Of::Revoked => Self::Revoked,
            other => Self::Invalid(sanitize(&other.to_string())),
        }
    }
}

/// Returns the name in rustls's description of a certificate's name: `DnsName("relay.example")`.
fn plain(presented: &str) -> String {
    presented.split('"').nth(1).unwrap_or(presented).to_owned()
}

/// Whether a server needs a certificate of a trusted authority.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trust {
    /// It does.
    Vouched,
    /// Its address is its key: an onion service.
    Address,
}

/// Starts TLS.
pub(crate) struct Connector {
    provider: Arc<CryptoProvider>,
    verifier: Arc<WebPkiServerVerifier>,
}

impl Connector {
    /// Returns a connector that trusts Mozilla's authorities, and those of a file.
    pub(crate) fn new(authorities: Option<&Path>) -> Result<Self, SettingsError> {
        let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
        if let Some(file) = authorities {
            let failed = |detail: String| SettingsError::Authorities { file: file.to_owned(), detail };
            for certificate in CertificateDer::pem_file_iter(file).map_err(|error| failed(error.to_string()))? {
                let certificate = certificate.map_err(|error| failed(error.to_string()))?;
                roots.add(certificate).map_err(|error| failed(error.to_string()))?;
            }
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone()).build();
        let verifier = verifier.map_err(|error| SettingsError::Tls(error.to_string()))?;
        Ok(Self { provider, verifier })
    }

    /// Performs the handshake; what was seen is in `seen`, whatever the result.
    pub(crate) async fn connect(
        &self,
        host: &str,
        stream: Box<dyn Stream>,
        trust: Trust,
        seen: &Arc<Seen>,
    ) -> Result<TlsStream<Box<dyn Stream>>, TlsError> {
        let name = ServerName::try_from(host.to_owned()).map_err(|error| TlsError::Handshake(error.to_string()))?;
        let verifier = Recorder { inner: self.verifier.clone(), trust, seen: seen.clone() };
        let config = ClientConfig::builder_with_provider(self.provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(|error| TlsError::from(&error))?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier))
            .with_no_client_auth();
        let began = Instant::now();
        let connected = tokio_rustls::TlsConnector::from(Arc::new(config)).connect(name, stream).await;
        let stream = connected.map_err(|error| TlsError::of_io(&error))?;
        let version = stream.get_ref().1.protocol_version().map(|version| match version {
            rustls::ProtocolVersion::TLSv1_3 => "1.3",
            _ => "1.2",
        });
        let mut seen = seen.0.lock().unwrap_or_else(PoisonError::into_inner);
        (seen.version, seen.took) = (version, Some(began.elapsed()));
        Ok(stream)
    }
}

/// What is seen during the handshake.
#[derive(Debug, Default)]
pub(crate) struct Seen(Mutex<Tls>);

impl Seen {
    /// Returns what was seen so far.
    pub(crate) fn tls(&self) -> Tls {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Verifies certificates in the usual way, and records them.
struct Recorder {
    inner: Arc<WebPkiServerVerifier>,
    trust: Trust,
    seen: Arc<Seen>,
}

impl fmt::Debug for Recorder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recorder").finish_non_exhaustive()
    }
}

impl ServerCertVerifier for Recorder {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        between: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let verdict = self.inner.verify_server_cert(certificate, between, name, ocsp, now);
        {
            let mut seen = self.seen.0.lock().unwrap_or_else(PoisonError::into_inner);
            seen.certificate = read(certificate);
            seen.refused = verdict.as_ref().err().map(|error| TlsError::from(error).to_string());
        }
        match self.trust {
            Trust::Vouched => verdict,
            Trust::Address => Ok(ServerCertVerified::assertion()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.inner.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.inner.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}

fn read(der: &CertificateDer<'_>) -> Option<Certificate> {
    if der.len() > MOST_BYTES {
        return None;
    }
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    let subject = certificate.subject().iter_common_name().next().and_then(|name| name.as_str().ok());
    let issuer = certificate.issuer().iter_organization().next().and_then(|name| name.as_str().ok());
    let names = certificate.subject_alternative_name().ok().flatten();
    let names = names.iter().flat_map(|names| &names.value.general_names).filter_map(|name| match name {
        GeneralName::DNSName(name) => Some(sanitize(name)),
        _ => None,
    });
    Some(Certificate {
        subject: sanitize(subject.unwrap_or(&certificate.subject().to_string())),
        issuer: sanitize(issuer.unwrap_or(&certificate.issuer().to_string())),
        names: names.take(MOST_NAMES).collect(),
        not_before: certificate.validity().not_before.timestamp(),
        not_after: certificate.validity().not_after.timestamp(),
        fingerprint: HEXLOWER.encode(&Sha256::digest(der)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn invalid_certificates_are_refused() {
        for bytes in [&b""[..], b"\x30\x82", &[0x30; 4_096]] {
            assert_eq!(read(&CertificateDer::from(bytes)), None);
        }
    }
}
