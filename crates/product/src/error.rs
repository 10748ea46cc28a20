//! What can go wrong in product.rpc, and the one place where it becomes a gRPC status.

use tonic::Status;

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// Fields of the request break their rules.
    #[error(transparent)]
    Invalid(#[from] rpc::Invalid),
    /// No product has this id.
    #[error("product {0} does not exist")]
    NotFound(i64),
    /// The product has fewer units than were asked for.
    #[error("product {product} has fewer than {quantity} in stock")]
    OutOfStock {
        /// The product's id.
        product: i64,
        /// Units asked for.
        quantity: u64,
    },
    /// The product is not to be bought.
    #[error("product {0} is off sale")]
    OffSale(i64),
    /// The order gave its units back, or was given up before it had any.
    #[error("order {0} was given up")]
    Released(i64),
    /// The order's units are others.
    #[error("order {0} holds other units")]
    Different(i64),
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
            Error::OutOfStock { .. } | Error::OffSale(_) | Error::Released(_) | Error::Different(_) => {
                Self::failed_precondition(error.to_string())
            }
            Error::Db(source) => source.into(),
        }
    }
}
