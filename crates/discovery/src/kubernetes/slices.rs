//! Of all slices of a Service, the addresses to call: as kube-proxy chooses them.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use k8s_openapi::api::discovery::v1::{Endpoint, EndpointHints, EndpointSlice};

use crate::target::{Address, Port};

/// What is known of an endpoint, from every slice that has it.
#[derive(Debug)]
struct Known {
    ready: bool,
    serving: bool,
    terminating: bool,
    /// The zones that it is to be called from; none without a hint.
    zones: Option<Vec<String>>,
}

/// The addresses at `port` of all that is ready; or, if nothing is, of what ends and still serves. Where every one of them
/// has a hint and some are for `zone`, those alone.
pub(super) fn endpoints<'a>(
    slices: impl IntoIterator<Item = &'a EndpointSlice>,
    port: &Port,
    zone: Option<&str>,
) -> Vec<Address> {
    // The same pods are in slices of both families when the Service has both.
    let (mut v4, mut v6) = (BTreeMap::new(), BTreeMap::new());
    for slice in slices {
        for port in ports(slice, port) {
            for endpoint in &slice.endpoints {
                let Some(ip) = address(endpoint) else { continue };
                let family = if ip.is_ipv4() { &mut v4 } else { &mut v6 };
                add(family, SocketAddr::new(ip, port), endpoint);
            }
        }
    }
    let chosen = Some(choose(&v4, zone)).filter(|chosen| !chosen.is_empty()).unwrap_or_else(|| choose(&v6, zone));
    chosen.into_iter().map(Address::from).collect()
}

/// The numbers that the wanted port has in a slice. One slice may lack it, and another one have another number for it.
fn ports(slice: &EndpointSlice, wanted: &Port) -> impl Iterator<Item = u16> {
    let ports = slice.ports.iter().flatten().filter(|port| port.protocol.as_deref().unwrap_or("TCP") == "TCP");
    ports.filter_map(move |port| {
        let number = port.port.and_then(|number| u16::try_from(number).ok())?;
        let is_wanted = match wanted {
            Port::Name(name) => port.name.as_deref() == Some(name),
            Port::Number(wanted) => number == *wanted,
        };
        is_wanted.then_some(number)
    })
}

/// Where an endpoint is. Addresses behind the first one mean nothing, and names are long deprecated.
fn address(endpoint: &Endpoint) -> Option<IpAddr> {
    endpoint.addresses.first()?.parse().ok()
}

fn add(known: &mut BTreeMap<SocketAddr, Known>, address: SocketAddr, endpoint: &Endpoint) {
    let conditions = endpoint.conditions.clone().unwrap_or_default();
    let ready = conditions.ready.unwrap_or(true);
    let new = Known {
        ready,
        serving: conditions.serving.unwrap_or(ready),
        terminating: conditions.terminating.unwrap_or(false),
        zones: endpoint.hints.as_ref().and_then(zones),
    };
    // While an endpoint moves from one slice to another it may be in both, in one of them as it was a while ago.
    known
        .entry(address)
        .and_modify(|old| {
            old.ready |= new.ready;
            old.serving |= new.serving;
            // A pod that ends never comes back.
            old.terminating |= new.terminating;
            old.zones = old.zones.take().or(new.zones.clone());
        })
        .or_insert(new);
}

fn zones(hints: &EndpointHints) -> Option<Vec<String>> {
    let zones: Vec<_> = hints.for_zones.iter().flatten().map(|zone| zone.name.clone()).collect();
    (!zones.is_empty()).then_some(zones)
}

