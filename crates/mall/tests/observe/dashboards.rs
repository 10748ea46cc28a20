//! The dashboards: what they are made of, and that they are made alike.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use serde_json::Value;
use testkit::process::SERVICES;

use crate::promql;
use crate::rules::{checkout, files};
use crate::table::metrics;

/// Panels that stay empty: nothing is refused, lost, sent again or short of connections here, and all addresses are given. The metrics and labels that they ask for
/// must be there all the same.
const QUIET: [(&str, &str); 7] = [
    ("mall-overview", "Refused"),
    ("mall-service", "Refused"),
    ("mall-service", "Calls sent again"),
    ("mall-service", "Endpoints of others"),
    ("mall-database", "Statements that fail"),
    ("mall-database", "Waits in vain"),
    ("mall-telemetry", "Lost"),
];

/// Panels of the service's dashboard that are not of every service.
const OF: [(&str, &[&str]); 8] = [
    ("Calls to others", CALLERS),
    ("In flight to others", CALLERS),
    ("Duration of calls to others, p95", CALLERS),
    ("Circuit breakers", CALLERS),
    ("Refused", SERVERS),
    ("Calls that may run", SERVERS),
    // Those who call product.rpc, which is struck again and again.
    ("Calls to others that fail", &["order.rpc"]),
    ("Faults by kind", &["order.api", "order.rpc"]),
];

/// The services that are asked by gRPC.
const SERVERS: &[&str] = &["user.rpc", "product.rpc", "order.rpc", "pay.rpc"];

/// The services that ask others.
const CALLERS: &[&str] = &["user.api", "product.api", "order.api", "pay.api", "order.rpc", "pay.rpc"];

/// One panel of a dashboard.
pub(crate) struct Panel {
    pub(crate) dashboard: String,
    pub(crate) title: String,
    json: Value,
}

impl Panel {
    pub(crate) fn expressions(&self) -> impl Iterator<Item = &str> {
        self.json["targets"].as_array().unwrap().iter().map(|target| target["expr"].as_str().unwrap())
    }

    pub(crate) fn quiet(&self) -> bool {
        QUIET.contains(&(&self.dashboard, &self.title))
    }

    /// The services that it is of; none where it is of all at once.
    pub(crate) fn services(&self) -> Vec<&'static str> {
        let of = OF.iter().find(|(title, _)| self.dashboard == "mall-service" && self.title == *title);
        let of = |service: &&str| of.is_none_or(|(_, services)| services.contains(service));
        SERVICES.into_iter().filter(of).collect()
    }
}

/// Each by the name of its file.
pub(crate) fn dashboards() -> Vec<(String, Value)> {
    let read = |file: PathBuf| {
        let name = file.file_stem().unwrap().to_str().unwrap().to_owned();
        (name, serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap())
    };
    files("k8s/grafana/dashboards").into_iter().map(read).collect()
}

/// Every panel that is not a heading.
pub(crate) fn panels() -> Vec<Panel> {
    let mut all = Vec::new();
    for (_, dashboard) in dashboards() {
        for panel in dashboard["panels"].as_array().unwrap().iter().filter(|panel| panel["type"] != "row") {
            let text = |value: &Value| value.as_str().unwrap().to_owned();
            all.push(Panel { dashboard: text(&dashboard["uid"]), title: text(&panel["title"]), json: panel.clone() });
        }
    }
    all
}

#[test]
fn dashboards_are_made_alike() {
    let dashboards = dashboards();
    assert_eq!(
        dashboards.iter().map(|(name, _)| name).collect::<Vec<_>>(),
        ["database", "overview", "saga", "service", "telemetry"]
    );
    for (name, dashboard) in &dashboards {
        for key in ["title", "description"] {
            assert!(dashboard[key].as_str().is_some_and(|text| !text.is_empty()), "{name}: {key}");
        }
        assert_eq!(dashboard["uid"], format!("mall-{name}"));
        assert_eq!(dashboard["id"], Value::Null, "{name}: an id is Grafana's to make up");
    }
    let mut titles = BTreeSet::new();
    for Panel { dashboard, title, json } in panels() {
        assert_eq!(json["datasource"]["uid"], "prometheus", "{dashboard}: {title}");
        assert!(json["description"].as_str().is_some_and(|text| text.ends_with('.')), "{dashboard}: {title}");
        assert!(json["fieldConfig"]["defaults"]["unit"].is_string(), "{dashboard}: {title} has no unit");
        for target in json["targets"].as_array().unwrap() {
            let legend = target["legendFormat"].as_str().is_some_and(|legend| !legend.is_empty());
            assert!(legend || json["type"] == "stat", "{dashboard}: {title} has no legend");
            let traced = target["expr"].as_str().unwrap().contains("traces_span_metrics_duration");
            assert_eq!(target["exemplar"] == true, traced, "{dashboard}: {title}: exemplars are of span metrics");
        }
        assert!(titles.insert((dashboard, title)), "a title is there twice");
    }
    for (dashboard, title) in QUIET.into_iter().chain(OF.map(|(title, _)| ("mall-service", title))) {
        assert!(titles.contains(&(dashboard.to_owned(), title.to_owned())), "an exception for no panel: {title}");
    }
}

#[test]
fn panels_lie_side_by_side() {
    for (name, dashboard) in dashboards() {
        let mut taken = BTreeMap::new();
        for panel in dashboard["panels"].as_array().unwrap() {
            let [x, y, w, h] = ["x", "y", "w", "h"].map(|key| panel["gridPos"][key].as_u64().unwrap());
            assert!(w > 0 && h > 0 && x + w <= 24, "{name}: {} is off the grid", panel["title"]);
            for cell in (x..x + w).flat_map(|x| (y..y + h).map(move |y| (x, y))) {
                let other = taken.insert(cell, panel["title"].to_string());
                assert_eq!(other, None, "{name}: {} lies on another", panel["title"]);
            }
        }
    }
}

/// A metric that nobody can see is not worth its series.
#[test]
fn every_metric_is_on_a_dashboard() {
    let panels = panels();
    let asked: Vec<_> = panels.iter().flat_map(Panel::expressions).map(promql::names).collect();
    let asked: BTreeSet<_> =
        asked.iter().flat_map(|names| &names.selectors).map(|(metric, _)| metric.as_str()).collect();
    let rules = std::fs::read_to_string(checkout("k8s/prometheus/rules.yaml")).unwrap();
    for metric in metrics().iter().filter(|metric| !metric.name.starts_with("mall_viewer_")) {
        let shown = metric.series().any(|name| asked.contains(name.as_str()) || rules.contains(&name));
        assert!(shown, "{} is on no dashboard", metric.name);
    }
}
