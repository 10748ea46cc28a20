//! Where the peers of a service are: at fixed addresses, at those of a DNS name, or at those that Kubernetes' EndpointSlices
//! have.
//!
//! [`watch`] gives the endpoints of a [`Target`] as they are now. What is known stays while nothing newer can be learnt.

#![warn(missing_docs)]

mod dns;
mod endpoints;
mod kubernetes;
mod outage;
mod target;

pub use endpoints::{Doubt, Endpoints, Set};
pub use kubernetes::ZONE;
pub use target::{Address, Error, Port, Service, Target};

/// Finds the endpoints of `target` from now on; inside a tokio runtime.
pub fn watch(target: &Target) -> Endpoints {
    match target {
        // Names among them are looked up whenever a connection is made.
        Target::Direct(addresses) => {
            let mut addresses = addresses.clone();
            addresses.sort_unstable();
            addresses.dedup();
            Endpoints::told(tokio::sync::watch::channel(Some(addresses.into())).1)
        }
        Target::Dns(name) => Endpoints::watched(target, |publisher, doubt| dns::follow(name.clone(), publisher, doubt)),
        Target::Kubernetes(service) => {
            Endpoints::watched(target, |publisher, _| kubernetes::follow(service.clone(), publisher))
        }
    }
}
