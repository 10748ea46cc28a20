//! The viewer beside Jaeger with its memory storage: how fast it takes spans, what they weigh, how fast it finds them, and how
//! soon it is there.

use std::ops::Range;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::trace::v1::ResourceSpans;
use prost::Message as _;
use testkit::daemon::Daemon;
use testkit::jaeger::{self, Jaeger};
use testkit::otlp::Sink;
use testkit::process::{Mall, json};
use testkit::shopper::Shopper;

use super::ratio;
use crate::report::{Goal, Row, number};
use crate::system::Taking;
use crate::{MALL, median, on_one_thread, system};

/// Copies of the traces of real requests, each with ids of its own; as many spans as this at least.
const SPANS: usize = 400_000;
const ROUNDS: usize = 5;
/// Messages on the way at one time.
const IN_FLIGHT: usize = 4;
const SEARCHES: usize = 40;
const STARTS: usize = 5;

pub(crate) fn measure() -> anyhow::Result<Vec<Row>> {
    on_one_thread(async {
        let spans = real().await?;
        let ((mut viewer, _), (mut jaeger, _)) = (ours().await, theirs().await?);
        let mut starts = [Vec::new(), Vec::new()];
        for _ in 0..STARTS {
            starts[0].push(start_again(&mut viewer).await);
            starts[1].push(start_again(&mut jaeger.process).await);
        }
        drop((viewer, jaeger));
        let (mut taken, mut searches) = ([const { Vec::new() }; 2], [const { Vec::new() }; 2]);
        for _ in 0..ROUNDS {
            let ((_viewer, ours), (_jaeger, theirs)) = (ours().await, theirs().await?);
            for (index, side) in [ours, theirs].into_iter().enumerate() {
                taken[index].push(side.take(&spans).await?);
                searches[index].push(side.search().await?);
            }
        }
        let client = number(median(taken.iter().flatten().map(|it| it.client)));
        let row = |what: &str, goal, figure: fn(&Taken) -> f64, unit: &str| {
            let [mine, other] = taken.each_ref().map(|side| side.iter().map(figure).collect::<Vec<_>>());
            ratio(format!("viewer, {what} of Jaeger's"), goal, &mine, &other, unit)
        };
        let mut rows = vec![
            row(
                "spans a second",
                Goal::AtLeast(300.0),
                |it| it.per_second,
                &format!("/s; {client} us a span of the client's CPU"),
            ),
            row("CPU of a span", Goal::AtMost(33.3), |it| it.cpu, "us"),
            row("memory of 100,000 spans", Goal::AtMost(33.3), |it| it.memory, "MiB"),
        ];
        let [mine, other] = &searches;
        rows.push(ratio("viewer, a search of Jaeger's, median", Goal::AtMost(50.0), mine, other, "ms"));
        let [mine, other] = &starts;
        rows.push(ratio("viewer, start of Jaeger's", Goal::AtMost(10.0), mine, other, "ms"));
        Ok(rows)
    })
}

/// What takes spans and answers questions about them.
struct Side {
    otlp: String,
    query: String,
    pid: u32,
}

/// How spans were taken.
struct Taken {
    per_second: f64,
    /// What a span took of the receiver's CPU, in microseconds, and of the client's.
    cpu: f64,
    client: f64,
    /// What a hundred thousand weigh in MiB.
    memory: f64,
}

/// A viewer by itself that is ready, as Jaeger is: with both cores, and not with what `mall up` leaves it of them.
async fn ours() -> (Daemon, Side) {
    let [listen, grpc, http, admin] = std::array::from_fn(|_| testkit::ports::free().to_string());
    let variables = [
        ("LISTEN", listen.as_str()),
        ("OTLP_GRPC", &grpc),
        ("OTLP_HTTP", &http),
        ("ADMIN", &admin),
        // So much that it need not forget any; nor does Jaeger.
        ("MEMORY", "1GiB"),
    ];
    let variables = variables.map(|(name, value)| (format!("MALL__{name}"), value.to_owned()));
    let arguments = vec!["serve".into(), "viewer".into()];
    let viewer = Daemon::start(MALL.into(), arguments, variables.into(), "serving ui=").await;
    let side = Side { otlp: format!("http://{http}"), query: format!("http://{listen}"), pid: viewer.pid() };
    (viewer, side)
}

/// Jaeger that is ready.
async fn theirs() -> anyhow::Result<(Jaeger, Side)> {
    let jaeger = jaeger::start_with(&[("JAEGER_MAX_TRACES", "1000000")])
        .await
        .context("Jaeger is missing: scripts/parts jaeger")?;
    let side = Side { otlp: jaeger.otlp_http.clone(), query: jaeger.query.clone(), pid: jaeger.process.pid() };
    Ok((jaeger, side))
}

