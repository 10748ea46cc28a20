//! The traces of a purchase: one root, no orphan, through all services; and recovery, linked to what it recovers.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use testkit::process::{Mall, json as body};
use testkit::shopper::trace_id;
use testkit::trace::Trace;

use crate::support::{Customer, Faults, MALL, mall, number};

/// The trace, once these services have a part in it and it is whole.
async fn whole(mall: &Mall, id: &str, services: &[&str]) -> Trace {
    let url = format!("{}/api/traces/{id}", mall.url("viewer"));
    testkit::eventually(&format!("{services:?} are in the trace {id}"), async || {
        let trace = Trace::from_jaeger(&serde_json::from_slice(mall.get(&url).await.body()).ok()?)?;
        let named: BTreeSet<_> = trace.spans.iter().map(|span| span.service.as_str()).collect();
        let is_whole = trace.roots().len() == 1 && trace.orphans().is_empty();
        (is_whole && named == services.iter().copied().collect()).then_some(trace)
    })
    .await
}

/// From the root to a statement that begins so.
fn path_to(trace: &Trace, statement: &str) -> Vec<String> {
    let span = trace.spans.iter().find(|span| span.name.starts_with(statement));
    trace.path(span.unwrap_or_else(|| panic!("no {statement} in {trace:#?}")))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_purchase_is_seen_through_all_services() {
    let mall = mall(None).start().await;
    let customer = Customer::new(&mall, "15838607660").await;
    let product = customer.offer(10, 50).await;
    let ordered = customer.order("mine", product, 1).await.unwrap();
    let order = number(&body(&ordered)["id"]);
    let payment = customer.ask("/api/pay/create", &json!({ "oid": order })).await;
    let settled = customer.call_back(&payment, 1).await;
    assert_eq!(settled.status(), 200);

    let trace = whole(&mall, &trace_id(&ordered), &["order.api", "order.rpc", "product.rpc"]).await;
    assert_eq!(trace.roots()[0].name, "POST /api/order/create");
    let through = ["order.api server", "order.api client", "order.rpc server"];
    assert_eq!(path_to(&trace, "INSERT orders"), [&through[..], &["order.rpc client"]].concat());
    let reserve = [&through[..], &["order.rpc client", "product.rpc server", "product.rpc client"]].concat();
    assert_eq!(path_to(&trace, "INSERT reservations"), reserve);

    let trace = whole(&mall, &trace_id(&settled), &["pay.api", "pay.rpc", "order.rpc"]).await;
    assert_eq!(trace.roots()[0].name, "POST /api/pay/callback");
    let told = ["pay.api server", "pay.api client", "pay.rpc server", "pay.rpc client", "order.rpc server"];
    assert_eq!(path_to(&trace, "UPDATE orders"), [&told[..], &["order.rpc client"]].concat());
}

/// All traces that begin with this operation, as many as there are to be.
async fn all(mall: &Mall, service: &str, operation: &str, count: usize) -> Vec<Trace> {
    let encoded = operation.replace(' ', "%20").replace('/', "%2F");
    let query = format!("service={service}&operation={encoded}&limit={}&lookback=1h", 2 * count);
    let url = format!("{}/api/traces?{query}", mall.url("viewer"));
    testkit::eventually(&format!("{count} traces of {operation} are whole"), async || {
        let found: Value = serde_json::from_slice(mall.get(&url).await.body()).ok()?;
        let traces = found["data"].as_array()?.iter().map(|trace| Trace::from_jaeger(&json!({ "data": [trace] })));
        let traces: Vec<Trace> = traces.collect::<Option<_>>()?;
        let is_whole = |trace: &Trace| trace.roots().len() == 1 && trace.orphans().is_empty();
        (traces.len() == count && traces.iter().all(is_whole)).then_some(traces)
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_checkouts_are_a_thousand_whole_traces() {
    let mall = mall(None).start().await;
    let load = tokio::process::Command::new(MALL)
        .args(["load", "--users", "5", "--rate", "40", "--duration", "25s", "--mix", "pay=1", "--data-dir"])
        .arg(mall.data())
        .output()
        .await
        .unwrap();
    assert!(load.status.success(), "{}", String::from_utf8_lossy(&load.stdout));
    for (service, operation, services) in [
        ("order.api", "POST /api/order/create", ["order.api", "order.rpc", "product.rpc"]),
        ("pay.api", "POST /api/pay/create", ["order.rpc", "pay.api", "pay.rpc"]),
        ("pay.api", "POST /api/pay/callback", ["order.rpc", "pay.api", "pay.rpc"]),
    ] {
        for trace in all(&mall, service, operation, 1000).await {
            let named: BTreeSet<_> = trace.spans.iter().map(|span| span.service.as_str()).collect();
            assert_eq!(named, BTreeSet::from(services), "{trace:#?}");
        }
    }
}

/// The services with which a trace's spans of this name are linked to, by the trace that they point at.
async fn linked(mall: &Mall, service: &str, operation: &str) -> Vec<String> {
    let query = format!("service={service}&operation={}&limit=20&lookback=1h", operation.replace(' ', "%20"));
    let answer = mall.get(&format!("{}/api/traces?{query}", mall.url("viewer"))).await;
    let found: Value = body(&answer);
    let spans = found["data"].as_array().into_iter().flatten().flat_map(|trace| trace["spans"].as_array().unwrap());
    let roots = spans.filter(|span| span["operationName"] == operation);
    let references = roots.flat_map(|span| span["references"].as_array().unwrap());
    let links = references.filter(|reference| reference["refType"] == "FOLLOWS_FROM");
    links.map(|link| link["traceID"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn recovery_is_linked_to_what_it_recovers() {
    let faults = Faults::new();
    let mall = mall(Some(&faults)).start().await;
    let customer = Customer::new(&mall, "15838607660").await;
    let product = customer.offer(10, 50).await;
    faults.arm("order.reserved");
    let struck = customer.post("/api/order/create", &json!({ "pid": product })).await;
    assert_eq!(struck.status(), 503, "{struck:?}");
    let began = trace_id(&struck);
    testkit::eventually("a recovery span is linked to the order's trace", async || {
        linked(&mall, "order.rpc", "order recovery").await.contains(&began).then_some(())
    })
    .await;
    let orders = customer.ask("/api/order/list", &json!({})).await;
    let order = number(&orders["orders"][0]["id"]);
    assert_eq!(orders["orders"][0]["status"], 0);

    let payment = customer.ask("/api/pay/create", &json!({ "oid": order })).await;
    faults.arm("pay.settled");
    let struck = customer.call_back(&payment, 1).await;
    assert_eq!(struck.status(), 503, "{struck:?}");
    let began = trace_id(&struck);
    testkit::eventually("a recovery span is linked to the callback's trace", async || {
        linked(&mall, "pay.rpc", "payment recovery").await.contains(&began).then_some(())
    })
    .await;
    assert_eq!(customer.ask("/api/order/detail", &json!({ "id": order })).await["status"], 1);
}
