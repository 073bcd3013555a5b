//! Bounded HTTP GETs: relay information documents, seed lists and relay lists.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use reqwest::StatusCode;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::header::{ACCEPT, CONTENT_TYPE, ETAG, IF_MODIFIED_SINCE, IF_NONE_MATCH, LAST_MODIFIED, LOCATION};
use serde::{Deserialize, Serialize};
use url::{Host, Url};

use super::Dialer;

/// What a GET brought.
#[derive(Debug)]
pub struct Answer {
    /// The body.
    pub body: Vec<u8>,
    /// The Content-Type header, or nothing.
    pub content_type: String,
    /// From the request to the last byte.
    pub took: Duration,
    /// Which version this is.
    pub version: Version,
}

/// Which version of a document it is, as its server says: sent back, it brings the document only if there is another.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Version {
    /// The ETag header.
    pub etag: Option<String>,
    /// The Last-Modified header.
    pub modified: Option<String>,
}

/// Why there is no body.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// Not an http(s) URL, or one that may not be dialed.
    #[error("{0}")]
    Refused(String),
    /// The server redirects; where to is shown and not followed, since the target was not checked.
    #[error("redirected to {0}: name that address instead")]
    Redirect(String),
    /// Any status but 200.
    #[error("HTTP status {0}")]
    Status(u16),
    /// More bytes than allowed.
    #[error("the body is larger than {0} bytes")]
    TooLarge(usize),
    /// It failed below HTTP.
    #[error("{0}")]
    Failed(String),
}

struct Guarded(Arc<Dialer>);

impl Resolve for Guarded {
    fn resolve(&self, name: Name) -> Resolving {
        let dialer = self.0.clone();
        Box::pin(async move { Ok(Box::new(dialer.resolve(name.as_str(), 0).await?.into_iter()) as Addrs) })
    }
}

/// Fetches a document of at most `most` bytes. Names are looked up once, by the guarded resolver, which hands the
/// checked addresses to the connection.
///
/// # Errors
/// See [`HttpError`].
pub async fn get(dialer: &Arc<Dialer>, url: &str, accept: &str, most: usize) -> Result<Answer, HttpError> {
    let answer = get_if_changed(dialer, url, accept, most, &Version::default()).await?;
    answer.ok_or(HttpError::Status(StatusCode::NOT_MODIFIED.as_u16()))
}

/// The same for a document of which a version was had before; nothing where it is still that one.
///
/// # Errors
/// See [`HttpError`].
pub async fn get_if_changed(
    dialer: &Arc<Dialer>,
    url: &str,
    accept: &str,
    most: usize,
    had: &Version,
) -> Result<Option<Answer>, HttpError> {
    let url = Url::parse(url).map_err(|e| HttpError::Refused(format!("not a URL: {e}")))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(HttpError::Refused(format!("{} is not http or https", url.scheme())));
    }
    let refused = |reason: &dyn std::fmt::Display| HttpError::Refused(reason.to_string());
    let host = url.host().ok_or_else(|| refused(&"no host"))?;
    match host {
        Host::Ipv4(ip) => dialer.guard().check(IpAddr::V4(ip)).map_err(|e| refused(&e))?,
        Host::Ipv6(ip) => dialer.guard().check(IpAddr::V6(ip)).map_err(|e| refused(&e))?,
        Host::Domain(name) if name.ends_with(".onion") || name.ends_with(".i2p") || name.ends_with(".loki") => {
            return Err(refused(&"not on the clearnet"));
        }
        Host::Domain(name) => dialer.guard().check_name(name).map_err(|e| refused(&e))?,
    }
    let limits = &dialer.limits().clearnet;
    // One client a request: nothing is pooled, so no connection outlives the check of its address.
    let client = reqwest::Client::builder()
        .tls_backend_preconfigured(dialer.tls().clone())
        .dns_resolver(Guarded(dialer.clone()))
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .user_agent(dialer.user_agent().clone())
        .connect_timeout(limits.connect_timeout.get())
        .timeout(limits.request_timeout.get())
        .build()
        .map_err(|e| HttpError::Failed(e.to_string()))?;
    let _permits = dialer.permit(&host.to_string()).await;
    let began = std::time::Instant::now();
    let mut request = client.get(url).header(ACCEPT, accept);
    for (name, value) in [(IF_NONE_MATCH, &had.etag), (IF_MODIFIED_SINCE, &had.modified)] {
        if let Some(value) = value {
            request = request.header(name, value);
        }
    }
    let response = request.send().await.map_err(|e| HttpError::Failed(said(&e)))?;
    let optional = |name| response.headers().get(name).and_then(|v| v.to_str().ok()).map(str::to_owned);
    let header = |name| optional(name).unwrap_or_default();
    if response.status() == StatusCode::NOT_MODIFIED {
        return Ok(None);
    }
    if response.status().is_redirection() {
        return Err(HttpError::Redirect(header(LOCATION)));
    }
    if response.status() != StatusCode::OK {
        return Err(HttpError::Status(response.status().as_u16()));
    }
    let content_type = header(CONTENT_TYPE);
    let version = Version { etag: optional(ETAG), modified: optional(LAST_MODIFIED) };
    let (mut body, mut stream) = (Vec::new(), response.bytes_stream());
    while let Some(chunk) = stream.next().await {
        let chunk = chunk.map_err(|e| HttpError::Failed(said(&e)))?;
        if body.len() + chunk.len() > most {
            return Err(HttpError::TooLarge(most));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Some(Answer { body, content_type, took: began.elapsed(), version }))
}

/// The innermost cause, which is the one that says something.
fn said(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}
