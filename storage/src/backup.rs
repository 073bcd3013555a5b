//! Backups: what both backends share.

use std::path::{Path, PathBuf};

use crate::StorageError;
use crate::files::open_private;

fn io(doing: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> StorageError {
    let place = path.display().to_string();
    move |source| StorageError::Io { doing, place, source }
}

/// Creates the empty file that is written until it is complete, readable by its owner only. The rest of an interrupted backup
/// is removed; a file with the final name is not touched.
pub(crate) fn unfinished(target: &Path) -> Result<PathBuf, StorageError> {
    if target.exists() {
        return Err(StorageError::Occupied(target.display().to_string()));
    }
    let mut name = target.as_os_str().to_owned();
    name.push(".part");
    let part = PathBuf::from(name);
    match std::fs::remove_file(&part) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(io("remove", &part)(error)),
        _ => {}
    }
    open_private(&part).map_err(io("create", &part))?;
    Ok(part)
}

/// Renames a complete file to its final name, once it is on the disk.
pub(crate) fn place(part: &Path, target: &Path) -> Result<(), StorageError> {
    let sync = |path: &Path| std::fs::File::open(path).and_then(|file| file.sync_all());
    sync(part).map_err(io("write", part))?;
    std::fs::rename(part, target).map_err(io("write", target))?;
    if let Some(parent) = target.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        sync(parent).map_err(io("write", parent))?;
    }
    Ok(())
}
