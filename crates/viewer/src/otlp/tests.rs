use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::ArrayValue;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};

use super::*;

const ID: &str = "0102030405060708090a0b0c0d0e0f10";

fn json(span: &str) -> Vec<u8> {
    format!(r#"{{"resourceSpans":[{{"scopeSpans":[{{"spans":[{span}]}}]}}]}}"#).into_bytes()
}

fn valid() -> Span {
    Span { trace_id: vec![1; 16], span_id: vec![2; 8], name: "work".to_owned(), ..Default::default() }
}

fn protobuf(spans: Vec<Span>) -> Vec<u8> {
    let scope_spans = vec![ScopeSpans { spans, ..Default::default() }];
    let resource_spans = vec![ResourceSpans { scope_spans, ..Default::default() }];
    ExportTraceServiceRequest { resource_spans }.encode_to_vec()
}

#[test]
fn otlp_json_is_read_in_its_own_forms() {
    let message = format!(
        r#"{{"resourceSpans": [{{
            "scopeSpans": [{{
                "spans": [{{
                    "traceId": "{}", "spanId": "EEE19B7EC3C1B174", "parentSpanId": "eee19b7ec3c1b173",
                    "name": "I'm a server span", "kind": 2,
                    "startTimeUnixNano": "1544712660000000000", "endTimeUnixNano": 1544712661000000000,
                    "attributes": [{{"key": "n", "value": {{"intValue": "7"}}}}, {{"key": "n", "value": {{"intValue": 7}}}}],
                    "unknown": {{"x": [1]}}
                }}],
                "scope": {{"name": "lib"}}
            }}],
            "resource": {{"attributes": [{{"key": "service.name", "value": {{"stringValue": "my.service"}}}}]}}
        }}]}}"#,
        ID.to_uppercase()
    );
    let batch = Batch::from_json(message.as_bytes()).unwrap();
    let [span] = batch.spans.as_slice() else { panic!("one span") };
    assert_eq!(span.trace.to_string(), ID);
    assert_eq!((span.id, span.parent), (0xeee1_9b7e_c3c1_b174, 0xeee1_9b7e_c3c1_b173));
    assert_eq!((span.start, span.end), (1_544_712_660_000_000_000, 1_544_712_661_000_000_000));
    assert_eq!((batch.names.as_str(), span.kind), ("I'm a server span", 2));
    assert_eq!(batch.origins.resources[0].service, "my.service");
    assert_eq!(batch.origins.scopes[0].decode().name, "lib");
    let rest = Span::decode(batch.bodies.as_slice()).unwrap();
    assert_eq!(rest.attributes[0], rest.attributes[1]);
}