fn choose(known: &BTreeMap<SocketAddr, Known>, zone: Option<&str>) -> Vec<SocketAddr> {
    let ready: Vec<_> = known.iter().filter(|(_, it)| it.ready && !it.terminating).collect();
    if ready.is_empty() {
        let last = known.iter().filter(|(_, it)| it.serving && it.terminating);
        return last.map(|(address, _)| *address).collect();
    }
    let hinted = ready.iter().all(|(_, it)| it.zones.is_some());
    let is_near = |it: &Known| it.zones.iter().flatten().any(|name| Some(name.as_str()) == zone);
    let some_near = ready.iter().any(|(_, it)| is_near(it));
    let chosen = ready.into_iter().filter(|(_, it)| !(hinted && some_near) || is_near(it));
    chosen.map(|(address, _)| *address).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn slice(family: &str, ports: Value, endpoints: Value) -> EndpointSlice {
        let slice =
            json!({ "addressType": family, "metadata": { "name": "a" }, "ports": ports, "endpoints": endpoints });
        serde_json::from_value(slice).unwrap()
    }

    /// A slice with the ports of our services.
    fn v4(endpoints: Value) -> EndpointSlice {
        slice(
            "IPv4",
            json!([{ "name": "grpc", "port": 9001, "protocol": "TCP" }, { "name": "admin", "port": 19001 }]),
            endpoints,
        )
    }

    fn chosen_at(slices: &[EndpointSlice], port: &str, zone: Option<&str>) -> String {
        let port = port.parse().map_or_else(|_| Port::Name(port.to_owned()), Port::Number);
        endpoints(slices, &port, zone).iter().map(Address::as_str).collect::<Vec<_>>().join(" ")
    }

    fn chosen(slices: &[EndpointSlice]) -> String {
        chosen_at(slices, "grpc", None)
    }

    /// An endpoint with these conditions, `-` for none.
    fn endpoint(address: &str, conditions: &str) -> Value {
        let value = |text| match text {
            "+" => json!(true),
            "0" => json!(false),
            _ => Value::Null,
        };
        let [ready, serving, terminating] = [0, 1, 2].map(|index| value(&conditions[index..=index]));
        json!({
            "addresses": [address],
            "conditions": { "ready": ready, "serving": serving, "terminating": terminating },
        })
    }

    fn hinted(address: &str, zones: &[&str]) -> Value {
        let zones: Vec<_> = zones.iter().map(|zone| json!({ "name": zone })).collect();
        json!({ "addresses": [address], "conditions": { "ready": true }, "hints": { "forZones": zones } })
    }

    #[test]
    fn all_slices_are_one_set() {
        assert_eq!(chosen(&[]), "");
        assert_eq!(chosen(&[v4(json!([]))]), "");
        let slices =
            [v4(json!([endpoint("10.0.0.2", "++0")])), v4(json!([endpoint("10.0.0.1", "++0")])), v4(json!([]))];
        assert_eq!(chosen(&slices), "10.0.0.1:9001 10.0.0.2:9001");
    }

    #[test]
    fn conditions_that_are_not_said_have_their_defaults() {
        let bare = json!({ "addresses": ["10.0.0.1"] });
        assert_eq!(chosen(&[v4(json!([bare]))]), "10.0.0.1:9001");
        assert_eq!(chosen(&[v4(json!([endpoint("10.0.0.1", "---")]))]), "10.0.0.1:9001");
        // Whether it serves is what `ready` says.
        assert_eq!(chosen(&[v4(json!([endpoint("10.0.0.1", "0-+")]))]), "");
        assert_eq!(chosen(&[v4(json!([endpoint("10.0.0.1", "+-+")]))]), "10.0.0.1:9001");
    }

    #[test]
    fn one_that_ends_is_used_only_when_nothing_is_ready() {
        let [ready, ends, ended, not_yet] = [
            endpoint("10.0.0.1", "++0"),
            endpoint("10.0.0.2", "0++"),
            endpoint("10.0.0.3", "00+"),
            endpoint("10.0.0.4", "000"),
        ];
        // A Service with publishNotReadyAddresses says that all are ready, for ever.
        let published = endpoint("10.0.0.5", "+++");
        assert_eq!(chosen(&[v4(json!([ready, ends, ended, not_yet, published]))]), "10.0.0.1:9001");
        assert_eq!(chosen(&[v4(json!([ends])), v4(json!([ready]))]), "10.0.0.1:9001", "it is all slices that count");
        assert_eq!(chosen(&[v4(json!([ends, ended, not_yet, published]))]), "10.0.0.2:9001 10.0.0.5:9001");
        assert_eq!(chosen(&[v4(json!([ended, not_yet]))]), "");
    }

    #[test]
    fn an_endpoint_in_two_slices_is_one() {
        let twice = [v4(json!([endpoint("10.0.0.1", "++0")])), v4(json!([endpoint("10.0.0.1", "++0")]))];
        assert_eq!(chosen(&twice), "10.0.0.1:9001");
        let became_ready = [v4(json!([endpoint("10.0.0.1", "000")])), v4(json!([endpoint("10.0.0.1", "++0")]))];
        assert_eq!(chosen(&became_ready), "10.0.0.1:9001");
        let other = endpoint("10.0.0.2", "++0");
        for slices in [
            [v4(json!([endpoint("10.0.0.1", "++0"), other])), v4(json!([endpoint("10.0.0.1", "0++")]))],
            [v4(json!([endpoint("10.0.0.1", "0++")])), v4(json!([endpoint("10.0.0.1", "++0"), other]))],
        ] {
            assert_eq!(chosen(&slices), "10.0.0.2:9001", "whichever slice is older");
        }
    }

    #[test]
    fn ports_go_by_name_or_number() {
        let ready = json!([endpoint("10.0.0.1", "++0")]);
        assert_eq!(chosen_at(&[v4(ready.clone())], "admin", None), "10.0.0.1:19001");
        assert_eq!(chosen_at(&[v4(ready.clone())], "9001", None), "10.0.0.1:9001");
        assert_eq!(chosen_at(&[v4(ready.clone())], "http", None), "");
        assert_eq!(chosen_at(&[v4(ready.clone())], "80", None), "");
        // While a Deployment moves to another port its pods are in slices of their own.
        let moved = slice("IPv4", json!([{ "name": "grpc", "port": 9101 }]), json!([endpoint("10.0.0.2", "++0")]));
        assert_eq!(chosen(&[v4(ready.clone()), moved]), "10.0.0.1:9001 10.0.0.2:9101");
        for ports in [
            json!([{ "name": "grpc", "port": 9001, "protocol": "UDP" }]),
            json!([{ "name": "grpc" }]),
            json!([{ "name": "grpc", "port": 99_999 }]),
            json!([{ "port": 9001 }]),
            json!([]),
            Value::Null,
        ] {
            assert_eq!(chosen(&[slice("IPv4", ports, ready.clone())]), "");
        }
        assert_eq!(chosen_at(&[slice("IPv4", json!([{ "port": 9001 }]), ready)], "9001", None), "10.0.0.1:9001");
    }

    #[test]
    fn hints_are_followed_when_all_have_them_and_the_zone_has_some() {
        let (a, b, both) = (hinted("10.0.0.1", &["a"]), hinted("10.0.0.2", &["b"]), hinted("10.0.0.3", &["a", "b"]));
        let all = "10.0.0.1:9001 10.0.0.2:9001 10.0.0.3:9001";
        let slices = [v4(json!([a, b])), v4(json!([both]))];
        assert_eq!(chosen_at(&slices, "grpc", Some("a")), "10.0.0.1:9001 10.0.0.3:9001");
        assert_eq!(chosen_at(&slices, "grpc", Some("b")), "10.0.0.2:9001 10.0.0.3:9001");
        assert_eq!(chosen_at(&slices, "grpc", Some("c")), all);
        assert_eq!(chosen_at(&slices, "grpc", None), all);
        let unhinted = [v4(json!([a, b, endpoint("10.0.0.3", "++0")]))];
        assert_eq!(chosen_at(&unhinted, "grpc", Some("a")), all);
        let empty = [v4(json!([a, b, hinted("10.0.0.3", &[])]))];
        assert_eq!(chosen_at(&empty, "grpc", Some("a")), all);
        // One without a hint that takes no calls is no reason to ignore the others'.
        let ending = [v4(json!([a, b, endpoint("10.0.0.3", "0++")]))];
        assert_eq!(chosen_at(&ending, "grpc", Some("a")), "10.0.0.1:9001");
    }

    #[test]
    fn ipv6_is_used_where_there_is_no_ipv4() {
        let port = json!([{ "name": "grpc", "port": 9001 }]);
        let v6 = slice("IPv6", port.clone(), json!([endpoint("fd00::1", "++0")]));
        assert_eq!(chosen(std::slice::from_ref(&v6)), "[fd00::1]:9001");
        assert_eq!(
            chosen(&[v6.clone(), v4(json!([endpoint("10.0.0.1", "++0")]))]),
            "10.0.0.1:9001",
            "it is the same pod"
        );
        assert_eq!(chosen(&[v6, v4(json!([endpoint("10.0.0.1", "000")]))]), "[fd00::1]:9001");
    }

    #[test]
    fn what_is_no_address_is_left_out() {
        let port = json!([{ "name": "grpc", "port": 9001 }]);
        let two = json!({ "addresses": ["10.0.0.1", "10.0.0.9"] });
        assert_eq!(chosen(&[v4(json!([two, { "addresses": [] }, { "addresses": ["x"] }]))]), "10.0.0.1:9001");
        assert_eq!(chosen(&[slice("FQDN", port, json!([{ "addresses": ["a.example"] }]))]), "");
    }
}
