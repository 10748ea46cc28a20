//! What is sent to the shipped collector: where it comes out, what is kept of it, and what is masked.

use std::time::{Duration, SystemTime};

use http::{Request, header};
use serde_json::{Value, json};
use testkit::http::Client;
use testkit::observe::{self, Observe};
use testkit::{eventually, exposition};

const TOKEN: &str = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl";

/// What must not be in anything that leaves the collector.
const PERSONAL: [&str; 9] = [
    "15838607661",
    "175908949255657",
    "+4917612345678",
    "ann@example.com",
    "correct-horse-7",
    "$argon2id$v=19$m=8$c2FsdA$aGFzaA",
    "v1=00112233445566778899aabbccddeeff",
    "Ann Smith",
    TOKEN,
];

/// Sends one request of OTLP over HTTP, in JSON.
async fn send(to: &Observe, signal: &str, body: &Value) {
    let url = format!("{}/v1/{signal}", to.collector.otlp_http);
    let request = Request::post(url).header(header::CONTENT_TYPE, "application/json");
    let request = request.body(body.to_string().into()).expect("a request");
    let answer = Client::default().try_send(request).await.expect("an answer");
    assert_eq!(answer.status(), 200, "{answer:?}");
}

fn text(key: &str, value: &str) -> Value {
    json!({ "key": key, "value": { "stringValue": value } })
}

fn nanos(since: SystemTime) -> String {
    since.duration_since(SystemTime::UNIX_EPOCH).expect("after 1970").as_nanos().to_string()
}

/// A trace of one span, which ends now.
fn trace(id: &str, duration: Duration, with: Value) -> Value {
    let end = SystemTime::now();
    let mut span = json!({
        "traceId": id, "spanId": &id[..16], "name": "work", "kind": 2,
        "startTimeUnixNano": nanos(end - duration), "endTimeUnixNano": nanos(end),
    });
    for (key, value) in with.as_object().into_iter().flatten() {
        span[key] = value.clone();
    }
    let service = json!([text("service.name", "test.rpc"), text("service.instance.id", "one")]);
    json!({ "resourceSpans": [{ "resource": { "attributes": service }, "scopeSpans": [{ "spans": [span] }] }] })
}

fn id(number: u8) -> String {
    format!("{number:02x}").repeat(16)
}

/// What Jaeger has of a trace, as text.
async fn found(observe: &Observe, id: &str) -> Option<String> {
    let url = format!("{}/api/traces/{id}", observe.jaeger.query);
    let answer = Client::default().try_send(Request::get(url).body(Default::default()).expect("a URL")).await.ok()?;
    answer.status().is_success().then(|| String::from_utf8_lossy(answer.body()).into_owned())
}

async fn arrives(observe: &Observe, id: &str) -> String {
    eventually(&format!("the trace {id} is in Jaeger"), async || found(observe, id).await).await
}

/// Everything personal, in every place where a text can be.
fn full_of_it() -> (String, Value) {
    let all = PERSONAL.map(|secret| if secret == "Ann Smith" || secret == "correct-horse-7" { "-" } else { secret });
    let all = all.join(" and ");
    let named =
        [("user.name", "Ann Smith"), ("password", "correct-horse-7"), ("http.request.header.authorization", "x")];
    let mut attributes: Vec<_> = named.iter().map(|(key, value)| text(key, value)).collect();
    attributes.push(text("note", &all));
    attributes.push(json!({ "key": "list", "value": { "arrayValue": { "values": [{ "stringValue": all }] } } }));
    attributes.push(json!({ "key": "number", "value": { "intValue": "15838607661" } }));
    attributes.push(text("kept", "mall.user.v1.UserService/Login"));
    (all, attributes.into())
}

fn assert_clean(what: &str, text: &str) {
    for secret in PERSONAL {
        assert!(!text.contains(secret), "{secret} is in {what}:\n{text}");
    }
    assert!(text.contains("****"), "nothing is masked in {what}:\n{text}");
}

