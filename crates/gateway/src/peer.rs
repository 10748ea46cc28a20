//! Whose request it is: the peer's address, or what a trusted proxy says about it.

use std::net::{IpAddr, Ipv4Addr};

use http::request::Parts;
use ipnet::IpNet;
use rpc::http::Peer;

/// The client's address: the peer's, or if that is a trusted proxy, the nearest address in `x-forwarded-for` that is
/// not one.
pub(crate) fn client(parts: &Parts, trusted: &[IpNet]) -> IpAddr {
    let peer = parts.extensions.get().map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |Peer(peer)| peer.ip().to_canonical());
    let is_trusted = |address: &IpAddr| trusted.iter().any(|net| net.contains(address));
    if !is_trusted(&peer) {
        return peer;
    }
    let mut client = peer;
    // The last hop is written last; what is beyond an address that nobody trusts may be invented.
    for hops in parts.headers.get_all("x-forwarded-for").iter().rev() {
        for hop in hops.to_str().unwrap_or_default().rsplit(',') {
            let Ok(address) = hop.trim().parse::<IpAddr>() else { return client };
            client = address.to_canonical();
            if !is_trusted(&client) {
                return client;
            }
        }
    }
    client
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;

    fn seen(peer: &str, forwarded: &[&str]) -> String {
        let mut request = http::Request::builder();
        for value in forwarded {
            request = request.header("x-forwarded-for", *value);
        }
        let (mut parts, ()) = request.body(()).unwrap().into_parts();
        parts.extensions.insert(Peer(SocketAddr::new(peer.parse().unwrap(), 1)));
        client(&parts, &["10.0.0.0/8".parse().unwrap()]).to_string()
    }

    #[test]
    fn only_trusted_proxies_are_believed() {
        assert_eq!(seen("192.0.2.1", &["203.0.113.9"]), "192.0.2.1");
        assert_eq!(seen("10.0.0.1", &["203.0.113.9"]), "203.0.113.9");
        assert_eq!(seen("10.0.0.1", &["198.51.100.1, 203.0.113.9, 10.0.0.2"]), "203.0.113.9");
        assert_eq!(seen("10.0.0.1", &["198.51.100.1", "203.0.113.9"]), "203.0.113.9");
    }

    #[test]
    fn what_cannot_be_read_is_not_believed() {
        assert_eq!(seen("10.0.0.1", &[]), "10.0.0.1");
        assert_eq!(seen("10.0.0.1", &["unknown"]), "10.0.0.1");
        assert_eq!(seen("10.0.0.1", &["203.0.113.9, x, 10.0.0.2"]), "10.0.0.2");
        assert_eq!(seen("::ffff:192.0.2.1", &[]), "192.0.2.1");
    }
}
