//! Callbacks from outside: signed with a secret that the sender shares with us, good for a few minutes.
//!
//! `DIR/private/NAME.secret` has a secret per line, 64 hexadecimal digits each. The first one signs and all of them verify,
//! so that a new one can be taken up while the last is still in use.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use redact::Secret;
use ring::hmac;
use ring::rand::{SecureRandom as _, SystemRandom};

use crate::keys::files;
use crate::{Clock, Config, Error};

/// By how many seconds a callback's time may differ from ours.
const WINDOW: u64 = 300;

/// Bytes of a secret: as many as the hash has.
const LENGTH: usize = 32;

/// Signs and verifies the callbacks of one sender. Clones share the secrets.
#[derive(Clone)]
pub struct CallbackKey {
    secrets: Arc<[hmac::Key]>,
    clock: Clock,
}

/// Why a callback's signature is not accepted; a word for a metric, too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadSignature {
    /// It is not of the form `t=SECONDS,v1=HEX`.
    #[error("the signature is not of the form t=SECONDS,v1=HEX")]
    Malformed,
    /// The time is too long ago, or yet to come.
    #[error("the signature's time is more than 5 minutes off")]
    Stale,
    /// No secret of ours made it, or not for this time and body.
    #[error("the signature is wrong")]
    Wrong,
}

impl CallbackKey {
    /// Reads the secrets of `name`, such as `sandbox`.
    pub fn load(config: &Config, name: &str) -> Result<Self, Error> {
        let path = files::secret_path(&config.keys, name);
        let text = read(&config.keys, name)?;
        let lines = text.expose_secret().lines().map(str::trim).filter(|line| !line.is_empty());
        let secrets = lines.map(|line| Some(hmac::Key::new(hmac::HMAC_SHA256, &bytes(line)?)));
        let secrets = secrets.collect::<Option<Arc<[_]>>>().filter(|secrets| !secrets.is_empty());
        let secrets = secrets.ok_or(Error::NotAKey { path, kind: "HMAC" })?;
        Ok(Self { secrets, clock: Clock::default() })
    }

    /// The same with another clock.
    pub fn with_clock(self, clock: Clock) -> Self {
        Self { clock, ..self }
    }

    /// The signature of `body` at this moment: `t=SECONDS,v1=HEX`, where HEX is the HMAC-SHA256 of `SECONDS.BODY`.
    pub fn sign(&self, body: &[u8]) -> String {
        let time = self.clock.now();
        // There is at least one.
        let tag = self.secrets.first().map(|secret| hmac::sign(secret, &signed(time, body)));
        format!("t={time},v1={}", tag.map(|tag| hex(tag.as_ref())).unwrap_or_default())
    }

    /// Whether one of the secrets signed `body`, and lately; compares in constant time.
    pub fn verify(&self, signature: &str, body: &[u8]) -> Result<(), BadSignature> {
        let (time, tag) = parse(signature).ok_or(BadSignature::Malformed)?;
        if self.clock.now().abs_diff(time) > WINDOW {
            return Err(BadSignature::Stale);
        }
        let text = signed(time, body);
        let good = self.secrets.iter().any(|secret| hmac::verify(secret, &text, &tag).is_ok());
        if good { Ok(()) } else { Err(BadSignature::Wrong) }
    }
}

impl fmt::Debug for CallbackKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CallbackKey").field("secrets", &self.secrets.len()).finish_non_exhaustive()
    }
}

/// The text of the file with the secrets of `name` in the directory of keys `dir`.
pub fn read(dir: &Path, name: &str) -> Result<Secret<String>, Error> {
    files::read_private(&files::secret_path(dir, name))
}

/// A new secret for a sender, kept nowhere: the text of its file.
fn new_secret() -> Result<Secret<String>, Error> {
    let mut secret = [0; LENGTH];
    SystemRandom::new().fill(&mut secret).map_err(|_| Error::Random)?;
    Ok(Secret::new(format!("{}\n", hex(&secret))))
}

/// Makes the secret of `name` in the directory of keys `dir` if it is missing, and answers the file if it made one.
pub fn generate(dir: &Path, name: &str) -> Result<Option<PathBuf>, Error> {
    let _lock = files::lock(dir)?;
    let path = files::secret_path(dir, name);
    if files::exists(&path)? {
        return Ok(None);
    }
    files::write(&path, new_secret()?.expose_secret(), 0o600)?;
    Ok(Some(path))
}

