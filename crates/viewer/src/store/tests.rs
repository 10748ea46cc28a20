use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::span::Event;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};
use prost::Message as _;

use super::*;

fn attribute(key: &str, value: Value) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(AnyValue { value: Some(value) }), ..Default::default() }
}

fn string(key: &str, value: &str) -> KeyValue {
    attribute(key, Value::StringValue(value.to_owned()))
}

/// A span that starts at `start` microseconds and takes 10.
fn span(trace: u128, id: u64, parent: u64, name: &str, start: u64) -> Span {
    Span {
        trace_id: trace.to_be_bytes().to_vec(),
        span_id: id.to_be_bytes().to_vec(),
        parent_span_id: if parent == 0 { Vec::new() } else { parent.to_be_bytes().to_vec() },
        name: name.to_owned(),
        kind: 2,
        start_time_unix_nano: start * 1_000,
        end_time_unix_nano: (start + 10) * 1_000,
        ..Default::default()
    }
}

fn batch(service: &str, spans: Vec<Span>) -> Batch {
    let resource = Resource { attributes: vec![string("service.name", service)], ..Default::default() };
    let scope = InstrumentationScope { name: "test".to_owned(), ..Default::default() };
    let scope_spans = vec![ScopeSpans { scope: Some(scope), spans, ..Default::default() }];
    let resource_spans = vec![ResourceSpans { resource: Some(resource), scope_spans, ..Default::default() }];
    Batch::from_protobuf(&ExportTraceServiceRequest { resource_spans }.encode_to_vec()).unwrap()
}

fn id(trace: u128) -> TraceId {
    TraceId(trace.to_be_bytes())
}

fn padded(mut span: Span, bytes: usize) -> Span {
    span.attributes.push(string("padding", &"x".repeat(bytes)));
    span
}

fn everything() -> Query {
    Query { service: None, operation: None, tags: Vec::new(), start: 0..=u64::MAX, duration: 0..=u64::MAX, limit: 1000 }
}

fn found(store: &Store, query: &Query) -> Vec<u128> {
    store.search(query).iter().map(|trace| u128::from_be_bytes(trace.id.0)).collect()
}

#[test]
fn a_span_comes_back_as_it_went_in() {
    let mut original = span(7, 1, 2, "work", 100);
    original.attributes = vec![string("a", "b"), attribute("n", Value::IntValue(-1))];
    original.trace_state = "x=y".to_owned();
    original.flags = 1;
    original.events = vec![Event { name: "e".to_owned(), time_unix_nano: 5, ..Default::default() }];
    original.status = Some(Status { message: "bad".to_owned(), code: 2 });
    let mut store = Store::new(SMALLEST);
    store.insert(&batch("s", vec![original.clone()]));
    let trace = store.trace(id(7)).unwrap();
    assert_eq!(trace.spans.len(), 1);
    assert_eq!(trace.spans[0].decode(trace.id), original);
    assert_eq!(trace.spans[0].resource.service, "s");
    assert_eq!(trace.spans[0].scope.decode().name, "test");
    assert!(store.trace(id(8)).is_none());
}

#[test]
fn an_answer_by_ids_is_bounded() {
    let mut store = Store::new(SMALLEST);
    for trace in 1..=3 {
        store.insert(&batch("s", vec![padded(span(trace, 1, 0, "large", 1), SMALLEST / 20)]));
    }
    let answers = store.traces(&[id(1), id(9), id(2), id(3)]);
    let answers: Vec<_> = answers.into_iter().map(|answer| answer.map(|trace| trace.id)).collect();
    let too_large = "too large for one answer with those before it";
    assert_eq!(answers, [Ok(id(1)), Err((id(9), "trace not found")), Ok(id(2)), Err((id(3), too_large))]);
}

#[test]
fn spans_of_a_trace_come_together_in_the_order_of_arrival_and_once() {
    let mut store = Store::new(SMALLEST);
    store.insert(&batch("a", vec![span(1, 1, 0, "root", 1), span(2, 9, 0, "other", 1)]));
    store.insert(&batch("b", vec![span(1, 2, 1, "child", 2)]));
    store.insert(&batch("b", vec![span(1, 2, 1, "child", 2), span(1, 3, 1, "child", 2)]));
    let trace = store.trace(id(1)).unwrap();
    assert_eq!(trace.spans.iter().map(|span| span.id).collect::<Vec<_>>(), [1, 2, 3]);
}

