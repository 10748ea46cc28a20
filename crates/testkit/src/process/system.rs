//! Processes that are not our own children: which there are, and telling them to end.

use std::process::Command;

use rustix::process::{Pid, Signal, kill_process};

use crate::eventually;

/// The children of a process that have not ended: their ids and command lines.
pub fn children(parent: u32) -> Vec<(u32, String)> {
    processes()
        .into_iter()
        .filter(|process| process.parent == parent)
        .map(|process| (process.pid, process.command))
        .collect()
}

/// Waits until none of these processes is left; panics when one stays.
pub async fn gone(pids: &[u32]) {
    // No one else's child can be awaited.
    let left = || processes().iter().any(|process| pids.contains(&process.pid));
    eventually(&format!("the processes {pids:?} end"), async || (!left()).then_some(())).await;
}

/// Sends a signal to a process.
pub fn signal(pid: u32, signal: Signal) {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).expect("a process id");
    kill_process(pid, signal).expect("send a signal");
}

struct Process {
    pid: u32,
    parent: u32,
    command: String,
}

/// All processes but those that have ended and that no one has asked about yet.
fn processes() -> Vec<Process> {
    let output = Command::new("ps").args(["-A", "-ww", "-o", "pid=,ppid=,stat=,args="]).output();
    let output = output.expect("run ps, which is in the package procps");
    let text = String::from_utf8_lossy(&output.stdout);
    let lines = text.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        let (pid, parent, state) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?, words.next()?);
        let command = words.collect::<Vec<_>>().join(" ");
        (!state.starts_with('Z')).then_some(Process { pid, parent, command })
    });
    lines.collect()
}
