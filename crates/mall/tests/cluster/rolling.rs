//! Services roll, scale and lose pods while shoppers go on, and none of them notices.

use std::time::Duration;

use futures::future::join_all;
use testkit::exposition;

use crate::kubectl::{Cluster, mall, name, services};
use crate::load::Load;

/// The gRPC services that shoppers keep busy, who log in once, and the admin port of each.
const BUSY: [(&str, u16); 3] = [("product-rpc", 19001), ("order-rpc", 19002), ("pay-rpc", 19003)];

#[tokio::test(flavor = "multi_thread")]
async fn each_service_restarts_and_nobody_notices() {
    let Some(cluster) = mall().await else { return };
    let load = Load::start(&cluster, 40).await;
    for service in services() {
        let deployment = format!("deployment/{service}");
        cluster.kubectl(&["rollout", "restart", &deployment]).await;
        cluster.rolled_out(&deployment).await;
    }
    // The last of the old pods are still finishing.
    tokio::time::sleep(Duration::from_secs(12)).await;
    load.stop().await.all_went_well("restarting each service");
}

#[tokio::test(flavor = "multi_thread")]
async fn services_scale_and_lose_a_pod_and_each_replica_has_its_share() {
    let Some(cluster) = mall().await else { return };
    let load = Load::start(&cluster, 40).await;
    scale(&cluster, 3).await;
    // By now each is found; what follows is measured over as long again.
    tokio::time::sleep(Duration::from_secs(5)).await;
    let shares = join_all(BUSY.map(|(service, admin)| shares(&cluster, service, admin))).await;
    for ((service, _), shares) in BUSY.iter().zip(&shares) {
        eprintln!("{service}: calls of each replica {shares:?}");
        let fair = shares.iter().sum::<f64>() / 3.0;
        // By chance and by load they differ; left out is none.
        let spread = shares.len() == 3 && fair > 1.0 && shares.iter().all(|share| *share >= fair / 3.0);
        assert!(spread, "{service} is not spread: {shares:?}");
    }
    for service in services() {
        let pods = cluster.pods(&service).await;
        cluster.kubectl(&["delete", "pod", name(&pods[0]), "--wait=false"]).await;
        cluster.rolled_out(&format!("deployment/{service}")).await;
    }
    scale(&cluster, 2).await;
    tokio::time::sleep(Duration::from_secs(12)).await;
    let outcome = load.stop().await;
    scale(&cluster, 1).await;
    outcome.all_went_well("scaling from 1 to 3 to 2, and a deleted pod of each");
}

async fn scale(cluster: &Cluster, replicas: u32) {
    let replicas = format!("--replicas={replicas}");
    let workloads = services().map(|service| format!("deployment/{service}"));
    let workloads: Vec<_> = workloads.iter().map(String::as_str).collect();
    cluster.kubectl(&[&["scale", &replicas], &workloads[..]].concat()).await;
    for workload in workloads {
        cluster.rolled_out(workload).await;
    }
}

/// How many calls each replica of a service is asked to do in some seconds.
async fn shares(cluster: &Cluster, service: &str, admin: u16) -> Vec<f64> {
    let mut forwards = Vec::new();
    for pod in cluster.pods(service).await {
        forwards.push(cluster.forward(&format!("pod/{}", name(&pod)), admin).await);
    }
    let count = async || {
        join_all(forwards.iter().map(async |forward| {
            let text = exposition::read(&format!("{}/metrics", forward.url())).await.expect("metrics");
            exposition::sum(&text, "rpc_server_call_duration_seconds_count", &[]).unwrap_or_default()
        }))
        .await
    };
    let before = count().await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    count().await.iter().zip(before).map(|(after, before)| after - before).collect()
}
