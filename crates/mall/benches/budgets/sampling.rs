//! What tracing every request costs the services: a mall that does so beside one that traces nothing.

use std::time::Duration;

use anyhow::ensure;
use testkit::exposition::sum;

use crate::report::{Goal, Row, number};
use crate::side::{SERVICES, Side};
use crate::{median, on_one_thread, system};

/// Malls of both kinds, one after the other: processes of one kind differ by a tenth from start to start.
const PAIRS: usize = 3;
const ROUNDS: usize = 5;
const ROUND: Duration = Duration::from_secs(1);
/// Until the last spans of a round are sent: their cost belongs to the round.
const SENDING: Duration = Duration::from_millis(1200);

pub(crate) fn measure() -> anyhow::Result<Vec<Row>> {
    on_one_thread(async {
        let (mut rounds, mut sent, mut dropped) = (Vec::new(), 0.0, 0.0);
        for _ in 0..PAIRS {
            let traced = Side::start(&[("MALL__TELEMETRY__SAMPLER", "1.0")], None).await?;
            let bare = Side::start(&[("MALL__TELEMETRY__DISABLED", "true")], None).await?;
            round(&traced).await?;
            round(&bare).await?;
            let before = spans(&traced).await?;
            for _ in 0..ROUNDS {
                rounds.push((round(&traced).await?, round(&bare).await?));
            }
            let after = spans(&traced).await?;
            sent += after.sent - before.sent;
            dropped += after.dropped - before.dropped;
        }
        ensure!(sent > 0.0, "no spans were sent");
        let lost = format!("{} % of the spans were dropped", number(100.0 * dropped / (sent + dropped)));
        let mut rows: Vec<_> = (0..SERVICES.len()).map(|index| service(index, &rounds, &lost)).collect();
        rows.push(viewer(&rounds, sent));
        Ok(rows)
    })
}

fn service(index: usize, rounds: &[(Costs, Costs)], lost: &str) -> Row {
    let times = rounds.iter().map(|(traced, bare)| (traced.services[index], bare.services[index]));
    let more = median(times.clone().map(|(traced, bare)| 100.0 * (traced / bare - 1.0)));
    let [traced, bare] = [median(times.clone().map(|it| it.0)), median(times.map(|it| it.1))].map(number);
    let budget = format!("{}, CPU of a request, sampler 1.0 over disabled", SERVICES[index]);
    Row::new(budget, Goal::AtMost(10.0), more, "%").note(format!("{traced} us, {bare} us disabled; {lost}"))
}

/// The same budget as that of its benchmark, with all that comes before the store.
fn viewer(rounds: &[(Costs, Costs)], spans: f64) -> Row {
    let seconds: f64 = rounds.iter().map(|(traced, _)| traced.viewer).sum();
    let row = Row::new("viewer, of one core, spans from the services", Goal::AtLeast(50_000.0), spans / seconds, "/s");
    row.note(format!("{spans:.0} spans by OTLP over gRPC"))
}

/// What a round cost.
struct Costs {
    /// Microseconds of CPU for a request, of each of [`SERVICES`].
    services: [f64; SERVICES.len()],
    /// Seconds of CPU of the viewer.
    viewer: f64,
}

/// What became of the services' spans so far.
#[derive(Default)]
struct Spans {
    sent: f64,
    dropped: f64,
}

async fn round(side: &Side) -> anyhow::Result<Costs> {
    let viewer = system::pid(&side.mall, "viewer")?;
    let before = system::cpu(viewer)?;
    let round = side.round(ROUND, SENDING).await?;
    Ok(Costs { services: round.cpu, viewer: (system::cpu(viewer)? - before).as_secs_f64() })
}

async fn spans(side: &Side) -> anyhow::Result<Spans> {
    let mut spans = Spans::default();
    for service in SERVICES {
        let answer = side.mall.get(&format!("http://{}/metrics", side.mall.address(service, "admin"))).await;
        let text = std::str::from_utf8(answer.body())?;
        spans.sent += sum(text, "mall_telemetry_spans_sent_total", &[]).unwrap_or_default();
        spans.dropped += sum(text, "mall_telemetry_spans_dropped_total", &[]).unwrap_or_default();
    }
    Ok(spans)
}
