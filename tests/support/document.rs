//! What a relay answers over HTTP: its information document, and its `robots.txt`.

use std::sync::atomic::Ordering;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::counts::Counts;
use crate::script::{Fault, Script};

/// Answers one request, whose head was read and is still in the stream. Without a `document` the answer is 404.
pub(crate) async fn answer<S: AsyncRead + AsyncWrite + Unpin>(
    mut stream: S,
    head: &str,
    script: &Script,
    document: Option<String>,
    counts: &Counts,
) -> anyhow::Result<()> {
    let is_robots = head.split(' ').nth(1).is_some_and(|path| path.eq_ignore_ascii_case("/robots.txt"));
    if script.fault == Fault::Nip11Bomb {
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Type: application/nostr+json\r\n\r\n{\"name\":\"").await?;
        for _ in 0..1_024 {
            stream.write_all(&[b'x'; 65_536]).await?;
        }
        return Ok(());
    }
    let (kind, body) = match is_robots {
        true => {
            counts.robots.fetch_add(1, Ordering::Relaxed);
            ("text/plain", script.robots.map(str::to_owned))
        }
        false => {
            counts.documents.fetch_add(1, Ordering::Relaxed);
            ("application/nostr+json", document)
        }
    };
    let status = if body.is_some() { "200 OK" } else { "404 Not Found" };
    let body = body.unwrap_or_default();
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    // The request is read before the answer, or closing would reset the connection.
    let mut request = [0; 4096];
    let _ = stream.read(&mut request).await?;
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(body.as_bytes()).await?;
    Ok(())
}
