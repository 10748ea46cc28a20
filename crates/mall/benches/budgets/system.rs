//! What Linux tells of processes.

use std::fs;
use std::time::Duration;

use anyhow::Context as _;
use testkit::process::Mall;

/// The unit of times in `/proc/PID/stat`, the same on every Linux of today.
const TICKS_PER_SECOND: f64 = 100.0;

/// The CPU time that a process has taken so far, with its threads that have ended.
pub(crate) fn cpu(pid: u32) -> anyhow::Result<Duration> {
    let stat = read(pid, "stat")?;
    // The second field is the program's name in parentheses, which may hold anything; the fourteenth and fifteenth are
    // the times.
    let (_, fields) = stat.rsplit_once(") ").context("an unknown form of /proc/PID/stat")?;
    let ticks = fields.split(' ').skip(11).take(2).map(str::parse::<f64>).sum::<Result<f64, _>>()?;
    Ok(Duration::from_secs_f64(ticks / TICKS_PER_SECOND))
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
    mib(&read(pid, "status")?, "VmRSS:")
}

/// The part of [`rss`] that is no page of a file: the process's own heap and stacks, in MiB.
pub(crate) fn anonymous(pid: u32) -> anyhow::Result<f64> {
    mib(&read(pid, "status")?, "RssAnon:")
}

/// The memory that a process has in use, each shared page divided by its users, in MiB.
pub(crate) fn pss(pid: u32) -> anyhow::Result<f64> {
    mib(&read(pid, "smaps_rollup")?, "Pss:")
}

/// How busy the machine was during the last minute.
pub(crate) fn load_average() -> String {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().unwrap_or_default().to_owned()
}

/// The process id of a service.
pub(crate) fn pid(mall: &Mall, service: &str) -> anyhow::Result<u32> {
    mall.services().get(service).copied().with_context(|| format!("{service} does not run"))
}

fn read(pid: u32, file: &str) -> anyhow::Result<String> {
    let path = format!("/proc/{pid}/{file}");
    fs::read_to_string(&path).with_context(|| format!("read {path}"))
}

fn mib(text: &str, key: &str) -> anyhow::Result<f64> {
    let line = text.lines().find_map(|line| line.strip_prefix(key));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok());
    Ok(kib.with_context(|| format!("no {key} of a process"))? / 1024.0)
}
