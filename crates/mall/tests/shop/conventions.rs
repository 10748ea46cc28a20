//! Whatever a running mall sends is in the tables of docs/telemetry.md: names, units, kinds, attributes, status and events.

use std::collections::{BTreeMap, BTreeSet};

use opentelemetry::trace::SpanKind;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::{self as metrics, AggregationTemporality};
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind as SentKind;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use serde_json::json;
use telemetry::metric::{self, Kind, Metric};
use telemetry::semconv::{self, attribute, span};
use testkit::otlp::{Received, Sink};
use testkit::process::{Mall, Signal};

use crate::support::{Customer, Faults, mall, number, told_to};

/// What needs more of a crowd than a test of everything makes, a connection that breaks at the right moment, or a cluster; the
/// tests of `db`, `rpc` and `discovery` see to it.
const SELDOM: [&str; 3] = [semconv::DB_WAIT, metric::RPC_CLIENT_RESENDS.name, metric::DISCOVERY_ENDPOINTS.name];

/// Uses everything once: what goes well, what is refused, and what is taken up again later.
async fn use_all(mall: &Mall, faults: &Faults) {
    let customer = Customer::new(mall, "15838607660").await;
    let product = customer.offer(10, 50).await;
    customer.ask("/api/product/detail", &json!({ "id": product })).await;
    let order = customer.ask("/api/order/create", &json!({ "pid": product })).await;
    let payment = customer.ask("/api/pay/create", &json!({ "oid": number(&order["id"]) })).await;
    assert_eq!(customer.call_back(&payment, 1).await.status(), 200);

    let nowhere = mall.get(&(mall.url("user.api") + "/nowhere")).await;
    assert_eq!(nowhere.status(), 404);
    let login = json!({ "mobile": "15838607660", "password": "wrong" });
    assert_eq!(mall.post("user.api", "/api/user/login", None, &login).await.status(), 401);
    let unsigned = json!({ "id": 1, "oid": 1, "amount": 1, "source": 1, "status": 1 });
    assert_eq!(mall.post("pay.api", "/api/pay/callback", None, &unsigned).await.status(), 401);
    assert_eq!(customer.post("/api/order/create", &json!({ "pid": 999_999 })).await.status(), 404);

    faults.arm("order.reserved");
    assert_eq!(customer.post("/api/order/create", &json!({ "pid": product })).await.status(), 503);
    let placed = testkit::eventually("the order is placed all the same", async || {
        let orders = customer.insist("/api/order/list", &json!({})).await;
        let orders = testkit::process::json(&orders)["orders"].clone();
        (orders[0]["status"] == 0).then(|| number(&orders[0]["id"]))
    })
    .await;
    let payment = testkit::process::json(&customer.insist("/api/pay/create", &json!({ "oid": placed })).await);
    faults.arm("pay.settled");
    assert_eq!(customer.call_back(&payment, 1).await.status(), 503);
    testkit::eventually("the order is paid all the same", async || {
        let order = customer.insist("/api/order/detail", &json!({ "id": placed })).await;
        (testkit::process::json(&order)["status"] == 1).then_some(())
    })
    .await;
}

fn keys(attributes: &[KeyValue]) -> BTreeSet<&str> {
    attributes.iter().map(|attribute| attribute.key.as_str()).collect()
}

/// An attribute as text.
fn text(attributes: &[KeyValue], key: &str) -> Option<String> {
    let value = attributes.iter().find(|attribute| attribute.key == key)?.value.as_ref()?.value.as_ref()?;
    Some(match value {
        Any::StringValue(text) => text.clone(),
        Any::IntValue(number) => number.to_string(),
        other => format!("{other:?}"),
    })
}

/// The row of the table that a span is of.
fn row(span: &Span) -> &'static span::Span {
    let kind = match span.kind() {
        SentKind::Server => SpanKind::Server,
        SentKind::Client => SpanKind::Client,
        SentKind::Internal => SpanKind::Internal,
        other => panic!("{other:?}: {span:?}"),
    };
    let fits = |row: &&span::Span| {
        let identifying = row.name.split(['{', '}']).nth(1);
        row.kind == kind && identifying.map_or(row.name == span.name, |key| text(&span.attributes, key).is_some())
    };
    span::ALL.iter().find(fits).unwrap_or_else(|| panic!("no row of the table is of {span:?}"))
}

/// The name that a row gives a span.
fn name(row: &span::Span, span: &Span) -> String {
    match row.name {
        "{http.request.method} {http.route}" if text(&span.attributes, semconv::HTTP_ROUTE).is_none() => {
            text(&span.attributes, semconv::HTTP_REQUEST_METHOD).unwrap()
        }
        template => row.required.iter().chain(row.optional).fold(template.to_owned(), |name, key| {
            name.replace(&format!("{{{key}}}"), &text(&span.attributes, key).unwrap_or_default())
        }),
    }
}

fn check_span(span: &Span) -> &'static str {
    let row = row(span);
    let has = keys(&span.attributes);
    assert_eq!(span.name, name(row, span), "{span:#?}");
    for key in row.required {
        assert!(has.contains(key), "no {key}: {span:#?}");
    }
    let known: BTreeSet<_> = row.required.iter().chain(row.optional).copied().collect();
    assert!(has.is_subset(&known), "{:?} is not in the table: {span:#?}", has.difference(&known));
    let failed = span.status.as_ref().is_some_and(|status| status.code() == StatusCode::Error);
    assert_eq!(failed, has.contains(semconv::ERROR_TYPE), "{span:#?}");
    assert!(failed || span.status.as_ref().is_none_or(|status| status.code() == StatusCode::Unset), "{span:#?}");
    assert!(span.events.is_empty(), "{span:#?}");
    let recovers = row.name.ends_with("recovery");
    assert_eq!(span.links.len(), usize::from(recovers), "{span:#?}");
    row.name
}

