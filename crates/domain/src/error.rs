//! Why a domain's service did not start, or stopped serving.

/// A problem of the whole service; what goes wrong in a call is a `tonic::Status`.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The server could not be set up, or a peer's address is none.
    #[error(transparent)]
    Rpc(#[from] rpc::Error),
    /// The keys or the access rules cannot be used.
    #[error(transparent)]
    Auth(#[from] auth::Error),
    /// The database cannot be used.
    #[error(transparent)]
    Db(#[from] db::Error),
}
