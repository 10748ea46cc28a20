//! GRPCRoutes: what is called again is what the protos declare to be idempotent, and no method is without a route.

use std::collections::BTreeSet;

use serde_json::Value;
use testkit::process::SERVICES;

use crate::overlay::{annotations, list, name, overlays, text};
use crate::process::workload;

/// NO_SIDE_EFFECTS and IDEMPOTENT of google.protobuf.MethodOptions.IdempotencyLevel.
const IDEMPOTENT: [i32; 2] = [1, 2];

type Method = (String, String);

/// Service and name of each method of a domain that may be called twice.
fn idempotent(domain: &str) -> BTreeSet<Method> {
    let services =
        proto::descriptors().services().filter(|service| service.full_name().starts_with(&format!("mall.{domain}.")));
    let methods = services.flat_map(|service| service.methods().collect::<Vec<_>>());
    let may = methods.filter(|method| {
        let options = method.options();
        let level = options.get_field_by_name("idempotency_level").and_then(|level| level.as_enum_number());
        level.is_some_and(|level| IDEMPOTENT.contains(&level))
    });
    may.map(|method| (method.parent_service().full_name().to_owned(), method.name().to_owned())).collect()
}

/// The methods that the rules of a route name; nothing for one that names all.
fn methods(route: &Value) -> BTreeSet<Method> {
    let matches = list(&route["spec"]["rules"]).iter().flat_map(|rule| list(&rule["matches"]));
    matches.map(|it| (text(&it["method"]["service"]).to_owned(), text(&it["method"]["method"]).to_owned())).collect()
}

#[test]
fn what_is_called_again_is_idempotent() {
    let Some(overlays) = overlays() else { return };
    for overlay in overlays.iter().filter(|overlay| overlay.of("GRPCRoute").next().is_some()) {
        for process in SERVICES.into_iter().filter(|process| process.ends_with(".rpc")) {
            let service = workload(process);
            let port = &overlay.find("Service", &service).unwrap()["spec"]["ports"][0]["port"];
            let parent = |route: &&Value| {
                let [parent] = list(&route["spec"]["parentRefs"]) else { panic!("{route}: one parent") };
                parent["kind"] == "Service" && parent["name"] == service.as_str() && parent["port"] == *port
            };
            let routes: Vec<_> = overlay.of("GRPCRoute").filter(parent).collect();
            let retried: Vec<_> =
                routes.iter().filter(|route| annotations(route).contains_key("retry.linkerd.io/grpc")).collect();
            let found: BTreeSet<Method> = retried.iter().flat_map(|route| methods(route)).collect();
            let expected = idempotent(process.split('.').next().unwrap());
            assert_eq!(found, expected, "{}: the retried methods of {service}, and proto/mall", overlay.name);
            for route in &retried {
                let rules = list(&route["spec"]["rules"]);
                assert!(
                    rules.iter().all(|rule| !list(&rule["matches"]).is_empty()),
                    "{} is about every method",
                    name(route)
                );
            }
            let rest = routes.iter().filter(|route| methods(route).is_empty()).count();
            assert_eq!(rest, 1, "{}: one GRPCRoute of {service} is for every other method", overlay.name);
            for route in routes {
                let seconds = annotations(route)["timeout.linkerd.io/request"].strip_suffix('s').unwrap();
                let seconds: f64 = seconds.parse().unwrap();
                assert!(seconds > 2.0, "{} ends calls that their caller still waits for, 2 s", name(route));
                for rule in list(&route["spec"]["rules"]) {
                    let [backend] = list(&rule["backendRefs"]) else { panic!("{}: one backend", name(route)) };
                    let same = backend["name"] == service.as_str() && backend["port"] == *port;
                    assert!(same, "{} sends calls of {service} elsewhere", name(route));
                }
            }
        }
    }
}

#[test]
fn only_called_services_are_given_up_on() {
    let Some(overlays) = overlays() else { return };
    for overlay in overlays.iter().filter(|overlay| overlay.of("GRPCRoute").next().is_some()) {
        for service in overlay.of("Service") {
            let rpc = SERVICES.iter().any(|process| process.ends_with(".rpc") && workload(process) == name(service));
            let accrual = annotations(service).get("balancer.linkerd.io/failure-accrual").copied();
            assert_eq!(accrual, rpc.then_some("consecutive"), "{}: Service {}", overlay.name, name(service));
        }
    }
}
