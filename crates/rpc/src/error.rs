//! Why a server or a client could not be set up.

use std::net::SocketAddr;

/// A problem at start; what goes wrong in a call is a `tonic::Status`.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The address is taken, or not this machine's.
    #[error("cannot listen on {address}: stop what uses port {port} (`lsof -i :{port}` names it) or choose another one", port = address.port())]
    Listen {
        /// The address that was asked for.
        address: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// The server broke while it was running.
    #[error("serve gRPC")]
    Serve(#[from] tonic::transport::Error),
    /// The descriptors cannot be offered by reflection.
    #[error("read the descriptors for reflection")]
    Reflection(#[from] tonic_reflection::server::Error),
    /// The files of certificates and keys are no use.
    #[error(transparent)]
    Tls(#[from] crate::tls::Error),
    /// The system would not give what a server needs.
    #[error("set up the process")]
    Io(#[from] std::io::Error),
}
