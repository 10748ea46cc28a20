//! Sizes: the whole mall on a small node.

use testkit::process::SERVICES;

use crate::overlay::{Workload, overlays, text};
use crate::process::workload;

/// Bytes, or thousandths of a processor, as Kubernetes writes them.
fn quantity(text: &str) -> u64 {
    let digits = text.trim_end_matches(|it: char| it.is_ascii_alphabetic());
    let number: u64 = digits.parse().unwrap_or_else(|_| panic!("what is {text}?"));
    number
        * match &text[digits.len()..] {
            "m" | "" => 1,
            "Ki" => 1 << 10,
            "Mi" => 1 << 20,
            "Gi" => 1 << 30,
            unit => panic!("what is {unit} in {text}?"),
        }
}

fn total(pods: &Workload<'_>, kind: &str, resource: &str) -> u64 {
    pods.containers().iter().map(|container| quantity(text(&container["resources"][kind][resource]))).sum()
}

#[test]
fn the_mall_fits_on_a_small_node() {
    let Some(overlays) = overlays() else { return };
    let overlay = overlays.iter().find(|overlay| overlay.name == "kind").unwrap();
    let running = overlay.workloads().into_iter().filter(|pods| pods.kind != "Job");
    let sizes: Vec<_> =
        running.map(|pods| (pods.name, (pods.replicas * total(&pods, "limits", "memory")) >> 20)).collect();
    let all: u64 = sizes.iter().map(|(_, size)| size).sum();
    assert!(
        all <= 600,
        "the limits of memory in kustomize/overlays/kind are {all} MiB together, more than 600: {sizes:?}"
    );
}

#[test]
fn a_service_asks_for_little() {
    let Some(overlays) = overlays() else { return };
    for overlay in overlays {
        for pods in overlay.workloads().iter().filter(|pods| SERVICES.iter().any(|it| workload(it) == pods.name)) {
            let (cpu, memory) = (total(pods, "requests", "cpu"), total(pods, "requests", "memory"));
            assert!(
                cpu <= 20,
                "{}: {} asks for {cpu} thousandths of a processor, more than 20",
                overlay.name,
                pods.name
            );
            assert!(memory <= 24 << 20, "{}: {} asks for {memory} bytes, more than 24 MiB", overlay.name, pods.name);
        }
    }
}
