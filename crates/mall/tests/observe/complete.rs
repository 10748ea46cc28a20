//! Ten thousand checkouts as the real collector and Jaeger have them: whole traces, all that there should be, and no others.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Stdio;
use std::time::{Duration, SystemTime};

use serde_json::Value;
use testkit::observe::{self, Observe};
use testkit::process::{Mall, Signal, signal};
use testkit::{eventually, exposition};
use tokio::process::Command;

use crate::kept::{self, Trace};
use crate::support::{Answer, Books, Crowd, MALL, alone, mall};

/// How many shop in each of the two large tests.
const CHECKOUTS: u32 = 10_000;

/// What a checkout begins, and who calls whom for it.
const CHECKOUT: [(&str, &[(&str, &str)]); 3] = [
    ("POST /api/order/create", &[("order.api", "order.rpc"), ("order.rpc", "product.rpc")]),
    ("POST /api/pay/create", &[("pay.api", "pay.rpc"), ("pay.rpc", "order.rpc")]),
    ("POST /api/pay/callback", &[("pay.api", "pay.rpc"), ("pay.rpc", "order.rpc")]),
];

/// The same for all else that is asked by those who come to shop.
const BESIDES: [(&str, &[(&str, &str)]); 6] = [
    ("POST /api/user/register", &[("user.api", "user.rpc")]),
    ("POST /api/user/login", &[("user.api", "user.rpc")]),
    ("POST /api/user/userinfo", &[("user.api", "user.rpc")]),
    ("POST /api/product/list", &[("product.api", "product.rpc")]),
    ("POST /api/product/create", &[("product.api", "product.rpc")]),
    ("POST /api/product/detail", &[("product.api", "product.rpc")]),
];

/// Who calls whom in a trace that begins so and in which all goes well.
fn expected(root: &str) -> Option<BTreeSet<(&'static str, &'static str)>> {
    let (_, edges) = CHECKOUT.iter().chain(&BESIDES).find(|(name, _)| *name == root)?;
    Some(edges.iter().copied().collect())
}

/// What is wrong with a trace; the name of its root where nothing is.
fn examine(trace: &Trace) -> Result<&str, String> {
    let root = trace.root()?;
    let edges = trace.edges();
    let expected = expected(&root.name);
    match expected {
        Some(expected) if edges != expected && !trace.failed() => Err(format!("{} has {edges:?}", root.name)),
        None if !trace.failed() => Err(format!("what is {}?", root.name)),
        _ => Ok(&root.name),
    }
}

/// All traces, counted.
#[derive(Debug, Default)]
struct Held {
    /// Whole ones, by their roots.
    traces: BTreeMap<String, u32>,
    spans: usize,
    /// The first of those that are not whole.
    flaws: Vec<String>,
}

impl Held {
    async fn of(observe: &Observe, began: SystemTime) -> Self {
        let mut held = Self::default();
        kept::each(&observe.jaeger, began, |id, trace| {
            held.spans += trace.spans.len();
            match examine(&trace) {
                Ok(root) => *held.traces.entry(root.to_owned()).or_default() += 1,
                Err(flaw) if held.flaws.len() < 10 => held.flaws.push(format!("{id}: {flaw}")),
                Err(_) => {}
            }
        })
        .await;
        held
    }
}

/// A number that the collector tells of itself; 0 where it does not.
async fn told(observe: &Observe, name: &str) -> f64 {
    let text = exposition::read(&observe.collector.own_metrics).await.unwrap();
    exposition::sum(&text, name, &[]).unwrap_or_default()
}

/// Checkouts that are begun at once, or nearly so. More wait for them to end, so that the load is what the machine bears.
const PORTION: u32 = 100;

