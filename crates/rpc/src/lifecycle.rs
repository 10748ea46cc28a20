//! A process starts, serves, is a lame duck, drains, and is gone; everything that must know which it is, watches this.

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
    /// It says that it is not ready, so that no more calls are sent to it, and takes those that come all the same.
    LameDuck,
    /// It finishes the calls it has and takes no new ones.
    Draining,
}

/// The state of this process; clones share it. It only moves forward.
#[derive(Clone, Debug)]
pub struct Lifecycle {
    stand: watch::Sender<Stand>,
}

#[derive(Debug)]
struct Stand {
    state: State,
    /// Whether it was ever ready.
    served: bool,
}

impl Default for Lifecycle {
    fn default() -> Self {
        Self::new()
    }
}

impl Lifecycle {
    /// A process that is starting and that only [`Lifecycle::stop`] and [`Lifecycle::drain`] end.
    pub fn new() -> Self {
        Self { stand: watch::Sender::new(Stand { state: State::Starting, served: false }) }
    }

    /// A process that is starting and stops at SIGTERM or SIGINT. A second signal ends it at once, with exit code 1.
    pub fn on_signals() -> io::Result<Self> {
        let lifecycle = Self::new();
        tokio::spawn(obey(lifecycle.clone(), Signals::new()?));
        Ok(lifecycle)
    }

    /// Says that calls are welcome.
    pub fn set_serving(&self) {
        self.advance(|_| State::Serving);
    }

    /// Begins the end: calls are no longer welcome, and whoever serves them begins to drain when it sees fit. A process that
    /// was never ready drains at once, for nobody was sent to it.
    pub fn stop(&self) {
        self.advance(|state| if state == State::Starting { State::Draining } else { State::LameDuck });
    }

    /// Ends the taking of calls.
    pub fn drain(&self) {
        self.advance(|_| State::Draining);
    }

    /// Where the process stands now.
    pub fn state(&self) -> State {
        self.stand.borrow().state
    }

    /// Waits until the process is ready, or was.
    pub async fn serving(&self) {
        self.reach(State::Serving).await;
    }

    /// Waits until the end has begun.
    pub async fn stopping(&self) {
        self.reach(State::LameDuck).await;
    }

    /// Waits until draining begins.
    pub async fn draining(&self) {
        self.reach(State::Draining).await;
    }

    /// Waits until the process is told to stop before it was ever ready: then there is nothing to finish.
    pub async fn given_up(&self) {
        self.draining().await;
        if self.stand.borrow().served {
            std::future::pending().await
        }
    }

    /// Waits until the end has begun, lets calls come for `time` more, and begins to drain.
    pub async fn lame_duck(&self, time: Duration) {
        self.stopping().await;
        tokio::select! {
            () = self.draining() => {}
            () = tokio::time::sleep(time) => self.drain(),
        }
    }

    /// Awaits `serving`, through a lame duck of the time given, and once draining has begun for no longer than `drain`:
    /// `None` says that it was cut off.
    pub async fn bounded<T>(
        &self,
        lame_duck: Duration,
        drain: Duration,
        serving: impl Future<Output = T>,
    ) -> Option<T> {
        tokio::select! {
            result = serving => Some(result),
            () = async { self.lame_duck(lame_duck).await; tokio::time::sleep(drain).await } => None,
        }
    }

    async fn reach(&self, at_least: State) {
        // The sender is `self`, so the wait cannot fail.
        let _ = self.stand.subscribe().wait_for(|stand| stand.state >= at_least).await;
    }

    /// Goes on to where `to` says, by where it stands; never back.
    fn advance(&self, to: impl FnOnce(State) -> State) {
        self.stand.send_if_modified(|stand| {
            let to = to(stand.state);
            let forward = stand.state < to;
            if forward {
                stand.state = to;
                stand.served |= to == State::Serving;
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
    tracing::info!(signal, "stopping; a second signal ends it at once");
    lifecycle.stop();
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
        let (zero, moment, minute) = (Duration::ZERO, Duration::from_millis(20), Duration::from_secs(60));
        assert_eq!(lifecycle.bounded(zero, zero, tokio::time::sleep(moment)).await, Some(()));
        lifecycle.drain();
        assert_eq!(lifecycle.bounded(minute, minute, async { 7 }).await, Some(7));
        assert_eq!(lifecycle.bounded(minute, moment, std::future::pending::<()>()).await, None);
    }

    #[tokio::test]
    async fn it_is_a_lame_duck_for_its_time() {
        let (moment, minute) = (Duration::from_millis(20), Duration::from_secs(60));
        let lifecycle = Lifecycle::new();
        lifecycle.set_serving();
        lifecycle.stop();
        lifecycle.stopping().await;
        assert_eq!(lifecycle.state(), State::LameDuck);
        let began = std::time::Instant::now();
        lifecycle.lame_duck(moment).await;
        assert!(began.elapsed() >= moment);
        assert_eq!(lifecycle.state(), State::Draining);
        // Whoever hears of it late does not wait.
        lifecycle.lame_duck(minute).await;
    }

    #[tokio::test]
    async fn what_was_never_ready_is_no_lame_duck_and_given_up() {
        let lifecycle = Lifecycle::new();
        lifecycle.stop();
        assert_eq!(lifecycle.state(), State::Draining);
        lifecycle.given_up().await;

        let served = Lifecycle::new();
        served.set_serving();
        served.drain();
        assert!(tokio::time::timeout(Duration::from_millis(20), served.given_up()).await.is_err());
    }
}
