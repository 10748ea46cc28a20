//! Linkerd's policies: one for each call, by who calls; and the ports that they are about.

use std::collections::BTreeSet;

use crate::edges::{self, Edge, OUTSIDE, assert_same};
use crate::overlay::{Overlay, every_workload, list, name, overlays, text};

/// The overlays that are meshed.
fn meshed() -> Option<(&'static [Overlay], Vec<&'static Overlay>)> {
    let overlays = overlays()?;
    let meshed: Vec<_> = overlays.iter().filter(|overlay| overlay.of("Server").next().is_some()).collect();
    assert!(!meshed.is_empty(), "an overlay has the component linkerd");
    Some((overlays, meshed))
}

/// Whom the references of a policy name; it is one reference, since a caller would have to be all of several.
fn callers(overlay: &Overlay, policy: &serde_json::Value) -> Vec<String> {
    let [reference] = list(&policy["spec"]["requiredAuthenticationRefs"]) else { panic!("one reference in {policy}") };
    assert!(reference["namespace"].is_null(), "kustomize would not change the namespace in {policy}");
    let named = text(&reference["name"]);
    let find = |kind| overlay.find(kind, named).unwrap_or_else(|| panic!("no {kind} {named}, which {policy} names"));
    match text(&reference["kind"]) {
        "ServiceAccount" => vec![named.to_owned()],
        "MeshTLSAuthentication" => {
            let identities = list(&find("MeshTLSAuthentication")["spec"]["identityRefs"]);
            identities.iter().map(|identity| text(&identity["name"]).to_owned()).collect()
        }
        "NetworkAuthentication" => {
            find("NetworkAuthentication");
            vec![OUTSIDE.to_owned()]
        }
        other => panic!("what is {other} in {policy}?"),
    }
}

#[test]
fn every_call_is_authorized_and_nothing_else() {
    let Some((overlays, meshed)) = meshed() else { return };
    let pods = every_workload(overlays);
    for overlay in meshed {
        let mut found: BTreeSet<Edge> = BTreeSet::new();
        for policy in overlay.of("AuthorizationPolicy") {
            let target = &policy["spec"]["targetRef"];
            assert_eq!(target["kind"], "Server", "{policy}");
            let server = text(&target["name"]);
            let server = overlay.find("Server", server).unwrap_or_else(|| panic!("no Server {server}: {policy}"));
            let selected: Vec<_> =
                pods.iter().filter(|pods| pods.is_selected(&server["spec"]["podSelector"])).collect();
            let [callee] = selected[..] else { panic!("a Server is about one workload: {server}") };
            for caller in callers(overlay, policy) {
                found.insert((caller, callee.name.to_owned(), text(&server["spec"]["port"]).to_owned()));
            }
        }
        let what = format!("{}: the AuthorizationPolicies of kustomize/components/linkerd", overlay.name);
        assert_same(&found, &edges::expected(), &what);
    }
}

#[test]
fn a_server_is_about_a_port_that_a_container_declares() {
    let Some((overlays, meshed)) = meshed() else { return };
    let pods = every_workload(overlays);
    for overlay in meshed {
        for server in overlay.of("Server") {
            let spec = &server["spec"];
            let callee = pods.iter().find(|pods| pods.is_selected(&spec["podSelector"]));
            let callee =
                callee.unwrap_or_else(|| panic!("{}: whose port is that of Server {}?", overlay.name, name(server)));
            let port = text(&spec["port"]);
            assert!(
                callee.ports().any(|(name, _)| name == port),
                "no container of {} declares the port {port}",
                callee.name
            );
            let probed = ["startupProbe", "readinessProbe", "livenessProbe"];
            let admin = port == "admin" || port == "health";
            assert!(!admin, "{probed:?} ask at {port} of {}, which a Server would close", callee.name);
            // A Server that is called anything else than it is by its Service would be read as something else.
            let service = overlays.iter().find_map(|overlay| overlay.find("Service", callee.name)).unwrap();
            let service = list(&service["spec"]["ports"]).iter().find(|it| it["name"] == port).unwrap();
            let protocol = match text(&service["appProtocol"]) {
                "kubernetes.io/h2c" => "gRPC",
                "http" => "HTTP/1",
                "linkerd.io/opaque" => "opaque",
                other => panic!("{} {port}: Linkerd does not know the appProtocol {other}", callee.name),
            };
            assert_eq!(spec["proxyProtocol"], protocol, "Server {}, by the appProtocol of its Service", name(server));
        }
    }
}

#[test]
fn every_pod_is_meshed_and_what_has_no_policy_is_refused() {
    let Some((_, meshed)) = meshed() else { return };
    for overlay in meshed {
        for pods in overlay.workloads() {
            let injected = pods.annotations.get("linkerd.io/inject");
            assert_eq!(injected, Some(&"enabled"), "{}: {} has no proxy", overlay.name, pods.name);
        }
        let namespace = crate::overlay::annotations(overlay.of("Namespace").next().unwrap());
        assert_eq!(namespace.get("config.linkerd.io/default-inbound-policy"), Some(&"deny"), "{}", overlay.name);
        assert_eq!(overlay.of("HTTPLocalRateLimitPolicy").count(), 1, "{}: logging in has a limit", overlay.name);
    }
}
