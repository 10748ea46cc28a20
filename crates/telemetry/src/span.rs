//! A span that ends when it is dropped, and the tracer that makes it.

use std::borrow::Cow;
use std::future::Future;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use opentelemetry::context::{FutureExt as _, WithContext};
use opentelemetry::trace::{Link, SpanContext, SpanKind, Status, TraceContextExt as _, TraceId, Tracer as _};
use opentelemetry::{Context, ContextGuard, KeyValue, Value};
use opentelemetry_sdk::trace::SdkTracer;

use crate::slow::Part;
use crate::{propagate, semconv};

/// Set by `init` unless telemetry is disabled, and by `testing::install`.
pub(crate) static TRACER: OnceLock<SdkTracer> = OnceLock::new();

/// A span: started by [`Span::start`], ended when dropped; without a tracer it is its parent, for nothing.
///
/// ```
/// # async fn query() {}
/// # async fn example() {
/// use telemetry::{Span, SpanKind, semconv};
/// let span = Span::start(SpanKind::Client, "SELECT users");
/// span.set(semconv::DB_OPERATION_NAME, "SELECT");
/// span.run(query()).await;
/// # }
/// ```
#[derive(Debug)]
pub struct Span {
    context: Context,
    /// The span in `context` is this one, not its parent.
    own: bool,
    /// What it adds, when it is dropped, to the breakdown of a call that may be slow.
    _part: Option<Part>,
}

/// The longest text of an attribute, in bytes; set by `init`.
pub(crate) static VALUE_BYTES: AtomicUsize = AtomicUsize::new(usize::MAX);

impl Span {
    /// Starts a child of the current span.
    pub fn start(kind: SpanKind, name: impl Into<Cow<'static, str>>) -> Self {
        Self::start_under(&Context::current(), kind, name)
    }

    /// Starts a child of the span in `parent`: for work that left its caller's thread.
    pub fn start_under(parent: &Context, kind: SpanKind, name: impl Into<Cow<'static, str>>) -> Self {
        Self::begin(parent, kind, name.into(), None)
    }

    /// Starts a child of the span in `parent` that began so long ago: for what has a span only if it took long.
    pub fn start_before(parent: &Context, kind: SpanKind, name: impl Into<Cow<'static, str>>, ago: Duration) -> Self {
        Self::begin(parent, kind, name.into(), Some(ago))
    }

    fn begin(parent: &Context, kind: SpanKind, name: Cow<'static, str>, ago: Option<Duration>) -> Self {
        // What a server does is the call itself.
        let part = if kind == SpanKind::Server { None } else { Part::begin(parent, || name.clone(), ago) };
        match TRACER.get() {
            Some(tracer) => {
                let mut builder = tracer.span_builder(name).with_kind(kind);
                builder.start_time = ago.and_then(|ago| SystemTime::now().checked_sub(ago));
                Self { context: parent.with_span(builder.start_with_context(tracer, parent)), own: true, _part: part }
            }
            None => Self { context: parent.clone(), own: false, _part: part },
        }
    }

    /// Starts the root of a trace of its own: for work that another trace began, whose `traceparent` it links to.
    pub fn start_linked(kind: SpanKind, name: impl Into<Cow<'static, str>>, began: Option<&str>) -> Self {
        let Some(tracer) = TRACER.get() else { return Self { context: Context::new(), own: false, _part: None } };
        let links = began.and_then(propagate::parse).map(|began| Link::new(began, Vec::new(), 0));
        let builder = tracer.span_builder(name).with_kind(kind).with_links(links.into_iter().collect());
        let root = Context::new();
        Self { context: root.with_span(builder.start_with_context(tracer, &root)), own: true, _part: None }
    }

    /// Whether attributes are kept: costly ones need not be made otherwise.
    pub fn is_recording(&self) -> bool {
        self.own && self.context.span().is_recording()
    }

    /// Sets an attribute; its key is a constant of [`semconv`].
    pub fn set(&self, key: &'static str, value: impl Into<Value>) {
        if self.own {
            self.context.span().set_attribute(KeyValue::new(key, bounded(value.into())));
        }
    }

    /// Sets attributes that are the same every time.
    pub fn set_all(&self, attributes: &[KeyValue]) {
        if self.own {
            let bounded = |it: &KeyValue| KeyValue::new(it.key.clone(), bounded(it.value.clone()));
            self.context.span().set_attributes(attributes.iter().map(bounded));
        }
    }

    /// Sets attributes of the current span, for whoever works within it and does not hold it.
    pub fn annotate(attributes: &[KeyValue]) {
        Context::map_current(|context| {
            let span = context.span();
            if span.is_recording() {
                span.set_attributes(attributes.iter().cloned());
            }
        });
    }

    /// Sets the name again, where it is known only later.
    pub fn rename(&self, name: impl Into<Cow<'static, str>>) {
        if self.own {
            self.context.span().update_name(name);
        }
    }

    /// Marks the span as failed; `kind` is one of a bounded set and tells nothing secret.
    pub fn fail(&self, kind: impl Into<Value>) {
        if self.own {
            let span = self.context.span();
            span.set_attribute(KeyValue::new(semconv::ERROR_TYPE, kind));
            span.set_status(Status::error(""));
        }
    }

    /// The context in which this span is the current one, to be given to another thread.
    pub fn context(&self) -> &Context {
        &self.context
    }

    /// The ids of this span; invalid where there is none.
    pub fn span_context(&self) -> SpanContext {
        self.context.span().span_context().clone()
    }

    /// Makes this span the current one of the future: its logs and child spans belong to it.
    pub fn run<F: Future>(&self, future: F) -> WithContext<F> {
        future.with_context(self.context.clone())
    }

    /// Makes this span the current one of this thread until the guard is dropped; never hold it across an await.
    #[must_use = "the span is current only while the guard lives"]
    pub fn enter(&self) -> ContextGuard {
        self.context.clone().attach()
    }

    /// Ends the span before it is dropped.
    pub(crate) fn end(&self) {
        if self.own {
            self.context.span().end();
        }
    }
}

impl Drop for Span {
    fn drop(&mut self) {
        // A task that outlives the call may hold the context: the span ends here all the same.
        self.end();
    }
}

/// A value whose text is no longer than is allowed.
fn bounded(value: Value) -> Value {
    match value {
        Value::String(text) if text.as_str().len() > VALUE_BYTES.load(Ordering::Relaxed) => {
            Value::from(cut(text.as_str()).to_owned())
        }
        value => value,
    }
}

/// As much of a text as is allowed.
pub(crate) fn cut(text: &str) -> &str {
    &text[..text.floor_char_boundary(VALUE_BYTES.load(Ordering::Relaxed))]
}

/// Runs a future without spans: for what is done again and again and tells nobody anything.
pub fn untraced<F: Future>(future: F) -> WithContext<F> {
    future.with_context(Context::current().with_telemetry_suppressed())
}

/// The current span as a W3C `traceparent`, to be kept with work that outlives it.
pub fn traceparent() -> Option<String> {
    Context::map_current(|context| {
        let span = context.span();
        let span = span.span_context();
        span.is_valid().then(|| propagate::traceparent(span).to_str().map(str::to_owned).ok())?
    })
}

/// The id of the current trace.
pub fn trace_id() -> Option<TraceId> {
    Context::map_current(|context| {
        let id = context.span().span_context().trace_id();
        (id != TraceId::INVALID).then_some(id)
    })
}
