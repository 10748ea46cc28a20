//! How a gRPC service of mall is served and called: one chassis for every server, one channel for every client,
//! and the life of the process around them.

#![warn(missing_docs)]

pub mod accept;
pub mod admin;
pub mod admission;
mod batched;
pub mod client;
pub mod criticality;
pub mod deadline;
pub mod error;
pub mod faults;
pub mod http;
mod invalid;
pub mod lifecycle;
pub mod server;
pub mod tls;

use std::net::{IpAddr, SocketAddr};

pub use accept::Identity;
pub use client::Channel;
pub use criticality::Criticality;
pub use error::Error;
pub use invalid::{Checks, Invalid, Rule};
pub use lifecycle::Lifecycle;
pub use server::Server;
use tokio::net::TcpListener;

/// The metadata key under which a gateway tells a service the address of its client, without a port.
pub const CLIENT_ADDRESS: &str = "x-client-address";

/// The metadata key that names a request, so that sending it again has no further effect.
pub const IDEMPOTENCY_KEY: &str = "idempotency-key";

/// The header, and metadata key, of the signature of a callback.
pub const SIGNATURE: &str = "x-signature";

/// The metadata key under which a gateway passes on the body that was signed, as it came.
pub const SIGNED_BODY: &str = "x-signed-body-bin";

/// The key that the caller gave this request, if it did, whatever it is.
pub fn idempotency_key<T>(request: &tonic::Request<T>) -> Option<String> {
    let key = request.metadata().get(IDEMPOTENCY_KEY)?;
    Some(String::from_utf8_lossy(key.as_encoded_bytes()).into_owned())
}

/// Binds `address`, or says which one is taken and what to do about it.
pub async fn listen(address: SocketAddr) -> Result<TcpListener, Error> {
    TcpListener::bind(address).await.map_err(|source| Error::Listen { address, source })
}

/// The address of whoever began this call: what a gateway says of its client, or else the caller's own.
///
/// The server believes only the gateways of [`server::Config::trusted_gateways`].
pub fn client_address<T>(request: &tonic::Request<T>) -> Option<IpAddr> {
    let claimed = request.metadata().get(CLIENT_ADDRESS).and_then(|value| value.to_str().ok()?.parse().ok());
    claimed.or_else(|| Some(request.remote_addr()?.ip()))
}
