//! Why a gateway could not be set up.

/// A problem at start; what goes wrong in a call is answered to its client.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A port is taken, or the upstream's address is none.
    #[error(transparent)]
    Rpc(#[from] rpc::Error),
    /// An origin in the configuration is none.
    #[error("`{0}` in cors.origins is not an origin: write it as https://HOST or https://HOST:PORT")]
    Origin(String),
    /// The system would not give what the gateway needs.
    #[error("set up the gateway")]
    Io(#[from] std::io::Error),
}
