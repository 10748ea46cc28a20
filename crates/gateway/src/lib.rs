//! The REST APIs in front of the gRPC services: one router per [`Api`], made from the rules in its proto file.
//!
//! A gateway holds no state and knows no rules of its own: it turns JSON into messages and back, decides which headers
//! pass, and says every refusal as `google.rpc.Status`.

#![warn(missing_docs)]

mod answer;
mod api;
mod body;
mod call;
mod config;
mod cors;
mod details;
mod docs;
mod error;
mod headers;
mod malformed;
mod peer;
mod refusal;
mod server;
mod status;

pub use answer::Answers;
pub use api::Api;
pub use config::{Config, Cors, Limits};
pub use error::Error;
use rpc::lifecycle::Lifecycle;
pub use server::Gateway;

/// Serves `api` until the process drains.
pub async fn serve(api: Api, config: Config, lifecycle: Lifecycle) -> Result<(), Error> {
    Gateway::bind(api, config, lifecycle).await?.serve().await
}
