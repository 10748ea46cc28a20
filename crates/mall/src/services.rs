//! The services of mall, as data: a new one is an entry in the table and an arm in each match.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use crate::config::{self, Document, Origin, Sources};

/// One process of mall.
#[derive(Debug)]
pub(crate) struct Service {
    /// Its name on the command line and in traces.
    pub(crate) name: &'static str,
    /// What it is, for people.
    pub(crate) what: &'static str,
    /// Its file in `etc/`, compiled in.
    file: &'static str,
    /// What is set differently, beside addresses and data, when all of the mall is on one machine.
    pub(crate) alone: &'static [(&'static str, &'static str)],
    kind: Kind,
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    /// A REST API in front of the service that is named.
    Gateway(gateway::Api, &'static str),
    User,
    #[cfg(feature = "viewer")]
    Viewer,
}

/// Every service, in the order in which the table of addresses shows them.
pub(crate) const ALL: &[Service] = &[
    Service {
        name: "user.api",
        what: "REST: register, log in, userinfo; all of it at /docs",
        file: include_str!("../../../etc/user.api.yaml"),
        alone: &[],
        kind: Kind::Gateway(gateway::Api::User, "user.rpc"),
    },
    Service {
        name: "user.rpc",
        what: "gRPC, with reflection",
        file: include_str!("../../../etc/user.rpc.yaml"),
        // Nobody else can name one, and nobody else can reach it.
        alone: &[("first_user_is_admin", "true")],
        kind: Kind::User,
    },
    #[cfg(feature = "viewer")]
    Service {
        name: "viewer",
        what: "every request's trace, in Jaeger's UI",
        file: include_str!("../../../etc/viewer.yaml"),
        alone: &[],
        kind: Kind::Viewer,
    },
];

/// The service of this name.
pub(crate) fn find(name: &str) -> Option<&'static Service> {
    ALL.iter().find(|service| service.name == name)
}

impl Service {
    /// The configuration in layers, of no type yet.
    pub(crate) fn document(&self, sources: &Sources) -> Result<Document, config::Error> {
        Document::read(self.name, self.file, sources)
    }

    /// The configuration, checked.
    pub(crate) fn configure(&self, sources: &Sources) -> Result<Process, config::Error> {
        let document = self.document(sources)?;
        let section = match self.kind {
            Kind::Gateway(api, _) => Section::Gateway(api, Box::new(document.service()?)),
            Kind::User => Section::User(Box::new(document.service()?)),
            #[cfg(feature = "viewer")]
            Kind::Viewer => Section::Viewer(Box::new(document.service()?)),
        };
        Ok(Process { telemetry: document.telemetry()?, section })
    }

    /// Like [`Service::configure`], where the environment is for all services: a variable whose section this one has not
    /// is left out, and told with the reason.
    pub(crate) fn configure_among(&self, sources: &Sources) -> Result<(Process, Foreign), config::Error> {
        let (mut sources, mut foreign) = (sources.clone(), Foreign::new());
        loop {
            match self.configure(&sources) {
                Err(config::Error::UnknownKey { origin: Origin::Variable(name), key, name: service, hint })
                    if !key.contains('.') =>
                {
                    sources = sources.without(&name);
                    let origin = Origin::Variable(name.clone());
                    foreign.insert(name, config::Error::UnknownKey { origin, name: service, key, hint });
                }
                other => return Ok((other?, foreign)),
            }
        }
    }

    /// Whether it is a domain of its own: it has a database, and a key with which it signs tokens.
    pub(crate) fn is_domain(&self) -> bool {
        match self.kind {
            Kind::User => true,
            Kind::Gateway(..) => false,
            #[cfg(feature = "viewer")]
            Kind::Viewer => false,
        }
    }

    /// The service that it calls.
    pub(crate) fn upstream(&self) -> Option<&'static str> {
        if let Kind::Gateway(_, upstream) = self.kind { Some(upstream) } else { None }
    }

    /// Whether it takes the traces of the others.
    pub(crate) fn is_viewer(&self) -> bool {
        self.upstream().is_none() && !self.is_domain()
    }

    /// What stops first has the smallest number: callers before those they call, and the viewer after the last span.
    pub(crate) fn stage(&self) -> usize {
        if self.upstream().is_some() { 0 } else { 1 + usize::from(self.is_viewer()) }
    }
}

/// Variables in the environment that are not for a service, each with why.
pub(crate) type Foreign = BTreeMap<String, config::Error>;

