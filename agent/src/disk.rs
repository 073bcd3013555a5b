//! Free space on the disk of the archive.

use std::path::Path;

/// Returns the free bytes on the disk of a directory; `None` if they cannot be determined.
#[must_use]
pub fn free_bytes(directory: &Path) -> Option<u64> {
    let disk = rustix::fs::statvfs(directory).ok()?;
    Some(disk.f_bavail.saturating_mul(disk.f_frsize))
}
