//! How often one may try to log in: per mobile number and per address.
//!
//! Each has a number of tries at once and then one more each period. A try is taken before the password is looked
//! at, so that many at once cannot slip through, and given back unless the password was wrong: only failures count.

use std::hash::{BuildHasher as _, RandomState};
use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use moka::policy::EvictionPolicy;
use moka::sync::Cache;
use serde::{Deserialize, Serialize};
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

/// How many failed tries there may be, and how soon there may be another.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Failures at once for one mobile number. Default 5.
    pub mobile_tries: NonZeroU32,
    /// After these, one more each so long. Default 30 s.
    #[serde(with = "humantime_serde")]
    pub mobile_period: Duration,
    /// Failures at once from one address (of IPv6, one /64 network). Default 100.
    pub address_tries: NonZeroU32,
    /// After these, one more each so long. Default 100 ms.
    #[serde(with = "humantime_serde")]
    pub address_period: Duration,
    /// Mobile numbers, and addresses, that are remembered, about 150 bytes each; then the one not seen for longest
    /// is forgotten. Default 100000.
    pub remembered: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            mobile_tries: const { NonZeroU32::new(5).unwrap() },
            mobile_period: Duration::from_secs(30),
            address_tries: const { NonZeroU32::new(100).unwrap() },
            address_period: Duration::from_millis(100),
            remembered: 100_000,
        }
    }
}

/// There were too many tries.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("too many tries")]
pub struct Exceeded {
    /// When another may be made.
    pub retry_after: Duration,
}

impl From<Exceeded> for Status {
    fn from(exceeded: Exceeded) -> Self {
        let details = ErrorDetails::with_retry_info(Some(exceeded.retry_after));
        Self::with_error_details(Code::ResourceExhausted, "too many tries, wait before the next", details)
    }
}

/// The tries that were made. Clones share them.
#[derive(Clone, Debug)]
pub struct Limits {
    mobiles: Buckets,
    addresses: Buckets,
    /// Keyed anew in each process: no mobile number lies in memory, and no one can aim at another's entry.
    hasher: RandomState,
    start: Instant,
}

/// A try that counts while it is pending; dropped, it is given back: a login that ran out of time was not a guess.
#[derive(Debug)]
#[must_use = "a try counts only while it is held, or once it has `failed`"]
pub struct Attempt {
    taken: [Option<Taken>; 2],
}

impl Limits {
    /// With nothing tried yet.
    pub fn new(config: &Config) -> Self {
        Self {
            mobiles: Buckets::new(config.mobile_tries, config.mobile_period, config.remembered),
            addresses: Buckets::new(config.address_tries, config.address_period, config.remembered),
            hasher: RandomState::new(),
            start: Instant::now(),
        }
    }

    /// A try to log in as `mobile`, in the one form in which it is stored, from `address` if that is known.
    pub fn attempt(&self, mobile: &str, address: Option<IpAddr>) -> Result<Attempt, Exceeded> {
        self.attempt_at(mobile, address, self.start.elapsed())
    }

    /// The address is asked first, so that one who is turned away for it cannot use up the tries of others' mobiles.
    fn attempt_at(&self, mobile: &str, address: Option<IpAddr>, now: Duration) -> Result<Attempt, Exceeded> {
        let address = address.map(|ip| self.addresses.take(self.hasher.hash_one(network(ip)), now)).transpose()?;
        let mobile = self.mobiles.take(self.hasher.hash_one(mobile), now)?;
        Ok(Attempt { taken: [address, Some(mobile)] })
    }
}

impl Attempt {
    /// The password was wrong: the try stays taken.
    pub fn failed(mut self) {
        self.taken = [None, None];
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        self.taken.iter().flatten().for_each(Taken::give_back);
    }
}

/// Whoever has one IPv6 address has all those of its network.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX)).into(),
        v4 => v4,
    }
}

/// One bucket for each key, as the generic cell rate algorithm keeps it: the time at which it is full again, in
/// nanoseconds since the start.
#[derive(Clone, Debug)]
struct Buckets {
    full_at: Cache<u64, Arc<AtomicU64>>,
    period: u64,
    depth: u64,
}

#[derive(Debug)]
struct Taken {
    full_at: Arc<AtomicU64>,
    period: u64,
}

impl Buckets {
    fn new(tries: NonZeroU32, period: Duration, remembered: u64) -> Self {
        let depth = period.saturating_mul(tries.get());
        // A bucket that was left alone this long is full, as one that was never seen. The oldest goes first: by
        // frequency, new keys would not be let in while many others are tried.
        let full_at = Cache::builder()
            .max_capacity(remembered)
            .eviction_policy(EvictionPolicy::lru())
            .time_to_idle(depth.clamp(Duration::from_secs(1), Duration::from_secs(86_400 * 365)))
            .build();
        Self { full_at, period: nanos(period), depth: nanos(depth) }
    }

    fn take(&self, key: u64, now: Duration) -> Result<Taken, Exceeded> {
        let now = nanos(now);
        let full_at = self.full_at.get_with(key, Arc::default);
        let next = |at: u64| at.max(now).saturating_add(self.period);
        let taken = full_at
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |at| (next(at) - now <= self.depth).then(|| next(at)));
        match taken {
            Ok(_) => Ok(Taken { full_at, period: self.period }),
            Err(at) => Err(Exceeded { retry_after: Duration::from_nanos(next(at) - now - self.depth) }),
        }
    }
}

impl Taken {
    fn give_back(&self) {
        let less = |at: u64| Some(at.saturating_sub(self.period));
        // The update never declines, so it cannot fail.
        let _ = self.full_at.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
