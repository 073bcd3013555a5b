//! `brotr keys`

use std::io::Read;
use std::path::PathBuf;

use anyhow::{Context, Result};
use brotr_keys::{KeySource, Signer};
use clap::Subcommand;
use secrecy::{ExposeSecret, SecretString};
use serde_json::json;

use super::failure::Failure;
use super::{Done, Shared, output};
use crate::agent;

#[derive(Debug, Clone, Subcommand)]
pub(super) enum Command {
    /// Print the public key
    Show {
        /// Print the secret key too
        #[arg(long)]
        secret: bool,
    },
    /// Make a new key, if there is no key yet
    Generate,
    /// Read a key (nsec, hex or ncryptsec) from stdin, if there is no key yet
    Import,
    /// Write the key, encrypted with identity.passphrase (NIP-49), to a new file
    Encrypt {
        /// The file to write
        file: PathBuf,
    },
}

pub(super) fn main(shared: &Shared, command: Command) -> Result<Done> {
    let config = shared.load()?;
    let file = config.key_file().to_owned();
    let there = || {
        agent::load_key(&config)?
            .with_context(|| format!("there is no key at {}: make one with brotr keys generate", file.display()))
    };
    match command {
        Command::Show { secret } => {
            let signer = there()?;
            let nsec = secret.then(|| signer.reveal());
            if shared.json {
                let mut shown = public(&signer);
                if let Some(nsec) = nsec {
                    shown["nsec"] = json!(nsec.expose_secret());
                }
                output::json(&shown)?;
            } else {
                output::line(&signer.npub())?;
                if let Some(nsec) = nsec {
                    output::line(nsec.expose_secret())?;
                }
            }
        }
        Command::Generate => tell(shared, &brotr_keys::write_new(&file, None)?)?,
        Command::Import => {
            let mut text = String::new();
            std::io::stdin().lock().take(4_096).read_to_string(&mut text).context("failed to read stdin")?;
            let passphrase = config.identity.passphrase.as_ref().map(|p| p.0.clone());
            let source = KeySource { secret: Some(SecretString::from(text)), file: file.clone(), passphrase };
            let given = brotr_keys::load(&source).map_err(|error| match error {
                brotr_keys::KeyError::Malformed(_) => brotr_keys::KeyError::Malformed("stdin".into()),
                other => other,
            })?;
            tell(shared, &brotr_keys::write_new(&file, given.as_ref())?)?;
        }
        Command::Encrypt { file } => {
            let Some(passphrase) = &config.identity.passphrase else {
                let hint = "no passphrase: set identity.passphrase, best by BROTR_IDENTITY__PASSPHRASE_FILE";
                return Err(Failure::usage(hint).into());
            };
            let signer = there()?;
            brotr_keys::encrypt(&signer, &passphrase.0, &file)?;
            tell(shared, &signer)?;
        }
    }
    Ok(Done::Well)
}

fn public(signer: &Signer) -> serde_json::Value {
    json!({"npub": signer.npub(), "pubkey": signer.public_key()})
}

fn tell(shared: &Shared, signer: &Signer) -> Result<()> {
    if shared.json { output::json(&public(signer)) } else { output::line(&signer.npub()) }
}