/// How long it takes until it is ready, in milliseconds.
async fn start_again(process: &mut Daemon) -> f64 {
    process.kill();
    process.start_again().await;
    process.ready_after().as_secs_f64() * 1e3
}

/// The spans of orders that a mall has made.
async fn real() -> anyhow::Result<Vec<ResourceSpans>> {
    let sink = Sink::start().await;
    let mall = Mall::of(MALL).argument("--otlp").argument(&sink.url()).start().await;
    let shopper = Shopper::new(&mall, "15838607661").await;
    for _ in 0..50 {
        let order = serde_json::json!({ "pid": 1, "quantity": 1 });
        mall.post("order.api", "/api/order/create", Some(&shopper.token), &order).await;
    }
    tokio::time::sleep(Duration::from_secs(3)).await;
    let spans = sink.received().spans;
    ensure!(count(&spans) > 500, "there are only {} spans", count(&spans));
    Ok(spans)
}

fn count(spans: &[ResourceSpans]) -> usize {
    spans.iter().flat_map(|it| &it.scope_spans).map(|it| it.spans.len()).sum()
}

/// What an exporter would send of the same spans in these runs, some hundred of them at a time.
fn messages(spans: &[ResourceSpans], runs: Range<u64>) -> Vec<Bytes> {
    let runs = runs.flat_map(|run| {
        let parts = another(spans, run);
        parts.chunks(2).map(|part| part.to_vec()).collect::<Vec<_>>()
    });
    runs.map(|resource_spans| ExportTraceServiceRequest { resource_spans }.encode_to_vec().into()).collect()
}

/// The same spans as another run would have made them.
fn another(spans: &[ResourceSpans], run: u64) -> Vec<ResourceSpans> {
    let mut spans = spans.to_vec();
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    let now = u64::try_from(now.as_nanos()).unwrap_or(u64::MAX);
    for span in spans.iter_mut().flat_map(|it| &mut it.scope_spans).flat_map(|it| &mut it.spans) {
        for (byte, more) in span.trace_id.iter_mut().zip(run.to_be_bytes()) {
            *byte ^= more;
        }
        let took = span.end_time_unix_nano.saturating_sub(span.start_time_unix_nano);
        span.start_time_unix_nano = now;
        span.end_time_unix_nano = now + took;
    }
    spans
}

impl Side {
    /// Takes [`SPANS`].
    async fn take(&self, spans: &[ResourceSpans]) -> anyhow::Result<Taken> {
        self.send(messages(spans, 0..1)).await?;
        let before = system::rss(self.pid)?;
        let runs = SPANS.div_ceil(count(spans)) as u64;
        // Encoded beforehand: that is work of the sender.
        let encoded = messages(spans, 1..1 + runs);
        let (began, taking, client) =
            (Instant::now(), Taking::from_now(self.pid)?, Taking::from_now(std::process::id())?);
        self.send(encoded).await?;
        let seconds = began.elapsed().as_secs_f64();
        #[expect(clippy::cast_precision_loss, reason = "a number of spans is small")]
        let sent = (count(spans) as u64 * runs) as f64;
        Ok(Taken {
            per_second: sent / seconds,
            cpu: taking.of_each(sent)?,
            client: client.of_each(sent)?,
            memory: (system::rss(self.pid)? - before) * 1e5 / sent,
        })
    }

    /// Sends messages, [`IN_FLIGHT`] at one time.
    async fn send(&self, messages: Vec<Bytes>) -> anyhow::Result<()> {
        let (client, url) = (testkit::http::Client::default(), format!("{}/v1/traces", self.otlp));
        let messages = stream::iter(messages).map(Ok).try_for_each_concurrent(IN_FLIGHT, |message| {
            let request = http::Request::post(&url).header("content-type", "application/x-protobuf");
            let request = request.body(message.into());
            let client = &client;
            async move {
                let answer = client.try_send(request?).await.map_err(anyhow::Error::from_boxed)?;
                ensure!(answer.status() == 200, "spans were answered {}", answer.status());
                Ok(())
            }
        });
        messages.await
    }

    /// The median time of a search, in milliseconds.
    async fn search(&self) -> anyhow::Result<f64> {
        let client = testkit::http::Client::default();
        let mut times = Vec::new();
        for _ in 0..SEARCHES {
            let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.as_micros();
            let url = format!(
                "{}/api/traces?service=order.rpc&limit=20&lookback=1h&start={}&end={now}",
                self.query,
                now - 3_600_000_000
            );
            let request = http::Request::get(&url).body(Default::default())?;
            let began = Instant::now();
            let answer = client.try_send(request).await.map_err(anyhow::Error::from_boxed)?;
            times.push(began.elapsed().as_secs_f64() * 1e3);
            let found = json(&answer)["data"].as_array().map_or(0, Vec::len);
            ensure!(found == 20, "{url} found {found} traces");
        }
        Ok(median(times))
    }
}
