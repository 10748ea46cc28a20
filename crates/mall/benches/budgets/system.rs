//! What Linux tells of processes.

use std::time::Duration;

use anyhow::Context as _;
use procfs::process::{Process, Status};
use procfs::{Current as _, LoadAverage};
use testkit::process::Mall;

/// The CPU time that a process has taken so far, with its threads that have ended.
pub(crate) fn cpu(pid: u32) -> anyhow::Result<Duration> {
    let stat = process(pid)?.stat()?;
    #[expect(clippy::cast_precision_loss, reason = "no process takes 2^52 ticks")]
    let seconds = (stat.utime + stat.stime) as f64 / procfs::ticks_per_second() as f64;
    Ok(Duration::from_secs_f64(seconds))
}

/// What a process takes of the CPU from a moment on.
pub(crate) struct Taking {
    pid: u32,
    before: Duration,
}

impl Taking {
    /// From now on.
    pub(crate) fn from_now(pid: u32) -> anyhow::Result<Self> {
        Ok(Self { pid, before: cpu(pid)? })
    }

    /// The microseconds of each of so many things that were done since.
    pub(crate) fn of_each(&self, count: f64) -> anyhow::Result<f64> {
        Ok((cpu(self.pid)? - self.before).as_secs_f64() * 1e6 / count)
    }
}

/// The memory that a process has in use, shared pages included, in MiB.
pub(crate) fn rss(pid: u32) -> anyhow::Result<f64> {
    status(pid, |status| status.vmrss)
}

/// The part of [`rss`] that is no page of a file: the process's own heap and stacks, in MiB.
pub(crate) fn anonymous(pid: u32) -> anyhow::Result<f64> {
    status(pid, |status| status.rssanon)
}

/// The memory that a process has in use, each shared page divided by its users, in MiB.
pub(crate) fn pss(pid: u32) -> anyhow::Result<f64> {
    let maps = process(pid)?.smaps_rollup()?.memory_map_rollup;
    let bytes = maps.into_iter().next().and_then(|map| map.extension.map.get("Pss").copied());
    Ok(mib(bytes.context("Linux tells no Pss of a process")?))
}

/// How busy the machine was during the last minute.
pub(crate) fn load_average() -> String {
    LoadAverage::current().map_or_else(|_| "unknown".to_owned(), |load| load.one.to_string())
}

/// The process id of a service.
pub(crate) fn pid(mall: &Mall, service: &str) -> anyhow::Result<u32> {
    mall.services().get(service).copied().with_context(|| format!("{service} does not run"))
}

fn process(pid: u32) -> anyhow::Result<Process> {
    Process::new(pid.try_into()?).with_context(|| format!("look at process {pid}"))
}

/// A figure of `/proc/PID/status`, which are in KiB, in MiB.
fn status(pid: u32, figure: impl FnOnce(Status) -> Option<u64>) -> anyhow::Result<f64> {
    let kib = figure(process(pid)?.status()?).with_context(|| format!("Linux does not tell the memory of {pid}"))?;
    Ok(mib(kib * 1024))
}

#[expect(clippy::cast_precision_loss, reason = "no process has 2^52 bytes")]
fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}
