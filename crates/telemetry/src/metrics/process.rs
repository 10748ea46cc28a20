//! What the process takes of its machine, and what tokio has to do.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

use opentelemetry::KeyValue;
use tokio::runtime::{Handle, RuntimeMetrics};

use crate::semconv::{CPU_MODE, metric};

/// Measures the process whenever metrics are read; without the instruments of Linux where that is missing.
pub(super) fn observe() {
    static STARTED: OnceLock<Instant> = OnceLock::new();
    let started = *STARTED.get_or_init(Instant::now);
    metric::PROCESS_UPTIME.observe(move |value| value.observe(started.elapsed().as_secs_f64(), &[]));
    #[cfg(target_os = "linux")]
    linux();
    if let Ok(runtime) = Handle::try_current() {
        tokio(runtime.metrics());
    }
}

#[cfg(target_os = "linux")]
#[expect(clippy::cast_precision_loss, reason = "times, bytes and files that a process has are far below 2^52")]
fn linux() {
    use procfs::process::Process;

    let modes = ["user", "system"].map(|mode| [KeyValue::new(CPU_MODE, mode)]);
    let ticks = procfs::ticks_per_second() as f64;
    metric::PROCESS_CPU_TIME.observe(move |value| {
        if let Ok(stat) = Process::myself().and_then(|process| process.stat()) {
            value.observe(stat.utime as f64 / ticks, &modes[0]);
            value.observe(stat.stime as f64 / ticks, &modes[1]);
        }
    });
    metric::PROCESS_MEMORY_USAGE.observe(|value| {
        if let Ok(memory) = Process::myself().and_then(|process| process.statm()) {
            value.observe((memory.resident * procfs::page_size()) as f64, &[]);
        }
    });
    metric::PROCESS_FILE_DESCRIPTORS.observe(|value| {
        if let Ok(count) = Process::myself().and_then(|process| process.fd_count()) {
            value.observe(count as f64, &[]);
        }
    });
}

#[expect(clippy::cast_precision_loss, reason = "threads and tasks are far below 2^52")]
fn tokio(runtime: RuntimeMetrics) {
    let of = |read: fn(&RuntimeMetrics) -> f64| {
        let runtime = runtime.clone();
        move || read(&runtime)
    };
    let (workers, tasks) = (of(|it| it.num_workers() as f64), of(|it| it.num_alive_tasks() as f64));
    let (queue, busy) = (of(|it| it.global_queue_depth() as f64), of(|it| busy(it).as_secs_f64()));
    metric::TOKIO_WORKERS.observe(move |value| value.observe(workers(), &[]));
    metric::TOKIO_TASKS.observe(move |value| value.observe(tasks(), &[]));
    metric::TOKIO_QUEUE.observe(move |value| value.observe(queue(), &[]));
    metric::TOKIO_BUSY.observe(move |value| value.observe(busy(), &[]));
}

fn busy(runtime: &RuntimeMetrics) -> Duration {
    (0..runtime.num_workers()).map(|worker| runtime.worker_total_busy_duration(worker)).sum()
}
