//! Ports for servers that have to be told theirs.

use std::net::{Ipv4Addr, TcpListener};
use std::sync::atomic::{AtomicU16, Ordering};

use anyhow::ensure;

/// Below the ports that the system gives to outgoing connections: one of those may be taken again between the look
/// at it and the server's start.
const FIRST: u16 = 12_000;
const COUNT: u16 = 20_000;

/// Returns free ports of 127.0.0.1, no two the same in this process.
///
/// # Errors
/// Fails if there are not this many.
pub(crate) fn free(n: usize) -> anyhow::Result<Vec<u16>> {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    // Processes that run side by side begin at places of their own.
    let first = u16::try_from(std::process::id() * 101 % u32::from(COUNT))?;
    let ports: Vec<u16> = (0..COUNT)
        .map(|_| FIRST + (first + NEXT.fetch_add(1, Ordering::Relaxed) % COUNT) % COUNT)
        .filter(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok())
        .take(n)
        .collect();
    ensure!(ports.len() == n, "{n} ports of 127.0.0.1 are wanted, and {} are free", ports.len());
    Ok(ports)
}

/// Returns one such port.
///
/// # Errors
/// Fails if none is free.
pub(crate) fn free_one() -> anyhow::Result<u16> {
    Ok(free(1)?[0])
}
