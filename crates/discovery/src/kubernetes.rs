//! The pods of a Service, by watching its EndpointSlices.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::future::ready;
use std::pin::pin;
use std::time::Duration;

use backon::{ExponentialBuilder, Retryable as _};
use futures::{StreamExt as _, TryStreamExt as _};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::{self, Event, ExponentialBackoff, watcher};
use kube::{Api, Client, ResourceExt as _};
use tokio::sync::OnceCell;

use crate::endpoints::Publisher;
use crate::outage::Outage;
use crate::target::Service;

mod slices;

/// The environment variable that says in which zone this process runs: where hints say so, it calls the endpoints that
/// serve this zone. A Deployment sets it from its pod's label `topology.kubernetes.io/zone`.
pub const ZONE: &str = "MALL_ZONE";

/// The label by which a slice says which Service it is of.
const SERVICE_NAME: &str = "kubernetes.io/service-name";

/// How long one watch lasts, in seconds. A server that is gone without a word is found out when it ends.
const WATCH: u32 = 60;

/// The waits between tries to reach the API server; chance makes each of them longer, up to twice.
const WAITS: ExponentialBuilder = ExponentialBuilder::new()
    .with_min_delay(Duration::from_millis(100))
    .with_max_delay(Duration::from_secs(3))
    .with_jitter()
    .without_max_times();

type Denied = Box<dyn std::error::Error + Send + Sync>;

/// The client of the API server, made once for the process when it is first needed.
async fn client() -> Result<Client, Denied> {
    static CLIENT: OnceCell<Client> = OnceCell::const_new();
    let client = CLIENT.get_or_try_init(async || {
        let mut config = kube::Config::infer().await?;
        config.connect_timeout = Some(Duration::from_secs(5));
        Ok::<_, Denied>(Client::try_from(config)?)
    });
    client.await.cloned()
}

/// Publishes the pods of `service`. While the API server is away, those that were known last stay.
pub(crate) async fn follow(service: Service, publisher: Publisher) {
    let mut outage = Outage::new(
        publisher.target(),
        "there is no access to the API server: mount a service account's token (kustomize/components/discovery)",
        "there is access to the API server",
    );
    let Ok(client) = client.retry(WAITS).notify(|error: &Denied, _| outage.failed(&**error)).await else {
        unreachable!("it is tried for ever")
    };
    outage.succeeded();
    let zone = std::env::var(ZONE).ok().filter(|zone| !zone.is_empty());
    match follow_by(client, service, zone, publisher).await {}
}

async fn follow_by(client: Client, service: Service, zone: Option<String>, publisher: Publisher) -> Infallible {
    let api: Api<EndpointSlice> = Api::namespaced(client, &service.namespace);
    let config = watcher::Config::default().labels(&format!("{SERVICE_NAME}={}", service.name)).timeout(WATCH);
    // That a list is asked for is no success: the waits would begin anew with it.
    let events = watcher(api, config).try_filter(|event| ready(!matches!(event, Event::Init)));
    let mut events = pin!(events.backoff(ExponentialBackoff::from(WAITS)));
    let mut outage = Outage::new(
        publisher.target(),
        "EndpointSlices cannot be watched; the last known endpoints stay",
        "EndpointSlices can be watched again",
    );
    let (mut slices, mut listed) = (BTreeMap::new(), BTreeMap::new());
    loop {
        let Some(event) = events.next().await else { unreachable!("a watcher goes on for ever") };
        match event {
            Ok(Event::Init) => unreachable!("it is filtered out"),
            Ok(Event::InitApply(slice)) => {
                listed.insert(slice.name_any(), slice);
                continue;
            }
            // Only now is what was known before out of date.
            Ok(Event::InitDone) => slices = std::mem::take(&mut listed),
            Ok(Event::Apply(slice)) => {
                slices.insert(slice.name_any(), slice);
            }
            Ok(Event::Delete(slice)) => {
                slices.remove(&slice.name_any());
            }
            Err(error) => {
                outage.failed(&error);
                // A list that was begun begins anew.
                listed.clear();
                continue;
            }
        }
        outage.succeeded();
        publisher.publish(slices::endpoints(slices.values(), &service.port, zone.as_deref()));
    }
}

#[cfg(test)]
mod tests;
