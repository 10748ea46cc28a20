//! What can go wrong in order.rpc, and the one place where it becomes a gRPC status.

use tonic::{Code, Status};

use crate::model;

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// Fields of the request break their rules.
    #[error(transparent)]
    Invalid(#[from] rpc::Invalid),
    /// There is no such order, or it is not the caller's.
    #[error("order {0} does not exist")]
    NotFound(i64),
    /// Only an admin may see the orders of others.
    #[error("you may only list your own orders")]
    NotYours,
    /// The key names another order.
    #[error("the idempotency key belongs to order {0}, which is for something else")]
    KeyTaken(i64),
    /// product.rpc says for good that there is nothing to sell: its status.
    #[error("{}", .0.message())]
    Refused(Status),
    /// There were no units when the order was made.
    #[error("order {0} was rejected, for there were no units for it")]
    Rejected(i64),
    /// Somebody else was at the same order at the same moment.
    #[error("somebody else was faster, try again")]
    Again,
    /// The order's state does not lead to the one that is asked for.
    #[error("order {id} is {from} and cannot become {to}")]
    State {
        /// The order.
        id: i64,
        /// Its state.
        from: model::Status,
        /// The state that is asked for.
        to: model::Status,
    },
    /// The amount that was paid is not the order's.
    #[error("order {0} costs something else")]
    Amount(i64),
    /// product.rpc cannot say now.
    #[error("ask product.rpc")]
    Product(#[source] Status),
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
            Error::NotFound(_) => Self::not_found(error.to_string()),
            Error::NotYours => Self::permission_denied(error.to_string()),
            Error::KeyTaken(_) => Self::already_exists(error.to_string()),
            Error::Refused(status) => Self::new(status.code(), status.message()),
            Error::Rejected(_) | Error::State { .. } | Error::Amount(_) => Self::failed_precondition(error.to_string()),
            Error::Again => Self::aborted(error.to_string()),
            Error::Product(status) => rpc::client::failed(&status),
            Error::Db(source) => source.into(),
        }
    }
}

impl Error {
    /// What product.rpc answered: a refusal of this order, or a failure that passes.
    pub(crate) fn product(status: Status) -> Self {
        match status.code() {
            Code::NotFound | Code::FailedPrecondition => Self::Refused(status),
            _ => Self::Product(status),
        }
    }
}
