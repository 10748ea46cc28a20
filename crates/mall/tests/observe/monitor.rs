//! Jaeger's Monitor tab and System Architecture in real Chromium, filled by shoppers.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Stdio;

use serde_json::{Value, json};
use testkit::chromium::{self, ARROWS, Browser};
use testkit::observe::{self, Observe};
use testkit::process::Mall;
use testkit::{eventually, part};

use crate::support::{MALL, alone};

/// Who calls whom while people shop.
const EDGES: [(&str, &str); 7] = [
    ("user.api", "user.rpc"),
    ("product.api", "product.rpc"),
    ("order.api", "order.rpc"),
    ("pay.api", "pay.rpc"),
    ("order.rpc", "product.rpc"),
    ("pay.rpc", "order.rpc"),
    // For the spans of their databases; an arrow to itself is drawn for each service.
    ("order.rpc", "order.rpc"),
];

/// What order.rpc is asked to do while people shop, as the Monitor tab lists it.
const OPERATIONS: [&str; 2] = ["mall.order.v1.OrderService/Create", "mall.order.v1.OrderService/MarkPaid"];

/// Shoppers go through the mall, for as long as a line needs to be seen if there is to be a picture.
async fn shop(mall: &Mall) {
    let duration = if std::env::var_os("MALL_SCREENSHOTS").is_some() { "4m" } else { "12s" };
    let mut load = tokio::process::Command::new(MALL);
    load.args(["load", "--users", "5", "--rate", "10", "--duration", duration, "--data-dir"]).arg(mall.data());
    let output = load.stdin(Stdio::null()).output().await.unwrap();
    assert!(output.status.success(), "{output:?}");
}

/// Keeps what is shown as a picture of the documentation, where the directory for them is named.
async fn keep_picture(browser: &Browser, name: &str) {
    if let Some(dir) = std::env::var_os("MALL_SCREENSHOTS") {
        browser.screenshot(&Path::new(&dir).join(name)).await;
    }
}

async fn see_the_operations(browser: &Browser) {
    browser.wait_for_text("Operations metrics under order.rpc").await;
    for operation in OPERATIONS {
        browser.wait_for_text_in(".table-row", operation).await;
    }
}

/// Rate, errors and durations of order.rpc: three graphs with something in them, and a row for each operation.
async fn look_at_the_monitor(browser: &Browser, observe: &Observe) {
    browser.open(&format!("{}/monitor", observe.jaeger.query)).await;
    // It draws everything anew when it knows more, and closes what was opened before.
    browser.wait_for(".table-row").await;
    browser.click(".select-a-service-input input").await;
    browser.click_text(".ant-select-item-option", "order.rpc").await;
    see_the_operations(browser).await;
    browser.click(".select-a-timeframe-input").await;
    browser.click_text(".ant-select-item-option", "Last 5 minutes").await;
    see_the_operations(browser).await;
    for (graph, quantiles) in [("latency", 3), ("error-rate", 1), ("request", 1)] {
        let lines = format!("document.querySelectorAll('.{graph}-margins .recharts-area').length");
        browser.wait_until(&lines, &json!(quantiles)).await;
    }
    let numbers = "[...document.querySelectorAll('.table-row')].map((row) => row.textContent).join('; ')";
    let rows = browser.eval(numbers).await;
    let rows = rows.as_str().unwrap();
    assert!(rows.contains("ms") && rows.contains("req/s") && !rows.contains("NaN"), "{rows}");
    keep_picture(browser, "monitor.png").await;
}

async fn look_at_the_architecture(browser: &Browser) {
    browser.click_text("header a", "System Architecture").await;
    let expected: BTreeSet<_> = EDGES.into_iter().collect();
    let shown = eventually("every edge is drawn", async || {
        let arrows = browser.eval(ARROWS).await;
        let pair = |arrow: &Value| Some((arrow[0].as_str()?.to_owned(), arrow[1].as_str()?.to_owned()));
        let arrows: BTreeSet<_> = arrows.as_array()?.iter().filter_map(pair).collect();
        let has = |edge: &(&str, &str)| arrows.contains(&(edge.0.to_owned(), edge.1.to_owned()));
        expected.iter().all(has).then_some(arrows)
    })
    .await;
    let other = shown.iter().find(|(from, to)| from != to && !expected.contains(&(from.as_str(), to.as_str())));
    assert_eq!(other, None, "nobody else calls anybody");
    keep_picture(browser, "architecture.png").await;
}

/// Opens all that a span's details have, and gives what the links to Prometheus ask there.
const EXPRESSIONS: &str = "(() => {
    const headers = [...document.querySelectorAll('.detail-row .AccordianKeyValues--header')];
    headers.filter((header) => header.getAttribute('aria-checked') !== 'true').forEach((header) => header.click());
    const links = [...document.querySelectorAll('.detail-row a[href*=\"/graph?\"]')];
    return links.map((link) => new URL(link.href).searchParams.get('g0.expr'));
})()";

/// The page of a trace leads to its logs, and to the metrics of the processes and calls in it.
async fn look_at_the_links(browser: &Browser, observe: &Observe) {
    let query = "service=order.rpc&operation=mall.order.v1.OrderService%2FCreate&lookback=1h&limit=5";
    browser.open(&format!("{}/search?{query}", observe.jaeger.query)).await;
    browser.click(".ResultItemTitle a").await;
    browser.click_text(".span-name", "order.rpc mall.order.v1.OrderService/Create").await;
    let id = browser.eval("location.pathname.split('/').pop()").await;
    let title = format!("Its logs: scripts/observe logs {}", id.as_str().unwrap());
    browser.wait_for(&format!(".TracePageHeader a[title='{title}']")).await;
    browser.wait_until(&format!("{EXPRESSIONS}.length"), &json!(2)).await;
    for expression in browser.eval(EXPRESSIONS).await.as_array().unwrap() {
        let expression = expression.as_str().unwrap();
        eventually(&format!("{expression} has an answer"), async || {
            observe.prometheus.query(expression).await.first().map(|_| ())
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn jaeger_shows_how_the_services_do() {
    let Some(browser) = chromium::start().await else { return };
    // Jaeger is built without its pages, which come from elsewhere.
    if part::find("jaeger-ui").is_none() {
        return;
    }
    let _alone = alone().await;
    let Some(observe) = observe::builder().start().await else { return };
    let mall = Mall::of(MALL).argument("--otlp").argument(&observe.collector.otlp_grpc);
    let mall = mall.variable("OTEL_METRICS_EXPORTER", "otlp").variable("OTEL_METRIC_EXPORT_INTERVAL", "1000");
    let mall = mall.variable("OTEL_RESOURCE_ATTRIBUTES", "host.name=localhost").start().await;
    shop(&mall).await;
    look_at_the_monitor(&browser, &observe).await;
    look_at_the_architecture(&browser).await;
    look_at_the_links(&browser, &observe).await;
    assert_eq!(browser.problems(), [""; 0]);
}
