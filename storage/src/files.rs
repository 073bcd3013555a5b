//! Files and directories that only their owner may read: the archive holds private messages.

use std::fs::{DirBuilder, File, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

/// Opens a file for writing, creating it if it does not exist. Its contents stay.
pub(crate) fn open_private(path: &Path) -> io::Result<File> {
    let file = File::options().create(true).truncate(false).write(true).mode(0o600).open(path)?;
    tighten(path);
    Ok(file)
}

/// Creates a directory and its missing parents.
pub(crate) fn create_private_dir(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Removes the rights of group and others from a file, if it exists: older versions left them.
pub(crate) fn tighten(path: &Path) {
    let Ok(found) = path.metadata() else { return };
    if found.permissions().mode() & 0o077 != 0
        && let Err(error) = std::fs::set_permissions(path, Permissions::from_mode(0o600))
    {
        tracing::warn!(path = %path.display(), %error, "failed to make a file readable by its owner only");
    }
}