/// A service's configuration.
#[derive(Debug)]
pub(crate) struct Process {
    pub(crate) telemetry: telemetry::Config,
    pub(crate) section: Section,
}

impl Process {
    /// The most time between the word to end and the end: the drain, three seconds for the last spans, and one to spare.
    pub(crate) fn end(&self) -> Duration {
        let drain = match &self.section {
            Section::Gateway(_, config) => config.drain,
            Section::User(config) => config.server.drain,
            #[cfg(feature = "viewer")]
            Section::Viewer(_) => Duration::from_secs(3),
        };
        drain.saturating_add(Duration::from_secs(4))
    }
}

/// The part of it that is the service's own.
#[derive(Debug)]
pub(crate) enum Section {
    Gateway(gateway::Api, Box<gateway::Config>),
    User(Box<user::Config>),
    #[cfg(feature = "viewer")]
    Viewer(Box<viewer::Config>),
}

impl Section {
    /// Runs the service until the process drains.
    pub(crate) async fn serve(self, lifecycle: rpc::Lifecycle) -> anyhow::Result<()> {
        match self {
            Self::Gateway(api, config) => gateway::serve(api, *config, lifecycle).await?,
            Self::User(config) => user::serve(*config, lifecycle).await?,
            #[cfg(feature = "viewer")]
            Self::Viewer(config) => viewer::serve(*config, lifecycle).await?,
        }
        Ok(())
    }

    /// Brings the service's database to the newest schema, if it has one.
    pub(crate) async fn migrate(&self) -> anyhow::Result<()> {
        match self {
            Self::User(config) => Ok(db::Pool::new(&config.database, &config.pool)?.migrate(user::MIGRATIONS).await?),
            Self::Gateway(..) => Ok(()),
            #[cfg(feature = "viewer")]
            Self::Viewer(_) => Ok(()),
        }
    }

    /// Every address it listens on, with the key that sets it: the main one first, the admin one last.
    pub(crate) fn addresses(&self) -> Vec<(&'static str, SocketAddr)> {
        match self {
            Self::Gateway(_, config) => vec![("listen", config.listen), ("admin", config.admin)],
            Self::User(config) => vec![("server.listen", config.server.listen), ("server.admin", config.server.admin)],
            #[cfg(feature = "viewer")]
            Self::Viewer(config) => vec![
                ("listen", config.listen),
                ("otlp_grpc", config.otlp_grpc),
                ("otlp_http", config.otlp_http),
                ("admin", config.admin),
            ],
        }
    }

    /// Every key and its value, secrets masked.
    pub(crate) fn show(&self) -> serde_json::Result<serde_json::Value> {
        match self {
            Self::Gateway(_, config) => serde_json::to_value(config),
            Self::User(config) => serde_json::to_value(config),
            #[cfg(feature = "viewer")]
            Self::Viewer(config) => serde_json::to_value(config),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_service_runs_with_its_own_file() {
        let mut ports = Vec::new();
        for service in ALL {
            let process = service.configure(&Sources::default()).unwrap();
            assert_eq!(process.telemetry.name, service.name);
            assert_eq!(process.telemetry.disabled, service.is_viewer());
            let addresses = process.section.addresses();
            // An admin port is the main port and 10000.
            let of = |index: usize| addresses[index].1.port();
            assert_eq!(of(addresses.len() - 1), of(0) + 10_000, "{}", service.name);
            ports.extend(addresses.into_iter().map(|(_, address)| address.port()));
            assert!(service.upstream().is_none_or(|name| find(name).is_some()));
        }
        let count = ports.len();
        ports.sort_unstable();
        ports.dedup();
        assert_eq!(ports.len(), count, "two services have one port");
    }

    #[test]
    fn every_service_takes_a_go_zero_block() {
        let dir = tempfile::tempdir().unwrap();
        let text =
            "Telemetry:\n  Name: shop\n  Endpoint: http://jaeger:14268/api/traces\n  Sampler: 1.0\n  Batcher: jaeger\n";
        for service in ALL {
            std::fs::write(dir.path().join(format!("{}.yaml", service.name)), text).unwrap();
            let sources = Sources::new(None, Some(dir.path().to_owned()));
            let telemetry = service.configure(&sources).unwrap().telemetry;
            assert_eq!((telemetry.name.as_str(), telemetry.batcher), ("shop", telemetry::Batcher::Jaeger));
        }
    }
}
