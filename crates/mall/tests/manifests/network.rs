//! NetworkPolicies: both ends of every call, and nothing else.

use std::collections::BTreeSet;

use serde_json::Value;
use testkit::process::SERVICES;

use crate::edges::{self, Edge, OUTSIDE, assert_same};
use crate::overlay::{Overlay, Workload, every_workload, list, name, overlays, text};
use crate::process::workload;

/// Policies about what is no call of the mall: questions to the DNS, proxies, and the API server.
const NO_CALLS: [&str; 3] = ["default", "mesh", "kubernetes"];

/// Whom one peer of a rule means.
fn peers<'a>(peer: &Value, pods: &'a [Workload<'a>]) -> Vec<&'a str> {
    if !peer["namespaceSelector"].is_null() || !peer["ipBlock"].is_null() {
        return vec![OUTSIDE];
    }
    pods.iter().filter(|pods| pods.is_selected(&peer["podSelector"])).map(|pods| pods.name).collect()
}

/// What the policies of an overlay let through in one direction: `ingress` with its `from`, or `egress` with its `to`.
fn edges(overlay: &Overlay, pods: &[Workload<'_>], direction: &str, end: &str) -> BTreeSet<Edge> {
    let mut edges = BTreeSet::new();
    for policy in overlay.of("NetworkPolicy").filter(|policy| !NO_CALLS.contains(&name(policy))) {
        for here in pods.iter().filter(|pods| pods.is_selected(&policy["spec"]["podSelector"])) {
            for rule in list(&policy["spec"][direction]) {
                let there: Vec<&str> = match list(&rule[end]) {
                    [] => vec![OUTSIDE],
                    named => named.iter().flat_map(|peer| peers(peer, pods)).collect(),
                };
                for there in there {
                    for port in list(&rule["ports"]) {
                        let (caller, callee) = if end == "from" { (there, here.name) } else { (here.name, there) };
                        edges.insert((
                            caller.to_owned(),
                            callee.to_owned(),
                            port_name(pods, callee, text(&port["port"])),
                        ));
                    }
                }
            }
        }
    }
    edges
}

/// The name of a port of a workload; a number stays one outside.
fn port_name(pods: &[Workload<'_>], callee: &str, port: &str) -> String {
    let Some(callee) = pods.iter().find(|pods| pods.name == callee) else { return port.to_owned() };
    let name = callee.port(port).unwrap_or_else(|| panic!("no container of {} declares the port {port}", callee.name));
    name.to_owned()
}

#[test]
fn every_call_gets_in_and_nothing_else() {
    let Some(overlays) = overlays() else { return };
    let pods = every_workload(overlays);
    for overlay in overlays {
        let mut found = edges(overlay, &pods, "ingress", "from");
        // The shoppers inside come as those outside do.
        found.retain(|(caller, _, port)| caller != "load" || port != "http");
        assert_same(
            &found,
            &edges::expected(),
            &format!("{}: the ingress of kustomize/components/networkpolicy", overlay.name),
        );
    }
}

#[test]
fn every_call_gets_out_and_nothing_else() {
    let Some(overlays) = overlays() else { return };
    let pods = every_workload(overlays);
    for overlay in overlays {
        let database = overlay.workloads().iter().any(|pods| pods.name == "postgres");
        let expected = edges::expected().into_iter().filter(|(caller, ..)| caller != OUTSIDE);
        // A database that is no pod is somewhere else.
        let mut expected: BTreeSet<Edge> = expected
            .map(|edge| match edge.1.as_str() {
                "postgres" if !database => (edge.0, OUTSIDE.to_owned(), "5432".to_owned()),
                _ => edge,
            })
            .collect();
        for api in SERVICES.into_iter().filter(|process| process.ends_with(".api")) {
            expected.insert(("load".to_owned(), workload(api), "http".to_owned()));
        }
        let found = edges(overlay, &pods, "egress", "to");
        assert_same(&found, &expected, &format!("{}: the egress of kustomize/components/networkpolicy", overlay.name));
    }
}

#[test]
fn everything_is_closed_by_default() {
    let Some(overlays) = overlays() else { return };
    for overlay in overlays {
        let find = |name| overlay.find("NetworkPolicy", name).unwrap_or_else(|| panic!("{}: no {name}", overlay.name));
        let default = &find("default")["spec"];
        assert_eq!(default["podSelector"].as_object().map(|selector| selector.len()), Some(0), "it is about every pod");
        assert_eq!(list(&default["policyTypes"]), ["Ingress", "Egress"], "{}", overlay.name);
        assert!(list(&default["ingress"]).is_empty(), "{}: nobody gets in by default", overlay.name);
        for rule in list(&default["egress"]).iter().chain(list(&find("mesh")["spec"]["egress"])) {
            assert!(!list(&rule["to"]).is_empty(), "{}: to whom, in {rule}?", overlay.name);
        }
        for rule in list(&find("mesh")["spec"]["ingress"]) {
            assert_eq!(list(&rule["ports"]).iter().map(|port| text(&port["port"])).collect::<Vec<_>>(), ["4143"]);
        }
    }
}
