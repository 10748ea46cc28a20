//! The endpoints of a target as they are now, and the telling of what changed.

use std::fmt;
use std::sync::Arc;

use opentelemetry::metrics::Gauge;
use telemetry::{KeyValue, metric, semconv};
use tokio::sync::{Notify, watch};
use tokio_util::task::AbortOnDropHandle;

use crate::{Address, Target};

/// Addresses in order, each once.
pub type Set = Arc<[Address]>;

/// The endpoints of a target as they are now. They are no longer watched when this is dropped.
#[derive(Debug)]
pub struct Endpoints {
    current: watch::Receiver<Option<Set>>,
    doubt: Doubt,
    _watching: Option<AbortOnDropHandle<()>>,
}

impl Endpoints {
    /// Endpoints that `current` is told of, for whoever finds them in a way of its own.
    pub fn told(current: watch::Receiver<Option<Set>>) -> Self {
        Self { current, doubt: Doubt::default(), _watching: None }
    }

    /// Endpoints that `watching` publishes for as long as anybody is interested.
    pub(crate) fn watched<F>(target: &Target, watching: impl FnOnce(Publisher, Doubt) -> F) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let (publisher, current) = Publisher::new(target);
        let doubt = Doubt::default();
        let task = tokio::spawn(watching(publisher, doubt.clone()));
        Self { current, doubt, _watching: Some(AbortOnDropHandle::new(task)) }
    }

    /// The endpoints that are known; none before the first answer.
    pub fn current(&mut self) -> Option<Set> {
        self.current.borrow_and_update().clone()
    }

    /// Waits until they are others than those [`current`](Self::current) gave last. There may be no more to come: then it
    /// waits for ever.
    pub async fn changed(&mut self) {
        if self.current.changed().await.is_err() {
            std::future::pending().await
        }
    }

    /// What is told when one of them failed.
    pub fn doubt(&self) -> Doubt {
        self.doubt.clone()
    }
}

/// Makes whoever watches look again: an endpoint failed, and may be gone.
#[derive(Clone, Debug, Default)]
pub struct Doubt(Arc<Notify>);

impl Doubt {
    /// Has the endpoints looked up again soon, however often it is said.
    pub fn say(&self) {
        self.0.notify_one();
    }

    /// Waits until somebody says so.
    pub(crate) async fn said(&self) {
        self.0.notified().await;
    }
}

/// The other end of [`Endpoints`].
#[derive(Debug)]
pub(crate) struct Publisher {
    target: String,
    label: KeyValue,
    count: Gauge<f64>,
    current: watch::Sender<Option<Set>>,
}

impl Publisher {
    pub(crate) fn new(target: &Target) -> (Self, watch::Receiver<Option<Set>>) {
        let (current, receiver) = watch::channel(None);
        let label = KeyValue::new(semconv::SERVER_ADDRESS, target.authority());
        (Self { target: target.to_string(), label, count: metric::DISCOVERY_ENDPOINTS.gauge(), current }, receiver)
    }

    /// Whom this is about, for logs.
    pub(crate) fn target(&self) -> &str {
        &self.target
    }

    /// Tells of endpoints, if they are others than before.
    pub(crate) fn publish(&self, mut addresses: Vec<Address>) {
        addresses.sort_unstable();
        addresses.dedup();
        let old = self.current.borrow().clone();
        if old.as_deref() == Some(&*addresses) {
            return;
        }
        let old = old.as_deref().unwrap_or_default();
        let new = |address: &&Address| !old.contains(address);
        let gone = |address: &&Address| !addresses.contains(address);
        tracing::info!(
            peer = self.target,
            endpoints = addresses.len(),
            added = %List(addresses.iter().filter(new).collect()),
            removed = %List(old.iter().filter(gone).collect()),
            "endpoints changed"
        );
        self.count.record(addresses.len() as f64, std::slice::from_ref(&self.label));
        self.current.send_replace(Some(addresses.into()));
    }
}

/// Some addresses, of which not too many are shown.
struct List<'a>(Vec<&'a Address>);

impl fmt::Display for List<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 8;
        let shown: Vec<_> = self.0.iter().take(SHOWN).map(|address| address.as_str()).collect();
        formatter.write_str(&shown.join(" "))?;
        match self.0.len().saturating_sub(SHOWN) {
            0 => Ok(()),
            more => write!(formatter, " and {more} more"),
        }
    }
}
