//! A process starts, serves, drains, and is gone; everything that must know which it is, watches this.

use std::future::Future;
use std::io;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

/// Where a process stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// It is not yet ready for calls.
    Starting,
    /// It takes calls.
    Serving,
    /// It finishes the calls it has and takes no new ones.
    Draining,
}

/// The state of this process; clones share it. It only moves forward.
#[derive(Clone, Debug)]
pub struct Lifecycle {
    state: watch::Sender<State>,
}

impl Default for Lifecycle {
    fn default() -> Self {
        Self::new()
    }
}

impl Lifecycle {
    /// A process that is starting and that only [`Lifecycle::drain`] stops.
    pub fn new() -> Self {
        Self { state: watch::Sender::new(State::Starting) }
    }

    /// A process that is starting and drains at SIGTERM or SIGINT. A second signal ends it at once, with exit code 1.
    pub fn on_signals() -> io::Result<Self> {
        let lifecycle = Self::new();
        tokio::spawn(obey(lifecycle.clone(), Signals::new()?));
        Ok(lifecycle)
    }

    /// Says that calls are welcome.
    pub fn set_serving(&self) {
        self.advance(State::Serving);
    }

    /// Begins the end.
    pub fn drain(&self) {
        self.advance(State::Draining);
    }

    /// Where the process stands now.
    pub fn state(&self) -> State {
        *self.state.borrow()
    }

    /// The state now and whenever it changes.
    pub fn watch(&self) -> watch::Receiver<State> {
        self.state.subscribe()
    }

    /// Waits until draining begins.
    pub async fn draining(&self) {
        // The sender is `self`, so the wait cannot fail.
        let _ = self.watch().wait_for(|state| *state == State::Draining).await;
    }

    /// Awaits `serving`, but once draining has begun for no longer than `drain`: `None` says that it was cut off.
    pub async fn bounded<T>(&self, drain: Duration, serving: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            result = serving => Some(result),
            () = async { self.draining().await; tokio::time::sleep(drain).await } => None,
        }
    }

    fn advance(&self, to: State) {
        self.state.send_if_modified(|state| {
            let forward = *state < to;
            if forward {
                *state = to;
            }
            forward
        });
    }
}

/// The signals that end a process: SIGTERM and SIGINT.
#[derive(Debug)]
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// Takes them over: from now on they do not end the process by themselves.
    pub fn new() -> io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    /// Waits for the next one and names it.
    pub async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}

async fn obey(lifecycle: Lifecycle, mut signals: Signals) {
    let signal = signals.next().await;
    tracing::info!(signal, "draining; a second signal stops at once");
    lifecycle.drain();
    let signal = signals.next().await;
    tracing::warn!(signal, "stopped without draining");
    std::process::exit(1);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn it_only_moves_forward() {
        let lifecycle = Lifecycle::new();
        assert_eq!(lifecycle.state(), State::Starting);
        lifecycle.set_serving();
        lifecycle.drain();
        lifecycle.set_serving();
        assert_eq!(lifecycle.state(), State::Draining);
        lifecycle.draining().await;
    }

    #[tokio::test]
    async fn work_is_cut_off_only_once_draining() {
        let lifecycle = Lifecycle::new();
        let moment = Duration::from_millis(20);
        assert_eq!(lifecycle.bounded(Duration::ZERO, tokio::time::sleep(moment)).await, Some(()));
        lifecycle.drain();
        assert_eq!(lifecycle.bounded(Duration::from_secs(60), async { 7 }).await, Some(7));
        assert_eq!(lifecycle.bounded(moment, std::future::pending::<()>()).await, None);
    }
}
