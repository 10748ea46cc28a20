//! What a service waits for before it is ready: its database, with the schema that this binary needs.

use std::time::Duration;

use backon::{BackoffBuilder as _, ExponentialBuilder};
use db::{Error, Migrations, Pool};

/// The waits between two looks; chance makes each of them longer, up to twice.
const WAITS: ExponentialBuilder = ExponentialBuilder::new()
    .with_min_delay(Duration::from_millis(100))
    .with_max_delay(LONGEST_WAIT)
    .with_jitter()
    .without_max_times();
const LONGEST_WAIT: Duration = Duration::from_secs(3);

/// Waits until the database of `service` can be reached and lacks none of `migrations`, and says what it waits for.
///
/// It is not an error for it to be away: in a cluster all is started at once, and to end would take longer than to wait.
pub async fn wait(pool: &Pool, migrations: &Migrations, service: &str) -> Result<(), Error> {
    let mut waits = WAITS.build();
    loop {
        match telemetry::untraced(pool.pending(migrations)).await {
            Ok(pending) if pending.is_empty() => return Ok(()),
            Ok(pending) => {
                let pending = pending.join(", ");
                tracing::warn!(pending, "the database is not migrated: run `mall migrate {service}`; waiting for it");
            }
            Err(error) if error.is_transient() => {
                tracing::warn!(error = &error as &dyn std::error::Error, "waiting for the database");
            }
            Err(error) => return Err(error),
        }
        tokio::time::sleep(waits.next().unwrap_or(LONGEST_WAIT)).await;
    }
}
