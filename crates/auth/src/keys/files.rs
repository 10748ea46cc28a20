//! Key files: their places, their rights, and writing them whole or not at all.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use redact::Secret;

use crate::Error;

pub(crate) fn private_path(dir: &Path, name: &str) -> PathBuf {
    dir.join("private").join(format!("{name}.pem"))
}

pub(crate) fn secret_path(dir: &Path, name: &str) -> PathBuf {
    dir.join("private").join(format!("{name}.secret"))
}

pub(crate) fn public_path(dir: &Path, name: &str, kid: &str) -> PathBuf {
    dir.join("public").join(name).join(format!("{kid}.pem"))
}

/// Makes the directory if need be, and keeps other processes from writing to it until the file is dropped.
pub(crate) fn lock(dir: &Path) -> Result<File, Error> {
    make_directory(dir)?;
    let path = dir.join(".lock");
    let file = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(&path);
    let file = file.map_err(failed("open", &path))?;
    file.lock().map_err(failed("lock", &path))?;
    Ok(file)
}

/// Writes a file beside its place and moves it there; the caller holds the lock.
pub(crate) fn write(path: &Path, text: &str, mode: u32) -> Result<(), Error> {
    if let Some(parent) = path.parent() {
        make_directory(parent)?;
    }
    let new = path.with_extension("new");
    // Left over from a process that was killed here.
    match fs::remove_file(&new) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => return Err(failed("remove", &new)(source)),
        _ => {}
    }
    let mut file =
        OpenOptions::new().create_new(true).write(true).mode(mode).open(&new).map_err(failed("make", &new))?;
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(failed("write", &new))?;
    fs::rename(&new, path).map_err(failed("write", path))
}

pub(crate) fn exists(path: &Path) -> Result<bool, Error> {
    path.try_exists().map_err(failed("read", path))
}

pub(crate) fn read(path: &Path) -> Result<String, Error> {
    fs::read_to_string(path).map_err(failed("read", path))
}

/// Reads a private key, unless every user of the machine could.
///
/// The group may read it: that is how Kubernetes gives a Secret to a process that is not root.
pub(crate) fn read_private(path: &Path) -> Result<Secret<String>, Error> {
    let mut file = match File::open(path) {
        Err(source) if source.kind() == io::ErrorKind::NotFound => return Err(Error::NoPrivateKey(path.to_owned())),
        opened => opened.map_err(failed("read", path))?,
    };
    let mode = file.metadata().map_err(failed("read", path))?.permissions().mode() & 0o7777;
    if mode & 0o007 != 0 {
        return Err(Error::OpenToOthers { path: path.to_owned(), mode });
    }
    let mut text = String::new();
    file.read_to_string(&mut text).map_err(failed("read", path))?;
    Ok(Secret::new(text))
}

/// Each public key's issuer and file, in order.
pub(crate) fn public_paths(dir: &Path) -> Result<Vec<(String, PathBuf)>, Error> {
    let dir = dir.join("public");
    if !exists(&dir)? {
        return Err(Error::NoPublicKey(dir));
    }
    let mut paths = Vec::new();
    for issuer in entries(&dir)?.into_iter().filter(|path| path.is_dir()) {
        let name = issuer.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let pems = entries(&issuer)?.into_iter().filter(|path| path.extension().is_some_and(|end| end == "pem"));
        paths.extend(pems.map(|path| (name.clone(), path)));
    }
    Ok(paths)
}

/// What a directory holds, in order, but for hidden entries, in which Kubernetes keeps the versions of a Secret.
fn entries(dir: &Path) -> Result<Vec<PathBuf>, Error> {
    let read = || -> io::Result<Vec<PathBuf>> {
        let paths: io::Result<Vec<PathBuf>> = fs::read_dir(dir)?.map(|entry| entry.map(|entry| entry.path())).collect();
        let mut paths = paths?;
        paths.retain(|path| path.file_name().is_some_and(|name| !name.as_encoded_bytes().starts_with(b".")));
        paths.sort();
        Ok(paths)
    };
    read().map_err(failed("read", dir))
}

/// Makes a directory and those above it, the owner's alone; one that exists stays as it is.
fn make_directory(path: &Path) -> Result<(), Error> {
    DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(failed("make the directory", path))
}

fn failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Error {
    let path = path.to_owned();
    move |source| Error::File { action, path, source }
}
