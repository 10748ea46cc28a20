//! `mall serve`: one service in the foreground, until a signal or the end of its supervisor.

use std::convert::Infallible;
use std::error::Error;
use std::io::Read as _;
use std::time::Duration;

use anyhow::Context as _;
use rpc::Lifecycle;
use telemetry::Telemetry;
use tokio::signal::unix::{SignalKind, signal};

use crate::config::Sources;
use crate::open_files;
use crate::services::Service;

/// Set by a supervisor for its children: standard input is a pipe whose end means that the child must end.
pub(crate) const SUPERVISED: &str = "MALL_SUPERVISED";

/// As many as there may be connections to a port, and all else.
const OPEN_FILES: u64 = 32 * 1024;

pub(crate) fn run(service: &Service, sources: &Sources) -> anyhow::Result<()> {
    let process = service.configure(sources)?;
    open_files::raise(OPEN_FILES);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("start the runtime")?;
    runtime.block_on(async {
        let telemetry = telemetry::init(&process.telemetry)?;
        let lifecycle = Lifecycle::on_signals()?;
        if std::env::var_os(SUPERVISED).is_some() {
            let (lifecycle, end) = (lifecycle.clone(), process.end());
            let follow = move || follow_supervisor(&lifecycle, end);
            std::thread::Builder::new().name("supervisor".to_owned()).spawn(follow)?;
        }
        let served = tokio::select! {
            served = process.section.serve(lifecycle.clone()) => served,
            () = lifecycle.given_up() => Ok(()),
            end = follow_levels(service, sources, &telemetry) => match end? {},
        };
        telemetry.shutdown().await;
        served
    })
}

/// Reads the levels of the log again at SIGHUP, from wherever the configuration is; a mistake in it leaves them as they are.
async fn follow_levels(service: &Service, sources: &Sources, telemetry: &Telemetry) -> anyhow::Result<Infallible> {
    let mut signals = signal(SignalKind::hangup()).context("take over SIGHUP")?;
    loop {
        signals.recv().await;
        let levels = service.configure(sources).map_err(anyhow::Error::from);
        match levels.and_then(|process| Ok(telemetry.set_levels(&process.telemetry)?)) {
            Ok(()) if std::env::var_os("RUST_LOG").is_some() => {
                tracing::warn!("SIGHUP: RUST_LOG decides on the levels of the log, and stays what it is");
            }
            Ok(()) => tracing::info!("SIGHUP: the levels of the log were read again"),
            Err(error) => {
                tracing::error!(error = &*error as &dyn Error, "SIGHUP: the levels of the log stay as they are")
            }
        }
    }
}

/// Stops when the supervisor closes its end of the pipe, which the kernel does for it if it is killed; ends the process
/// if it is still there after `end`.
fn follow_supervisor(lifecycle: &Lifecycle, end: Duration) {
    let mut input = std::io::stdin();
    while input.read(&mut [0; 64]).is_ok_and(|read| read > 0) {}
    lifecycle.stop();
    std::thread::sleep(end);
    std::process::exit(1);
}
