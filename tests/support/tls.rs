//! A TLS front end for a port of this machine, with valid and invalid certificates.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, date_time_ymd};
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};
use tokio_rustls::TlsAcceptor;

/// A certificate authority.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

/// The certificate that a server sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shown {
    /// A certificate by the authority.
    Good,
    /// One that ended in 2001.
    Expired,
    /// A self-signed one.
    SelfSigned,
    /// One for another host.
    OtherHost,
    /// None: it reads the greeting and is silent.
    Nothing,
}

/// The organisation of the authority.
pub const ORGANISATION: &str = "The tests' own authority";

impl Authority {
    /// Returns a new authority.
    ///
    /// # Errors
    /// Fails if no key can be made.
    pub fn new() -> anyhow::Result<Self> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new(vec![])?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::OrganizationName, ORGANISATION);
        let pem = params.self_signed(&key)?.pem();
        Ok(Self { issuer: Issuer::new(params, key), pem })
    }

    /// Writes its certificate to a file, to be named as a trusted one.
    ///
    /// # Errors
    /// Fails if it cannot be written.
    pub fn write(&self, directory: &Path) -> anyhow::Result<PathBuf> {
        let file = directory.join("authority.pem");
        std::fs::write(&file, &self.pem)?;
        Ok(file)
    }

    fn config(&self, host: &str, shown: Shown) -> anyhow::Result<ServerConfig> {
        let host = if shown == Shown::OtherHost { "other.example" } else { host };
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new(vec![host.to_owned()])?;
        params.distinguished_name.push(DnType::CommonName, host);
        if shown == Shown::Expired {
            (params.not_before, params.not_after) = (date_time_ymd(2000, 1, 1), date_time_ymd(2001, 1, 1));
        }
        let certificate = match shown {
            Shown::SelfSigned => params.self_signed(&key)?,
            _ => params.signed_by(&key, &self.issuer)?,
        };
        let secret = PrivateKeyDer::try_from(key.serialize_der()).map_err(anyhow::Error::msg)?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        Ok(ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], secret)?)
    }
}

/// A TLS server on a port of 127.0.0.1 that forwards to another port; it ends when this is dropped.
pub struct TlsFront {
    /// The listening port.
    pub port: u16,
    server: JoinHandle<()>,
}

impl TlsFront {
    /// Starts a server for a host, in front of a port.
    ///
    /// # Errors
    /// Fails if no port is free, or no certificate can be made.
    pub async fn start(authority: &Authority, host: &str, shown: Shown, backend: u16) -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let port = listener.local_addr()?.port();
        let acceptor = TlsAcceptor::from(Arc::new(authority.config(host, shown)?));
        let server = tokio::spawn(async move {
            let mut guests = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let acceptor = acceptor.clone();
                guests.spawn(async move {
                    let _ = lead(stream, acceptor, shown, backend).await;
                });
            }
        });
        Ok(Self { port, server })
    }
}

impl Drop for TlsFront {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn lead(mut guest: TcpStream, acceptor: TlsAcceptor, shown: Shown, backend: u16) -> std::io::Result<()> {
    if shown == Shown::Nothing {
        while guest.read(&mut [0; 1_024]).await? > 0 {}
        return Ok(());
    }
    let mut guest = acceptor.accept(guest).await?;
    let mut host = TcpStream::connect((Ipv4Addr::LOCALHOST, backend)).await?;
    tokio::io::copy_bidirectional(&mut guest, &mut host).await?;
    Ok(())
}
