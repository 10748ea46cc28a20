//! What `mall up` says when all is ready: one table of addresses, and what to do with them.

use std::io::Write as _;
use std::path::Path;
use std::time::Duration;

use super::data::DataDir;
use super::plan::{Member, Plan};

pub(super) fn print(plan: &Plan, data: &DataDir, took: Duration) {
    let mut text = format!("\nmall is ready in {} ms, its data in {}\n\n", took.as_millis(), data.path().display());
    text.push_str(&format!("  {:11} {:22} {:23} {}\n", "service", "address", "/livez /readyz /metrics", "what it is"));
    for member in &plan.members {
        let Member { service, addresses, .. } = member;
        let [main, admin] = [member.main(), member.admin()].map(|address| format!("http://{address}"));
        text.push_str(&format!("  {:11} {main:22} {admin:23} {}\n", service.name, service.what));
        for (key, address) in addresses {
            let what = match *key {
                "otlp_grpc" => "takes traces: OTLP over gRPC",
                "otlp_http" => "takes traces: OTLP over HTTP",
                _ => continue,
            };
            text.push_str(&format!("  {:11} http://{address:<15} {:23} {what}\n", "", ""));
        }
    }
    text.push_str("\nTry in another terminal:\n");
    for line in next(plan, data) {
        text.push_str(&format!("  {line}\n"));
    }
    text.push_str("\nCtrl-C stops everything.\n\n");
    // Nobody may be reading, and the services run all the same.
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

/// What to try, with the data and the addresses that this mall has.
fn next(plan: &Plan, data: &DataDir) -> Vec<String> {
    let mall = std::env::args().next().unwrap_or_else(|| "mall".to_owned());
    let mut lines = Vec::new();
    // As `mall demo` reads it.
    let elsewhere = std::env::var("MALL_VIEWER").ok();
    let at = |name| plan.members.iter().find(|member| member.service.name == name).map(Member::main);
    if let Some(api) = at("user.api") {
        let mut flags = String::new();
        if data.path() != Path::new(".mall") {
            flags.push_str(&format!(" --data-dir {}", data.path().display()));
        }
        if plan.viewer().is_none() {
            let url = elsewhere.as_deref().unwrap_or("http://YOUR-JAEGER:16686");
            flags.push_str(&format!(" --viewer {url}"));
        }
        lines.push(format!("{mall} demo{flags}"));
        lines.push(format!("{mall} load{flags}"));
        lines.push(format!("open http://{api}/docs"));
    }
    lines.extend(at("user.rpc").map(|rpc| format!("grpcurl -plaintext {rpc} list")));
    lines.extend(plan.viewer().or(elsewhere).map(|url| format!("open {url}/search?service=user.api&limit=20")));
    lines
}