/// So many people order and pay.
async fn checkouts(mall: &Mall, count: u32) {
    for _ in 0..count / PORTION {
        let load = Command::new(MALL)
            .args(["load", "--users", "2", "--mix", "pay=1", "--rate", &PORTION.to_string(), "--duration", "1s"])
            .arg("--data-dir")
            .arg(mall.data())
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output()
            .await
            .unwrap();
        let [table, errors] = [&load.stdout, &load.stderr].map(|text| String::from_utf8_lossy(text));
        assert!(load.status.success(), "{table}\n{errors}");
    }
}

/// Ten thousand checkouts of which a share is traced; all traces that there are then.
async fn shop(share: &str) -> Option<(Observe, Held)> {
    let began = SystemTime::now();
    let observe = observe::builder().start().await?;
    let mall = mall(&observe.collector.otlp_grpc)
        .variable("MALL__TELEMETRY__SAMPLER", share)
        // The collector has the same two cores as all others: it may be late.
        .variable("OTEL_BSP_MAX_QUEUE_SIZE", "16384")
        .variable("OTEL_BSP_EXPORT_TIMEOUT", "60000")
        .start()
        .await;
    checkouts(&mall, CHECKOUTS).await;
    let shopped = began.elapsed().unwrap();
    let all = Books::quiet(&mall).await.all();
    assert_eq!(all.dropped(), 0.0, "{all:?}");
    assert_eq!(told(&observe, "otelcol_receiver_accepted_spans_total").await, all.sent);
    eventually("Jaeger has got them", async || {
        (told(&observe, "otelcol_exporter_sent_spans_total").await == all.sent).then_some(())
    })
    .await;
    let held = Held::of(&observe, began).await;
    eprintln!("sampler {share}: {held:?}, shopped in {shopped:?}, read by {:?}", began.elapsed().unwrap());
    assert!(held.flaws.is_empty(), "{held:#?}");
    assert_eq!(held.spans as f64, all.sent, "{held:#?}");
    Some((observe, held))
}

