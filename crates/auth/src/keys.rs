//! The keys of the services: made, kept in files, read.
//!
//! `DIR/private/NAME.pem` is a service's private key (PKCS#8), `DIR/public/NAME/KID.pem` its public keys. A service
//! may have several public keys, so that tokens of the last key are good while the next is taken up.

pub(crate) mod files;
mod pair;

use std::path::{Path, PathBuf};

use redact::Secret;

pub(crate) use pair::{SigningKey, VerifyingKey};

use crate::{Error, USER_AUDIENCE};

/// A service's key, both halves as PEM texts.
#[derive(Clone, Debug)]
pub struct Pair {
    /// The service.
    pub name: String,
    /// The key's id: its RFC 7638 thumbprint.
    pub kid: String,
    /// PKCS#8, for `private/NAME.pem`.
    pub private: Secret<String>,
    /// SubjectPublicKeyInfo, for `public/NAME/KID.pem`.
    pub public: String,
}

impl Pair {
    /// A new key, kept nowhere.
    pub fn generate(name: &str) -> Result<Self, Error> {
        check_name(name)?;
        let (key, private) = SigningKey::generate()?;
        Ok(Self { name: name.to_owned(), kid: key.kid().to_owned(), private, public: key.public_pem() })
    }

    /// The key with which `name` signs, from the directory `dir`.
    pub fn load(dir: &Path, name: &str) -> Result<Self, Error> {
        let (key, private) = read_signing(dir, name)?;
        Ok(Self { name: name.to_owned(), kid: key.kid().to_owned(), private, public: key.public_pem() })
    }
}

/// Makes for each name the key that is missing, and answers the files it made.
///
/// What exists stays as it is, so this is safe to run again, and from two processes at once: both end with the same
/// keys. Files are only the owner's from their first moment.
pub fn generate(dir: &Path, names: &[&str]) -> Result<Vec<PathBuf>, Error> {
    names.iter().try_for_each(|name| check_name(name))?;
    let _lock = files::lock(dir)?;
    let mut made = Vec::new();
    for name in names {
        let path = files::private_path(dir, name);
        if !files::exists(&path)? {
            files::write(&path, Pair::generate(name)?.private.expose_secret(), 0o600)?;
            made.push(path);
        }
        // From what was read back, so that a run that was stopped between the two files is completed by the next.
        made.extend(write_public(dir, &Pair::load(dir, name)?)?);
    }
    Ok(made)
}

/// A key that took the place of another.
#[derive(Clone, Debug)]
pub struct Rotated {
    /// The key in use from now on.
    pub pair: Pair,
    /// The public file of the one before, to be removed when the tokens that it verifies have expired.
    pub replaced: PathBuf,
}

/// Gives `name` a new private key in place of the one it has; the public keys it had stay good.
///
/// Services know the new key once they are started again: those that verify tokens before the one that signs them, or a
/// token of the new key is refused.
pub fn rotate(dir: &Path, name: &str) -> Result<Rotated, Error> {
    let replaced = files::public_path(dir, name, read_signing(dir, name)?.0.kid());
    let pair = Pair::generate(name)?;
    let _lock = files::lock(dir)?;
    // The public half first: a private key must never be in use that no one can verify.
    write_public(dir, &pair)?;
    files::write(&files::private_path(dir, name), pair.private.expose_secret(), 0o600)?;
    Ok(Rotated { pair, replaced })
}

/// The public keys of `name` in the directory `dir`: each file's name and its PEM text.
pub fn public_files(dir: &Path, name: &str) -> Result<Vec<(String, String)>, Error> {
    check_name(name)?;
    let paths = files::public_paths(dir)?.into_iter().filter(|(issuer, _)| issuer == name);
    let read = |(_, path): (String, PathBuf)| {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Ok((name, files::read(&path)?))
    };
    paths.map(read).collect()
}

/// A public key, whose it is and where it was read.
pub(crate) struct Public {
    pub(crate) issuer: String,
    pub(crate) key: VerifyingKey,
    pub(crate) path: PathBuf,
}

/// Every public key in the directory.
pub(crate) fn read_public(dir: &Path) -> Result<Vec<Public>, Error> {
    let read = |(issuer, path): (String, PathBuf)| match VerifyingKey::from_pem(&files::read(&path)?) {
        Some(key) => Ok(Public { issuer, key, path }),
        None => Err(Error::NotAKey { path, kind: "public" }),
    };
    files::public_paths(dir)?.into_iter().map(read).collect()
}

/// The key with which `name` signs, and its PEM form.
pub(crate) fn read_signing(dir: &Path, name: &str) -> Result<(SigningKey, Secret<String>), Error> {
    check_name(name)?;
    let path = files::private_path(dir, name);
    let pem = files::read_private(&path)?;
    match SigningKey::from_pem(pem.expose_secret()) {
        Some(key) => Ok((key, pem)),
        None => Err(Error::NotAKey { path, kind: "private" }),
    }
}

fn write_public(dir: &Path, pair: &Pair) -> Result<Option<PathBuf>, Error> {
    let path = files::public_path(dir, &pair.name, &pair.kid);
    if files::exists(&path)? {
        return Ok(None);
    }
    files::write(&path, &pair.public, 0o644)?;
    Ok(Some(path))
}

/// A name becomes part of a path and the issuer of tokens.
fn check_name(name: &str) -> Result<(), Error> {
    let fits = name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'-'));
    let starts = name.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric());
    if fits && starts && name.len() <= 63 && name != USER_AUDIENCE {
        return Ok(());
    }
    Err(Error::Name(name.to_owned()))
}
