//! Hardening: what every pod has, whatever it runs, so that a mistake in one gives little to whoever makes use of it.

use serde_json::{Value, json};
use testkit::process::SERVICES;

use crate::overlay::{Overlay, Workload, list, name, overlays, text};
use crate::process::workload;

/// Calls `check` for each workload of each overlay, with words for where it is.
fn each_workload(check: impl Fn(&Overlay, &Workload<'_>, &str)) {
    for overlay in overlays().unwrap_or_default() {
        for pods in overlay.workloads() {
            check(overlay, &pods, &format!("{}: {} {}", overlay.name, pods.kind, pods.name));
        }
    }
}

/// Calls `check` for each container, with words for where it is.
fn each_container(check: impl Fn(&Workload<'_>, &Value, &str)) {
    each_workload(|_, pods, at| pods.all_containers().for_each(|container| check(pods, container, at)));
}

/// Whether a number that a security context has is at least 10000, which no user of a host is.
fn is_nobody(id: &Value) -> bool {
    id.as_str().and_then(|id| id.parse::<u32>().ok()).is_some_and(|id| id >= 10_000)
}

#[test]
fn a_pod_runs_as_nobody_of_the_host() {
    each_workload(|_, pods, at| {
        let context = &pods.pod["securityContext"];
        assert_eq!(context["runAsNonRoot"], "true", "{at}: runAsNonRoot");
        assert!(is_nobody(&context["runAsUser"]), "{at}: runAsUser of at least 10000");
        assert!(is_nobody(&context["runAsGroup"]), "{at}: runAsGroup of at least 10000");
        assert_eq!(context["seccompProfile"]["type"], "RuntimeDefault", "{at}: seccompProfile");
        for shared in ["hostNetwork", "hostPID", "hostIPC"] {
            assert!(pods.pod[shared].is_null() || pods.pod[shared] == "false", "{at}: {shared}");
        }
    });
}

#[test]
fn a_container_cannot_become_more_or_write() {
    each_container(|_, container, at| {
        let context = &container["securityContext"];
        assert_eq!(context["allowPrivilegeEscalation"], "false", "{at}: allowPrivilegeEscalation");
        assert_eq!(context["readOnlyRootFilesystem"], "true", "{at}: readOnlyRootFilesystem");
        assert_eq!(context["capabilities"], json!({ "drop": ["ALL"] }), "{at}: capabilities");
        assert!(context["privileged"].is_null() || context["privileged"] == "false", "{at}: privileged");
        for id in ["runAsUser", "runAsGroup"] {
            assert!(context[id].is_null() || is_nobody(&context[id]), "{at}: {id} of at least 10000");
        }
    });
}

#[test]
fn what_a_pod_may_write_is_bounded_and_of_the_host_nothing() {
    each_workload(|_, pods, at| {
        for volume in list(&pods.pod["volumes"]) {
            assert!(volume["hostPath"].is_null(), "{at}: hostPath of {volume}");
            let directory = &volume["emptyDir"];
            assert!(directory.is_null() || directory["sizeLimit"].is_string(), "{at}: sizeLimit of {volume}");
        }
    });
}

#[test]
fn a_container_says_what_it_needs_and_what_it_may_take() {
    each_container(|_, container, at| {
        let resources = &container["resources"];
        for (kind, resource) in [
            ("requests", "cpu"),
            ("requests", "memory"),
            ("requests", "ephemeral-storage"),
            ("limits", "memory"),
            ("limits", "ephemeral-storage"),
        ] {
            assert!(resources[kind][resource].is_string(), "{at}: resources.{kind}.{resource}");
        }
    });
}

#[test]
fn an_image_has_a_version() {
    each_container(|_, container, at| {
        let image = text(&container["image"]);
        let tag = image.rsplit('/').next().unwrap().split_once(':').map(|(_, tag)| tag);
        assert!(tag.is_some_and(|tag| !tag.is_empty() && tag != "latest"), "{at}: the version of the image {image}");
    });
}

#[test]
fn a_token_is_for_whoever_watches_endpoints() {
    each_workload(|overlay, pods, at| {
        assert_eq!(pods.pod["automountServiceAccountToken"], "false", "{at}: automountServiceAccountToken");
        assert_eq!(pods.pod["enableServiceLinks"], "false", "{at}: enableServiceLinks");
        let account = overlay.find("ServiceAccount", pods.name);
        let account = account.unwrap_or_else(|| panic!("{at}: a ServiceAccount of its own"));
        assert_eq!(account["automountServiceAccountToken"], "false", "{at}: its ServiceAccount gives no token away");

        let sources = list(&pods.pod["volumes"]).iter().flat_map(|volume| list(&volume["projected"]["sources"]));
        let token = sources.into_iter().any(|source| source["serviceAccountToken"].is_object());
        let may =
            overlay.of("RoleBinding").flat_map(|binding| list(&binding["subjects"])).any(|it| it["name"] == pods.name);
        assert_eq!(token, may, "{at}: a token of the API server, and a role there");
        let way = &overlay.find("NetworkPolicy", "kubernetes").unwrap()["spec"]["podSelector"];
        assert_eq!(
            token,
            pods.is_selected(way),
            "{at}: a token of the API server, and the label of those who get there: {way}"
        );
    });
}

/// What a role lets its holder do to what.
#[test]
fn a_role_is_to_watch_endpoints_alone() {
    for overlay in overlays().unwrap_or_default() {
        assert_eq!(overlay.of("ClusterRole").chain(overlay.of("ClusterRoleBinding")).count(), 0, "{}", overlay.name);
        for role in overlay.of("Role") {
            for rule in list(&role["rules"]) {
                assert_eq!(rule["apiGroups"], json!(["discovery.k8s.io"]), "{}: {rule}", overlay.name);
                assert_eq!(rule["resources"], json!(["endpointslices"]), "{}: {rule}", overlay.name);
                assert_eq!(rule["verbs"], json!(["get", "list", "watch"]), "{}: {rule}", overlay.name);
            }
        }
    }
}

#[test]
fn what_serves_is_probed_and_what_is_replaced_is_drained() {
    each_workload(|_, pods, at| {
        // A Job ends, and shoppers serve nobody.
        if pods.ports().next().is_none() {
            return;
        }
        let service = SERVICES.iter().any(|process| workload(process) == pods.name);
        for container in pods.containers() {
            for probe in ["startupProbe", "readinessProbe", "livenessProbe"] {
                assert!(container[probe].is_object(), "{at}: {probe}");
                if service {
                    // It may wait for its database for long, not ready: that is no failed start.
                    let path = if probe == "readinessProbe" { "/readyz" } else { "/livez" };
                    // Linkerd lets a probe in by its path, which must be HTTP and serve nothing else.
                    let asks = json!({ "path": path, "port": "admin" });
                    assert_eq!(container[probe]["httpGet"], asks, "{at}: {probe}");
                }
            }
        }
        if service {
            let grace: u64 = text(&pods.pod["terminationGracePeriodSeconds"]).parse().unwrap();
            let sleep = &pods.containers()[0]["lifecycle"]["preStop"]["sleep"]["seconds"];
            let sleep: u64 = sleep.as_str().unwrap_or_else(|| panic!("{at}: preStop sleeps")).parse().unwrap();
            // It is a lame duck for 3 s, drains for 5 s, and its spans have 3 s after that.
            assert!(sleep >= 5 && grace > sleep + 11, "{at}: preStop sleeps {sleep} s, and all may take {grace} s");
        }
    });
}

#[test]
fn a_node_is_drained_a_replica_at_a_time() {
    each_workload(|overlay, pods, at| {
        if SERVICES.iter().any(|process| workload(process) == pods.name) {
            let about = |budget: &&Value| {
                budget["spec"]["selector"].is_object() && pods.is_selected(&budget["spec"]["selector"])
            };
            let budgets: Vec<_> = overlay.of("PodDisruptionBudget").filter(about).collect();
            let [budget] = budgets[..] else {
                panic!(
                    "{at}: one PodDisruptionBudget is about it, not {:?}",
                    budgets.iter().map(|it| name(it)).collect::<Vec<_>>()
                )
            };
            assert_eq!(budget["spec"]["maxUnavailable"], "1", "{at}");
            assert_eq!(budget["spec"]["unhealthyPodEvictionPolicy"], "AlwaysAllow", "{at}");
        }
    });
}

#[test]
fn a_secret_is_a_file() {
    each_container(|_, container, at| {
        for from in list(&container["envFrom"]) {
            assert!(
                from["secretRef"].is_null(),
                "{at}: {from} makes variables of a Secret, which every process below it gets"
            );
        }
        for variable in list(&container["env"]) {
            let name = text(&variable["name"]);
            assert!(variable["valueFrom"]["secretKeyRef"].is_null(), "{at}: mount the Secret that {name} is made of");
            let secret = ["PASSWORD", "SECRET", "TOKEN", "PRIVATE"].iter().any(|word| name.contains(word));
            let value = variable["value"].as_str().unwrap_or_default();
            assert!(!secret || value.starts_with('/'), "{at}: {name} is a secret by its name, and no path of a file");
            assert!(!value.contains("://") || !value.contains('@'), "{at}: {name} is a URL with a password");
        }
    });
}
