//! A limit on the calls in flight, with a short queue: past it a call is refused at once rather than served late.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::{Request, Response};
use telemetry::{Tally, metric};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, TryAcquireError};
use tonic::body::Body;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};
use tower::{Layer, Service};

/// What a refused caller is told to wait before it tries again.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Calls that were refused.
static REFUSED: Tally = Tally::new(metric::RPC_SERVER_REFUSED);

/// Admits a bounded number of calls; refuses the rest with RESOURCE_EXHAUSTED and retry info.
///
/// A call counts until its handler has answered. Health checks are always admitted: an overloaded service is alive.
#[derive(Clone, Debug)]
pub struct AdmissionLayer {
    running: Arc<Semaphore>,
    present: Arc<Semaphore>,
}

impl AdmissionLayer {
    /// At most `in_flight` calls run while at most `queued` more wait for their turn.
    pub fn new(in_flight: usize, queued: usize) -> Self {
        REFUSED.show([["overload"]]);
        let semaphore = |permits: usize| Arc::new(Semaphore::new(permits.min(Semaphore::MAX_PERMITS)));
        Self { running: semaphore(in_flight), present: semaphore(in_flight.saturating_add(queued)) }
    }

    fn enter(&self) -> Result<OwnedSemaphorePermit, Status> {
        self.present.clone().try_acquire_owned().map_err(|error| match error {
            TryAcquireError::NoPermits | TryAcquireError::Closed => {
                REFUSED.count(["overload"]);
                let details = ErrorDetails::with_retry_info(Some(RETRY_AFTER));
                Status::with_error_details(Code::ResourceExhausted, "too many calls in flight, try again", details)
            }
        })
    }
}

impl<S> Layer<S> for AdmissionLayer {
    type Service = Admission<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Admission { inner, limit: self.clone() }
    }
}

/// The service that [`AdmissionLayer`] makes.
#[derive(Clone, Debug)]
pub struct Admission<S> {
    inner: S,
    limit: AdmissionLayer,
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
        let present = match self.limit.enter() {
            Ok(permit) => permit,
            Err(status) => return Box::pin(std::future::ready(Ok(status.into_http()))),
        };
        let running = self.limit.running.clone();
        // The service that was polled ready is the one to call; its clone waits for the next request.
        let fresh = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, fresh);
        Box::pin(async move {
            let _present = present;
            let _running = running.acquire_owned().await;
            inner.call(request).await
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_limit_is_too_large() {
        let layer = AdmissionLayer::new(usize::MAX, usize::MAX);
        assert_eq!(layer.present.available_permits(), Semaphore::MAX_PERMITS);
    }
}
