//! Files and directories that only their owner may read: the archive holds what people wrote.

use std::fs::{DirBuilder, File, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

/// Opens a file to write, creating it if it is not there. What is in it stays.
pub(crate) fn open_private(path: &Path) -> io::Result<File> {
    let file = File::options().create(true).truncate(false).write(true).mode(0o600).open(path)?;
    tighten(path);
    Ok(file)
}

/// Creates a directory and its parents, as far as they are not there.
pub(crate) fn create_private_dir(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Takes the rights of all but the owner away from a file, if it is there: older versions left them.
pub(crate) fn tighten(path: &Path) {
    let Ok(found) = path.metadata() else { return };
    if found.permissions().mode() & 0o077 != 0
        && let Err(error) = std::fs::set_permissions(path, Permissions::from_mode(0o600))
    {
        tracing::warn!(path = %path.display(), %error, "failed to make a file readable by its owner only");
    }
}
