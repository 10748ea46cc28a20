//! The real parts start, answer, and are gone when they are dropped.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use axum::Router;
use axum::response::Html;
use axum::routing::get;
use http::Request;
use testkit::http::Client;
use testkit::{chromium, collector, eventually, exposition, jaeger, part, prometheus, zipkin};

/// A page that complains, throws, asks for what is not there and shows a text later.
const PAGE: &str = r#"<!doctype html><title>Test</title><link rel="icon" href="data:,">
<h1></h1>
<button onclick="document.querySelector('p').textContent = 'pressed it'">Press here</button><p></p>
<script>
  console.error("a complaint", 42);
  const gone = [fetch("/missing"), fetch("http://127.0.0.1:1/")];
  Promise.allSettled(gone).then(() => document.querySelector("h1").textContent = "asked");
  setTimeout(() => { throw new Error("a mistake") });
</script>"#;

/// Status and body of a GET; `None` when nobody listens.
async fn ask(url: String) -> Option<(u16, String)> {
    let answer = Client::default().try_send(Request::get(url).body(Default::default()).expect("a URL")).await.ok()?;
    Some((answer.status().as_u16(), String::from_utf8_lossy(answer.body()).into_owned()))
}

#[tokio::test]
async fn jaeger_answers_and_goes() {
    let Some(jaeger) = jaeger::start().await else { return };
    let services = format!("{}/api/v3/services", jaeger.query);
    let (status, body) = ask(services.clone()).await.expect("an answer");
    assert_eq!((status, body.as_str()), (200, "{}"), "it is new and holds no service");
    let (status, _) = ask(format!("{}/v1/traces", jaeger.otlp_http)).await.expect("an answer");
    assert_eq!(status, 405, "OTLP over HTTP takes POST alone");
    drop(jaeger);
    assert_eq!(ask(services).await, None);
}

#[tokio::test]
async fn a_collector_answers_goes_and_comes_back() {
    let Some(mut collector) = collector::builder().start().await else { return };
    // Its parts tell the health check of themselves a moment later.
    eventually("it is well", async || {
        let (status, body) = ask(collector.health.clone()).await?;
        (status == 200 && body.contains("StatusOK")).then_some(())
    })
    .await;
    let (status, _) = ask(format!("{}/v1/traces", collector.otlp_http)).await.expect("an answer");
    assert_eq!(status, 405, "OTLP over HTTP takes POST alone");
    assert!(ask(collector.metrics.clone()).await.is_some());
    eventually("its queue is empty, and it says so", async || {
        let own = exposition::read(&collector.own_metrics).await?;
        (exposition::sum(&own, "otelcol_exporter_queue_size", &[]) == Some(0.0)).then_some(())
    })
    .await;

    collector.process.pause();
    // Not all of its threads stand still at once.
    eventually("it hangs", async || {
        tokio::time::timeout(Duration::from_millis(200), ask(collector.health.clone())).await.err().map(drop)
    })
    .await;
    collector.process.resume();
    assert!(ask(collector.health.clone()).await.is_some());
    collector.process.kill();
    assert_eq!(ask(collector.health.clone()).await, None);
    collector.process.start_again().await;
    assert!(ask(collector.health.clone()).await.is_some());
    // It obeys signals a moment after it has said that it is ready, and says nothing of that: before, they kill it.
    tokio::time::sleep(Duration::from_secs(1)).await;
    collector.process.stop().await;
    // Its last words may be read after it is gone.
    eventually("it says that it was asked to end", async || {
        collector.process.output().contains("Shutdown complete").then_some(())
    })
    .await;
    collector.process.start_again().await;
    let health = collector.health.clone();
    drop(collector);
    assert_eq!(ask(health).await, None);
}

#[tokio::test]
async fn prometheus_answers_and_goes() {
    let Some(prometheus) = prometheus::start(&[]).await else { return };
    assert_eq!(prometheus.sum("1 + 1").await, 2.0);
    assert!(prometheus.query("nothing").await.is_empty());
    assert!(prometheus.ask("query", &[("query", "no (")]).await.is_err());
    let health = format!("{}/-/healthy", prometheus.url);
    drop(prometheus);
    assert_eq!(ask(health).await, None);
}

/// Runs a part's own check of what is shipped.
fn check(program: &Path, arguments: &[&str], files: &[&str]) {
    let mut command = Command::new(program);
    command.args(arguments).args(files.iter().map(|file| part::checkout(file)));
    let storage = tempfile::tempdir().expect("a directory");
    // Where a machine keeps the queue, there need be no directory here.
    let output = command.env("COLLECTOR_STORAGE", storage.path()).output().expect("run it");
    assert!(output.status.success(), "{command:?}: {output:?}");
}

#[test]
fn the_shipped_configurations_are_valid() {
    if let Some(collector) = part::find("collector") {
        check(&collector, &["validate", "--config"], &["k8s/collector/config.yaml"]);
    }
    if let Some(jaeger) = part::find("jaeger") {
        check(&jaeger, &["validate", "--config"], &["k8s/jaeger/config.yaml"]);
    }
    if let Some(prometheus) = part::find("prometheus") {
        check(&prometheus.with_file_name("promtool"), &["check", "config"], &["k8s/prometheus/prometheus.yaml"]);
    }
}

#[tokio::test]
async fn zipkin_answers_and_goes() {
    let Some(zipkin) = zipkin::start().await else { return };
    let health = format!("{}/health", zipkin.url);
    let (status, body) = ask(health.clone()).await.expect("an answer");
    assert_eq!((status, body.contains("UP")), (200, true), "{body}");
    drop(zipkin);
    assert_eq!(ask(health).await, None);
}

#[tokio::test]
async fn chromium_clicks_and_tells_what_went_wrong() {
    let Some(browser) = chromium::start().await else { return };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let site = Router::new().route("/", get(async || Html(PAGE)));
    let server = tokio::spawn(async { axum::serve(listener, site).await });

    browser.open(&format!("http://{address}/")).await;
    browser.click_text("button", "Press here").await;
    browser.wait_for_text("pressed").await;
    browser.wait_for_text("asked").await;
    assert_eq!(browser.eval("document.title").await, "Test");
    let problems = browser.problems();
    let missing = format!("request: http://{address}/missing answers 404");
    let expected =
        ["console: a complaint 42", "exception: Error: a mistake", &missing, "request: http://127.0.0.1:1/ fails"];
    for expected in expected {
        assert!(problems.iter().any(|problem| problem.contains(expected)), "{expected} is not in {problems:#?}");
    }
    assert_eq!(problems.len(), 4, "{problems:#?}");
    let picture = tempfile::NamedTempFile::new().expect("a file");
    browser.screenshot(picture.path()).await;
    assert!(std::fs::read(picture.path()).expect("a picture").starts_with(b"\x89PNG"));
    server.abort();
}
