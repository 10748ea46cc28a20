//! What `mall up` is going to run: which services, on which addresses, with which settings.

use std::ffi::OsString;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use http::Uri;
use redact::Secret;
use serde_json::{Map, Value, json};
use telemetry::semconv::SERVICE_NAME;
use tokio::net::TcpListener;

use super::Options;
use super::data::DataDir;
use crate::config::{self, Sources};
use crate::services::{self, Foreign, Process, Service};

/// They name one service, or its file, and this is for all of them.
const FOR_ONE: [&str; 2] = ["OTEL_SERVICE_NAME", "MALL_CONFIG"];

/// They say where traces go, which `--otlp` says as well.
const DESTINATION: [&str; 5] = [
    "OTEL_TRACES_EXPORTER",
    "OTEL_EXPORTER_OTLP_ENDPOINT",
    "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
    "OTEL_EXPORTER_OTLP_PROTOCOL",
    "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL",
];

/// How many threads tokio has.
const WORKERS: &str = "TOKIO_WORKER_THREADS";

const ATTRIBUTES: &str = "OTEL_RESOURCE_ATTRIBUTES";

/// Free ports are looked for in blocks, below the range that systems give to outgoing connections.
const FREE_PORTS: std::ops::Range<u16> = 20_000..32_000;
const BLOCK: u16 = 32;

/// Everything that will run.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) members: Vec<Member>,
    /// Says that the block of free ports is ours.
    _claim: Option<std::net::TcpListener>,
}

/// One service that will run.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) service: &'static Service,
    pub(super) process: Process,
    /// By the key that sets it: the main one first, the admin one last.
    pub(super) addresses: Vec<(&'static str, SocketAddr)>,
    /// Environment variables that make the service listen there and keep its data here; those without a value are for
    /// others.
    pub(super) variables: Vec<(String, Option<OsString>)>,
}

impl Member {
    pub(super) fn main(&self) -> SocketAddr {
        self.addresses.first().map_or_else(nowhere, |(_, address)| *address)
    }

    pub(super) fn admin(&self) -> SocketAddr {
        self.addresses.last().map_or_else(nowhere, |(_, address)| *address)
    }
}

/// What every service is given of the environment in another form than `mall up` was.
fn shared(options: &Options) -> Vec<(String, Option<OsString>)> {
    let mut shared: Vec<_> = FOR_ONE.iter().map(|name| ((*name).to_owned(), None)).collect();
    if options.otlp.is_some() {
        shared.extend(DESTINATION.iter().map(|name| ((*name).to_owned(), None)));
    }
    if std::env::var_os(WORKERS).is_none() {
        // The processes share one machine: with as many threads as it has cores each, they would only wake one another.
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        shared.push((WORKERS.to_owned(), Some((cores / 4).max(1).to_string().into())));
    }
    if let Some(dir) = &options.config_dir {
        shared.push(("MALL_CONFIG_DIR".to_owned(), Some(dir.into())));
    }
    if let Ok(attributes) = std::env::var(ATTRIBUTES) {
        let is_name = |pair: &&str| pair.split('=').next().is_some_and(|key| key.trim() == SERVICE_NAME);
        let kept: Vec<_> = attributes.split(',').filter(|pair| !is_name(pair)).collect();
        shared.push((ATTRIBUTES.to_owned(), Some(kept.join(",").into())));
    }
    shared
}

fn is_server(url: &Secret<String>) -> bool {
    let rest = url.expose_secret().strip_prefix("postgres://");
    rest.is_some_and(|rest| !rest.is_empty() && !rest.contains(['/', '?']))
}

fn nowhere() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, 0).into()
}

impl Plan {
    /// Reads every configuration, so that a mistake in one is known before anything runs.
    pub(super) fn make(data: &DataDir, options: &Options) -> anyhow::Result<Self> {
        if options.postgres.as_ref().is_some_and(|url| !is_server(url)) {
            bail!("--postgres names a server and no database: write it as postgres://USER@HOST:PORT");
        }
        let sources = Sources::new(None, options.config_dir.clone());
        let mut members = Vec::new();
        // What no service so far has a key for.
        let mut unknown: Option<Foreign> = None;
        for service in services::ALL {
            let (process, foreign) = service.configure_among(&sources)?;
            let local =
                |(key, address): (_, SocketAddr)| (key, SocketAddr::from((Ipv4Addr::LOCALHOST, address.port())));
            let addresses = process.section.addresses().into_iter().map(local).collect();
            let variables = foreign.keys().map(|name| (name.clone(), None)).collect();
            members.push(Member { service, process, addresses, variables });
            match &mut unknown {
                None => unknown = Some(foreign),
                Some(unknown) => unknown.retain(|name, _| foreign.contains_key(name)),
            }
        }
        if let Some((_, error)) = unknown.into_iter().flatten().next() {
            return Err(error.into());
        }
        members.retain(|member| options.otlp.is_none() || !member.service.is_viewer());
        let mut plan = Self { members, _claim: None };
        if options.free_ports {
            plan.take_free_ports()?;
        }
        let viewer = plan.viewer_address("otlp_grpc").map(|address| format!("http://{address}").parse());
        let collector = options.otlp.clone().map(Ok).or(viewer).transpose()?;
        let settings = |member| plan.settings(member, data, options.postgres.as_ref(), collector.as_ref());
        let settings: Vec<_> = plan.members.iter().map(settings).collect();
        let shared = shared(options);
        for (member, settings) in plan.members.iter_mut().zip(settings) {
            let mut own = sources.clone();
            for (name, _) in &member.variables {
                own = own.without(name);
            }
            for (key, value) in settings {
                let name = config::variable(key);
                own = own.with(&name, &value);
                member.variables.push((name, Some(value.into())));
            }
            member.process = member.service.configure(&own)?;
            member.variables.extend(shared.iter().cloned());
        }
        Ok(plan)
    }

