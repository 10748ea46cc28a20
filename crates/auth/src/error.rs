//! Why a service cannot start with the keys or the access rules it has.

use std::io;
use std::path::PathBuf;

/// What is wrong, and what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file or directory of the keys could not be read or written.
    #[error("cannot {action} {}", path.display())]
    File {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
    /// There is no private key of this name.
    #[error("there is no signing key at {}: run \"mall keys\", or set auth.keys to the directory that has it", .0.display())]
    NoPrivateKey(PathBuf),
    /// There is no public key at all, or none of the one who signs users' tokens.
    #[error("there is no public key in {}: run \"mall keys\", or set auth.keys to the directory that has it", .0.display())]
    NoPublicKey(PathBuf),
    /// Others than the owner and the group may read or change a private key.
    #[error(
        "{} is open to every user of this machine (mode {mode:04o}): run \"chmod 600 {}\"; for a Kubernetes Secret \
         volume set defaultMode: 0440 with a pod fsGroup",
        path.display(), path.display()
    )]
    OpenToOthers {
        /// The file.
        path: PathBuf,
        /// Its rights.
        mode: u32,
    },
    /// A file does not hold an Ed25519 key.
    #[error("{} is not an Ed25519 {kind} key in PEM: move it away and run \"mall keys\"", path.display())]
    NotAKey {
        /// The file.
        path: PathBuf,
        /// `private` or `public`.
        kind: &'static str,
    },
    /// Two services have one key, so either could speak for the other.
    #[error("{} is also the key of {other}: each service needs its own; move both away and run \"mall keys\"", path.display())]
    SharedKey {
        /// The file.
        path: PathBuf,
        /// The service which has the same key.
        other: String,
    },
    /// A name that cannot be a service's.
    #[error("\"{0}\" cannot be the name of a service: use a-z, 0-9, `.` and `-`, at most 63, and not \"mall\"")]
    Name(String),
    /// The machine gives no random numbers.
    #[error("the operating system gives no random numbers")]
    Random,
    /// The descriptors do not have this service.
    #[error("the descriptors have no service {0}")]
    NoService(String),
    /// The descriptors do not have the access option.
    #[error("the descriptors have no extension mall.access.v1.allow: compile mall/access/v1/access.proto in")]
    NoExtension,
    /// A method that says not who may call it.
    #[error("method {0} does not say who may call it: add `option (mall.access.v1.allow) = {{ .. }};` to it")]
    NoRule(String),
    /// A method that admits nobody.
    #[error("method {0} admits nobody: name public, user, admin or services in its option (mall.access.v1.allow)")]
    AdmitsNobody(String),
}
