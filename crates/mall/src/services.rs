//! The services of mall, as data: a new one is an entry in the table, its file in `etc/`, and its section.

mod section;

use std::collections::BTreeMap;
use std::time::Duration;

use gateway::Api;

pub(crate) use self::section::Section;
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
    kind: Kind,
    /// The services that it calls, each with the key that says where it is.
    pub(crate) calls: &'static [(&'static str, &'static str)],
    /// What is set differently, beside addresses and data, when all of the mall is on one machine.
    pub(crate) alone: &'static [(&'static str, &'static str)],
    /// Reads its own part of the configuration.
    read: fn(&Document) -> Result<Box<dyn Section>, config::Error>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// A REST API in front of a domain.
    Gateway,
    /// It has a database, and a key with which it signs tokens.
    Domain,
    /// It takes the traces of the others.
    #[cfg(feature = "viewer")]
    Viewer,
}

/// Every service, in the order in which the table of addresses shows them.
pub(crate) const ALL: &[Service] = &[
    Service {
        name: "user.api",
        what: "REST: register, log in, userinfo; all of it at /docs",
        file: include_str!("../../../etc/user.api.yaml"),
        kind: Kind::Gateway,
        calls: &[("upstream.target", "user.rpc")],
        alone: &[],
        read: |document| section::gateway(Api::User, document),
    },
    Service {
        name: "product.api",
        what: "REST: products, their prices and stock; /docs",
        file: include_str!("../../../etc/product.api.yaml"),
        kind: Kind::Gateway,
        calls: &[("upstream.target", "product.rpc")],
        alone: &[],
        read: |document| section::gateway(Api::Product, document),
    },
    Service {
        name: "order.api",
        what: "REST: orders; /docs",
        file: include_str!("../../../etc/order.api.yaml"),
        kind: Kind::Gateway,
        calls: &[("upstream.target", "order.rpc")],
        alone: &[],
        read: |document| section::gateway(Api::Order, document),
    },
    Service {
        name: "pay.api",
        what: "REST: payments, and what their provider calls; /docs",
        file: include_str!("../../../etc/pay.api.yaml"),
        kind: Kind::Gateway,
        calls: &[("upstream.target", "pay.rpc")],
        alone: &[],
        read: |document| section::gateway(Api::Pay, document),
    },
    Service {
        name: "user.rpc",
        what: "gRPC: accounts; with reflection, as all of them",
        file: include_str!("../../../etc/user.rpc.yaml"),
        kind: Kind::Domain,
        calls: &[],
        // Nobody else can name one, and nobody else can reach it.
        alone: &[("first_user_is_admin", "true")],
        read: section::domain::<user::Config>,
    },
    Service {
        name: "product.rpc",
        what: "gRPC: products, and what orders hold of them",
        file: include_str!("../../../etc/product.rpc.yaml"),
        kind: Kind::Domain,
        calls: &[],
        // Something to buy, before anyone has offered anything.
        alone: &[("sample_products", "true")],
        read: section::domain::<product::Config>,
    },
    Service {
        name: "order.rpc",
        what: "gRPC: orders, from the wish to the end",
        file: include_str!("../../../etc/order.rpc.yaml"),
        kind: Kind::Domain,
        calls: &[("product.target", "product.rpc")],
        alone: &[],
        read: section::domain::<order::Config>,
    },
    Service {
        name: "pay.rpc",
        what: "gRPC: payments, settled by a provider",
        file: include_str!("../../../etc/pay.rpc.yaml"),
        kind: Kind::Domain,
        calls: &[("order.target", "order.rpc")],
        // Whoever tries the mall out by hand is the admin, and has no provider.
        alone: &[("admin_settles", "true")],
        read: section::domain::<pay::Config>,
    },
    #[cfg(feature = "viewer")]
    Service {
        name: "viewer",
        what: "every request's trace, in Jaeger's UI",
        file: include_str!("../../../etc/viewer.yaml"),
        kind: Kind::Viewer,
        calls: &[],
        alone: &[],
        read: section::viewer,
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
        self.check(self.document(sources)?)
    }

    /// The configuration that a file alone makes, checked.
    pub(crate) fn configure_by(&self, file: &str) -> Result<Process, config::Error> {
        self.check(Document::read(self.name, file, &Sources::default())?)
    }

    fn check(&self, document: Document) -> Result<Process, config::Error> {
        let section = (self.read)(&document)?;
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
        self.kind == Kind::Domain
    }

    /// Whether it takes the traces of the others.
    pub(crate) fn is_viewer(&self) -> bool {
        !matches!(self.kind, Kind::Gateway | Kind::Domain)
    }

    /// What stops first has the smallest number: callers before those they call, and the viewer after the last span.
    pub(crate) fn stage(&self) -> usize {
        if self.is_viewer() {
            return ALL.iter().filter(|other| !other.is_viewer()).map(|other| other.stage() + 1).max().unwrap_or(0);
        }
        let callers = ALL.iter().filter(|other| other.calls.iter().any(|(_, name)| *name == self.name));
        callers.map(|caller| caller.stage() + 1).max().unwrap_or(0)
    }
}

/// Variables in the environment that are not for a service, each with why.
pub(crate) type Foreign = BTreeMap<String, config::Error>;

/// A service's configuration.
#[derive(Debug)]
pub(crate) struct Process {
    pub(crate) telemetry: telemetry::Config,
    /// The part of it that is the service's own.
    pub(crate) section: Box<dyn Section>,
}

impl Process {
    /// The most time between the word to end and the end: for the calls, three seconds for the last spans, and one to spare.
    pub(crate) fn end(&self) -> Duration {
        self.section.stopping().saturating_add(Duration::from_secs(4))
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
            let shown = process.section.show().unwrap();
            for (key, name) in service.calls {
                let target = &shown[key.split_once('.').unwrap().0]["target"];
                let peer = find(name).unwrap().configure(&Sources::default()).unwrap().section.addresses()[0].1;
                assert_eq!(*target, format!("direct:///127.0.0.1:{}", peer.port()), "{}", service.name);
            }
        }
        let count = ports.len();
        ports.sort_unstable();
        ports.dedup();
        assert_eq!(ports.len(), count, "two services have one port");
    }

    #[test]
    fn callers_stop_before_those_they_call_and_the_viewer_last() {
        for service in ALL {
            assert!(service.calls.iter().all(|(_, name)| find(name).unwrap().stage() > service.stage()));
            assert!(
                service.is_viewer() || ALL.iter().filter(|it| it.is_viewer()).all(|it| it.stage() > service.stage())
            );
        }
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
