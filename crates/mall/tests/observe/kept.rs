//! The traces that Jaeger has, a slice of time after the other, and what is wrong with them.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::time::{Duration, SystemTime};

use http::{Request, StatusCode};
use serde::Deserialize;
use testkit::http::Client;
use testkit::jaeger::Jaeger;

/// Where a trace begins.
const ENTRANCES: [&str; 4] = ["user.api", "product.api", "order.api", "pay.api"];

/// So much is read at one time, for memory's sake.
const SLICE: Duration = Duration::from_secs(2);

/// Jaeger wants a limit below the number of traces that it keeps.
const MOST: usize = 50_000;

#[derive(Deserialize)]
struct Found {
    result: Traces,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Traces {
    #[serde(default)]
    resource_spans: Vec<OfResource>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct OfResource {
    resource: Resource,
    scope_spans: Vec<OfScope>,
}

#[derive(Deserialize)]
struct Resource {
    attributes: Vec<Attribute>,
}

#[derive(Deserialize)]
struct Attribute {
    key: String,
    value: Value,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Value {
    string_value: String,
}

#[derive(Deserialize)]
struct OfScope {
    spans: Vec<Span>,
}

/// One span of a trace.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Span {
    trace_id: String,
    span_id: String,
    #[serde(default)]
    parent_span_id: String,
    #[serde(skip)]
    service: String,
    pub(crate) name: String,
    #[serde(default)]
    kind: u8,
    start_time_unix_nano: String,
    end_time_unix_nano: String,
    #[serde(default)]
    status: Status,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Status {
    code: u8,
}

const SERVER: u8 = 2;
const CLIENT: u8 = 3;
const ERROR: u8 = 2;

impl Span {
    pub(crate) fn failed(&self) -> bool {
        self.status.code == ERROR
    }

    fn start(&self) -> Duration {
        Duration::from_nanos(self.start_time_unix_nano.parse().unwrap())
    }

    fn end(&self) -> Duration {
        Duration::from_nanos(self.end_time_unix_nano.parse().unwrap())
    }

    pub(crate) fn took(&self) -> Duration {
        self.end().saturating_sub(self.start())
    }

    /// A call to a peer, and not a statement.
    fn is_call(&self) -> bool {
        self.kind == CLIENT && self.name.contains('/')
    }
}

/// All that Jaeger has of one trace.
#[derive(Debug, Default)]
pub(crate) struct Trace {
    pub(crate) spans: Vec<Span>,
}

impl Trace {
    /// The one span without a parent; what is wrong where there are none or several, or any span whose parent is missing, or
    /// a call without the side of it that another process sees.
    pub(crate) fn root(&self) -> Result<&Span, String> {
        let known: HashMap<_, _> = self.spans.iter().map(|span| (span.span_id.as_str(), span)).collect();
        if known.len() != self.spans.len() {
            return Err("a span is there twice".to_owned());
        }
        let answered: HashSet<_> = self.spans.iter().map(|span| span.parent_span_id.as_str()).collect();
        let mut roots = Vec::new();
        for span in &self.spans {
            let (service, name) = (&span.service, &span.name);
            let parent = known.get(span.parent_span_id.as_str());
            match parent {
                None if span.parent_span_id.is_empty() => roots.push(span),
                None => return Err(format!("{service} {name} is an orphan")),
                Some(parent) if (span.kind == SERVER) != (parent.service != span.service || parent.is_call()) => {
                    return Err(format!("{service} {name} is no part of {} {}", parent.service, parent.name));
                }
                Some(_) => {}
            }
            if span.is_call() && !span.failed() && !answered.contains(span.span_id.as_str()) {
                return Err(format!("nobody answers {service} {name}"));
            }
        }
        match roots[..] {
            [root] => Ok(root),
            _ => Err(format!("there are {} roots", roots.len())),
        }
    }

    /// Who calls whom.
    pub(crate) fn edges(&self) -> BTreeSet<(&str, &str)> {
        let services: HashMap<_, _> =
            self.spans.iter().map(|span| (span.span_id.as_str(), span.service.as_str())).collect();
        let edge = |span: &'_ Span| services.get(span.parent_span_id.as_str()).copied();
        let edges = self.spans.iter().filter_map(|span| Some((edge(span)?, span.service.as_str())));
        edges.filter(|(caller, callee)| caller != callee).collect()
    }

    pub(crate) fn took(&self) -> Duration {
        let start = self.spans.iter().map(Span::start).min().unwrap_or_default();
        self.spans.iter().map(Span::end).max().unwrap_or_default().saturating_sub(start)
    }

    pub(crate) fn failed(&self) -> bool {
        self.spans.iter().any(Span::failed)
    }
}

/// Shows every trace that begins at an API after `began`, once.
pub(crate) async fn each(jaeger: &Jaeger, began: SystemTime, mut see: impl FnMut(&str, Trace)) {
    let (mut start, end) = (began, SystemTime::now());
    let mut seen = HashSet::new();
    while start < end {
        for service in ENTRANCES {
            for (id, trace) in slice(jaeger, service, start, start + SLICE).await {
                // One that two slices touch is found in both.
                if seen.insert(id.clone()) {
                    see(&id, trace);
                }
            }
        }
        start += SLICE;
    }
}

async fn slice(jaeger: &Jaeger, service: &str, start: SystemTime, end: SystemTime) -> BTreeMap<String, Trace> {
    let [start, end] = [start, end].map(humantime::format_rfc3339_nanos);
    let url = format!(
        "{}/api/v3/traces?query.service_name={service}&query.start_time_min={start}&query.start_time_max={end}\
         &query.num_traces={MOST}",
        jaeger.query
    );
    let answer = Client::default().try_send(Request::get(&url).body(Default::default()).unwrap()).await.unwrap();
    let mut traces: BTreeMap<String, Trace> = BTreeMap::new();
    if answer.status() == StatusCode::NOT_FOUND {
        return traces;
    }
    assert_eq!(answer.status(), 200, "{url}: {}", String::from_utf8_lossy(answer.body()));
    let found: Found = serde_json::from_slice(answer.body()).unwrap();
    for OfResource { resource, scope_spans } in found.result.resource_spans {
        let named = resource.attributes.into_iter().find(|attribute| attribute.key == "service.name");
        let service = named.unwrap().value.string_value;
        for mut span in scope_spans.into_iter().flat_map(|scope| scope.spans) {
            span.service.clone_from(&service);
            traces.entry(span.trace_id.clone()).or_default().spans.push(span);
        }
    }
    traces
}
