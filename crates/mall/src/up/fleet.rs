//! All children together: started at once, ready together, stopped in order.

use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::child::Keeper;
use super::console::Console;
use super::plan::Plan;

/// The running services; those that still run when it is dropped are killed.
#[derive(Debug)]
pub(super) struct Fleet {
    stages: Vec<Stage>,
    ready: Vec<watch::Receiver<bool>>,
    failure: mpsc::Receiver<anyhow::Error>,
}

/// Services that stop together.
#[derive(Debug, Default)]
struct Stage {
    stop: CancellationToken,
    keepers: JoinSet<()>,
}

impl Fleet {
    pub(super) fn start(plan: &Plan, console: &Console) -> anyhow::Result<Self> {
        let program = std::env::current_exe()?;
        let (failures, failure) = mpsc::channel(1);
        let mut fleet = Self { stages: Vec::new(), ready: Vec::new(), failure };
        for member in &plan.members {
            let keeper = Keeper {
                name: member.service.name,
                program: program.clone(),
                variables: member.variables.clone(),
                admin: member.admin(),
                end: member.process.end(),
                console: console.clone(),
            };
            let stage = member.service.stage();
            fleet.stages.resize_with(fleet.stages.len().max(stage + 1), Stage::default);
            let (ready, is_ready) = watch::channel(false);
            fleet.ready.push(is_ready);
            let kept = keeper.keep(ready, fleet.stages[stage].stop.clone());
            let failures = failures.clone();
            fleet.stages[stage].keepers.spawn(async move {
                if let Err(error) = kept.await {
                    // The first failure is the one to tell.
                    let _ = failures.try_send(error);
                }
            });
        }
        Ok(fleet)
    }

    /// Waits until every service has been ready once.
    pub(super) fn ready(&self) -> impl Future<Output = ()> + use<> {
        let ready = self.ready.clone();
        async move {
            for mut service in ready {
                if service.wait_for(|ready| *ready).await.is_err() {
                    // It failed instead, which `failed` tells.
                    std::future::pending::<()>().await;
                }
            }
        }
    }

    /// Waits until a service cannot be kept running, and says why.
    pub(super) async fn failed(&mut self) -> anyhow::Error {
        match self.failure.recv().await {
            Some(error) => error,
            None => std::future::pending().await,
        }
    }

    /// Drains and ends all services, stage by stage.
    pub(super) async fn stop(&mut self) {
        for stage in &mut self.stages {
            stage.stop.cancel();
            while stage.keepers.join_next().await.is_some() {}
        }
    }
}
