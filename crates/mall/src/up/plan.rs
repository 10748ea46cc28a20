//! What `mall up` is going to run: which services, on which addresses, with which settings.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use http::Uri;
use serde_json::{Map, Value, json};
use tokio::net::TcpListener;

use super::data::DataDir;
use crate::config::{self, Sources};
use crate::services::{self, Process, Service};

/// How long the children of a `mall up` that was killed may keep their ports.
const PATIENCE: Duration = Duration::from_secs(5);

/// Free ports are looked for in blocks, below the range that systems give to outgoing connections.
const FREE_PORTS: std::ops::Range<u16> = 20_000..32_000;
const BLOCK: u16 = 32;

/// Everything that will run.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) members: Vec<Member>,
}

/// One service that will run.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) service: &'static Service,
    pub(super) process: Process,
    /// By the key that sets it: the main one first, the admin one last.
    pub(super) addresses: Vec<(&'static str, SocketAddr)>,
    /// Environment variables that make the service listen there and keep its data here.
    pub(super) variables: Vec<(String, String)>,
}

impl Member {
    pub(super) fn main(&self) -> SocketAddr {
        self.addresses.first().map_or_else(nowhere, |(_, address)| *address)
    }

    pub(super) fn admin(&self) -> SocketAddr {
        self.addresses.last().map_or_else(nowhere, |(_, address)| *address)
    }
}

fn nowhere() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, 0).into()
}

impl Plan {
    /// Reads every configuration, so that a mistake in one is known before anything runs.
    pub(super) fn make(data: &DataDir, sources: Sources, otlp: Option<&Uri>, free_ports: bool) -> anyhow::Result<Self> {
        let chosen = services::ALL.iter().filter(|service| otlp.is_none() || !service.is_viewer());
        let mut members = Vec::new();
        for service in chosen {
            let process = service.configure(&sources)?;
            let local =
                |(key, address): (_, SocketAddr)| (key, SocketAddr::from((Ipv4Addr::LOCALHOST, address.port())));
            let addresses = process.section.addresses().into_iter().map(local).collect();
            members.push(Member { service, process, addresses, variables: Vec::new() });
        }
        let mut plan = Self { members };
        if free_ports {
            plan.take_free_ports()?;
        }
        let viewer = plan.viewer_address("otlp_grpc").map(|address| format!("http://{address}").parse());
        let collector = otlp.cloned().map(Ok).or(viewer).transpose()?;
        let settings: Vec<_> =
            plan.members.iter().map(|member| plan.settings(member, data, collector.as_ref())).collect();
        for (member, settings) in plan.members.iter_mut().zip(settings) {
            let named = settings.into_iter().map(|(key, value)| (config::variable(key), value));
            member.variables = named.collect();
            let with = |sources: Sources, (name, value): &(String, String)| sources.with(name.clone(), value);
            member.process = member.service.configure(&member.variables.iter().fold(sources.clone(), with))?;
        }
        Ok(plan)
    }

    fn settings(&self, member: &Member, data: &DataDir, collector: Option<&Uri>) -> Vec<(&'static str, String)> {
        let mut settings: Vec<_> = member.addresses.iter().map(|(key, at)| (*key, at.to_string())).collect();
        settings.extend(member.service.alone.iter().map(|(key, value)| (*key, (*value).to_owned())));
        let upstream = member.service.upstream().and_then(|name| self.find(name));
        settings.extend(upstream.map(|upstream| ("upstream.target", format!("http://{}", upstream.main()))));
        if member.service.has_database() {
            let domain = member.service.name.trim_end_matches(".rpc");
            settings.push(("database", format!("sqlite:{}", data.path().join(format!("{domain}.db")).display())));
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
        let until = Instant::now() + if was_left { PATIENCE } else { Duration::ZERO };
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

    /// Two malls that start at one moment look in different blocks, since their process ids differ.
    fn take_free_ports(&mut self) -> anyhow::Result<()> {
        let blocks = FREE_PORTS.len() / usize::from(BLOCK);
        let first = std::process::id() as usize % blocks;
        for block in (first..blocks).chain(0..first) {
            let start = FREE_PORTS.start + u16::try_from(block)? * BLOCK;
            let free = |port: &u16| std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok();
            let ports: Vec<_> = (start..start + BLOCK).filter(free).collect();
            let places = self.members.iter_mut().flat_map(|member| &mut member.addresses);
            let mut left = ports.into_iter();
            if places.into_iter().all(|(_, address)| left.next().map(|port| address.set_port(port)).is_some()) {
                return Ok(());
            }
        }
        bail!("no free ports between {} and {}: stop some programs that listen there", FREE_PORTS.start, FREE_PORTS.end)
    }
}
