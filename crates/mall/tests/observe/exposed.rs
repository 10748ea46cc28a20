//! Dashboards and rules against a mall that runs, seen through the real collector and Prometheus: what they ask for is there.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};
use testkit::observe;
use testkit::process::{Mall, SERVICES};
use testkit::prometheus::Prometheus;
use tokio::process::Command;

use crate::dashboards::{dashboards, panels};
use crate::promql;
use crate::rules::checkout;
use crate::support::{MALL, alone};
use crate::table::metrics;

/// Metrics that are not ours and that are there only once something has gone wrong, with the labels that they then have.
const SELDOM: [(&str, &[&str]); 4] = [
    ("ALERTS", &["alertname", "alertstate", "severity"]),
    ("otelcol_exporter_send_failed_spans_total", &["exporter", "instance", "job"]),
    ("otelcol_exporter_enqueue_failed_spans_total", &["exporter", "instance", "job"]),
    ("job_exporter_reason:collector_lost_spans:rate5m", &["exporter", "job", "reason"]),
];

/// Metrics of ours that are there only once something has gone wrong or in a cluster, or have a label only then: what docs/telemetry.md says
/// of them is taken for true.
const DOCUMENTED: [&str; 3] =
    ["db_client_operation_duration_seconds_count", "mall_discovery_endpoints", "mall_rpc_client_resends_total"];

