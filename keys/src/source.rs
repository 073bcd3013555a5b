//! Loads and stores the secret key.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nostr::nips::nip19::{FromBech32, ToBech32};
use nostr::nips::nip49::{EncryptedSecretKey, KeySecurity};
use nostr::{Keys, SecretKey};
use secrecy::{ExposeSecret, SecretString};

use crate::Signer;

/// scrypt's work factor for new encrypted keys: 64 MiB and a fraction of a second.
const LOG_N: u8 = 16;
/// The largest accepted work factor: 1 GiB of memory. The field is chosen by whoever wrote the file.
const MAX_LOG_N: u8 = 20;
/// The largest key file, in bytes.
const MAX_FILE: u64 = 4_096;

/// Where the secret key may be; the first that is set wins.
#[derive(Debug, Clone, Default)]
pub struct KeySource {
    /// An `nsec`, 64 hex digits, or an `ncryptsec`, given directly.
    pub secret: Option<SecretString>,
    /// A file that holds one of these.
    pub file: PathBuf,
    /// The passphrase, if the key is an `ncryptsec` (NIP-49).
    pub passphrase: Option<SecretString>,
}

/// Why there is no key. Errors never contain what was read.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The file cannot be read.
    #[error("failed to read the key file {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
    /// The file cannot be written.
    #[error("failed to write the key file {path}: {source}")]
    Write {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
    /// A key exists; keys are never replaced.
    #[error("there is a key at {0} already: move it away first, if it is to be another")]
    Exists(PathBuf),
    /// The text is not a key.
    #[error("{0} holds no secret key: expected an nsec, 64 hex digits or an ncryptsec")]
    Malformed(String),
    /// An ncryptsec without a passphrase.
    #[error("the secret key is encrypted (NIP-49): set identity.passphrase, best by BROTR_IDENTITY__PASSPHRASE_FILE")]
    NoPassphrase,
    /// An ncryptsec that requires too much work.
    #[error("the encrypted key asks for 2^{0} rounds of scrypt, at most 2^{MAX_LOG_N} are done")]
    TooCostly(u8),
    /// The passphrase does not decrypt the ncryptsec.
    #[error("the passphrase does not open the encrypted key")]
    WrongPassphrase,
    /// Encryption failed.
    #[error("failed to encrypt the key: {0}")]
    Encrypt(String),
}

/// Loads the secret key; `None` if no secret is given and the file does not exist.
///
/// # Errors
/// Fails if there is something that is not a key or cannot be decrypted.
pub fn load(source: &KeySource) -> Result<Option<Signer>, KeyError> {
    if let Some(secret) = &source.secret {
        return parse(secret, "identity.secret", source.passphrase.as_ref()).map(Some);
    }
    let read = |path: &Path| {
        let mut text = String::new();
        File::open(path)?.take(MAX_FILE).read_to_string(&mut text)?;
        Ok(SecretString::from(text))
    };
    match read(&source.file) {
        Ok(text) => parse(&text, &source.file.display().to_string(), source.passphrase.as_ref()).map(Some),
        Err(error) if std::io::Error::kind(&error) == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(KeyError::Read { path: source.file.clone(), source: error }),
    }
}

/// Writes a key to a new file that only its owner may read: the given one, or a new one.
///
/// # Errors
/// Fails if the file exists or cannot be written.
pub fn write_new(path: &Path, given: Option<&Signer>) -> Result<Signer, KeyError> {
    let signer = given.cloned().unwrap_or_else(Signer::throwaway);
    put_down(path, signer.reveal().expose_secret())?;
    Ok(signer)
}

/// Encrypts the key with a passphrase (NIP-49) and writes it to a new file.
///
/// # Errors
/// Fails if the file exists or cannot be written.
pub fn encrypt(signer: &Signer, passphrase: &SecretString, path: &Path) -> Result<(), KeyError> {
    let failed = |e: &dyn std::fmt::Display| KeyError::Encrypt(e.to_string());
    let secret = signer.keys().secret_key();
    let encrypted = EncryptedSecretKey::new(secret, passphrase.expose_secret(), LOG_N, KeySecurity::Unknown)
        .map_err(|e| failed(&e))?;
    put_down(path, &encrypted.to_bech32().map_err(|e| failed(&e))?)
}

fn put_down(path: &Path, text: &str) -> Result<(), KeyError> {
    let write = || {
        if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            DirBuilder::new().recursive(true).mode(0o700).create(parent)?;
        }
        // Written beside its place and then linked there: the file is complete or absent, and an existing one is never
        // replaced.
        let mut beside = path.as_os_str().to_owned();
        beside.push(format!(".{}", std::process::id()));
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside)?;
        let linked =
            writeln!(file, "{text}").and_then(|()| file.sync_all()).and_then(|()| std::fs::hard_link(&beside, path));
        std::fs::remove_file(&beside)?;
        linked
    };
    write().map_err(|source| match source.kind() {
        std::io::ErrorKind::AlreadyExists => KeyError::Exists(path.to_owned()),
        _ => KeyError::Write { path: path.to_owned(), source },
    })
}

