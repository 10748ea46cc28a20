//! `init` in processes of their own, since it is called once a process: each test runs this binary again.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::io::{Read as _, Write as _};
use std::process::{Command, Output};
use std::time::Duration;

use opentelemetry_proto::tonic::common::v1::AnyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use telemetry::{Batcher, Config, LogConfig, LogFormat, Slow, Span, SpanKind, semconv};
use testkit::otlp::Sink;
use tower::{Layer as _, ServiceExt as _};

/// Runs the test `inside` in a process with these variables.
fn child(scenario: &str, vars: &[(&str, &str)]) -> Output {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["inside", "--exact", "--nocapture", "--ignored"]).env("SCENARIO", scenario);
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("OTEL_") || name == "RUST_LOG") {
        command.env_remove(name);
    }
    let output = command.envs(vars.iter().copied()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output
}

fn json_lines(bytes: &[u8]) -> Vec<serde_json::Value> {
    let text = String::from_utf8(bytes.to_vec()).unwrap();
    text.lines().filter_map(|line| serde_json::from_str(&line[line.find('{')?..]).ok()).collect()
}

#[test]
#[ignore = "run by the other tests, in a process of its own"]
fn inside() {
    let scenario = std::env::var("SCENARIO").unwrap_or_default();
    // The shutdown must come to its end on a runtime of one thread, too.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(run(&scenario));
}

async fn run(scenario: &str) {
    let log = LogConfig { format: LogFormat::Json, ..LogConfig::default() };
    let config = Config { name: "user.rpc".to_owned(), batcher: Batcher::Stdout, log, ..Config::default() };
    let config = match scenario {
        "jaeger" => {
            let endpoint = Some("http://127.0.0.1:14268/api/traces".to_owned());
            Config { batcher: Batcher::Jaeger, endpoint, ..config }
        }
        "otlp" => Config { batcher: Batcher::OtlpGrpc, ..config },
        "disabled" => Config { disabled: true, ..config },
        "slow" => {
            let methods = [("shop.Service/Wait".to_owned(), Duration::from_secs(60).into())].into();
            let slow = Slow { after: Duration::from_millis(10), methods };
            Config { sampler: 0.0, slow, ..config }
        }
        _ => config,
    };
    let telemetry = telemetry::init(&config).unwrap();
    assert!(matches!(telemetry::init(&config), Err(telemetry::Error::Twice)));
    if scenario == "slow" {
        for path in ["/shop.Service/Buy", "/shop.Service/Wait"] {
            call(path).await;
        }
    } else if scenario == "panic" {
        let span = Span::start(SpanKind::Internal, "work");
        let _current = span.enter();
        std::panic::catch_unwind(|| panic!("hunter2")).unwrap_err();
    } else if scenario != "jaeger" {
        let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".parse().unwrap();
        let headers = [(semconv::TRACEPARENT.parse().unwrap(), parent)].into_iter().collect();
        let span = Span::start_under(&telemetry::extract(&headers), SpanKind::Internal, "work");
        span.run(async { tracing::info!(target: "users", id = 7, "registered") }).await;
        let mut sent = http::HeaderMap::new();
        telemetry::inject(span.context(), &mut sent);
        tracing::info!(target: "sent", traceparent = ?sent[semconv::TRACEPARENT]);
    }
    tracing::info!(target: "metrics", text = telemetry::metrics_text());
    telemetry.shutdown().await;
}

/// A call whose turn comes late, and whose handler asks the database.
async fn call(path: &str) {
    let handler = tower::service_fn(async |_: http::Request<()>| {
        tokio::time::sleep(Duration::from_millis(15)).await;
        telemetry::handling();
        let statement = Span::start(SpanKind::Client, "SELECT users");
        statement.run(tokio::time::sleep(Duration::from_millis(5))).await;
        drop(statement);
        let mut answer = http::Response::new(http_body_util::Empty::<&[u8]>::new());
        answer.headers_mut().insert("grpc-status", http::HeaderValue::from_static("0"));
        Ok::<_, std::convert::Infallible>(answer)
    });
    let methods = ["shop.Service/Buy", "shop.Service/Wait"];
    let service = telemetry::grpc::ServerLayer::new(methods).layer(handler);
    service.oneshot(http::Request::post(path).body(()).unwrap()).await.unwrap();
}

#[test]
fn a_slow_call_tells_where_its_time_went_though_its_trace_is_not_kept() {
    let output = child("slow", &[]);
    assert!(json_lines(&output.stdout).is_empty(), "no span is sampled");
    let logs = json_lines(&output.stderr);
    // For the other one a minute is not slow.
    let slow: Vec<_> = logs.iter().filter(|line| line["message"] == "slow call").collect();
    let [slow] = slow.as_slice() else { panic!("{logs:?}") };
    let fields = &slow["fields"];
    assert_eq!((&fields["call"], &fields["end"]), (&"shop.Service/Buy".into(), &"OK".into()));
    let millis = |text: &serde_json::Value| {
        let text = text.as_str().unwrap();
        text.strip_suffix("ms").unwrap_or_else(|| panic!("{fields}")).parse::<f64>().unwrap()
    };
    let (took, queue, handler) = (millis(&fields["took"]), millis(&fields["queue"]), millis(&fields["handler"]));
    assert!(queue >= 15.0 && handler >= 5.0 && took >= queue + handler - 0.1, "{fields}");
    assert!(fields["parts"].as_str().unwrap().starts_with("SELECT users "), "{fields}");
    assert_eq!(slow["trace_id"].as_str().unwrap().len(), 32);
}

