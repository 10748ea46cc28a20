//! Ports: a Service, its container and the process in it mean the same ones, and say what is spoken there.

use testkit::process::SERVICES;

use crate::overlay::{list, name, overlays, text};
use crate::process::{self, workload};

/// What is spoken at a port, by its name; Linkerd knows no other words, and reads nothing of a port called `grpc`.
fn app_protocol(port: &str) -> &'static str {
    match port {
        "grpc" | "otlp-grpc" | "query-grpc" => "kubernetes.io/h2c",
        "postgres" => "linkerd.io/opaque",
        _ => "http",
    }
}

#[test]
fn a_service_leads_to_ports_that_its_container_declares() {
    let Some(overlays) = overlays() else { return };
    for overlay in overlays {
        for service in overlay.of("Service") {
            let selector = serde_json::json!({ "matchLabels": service["spec"]["selector"] });
            let pods = overlay.workloads();
            let selected: Vec<_> = pods.iter().filter(|pods| pods.is_selected(&selector)).collect();
            let [pods] = selected[..] else {
                panic!("{}: Service {} is about one workload", overlay.name, name(service))
            };
            for port in list(&service["spec"]["ports"]) {
                let at = format!("{}: port {} of Service {}", overlay.name, port["name"], name(service));
                let declared = pods.ports().find(|(name, _)| port["targetPort"] == *name);
                let (_, number) =
                    declared.unwrap_or_else(|| panic!("{at}: its targetPort is the name of a container's port"));
                assert_eq!(port["port"], number, "{at}: the number of its container's port");
                assert_eq!(port["appProtocol"], app_protocol(text(&port["name"])), "{at}: its appProtocol");
            }
        }
    }
}

#[test]
fn a_process_listens_where_its_container_says() {
    let Some(overlays) = overlays() else { return };
    for overlay in overlays {
        for process in SERVICES {
            let all = overlay.workloads();
            let pods = all.iter().find(|pods| pods.name == workload(process));
            let pods = pods.unwrap_or_else(|| panic!("{}: no workload runs {process}", overlay.name));
            assert_eq!(
                list(&pods.containers()[0]["args"]),
                ["serve", process],
                "{}: what {} runs",
                overlay.name,
                pods.name
            );
            let config = process::config(process, &process::variables(overlay, pods));
            let (section, main) = if process.ends_with(".rpc") { ("server.", "grpc") } else { ("", "http") };
            for (key, port) in [("listen", main), ("admin", "admin")] {
                let listen = &config[&format!("{section}{key}")];
                let declared =
                    pods.ports().find(|(name, _)| *name == port).map(|(_, number)| format!("0.0.0.0:{number}"));
                assert_eq!(declared.as_ref(), Some(listen), "{}: the port {port} of {}", overlay.name, pods.name);
            }
        }
    }
}
