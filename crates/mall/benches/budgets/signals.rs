//! What all three signals cost: a mall that traces, measures and logs all, by OTLP, beside one that does nothing of it.

use std::thread;
use std::time::Duration;

use anyhow::Context as _;
use testkit::otlp::Sink;

use crate::report::{Goal, Row, number};
use crate::side::{Round, SERVICES, Side};
use crate::{median, on_one_thread, system};

/// Malls of both kinds, one after the other: processes of one kind differ by a tenth from start to start.
const PAIRS: usize = 3;
const ROUNDS: usize = 7;
const ROUND: Duration = Duration::from_secs(1);
/// Until the last of a round is sent: its cost belongs to the round.
const SENDING: Duration = Duration::from_millis(1200);

const ON: [(&str, &str); 4] = [
    ("OTEL_TRACES_SAMPLER", "parentbased_always_on"),
    ("OTEL_METRICS_EXPORTER", "otlp"),
    ("OTEL_METRIC_EXPORT_INTERVAL", "15000"),
    ("OTEL_LOGS_EXPORTER", "otlp"),
];
const OFF: [(&str, &str); 4] = [
    ("OTEL_SDK_DISABLED", "true"),
    ("OTEL_METRICS_EXPORTER", "none"),
    ("RUST_LOG", "off"),
    ("MALL__TELEMETRY__SLOW__AFTER", "0s"),
];

pub(crate) fn measure() -> anyhow::Result<Vec<Row>> {
    let sink = sink()?;
    on_one_thread(async {
        let (mut rounds, mut memory) = (Vec::new(), Vec::new());
        for _ in 0..PAIRS {
            let (on, off) = (Side::start(&ON, Some(&sink)).await?, Side::start(&OFF, Some(&sink)).await?);
            on.round(ROUND, SENDING).await?;
            off.round(ROUND, SENDING).await?;
            for _ in 0..ROUNDS {
                rounds.push((on.round(ROUND, SENDING).await?, off.round(ROUND, SENDING).await?));
            }
            for service in SERVICES {
                let own = |side: &Side| system::rss(system::pid(&side.mall, service)?);
                memory.push((service, own(&on)? - own(&off)?));
            }
        }
        let mut rows: Vec<_> = (0..SERVICES.len()).map(|index| cpu(index, &rounds)).collect();
        rows.push(p99(&rounds));
        rows.extend(SERVICES.iter().map(|service| {
            let more = memory.iter().filter(|(of, _)| of == service).map(|(_, more)| *more);
            Row::new(format!("{service}, RSS, all signals over none"), Goal::AtMost(3.0), median(more), "MiB")
        }));
        Ok(rows)
    })
}

/// A collector on a thread of its own, whose time is nobody's.
fn sink() -> anyhow::Result<String> {
    let (sender, receiver) = std::sync::mpsc::channel();
    thread::Builder::new().name("sink".to_owned()).spawn(move || {
        on_one_thread(async {
            let sink = Sink::discarding().await;
            sender.send(sink.url())?;
            std::future::pending().await
        })
    })?;
    receiver.recv().context("the sink does not start")
}

fn cpu(index: usize, rounds: &[(Round, Round)]) -> Row {
    let times = rounds.iter().map(|(on, off)| (on.cpu[index], off.cpu[index]));
    let kept = median(times.clone().map(|(on, off)| 100.0 * off / on));
    let [on, off] = [median(times.clone().map(|it| it.0)), median(times.map(|it| it.1))].map(number);
    let budget = format!("{}, throughput by CPU, all signals of none", SERVICES[index]);
    Row::new(budget, Goal::AtLeast(90.0), kept, "%").note(format!("{on} us a request, {off} us without"))
}

fn p99(rounds: &[(Round, Round)]) -> Row {
    let times = rounds.iter().map(|(on, off)| (on.p99, off.p99));
    let ratio = median(times.clone().map(|(on, off)| 100.0 * on / off));
    let [on, off] = [median(times.clone().map(|it| it.0)), median(times.map(|it| it.1))].map(number);
    let row = Row::new("userinfo, p99, all signals of none", Goal::AtMost(110.0), ratio, "%");
    row.note(format!("{on} ms, {off} ms without; the sink is on the same cores"))
}
