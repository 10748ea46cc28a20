//! Admission: a limit on the calls in flight for each method, which it learns, and one for all of them together. Past it a
//! call is refused rather than served late.

use std::collections::HashMap;
use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::{Request, Response};
use http_body_util::{BodyExt as _, Limited};
use telemetry::{KeyValue, Tally, metric, semconv};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;
use tonic::body::Body;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};
use tower::{Layer, Service};

use self::gate::{Entry, Gate};
use crate::criticality::Criticality;

mod gate;
mod limit;

/// What a refused caller is told to wait before it tries again.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Calls that were refused.
static REFUSED: Tally = Tally::new(metric::RPC_SERVER_REFUSED);

/// Admits the calls to a service, of each method as many as it does well; refuses the rest with RESOURCE_EXHAUSTED and retry
/// info.
///
/// A call counts until its handler has answered. Health checks are always admitted: an overloaded service is alive. So is
/// what else is no method of the service, within the limit of all together.
#[derive(Clone, Debug)]
pub struct AdmissionLayer(Arc<Limits>);

#[derive(Debug)]
struct Limits {
    methods: HashMap<String, Method>,
    /// Room for calls that run or wait.
    present: Arc<Semaphore>,
    /// What of it the less critical leave to the others.
    kept: [usize; Criticality::COUNT],
    bounds: Bounds,
}

#[derive(Debug)]
struct Method {
    criticality: Criticality,
    gate: Arc<Gate>,
}

/// What calls may take in all.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Calls of one method that run.
    pub in_flight: usize,
    /// Calls of one method that wait.
    pub queued: usize,
    /// How long they wait.
    pub patience: Duration,
    /// How long a message may take to arrive.
    pub arrival: Duration,
    /// Bytes of a message.
    pub message_bytes: usize,
}

impl AdmissionLayer {
    /// Admits calls of `methods`, which are such as `mall.user.v1.UserService/Login`. Of all of them together there are no more
    /// than of one may run and wait.
    pub fn new(methods: impl IntoIterator<Item = (String, Criticality)>, bounds: Bounds) -> Self {
        REFUSED.show([["overload"]]);
        let Bounds { in_flight, queued, patience, .. } = bounds;
        let room = in_flight.saturating_add(queued).min(Semaphore::MAX_PERMITS);
        let method = |(name, criticality)| {
            let gate = Arc::new(Gate::new(criticality, in_flight, queued, patience));
            (format!("/{name}"), Method { criticality, gate })
        };
        let methods: HashMap<_, _> = methods.into_iter().map(method).collect();
        show(&methods);
        let kept = [room / 5, room / 10, 0];
        Self(Arc::new(Limits { methods, present: Arc::new(Semaphore::new(room)), kept, bounds }))
    }
}

/// Shows the limits of the methods as a metric.
fn show(methods: &HashMap<String, Method>) {
    let gates = methods.iter().map(|(path, method)| {
        let name = path.trim_start_matches('/').to_owned();
        (Arc::downgrade(&method.gate), [KeyValue::new(semconv::RPC_METHOD, name)])
    });
    let gates: Vec<_> = gates.collect();
    metric::RPC_SERVER_LIMIT.observe(move |observer| {
        for (gate, labels) in &gates {
            if let Some(gate) = gate.upgrade() {
                observer.observe(gate.limit() as f64, labels);
            }
        }
    });
}

/// A call that was admitted.
struct Admitted {
    criticality: Criticality,
    entry: Option<Entry>,
    _present: OwnedSemaphorePermit,
}

impl Limits {
    /// A call once its message is there: none holds a place while its caller takes time to send it.
    async fn arrived(&self, request: Request<Body>) -> Result<Request<Body>, Status> {
        let (head, body) = request.into_parts();
        // gRPC's own five bytes come before a message.
        let most = self.bounds.message_bytes.saturating_add(5);
        let message = timeout(self.bounds.arrival, Limited::new(body, most).collect()).await;
        let message = message.map_err(|_| Status::deadline_exceeded("the message took too long to arrive"))?;
        let message = message.map_err(|error| match error.downcast::<Status>() {
            Ok(status) => *status,
            Err(_) => Status::out_of_range(format!("a message has at most {} bytes", self.bounds.message_bytes)),
        })?;
        Ok(Request::from_parts(head, Body::new(message)))
    }

    async fn admit(&self, method: Option<&Method>, said: Option<Criticality>) -> Option<Admitted> {
        let criticality = method.map_or(said, |method| said.max(Some(method.criticality))).unwrap_or_default();
        if self.present.available_permits() <= self.kept[criticality as usize] {
            return None;
        }
        let present = Arc::clone(&self.present).try_acquire_owned().ok()?;
        let entry = match method {
            Some(method) => Some(method.gate.enter(criticality).await?),
            None => None,
        };
        Some(Admitted { criticality, entry, _present: present })
    }
}

fn refusal() -> Status {
    REFUSED.count(["overload"]);
    let details = ErrorDetails::with_retry_info(Some(RETRY_AFTER));
    Status::with_error_details(Code::ResourceExhausted, "too many calls in flight, try again", details)
}

impl<S> Layer<S> for AdmissionLayer {
    type Service = Admission<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Admission { inner, limits: Arc::clone(&self.0) }
    }
}

/// The service that [`AdmissionLayer`] makes.
#[derive(Clone, Debug)]
pub struct Admission<S> {
    inner: S,
    limits: Arc<Limits>,
}

impl<S> Service<Request<Body>> for Admission<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        if request.uri().path().starts_with("/grpc.health.v1.Health/") {
            return Box::pin(self.inner.call(request));
        }
        let limits = Arc::clone(&self.limits);
        // The service that was polled ready is the one to call; its clone waits for the next request.
        let fresh = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, fresh);
        Box::pin(async move {
            let method = limits.methods.get(request.uri().path());
            let request = match method {
                Some(_) => match limits.arrived(request).await {
                    Ok(request) => request,
                    Err(status) => return Ok(status.into_http()),
                },
                None => request,
            };
            let said = Criticality::said(request.headers());
            let Some(admitted) = limits.admit(method, said).await else {
                return Ok(refusal().into_http());
            };
            let answer = admitted.criticality.scope(inner.call(request)).await?;
            if let Some(entry) = admitted.entry {
                entry.answered(!answer.headers().contains_key("grpc-status"));
            }
            Ok(answer)
        })
    }
}