#[test]
fn both_encodings_give_the_same() {
    let from_json = Batch::from_json(&json(&format!(r#"{{"traceId":"{ID}","spanId":"0000000000000001","name":"x"}}"#)));
    let span = Span {
        trace_id: (1..=16).collect(),
        span_id: 1u64.to_be_bytes().to_vec(),
        name: "x".to_owned(),
        ..Default::default()
    };
    let from_protobuf = Batch::from_protobuf(&protobuf(vec![span]));
    assert_eq!(format!("{:?}", from_json.unwrap()), format!("{:?}", from_protobuf.unwrap()));
}

#[test]
fn bad_json_is_refused_with_its_place() {
    let span = |fields: &str| json(&format!(r#"{{"traceId":"{ID}","spanId":"0000000000000001"{fields}}}"#));
    let deep = format!("{}{}", r#"{"arrayValue":{"values":["#.repeat(200), "]}}".repeat(200));
    for (message, expected) in [
        (b"".to_vec(), "EOF"),
        (b"{".to_vec(), "EOF"),
        (b"[]".to_vec(), "expected an object"),
        (b"\xff\xfe".to_vec(), "expected value"),
        (br#"{"resourceSpans":{}}"#.to_vec(), "invalid type"),
        (br#"{"resourceSpans":[7]}"#.to_vec(), "resourceSpans[0]: expected an object"),
        (json("null"), "resourceSpans[0].scopeSpans[0].spans[0]: expected an object"),
        (json("{}"), "resourceSpans[0].scopeSpans[0].spans[0]: a trace id has 16 bytes, not 0"),
        (json(r#"{"traceId":"zz"}"#), "spans[0]: "),
        (json(r#"{"traceId":"00"}"#), "a trace id has 16 bytes, not 1"),
        (json(&format!(r#"{{"traceId":"{ID}","spanId":"01"}}"#)), "a span id has 8 bytes, not 1"),
        (json(&format!(r#"{{"traceId":"{ID}","spanId":"0000000000000000"}}"#)), "all zeros"),
        (json(&format!(r#"{{"traceId":"{}","spanId":"0000000000000001"}}"#, "0".repeat(32))), "all zeros"),
        (span(r#","parentSpanId":"01""#), "a span id has 8 bytes, not 1"),
        (span(r#","startTimeUnixNano":"-1""#), "invalid digit"),
        (span(r#","kind":"server""#), "invalid type"),
        (span(r#","name":7"#), "invalid type"),
        (span(&format!(r#","attributes":[{{"key":"deep","value":{deep}}}]"#)), "recursion limit"),
    ] {
        let error = Batch::from_json(&message).unwrap_err().to_string();
        assert!(error.contains(expected), "{}: {error}", String::from_utf8_lossy(&message[..message.len().min(200)]));
    }
}

#[test]
fn bad_protobuf_is_refused() {
    let mut deep = AnyValue::default();
    for _ in 0..200 {
        deep = AnyValue { value: Some(Value::ArrayValue(ArrayValue { values: vec![deep] })) };
    }
    let deep = KeyValue { key: "deep".to_owned(), value: Some(deep), ..Default::default() };
    for (message, expected) in [
        (b"\xff".to_vec(), "no protobuf"),
        (b"{}".to_vec(), "no protobuf"),
        (vec![0x0a, 0xff, 0xff, 0xff, 0xff, 0x0f], "no protobuf"),
        (vec![0x0a, 2, 0x12, 9], "no protobuf"),
        (protobuf(vec![valid(), Span { trace_id: vec![1; 15], ..valid() }]), "a trace id has 16 bytes, not 15"),
        (protobuf(vec![Span { span_id: vec![1; 9], ..valid() }]), "a span id has 8 bytes, not 9"),
        (protobuf(vec![Span { parent_span_id: vec![1], ..valid() }]), "a span id has 8 bytes, not 1"),
        (protobuf(vec![Span { trace_id: vec![0; 16], ..valid() }]), "all zeros"),
        (protobuf(vec![Span { attributes: vec![deep], ..valid() }]), "recursion limit"),
        // ResourceSpans { ScopeSpans { Span { name: not UTF-8 } } }
        (vec![0x0a, 7, 0x12, 5, 0x12, 3, 0x2a, 1, 0xff], "UTF-8"),
    ] {
        let error = Batch::from_protobuf(&message).unwrap_err().to_string();
        assert!(error.contains(expected), "{message:?}: {error}");
    }
}

#[test]
fn an_empty_message_is_no_error() {
    assert!(Batch::from_protobuf(b"").unwrap().spans.is_empty());
    assert!(Batch::from_json(b"{}").unwrap().spans.is_empty());
    assert!(Batch::from_json(br#"{"resourceSpans":[{"scopeSpans":[{}]},{}]}"#).unwrap().spans.is_empty());
}

#[test]
fn what_is_too_large_is_refused_alone() {
    let large = Span { name: "x".repeat(MAX_SPAN), ..valid() };
    let batch = Batch::from_protobuf(&protobuf(vec![valid(), large, valid()])).unwrap();
    assert_eq!((batch.spans.len(), batch.refused), (2, 1));
    let attribute = r#"{"key":"k","value":{"stringValue":"v"}},"#.repeat(MAX_ORIGIN / 32);
    let attribute = attribute.trim_end_matches(',');
    let message = format!(r#"{{"resourceSpans":[{{"resource":{{"attributes":[{attribute}]}}}}]}}"#);
    let error = Batch::from_json(message.as_bytes()).unwrap_err().to_string();
    assert!(error.contains("larger than"), "{error}");
}

#[test]
fn a_message_of_many_empty_elements_takes_no_more_memory_than_it_has_bytes() {
    // A million empty ResourceSpans, then a ResourceSpans with a million empty ScopeSpans.
    let mut message = [0x0a, 0].repeat(1_000_000);
    let scopes = [0x12, 0].repeat(1_000_000);
    message.push(0x0a);
    prost::encode_length_delimiter(scopes.len(), &mut message).unwrap();
    message.extend(scopes);
    let batch = Batch::from_protobuf(&message).unwrap();
    assert!(batch.spans.is_empty());
    assert!(batch.origins.resources.len() <= 1 && batch.origins.scopes.len() <= 1);
}

#[test]
fn a_resource_without_a_name_gets_one() {
    let named = |value: Option<Value>| {
        let value = Some(AnyValue { value });
        let attributes = vec![KeyValue { key: "service.name".to_owned(), value, ..Default::default() }];
        service_name(&mut Resource { attributes, ..Default::default() })
    };
    assert_eq!(named(Some(Value::StringValue("shop".to_owned()))), "shop");
    assert_eq!(named(Some(Value::StringValue(String::new()))), "empty-service-name");
    assert_eq!(named(Some(Value::IntValue(1))), "service-name-wrong-type");
    assert_eq!(named(None), "service-name-wrong-type");
    let mut nameless = Resource::default();
    assert_eq!(service_name(&mut nameless), "missing-service-name");
    assert_eq!(nameless.attributes.len(), 1);
}
