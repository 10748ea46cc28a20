//! The gate before one method: its limit, and the few calls that wait for their turn.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::{Instant, timeout};

use super::limit::{Ended, Limit, Outcome};
use crate::criticality::Criticality;

/// Lets calls in, up to a limit that it learns. Beyond that a few wait, in turn as long as there are very few, and else the
/// last one first: those who waited long would be answered too late anyway.
#[derive(Debug)]
pub(super) struct Gate {
    state: Mutex<State>,
    /// Calls that may wait, and for how long. A burst is over by then; under a load that lasts, newer calls have taken the place
    /// of one that has waited long before.
    queued: usize,
    patience: Duration,
}

#[derive(Debug)]
struct State {
    limit: Limit,
    running: usize,
    /// Those that wait, the least critical in the first queue.
    waiting: [VecDeque<oneshot::Sender<Entry>>; Criticality::COUNT],
}

/// The right of a call to run; its end lets the next one in.
#[derive(Debug)]
pub(super) struct Entry {
    gate: Option<Arc<Gate>>,
    began: Instant,
    /// Calls that ran when it began.
    company: usize,
    /// Whether it was answered, well or not; else it was given up.
    answered: Option<bool>,
}

impl Entry {
    /// The call was answered, with a message or with an error.
    pub(super) fn answered(mut self, is_good: bool) {
        self.answered = Some(is_good);
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        let Some(gate) = self.gate.take() else { return };
        let now = Instant::now();
        {
            let mut state = gate.state();
            state.running -= 1;
            let took = now.saturating_duration_since(self.began);
            let outcome = match self.answered {
                Some(true) => Outcome::Done(took),
                Some(false) => Outcome::Failed,
                None => Outcome::GivenUp(took),
            };
            let ended = Ended { outcome, company: self.company.max(state.running) };
            state.limit.ended(&ended, now);
        }
        gate.let_in(now);
    }
}

impl Gate {
    /// One before a method, that lets at most `most` calls in while `queued` wait, each no longer than `patience`.
    pub(super) fn new(criticality: Criticality, most: usize, queued: usize, patience: Duration) -> Self {
        let limit = Limit::new(most, criticality, Instant::now());
        let state = State { limit, running: 0, waiting: Default::default() };
        Self { state: Mutex::new(state), queued, patience }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The calls that it lets in now.
    pub(super) fn limit(&self) -> usize {
        self.state().limit.current(Instant::now())
    }

    /// Waits for a call's turn; `None` says that there are too many.
    pub(super) async fn enter(self: &Arc<Self>, criticality: Criticality) -> Option<Entry> {
        let turn = {
            let (mut state, now) = (self.state(), Instant::now());
            if state.running < state.limit.current(now) {
                return Some(self.entry(&mut state, now));
            }
            if state.waiting.iter().map(VecDeque::len).sum::<usize>() >= self.queued {
                // The one that has waited longest of the least critical goes, unless this one is less critical than all.
                let below = state.waiting.iter_mut().take(criticality as usize + 1).find(|queue| !queue.is_empty());
                drop(below?.pop_front());
            }
            let (sender, turn) = oneshot::channel();
            state.waiting[criticality as usize].push_back(sender);
            turn
        };
        timeout(self.patience, turn).await.ok()?.ok()
    }

    fn entry(self: &Arc<Self>, state: &mut State, began: Instant) -> Entry {
        let company = state.running;
        state.running += 1;
        state.limit.began(state.running);
        Entry { gate: Some(Arc::clone(self)), began, company, answered: None }
    }

    /// Lets in who waits, as far as there is room.
    fn let_in(self: &Arc<Self>, now: Instant) {
        loop {
            let (sender, entry) = {
                let mut state = self.state();
                if state.running >= state.limit.current(now) {
                    return;
                }
                let Some(sender) = state.next(now) else { return };
                (sender, self.entry(&mut state, now))
            };
            if let Err(mut unused) = sender.send(entry) {
                // Nobody waits any more. This is no call that was given up.
                unused.gate = None;
                self.state().running -= 1;
            }
        }
    }
}

impl State {
    fn next(&mut self, now: Instant) -> Option<oneshot::Sender<Entry>> {
        let few = self.limit.current(now) / 2;
        let queue = self.waiting.iter_mut().rev().find(|queue| !queue.is_empty())?;
        if queue.len() > few { queue.pop_back() } else { queue.pop_front() }
    }
}
