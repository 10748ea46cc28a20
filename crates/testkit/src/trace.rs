//! A trace as a test looks at it, read from Jaeger's answer, our viewer's or Zipkin's.

use std::time::Duration;

use serde_json::Value;

/// All spans of one trace.
#[derive(Clone, Debug, Default)]
pub struct Trace {
    /// In no order.
    pub spans: Vec<Span>,
}

/// One span of a trace.
#[derive(Clone, Debug)]
pub struct Span {
    /// Its id in hex.
    pub id: String,
    /// The id of the span that it is a child of.
    pub parent: Option<String>,
    /// The service that made it.
    pub service: String,
    /// What it is called.
    pub name: String,
    /// `server`, `client` or `internal`.
    pub kind: String,
    /// Since 1970.
    pub start: Duration,
    /// How long it took.
    pub duration: Duration,
}

impl Trace {
    /// From `/api/traces/{id}`, as Jaeger and our viewer answer it; `None` while there is no such trace.
    pub fn from_jaeger(answer: &Value) -> Option<Self> {
        let trace = answer["data"].as_array()?.first()?;
        let spans = trace["spans"].as_array()?.iter().map(|span| {
            let tag = |key: &str| span["tags"].as_array()?.iter().find(|tag| tag["key"] == key)?["value"].as_str();
            let references = span["references"].as_array();
            let parent = references.and_then(|all| all.iter().find(|one| one["refType"] == "CHILD_OF"));
            let process = text(&span["processID"]);
            Span {
                id: text(&span["spanID"]),
                parent: parent.map(|reference| text(&reference["spanID"])),
                service: text(&trace["processes"][process]["serviceName"]),
                name: text(&span["operationName"]),
                kind: tag("span.kind").unwrap_or("internal").to_owned(),
                start: micros(&span["startTime"]),
                duration: micros(&span["duration"]),
            }
        });
        Some(Self { spans: spans.collect() })
    }

    /// From Zipkin's `/api/v2/trace/{id}`; `None` while there is no such trace.
    pub fn from_zipkin(answer: &Value) -> Option<Self> {
        let spans = answer.as_array()?.iter().map(|span| Span {
            id: text(&span["id"]),
            parent: span["parentId"].as_str().map(str::to_owned),
            service: text(&span["localEndpoint"]["serviceName"]),
            name: text(&span["name"]),
            kind: span["kind"].as_str().unwrap_or("internal").to_lowercase(),
            start: micros(&span["timestamp"]),
            duration: micros(&span["duration"]),
        });
        Some(Self { spans: spans.collect() })
    }

    /// Spans without a parent.
    pub fn roots(&self) -> Vec<&Span> {
        self.spans.iter().filter(|span| span.parent.is_none()).collect()
    }

    /// Spans whose parent is not in the trace.
    pub fn orphans(&self) -> Vec<&Span> {
        let missing = |span: &&Span| span.parent.is_some() && self.parent(span).is_none();
        self.spans.iter().filter(missing).collect()
    }

    /// The span that `span` is a child of.
    pub fn parent(&self, span: &Span) -> Option<&Span> {
        self.spans.iter().find(|other| Some(&other.id) == span.parent.as_ref())
    }

    /// From the root down to `span`, what each is: `SERVICE KIND`.
    pub fn path(&self, span: &Span) -> Vec<String> {
        let mut path: Vec<_> = std::iter::successors(Some(span), |span| self.parent(span))
            .map(|span| format!("{} {}", span.service, span.kind))
            .collect();
        path.reverse();
        path
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn micros(value: &Value) -> Duration {
    Duration::from_micros(value.as_u64().unwrap_or_default())
}
