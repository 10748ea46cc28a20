//! The watch, against an API server of the test's own that speaks LIST and WATCH.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use serde_json::{Value, json};
use tokio::runtime::Runtime;
use tokio::sync::watch;

use super::*;
use crate::{Address, Endpoints, Target};

/// What an API server knows of the slices of a namespace; it outlives the server.
#[derive(Clone)]
struct Store(Arc<Mutex<Stored>>, watch::Sender<()>);

#[derive(Default)]
struct Stored {
    version: u64,
    slices: BTreeMap<String, Value>,
    /// By the version that each made.
    events: Vec<(u64, &'static str, Value)>,
    /// Events up to this version are forgotten.
    compacted: u64,
    /// Watches of an older generation end.
    generation: u64,
    forbidden: bool,
    refused: usize,
    lists: usize,
}

impl Store {
    fn new() -> Self {
        Self(Arc::default(), watch::Sender::new(()))
    }

    fn change<T>(&self, change: impl FnOnce(&mut Stored) -> T) -> T {
        let changed = change(&mut self.0.lock().unwrap());
        self.1.send_replace(());
        changed
    }

    /// Makes or changes a slice of the service `of` with these ready addresses.
    fn apply(&self, name: &str, of: &str, addresses: &[&str]) {
        self.change(|it| {
            let kind = if it.slices.contains_key(name) { "MODIFIED" } else { "ADDED" };
            it.version += 1;
            let endpoints: Vec<_> = addresses.iter().map(|address| json!({ "addresses": [address] })).collect();
            let slice = json!({
                "apiVersion": "discovery.k8s.io/v1",
                "kind": "EndpointSlice",
                "metadata": {
                    "name": name,
                    "namespace": "mall",
                    "labels": { SERVICE_NAME: of },
                    "resourceVersion": it.version.to_string(),
                },
                "addressType": "IPv4",
                "ports": [{ "name": "grpc", "port": 9001 }],
                "endpoints": endpoints,
            });
            it.slices.insert(name.to_owned(), slice.clone());
            it.events.push((it.version, kind, slice));
        });
    }

    fn delete(&self, name: &str) {
        self.change(|it| {
            it.version += 1;
            let slice = it.slices.remove(name).unwrap();
            it.events.push((it.version, "DELETED", slice));
        });
    }

    /// Ends every watch.
    fn end_watches(&self) {
        self.change(|it| it.generation += 1);
    }

    /// Forgets all that happened: a watch of an older version is 410 Gone.
    fn compact(&self) {
        self.change(|it| it.compacted = it.version);
    }

    fn lists(&self) -> usize {
        self.0.lock().unwrap().lists
    }
}

fn status(code: u16, reason: &str) -> Value {
    json!({ "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": reason, "reason": reason, "code": code })
}

fn is_of(slice: &Value, selector: &str) -> bool {
    selector == format!("{SERVICE_NAME}={}", slice["metadata"]["labels"][SERVICE_NAME].as_str().unwrap())
}

async fn answer(
    State(store): State<Store>,
    Path(namespace): Path<String>,
    Query(query): Query<HashMap<String, String>>,
) -> Response {
    assert_eq!(namespace, "mall");
    let selector = query["labelSelector"].clone();
    let is_forbidden = {
        let mut stored = store.0.lock().unwrap();
        stored.refused += usize::from(stored.forbidden);
        stored.forbidden
    };
    if is_forbidden {
        return (StatusCode::FORBIDDEN, status(403, "Forbidden").to_string()).into_response();
    }
    if query.get("watch").is_none_or(|watch| watch != "true") {
        let list = store.change(|it| {
            it.lists += 1;
            let items: Vec<_> = it.slices.values().filter(|slice| is_of(slice, &selector)).collect();
            json!({
                "apiVersion": "discovery.k8s.io/v1",
                "kind": "EndpointSliceList",
                "metadata": { "resourceVersion": it.version.to_string() },
                "items": items,
            })
        });
        return list.to_string().into_response();
    }
    let from: u64 = query["resourceVersion"].parse().unwrap();
    let generation = store.0.lock().unwrap().generation;
    let news = store.1.subscribe();
    let events = futures::stream::unfold(Some((store, news, from)), move |watched| {
        let selector = selector.clone();
        async move {
            let (store, mut news, from) = watched?;
            loop {
                {
                    let stored = store.0.lock().unwrap();
                    if stored.generation != generation {
                        return None;
                    }
                    if from < stored.compacted {
                        return Some((line("ERROR", &status(410, "Expired")), None));
                    }
                    let mut new = stored.events.iter().filter(|(version, ..)| *version > from);
                    if let Some((version, kind, slice)) = new.find(|(.., slice)| is_of(slice, &selector)) {
                        let (line, version) = (line(kind, slice), *version);
                        drop(stored);
                        return Some((line, Some((store, news, version))));
                    }
                }
                news.changed().await.unwrap();
            }
        }
    });
    Body::from_stream(events).into_response()
}

fn line(kind: &str, object: &Value) -> Result<String, Infallible> {
    Ok(format!("{}\n", json!({ "type": kind, "object": object })))
}

/// A server at work; dropped, it is gone with all its connections.
struct Server(Option<Runtime>);

impl Server {
    async fn start(store: &Store, at: SocketAddr) -> (Self, SocketAddr) {
        let path = "/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices";
        let router = Router::new().route(path, get(answer)).with_state(store.clone());
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let bound = runtime.spawn(async move { tokio::net::TcpListener::bind(at).await.unwrap() }).await.unwrap();
        let address = bound.local_addr().unwrap();
        runtime.spawn(axum::serve(bound, router).into_future());
        (Self(Some(runtime)), address)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // To wait for its end is not allowed where a runtime is at work.
        let runtime = self.0.take();
        std::thread::spawn(move || drop(runtime)).join().unwrap();
    }
}

const ANY: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);

