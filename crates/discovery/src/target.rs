//! Where a peer is, as the configuration says it.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use http::uri::Authority;
use serde::{Deserialize, Serialize};

/// Where a peer is to be found.
///
/// ```
/// # use discovery::Target;
/// let target: Target = "dns:///product-rpc:9001".parse().unwrap();
/// assert_eq!(target.authority(), "product-rpc:9001");
/// assert_eq!(target.to_string(), "dns:///product-rpc:9001");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub enum Target {
    /// `direct:///HOST:PORT[,HOST:PORT..]`: at these addresses, all of them equal.
    Direct(Vec<Address>),
    /// `dns:///NAME:PORT`: at every address that the name has.
    Dns(Address),
    /// `k8s://NAMESPACE/SERVICE:PORT`: at the pods of a Service, as its EndpointSlices have them.
    Kubernetes(Service),
}

/// A host, by its name or its IP address, and a port.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address(Arc<str>);

/// A port of a Service of Kubernetes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// The namespace that it is in.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// The port of its pods.
    pub port: Port,
}

/// A port of pods.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Port {
    /// By the name that the Service gives it.
    Name(String),
    /// By its number at the pods, which may not be that of the Service.
    Number(u16),
}

/// A target that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A URL, as targets were once written.
    #[error("`{given}`: write it as direct:///{address}")]
    Url {
        /// What was given.
        given: String,
        /// The address in it.
        address: String,
    },
    /// Something else.
    #[error(
        "`{0}` is not where a service is: write direct:///HOST:PORT[,HOST:PORT..], dns:///NAME:PORT or \
         k8s://NAMESPACE/SERVICE:PORT, whose last port may be a name"
    )]
    Form(String),
}

impl Target {
    /// What calls to the peer are addressed to, whichever endpoint they go to.
    pub fn authority(&self) -> String {
        match self {
            Self::Direct(addresses) => join(addresses),
            Self::Dns(address) => address.to_string(),
            Self::Kubernetes(Service { namespace, name, port: Port::Name(_) }) => format!("{name}.{namespace}"),
            Self::Kubernetes(Service { namespace, name, port: Port::Number(port) }) => {
                format!("{name}.{namespace}:{port}")
            }
        }
    }

    fn read(text: &str) -> Option<Self> {
        if let Some(addresses) = text.strip_prefix("direct:///") {
            return addresses.split(',').map(|address| address.parse().ok()).collect::<Option<_>>().map(Self::Direct);
        }
        if let Some(address) = text.strip_prefix("dns:///") {
            return address.parse().ok().map(Self::Dns);
        }
        let (namespace, rest) = text.strip_prefix("k8s://")?.split_once('/')?;
        let (name, port) = rest.split_once(':')?;
        let port = port.parse().map_or_else(|_| Port::Name(port.to_owned()), Port::Number);
        let is_named = |port: &Port| match port {
            Port::Name(name) => is_label(name),
            Port::Number(number) => *number != 0,
        };
        let service = Service { namespace: namespace.to_owned(), name: name.to_owned(), port };
        (is_label(namespace) && is_label(name) && is_named(&service.port)).then_some(Self::Kubernetes(service))
    }
}

/// Whether it can be the name of something in Kubernetes.
fn is_label(text: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=63).contains(&text.len()) && text.bytes().all(inner) && !text.starts_with('-') && !text.ends_with('-')
}

fn join(addresses: &[Address]) -> String {
    addresses.iter().map(|address| &*address.0).collect::<Vec<_>>().join(",")
}

impl FromStr for Target {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let url = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://"));
        Self::read(text).ok_or_else(|| match url.map(|rest| rest.trim_end_matches('/')) {
            Some(address) => Error::Url { given: text.to_owned(), address: address.to_owned() },
            None => Error::Form(text.to_owned()),
        })
    }
}

impl TryFrom<String> for Target {
    type Error = Error;

    fn try_from(text: String) -> Result<Self, Error> {
        text.parse()
    }
}

impl From<Target> for String {
    fn from(target: Target) -> Self {
        target.to_string()
    }
}

impl fmt::Display for Target {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Direct(addresses) => write!(formatter, "direct:///{}", join(addresses)),
            Self::Dns(address) => write!(formatter, "dns:///{address}"),
            Self::Kubernetes(Service { namespace, name, port: Port::Name(port) }) => {
                write!(formatter, "k8s://{namespace}/{name}:{port}")
            }
            Self::Kubernetes(Service { namespace, name, port: Port::Number(port) }) => {
                write!(formatter, "k8s://{namespace}/{name}:{port}")
            }
        }
    }
}

impl Address {
    /// As it is written: `HOST:PORT`.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Address {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let authority = text.parse::<Authority>().ok();
        let is_address = |it: &Authority| {
            !it.host().is_empty() && !text.contains('@') && it.port_u16().is_some_and(|port| port != 0)
        };
        authority.filter(is_address).map(|_| Self(text.into())).ok_or_else(|| Error::Form(text.to_owned()))
    }
}

impl From<std::net::SocketAddr> for Address {
    fn from(address: std::net::SocketAddr) -> Self {
        Self(address.to_string().into())
    }
}

impl From<std::net::SocketAddr> for Target {
    fn from(address: std::net::SocketAddr) -> Self {
        Self::Direct(vec![address.into()])
    }
}

impl fmt::Display for Address {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_shown_again() {
        for (text, authority) in [
            ("direct:///127.0.0.1:9001", "127.0.0.1:9001"),
            ("direct:///a:1,[::1]:2", "a:1,[::1]:2"),
            ("dns:///product-rpc:9001", "product-rpc:9001"),
            ("dns:///product-rpc.mall.svc.cluster.local.:9001", "product-rpc.mall.svc.cluster.local.:9001"),
            ("k8s://mall/product-rpc:grpc", "product-rpc.mall"),
            ("k8s://mall/product-rpc:9001", "product-rpc.mall:9001"),
        ] {
            let target: Target = text.parse().unwrap();
            assert_eq!((target.to_string().as_str(), target.authority().as_str()), (text, authority));
            assert_eq!(serde_json::to_value(&target).unwrap(), text);
            assert_eq!(serde_json::from_value::<Target>(text.into()).unwrap(), target);
        }
    }

    #[test]
    fn an_error_says_what_to_write() {
        let said = |text: &str| text.parse::<Target>().unwrap_err().to_string();
        assert_eq!(said("http://127.0.0.1:9001"), "`http://127.0.0.1:9001`: write it as direct:///127.0.0.1:9001");
        assert_eq!(said("https://a:1/"), "`https://a:1/`: write it as direct:///a:1");
        for text in [
            "",
            "a:1",
            "not a url",
            "direct:///",
            "direct:///a",
            "direct:///a:0",
            "direct:///a:99999",
            "direct:///a:1,",
            "direct:///u@a:1",
            "direct://a:1",
            "dns:///",
            "dns:///a",
            "dns:///:1",
            "dns:///a:1,b:2",
            "k8s:///a:1",
            "k8s://n/a",
            "k8s://n/a:",
            "k8s://n/a:0",
            "k8s://N/a:1",
            "k8s://n/a_b:1",
            "k8s://n/-a:1",
            "k8s://n/a:b:c",
        ] {
            let said = said(text);
            assert!(said.starts_with(&format!("`{text}` is not")) && said.contains("dns:///NAME:PORT"), "{said}");
        }
    }
}