#[test]
fn whole_traces_go_oldest_first_and_memory_stays_within_its_limit() {
    let limit = 2 << 20;
    let mut store = Store::new(limit);
    let count = 10_000;
    for trace in 1..=count {
        // Each trace's second span comes when the next trace has begun.
        let late = padded(span(trace - 1, 2, 1, "second", 1), 400);
        let spans = if trace == 1 { vec![] } else { vec![late] };
        store.insert(&batch("s", spans));
        store.insert(&batch("s", vec![padded(span(trace, 1, 0, "first", 1), 400)]));
        assert!(store.bytes() <= limit, "{} bytes after {trace} traces", store.bytes());
    }
    let kept: Vec<_> = (1..=count).filter(|trace| store.trace(id(*trace)).is_some()).collect();
    let oldest = kept[0];
    assert_eq!(kept, (oldest..=count).collect::<Vec<_>>(), "only the newest are kept, without a gap");
    for trace in oldest..count {
        let spans = store.trace(id(trace)).unwrap().spans;
        assert_eq!(spans.iter().map(|span| span.id).collect::<Vec<_>>(), [1, 2], "trace {trace} is whole");
    }
    assert!(kept.len() * 800 > limit / 2, "most of the memory is used for spans, but {} traces are kept", kept.len());
    assert_eq!(store.stats().evicted.load(Relaxed), (oldest - 1) as u64);
    let found = found(&store, &Query { limit: usize::MAX, ..everything() });
    assert!(
        found.len() > kept.len() / 16 && found.len() <= kept.len() / 4,
        "an answer is as large as the largest trace"
    );
    assert!(found.iter().rev().eq(&kept[kept.len() - found.len()..]), "the newest are found");
}

#[test]
fn unlike_names_and_resources_are_part_of_the_memory() {
    let limit = 1 << 20;
    let mut store = Store::new(limit);
    for i in 0..5_000 {
        let name = format!("{i:0100}");
        store.insert(&batch(&name, vec![span(i + 1, 1, 0, &name, 1)]));
        assert!(store.bytes() <= limit);
    }
    let services = store.services();
    assert!(services.len() > 500 && services.len() < 5_000, "{} services", services.len());
    assert!(services.contains(&format!("{:0100}", 4_999)), "the newest is there");
    assert!(!services.contains(&format!("{:0100}", 0)), "the oldest is forgotten");
}

#[test]
fn a_trace_that_is_too_large_is_cut_off_and_counted() {
    let limit = 1 << 20;
    let mut store = Store::new(limit);
    store.insert(&batch("s", vec![span(1, 1, 0, "small", 1)]));
    let mut cut = 0;
    for i in 1..=1_000 {
        cut += store.insert(&batch("s", vec![padded(span(2, i, 0, "large", 1), 1_000)]));
    }
    let trace = store.trace(id(2)).unwrap();
    assert!(trace.spans.len() > 100 && trace.spans.len() < 130, "{} spans are an eighth", trace.spans.len());
    assert_eq!(trace.spans.len() as u64 + cut, 1_000);
    assert_eq!(u64::from(trace.cut), cut);
    assert_eq!(store.stats().cut.load(Relaxed), cut);
    assert!(store.trace(id(1)).is_some(), "other traces do not suffer");
    assert_eq!(store.insert(&batch("s", vec![padded(span(3, 1, 0, "one", 1), limit / 8)])), 1);
    assert!(store.trace(id(3)).is_none());
}

#[test]
fn a_span_larger_than_a_segment_is_stored() {
    let mut store = Store::new(SMALLEST);
    for i in 1..=40 {
        store.insert(&batch("s", vec![padded(span(i, 1, 0, "large", 1), 100_000)]));
        assert!(store.bytes() <= SMALLEST);
        assert!(store.trace(id(i)).is_some());
    }
}

/// Two services, three traces.
fn example() -> Store {
    let mut store = Store::new(SMALLEST);
    let mut failed = span(1, 12, 11, "GET /", 1_000);
    failed.attributes = vec![string("color", "red"), attribute("size", Value::IntValue(42))];
    failed.status = Some(Status { message: "no such thing".to_owned(), code: 2 });
    let mut slow = span(2, 21, 0, "GET /", 2_000);
    slow.end_time_unix_nano = slow.start_time_unix_nano + 5_000_000;
    slow.attributes = vec![string("color", "blue"), attribute("fast", Value::BoolValue(false))];
    slow.events =
        vec![Event { name: "retry".to_owned(), attributes: vec![string("cause", "timeout")], ..Default::default() }];
    let mut other = span(3, 31, 0, "POST /", 3_000);
    other.kind = 3;
    other.attributes = vec![attribute("ratio", Value::DoubleValue(0.5))];
    other.status = Some(Status { message: String::new(), code: 1 });
    store.insert(&batch("api", vec![span(1, 11, 0, "root", 900)]));
    store.insert(&batch("rpc", vec![failed, slow]));
    store.insert(&batch("api", vec![other]));
    store
}

