//! What requests notice when the way of telemetry is disturbed: nothing. Each fault beside a round without it.

use std::time::Duration;

use anyhow::Context as _;
use testkit::observe::{self, Observe};
use testkit::relay::{Mood, Relay};

use crate::report::{Goal, Row, number};
use crate::side::Side;
use crate::{median, on_one_thread};

const ROUNDS: usize = 5;
const ROUND: Duration = Duration::from_secs(2);
/// A fault is measured when it has lasted this long: the queues are full, and time-outs have begun.
const LASTING: Duration = Duration::from_secs(3);

/// Everything is sent, and given up soon.
const VARIABLES: [(&str, &str); 5] = [
    ("OTEL_TRACES_SAMPLER", "parentbased_always_on"),
    ("OTEL_METRICS_EXPORTER", "otlp"),
    ("OTEL_METRIC_EXPORT_INTERVAL", "1000"),
    ("OTEL_LOGS_EXPORTER", "otlp"),
    ("OTEL_BSP_EXPORT_TIMEOUT", "1000"),
];

#[derive(Clone, Copy, Debug)]
enum Fault {
    Stopped,
    Restarted,
    Hanging,
    Refusing,
    Slow,
    JaegerStopped,
}

/// All that may be disturbed, with a relay before the collector that refuses and is late.
struct Way {
    observe: Observe,
    relay: Relay,
}

impl Fault {
    fn name(self) -> &'static str {
        match self {
            Self::Stopped => "the collector stopped",
            Self::Restarted => "the collector restarted",
            Self::Hanging => "the collector hanging",
            Self::Refusing => "the collector refusing",
            Self::Slow => "the collector slow",
            Self::JaegerStopped => "Jaeger stopped",
        }
    }

    /// Whether it is the relay that makes it, which takes spans alone.
    fn is_relayed(self) -> bool {
        matches!(self, Self::Refusing | Self::Slow)
    }

    async fn begin(self, Way { observe, relay }: &mut Way) {
        match self {
            Self::Stopped => observe.collector.process.kill(),
            Self::Restarted => {
                observe.collector.process.kill();
                observe.collector.process.start_again().await;
            }
            Self::Hanging => observe.collector.process.pause(),
            Self::Refusing => relay.set(Mood::Unwilling),
            Self::Slow => relay.set(Mood::Slow(Duration::from_millis(700))),
            Self::JaegerStopped => observe.jaeger.process.kill(),
        }
    }

    async fn end(self, Way { observe, relay }: &mut Way) {
        match self {
            Self::Stopped => observe.collector.process.start_again().await,
            Self::Restarted => {}
            Self::Hanging => observe.collector.process.resume(),
            Self::Refusing | Self::Slow => relay.set(Mood::Willing),
            Self::JaegerStopped => observe.jaeger.process.start_again().await,
        }
    }
}

pub(crate) fn measure() -> anyhow::Result<Vec<Row>> {
    on_one_thread(async {
        let observe = observe::builder().start().await.context("collector, Jaeger or Prometheus is missing")?;
        let relay = Relay::start(&observe.collector.otlp_grpc).await;
        let direct = Side::start(&VARIABLES, Some(&observe.collector.otlp_grpc)).await?;
        let relayed = Side::start(&VARIABLES[..1], Some(&relay.url())).await?;
        let mut way = Way { observe, relay };
        let mut rows = Vec::new();
        for fault in
            [Fault::Stopped, Fault::Restarted, Fault::Hanging, Fault::Refusing, Fault::Slow, Fault::JaegerStopped]
        {
            let side = if fault.is_relayed() { &relayed } else { &direct };
            let mut rounds = Vec::new();
            side.round(ROUND, LASTING).await?;
            for _ in 0..ROUNDS {
                let undisturbed = side.round(ROUND, Duration::ZERO).await?.p99;
                fault.begin(&mut way).await;
                if !matches!(fault, Fault::Restarted) {
                    side.round(LASTING, Duration::ZERO).await?;
                }
                let disturbed = side.round(ROUND, Duration::ZERO).await?.p99;
                fault.end(&mut way).await;
                // What it has to catch up with is no part of the next round.
                tokio::time::sleep(LASTING).await;
                rounds.push((disturbed, undisturbed));
            }
            rows.push(row(fault, &rounds));
        }
        Ok(rows)
    })
}

fn row(fault: Fault, rounds: &[(f64, f64)]) -> Row {
    let ratio = median(rounds.iter().map(|(disturbed, undisturbed)| 100.0 * disturbed / undisturbed));
    let [disturbed, undisturbed] = [median(rounds.iter().map(|it| it.0)), median(rounds.iter().map(|it| it.1))];
    let row = Row::new(format!("userinfo, p99, {}, of undisturbed", fault.name()), Goal::AtMost(120.0), ratio, "%");
    row.note(format!("{} ms, {} ms undisturbed", number(disturbed), number(undisturbed)))
}