/// Shoppers come and go for ever: each round registers, logs in, browses, orders and pays.
async fn shoppers(data: &Path) {
    loop {
        let mut load = Command::new(MALL);
        load.args(["load", "--users", "3", "--rate", "20", "--duration", "3s", "--mix", "browse=1,order=1,pay=2"]);
        load.arg("--data-dir").arg(data).kill_on_drop(true);
        load.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        // Some of it fails, or all of it where product.rpc is away at the start.
        load.status().await.unwrap();
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Somebody has a wrong password, somebody forges a callback, and product.rpc dies in the middle of an order, again and again
/// but ever more seldom: each time it is longer away.
async fn trouble(mall: &Mall, faults: &Path) {
    for round in 1_u32.. {
        let login = json!({ "mobile": "15838607699", "password": "not the right one" });
        mall.post("user.api", "/api/user/login", None, &login).await;
        let callback = json!({ "id": 1, "oid": 1, "amount": 1, "source": 1, "status": 1 });
        mall.post("pay.api", "/api/pay/callback", None, &callback).await;
        if round > 2 && round.is_power_of_two() {
            std::fs::write(faults.join("product.reserved"), "").unwrap();
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

/// The labels of a metric that may be missing here.
fn seldom(metric: &str) -> BTreeSet<String> {
    let mut labels = BTreeSet::new();
    if DOCUMENTED.contains(&metric) {
        let known = metrics().into_iter().find(|known| known.series().any(|name| name == metric)).unwrap();
        labels.extend(known.labels.into_iter().chain(["instance", "job"].map(str::to_owned)));
    }
    let foreign = SELDOM.iter().filter(|(name, _)| *name == metric).flat_map(|(_, labels)| *labels);
    labels.extend(foreign.map(|&label| label.to_owned()));
    labels
}

/// What Prometheus knows, asked once for each metric.
struct Known<'a> {
    prometheus: &'a Prometheus,
    labels: BTreeMap<String, BTreeSet<String>>,
}

impl Known<'_> {
    /// The labels that any series of a metric has; nothing where there is none.
    async fn labels(&mut self, metric: &str) -> Option<&BTreeSet<String>> {
        if !self.labels.contains_key(metric) {
            let answer = self.prometheus.ask("series", &[("match[]", metric)]).await.unwrap();
            let series = answer.as_array().unwrap().iter().filter_map(Value::as_object);
            let labels: BTreeSet<_> = series.flat_map(|series| series.keys().cloned()).collect();
            self.labels.insert(metric.to_owned(), labels.into_iter().chain(seldom(metric)).collect());
        }
        self.labels.get(metric).filter(|labels| !labels.is_empty())
    }

    /// What an expression asks for that is nowhere.
    async fn unknown(&mut self, expression: &str) -> Vec<String> {
        let mut unknown = Vec::new();
        let names = promql::names(expression);
        let mut all = BTreeSet::from(["le".to_owned()]);
        for (metric, asked) in names.selectors {
            let Some(labels) = self.labels(&metric).await else {
                unknown.push(format!("there is no metric {metric}"));
                continue;
            };
            unknown.extend(asked.difference(labels).map(|label| format!("{metric} has no label {label}")));
            all.extend(labels.iter().cloned());
        }
        unknown.extend(names.grouping.difference(&all).map(|label| format!("nothing has the label {label}")));
        unknown
    }
}

/// An expression as Grafana would send it.
fn filled_in(expression: &str, service: &str) -> String {
    let filled = expression.replace("$__rate_interval", "1m").replace("$service", service);
    assert!(!filled.contains('$'), "a variable that this test does not know: {filled}");
    filled
}

/// Whether there is any number.
async fn has_data(prometheus: &Prometheus, expression: &str) -> bool {
    prometheus.query(expression).await.iter().any(|sample| !sample.value.is_nan())
}

/// Waits until the dashboard's variable offers all services and nothing else: Prometheus evaluates a rule for each.
async fn every_service_is_offered(prometheus: &Prometheus) {
    let (_, dashboard) = dashboards().into_iter().find(|(name, _)| name == "service").unwrap();
    let variables = dashboard["templating"]["list"].as_array().unwrap();
    assert_eq!(variables.len(), 1);
    let query = variables[0]["query"]["query"].as_str().unwrap();
    let (metric, label) =
        query.strip_prefix("label_values(").unwrap().strip_suffix(')').unwrap().split_once(", ").unwrap();
    let all = BTreeSet::from(SERVICES.map(str::to_owned));
    testkit::eventually("the variable has a value for each service", async || {
        let found = prometheus.query(metric).await;
        let values: BTreeSet<_> = found.into_iter().map(|mut sample| sample.labels.remove(label).unwrap()).collect();
        (values == all).then_some(())
    })
    .await;
}

/// Every query of every panel, for each service where it is of one; with whether it may be empty.
fn queries() -> BTreeMap<String, (String, bool)> {
    let mut queries = BTreeMap::new();
    for panel in panels() {
        for expression in panel.expressions() {
            let of = if expression.contains("$service") { panel.services() } else { vec![""] };
            for service in of {
                let name = format!("{}: {} {service}", panel.dashboard, panel.title);
                queries.insert(filled_in(expression, service), (name, panel.quiet()));
            }
        }
    }
    queries
}

/// Every expression of the rules, which are all well.
async fn rules(prometheus: &Prometheus) -> Vec<(String, String)> {
    let answer = prometheus.ask("rules", &[]).await.unwrap();
    let groups = answer["groups"].as_array().unwrap().iter();
    let rules: Vec<_> = groups.flat_map(|group| group["rules"].as_array().unwrap()).collect();
    assert!(!rules.is_empty());
    for rule in &rules {
        assert_eq!(rule["health"], "ok", "{rule}");
    }
    rules
        .into_iter()
        .map(|rule| (rule["name"].as_str().unwrap().into(), rule["query"].as_str().unwrap().into()))
        .collect()
}

/// Asks until every query has an answer, or for two minutes; gives those that have none.
async fn unanswered(prometheus: &Prometheus, queries: &BTreeMap<String, (String, bool)>) -> Vec<String> {
    let mut open: Vec<_> = queries.iter().filter(|(_, (_, quiet))| !quiet).collect();
    for _ in 0..120 {
        let mut left = Vec::new();
        for query in open {
            if !has_data(prometheus, query.0).await {
                left.push(query);
            }
        }
        open = left;
        if open.is_empty() {
            break;
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    open.into_iter().map(|(query, (name, _))| format!("{name} is empty: {query}")).collect()
}

/// Whether what an expression reads leads to a trace, by the label that Grafana is told of.
async fn leads_to_a_trace(prometheus: &Prometheus, expression: &str) -> bool {
    let found = prometheus.ask("query_exemplars", &[("query", expression)]).await.unwrap();
    let exemplars = found.as_array().unwrap().iter().flat_map(|series| series["exemplars"].as_array().unwrap());
    exemplars
        .map(|exemplar| &exemplar["labels"]["trace_id"])
        .any(|trace| trace.as_str().is_some_and(|id| id.len() == 32))
}

#[tokio::test(flavor = "multi_thread")]
async fn all_that_is_asked_for_is_there() {
    let _alone = alone().await;
    let Some(observe) = observe::builder().start().await else { return };
    let prometheus = &observe.prometheus;
    let faults = tempfile::tempdir().unwrap();
    let mall = Mall::of(MALL)
        .argument("--otlp")
        .argument(&observe.collector.otlp_grpc)
        .variable("OTEL_METRICS_EXPORTER", "otlp")
        .variable("OTEL_LOGS_EXPORTER", "otlp")
        .variable("OTEL_METRIC_EXPORT_INTERVAL", "1000")
        .variable("MALL_FAULTS", faults.path().to_str().unwrap())
        .variable("MALL__RECOVERY__INTERVAL", "100ms")
        .variable("MALL__RECOVERY__HEAD_START", "200ms")
        .start()
        .await;
    let asking = async {
        every_service_is_offered(prometheus).await;
        let queries = queries();
        let mut wrong = unanswered(prometheus, &queries).await;
        for query in queries.keys().filter(|query| query.contains("traces_span_metrics_duration")) {
            if !leads_to_a_trace(prometheus, query).await {
                wrong.push(format!("no exemplars: {query}"));
            }
        }
        let mut known = Known { prometheus, labels: BTreeMap::new() };
        let panels = queries.into_iter().map(|(expression, (name, _))| (name, expression));
        for (name, expression) in panels.chain(rules(prometheus).await) {
            wrong.extend(known.unknown(&expression).await.into_iter().map(|what| format!("{name}: {what}")));
        }
        wrong.into_iter().collect::<BTreeSet<_>>()
    };
    let wrong = tokio::select! {
        wrong = asking => wrong,
        () = shoppers(mall.data()) => unreachable!("they come for ever"),
        () = trouble(&mall, faults.path()) => unreachable!("it does not end"),
    };
    assert!(wrong.is_empty(), "{wrong:#?}");
    let provisioned = std::fs::read_to_string(checkout("k8s/grafana/provisioning/datasources.yaml")).unwrap();
    for uid in ["uid: prometheus\n", "uid: jaeger\n", "name: trace_id\n          datasourceUid: jaeger\n"] {
        assert!(provisioned.contains(uid), "no {uid}");
    }
}
