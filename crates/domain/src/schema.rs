//! What a service waits for before it is ready: its database, with the schema that this binary needs.

use std::time::Duration;

use db::{Error, Migrations, Pool};

/// The wait after the first look; it doubles with each that follows.
const WAIT: Duration = Duration::from_millis(100);
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// Waits until the database of `service` can be reached and lacks none of `migrations`, and says what it waits for.
///
/// It is not an error for it to be away: in a cluster all is started at once, and to end would take longer than to wait.
pub async fn wait(pool: &Pool, migrations: &Migrations, service: &str) -> Result<(), Error> {
    let mut wait = WAIT;
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
        tokio::time::sleep(wait).await;
        wait = (wait * 2).min(LONGEST_WAIT);
    }
}
