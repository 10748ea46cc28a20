//! Ports for parts that must know their own beforehand, and come back to them after a restart.

use std::hash::{BuildHasher as _, RandomState};
use std::net::{Ipv4Addr, TcpListener};

/// Below those that systems give to outgoing connections, one of which could take the port of a part that is stopped, and
/// below those that `mall up --free-ports` takes.
const FIRST: u16 = 10_000;
const COUNT: u16 = 4_900;

/// An address of the loopback where nobody listens.
pub fn free() -> String {
    loop {
        let random = RandomState::new().hash_one(FIRST) % u64::from(COUNT);
        let port = FIRST + u16::try_from(random).unwrap_or_default();
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return format!("127.0.0.1:{port}");
        }
    }
}
