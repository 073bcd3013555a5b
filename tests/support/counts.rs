//! Counts of what a scripted relay sees.

use std::sync::atomic::AtomicUsize;

/// Counts of what a relay received and sent.
#[derive(Debug, Default)]
pub struct Counts {
    /// Accepted connections.
    pub connections: AtomicUsize,
    /// Connections that became a WebSocket.
    pub upgrades: AtomicUsize,
    /// Requests for the information document.
    pub documents: AtomicUsize,
    /// Requests for `robots.txt`.
    pub robots: AtomicUsize,
    /// REQ messages.
    pub requests: AtomicUsize,
    /// NEG-OPEN and NEG-MSG messages.
    pub comparisons: AtomicUsize,
    /// EVENT messages sent.
    pub sent: AtomicUsize,
    /// EVENT messages received.
    pub published: AtomicUsize,
}
