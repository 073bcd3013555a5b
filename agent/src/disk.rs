//! The disk of an archive on this machine.

use std::path::Path;

/// Returns the bytes that are free on the disk of a directory; `None` if the disk cannot be asked.
#[must_use]
pub fn free_bytes(directory: &Path) -> Option<u64> {
    let disk = rustix::fs::statvfs(directory).ok()?;
    Some(disk.f_bavail.saturating_mul(disk.f_frsize))
}
