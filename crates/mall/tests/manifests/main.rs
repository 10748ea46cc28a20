//! What goes to a cluster, as `kubectl kustomize` builds it of each overlay: whether it agrees with what the services are made
//! and configured to do, and whether every pod is as closed and as small as it is meant to be. Needs no cluster.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod budget;
mod edges;
mod hardened;
mod linkerd;
mod network;
mod overlay;
mod ports;
mod process;
mod routes;
#[path = "../observe/yaml.rs"]
mod yaml;