/// The text of a value, as OTLP has it.
fn text(value: Option<&AnyValue>) -> &str {
    match value.and_then(|value| value.value.as_ref()) {
        Some(Value::StringValue(text)) => text,
        _ => "",
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn all_three_signals_go_to_one_collector_as_one_process() {
    let sink = Sink::start().await;
    let vars = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", &*sink.url()),
        ("OTEL_LOGS_EXPORTER", "otlp"),
        ("OTEL_METRICS_EXPORTER", "otlp"),
    ];
    let output = child("otlp", &vars);
    let received = sink.received();
    let resources = [
        received.spans.iter().map(|of| of.resource.clone()).next().unwrap(),
        received.logs.iter().map(|of| of.resource.clone()).next().unwrap(),
        received.metrics.iter().map(|of| of.resource.clone()).next().unwrap(),
    ]
    .map(|resource| {
        let mut attributes = resource.unwrap().attributes;
        attributes.sort_by(|one, other| one.key.cmp(&other.key));
        attributes
    });
    assert!(resources.iter().all(|attributes| *attributes == resources[0]), "{resources:#?}");
    let span = &received.spans[0].scope_spans[0].spans[0];
    let records: Vec<_> = received.logs.iter().flat_map(|of| &of.scope_logs).flat_map(|of| &of.log_records).collect();
    let registered = records.iter().find(|record| text(record.body.as_ref()) == "registered").unwrap();
    assert_eq!((&registered.trace_id, &registered.span_id), (&span.trace_id, &span.span_id));
    assert_eq!(registered.severity_text, "INFO");
    assert!(registered.time_unix_nano >= span.start_time_unix_nano, "{registered:?}");
    let id = registered.attributes.iter().find(|attribute| attribute.key == "id").unwrap();
    assert_eq!(id.value.as_ref().unwrap().value, Some(Value::IntValue(7)));
    // What is written and what is sent are the same lines.
    let written = json_lines(&output.stderr).iter().filter(|line| line["message"] == "registered").count();
    assert_eq!(written, 1);
    let names: Vec<_> = received
        .metrics
        .iter()
        .flat_map(|of| &of.scope_metrics)
        .flat_map(|of| &of.metrics)
        .map(|metric| metric.name.as_str())
        .collect();
    for metric in [telemetry::metric::SPANS_SENT, telemetry::metric::PROCESS_UPTIME, telemetry::metric::TOKIO_TASKS] {
        assert!(names.contains(&metric.name), "{names:?}");
    }
}

#[test]
fn all_signals_go_over_http_to_their_own_paths() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let paths = std::sync::Arc::new(std::sync::Mutex::new(std::collections::BTreeSet::new()));
    let seen = paths.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (mut stream, seen) = (stream.unwrap(), seen.clone());
            std::thread::spawn(move || {
                let mut text = [0; 65536];
                while let Ok(read @ 1..) = stream.read(&mut text) {
                    let line = String::from_utf8_lossy(&text[..read]).lines().next().unwrap_or_default().to_owned();
                    if line.starts_with("POST ") {
                        seen.lock().unwrap().insert(line);
                        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").unwrap();
                    }
                }
            });
        }
    });
    let vars = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.as_str()),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf"),
        ("OTEL_LOGS_EXPORTER", "otlp"),
        ("OTEL_METRICS_EXPORTER", "otlp"),
    ];
    child("otlp", &vars);
    let paths: Vec<_> = paths.lock().unwrap().iter().cloned().collect();
    assert_eq!(paths, ["POST /v1/logs HTTP/1.1", "POST /v1/metrics HTTP/1.1", "POST /v1/traces HTTP/1.1"]);
}

#[test]
fn nothing_waits_for_a_collector_that_takes_none_of_three() {
    // Its port is open, and nobody answers.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let vars = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.as_str()),
        ("OTEL_LOGS_EXPORTER", "otlp"),
        ("OTEL_METRICS_EXPORTER", "otlp"),
    ];
    let logs = json_lines(&child("otlp", &vars).stderr);
    let lost = |what: &str| {
        let line = logs.iter().find(|line| line["message"] == format!("some {what} of this process were lost"));
        line.unwrap_or_else(|| panic!("{what}: {logs:?}"))["fields"].clone()
    };
    assert_eq!(lost("spans"), serde_json::json!({ "dropped": 1, "sent": 0 }));
    assert!(lost("log records")["dropped"].as_u64().unwrap() >= 1);
}

fn line<'a>(lines: &'a [serde_json::Value], target: &str) -> &'a serde_json::Value {
    lines.iter().find(|line| line["target"] == target).unwrap_or_else(|| panic!("{target}: {lines:?}"))
}