#[test]
fn every_filter_finds_what_it_should() {
    let store = example();
    let tagged = |tags: &[(&str, &str)]| Query {
        tags: tags.iter().map(|(key, value)| Tag { key: (*key).to_owned(), value: (*value).to_owned() }).collect(),
        ..everything()
    };
    let service = |name: &str| Query { service: Some(name.to_owned()), ..everything() };
    let cases: Vec<(&str, Query, &[u128])> = vec![
        ("everything, newest first", everything(), &[3, 2, 1]),
        ("a limit", Query { limit: 2, ..everything() }, &[3, 2]),
        ("a service", service("rpc"), &[2, 1]),
        ("a service of some spans", service("api"), &[3, 1]),
        ("a service that is not there", service("ap"), &[]),
        ("an operation", Query { operation: Some("GET /".to_owned()), ..everything() }, &[2, 1]),
        ("an operation of another service", Query { operation: Some("GET /".to_owned()), ..service("api") }, &[]),
        ("started late enough", Query { start: 2_000_000..=u64::MAX, ..everything() }, &[3, 2]),
        ("started early enough", Query { start: 0..=999_999, ..everything() }, &[1]),
        ("started in a gap within a trace", Query { start: 950_000..=960_000, ..everything() }, &[]),
        ("long enough", Query { duration: 1_000_000..=u64::MAX, ..everything() }, &[2]),
        ("short enough", Query { duration: 0..=10_000, ..everything() }, &[3, 1]),
        ("text", tagged(&[("color", "red")]), &[1]),
        ("other text", tagged(&[("color", "re")]), &[]),
        ("a number", tagged(&[("size", "42")]), &[1]),
        ("a fraction", tagged(&[("ratio", "0.5")]), &[3]),
        ("a truth", tagged(&[("fast", "false")]), &[2]),
        ("two tags of one span", tagged(&[("color", "red"), ("size", "42")]), &[1]),
        ("two tags of two spans", tagged(&[("color", "blue"), ("size", "42")]), &[]),
        ("a resource", tagged(&[("service.name", "rpc"), ("color", "red")]), &[1]),
        ("a scope", tagged(&[("otel.scope.name", "test")]), &[3, 2, 1]),
        ("a kind", tagged(&[("span.kind", "client")]), &[3]),
        ("an error", tagged(&[("error", "true")]), &[1]),
        ("no error", tagged(&[("error", "false"), ("color", "blue")]), &[2]),
        ("a status", tagged(&[("otel.status_code", "OK")]), &[3]),
        ("a status text", tagged(&[("otel.status_description", "no such thing")]), &[1]),
        ("an event", tagged(&[("event", "retry")]), &[2]),
        ("an event's attribute", tagged(&[("cause", "timeout")]), &[2]),
        (
            "all at once",
            Query {
                service: Some("rpc".to_owned()),
                operation: Some("GET /".to_owned()),
                start: 1_000_000..=1_000_000,
                duration: 10_000..=10_000,
                limit: 1,
                ..tagged(&[("color", "red"), ("error", "true"), ("span.kind", "server")])
            },
            &[1],
        ),
    ];
    for (name, query, expected) in cases {
        assert_eq!(found(&store, &query), expected, "{name}");
    }
}

#[test]
fn services_operations_and_dependencies_are_those_of_every_span() {
    let store = example();
    assert_eq!(store.services().into_iter().collect::<Vec<_>>(), ["api", "rpc"]);
    let operations: Vec<_> = store.operations("api").into_iter().collect();
    assert_eq!(operations, [("POST /".to_owned(), 3), ("root".to_owned(), 2)]);
    assert!(store.operations("nobody").is_empty());
    let call = (("api".to_owned(), "rpc".to_owned()), 1);
    assert_eq!(store.dependencies(&(0..=u64::MAX)).into_iter().collect::<Vec<_>>(), [call]);
    assert!(store.dependencies(&(1_000_000..=u64::MAX)).is_empty());
}

#[test]
fn a_span_that_came_twice_is_one_call() {
    let mut store = Store::new(SMALLEST);
    store.insert(&batch("api", vec![span(1, 1, 0, "root", 0)]));
    for _ in 0..2 {
        store.insert(&batch("rpc", vec![span(1, 2, 1, "work", 0)]));
    }
    assert_eq!(store.dependencies(&(0..=u64::MAX)).into_values().collect::<Vec<_>>(), [1]);
}
