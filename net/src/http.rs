//! Bounded HTTP GETs: relay information documents, seed lists and relay lists, over the same dialer.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use brotr_core::RelayUrl;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1::SendRequest;
use hyper::header::{
    ACCEPT, CONNECTION, CONTENT_TYPE, ETAG, HOST, IF_MODIFIED_SINCE, IF_NONE_MATCH, LAST_MODIFIED, LOCATION, USER_AGENT,
};
use hyper::http::request::Builder;
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, timeout};
use url::Url;

use crate::dial::Trace;
use crate::failure::DialError;
use crate::{Dialer, Permits, Purpose};

/// The largest head of a response, in bytes.
const MAX_HEAD: usize = 64 << 10;

/// The response to a GET.
#[derive(Debug)]
pub struct Answer {
    /// The body.
    pub body: Vec<u8>,
    /// The Content-Type header, or an empty string.
    pub content_type: String,
    /// From the request to the last byte.
    pub took: Duration,
    /// Its version.
    pub version: Version,
}

/// The version of a document, as its server states it: sent back, it makes the server return the document only if it has
/// changed.
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
    /// A redirect; its target is shown and not followed, since it was not checked.
    #[error("redirected to {0}: name that address instead")]
    Redirect(String),
    /// Any status but 200.
    #[error("HTTP status {0}")]
    Status(u16),
    /// The body exceeds the limit.
    #[error("the body is larger than {0} bytes")]
    TooLarge(usize),
    /// The agent's own limit on connections is reached.
    #[error("no connection was free: see network.max_connections")]
    Busy,
    /// A failure below HTTP.
    #[error("{0}")]
    Failed(String),
}

/// Fetches a document of at most `most` bytes.
///
/// # Errors
/// See [`HttpError`].
pub async fn get(dialer: &Arc<Dialer>, url: &str, accept: &str, most: usize) -> Result<Answer, HttpError> {
    get_traced(dialer, url, accept, most, &mut Trace::default()).await
}

/// The same, recording what is seen on the way.
///
/// # Errors
/// See [`HttpError`]; what was seen before the failure is in the trace.
pub(crate) async fn get_traced(
    dialer: &Arc<Dialer>,
    url: &str,
    accept: &str,
    most: usize,
    trace: &mut Trace,
) -> Result<Answer, HttpError> {
    let answer = request_document(dialer, url, accept, most, &Version::default(), trace).await?;
    answer.ok_or(HttpError::Status(StatusCode::NOT_MODIFIED.as_u16()))
}

/// The same for a document of which a version is known; `None` if it has not changed.
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
    request_document(dialer, url, accept, most, had, &mut Trace::default()).await
}

async fn request_document(
    dialer: &Arc<Dialer>,
    url: &str,
    accept: &str,
    most: usize,
    had: &Version,
    trace: &mut Trace,
) -> Result<Option<Answer>, HttpError> {
    let url = parse(url)?;
    let mut line = Line::open(dialer, &url, trace).await?;
    let mut request = request(dialer, &url, url.path(), accept).header(CONNECTION, "close");
    for (name, value) in [(IF_NONE_MATCH, &had.etag), (IF_MODIFIED_SINCE, &had.modified)] {
        if let Some(value) = value {
            request = request.header(name, value);
        }
    }
    line.ask(request, most, true, trace).await
}

/// Fetches the first of several paths of a server that it has, over one connection. A server that closes the connection after it has
/// denied one has none of the others.
///
/// # Errors
/// See [`HttpError`]; it is [`HttpError::Status`] of the last path if the server has none.
pub async fn get_first(
    dialer: &Arc<Dialer>,
    url: &str,
    paths: &[&str],
    accept: &str,
    most: usize,
) -> Result<Answer, HttpError> {
    let mut url = parse(url)?;
    url.set_query(None);
    let mut trace = Trace::default();
    let mut line = Line::open(dialer, &url, &mut trace).await?;
    let mut denied = None;
    for (place, path) in paths.iter().enumerate() {
        let is_last = place + 1 == paths.len();
        match (line.ask(request(dialer, &url, path, accept), most, is_last, &mut trace).await, denied) {
            (Ok(Some(answer)), _) => return Ok(answer),
            (Ok(None), _) => denied = Some(StatusCode::NOT_MODIFIED.as_u16()),
            (Err(HttpError::Status(status @ 400..500)), _) => denied = Some(status),
            (Err(_), Some(status)) => return Err(HttpError::Status(status)),
            (Err(error), None) => return Err(error),
        }
    }
    Err(HttpError::Status(denied.unwrap_or(StatusCode::NOT_FOUND.as_u16())))
}

fn parse(url: &str) -> Result<Url, HttpError> {
    Url::parse(url).map_err(|e| HttpError::Refused(format!("not a URL: {e}")))
}

fn request(dialer: &Dialer, url: &Url, path: &str, accept: &str) -> Builder {
    let path = url.query().map_or_else(|| path.to_owned(), |query| format!("{path}?{query}"));
    Request::get(path)
        .header(HOST, &url[url::Position::BeforeHost..url::Position::AfterPort])
        .header(USER_AGENT, dialer.user_agent())
        .header(ACCEPT, accept)
}