/// Puts a new secret before those that `name` has; the last one stays good beside it, older ones go.
pub fn rotate(dir: &Path, name: &str) -> Result<PathBuf, Error> {
    let _lock = files::lock(dir)?;
    let path = files::secret_path(dir, name);
    let old = read(dir, name)?;
    let last = old.expose_secret().lines().next().unwrap_or_default();
    files::write(&path, &format!("{}{last}\n", new_secret()?.expose_secret()), 0o600)?;
    Ok(path)
}

fn signed(time: u64, body: &[u8]) -> Vec<u8> {
    let mut text = format!("{time}.").into_bytes();
    text.extend_from_slice(body);
    text
}

fn parse(signature: &str) -> Option<(u64, Vec<u8>)> {
    let (time, tag) = signature.split_once(',')?;
    let digits = time.strip_prefix("t=").filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()))?;
    Some((digits.parse().ok()?, bytes(tag.strip_prefix("v1=")?)?))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The bytes of exactly [`LENGTH`] pairs of hexadecimal digits.
fn bytes(hex: &str) -> Option<Vec<u8>> {
    if hex.len() != 2 * LENGTH || !hex.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    hex.as_bytes().chunks(2).map(|pair| u8::from_str_radix(str::from_utf8(pair).ok()?, 16).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(dir: &Path, now: u64) -> CallbackKey {
        let config = Config { keys: dir.to_owned(), ..Config::default() };
        CallbackKey::load(&config, "sandbox").unwrap().with_clock(Clock::new(move || now))
    }

    #[test]
    fn a_signature_is_good_for_its_body_and_five_minutes() {
        let dir = tempfile::tempdir().unwrap();
        assert!(generate(dir.path(), "sandbox").unwrap().is_some());
        assert_eq!(generate(dir.path(), "sandbox").unwrap(), None);
        let signature = key(dir.path(), 1000).sign(b"{}");
        for (now, body, verdict) in [
            (1000, b"{}", Ok(())),
            (1300, b"{}", Ok(())),
            (700, b"{}", Ok(())),
            (1301, b"{}", Err(BadSignature::Stale)),
            (699, b"{}", Err(BadSignature::Stale)),
            (1000, b"[]", Err(BadSignature::Wrong)),
        ] {
            assert_eq!(key(dir.path(), now).verify(&signature, body), verdict, "{now}");
        }
        let other_time = signature.replace("t=1000", "t=1001");
        assert_eq!(key(dir.path(), 1000).verify(&other_time, b"{}"), Err(BadSignature::Wrong));
        for malformed in ["", "t=1000", "v1=00", "t=1000,v1=", "t=+1000,v1=00", "t=1000,v1=zz", &signature[..70]] {
            assert_eq!(key(dir.path(), 1000).verify(malformed, b"{}"), Err(BadSignature::Malformed), "{malformed}");
        }
    }

    #[test]
    fn what_the_last_secret_signed_is_good_beside_the_new_one() {
        let dir = tempfile::tempdir().unwrap();
        generate(dir.path(), "sandbox").unwrap();
        let first = key(dir.path(), 1).sign(b"");
        rotate(dir.path(), "sandbox").unwrap();
        let second = key(dir.path(), 1).sign(b"");
        assert_ne!(first, second);
        for signature in [&first, &second] {
            assert_eq!(key(dir.path(), 1).verify(signature, b""), Ok(()));
        }
        rotate(dir.path(), "sandbox").unwrap();
        assert_eq!(key(dir.path(), 1).verify(&first, b""), Err(BadSignature::Wrong));
        assert_eq!(key(dir.path(), 1).verify(&second, b""), Ok(()));
    }

    #[test]
    fn a_secret_is_only_its_owners_and_never_shown() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().unwrap();
        let path = generate(dir.path(), "sandbox").unwrap().unwrap();
        let mode = |mode| std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        let config = Config { keys: dir.path().to_owned(), ..Config::default() };
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        assert!(!format!("{:?}", key(dir.path(), 1)).contains(&std::fs::read_to_string(&path).unwrap()[..64]));
        mode(0o644);
        assert!(matches!(CallbackKey::load(&config, "sandbox"), Err(Error::OpenToOthers { .. })));
        mode(0o600);
        for text in ["", "short\n", &"g".repeat(64)] {
            std::fs::write(&path, text).unwrap();
            assert!(matches!(CallbackKey::load(&config, "sandbox"), Err(Error::NotAKey { .. })), "{text}");
        }
        assert!(matches!(CallbackKey::load(&config, "other"), Err(Error::NoPrivateKey(_))));
    }
}
