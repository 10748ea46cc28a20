//! What is read from headers and written into them.

use ::http::HeaderValue;

use super::*;

const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in pairs {
        headers.append(*name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
    }
    headers
}

fn parent(context: &Context) -> SpanContext {
    context.span().span_context().clone()
}

#[test]
fn a_well_formed_parent_is_continued() {
    for (value, sampled) in [
        (PARENT, true),
        ("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00", false),
        ("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-ff", true),
        ("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-02", false),
        ("cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", true),
        ("cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-what-comes-later", true),
    ] {
        let parent = parent(&extract(&headers(&[("traceparent", value)])));
        assert_eq!(parent.trace_id().to_string(), "4bf92f3577b34da6a3ce929d0e0e4736", "{value}");
        assert_eq!(parent.span_id().to_string(), "00f067aa0ba902b7", "{value}");
        assert_eq!((parent.is_sampled(), parent.is_remote()), (sampled, true), "{value}");
    }
}

#[test]
fn a_malformed_parent_is_ignored() {
    for value in [
        "",
        "-",
        "00",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-1",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-001",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01 ",
        " 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-zz",
        "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00F067AA0BA902B7-01",
        "00-+bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
        "00-4bf92f3577b34da6a3ce929d0e0e473-00f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e47366-00f067aa0ba902b7-01",
        "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        "0-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        "zz-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        "cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01.later",
        "00_4bf92f3577b34da6a3ce929d0e0e4736_00f067aa0ba902b7_01",
        "\u{e9}\u{e9}-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
    ] {
        assert!(!parent(&extract(&headers(&[("traceparent", value)]))).is_valid(), "{value}");
    }
    assert!(!parent(&extract(&headers(&[("traceparent", PARENT), ("traceparent", PARENT)]))).is_valid());
}

#[test]
fn what_was_extracted_is_injected() {
    let given = [
        ("traceparent", PARENT),
        ("tracestate", "congo=t61rcWkgMzE"),
        ("tracestate", "rojo=00f067aa0ba902b7"),
        ("baggage", "tenant=a%20b%2Cc;ttl=60"),
        ("baggage", "share=50%25=half"),
    ];
    let mut sent = headers(&[("traceparent", "stale"), ("baggage", "stale=1")]);
    inject(&extract(&headers(&given)), &mut sent);
    assert_eq!(sent["traceparent"], PARENT);
    assert_eq!(sent["tracestate"], "congo=t61rcWkgMzE,rojo=00f067aa0ba902b7");
    let again = extract(&sent);
    assert_eq!(again.baggage().get("tenant").unwrap().as_str(), "a b,c");
    assert_eq!(again.baggage().get("share").unwrap().as_str(), "50%=half");
    assert_eq!(again.baggage().get_with_metadata("tenant").unwrap().1.as_str(), "ttl=60");
    assert_eq!(again.baggage().len(), 2);
}

#[test]
fn nothing_is_injected_where_nothing_is() {
    let mut sent = headers(&[("traceparent", "stale"), ("tracestate", "stale=1"), ("baggage", "stale=1")]);
    inject(&Context::new(), &mut sent);
    assert!(sent.is_empty());
}

#[test]
fn a_bad_state_does_not_cost_the_trace() {
    for state in ["no pair", "UPPER=1", &format!("a={}", "x".repeat(600)), "\u{e9}=1"] {
        let context = extract(&headers(&[("traceparent", PARENT), ("tracestate", state)]));
        assert!(parent(&context).is_valid(), "{state}");
        assert_eq!(parent(&context).trace_state().header(), "", "{state}");
    }
}

#[test]
fn hostile_baggage_is_bounded() {
    let many: Vec<_> = (0..500).map(|n| format!("k{n}=v")).collect();
    assert_eq!(extract(&headers(&[("baggage", &many.join(","))])).baggage().len(), 64);
    let long = format!("k={}", "v".repeat(9000));
    assert_eq!(extract(&headers(&[("baggage", &long)])).baggage().len(), 0);
    for bad in [",,,", "=", "=v", "novalue", "k=%ff", "k=\u{e9}", ";", "k y=v"] {
        assert!(extract(&headers(&[("baggage", bad)])).baggage().is_empty(), "{bad}");
    }
    // A line break that was encoded comes out encoded again: no header is split.
    let mut sent = HeaderMap::new();
    inject(&extract(&headers(&[("baggage", "k=a%0d%0aevil: 1")])), &mut sent);
    assert_eq!(sent["baggage"], "k=a%0D%0Aevil:%201");
    // It does not grow on its way.
    for (value, passed_on) in [("=", true), ("a b", false)] {
        let long = format!("k={}", value.repeat(8190 / value.len()));
        inject(&extract(&headers(&[("baggage", &long)])), &mut sent);
        assert_eq!(sent.get("baggage").map(HeaderValue::as_bytes), passed_on.then_some(long.as_bytes()));
    }
}

/// What one form writes of a span, and what it reads of that again.
fn through(propagator: Propagator, sampled: bool) -> (HeaderMap, Context) {
    let span = remote(0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736, 0x00f0_67aa_0ba9_02b7, sampled).unwrap();
    let context = Context::new().with_remote_span_context(span);
    let context = context.with_baggage([opentelemetry::KeyValue::new("tenant", "a b")]);
    let mut sent = HeaderMap::new();
    inject_by(&[propagator], &context, &mut sent);
    let read = extract_by(&[propagator], &sent);
    (sent, read)
}