/// A connection to a server, and its permits.
struct Line {
    sender: SendRequest<Empty<Bytes>>,
    connection: Pin<Box<dyn Future<Output = ()> + Send>>,
    limit: Duration,
    began: Instant,
    _permits: Permits,
}

impl Line {
    async fn open(dialer: &Arc<Dialer>, url: &Url, trace: &mut Trace) -> Result<Self, HttpError> {
        let server = server(dialer, url)?;
        dialer.reaches(server.network()).map_err(|e| HttpError::Refused(e.to_string()))?;
        let limits = dialer.limits(server.network());
        let connect = limits.connect_timeout;
        // The caller may hold a connection to the same host meanwhile.
        let permits = timeout(connect, dialer.permit(&server, Purpose::Visit)).await;
        let permits = permits.map_err(|_| HttpError::Busy)?.map_err(|_| HttpError::Busy)?;
        let way = dialer.way(&server, trace).await;
        let way = way.map_err(|e| if matches!(e, DialError::Busy(_)) { HttpError::Busy } else { failed(&e) })?;
        let began = Instant::now();
        let stream = timeout(connect, dialer.stream(&server, way, trace)).await;
        let stream =
            stream.map_err(|_| failed(&format!("no connection within {connect:?}")))?.map_err(|e| failed(&e))?;
        let mut http = hyper::client::conn::http1::Builder::new();
        let (sender, connection) =
            http.max_buf_size(MAX_HEAD).handshake(TokioIo::new(stream)).await.map_err(|e| failed(&e))?;
        // It is driven beside each exchange, and does not end one.
        let connection = Box::pin(async {
            let _ = connection.await;
            std::future::pending().await
        });
        Ok(Self { sender, connection, limit: limits.request_timeout, began, _permits: permits })
    }

    /// Sends a request. If it is not the last one, an answer without the document is read to its end, so that another can follow.
    async fn ask(
        &mut self,
        request: Builder,
        most: usize,
        is_last: bool,
        trace: &mut Trace,
    ) -> Result<Option<Answer>, HttpError> {
        let request = request.body(Empty::<Bytes>::new()).map_err(|e| failed(&e))?;
        let Self { sender, connection, limit, began, .. } = self;
        let talk = async {
            sender.ready().await.map_err(|e| failed(&cause_of(&e)))?;
            let response = sender.send_request(request).await.map_err(|e| failed(&cause_of(&e)))?;
            trace.opened = Some(began.elapsed());
            trace.headers(response.status().as_u16(), response.headers());
            read(response, most, *began, is_last).await
        };
        let both = async {
            tokio::select! {
                ended = talk => ended,
                () = connection => unreachable!("it is pending for ever"),
            }
        };
        timeout(*limit, both).await.unwrap_or_else(|_| Err(failed(&format!("no answer within {limit:?}"))))
    }
}

fn failed(what: &dyn std::fmt::Display) -> HttpError {
    HttpError::Failed(what.to_string())
}

async fn read(
    response: hyper::Response<hyper::body::Incoming>,
    most: usize,
    began: Instant,
    is_last: bool,
) -> Result<Option<Answer>, HttpError> {
    let optional = |name| response.headers().get(name).and_then(|v| v.to_str().ok()).map(str::to_owned);
    match response.status() {
        StatusCode::NOT_MODIFIED => return Ok(None),
        status if status.is_redirection() => return Err(HttpError::Redirect(optional(LOCATION).unwrap_or_default())),
        StatusCode::OK => {}
        status => {
            if !is_last {
                let mut body = Limited::new(response.into_body(), MAX_HEAD);
                while let Some(Ok(_)) = body.frame().await {}
            }
            return Err(HttpError::Status(status.as_u16()));
        }
    }
    let content_type = optional(CONTENT_TYPE).unwrap_or_default();
    let version = Version { etag: optional(ETAG), modified: optional(LAST_MODIFIED) };
    let (mut body, mut frames) = (Vec::new(), response.into_body());
    while let Some(frame) = frames.frame().await {
        let frame = frame.map_err(|e| HttpError::Failed(cause_of(&e)))?;
        let Ok(chunk) = frame.into_data() else { continue };
        if body.len() + chunk.len() > most {
            return Err(HttpError::TooLarge(most));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Some(Answer { body, content_type, took: began.elapsed(), version }))
}

/// Returns the server of a URL, if it passes the guard.
fn server(dialer: &Dialer, url: &Url) -> Result<RelayUrl, HttpError> {
    let refused = |reason: &dyn std::fmt::Display| HttpError::Refused(reason.to_string());
    let scheme = match url.scheme() {
        "http" => "ws",
        "https" => "wss",
        other => return Err(refused(&format!("{other} is not http or https"))),
    };
    let authority = &url[url::Position::BeforeHost..url::Position::AfterPort];
    RelayUrl::parse(&format!("{scheme}://{authority}/"), dialer.guard()).map_err(|e| refused(&e))
}

/// Returns the innermost cause of an error, which is the most specific.
fn cause_of(error: &hyper::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}
