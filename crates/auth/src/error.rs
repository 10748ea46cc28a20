//! Why a service cannot start with the keys or the access rules it has.

use std::io;
use std::path::PathBuf;

/// What is wrong, and what to do about it.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum Error {
    #[error("cannot {action} {}", path.display())]
    File {
        action: &'static str,
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("there is no signing key at {}: run \"mall keys\", or set auth.keys to the directory that has it", .0.display())]
    NoPrivateKey(PathBuf),
    #[error("there is no public key in {}: run \"mall keys\", or set auth.keys to the directory that has it", .0.display())]
    NoPublicKey(PathBuf),
    #[error(
        "{} is open to every user of this machine (mode {mode:04o}): run \"chmod 600 {}\"; for a Kubernetes Secret \
         volume set defaultMode: 0440 with a pod fsGroup",
        path.display(), path.display()
    )]
    OpenToOthers { path: PathBuf, mode: u32 },
    #[error("{} is not an Ed25519 {kind} key in PEM: move it away and run \"mall keys\"", path.display())]
    NotAKey { path: PathBuf, kind: &'static str },
    #[error("{} is also the key of {other}: each service needs its own; move both away and run \"mall keys\"", path.display())]
    SharedKey { path: PathBuf, other: String },
    #[error("\"{0}\" cannot be the name of a service: use a-z, 0-9, `.` and `-`, at most 63, and not \"mall\"")]
    Name(String),
    #[error("the operating system gives no random numbers")]
    Random,
    #[error("the descriptors have no service {0}")]
    NoService(String),
    #[error("the descriptors have no extension mall.access.v1.allow: compile mall/access/v1/access.proto in")]
    NoExtension,
    #[error("method {0} does not say who may call it: add `option (mall.access.v1.allow) = {{ .. }};` to it")]
    NoRule(String),
    #[error("method {0} admits nobody: name public, user, admin or services in its option (mall.access.v1.allow)")]
    AdmitsNobody(String),
}
