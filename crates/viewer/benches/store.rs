//! The viewer's budgets: spans per second on one core, the time of a search, and memory; one line per figure.

#![expect(clippy::print_stdout, reason = "its output is its purpose")]

use std::hint::black_box;
use std::time::{Duration, Instant};

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::Message as _;
use viewer::measure::Measured;

const LIMIT: usize = 64 << 20;
const SPANS: u64 = 1_000_000;
const SPANS_PER_MESSAGE: u64 = 512;
const SPANS_PER_TRACE: u64 = 5;
/// 2026-01-01, in nanoseconds since 1970.
const BEGINNING: u64 = 1_767_225_600_000_000_000;

fn main() {
    memory_and_speed();
    search();
}

/// A million spans into a store that holds a fifth of them; one thread does all of it.
fn memory_and_speed() {
    let before = resident();
    let mut store = Measured::new(LIMIT);
    let mut busy = Duration::ZERO;
    let mut sent = 0;
    while sent < SPANS {
        let message = message(sent, SPANS_PER_MESSAGE);
        let start = Instant::now();
        assert!(store.ingest(black_box(&message)));
        busy += start.elapsed();
        sent += SPANS_PER_MESSAGE;
    }
    let growth = resident().saturating_sub(before);
    println!(
        "viewer ingest                {:>10.0} spans/s on one core (budget: at least 50000)",
        sent as f64 / busy.as_secs_f64()
    );
    println!(
        "viewer memory                {:>10.1} % of the limit of {} MiB after {sent} spans, {:.1} MiB by its own account (budget: at most 120)",
        growth as f64 * 100.0 / LIMIT as f64,
        LIMIT >> 20,
        store.bytes() as f64 / f64::from(1 << 20),
    );
}

/// The slowest of several kinds of search over 20,000 traces, each from its URL to its answer.
fn search() {
    let mut store = Measured::new(LIMIT);
    for number in 0..20_000 {
        assert!(store.ingest(&message(number * SPANS_PER_TRACE, SPANS_PER_TRACE)));
    }
    assert_eq!(store.traces(), 20_000);
    let range = format!("start={}&end={}", BEGINNING / 1_000, BEGINNING / 1_000 + 3_600_000_000);
    for (name, question) in [
        ("the newest 20", "service=user.api&limit=20"),
        ("the newest 1500", "service=user.api&limit=1500"),
        ("an operation that is not there", "service=user.api&operation=none"),
        ("a tag that is not there", "service=user.rpc&tag=http.route:none"),
        ("a number that is not there", "service=user.rpc&tag=http.response.status_code:999"),
        (
            "four tags, one not there",
            "service=user.rpc&tag=error:false&tag=span.kind:server&tag=server.port:9000&tag=none:x",
        ),
        ("a duration that is not there", "service=user.rpc&minDuration=1h"),
    ] {
        let url = format!("/api/traces?{range}&{question}");
        let mut times: Vec<_> = (0..11)
            .map(|_| {
                let start = Instant::now();
                black_box(store.search(&url).expect("a valid search"));
                start.elapsed()
            })
            .collect();
        times.sort_unstable();
        let (median, bytes) = (times[times.len() / 2].as_secs_f64() * 1e3, store.search(&url).unwrap_or(0));
        println!(
            "viewer search                {median:>10.1} ms for {name} of 20000 traces, {bytes} bytes (budget: at most 50)"
        );
    }
}

/// The memory of this process in bytes.
fn resident() -> usize {
    let status = procfs::process::Process::myself().and_then(|process| process.status());
    status.ok().and_then(|status| status.vmrss).map_or(0, |kib| kib as usize * 1024)
}

/// An OTLP message with spans as mall's own services make them.
fn message(first: u64, count: u64) -> Vec<u8> {
    let resource_spans = ["user.api", "user.rpc"].map(|service| {
        let of_service =
            (first..first + count).filter(|number| (service == "user.api") == (number % SPANS_PER_TRACE < 2));
        let scope = InstrumentationScope { name: "mall".to_owned(), ..Default::default() };
        let scope_spans =
            vec![ScopeSpans { scope: Some(scope), spans: of_service.map(span).collect(), ..Default::default() }];
        let attributes = vec![
            text("service.name", service),
            text("service.version", "0.1.0"),
            text("service.instance.id", "6a4c2e0e-5b0f-4a2e-9f0f-6a5a3c0b8f11"),
            text("telemetry.sdk.language", "rust"),
            text("telemetry.sdk.name", "opentelemetry"),
            text("telemetry.sdk.version", "0.33.1"),
        ];
        let resource = Some(Resource { attributes, ..Default::default() });
        ResourceSpans { resource, scope_spans, ..Default::default() }
    });
    ExportTraceServiceRequest { resource_spans: resource_spans.into() }.encode_to_vec()
}

fn span(number: u64) -> Span {
    let (trace, place) = (number / SPANS_PER_TRACE, number % SPANS_PER_TRACE);
    // Spread over the bits as random ids are.
    let id = |number: u64| (number + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes();
    let start = BEGINNING + trace * 100_000 + place * 50_000;
    let (name, kind, attributes) = match place {
        0 => ("POST /api/user/userinfo", 2, http()),
        1 => ("mall.user.v1.UserService/UserInfo", 3, grpc()),
        2 => ("mall.user.v1.UserService/UserInfo", 2, grpc()),
        _ => ("SELECT users", 3, database()),
    };
    Span {
        trace_id: [id(trace), id(!trace)].concat(),
        span_id: id(number).to_vec(),
        parent_span_id: if place == 0 { Vec::new() } else { id(number - 1).to_vec() },
        name: name.to_owned(),
        kind,
        start_time_unix_nano: start,
        end_time_unix_nano: start + 1_000_000 - place * 100_000,
        attributes,
        ..Default::default()
    }
}

fn http() -> Vec<KeyValue> {
    vec![
        text("http.request.method", "POST"),
        text("http.route", "/api/user/userinfo"),
        text("url.path", "/api/user/userinfo"),
        text("url.scheme", "http"),
        text("user_agent.original", "curl/8.14.1"),
        text("network.protocol.version", "1.1"),
        int("http.response.status_code", 200),
    ]
}

fn grpc() -> Vec<KeyValue> {
    vec![
        text("rpc.system.name", "grpc"),
        text("rpc.method", "mall.user.v1.UserService/UserInfo"),
        text("rpc.response.status_code", "OK"),
        text("server.address", "127.0.0.1"),
        int("server.port", 9000),
    ]
}

fn database() -> Vec<KeyValue> {
    vec![
        text("db.system.name", "sqlite"),
        text("db.query.text", "SELECT id, name, gender, mobile, role, created_at FROM users WHERE id = ?"),
        text("db.operation.name", "SELECT"),
        int("db.response.returned_rows", 1),
    ]
}

fn text(key: &str, value: &str) -> KeyValue {
    attribute(key, Value::StringValue(value.to_owned()))
}

fn int(key: &str, value: i64) -> KeyValue {
    attribute(key, Value::IntValue(value))
}

fn attribute(key: &str, value: Value) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(AnyValue { value: Some(value) }), ..Default::default() }
}