#[test]
fn spans_logs_and_metrics_of_a_process_belong_together() {
    let output = child("plain", &[("OTEL_SERVICE_NAME", "renamed"), ("OTEL_RESOURCE_ATTRIBUTES", "region=eu")]);
    let spans = json_lines(&output.stdout);
    let resource = &spans[0]["resourceSpans"][0];
    let attributes = resource["resource"]["attributes"].to_string();
    for wanted in ["renamed", "region", "service.version", "service.instance.id", "process.pid", "telemetry.sdk.name"] {
        assert!(attributes.contains(wanted), "{attributes}");
    }
    assert_eq!(resource["scopeSpans"][0]["schemaUrl"], semconv::SCHEMA_URL);
    let span = &resource["scopeSpans"][0]["spans"][0];
    assert_eq!(span["traceId"], "4bf92f3577b34da6a3ce929d0e0e4736");
    let logs = json_lines(&output.stderr);
    let registered = line(&logs, "users");
    assert_eq!((&registered["service"], &registered["message"]), (&"renamed".into(), &"registered".into()));
    assert_eq!((&registered["trace_id"], &registered["span_id"]), (&span["traceId"], &span["spanId"]));
    let metrics = line(&logs, "metrics")["fields"]["text"].as_str().unwrap();
    assert!(metrics.contains("mall_telemetry_spans_sent_total 0"), "{metrics}");
    assert!(metrics.contains(r#"mall_telemetry_spans_dropped_total{reason="queue_full"} 0"#), "{metrics}");
    assert!(metrics.contains(r#"service_name="renamed""#), "{metrics}");
}

#[test]
fn a_disabled_process_makes_no_span_but_passes_the_trace_on() {
    for (scenario, vars) in [("disabled", [].as_slice()), ("plain", &[("OTEL_SDK_DISABLED", "true")])] {
        let output = child(scenario, vars);
        assert!(json_lines(&output.stdout).is_empty());
        let logs = json_lines(&output.stderr);
        assert_eq!(line(&logs, "users")["trace_id"], "4bf92f3577b34da6a3ce929d0e0e4736");
        let sent = line(&logs, "sent")["fields"]["traceparent"].as_str().unwrap();
        assert!(sent.contains("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"), "{sent}");
    }
}

#[test]
fn jaegers_old_endpoint_is_mapped_with_one_warning() {
    let logs = json_lines(&child("jaeger", &[]).stderr);
    let warnings: Vec<_> = logs.iter().filter(|line| line["level"] == "WARN").collect();
    assert_eq!(warnings.len(), 1, "{logs:?}");
    assert_eq!(warnings[0]["fields"]["endpoint"], "http://127.0.0.1:4317");
}

#[test]
fn a_collector_that_hangs_does_not_keep_the_process() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let logs = json_lines(&child("otlp", &[("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint)]).stderr);
    let lost: Vec<_> = logs.iter().filter(|line| line["level"] == "WARN").collect();
    assert_eq!(lost.len(), 1, "{logs:?}");
    assert_eq!(lost[0]["fields"], serde_json::json!({"dropped": 1, "sent": 0}));
}

#[test]
fn a_panic_is_a_log_line_without_its_message() {
    let output = child("panic", &[]);
    let logs = json_lines(&output.stderr);
    let panicked = logs.iter().find(|line| line["message"] == "panicked").unwrap();
    assert!(panicked["fields"]["location"].as_str().unwrap().contains("process.rs:"), "{panicked}");
    assert!(panicked["trace_id"].is_string(), "{panicked}");
    assert!(!String::from_utf8_lossy(&output.stderr).contains("hunter2"));
}

#[test]
fn rust_log_overrides_the_level() {
    let logs = json_lines(&child("plain", &[("RUST_LOG", "metrics=info")]).stderr);
    assert_eq!(logs.len(), 1, "{logs:?}");
}

#[test]
fn a_configuration_that_cannot_work_is_refused() {
    let outside = telemetry::init(&Config::default());
    assert!(matches!(outside, Err(telemetry::Error::Runtime)), "{outside:?}");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let _inside = runtime.enter();
    let queue = telemetry::Queue { size: 10, batch: 11, ..Default::default() };
    for (config, named) in [
        (Config { sampler: 1.5, ..Config::default() }, "telemetry.sampler"),
        (Config { sampler: f64::NAN, ..Config::default() }, "telemetry.sampler"),
        (Config { queue, ..Config::default() }, "telemetry.queue"),
        (Config { endpoint: Some("ftp://x".to_owned()), ..Config::default() }, "telemetry.endpoint"),
        (
            Config {
                batcher: Batcher::Zipkin,
                log: LogConfig { otlp: true, ..Default::default() },
                ..Config::default()
            },
            "telemetry.log.otlp",
        ),
        (
            Config { log: LogConfig { level: "inof".to_owned(), ..Default::default() }, ..Config::default() },
            "telemetry.log",
        ),
    ] {
        let error = telemetry::init(&config).unwrap_err().to_string();
        assert!(error.contains(named), "{error}");
    }
}
