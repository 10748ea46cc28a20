//! Takes traces over OTLP, keeps the newest in bounded memory, shows them in Jaeger's UI.

#![warn(missing_docs)]

mod api;
mod config;
#[doc(hidden)]
pub mod measure;
mod metrics;
mod model;
mod otlp;
mod server;
mod store;
mod ui;
mod wire;

pub use config::Config;
use rpc::Lifecycle;
pub use server::Viewer;

/// Why the viewer does not run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A port could not be taken.
    #[error(transparent)]
    Listen(#[from] rpc::Error),
    /// The system failed a listener.
    #[error("serve the trace viewer")]
    Io(#[from] std::io::Error),
}

/// Runs the viewer until the lifecycle drains. It makes no traces of its own.
pub async fn serve(config: Config, lifecycle: Lifecycle) -> Result<(), Error> {
    Viewer::bind(config, lifecycle).await?.serve().await
}