fn parse(text: &SecretString, place: &str, passphrase: Option<&SecretString>) -> Result<Signer, KeyError> {
    let text = text.expose_secret().trim();
    let malformed = || KeyError::Malformed(place.to_owned());
    if text.starts_with("ncryptsec1") {
        let encrypted = EncryptedSecretKey::from_bech32(text).map_err(|_| malformed())?;
        let passphrase = passphrase.ok_or(KeyError::NoPassphrase)?;
        if encrypted.log_n() > MAX_LOG_N {
            return Err(KeyError::TooCostly(encrypted.log_n()));
        }
        let secret = encrypted.decrypt(passphrase.expose_secret()).map_err(|_| KeyError::WrongPassphrase)?;
        return Ok(Signer::new(Keys::new(secret)));
    }
    SecretKey::parse(text).map(|secret| Signer::new(Keys::new(secret))).map_err(|_| malformed())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    const HEX: &str = "3501454135014541350145413501453fefb02227e449e57cf4d3a3ce05378683";

    fn given(secret: &str, passphrase: Option<&str>) -> KeySource {
        KeySource { secret: Some(secret.into()), passphrase: passphrase.map(Into::into), ..KeySource::default() }
    }

    #[test]
    fn a_new_key_is_the_owners_alone_and_comes_back() {
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("deep/agent.key");
        let source = KeySource { file: file.clone(), ..KeySource::default() };
        assert!(load(&source).expect("no file is no error").is_none());
        let made = write_new(&file, None).expect("written");
        assert_eq!(std::fs::metadata(&file).expect("there").permissions().mode() & 0o777, 0o600);
        assert_eq!(load(&source).expect("readable").expect("there").public_key(), made.public_key());
        assert!(matches!(write_new(&file, None), Err(KeyError::Exists(_))), "an existing key is left alone");
    }

    #[test]
    fn every_form_of_a_key_is_read() {
        let hex = load(&given(HEX, None)).expect("hex").expect("some");
        let nsec = load(&given(hex.reveal().expose_secret(), None)).expect("nsec").expect("some");
        assert_eq!(hex.public_key(), nsec.public_key());
        // The test vector of NIP-49.
        let ncryptsec = "ncryptsec1qgg9947rlpvqu76pj5ecreduf9jxhselq2nae2kghhvd5g7dgjtcxfqtd67p9m0w57lspw8gsq6yphnm8623nsl8xn9j4jdzz84zm3frztj3z7s35vpzmqf6ksu8r89qk5z2zxfmu5gv8th8wclt0h4p";
        let opened = load(&given(ncryptsec, Some("nostr"))).expect("ncryptsec").expect("some");
        assert_eq!(hex.public_key(), opened.public_key());
        assert!(matches!(load(&given(ncryptsec, None)), Err(KeyError::NoPassphrase)));
        assert!(matches!(load(&given(ncryptsec, Some("wrong"))), Err(KeyError::WrongPassphrase)));
    }

    #[test]
    fn an_encrypted_key_opens_again() {
        let dir = tempfile::tempdir().expect("a directory");
        let signer = Signer::throwaway();
        let file = dir.path().join("agent.ncryptsec");
        encrypt(&signer, &"åΩ pass".into(), &file).expect("encrypted");
        let source = KeySource { file, passphrase: Some("åΩ pass".into()), ..KeySource::default() };
        assert_eq!(load(&source).expect("opened").expect("some").public_key(), signer.public_key());
    }

    #[test]
    fn no_error_and_no_debug_repeats_a_secret() {
        let wrong = &HEX[1..];
        let error = load(&given(wrong, None)).expect_err("63 digits");
        assert!(!format!("{error} {error:?}").contains(&wrong[..16]), "{error:?}");
        let source = given(HEX, Some("a passphrase"));
        let signer = load(&source).expect("hex").expect("some");
        let shown = format!("{signer:?} {source:?}");
        assert!(!shown.contains(&HEX[..16]) && !shown.contains("a passphrase"), "{shown}");
        assert!(!shown.contains("nsec"), "{shown}");
    }

    #[test]
    fn a_directory_or_a_binary_file_is_named_in_the_error() {
        let dir = tempfile::tempdir().expect("a directory");
        let source = KeySource { file: dir.path().to_owned(), ..KeySource::default() };
        let error = load(&source).expect_err("a directory is no key").to_string();
        assert!(error.contains(&dir.path().display().to_string()), "{error}");
    }
}
