//! Jaeger's UI on the viewer, in real Chromium: every page shows what it should, nothing complains, no request fails.

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use rpc::Lifecycle;
use serde_json::{Value, json};
use testkit::chromium::Browser;

#[path = "query/client.rs"]
mod client;

#[tokio::test(flavor = "multi_thread")]
async fn every_page_of_the_ui_works() {
    let Some(browser) = testkit::chromium::start().await else { return };
    let lifecycle = Lifecycle::new();
    let viewer = viewer::Viewer::bind(client::config_on_free_ports(), lifecycle.clone()).await.unwrap();
    let addresses = viewer.config().clone();
    let serving = tokio::spawn(viewer.serve());
    let otlp = format!("http://{}/v1/traces", addresses.otlp_http);
    let ui = format!("http://{}", addresses.listen);

    browser.open(&format!("{ui}/dependencies")).await;
    browser.wait_for_text("No service dependencies found").await;
    browser.open(&format!("{ui}/search")).await;
    browser.wait_for_text("Service (0)").await;
    for trace in 1..=3 {
        let message = request(trace).to_string();
        let answer = client::ask("POST", &otlp, &[("content-type", "application/json")], message.as_bytes()).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
    }
    assert_eq!(client::get(&format!("{ui}/api/services")).await.json()["total"], 2);
    search(&browser, &ui).await;
    trace(&browser).await;
    compare(&browser, &ui).await;
    architecture(&browser, &ui).await;
    assert!(browser.problems().is_empty(), "{:#?}", browser.problems());
    monitor(&browser, &ui).await;
    drop(browser);
    lifecycle.drain();
    serving.await.unwrap().unwrap();
}

/// A search by what only one of the traces has.
async fn search(browser: &Browser, ui: &str) {
    browser.open(&format!("{ui}/")).await;
    browser.wait_for_text("Service (2)").await;
    browser.click("[name=service] input").await;
    browser.click_text(".ant-select-item-option", "user.rpc").await;
    browser.click_text("button", "Find Traces").await;
    browser.wait_for_text("3 Traces").await;
    picture(browser, "search").await;
    browser.click("input[name=tags]").await;
    browser.enter("error=true http.route=/api/user/userinfo").await;
    browser.click_text("button", "Find Traces").await;
    browser.wait_for_text("No trace results").await;
    browser
        .open(&format!("{ui}/search?service=user.rpc&tags=%7B%22error%22%3A%22true%22%7D&lookback=1h&minDuration=3ms"))
        .await;
    browser.wait_for_text("1 Trace").await;
    browser.wait_for_text("4 Errors").await;
}

/// The views of a trace that failed.
async fn trace(browser: &Browser) {
    browser.click(".ResultItemTitle a").await;
    browser.click_text(".span-name", "user.rpc SELECT users").await;
    browser.wait_for_text("otel.status_description").await;
    picture(browser, "timeline").await;
    for name in ["Trace Graph", "Trace Statistics", "Trace Spans Table", "Trace Flamegraph"] {
        browser.hover(".AltViewOptions").await;
        browser.click_text(".ant-dropdown-menu-item", name).await;
        browser.wait_for_text_in(".AltViewOptions", name).await;
        browser.wait_for_text("user.rpc").await;
        picture(browser, name).await;
    }
}

async fn compare(browser: &Browser, ui: &str) {
    browser.open(&format!("{ui}/trace/{}...{}", id(1), id(2))).await;
    browser.wait_for_text_in(".TraceDiffGraph--graphWrapper .DiffNode", "SELECT users").await;
    picture(browser, "compare").await;
}

async fn architecture(browser: &Browser, ui: &str) {
    browser.open(&format!("{ui}/dependencies")).await;
    browser.wait_for_text_in(".DAG", "user.rpc").await;
    browser.wait_until("document.querySelectorAll('.DAG path[marker-end]').length", &json!(1)).await;
    picture(browser, "architecture").await;
}

/// A page without a place in the menu: it asks for metrics, is told that there are none, and says so.
async fn monitor(browser: &Browser, ui: &str) {
    browser.open(&format!("{ui}/monitor")).await;
    browser.wait_for_text("This viewer keeps traces alone.").await;
    picture(browser, "monitor").await;
    let others: Vec<_> = browser.problems().into_iter().filter(|it| !it.contains("/api/metrics/")).collect();
    assert!(others.is_empty(), "{others:#?}");
}

/// Keeps a picture where `MALL_TEST_PICTURES` says, for a person to look at.
async fn picture(browser: &Browser, name: &str) {
    if let Some(directory) = std::env::var_os("MALL_TEST_PICTURES") {
        browser.screenshot(&Path::new(&directory).join(format!("{name}.png"))).await;
    }
}

fn id(trace: u64) -> String {
    format!("4bf92f3577b34da6a3ce929d0e0e{trace:04x}")
}

/// A request of the mall; those of even number failed.
fn request(trace: u64) -> Value {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock after 1970").as_nanos() as u64
        - 60_000_000_000 * trace;
    let span = |number: u64, name: &str, kind: u64, attributes: Value| {
        let parent = if number == 1 { String::new() } else { format!("{:016x}", number - 1) };
        json!({
            "traceId": id(trace), "spanId": format!("{number:016x}"), "parentSpanId": parent, "name": name, "kind": kind,
            "startTimeUnixNano": (now + number * 300_000).to_string(),
            "endTimeUnixNano": (now + 6_000_000 - number * 400_000).to_string(),
            "attributes": attributes,
            "events": [{ "timeUnixNano": (now + number * 350_000).to_string(), "name": "began" }],
            "status": if trace.is_multiple_of(2) { json!({ "code": 2, "message": "not found" }) } else { json!({}) },
        })
    };
    let text = |key: &str, value: &str| json!({ "key": key, "value": { "stringValue": value } });
    let service = |name: &str, spans: Value| {
        json!({
            "resource": { "attributes": [text("service.name", name), text("service.version", "0.1.0")] },
            "scopeSpans": [{ "scope": { "name": "mall" }, "spans": spans }],
        })
    };
    let method = "mall.user.v1.UserService/UserInfo";
    let statement = text("db.query.text", "SELECT id, name, gender, mobile FROM users WHERE id = ?");
    json!({ "resourceSpans": [
        service("user.api", json!([
            span(1, "POST /api/user/userinfo", 2, json!([text("http.route", "/api/user/userinfo")])),
            span(2, method, 3, json!([text("rpc.method", method)])),
        ])),
        service("user.rpc", json!([
            span(3, method, 2, json!([text("rpc.method", method)])),
            span(4, "SELECT users", 3, json!([text("db.system.name", "sqlite"), statement])),
        ])),
    ]})
}
