//! The open loop: every operation is begun when it is due, whether or not those before have ended.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use rpc::lifecycle::Signals;
use tokio::task::JoinSet;

use super::mix::Mix;
use super::operation::Crowd;
use super::progress::Progress;
use super::schedule::Schedule;
use super::tally::{Sample, Tally};

/// Operations under way at one time. One that is due beyond them waits, and its time counts from when it was due all the
/// same; more would run out of ports and memory before it told anything new about the mall.
pub(super) const MOST_UNDER_WAY: usize = 10_000;

/// What a load gave.
pub(super) struct Run {
    pub(super) tally: Tally,
    /// From the first operation's beginning to the last one's end.
    pub(super) elapsed: Duration,
    /// Whether operations had to wait for others to end.
    pub(super) was_full: bool,
    /// Operations that were not waited for.
    pub(super) abandoned: usize,
}

/// Runs the schedule to its end. A signal begins no more operations and waits for those under way; one that comes after the
/// last has begun waits for none.
pub(super) async fn drive(
    crowd: &Arc<Crowd>,
    mix: &Mix,
    schedule: Schedule,
    signals: &mut Signals,
    progress: &mut Progress,
) -> anyhow::Result<Run> {
    let (mut tally, mut was_full) = (Tally::new()?, false);
    let mut under_way: JoinSet<(Duration, Vec<Sample>)> = JoinSet::new();
    let start = Instant::now();
    let mut due = schedule.start(start).context("start the schedule")?;
    let mut ended = false;
    while !ended || !under_way.is_empty() {
        let is_full = under_way.len() >= MOST_UNDER_WAY;
        was_full |= is_full;
        tokio::select! {
            _ = signals.next() => {
                if ended {
                    break;
                }
                ended = true;
                due.close();
                progress.say("stopping; Ctrl-C again does not wait for answers");
            }
            () = progress.due() => progress.tell(&tally),
            number = due.recv(), if !ended && !is_full => match number {
                Some(number) => {
                    let operation = mix.choose(crowd.random(number, "operation"));
                    let (crowd, due) = (crowd.clone(), start + schedule.due(number));
                    under_way.spawn(async move { (due.elapsed(), crowd.operate(operation, number, due).await) });
                }
                None => ended = true,
            },
            Some(done) = under_way.join_next(), if !under_way.is_empty() => {
                let (behind, samples) = done.context("an operation broke off")?;
                tally.add(behind, samples);
                progress.advance();
            }
        }
    }
    progress.end();
    Ok(Run { tally, elapsed: start.elapsed(), was_full, abandoned: under_way.len() })
}
