//! What can go wrong in pay.rpc, and the one place where it becomes a gRPC status.

use auth::BadSignature;
use tonic::Status;

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// Fields of the request break their rules.
    #[error(transparent)]
    Invalid(#[from] rpc::Invalid),
    /// There is no such payment, or it is not the caller's.
    #[error("payment {0} does not exist")]
    NotFound(i64),
    /// There is no such order, or it is not the caller's.
    #[error("order {0} does not exist")]
    NoOrder(i64),
    /// The order is paid, or given up.
    #[error("order {0} is paid already, or was given up")]
    NotPayable(i64),
    /// Somebody else was at the same payment at the same moment.
    #[error("somebody else was faster, try again")]
    Again,
    /// A callback without a signature.
    #[error("a callback is signed: send x-signature, t=SECONDS,v1=HEX")]
    Unsigned,
    /// A callback whose signature is not good.
    #[error(transparent)]
    Signature(#[from] BadSignature),
    /// What a callback says of its payment is not so.
    #[error(transparent)]
    Mismatch(rpc::Invalid),
    /// The payment has ended otherwise before.
    #[error("payment {0} has ended otherwise before")]
    Ended(i64),
    /// order.rpc cannot say now.
    #[error("ask order.rpc")]
    Order(#[source] Status),
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
            Error::Invalid(source) | Error::Mismatch(source) => source.into(),
            Error::NotFound(_) | Error::NoOrder(_) => Self::not_found(error.to_string()),
            Error::NotPayable(_) | Error::Ended(_) => Self::failed_precondition(error.to_string()),
            Error::Unsigned | Error::Signature(_) => Self::unauthenticated(error.to_string()),
            Error::Again => Self::aborted(error.to_string()),
            Error::Order(status) => rpc::client::failed(&status),
            Error::Db(source) => source.into(),
        }
    }
}

impl Error {
    /// All that [`Error::refusal`] answers.
    pub(crate) const REFUSALS: [&str; 5] = ["signature", "invalid", "mismatch", "unknown", "state"];

    /// Why a callback was refused, as a word for a metric; nothing where it was not the callback's fault.
    pub(crate) fn refusal(&self) -> Option<&'static str> {
        match self {
            Self::Unsigned | Self::Signature(_) => Some("signature"),
            Self::Invalid(_) => Some("invalid"),
            Self::Mismatch(_) => Some("mismatch"),
            Self::NotFound(_) => Some("unknown"),
            Self::Ended(_) => Some("state"),
            Self::NoOrder(_) | Self::NotPayable(_) | Self::Again | Self::Order(_) | Self::Db(_) => None,
        }
    }
}
