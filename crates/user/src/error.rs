//! What can go wrong in user.rpc, and the one place where it becomes a gRPC status.

use std::path::PathBuf;

use tonic::Status;

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// Fields of the request break their rules.
    #[error(transparent)]
    Invalid(#[from] rpc::Invalid),
    /// Someone has this mobile number already.
    #[error("this mobile number has an account")]
    MobileTaken,
    /// The mobile number is unknown or the password wrong; which of them is nobody's business.
    #[error("the mobile number or the password is wrong")]
    WrongCredentials,
    /// The password that was to be replaced is another; the caller's token is good all the same.
    #[error("the old password is wrong")]
    WrongPassword,
    /// Somebody else changed the password at the same moment.
    #[error("the password was changed in the meantime")]
    PasswordChanged,
    /// The token is good, but its user is no longer there.
    #[error("this account no longer exists")]
    Gone,
    /// Too many failed tries.
    #[error(transparent)]
    Exceeded(#[from] auth::limit::Exceeded),
    /// The password could not be hashed.
    #[error(transparent)]
    Password(#[from] auth::password::Error),
    /// The database failed; the cause is logged, never answered.
    #[error(transparent)]
    Db(#[from] db::Error),
}

impl From<diesel::result::Error> for Error {
    fn from(source: diesel::result::Error) -> Self {
        Self::Db(source.into())
    }
}

impl From<Error> for Status {
    fn from(error: Error) -> Self {
        match error {
            Error::Invalid(source) => source.into(),
            Error::WrongPassword => rpc::Invalid::field("oldPassword", "is wrong").into(),
            Error::MobileTaken => Self::already_exists(error.to_string()),
            Error::WrongCredentials => Self::unauthenticated(error.to_string()),
            Error::PasswordChanged => Self::aborted(error.to_string()),
            Error::Gone => Self::not_found(error.to_string()),
            Error::Exceeded(source) => source.into(),
            Error::Password(source) => source.into(),
            Error::Db(source) => source.into(),
        }
    }
}

/// Why user.rpc did not start, or stopped serving.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// As any service's.
    #[error(transparent)]
    Domain(#[from] domain::Error),
    /// A file of the admin's account cannot be read.
    #[error("read {}: `admin` must name a directory with the files `mobile` and `password`", path.display())]
    ReadAdmin {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The admin's mobile number or password cannot be one.
    #[error("the admin's {field} {rule}")]
    Admin {
        /// The file in the directory that `admin` names.
        field: &'static str,
        /// What it must be.
        rule: &'static str,
    },
    /// Someone else has the admin's mobile number.
    #[error("the admin's mobile number has an account, and that is no admin's: choose another number")]
    AdminTaken,
    /// The admin's account could not be made.
    #[error("make the admin's account")]
    MakeAdmin(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl From<auth::Error> for ServeError {
    fn from(source: auth::Error) -> Self {
        Self::Domain(source.into())
    }
}

impl From<db::Error> for ServeError {
    fn from(source: db::Error) -> Self {
        Self::Domain(source.into())
    }
}
