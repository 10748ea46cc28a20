//! The data directory: keys, databases, the lock of the one `mall up` that uses it, and where its services are.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{Read as _, Seek as _, Write as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use serde_json::Value;

/// A directory that is ours until this is dropped, or the process is gone.
#[derive(Debug)]
pub(super) struct DataDir {
    path: PathBuf,
    was_left: bool,
    _lock: File,
}

impl DataDir {
    /// Makes the directory if it is missing, and takes it.
    pub(super) fn open(path: &Path) -> anyhow::Result<Self> {
        let shown = path.display();
        let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(path);
        made.with_context(|| format!("make the data directory {shown}; --data-dir names another one"))?;
        if path.to_str().is_none() {
            bail!("the data directory {shown} has a name that is not UTF-8: name another one with --data-dir");
        }
        let mut lock =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path.join("lock"))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut holder = String::new();
                lock.read_to_string(&mut holder)?;
                let holder = holder.trim();
                bail!(
                    "another `mall up` (process {holder}) uses {shown}: stop it with `kill {holder}`, or run this one \
                     beside it with `--free-ports --data-dir DIR`"
                );
            }
            Err(TryLockError::Error(error)) => return Err(error).context(format!("lock {shown}")),
        }
        lock.set_len(0)?;
        lock.rewind()?;
        writeln!(lock, "{}", std::process::id())?;
        // There are keys in it, which no one should commit.
        fs::write(path.join(".gitignore"), "*\n")?;
        let was_left = path.join(ADDRESSES).exists();
        Ok(Self { path: path.to_owned(), was_left, _lock: lock })
    }

    /// Whether the last `mall up` here was killed, so that its children may still be ending.
    pub(super) fn was_left(&self) -> bool {
        self.was_left
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn keys(&self) -> PathBuf {
        self.path.join("keys")
    }

    /// Writes where everything is, all at once, for programs that wait for it.
    pub(super) fn write_addresses(&self, addresses: &Value) -> anyhow::Result<()> {
        let new = self.path.join(format!("{ADDRESSES}.new"));
        fs::write(&new, format!("{addresses:#}\n"))?;
        fs::rename(new, self.path.join(ADDRESSES))?;
        Ok(())
    }

    /// Says that nothing runs any more.
    pub(super) fn close(&self) {
        let _ = fs::remove_file(self.path.join(ADDRESSES));
    }
}

/// Where everything is, for as long as it runs.
pub(crate) const ADDRESSES: &str = "addresses.json";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_has_one_owner_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("deep/er");
        let first = DataDir::open(&path).unwrap();
        let error = DataDir::open(&path).unwrap_err().to_string();
        assert!(error.contains(&format!("`kill {}`", std::process::id())) && error.contains("--data-dir"), "{error}");
        first.write_addresses(&Value::Null).unwrap();
        drop(first);
        let second = DataDir::open(&path).unwrap();
        assert!(second.was_left());
        second.close();
        drop(second);
        assert!(!DataDir::open(&path).unwrap().was_left());
    }
}
