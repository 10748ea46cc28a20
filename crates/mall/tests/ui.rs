//! The README's walk-through in real Chromium: a request is made over REST, then looked at in every view of the UI.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::path::Path;

use serde_json::{Value, json};
use testkit::chromium::{self, ARROWS, Browser};
use testkit::eventually;
use testkit::process::{self, Mall};
use testkit::shopper::{Shopper, trace_id};
use testkit::trace::Trace;

const MALL: &str = env!("CARGO_BIN_EXE_mall");

/// The rows of the timeline, as the UI writes service and operation.
const ROWS: [&str; 4] = [
    "user.api POST /api/user/userinfo",
    "user.api mall.user.v1.UserService/UserInfo",
    "user.rpc mall.user.v1.UserService/UserInfo",
    "user.rpc SELECT users",
];

/// Whether the flame graph has been drawn.
const FLAMES: &str = "[...document.querySelectorAll('.Flamegraph-wrapper canvas')].some((canvas) =>
    canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data.some((part) => part !== 0))";

/// Registers, logs in and asks who that is; gives the trace of the last, once the viewer has all of it.
async fn ask_who_i_am(mall: &Mall) -> String {
    let shopper = Shopper::new(mall, "15838607661").await;
    let answer = shopper.user_info(mall).await;
    assert_eq!((answer.status().as_u16(), &process::json(&answer)["name"]), (200, &"Ann".into()));
    let id = trace_id(&answer);
    let url = format!("{}/api/traces/{id}", mall.url("viewer"));
    eventually("the trace is stored", async || {
        let trace = Trace::from_jaeger(&process::json(&mall.get(&url).await))?;
        (trace.spans.len() >= ROWS.len()).then_some(())
    })
    .await;
    id
}

/// Search: from the start page, by the service alone, to all its traces.
async fn find_traces(browser: &Browser, viewer: &str) {
    browser.open(viewer).await;
    browser.click("[name=service] input").await;
    browser.click_text(".ant-select-item-option", "user.api").await;
    browser.click_text("button", "Find Traces").await;
    for operation in ["register", "login", "userinfo"] {
        browser.wait_for_text_in(".ResultItemTitle", &format!("user.api: POST /api/user/{operation}")).await;
    }
}

/// A row for each span; a click on the last shows its statement, without its values.
async fn look_at_the_timeline(browser: &Browser) {
    for row in ROWS {
        browser.wait_for_text_in(".span-name", row).await;
    }
    browser.wait_until("document.querySelectorAll('.span-row').length", &json!(ROWS.len())).await;
    browser.click_text(".span-name", ROWS[3]).await;
    browser.click(".detail-row .AccordianKeyValues--header").await;
    browser.wait_for_text_in(".detail-row td", "WHERE (`users`.`id` = ?)").await;
}

/// Another view of the open trace, from the menu that lies at the right.
async fn choose_view(browser: &Browser, name: &str) {
    browser.hover(".AltViewOptions").await;
    browser.click_text(".ant-dropdown-menu-item", name).await;
    browser.wait_for_text_in(".AltViewOptions", name).await;
}

/// Graph, statistics, span table, flame graph, and back.
async fn look_at_the_other_views(browser: &Browser) {
    choose_view(browser, "Trace Graph").await;
    for operation in ["POST /api/user/userinfo", "mall.user.v1.UserService/UserInfo", "SELECT users"] {
        browser.wait_for_text_in(".TraceGraph--graphWrapper .OpNode", operation).await;
    }
    choose_view(browser, "Trace Statistics").await;
    for service in ["user.api", "user.rpc"] {
        browser.wait_for_text_in("section td", service).await;
    }
    choose_view(browser, "Trace Spans Table").await;
    for row in ROWS {
        let (service, operation) = row.split_once(' ').unwrap();
        browser.wait_for_text_in("section tr", &format!("{service}{operation}")).await;
    }
    choose_view(browser, "Trace Flamegraph").await;
    browser.wait_for_text_in(".flamegraph-table td", "user.rpc: SELECT users").await;
    browser.wait_until(FLAMES, &json!(true)).await;
    choose_view(browser, "Trace Timeline").await;
    browser.wait_for_text_in(".span-name", ROWS[0]).await;
}

/// The menu's link to the trace as JSON, which opens a tab of its own when it is clicked on.
async fn look_at_the_json(browser: &Browser, id: &str) {
    browser.hover(".AltViewOptions").await;
    browser.wait_for_text_in(".ant-dropdown-menu-item a", "Trace JSON").await;
    let link = "[...document.querySelectorAll('a')].find((link) => link.textContent === 'Trace JSON').href";
    browser.open(browser.eval(link).await.as_str().unwrap()).await;
    let shown: Value = serde_json::from_str(&browser.text().await).unwrap();
    assert_eq!(shown["data"][0]["traceID"], id);
    assert_eq!(shown["data"][0]["spans"].as_array().unwrap().len(), ROWS.len());
}

