//! `mall migrate`: databases to their newest schema.

use std::io::Write as _;

use anyhow::Context as _;

use crate::config::Sources;
use crate::patience::Patience;
use crate::services::Service;

pub(crate) fn run(services: &[&'static Service], sources: &Sources, patience: &Patience) -> anyhow::Result<()> {
    let processes = services.iter().map(|service| Ok((service.name, service.configure(sources)?)));
    let processes = processes.collect::<anyhow::Result<Vec<_>>>()?;
    // Migrations block their thread, which only this runtime allows.
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    runtime.block_on(async {
        for (name, process) in processes {
            let migrate = async || process.section.migrate().await;
            let migrated = patience.attempt(is_passing, migrate).await;
            migrated.with_context(|| format!("migrate the database of {name}"))?;
            writeln!(std::io::stdout(), "{name}: the database has the newest schema")?;
        }
        Ok(())
    })
}

/// Whether the database is only not up yet.
fn is_passing(error: &anyhow::Error) -> bool {
    error.downcast_ref::<db::Error>().is_some_and(db::Error::is_transient)
}