    fn settings(
        &self,
        member: &Member,
        data: &DataDir,
        postgres: Option<&Secret<String>>,
        collector: Option<&Uri>,
    ) -> Vec<(&'static str, String)> {
        let mut settings: Vec<_> = member.addresses.iter().map(|(key, at)| (*key, at.to_string())).collect();
        settings.extend(member.service.alone.iter().map(|(key, value)| (*key, (*value).to_owned())));
        let peers = member.service.calls.iter().filter_map(|(key, name)| Some((*key, self.find(name)?)));
        settings.extend(peers.map(|(key, peer)| (key, format!("direct:///{}", peer.main()))));
        if member.service.is_domain() {
            let domain = member.service.name.trim_end_matches(".rpc");
            let database = match postgres {
                Some(server) => format!("{}/{domain}", server.expose_secret()),
                None => format!("sqlite:{}", data.path().join(format!("{domain}.db")).display()),
            };
            settings.push(("database", database));
            settings.push(("auth.keys", data.keys().display().to_string()));
        }
        match collector {
            _ if member.service.is_viewer() => {}
            Some(url) => {
                let batcher = if url.port_u16() == Some(4318) { "otlphttp" } else { "otlpgrpc" };
                settings.push(("telemetry.endpoint", url.to_string().trim_end_matches('/').to_owned()));
                settings.push(("telemetry.batcher", batcher.to_owned()));
            }
            // A binary without the viewer.
            None => settings.push(("telemetry.disabled", "true".to_owned())),
        }
        settings
    }

    fn find(&self, name: &str) -> Option<&Member> {
        self.members.iter().find(|member| member.service.name == name)
    }

    fn viewer_address(&self, key: &str) -> Option<SocketAddr> {
        let viewer = self.members.iter().find(|member| member.service.is_viewer())?;
        viewer.addresses.iter().find(|(other, _)| *other == key).map(|(_, address)| *address)
    }

    /// Where the trace viewer is for a browser.
    pub(super) fn viewer(&self) -> Option<String> {
        self.viewer_address("listen").map(|address| format!("http://{address}"))
    }

    /// Every address by service and key, as `addresses.json` has them.
    pub(super) fn addresses(&self) -> Value {
        let services = self.members.iter().map(|Member { service, addresses, .. }| {
            let keys = addresses.iter().map(|(key, at)| (key.trim_start_matches("server.").to_owned(), json!(at)));
            (service.name.to_owned(), Value::Object(keys.collect()))
        });
        json!({ "pid": std::process::id(), "services": services.collect::<Map<_, _>>() })
    }

    /// Refuses to start when a port is taken; one that `was_left` by a mall that was killed is waited for a while.
    pub(super) async fn check_ports(&self, was_left: bool) -> anyhow::Result<()> {
        let ends = self.members.iter().map(|member| member.process.end());
        let until = Instant::now() + ends.max().filter(|_| was_left).unwrap_or_default();
        for Member { service, addresses, .. } in &self.members {
            for (_, address) in addresses {
                while let Err(error) = TcpListener::bind(address).await {
                    if Instant::now() >= until {
                        let (name, port) = (service.name, address.port());
                        return Err(error).context(format!(
                            "{name} needs port {port}, which is not free: stop what uses it (`lsof -i :{port}` names \
                             it), or run `mall up --free-ports`"
                        ));
                    }
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            }
        }
        Ok(())
    }

    /// Two malls that start at one moment do not take one block: the first port of it is kept by the supervisor itself.
    fn take_free_ports(&mut self) -> anyhow::Result<()> {
        let blocks = FREE_PORTS.len() / usize::from(BLOCK);
        let first = std::process::id() as usize % blocks;
        for block in (first..blocks).chain(0..first) {
            let start = FREE_PORTS.start + u16::try_from(block)? * BLOCK;
            let bind = |port| std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, port));
            let Ok(claim) = bind(start) else { continue };
            let ports: Vec<_> = (start + 1..start + BLOCK).filter(|port| bind(*port).is_ok()).collect();
            let places = self.members.iter_mut().flat_map(|member| &mut member.addresses);
            let mut left = ports.into_iter();
            if places.into_iter().all(|(_, address)| left.next().map(|port| address.set_port(port)).is_some()) {
                self._claim = Some(claim);
                return Ok(());
            }
        }
        bail!("no free ports between {} and {}: stop some programs that listen there", FREE_PORTS.start, FREE_PORTS.end)
    }
}
