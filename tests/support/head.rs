//! The head of an HTTP request, read before anything is decided about the connection.

use std::io::Cursor;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};

/// Reads the head of an HTTP request. Returns it and the stream, from which it can be read again.
pub(crate) async fn peek<S: AsyncRead + AsyncWrite + Unpin>(
    mut stream: S,
) -> anyhow::Result<(String, impl AsyncRead + AsyncWrite + Unpin)> {
    let mut head = Vec::new();
    while !head.windows(4).any(|four| four == b"\r\n\r\n") {
        anyhow::ensure!(head.len() < 16_384, "the head is too long");
        anyhow::ensure!(stream.read_buf(&mut head).await? > 0, "no request came");
    }
    let text = String::from_utf8_lossy(&head).into_owned();
    let (rest, writer) = tokio::io::split(stream);
    Ok((text, tokio::io::join(Cursor::new(head).chain(rest), writer)))
}

/// Returns the value of its Host header.
pub(crate) fn host(head: &str) -> String {
    let mut headers = head.lines().filter_map(|line| line.split_once(": "));
    headers.find(|(name, _)| name.eq_ignore_ascii_case("host")).map_or_else(String::new, |(_, host)| host.to_owned())
}