/// The attributes of every point of a metric, if it is what the table says.
fn points<'a>(sent: &'a metrics::Metric, row: &Metric) -> Vec<&'a [KeyValue]> {
    let cumulative = AggregationTemporality::Cumulative as i32;
    match (sent.data.as_ref().unwrap(), row.kind) {
        (Data::Sum(sum), Kind::Counter) if sum.is_monotonic && sum.aggregation_temporality == cumulative => {
            sum.data_points.iter().map(|point| point.attributes.as_slice()).collect()
        }
        (Data::Sum(sum), Kind::UpDownCounter) if !sum.is_monotonic => {
            sum.data_points.iter().map(|point| point.attributes.as_slice()).collect()
        }
        (Data::Gauge(gauge), Kind::Gauge) => {
            gauge.data_points.iter().map(|point| point.attributes.as_slice()).collect()
        }
        (Data::Histogram(histogram), Kind::Histogram(bounds)) => {
            assert!(histogram.data_points.iter().all(|point| point.explicit_bounds == bounds), "{sent:#?}");
            histogram.data_points.iter().map(|point| point.attributes.as_slice()).collect()
        }
        _ => panic!("it is no {:?}: {sent:#?}", row.kind),
    }
}

fn check_metric(sent: &metrics::Metric) -> &'static str {
    let row = metric::ALL.iter().find(|row| row.name == sent.name);
    let row = row.unwrap_or_else(|| panic!("{} is not in the table", sent.name));
    assert_eq!((sent.unit.as_str(), sent.description.as_str()), (row.unit, row.about), "{}", row.name);
    let known: BTreeSet<_> = row.attributes.iter().copied().collect();
    for attributes in points(sent, row) {
        let has = keys(attributes);
        assert!(has.is_subset(&known), "{}: {:?} is not in the table", row.name, has.difference(&known));
    }
    row.name
}

/// Holds all that was sent against the tables; gives the rows of both that it was.
fn check(received: &Received) -> BTreeSet<&'static str> {
    let mut seen = BTreeSet::new();
    let resource: BTreeSet<_> = attribute::RESOURCE.iter().copied().collect();
    let resources = received.spans.iter().map(|of| &of.resource).chain(received.metrics.iter().map(|of| &of.resource));
    for sent in resources.chain(received.logs.iter().map(|of| &of.resource)) {
        assert_eq!(keys(&sent.as_ref().unwrap().attributes), resource);
    }
    for scope in received.spans.iter().flat_map(|of| &of.scope_spans) {
        assert_eq!(scope.schema_url, semconv::SCHEMA_URL);
        seen.extend(scope.spans.iter().map(check_span));
    }
    for scope in received.metrics.iter().flat_map(|of| &of.scope_metrics) {
        seen.extend(scope.metrics.iter().map(check_metric));
    }
    seen
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_a_mall_sends_is_in_the_tables_and_all_of_them_is_sent() {
    let (sink, faults) = (Sink::start().await, Faults::new());
    let mut mall = told_to(&sink, Some(&faults)).start().await;
    use_all(&mall, &faults).await;
    let mut texts = Vec::new();
    for service in mall.services().into_keys() {
        texts.push(mall.get(&format!("http://{}/metrics", mall.address(&service, "admin"))).await);
    }
    // What is left is sent at the end.
    mall.signal(Signal::TERM);
    assert!(mall.wait().await.success());
    let seen = check(&sink.received());
    let all = span::ALL.iter().map(|row| row.name).chain(metric::ALL.iter().map(|row| row.name));
    let wanted = all.filter(|name| !SELDOM.contains(name) && !name.starts_with("mall.viewer."));
    let missing: Vec<_> = wanted.filter(|name| !seen.contains(name)).collect();
    assert!(missing.is_empty(), "never seen: {missing:?}");
    for text in texts {
        check_text(std::str::from_utf8(text.body()).unwrap());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_viewer_has_what_is_said_of_it() {
    let mall = mall(None).start().await;
    let text = mall.get(&format!("http://{}/metrics", mall.address("viewer", "admin"))).await;
    let seen = check_text(std::str::from_utf8(text.body()).unwrap());
    for row in metric::ALL.iter().filter(|row| row.name.starts_with("mall.viewer.")) {
        assert!(seen.contains(row.name), "{} is missing", row.name);
    }
}

/// A metric's name in Prometheus.
fn in_prometheus(row: &Metric) -> String {
    let mut name = row.name.replace('.', "_");
    match row.unit {
        "s" => name += "_seconds",
        "By" => name += "_bytes",
        _ => {}
    }
    if row.kind == Kind::Counter { name + "_total" } else { name }
}

/// Every family of `/metrics` is one of the table, with its kind and its description; gives which.
fn check_text(text: &str) -> BTreeSet<&'static str> {
    let known: BTreeMap<_, _> = metric::ALL.iter().map(|row| (in_prometheus(row), row)).collect();
    let mut seen = BTreeSet::new();
    for line in text.lines().filter_map(|line| line.strip_prefix("# TYPE ")) {
        let (family, kind) = line.split_once(' ').unwrap();
        if family == "target_info" {
            continue;
        }
        let row = known.get(family).unwrap_or_else(|| panic!("{family} is not in the table"));
        let wanted = match row.kind {
            Kind::Counter => "counter",
            Kind::UpDownCounter | Kind::Gauge => "gauge",
            Kind::Histogram(_) => "histogram",
        };
        assert_eq!(kind, wanted, "{family}");
        assert!(text.contains(&format!("# HELP {family} {}\n", row.about)), "{family} has another description");
        seen.insert(row.name);
    }
    seen
}
