//! What is done to processes of the cluster, on the machine that its nodes run on.

use std::path::Path;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// Kills every process of a pod's containers at once, as a crash does; the pod's own sandbox stays.
///
/// # Panics
///
/// Panics if there is none, as where the nodes are on another machine.
pub(crate) fn kill(pod: &Value) {
    let uid = pod["metadata"]["uid"].as_str().expect("a uid");
    let pids: Vec<_> = processes().filter(|pid| belongs_to(*pid, uid) && comm(*pid) != "pause").collect();
    assert!(!pids.is_empty(), "no process of the pod {uid} is on this machine");
    for pid in pids {
        // Some are gone with the first of them.
        let _ = send(pid, Signal::KILL);
    }
}

/// The processes of this machine with this name.
pub(crate) fn named(name: &str) -> Vec<i32> {
    processes().filter(|pid| comm(*pid) == name).collect()
}

/// Sends a signal to a process.
pub(crate) fn send(pid: i32, signal: Signal) -> rustix::io::Result<()> {
    kill_process(Pid::from_raw(pid).expect("a process id"), signal)
}

fn processes() -> impl Iterator<Item = i32> {
    let entries = std::fs::read_dir("/proc").expect("/proc");
    entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
}

fn comm(pid: i32) -> String {
    read(pid, "comm").trim_end().to_owned()
}

/// Control groups are named after the pod, with its uid's dashes or with underscores.
fn belongs_to(pid: i32, uid: &str) -> bool {
    let groups = read(pid, "cgroup");
    groups.contains(uid) || groups.contains(&uid.replace('-', "_"))
}

/// Empty for a process that has gone.
fn read(pid: i32, file: &str) -> String {
    std::fs::read_to_string(Path::new("/proc").join(pid.to_string()).join(file)).unwrap_or_default()
}
