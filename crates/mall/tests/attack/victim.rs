//! The mall that is attacked, and an honest client that goes on all the while.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use procfs::process::Process;
use testkit::process::Mall;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub(crate) const MALL: &str = env!("CARGO_BIN_EXE_mall");

/// What an attack may make a process grow by, for as long as it lasts or for good.
const MOST_GROWTH: u64 = 64 * 1024 * 1024;

/// An honest client: it calls without pause, each time by a connection of its own.
pub(crate) struct Honest {
    stop: CancellationToken,
    served: Arc<AtomicUsize>,
    calling: JoinHandle<()>,
}

impl Honest {
    /// Calls `ask`, which fails if it is not served.
    pub(crate) fn start<F: Future<Output = ()> + Send>(ask: impl Fn() -> F + Send + 'static) -> Self {
        let (stop, served) = (CancellationToken::new(), Arc::new(AtomicUsize::new(0)));
        let (stopped, count) = (stop.clone(), served.clone());
        let calling = tokio::spawn(async move {
            while !stopped.is_cancelled() {
                tokio::time::timeout(Duration::from_secs(10), ask()).await.expect("an honest client is served");
                count.fetch_add(1, Ordering::SeqCst);
            }
        });
        Self { stop, served, calling }
    }

    /// Waits until it was served some times more, and ends it.
    pub(crate) async fn stop(self) {
        let before = self.served.load(Ordering::SeqCst);
        testkit::eventually("an honest client is served", async || {
            let served = self.served.load(Ordering::SeqCst);
            (self.calling.is_finished() || served >= before + 20).then_some(())
        })
        .await;
        self.stop.cancel();
        self.calling.await.unwrap();
    }
}

/// The memory of a service, watched.
pub(crate) struct Memory {
    process: Process,
    before: u64,
}

impl Memory {
    pub(crate) fn of(mall: &Mall, service: &str) -> Self {
        let process = Process::new(mall.services()[service].try_into().unwrap()).unwrap();
        let before = resident(&process);
        Self { process, before }
    }

    /// It has not grown more than an attack may make it grow, at any time.
    pub(crate) fn is_bounded(&self) {
        let peak = self.process.status().unwrap().vmhwm.unwrap() * 1024;
        let grown = peak.saturating_sub(self.before);
        assert!(grown < MOST_GROWTH, "it grew by {} MiB", grown / 1024 / 1024);
    }

    /// When the attack is over, so is the work.
    pub(crate) async fn is_at_rest(&self) {
        let ticks = || {
            let stat = self.process.stat().unwrap();
            stat.utime + stat.stime
        };
        testkit::eventually("it is at rest", async || {
            let before = ticks();
            tokio::time::sleep(Duration::from_secs(1)).await;
            // Of the hundred that a second has.
            (ticks() - before < 30).then_some(())
        })
        .await;
    }
}

fn resident(process: &Process) -> u64 {
    process.status().unwrap().vmrss.unwrap() * 1024
}
