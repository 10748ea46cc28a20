//! Ports for parts that must know their own beforehand, and come back to them after a restart.

use std::hash::{BuildHasher as _, RandomState};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::sync::{Mutex, PoisonError};

/// Below those that systems give to outgoing connections, one of which could take the port of a part that is stopped, and
/// below those that `mall up --free-ports` takes. Above 10080, which browsers refuse to open.
const FIRST: u16 = 10_100;
const COUNT: u16 = 4_800;

/// A port stays ours, whether its part runs or not, by the UDP socket of the same number, which no part wants: the system
/// refuses it to every other test, of this process or another, and takes it back when the process ends.
static CLAIMED: Mutex<Vec<UdpSocket>> = Mutex::new(Vec::new());

/// An address of the loopback where nobody listens, and which no other test is given while this process lives.
pub fn free() -> SocketAddr {
    loop {
        let random = RandomState::new().hash_one(FIRST) % u64::from(COUNT);
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, FIRST + u16::try_from(random).unwrap_or_default()));
        if let (Ok(claim), Ok(_)) = (UdpSocket::bind(address), TcpListener::bind(address)) {
            CLAIMED.lock().unwrap_or_else(PoisonError::into_inner).push(claim);
            return address;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    #[test]
    fn no_port_is_given_twice() {
        let given: HashSet<_> = std::iter::repeat_with(super::free).take(500).collect();
        assert_eq!(given.len(), 500, "500 of 4,800 at random are about 25 twice");
    }
}