/// Two traces chosen among the results are laid over each other.
async fn compare(browser: &Browser, viewer: &str) {
    find_traces(browser, viewer).await;
    browser.click("li:nth-child(1) .ResultItemTitle label").await;
    browser.click("li:nth-child(2) .ResultItemTitle label").await;
    browser.click_text("button", "Compare Traces").await;
    for operation in ["POST /api/user/userinfo", "POST /api/user/login"] {
        browser.wait_for_text_in(".TraceDiffHeader", operation).await;
        browser.wait_for_text_in(".TraceDiffGraph--graphWrapper .DiffNode", operation).await;
    }
}

/// Keeps what is shown as a picture of the README, where the directory for them is named.
async fn keep_picture(browser: &Browser, name: &str) {
    if let Some(dir) = std::env::var_os("MALL_SCREENSHOTS") {
        browser.screenshot(&Path::new(&dir).join(name)).await;
    }
}

/// The rows of an order's timeline that name a step of it.
const ORDER_ROWS: [&str; 8] = [
    "order.api POST /api/order/create",
    "order.api mall.order.v1.OrderService/Create",
    "order.rpc mall.order.v1.OrderService/Create",
    "product.rpc mall.product.v1.ProductService/Detail",
    "order.rpc INSERT orders",
    "product.rpc mall.product.v1.ProductService/Reserve",
    "product.rpc INSERT reservations",
    "order.rpc UPDATE orders",
];

#[tokio::test(flavor = "multi_thread")]
async fn an_order_is_one_timeline_through_three_services() {
    let Some(browser) = chromium::start().await else { return };
    let mall = Mall::of(MALL).variable("OTEL_RESOURCE_ATTRIBUTES", "host.name=localhost").start().await;
    let shopper = Shopper::new(&mall, "15838607661").await;
    let order = json!({ "pid": 1, "quantity": 2 });
    // The second one finds every connection open and every statement known.
    mall.post("order.api", "/api/order/create", Some(&shopper.token), &order).await;
    let answer = mall.post("order.api", "/api/order/create", Some(&shopper.token), &order).await;
    assert_eq!(answer.status(), 200);
    let id = trace_id(&answer);
    let url = format!("{}/api/traces/{id}", mall.url("viewer"));
    eventually("the trace is whole", async || {
        let trace = Trace::from_jaeger(&process::json(&mall.get(&url).await))?;
        let services: std::collections::BTreeSet<_> = trace.spans.iter().map(|span| &span.service).collect();
        (services.len() == 3 && trace.roots().len() == 1 && trace.orphans().is_empty()).then_some(())
    })
    .await;
    browser.open(&format!("{}/trace/{id}", mall.url("viewer"))).await;
    for row in ORDER_ROWS {
        browser.wait_for_text_in(".span-name", row).await;
    }
    keep_picture(&browser, "order.png").await;
    assert_eq!(browser.problems(), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_is_seen_in_every_view() {
    let Some(browser) = chromium::start().await else { return };
    // The README's picture shows no machine's name.
    let mall = Mall::of(MALL).variable("OTEL_RESOURCE_ATTRIBUTES", "host.name=localhost").start().await;
    let viewer = mall.url("viewer");
    let id = ask_who_i_am(&mall).await;

    find_traces(&browser, &viewer).await;
    browser.click(&format!(".ResultItemTitle a[href='/trace/{id}']")).await;
    look_at_the_timeline(&browser).await;
    keep_picture(&browser, "trace.png").await;
    look_at_the_other_views(&browser).await;
    look_at_the_json(&browser, &id).await;
    compare(&browser, &viewer).await;
    browser.click_text("header a", "System Architecture").await;
    browser.wait_until(ARROWS, &json!([["user.api", "user.rpc"]])).await;

    assert_eq!(browser.problems(), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_is_made_from_the_docs() {
    let Some(browser) = chromium::start().await else { return };
    let mall = Mall::of(MALL).start().await;
    browser.open(&(mall.url("user.api") + "/docs")).await;
    for path in ["/api/user/register", "/api/user/login", "/api/user/userinfo"] {
        browser.wait_for_text_in("summary .path", path).await;
    }
    browser.click_text("summary .path", "/api/user/register").await;
    let account = json!({ "name": "Ann", "gender": 2, "mobile": "15838607661", "password": "correct-horse-7" });
    let body = json!(account.to_string());
    browser.eval(&format!("document.querySelector('details[open] textarea').value = {body}")).await;
    browser.click("details[open] button[type=submit]").await;
    browser.wait_for_text_in("details[open] output", "200").await;
    browser.wait_for_text_in("details[open] output", "\"mobile\": \"15838607661\"").await;
    assert_eq!(browser.problems(), [""; 0]);
}
