//! Who calls whom: by the access that the protos declare, by what the services are configured to call, and by what else runs
//! beside them. [`crate::linkerd`] and [`crate::network`] compare it with what the policies let through.

use std::collections::{BTreeMap, BTreeSet};

use testkit::process::SERVICES;

use crate::overlay::{NAME, overlays};
use crate::process::{self, workload};

/// Whoever is not a pod of the mall.
pub(crate) const OUTSIDE: &str = "outside";

/// A caller, whom it calls, and at which port of it.
pub(crate) type Edge = (String, String, String);

/// Calls that no proto and no configuration of ours tells of: of what stands beside the services.
const BESIDE: [(&str, &str, &str); 7] = [
    ("migrate", "postgres", "postgres"),
    ("collector", "jaeger", "otlp-grpc"),
    ("prometheus", "collector", "prometheus"),
    ("prometheus", "collector", "metrics"),
    ("jaeger", "prometheus", "http"),
    ("grafana", "prometheus", "http"),
    ("grafana", "jaeger", "ui"),
];

/// Calls between the services, as the protos tell: a REST API calls the service whose methods it has a route for, and a
/// service calls those whose methods name it.
fn declared() -> BTreeSet<(String, String)> {
    let pool = proto::descriptors();
    let allow = pool.get_extension_by_name("mall.access.v1.allow").unwrap();
    let http = pool.get_extension_by_name("google.api.http").unwrap();
    let mut edges = BTreeSet::new();
    for service in pool.services().filter(|service| service.full_name().starts_with("mall.")) {
        let domain = service.full_name().split('.').nth(1).unwrap();
        let callee = format!("{domain}.rpc");
        for method in service.methods() {
            let options = method.options();
            if options.has_extension(&http) {
                edges.insert((format!("{domain}.api"), callee.clone()));
            }
            let access = options.get_extension(&allow);
            let callers = access.as_message().unwrap().get_field_by_name("services").unwrap();
            for caller in callers.as_list().unwrap() {
                edges.insert((caller.as_str().unwrap().to_owned(), callee.clone()));
            }
        }
    }
    edges
}

/// Every call there is, at the named ports of a cluster.
pub(crate) fn expected() -> BTreeSet<Edge> {
    let edge = |caller: &str, callee: &str, port: &str| (caller.to_owned(), callee.to_owned(), port.to_owned());
    let mut edges: BTreeSet<Edge> =
        BESIDE.into_iter().map(|(caller, callee, port)| edge(caller, callee, port)).collect();
    for (caller, callee) in declared() {
        edges.insert(edge(&workload(&caller), &workload(&callee), "grpc"));
    }
    for process in SERVICES {
        edges.insert(edge(&workload(process), "collector", "otlp-grpc"));
        if process::config(process, &BTreeMap::new()).contains_key("database") {
            edges.insert(edge(&workload(process), "postgres", "postgres"));
        } else {
            edges.insert(edge(OUTSIDE, &workload(process), "http"));
        }
    }
    edges
}

/// Fails with what to change, if the two are not the same.
pub(crate) fn assert_same(found: &BTreeSet<Edge>, expected: &BTreeSet<Edge>, what: &str) {
    let tell = |edges: BTreeSet<&Edge>| {
        let lines = edges.iter().map(|(caller, callee, port)| format!("\n  {caller} -> {callee} {port}"));
        lines.collect::<String>()
    };
    let missing: BTreeSet<_> = expected.difference(found).collect();
    let needless: BTreeSet<_> = found.difference(expected).collect();
    assert!(missing.is_empty(), "{what} does not let through:{}", tell(missing));
    assert!(needless.is_empty(), "{what} lets through what nobody calls:{}", tell(needless));
}

#[test]
fn services_call_whom_the_protos_let_them_call() {
    let ports = process::listening();
    let mut configured = BTreeSet::new();
    for caller in SERVICES {
        for target in process::targets(&process::config(caller, &BTreeMap::new())) {
            let callee = process::process_at(target, &ports).unwrap_or_else(|| panic!("{caller}: who is {target}?"));
            configured.insert((caller.to_owned(), callee));
        }
    }
    let declared = declared();
    assert_eq!(configured, declared, "the targets in etc/*.yaml, and the access that proto/mall declares");
}

#[test]
fn services_call_the_same_ones_in_a_cluster() {
    let Some(overlays) = overlays() else { return };
    for overlay in overlays {
        let mut configured = BTreeSet::new();
        for pods in overlay.workloads() {
            let Some(caller) = SERVICES.into_iter().find(|process| workload(process) == pods.name) else { continue };
            for target in process::targets(&process::config(caller, &process::variables(overlay, &pods))) {
                let callee = process::process_named(target);
                assert!(SERVICES.contains(&callee.as_str()), "{}: {caller} calls {target}", overlay.name);
                configured.insert((caller.to_owned(), callee));
            }
        }
        assert_eq!(configured, declared(), "{}: the targets in k8s, and what proto/mall declares", overlay.name);
    }
}

/// Policies go by both.
#[test]
fn a_pod_has_the_name_of_its_workload_as_a_label_and_an_account() {
    let Some(overlays) = overlays() else { return };
    for overlay in overlays {
        for pods in overlay.workloads() {
            assert_eq!(pods.labels.get(NAME), Some(&pods.name), "{}: the label {NAME} of {}", overlay.name, pods.name);
            let account = &pods.pod["serviceAccountName"];
            assert_eq!(account, pods.name, "{}: the ServiceAccount of {}", overlay.name, pods.name);
        }
    }
}