/// Who calls whom in all traces, as Jaeger draws it.
async fn drawn(observe: &Observe) -> BTreeSet<(String, String)> {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_millis();
    let url = format!("{}/api/dependencies?endTs={now}&lookback=3600000", observe.jaeger.query);
    let answer: Value = serde_json::from_str(&exposition::read(&url).await.unwrap()).unwrap();
    let name = |edge: &Value, end: &str| edge[end].as_str().unwrap().to_owned();
    let edges = answer["data"].as_array().unwrap().iter().map(|edge| (name(edge, "parent"), name(edge, "child")));
    edges.filter(|(caller, callee)| caller != callee).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_trace_of_ten_thousand_checkouts_is_there_and_whole() {
    let _alone = alone().await;
    let Some((observe, held)) = shop("1").await else { return };
    for (root, _) in CHECKOUT {
        assert_eq!(held.traces.get(root), Some(&CHECKOUTS), "{root}: {held:#?}");
    }
    let edges = CHECKOUT.iter().chain(&BESIDES).flat_map(|(_, edges)| *edges);
    let edges: BTreeSet<_> = edges.map(|(caller, callee)| ((*caller).to_owned(), (*callee).to_owned())).collect();
    assert_eq!(drawn(&observe).await, edges);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenth_of_the_traces_is_there_and_whole() {
    let _alone = alone().await;
    let Some((_, held)) = shop("0.1").await else { return };
    for (root, _) in CHECKOUT {
        // Five times the deviation that chance has.
        assert!((850..=1150).contains(&held.traces[root]), "{root}: {held:#?}");
    }
}

/// What takes this long is slow, to the collector.
const SLOW: Duration = Duration::from_millis(500);

/// Everybody shops, and product.rpc stands still for a while: who orders then, waits in vain or for long.
async fn trouble(mall: &Mall, crowd: &Crowd<'_>) -> Vec<Answer> {
    let product = mall.services()["product.rpc"];
    let mut answers = Vec::new();
    for _ in 0..4 {
        answers.extend(crowd.go(25).await);
        signal(product, Signal::STOP);
        let standing = async {
            tokio::time::sleep(Duration::from_millis(2500)).await;
            signal(product, Signal::CONT);
        };
        let (came, ordered, ()) = tokio::join!(crowd.go(3), crowd.order(), standing);
        answers.extend(came.into_iter().chain(ordered));
        for _ in 0..5 {
            answers.push(crowd.miss().await);
        }
    }
    answers
}

/// What the collector counted of all spans, before it chose: those that failed, and those that were slow.
async fn counted(observe: &Observe) -> Option<[f64; 3]> {
    let text = exposition::read(&observe.collector.metrics).await?;
    let calls = "traces_span_metrics_calls_total";
    let all = exposition::sum(&text, calls, &[])?;
    let failed = exposition::sum(&text, calls, &[("status_code", "STATUS_CODE_ERROR")])?;
    let buckets = "traces_span_metrics_duration_milliseconds_bucket";
    let quick = exposition::sum(&text, buckets, &[("le", "500")])?;
    Some([all, failed, all - quick])
}

#[tokio::test(flavor = "multi_thread")]
async fn of_all_traces_those_that_failed_or_were_slow_are_kept_whole() {
    let _alone = alone().await;
    let began = SystemTime::now();
    let observe = observe::builder()
        .variable("COLLECTOR_SHARE_PERCENT", "0")
        .variable("COLLECTOR_SLOW_MS", &SLOW.as_millis().to_string())
        // As it is shipped: what stands still for a moment sends its spans late.
        .variable("COLLECTOR_DECISION_WAIT", "10s");
    let Some(observe) = observe.start().await else { return };
    // order.rpc does not wait as long for product.rpc as product.api does.
    let mall = mall(&observe.collector.otlp_grpc).variable("MALL__PRODUCT__TIMEOUT", "1s").start().await;
    let crowd = Crowd::new(&mall, 4).await;
    let answers = trouble(&mall, &crowd).await;
    let all = Books::quiet(&mall).await.all();
    assert_eq!(all.dropped(), 0.0, "{all:?}");
    let [_, failed, slow] =
        eventually("all spans are counted", async || counted(&observe).await.filter(|[spans, ..]| *spans == all.sent))
            .await;

    let mut held: BTreeMap<String, Trace> = BTreeMap::new();
    eventually("all that failed and was slow is in Jaeger", async || {
        held.clear();
        kept::each(&observe.jaeger, began, |id, trace| drop(held.insert(id.to_owned(), trace))).await;
        let spans = || held.values().flat_map(|trace| &trace.spans);
        let (failed_here, slow_here) =
            (spans().filter(|span| span.failed()).count(), spans().filter(|span| span.took() > SLOW).count());
        (failed_here as f64 == failed && slow_here as f64 == slow).then_some(())
    })
    .await;

    for (id, trace) in &held {
        assert!(trace.failed() || trace.took() >= SLOW, "{id} is kept for nothing: {trace:#?}");
        assert!(examine(trace).is_ok(), "{id}: {:?} {trace:#?}", examine(trace));
    }
    let (mut bad, mut late, mut long) = (0, 0, 0);
    for answer in &answers {
        let is_kept = held.contains_key(&answer.trace);
        if answer.status >= 400 {
            bad += 1;
            late += usize::from(answer.status == 504);
            assert!(is_kept, "it failed and is not kept: {answer:?}");
        } else if answer.took >= SLOW * 2 {
            long += 1;
            assert!(is_kept, "it was slow and is not kept: {answer:?}");
        } else if answer.took < SLOW / 2 {
            assert!(!is_kept, "it is kept for nothing: {answer:?}");
        }
    }
    eprintln!(
        "of {} answers {bad} failed, {late} of them at their deadline, and {long} were slow; {} traces are kept, with {failed} spans that failed and \
         {slow} slow ones, after {:?}",
        answers.len(),
        held.len(),
        began.elapsed().unwrap()
    );
    assert!(bad >= 20 && late >= 4 && long >= 4, "{bad} failed, {late} at their deadline, and {long} were slow");
}