#[tokio::test]
async fn nothing_personal_leaves_the_collector() {
    let Some(observe) = observe::builder().start().await else { return };
    let (all, attributes) = full_of_it();
    let events = json!([{ "name": format!("event {}", PERSONAL[0]), "attributes": attributes }]);
    // Digests are kept out of attributes alone, so there is none in these two.
    let short = all.split(" and v1=").next().expect("a text");
    let status = json!({ "code": 2, "message": short });
    let with = json!({ "name": short, "status": status, "attributes": attributes, "events": events });
    send(&observe, "traces", &trace(&id(1), Duration::from_millis(20), with)).await;
    let record = json!({ "body": { "stringValue": all }, "attributes": attributes, "traceId": id(1) });
    let service = json!({ "attributes": [text("service.name", "test.rpc"), text("owner.email", "a")] });
    let logs = json!({ "resourceLogs": [{ "resource": service, "scopeLogs": [{ "logRecords": [record] }] }] });
    send(&observe, "logs", &logs).await;
    let point = json!({ "attributes": attributes, "asInt": "1", "timeUnixNano": nanos(SystemTime::now()) });
    let metric = json!({ "name": "test.things", "gauge": { "dataPoints": [point] } });
    let metrics = json!({ "resourceMetrics": [{ "scopeMetrics": [{ "metrics": [metric] }] }] });
    send(&observe, "metrics", &metrics).await;

    let trace = arrives(&observe, &id(1)).await;
    assert_clean("the trace", &trace);
    assert!(trace.contains("mall.user.v1.UserService/Login"), "what is not personal stays: {trace}");
    let written = format!("Trace ID: {}", id(1));
    let log = eventually("the log is written", async || {
        let output = observe.collector.process.output();
        output.contains(&written).then_some(output)
    })
    .await;
    assert_clean("the log", &log);
    let exposed = eventually("the metrics are exposed", async || {
        let text = exposition::read(&observe.collector.metrics).await?;
        (text.contains("test_things") && text.contains("traces_span_metrics_calls_total")).then_some(text)
    })
    .await;
    assert_clean("the metrics", &exposed);
}

#[tokio::test]
async fn errors_slow_ones_and_those_asked_for_are_kept() {
    let builder = observe::builder().variable("COLLECTOR_SHARE_PERCENT", "0").variable("COLLECTOR_SLOW_MS", "300");
    let Some(observe) = builder.start().await else { return };
    let short = Duration::from_millis(10);
    let debug = json!({ "key": "mall.debug", "value": { "boolValue": true } });
    send(&observe, "traces", &trace(&id(1), short, json!({}))).await;
    send(&observe, "traces", &trace(&id(2), short, json!({ "status": { "code": 2 } }))).await;
    send(&observe, "traces", &trace(&id(3), Duration::from_millis(400), json!({}))).await;
    send(&observe, "traces", &trace(&id(4), short, json!({ "attributes": [debug] }))).await;
    for kept in 2..=4 {
        arrives(&observe, &id(kept)).await;
    }
    assert_eq!(found(&observe, &id(1)).await, None, "it came first and would be there");
    // All of them were counted, kept or not.
    let calls = "traces_span_metrics_calls_total{job='test.rpc',instance='one',span_name='work'}";
    eventually("four calls are counted", async || (observe.prometheus.sum(calls).await == 4.0).then_some(())).await;

    // A count leads to a trace. The collector shows each for a moment only, so there must be some to see.
    let series = "traces_span_metrics_duration_milliseconds_bucket";
    let range = [("query", series), ("start", "0"), ("end", "9999999999")];
    let exemplars = eventually("there are exemplars", async || {
        send(&observe, "traces", &trace(&id(5), short, json!({}))).await;
        let found = observe.prometheus.ask("query_exemplars", &range).await.expect("an answer");
        (!found.as_array()?.is_empty()).then_some(found)
    })
    .await;
    assert_eq!(exemplars[0]["exemplars"][0]["labels"]["trace_id"], id(5), "{exemplars}");
}

#[tokio::test]
async fn what_jaeger_cannot_take_survives_the_collector() {
    let Some(mut observe) = observe::builder().start().await else { return };
    observe.jaeger.process.stop().await;
    send(&observe, "traces", &trace(&id(1), Duration::from_millis(10), json!({}))).await;
    let own = observe.collector.own_metrics.clone();
    eventually("the trace waits in the queue", async || {
        let queued = exposition::sum(&exposition::read(&own).await?, "otelcol_exporter_queue_size", &[])?;
        (queued > 0.0).then_some(())
    })
    .await;
    observe.collector.process.kill();
    observe.collector.process.start_again().await;
    observe.jaeger.process.start_again().await;
    arrives(&observe, &id(1)).await;
}

#[tokio::test]
async fn a_collector_that_is_asked_to_end_sends_what_it_has() {
    let Some(mut observe) = observe::builder().variable("COLLECTOR_DECISION_WAIT", "10m").start().await else { return };
    send(&observe, "traces", &trace(&id(1), Duration::from_millis(10), json!({}))).await;
    observe.collector.process.stop().await;
    // What was decided on so late may be in the queue still.
    observe.collector.process.start_again().await;
    arrives(&observe, &id(1)).await;
}
