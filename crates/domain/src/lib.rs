//! What every domain's service is made of: the server around its handlers, the pages of its lists, the rules that fields
//! of several share, and the work that a crash left unfinished.
#![warn(missing_docs)]

mod error;
pub mod fault;
mod page;
pub mod recovery;
pub mod rules;
pub mod schema;
mod server;

use std::time::{SystemTime, UNIX_EPOCH};

pub use error::Error;
pub use page::{Page, PageSize};
pub use server::Server;

/// Milliseconds since 1970-01-01T00:00:00Z: what times in the databases are.
pub fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// `duration` in milliseconds, for times in the databases.
pub fn millis(duration: std::time::Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
