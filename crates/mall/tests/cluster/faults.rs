//! Parts of the cluster die or hang, and the mall gets over it by itself.

use std::time::Duration;

use http::Request;
use rustix::process::Signal;
use serde_json::json;
use testkit::eventually;
use testkit::http::{Client, json};
use testkit::shopper::trace_id;
use tokio::time::sleep;

use crate::disturb::{kill, named, send};
use crate::kubectl::{Cluster, mall};
use crate::load::Load;

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_database_loses_no_order_and_comes_back() {
    let Some(cluster) = mall().await else { return };
    let before = orders(&cluster).await;
    let load = Load::start(&cluster, 20).await;
    crash(&cluster, "postgres-0").await;
    sleep(Duration::from_secs(10)).await;
    let during = load.stop().await;
    eprintln!("the database killed: {} operations, {} failed", during.operations, during.failed);
    // What shoppers were told is there; some were told to try again.
    let made = orders(&cluster).await - before;
    assert!(during.acknowledged("order") + during.acknowledged("pay") <= made, "{made} orders: {}", during.text);
    assert!(during.acknowledged("pay") > 0, "{}", during.text);
    let load = Load::start(&cluster, 20).await;
    sleep(Duration::from_secs(5)).await;
    load.stop().await.all_went_well("after the database was killed");
    eventually("books that agree", async || disagreement(&cluster).await.is_none().then_some(())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_jaeger_or_collector_holds_nobody_up() {
    let Some(cluster) = mall().await else { return };
    let load = Load::start(&cluster, 40).await;
    crash(&cluster, "jaeger").await;
    let collector = cluster.pods("collector").await;
    crash(&cluster, crate::kubectl::name(&collector[0])).await;
    sleep(Duration::from_secs(5)).await;
    let outcome = load.stop().await;
    outcome.all_went_well("Jaeger and the collector killed");
    a_trace_arrives(&cluster).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_api_server_is_away_for_a_minute_and_nobody_notices() {
    let Some(cluster) = mall().await else { return };
    let servers = named("kube-apiserver");
    let [server] = servers[..] else { panic!("not one API server on this machine: {servers:?}") };
    let load = Load::start(&cluster, 40).await;
    let stopped = Stopped::new(server);
    sleep(Duration::from_secs(60)).await;
    drop(stopped);
    eventually("the API server again", async || {
        cluster.try_kubectl(&["get", "--raw", "/readyz"], "").await.ok.then_some(())
    })
    .await;
    load.stop().await.all_went_well("the API server stopped for a minute");
    // What happened in the meantime is caught up with.
    cluster.kubectl(&["rollout", "restart", "deployment/product-rpc"]).await;
    cluster.rolled_out("deployment/product-rpc").await;
    a_trace_arrives(&cluster).await;
}

/// A process that does nothing until this is dropped.
struct Stopped(i32);

impl Stopped {
    fn new(pid: i32) -> Self {
        send(pid, Signal::STOP).expect("it is ours");
        Self(pid)
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        let _ = send(self.0, Signal::CONT);
    }
}

/// Kills a pod's processes, and waits until it has been started again.
async fn crash(cluster: &Cluster, pod: &str) {
    let restarts = async || {
        let pod = cluster.get(&["pod", pod]).await;
        let container = pod["status"]["containerStatuses"][0].clone();
        (container["restartCount"].as_u64().unwrap_or_default(), container["ready"] == true, pod)
    };
    let (before, _, object) = restarts().await;
    kill(&object);
    eventually("the pod started again", async || {
        let (now, ready, _) = restarts().await;
        (now > before && ready).then_some(())
    })
    .await;
}

/// Asks for the products until the trace of one such request is shown.
async fn a_trace_arrives(cluster: &Cluster) {
    let api = cluster.forward("svc/product-api", 8001).await;
    let jaeger = cluster.forward("jaeger", 16686).await;
    let client = Client::default();
    let get = async |url: String| client.try_send(Request::get(url).body(Default::default()).expect("a URL")).await;
    eventually("a trace in Jaeger", async || {
        let id = trace_id(&get(format!("{}/api/product", api.url())).await.ok()?);
        sleep(Duration::from_secs(4)).await;
        let answer = get(format!("{}/api/traces/{id}", jaeger.url())).await.ok()?;
        (answer.status() == 200 && json(&answer)["data"][0]["spans"].is_array()).then_some(())
    })
    .await;
}

/// Rows of a statement in one of the databases.
async fn rows(cluster: &Cluster, database: &str, statement: &str) -> Vec<String> {
    let psql =
        ["exec", "postgres-0", "--", "psql", "--host=/tmp", "--username=postgres", "--no-align", "--tuples-only"];
    let text = cluster.kubectl(&[&psql[..], &["--dbname", database, "--command", statement]].concat()).await;
    text.lines().map(str::to_owned).collect()
}

async fn orders(cluster: &Cluster) -> u64 {
    let count = rows(cluster, "order", "select count(*) from orders").await;
    count[0].parse().expect("a number")
}

/// What two services do not agree on, or have yet to tell each other.
async fn disagreement(cluster: &Cluster) -> Option<String> {
    let unfinished = rows(cluster, "order", "select id from orders where status in (3, 5)").await;
    let untold = rows(cluster, "pay", "select payment_id from outbox").await;
    let paid =
        "select id || ' by ' || payment_id from orders where status in (1, 2) and payment_id is not null order by id";
    let paid = rows(cluster, "order", paid).await;
    let settled = rows(cluster, "pay", "select oid || ' by ' || id from payments where status = 1 order by oid").await;
    let held = "select order_id || ' has ' || quantity from reservations where not released order by order_id";
    let held = rows(cluster, "product", held).await;
    let placed = "select id || ' has ' || quantity from orders where status in (0, 1, 2) order by id";
    let placed = rows(cluster, "order", placed).await;
    let agree = unfinished.is_empty() && untold.is_empty() && paid == settled && held == placed;
    (!agree)
        .then(|| json!({ "unfinished": unfinished, "untold": untold, "paid": paid, "settled": settled }).to_string())
}