#[test]
fn every_form_is_written_as_its_standard_has_it_and_read_again() {
    let (trace, span) = ("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7");
    for (propagator, sampled, wanted) in [
        (Propagator::B3, true, vec![("b3", format!("{trace}-{span}-1"))]),
        (Propagator::B3, false, vec![("b3", format!("{trace}-{span}-0"))]),
        (
            Propagator::B3Multi,
            true,
            vec![
                ("x-b3-traceid", trace.to_owned()),
                ("x-b3-spanid", span.to_owned()),
                ("x-b3-sampled", "1".to_owned()),
            ],
        ),
        (
            Propagator::Jaeger,
            true,
            vec![("uber-trace-id", format!("{trace}:{span}:0:1")), ("uberctx-tenant", "a%20b".to_owned())],
        ),
        (
            Propagator::Jaeger,
            false,
            vec![("uber-trace-id", format!("{trace}:{span}:0:0")), ("uberctx-tenant", "a%20b".to_owned())],
        ),
        (Propagator::TraceContext, true, vec![("traceparent", format!("00-{trace}-{span}-01"))]),
    ] {
        let (sent, read) = through(propagator, sampled);
        let sent: Vec<_> =
            sent.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap().to_owned())).collect();
        assert_eq!(sent, wanted);
        let read_span = parent(&read);
        assert_eq!((read_span.trace_id().to_string().as_str(), read_span.is_sampled()), (trace, sampled));
        let carries = matches!(propagator, Propagator::Jaeger);
        assert_eq!(read.baggage().get("tenant").is_some_and(|value| value.as_str() == "a b"), carries);
    }
}

#[test]
fn what_zipkins_and_jaegers_clients_send_is_understood() {
    let b3 = [Propagator::B3];
    for (value, sampled, wish) in [
        ("a3ce929d0e0e4736-00f067aa0ba902b7-d", Some(true), Some(Wish::Debug)),
        ("a3ce929d0e0e4736-00f067aa0ba902b7-0-05e3ac9a4f6e3b90", Some(false), None),
        ("a3ce929d0e0e4736-00f067aa0ba902b7", Some(false), Some(Wish::Deferred)),
        ("0", None, Some(Wish::Nothing)),
        ("1", None, Some(Wish::Everything)),
        ("d", None, Some(Wish::Debug)),
        ("a3ce929d0e0e4736-00f067aa0ba902b7-2", None, None),
        ("a3ce929d0e0e473-00f067aa0ba902b7-1", None, None),
        ("0000000000000000-00f067aa0ba902b7-1", None, None),
        ("2", None, None),
        ("\u{e9}", None, None),
    ] {
        let read = extract_by(&b3, &headers(&[("b3", value)]));
        let parent = parent(&read);
        assert_eq!(parent.is_valid().then(|| parent.is_sampled()), sampled, "{value}");
        assert_eq!(read.get::<Wish>().copied(), wish, "{value}");
    }
    // What is to be seen everywhere is said to everybody.
    let read = extract_by(&b3, &headers(&[("b3", "a3ce929d0e0e4736-00f067aa0ba902b7-d")]));
    let mut sent = HeaderMap::new();
    inject_by(&[Propagator::B3, Propagator::B3Multi], &read, &mut sent);
    assert!(sent["b3"].to_str().unwrap().ends_with("-d") && sent["x-b3-flags"] == "1", "{sent:?}");
    let ids = [("x-b3-traceid", "a3ce929d0e0e4736"), ("x-b3-spanid", "00f067aa0ba902b7")];
    for (more, sampled) in
        [(("x-b3-flags", "1"), true), (("x-b3-sampled", "0"), false), (("x-b3-sampled", "true"), true)]
    {
        // Also where the one header is what is written.
        let parent = parent(&extract_by(&b3, &headers(&[ids[0], ids[1], more])));
        assert_eq!((parent.is_valid(), parent.is_sampled()), (true, sampled), "{more:?}");
    }
    for (value, sampled) in [
        ("a3ce929d0e0e4736:f067aa0ba902b7:0:1", Some(true)),
        ("a3ce929d0e0e4736%3Af067aa0ba902b7%3A0%3A3", Some(true)),
        ("1:2:3:0", Some(false)),
        ("0:2:3:1", None),
        ("1:2:3", None),
        ("1:2:3:zz", None),
        ("4bf92f3577b34da6a3ce929d0e0e47360:2:3:1", None),
    ] {
        let parent = parent(&extract_by(&[Propagator::Jaeger], &headers(&[("uber-trace-id", value)])));
        assert_eq!(parent.is_valid().then(|| parent.is_sampled()), sampled, "{value}");
    }
}

#[test]
fn of_several_forms_the_first_configured_one_counts() {
    let both = headers(&[("traceparent", PARENT), ("b3", "a3ce929d0e0e4736-0000000000000007-1")]);
    for (propagators, span) in [
        ([Propagator::TraceContext, Propagator::B3], "00f067aa0ba902b7"),
        ([Propagator::B3, Propagator::TraceContext], "0000000000000007"),
    ] {
        assert_eq!(parent(&extract_by(&propagators, &both)).span_id().to_string(), span);
    }
    let many: Vec<_> = (0..100).map(|number| format!("uberctx-k{number}")).collect();
    let mut hostile = HeaderMap::new();
    for name in &many {
        hostile.insert(name.parse::<::http::HeaderName>().unwrap(), HeaderValue::from_static("v"));
    }
    assert_eq!(extract_by(&[Propagator::Jaeger], &hostile).baggage().len(), MAX_BAGGAGE.1);
}
