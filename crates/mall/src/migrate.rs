//! `mall migrate`: databases to their newest schema.

use std::io::Write as _;

use anyhow::Context as _;

use crate::config::Sources;
use crate::services::Service;

pub(crate) fn run(services: &[&'static Service], sources: &Sources) -> anyhow::Result<()> {
    let processes = services.iter().map(|service| Ok((service.name, service.configure(sources)?)));
    let processes = processes.collect::<anyhow::Result<Vec<_>>>()?;
    // Migrations block their thread, which only this runtime allows.
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    runtime.block_on(async {
        for (name, process) in processes {
            process.section.migrate().await.with_context(|| format!("migrate the database of {name}"))?;
            writeln!(std::io::stdout(), "{name}: the database has the newest schema")?;
        }
        Ok(())
    })
}
