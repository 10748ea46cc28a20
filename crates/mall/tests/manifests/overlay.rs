//! Overlays as `kubectl kustomize` builds them, and what is asked of them.

use std::collections::BTreeMap;
use std::process::Command;
use std::sync::LazyLock;

use serde_json::Value;
use testkit::part::{self, checkout};

use crate::yaml;

/// By which a workload is known everywhere.
pub(crate) const NAME: &str = "app.kubernetes.io/name";

/// What one overlay consists of.
pub(crate) struct Overlay {
    pub(crate) name: String,
    pub(crate) objects: Vec<Value>,
}

/// Whatever makes pods, or is one.
pub(crate) struct Workload<'a> {
    pub(crate) kind: &'a str,
    pub(crate) name: &'a str,
    pub(crate) replicas: u64,
    pub(crate) labels: BTreeMap<&'a str, &'a str>,
    pub(crate) annotations: BTreeMap<&'a str, &'a str>,
    /// The specification of its pods.
    pub(crate) pod: &'a Value,
}

/// All overlays, or nothing where there is no kubectl: then it was said that tests are skipped.
pub(crate) fn overlays() -> Option<&'static [Overlay]> {
    static BUILT: LazyLock<Option<Vec<Overlay>>> = LazyLock::new(|| {
        let kubectl = part::find("kubectl")?;
        let mut folders: Vec<_> =
            checkout("kustomize/overlays").read_dir().unwrap().map(|entry| entry.unwrap().path()).collect();
        folders.sort();
        let build = |folder: std::path::PathBuf| {
            let built = Command::new(&kubectl).arg("kustomize").arg(&folder).output().unwrap();
            let said = String::from_utf8_lossy(&built.stderr);
            assert!(built.status.success(), "kubectl kustomize {}: {said}", folder.display());
            let text = String::from_utf8(built.stdout).unwrap();
            let name = folder.file_name().unwrap().to_str().unwrap().to_owned();
            Overlay { name, objects: text.split("\n---\n").map(yaml::parse).collect() }
        };
        Some(folders.into_iter().map(build).collect())
    });
    BUILT.as_deref()
}

/// Every workload that an overlay has, each once. What a policy says of one holds wherever the policy is.
pub(crate) fn every_workload(overlays: &[Overlay]) -> Vec<Workload<'_>> {
    let mut all: Vec<Workload<'_>> = Vec::new();
    for workload in overlays.iter().flat_map(Overlay::workloads) {
        if all.iter().all(|known| known.name != workload.name) {
            all.push(workload);
        }
    }
    all
}

impl Overlay {
    pub(crate) fn of<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = &'a Value> {
        self.objects.iter().filter(move |object| object["kind"] == kind)
    }

    pub(crate) fn find(&self, kind: &str, name: &str) -> Option<&Value> {
        self.objects.iter().find(|object| object["kind"] == kind && self::name(object) == name)
    }

    pub(crate) fn workloads(&self) -> Vec<Workload<'_>> {
        self.objects.iter().filter_map(Workload::of).collect()
    }
}

impl<'a> Workload<'a> {
    fn of(object: &'a Value) -> Option<Self> {
        let kind = object["kind"].as_str()?;
        let template = match kind {
            "Deployment" | "StatefulSet" | "Job" => &object["spec"]["template"],
            "Pod" => object,
            "DaemonSet" | "CronJob" | "ReplicaSet" => panic!("what pods of a {kind} need is not known here"),
            _ => return None,
        };
        let metadata = &template["metadata"];
        Some(Self {
            kind,
            name: name(object),
            replicas: object["spec"]["replicas"].as_str().map_or(1, |replicas| replicas.parse().unwrap()),
            labels: texts(&metadata["labels"]),
            annotations: texts(&metadata["annotations"]),
            pod: &template["spec"],
        })
    }

    /// Those that run beside each other, without those that come before.
    pub(crate) fn containers(&self) -> &'a [Value] {
        list(&self.pod["containers"])
    }

    pub(crate) fn all_containers(&self) -> impl Iterator<Item = &'a Value> {
        self.containers().iter().chain(list(&self.pod["initContainers"]))
    }

    /// The name of a port that a container declares, by its name or its number.
    pub(crate) fn port(&self, port: &str) -> Option<&'a str> {
        self.ports().find(|(name, number)| port == *name || port == *number).map(|(name, _)| name)
    }

    /// Name and number of each port that its containers declare.
    pub(crate) fn ports(&self) -> impl Iterator<Item = (&'a str, &'a str)> {
        let ports = self.containers().iter().flat_map(|container| list(&container["ports"]));
        ports.map(|port| (text(&port["name"]), text(&port["containerPort"])))
    }

    /// Whether a selector of labels means its pods.
    pub(crate) fn is_selected(&self, selector: &Value) -> bool {
        let expressions = list(&selector["matchExpressions"]).iter().all(|expression| {
            assert_eq!(expression["operator"], "In", "{expression}");
            let label = self.labels.get(text(&expression["key"]));
            label.is_some_and(|label| list(&expression["values"]).iter().any(|value| value == label))
        });
        expressions && texts(&selector["matchLabels"]).iter().all(|(key, value)| self.labels.get(key) == Some(value))
    }
}

pub(crate) fn name(object: &Value) -> &str {
    text(&object["metadata"]["name"])
}

pub(crate) fn annotations(object: &Value) -> BTreeMap<&str, &str> {
    texts(&object["metadata"]["annotations"])
}

pub(crate) fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("a text is expected, not {value}"))
}

/// Nothing, if there is no list.
pub(crate) fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// Nothing, if there is no map.
pub(crate) fn texts(value: &Value) -> BTreeMap<&str, &str> {
    let map = value.as_object().into_iter().flatten();
    map.map(|(key, value)| (key.as_str(), text(value))).collect()
}