fn watch_at(server: SocketAddr) -> Endpoints {
    let target: Target = "k8s://mall/product-rpc:grpc".parse().unwrap();
    let Target::Kubernetes(service) = target.clone() else { unreachable!() };
    let client = Client::try_from(kube::Config::new(format!("http://{server}").parse().unwrap())).unwrap();
    Endpoints::watched(
        &target,
        |publisher, _| async move { match follow_by(client, service, None, publisher).await {} },
    )
}

async fn next(endpoints: &mut Endpoints) -> String {
    let changed = tokio::time::timeout(Duration::from_secs(20), endpoints.changed()).await;
    changed.expect("the endpoints change");
    shown(endpoints)
}

fn shown(endpoints: &mut Endpoints) -> String {
    endpoints.current().unwrap().iter().map(Address::as_str).collect::<Vec<_>>().join(" ")
}

#[tokio::test]
async fn what_is_added_changed_and_deleted_is_followed() {
    let store = Store::new();
    store.apply("product-rpc-1", "product-rpc", &["10.0.0.1"]);
    store.apply("user-rpc-1", "user-rpc", &["10.0.9.9"]);
    let (_server, address) = Server::start(&store, ANY).await;
    let mut endpoints = watch_at(address);
    assert_eq!(next(&mut endpoints).await, "10.0.0.1:9001");
    store.apply("product-rpc-2", "product-rpc", &["10.0.0.2"]);
    assert_eq!(next(&mut endpoints).await, "10.0.0.1:9001 10.0.0.2:9001");
    store.apply("user-rpc-2", "user-rpc", &["10.0.9.8"]);
    store.apply("product-rpc-1", "product-rpc", &["10.0.0.1", "10.0.0.3"]);
    assert_eq!(next(&mut endpoints).await, "10.0.0.1:9001 10.0.0.2:9001 10.0.0.3:9001");
    store.delete("product-rpc-1");
    assert_eq!(next(&mut endpoints).await, "10.0.0.2:9001");
    store.delete("product-rpc-2");
    assert_eq!(next(&mut endpoints).await, "", "there is none, and that is known");
    assert_eq!(store.lists(), 1);
}

#[tokio::test]
async fn a_watch_that_ends_goes_on_where_it_was() {
    let store = Store::new();
    store.apply("a", "product-rpc", &["10.0.0.1"]);
    let (_server, address) = Server::start(&store, ANY).await;
    let mut endpoints = watch_at(address);
    assert_eq!(next(&mut endpoints).await, "10.0.0.1:9001");
    store.end_watches();
    store.apply("a", "product-rpc", &["10.0.0.2"]);
    assert_eq!(next(&mut endpoints).await, "10.0.0.2:9001");
    assert_eq!(store.lists(), 1);
}

#[tokio::test]
async fn what_was_missed_is_listed_anew() {
    let store = Store::new();
    store.apply("a", "product-rpc", &["10.0.0.1"]);
    store.apply("b", "product-rpc", &["10.0.0.2"]);
    let (_server, address) = Server::start(&store, ANY).await;
    let mut endpoints = watch_at(address);
    assert_eq!(next(&mut endpoints).await, "10.0.0.1:9001 10.0.0.2:9001");
    store.change(|it| {
        it.generation += 1;
        it.slices.remove("a");
        it.version += 2;
        it.compacted = it.version;
    });
    assert_eq!(next(&mut endpoints).await, "10.0.0.2:9001", "410 Gone, and what is deleted is not kept");
    assert_eq!(store.lists(), 2);
    store.compact();
    store.apply("c", "product-rpc", &["10.0.0.3"]);
    assert_eq!(next(&mut endpoints).await, "10.0.0.2:9001 10.0.0.3:9001");
}

#[tokio::test]
async fn the_last_known_endpoints_stay_while_the_server_is_away() {
    let store = Store::new();
    store.apply("a", "product-rpc", &["10.0.0.1"]);
    let (server, address) = Server::start(&store, ANY).await;
    let mut endpoints = watch_at(address);
    assert_eq!(next(&mut endpoints).await, "10.0.0.1:9001");
    drop(server);
    store.apply("a", "product-rpc", &["10.0.0.2"]);
    let changed = tokio::time::timeout(Duration::from_secs(1), endpoints.changed()).await;
    assert!(changed.is_err() && shown(&mut endpoints) == "10.0.0.1:9001");
    let (_server, _) = Server::start(&store, address).await;
    assert_eq!(next(&mut endpoints).await, "10.0.0.2:9001");
}

#[tokio::test]
async fn a_right_that_comes_later_is_used() {
    let store = Store::new();
    store.apply("a", "product-rpc", &["10.0.0.1"]);
    store.change(|it| it.forbidden = true);
    let (_server, address) = Server::start(&store, ANY).await;
    let mut endpoints = watch_at(address);
    let changed = tokio::time::timeout(Duration::from_millis(1500), endpoints.changed()).await;
    assert!(changed.is_err() && endpoints.current().is_none());
    let refused = store.change(|it| {
        it.forbidden = false;
        it.refused
    });
    // At 0, 100, 300, 700 and 1500 ms if chance made no wait longer.
    assert!((1..=5).contains(&refused), "it was asked {refused} times");
    assert_eq!(next(&mut endpoints).await, "10.0.0.1:9001");
}
