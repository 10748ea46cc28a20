//! Every address of a name, looked up again and again.

use std::io;
use std::time::Duration;

use backon::{BackoffBuilder as _, ExponentialBackoff, ExponentialBuilder};
use tokio::net::lookup_host;
use tokio::time::{Instant, sleep_until, timeout};

use crate::endpoints::{Doubt, Publisher};
use crate::outage::Outage;
use crate::target::Address;

/// When a name is looked up.
#[derive(Clone, Copy, Debug)]
struct Pace {
    /// How long an answer is good; the system's resolver does not tell.
    period: Duration,
    /// The least time between two questions, whoever asks.
    least: Duration,
}

impl Pace {
    /// The waits after questions that failed.
    fn waits(self) -> ExponentialBackoff {
        // Chance makes each of them longer, up to twice.
        let waits = ExponentialBuilder::new().with_min_delay(self.least).with_max_delay(self.period / 2);
        waits.with_jitter().without_max_times().build()
    }
}

const PACE: Pace = Pace { period: Duration::from_secs(10), least: Duration::from_millis(500) };

/// How long the system's resolver may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// Publishes the addresses of `name`. While they cannot be looked up, those that were found last stay.
pub(crate) async fn follow(name: Address, publisher: Publisher, doubt: Doubt) {
    follow_by(|| look_up(name.clone()), PACE, publisher, doubt).await;
}

async fn look_up(name: Address) -> io::Result<Vec<Address>> {
    let found = timeout(PATIENCE, lookup_host(name.as_str())).await??;
    Ok(found.map(Address::from).collect())
}

async fn follow_by<F>(look_up: impl Fn() -> F, pace: Pace, publisher: Publisher, doubt: Doubt)
where
    F: Future<Output = io::Result<Vec<Address>>>,
{
    let mut outage = Outage::new(
        publisher.target(),
        "the name cannot be looked up; its last addresses stay",
        "the name can be looked up again",
    );
    let mut waits = pace.waits();
    loop {
        let asked = Instant::now();
        let found = look_up().await.and_then(|found| {
            if found.is_empty() { Err(io::Error::new(io::ErrorKind::NotFound, "it has no address")) } else { Ok(found) }
        });
        let wait = match found {
            Ok(found) => {
                outage.succeeded();
                waits = pace.waits();
                publisher.publish(found);
                pace.period
            }
            Err(error) => {
                outage.failed(&error);
                waits.next().unwrap_or(pace.period)
            }
        };
        tokio::select! {
            () = sleep_until(asked + wait) => {}
            () = doubt.said() => sleep_until(asked + pace.least).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::{Endpoints, Target};

    type Answer = Result<Vec<&'static str>, io::ErrorKind>;

    const SOON: Pace = Pace { period: Duration::from_millis(20), least: Duration::from_millis(10) };
    const NEVER: Duration = Duration::from_secs(3600);

    /// Endpoints by a resolver that gives these answers, the last one again and again, and tells when it was asked.
    fn start(pace: Pace, answers: Vec<Answer>) -> (Endpoints, Arc<Mutex<Vec<Instant>>>) {
        let asked = Arc::new(Mutex::new(Vec::new()));
        let times = asked.clone();
        let answer = move || {
            let mut times = times.lock().unwrap();
            times.push(Instant::now());
            let answer = answers[(times.len() - 1).min(answers.len() - 1)].clone();
            let found = answer.map(|found| found.iter().map(|it| it.parse().unwrap()).collect());
            std::future::ready(found.map_err(io::Error::from))
        };
        let target: Target = "dns:///name:1".parse().unwrap();
        (Endpoints::watched(&target, |publisher, doubt| follow_by(answer, pace, publisher, doubt)), asked)
    }

    async fn next(endpoints: &mut Endpoints) -> String {
        endpoints.changed().await;
        endpoints.current().unwrap().iter().map(Address::as_str).collect::<Vec<_>>().join(" ")
    }

    #[tokio::test]
    async fn all_addresses_are_found_and_looked_up_again() {
        let answers = vec![Ok(vec!["b:1", "a:1", "b:1"]), Ok(vec!["a:1", "b:1"]), Ok(vec!["c:1"])];
        let (mut endpoints, asked) = start(SOON, answers);
        assert!(endpoints.current().is_none());
        assert_eq!(next(&mut endpoints).await, "a:1 b:1");
        assert_eq!(next(&mut endpoints).await, "c:1", "the same again is no change");
        let asked = asked.lock().unwrap();
        assert!(asked.windows(2).all(|pair| pair[1] - pair[0] >= SOON.period), "{asked:?}");
    }

    #[tokio::test]
    async fn a_failed_peer_has_them_looked_up_at_once_but_not_too_often() {
        let pace = Pace { period: NEVER, ..SOON };
        let (mut endpoints, asked) = start(pace, vec![Ok(vec!["a:1"]), Ok(vec!["b:1"]), Ok(vec!["c:1"])]);
        assert_eq!(next(&mut endpoints).await, "a:1");
        let doubt = endpoints.doubt();
        for expected in ["b:1", "c:1"] {
            for _ in 0..10 {
                doubt.say();
            }
            assert_eq!(next(&mut endpoints).await, expected);
        }
        let asked = asked.lock().unwrap();
        assert!(asked.len() == 3 && asked.windows(2).all(|pair| pair[1] - pair[0] >= pace.least), "{asked:?}");
    }

    #[tokio::test]
    async fn the_last_addresses_stay_while_dns_fails() {
        let failed = io::ErrorKind::Other;
        let answers = vec![Err(failed), Ok(vec!["a:1"]), Err(failed), Ok(vec![]), Err(failed), Ok(vec!["b:1"])];
        let (mut endpoints, asked) = start(SOON, answers);
        assert_eq!(next(&mut endpoints).await, "a:1");
        assert_eq!(next(&mut endpoints).await, "b:1");
        assert_eq!(asked.lock().unwrap().len(), 6);
    }

    #[tokio::test]
    async fn the_system_is_asked() {
        let mut endpoints = crate::watch(&"dns:///127.0.0.1:9".parse().unwrap());
        assert_eq!(next(&mut endpoints).await, "127.0.0.1:9");
    }
}
