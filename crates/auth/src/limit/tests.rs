use super::*;

const AT: fn(u64) -> Duration = Duration::from_secs;

fn address(text: &str) -> Option<IpAddr> {
    Some(text.parse().unwrap())
}

fn fail(limits: &Limits, mobile: &str, address: Option<IpAddr>, now: Duration) -> Result<(), Exceeded> {
    limits.attempt_at(mobile, address, now).map(Attempt::failed)
}

/// How many tries pass at one moment, and how long the next has to wait.
fn drain(limits: &Limits, mobile: &str, address: Option<IpAddr>, now: Duration) -> (usize, Duration) {
    for passed in 0.. {
        if let Err(exceeded) = fail(limits, mobile, address, now) {
            return (passed, exceeded.retry_after);
        }
    }
    unreachable!("every limit ends")
}

#[test]
fn a_mobile_has_some_failures_at_once_and_then_one_each_period() {
    let limits = Limits::new(&Config::default());
    assert_eq!(drain(&limits, "1", None, AT(0)), (5, AT(30)));
    assert_eq!(drain(&limits, "1", None, AT(10)), (0, AT(20)));
    assert_eq!(drain(&limits, "1", None, AT(30)), (1, AT(30)));
    // What was not used in the meantime is not saved up beyond the first number.
    assert_eq!(drain(&limits, "1", None, AT(100_000)), (5, AT(30)));
    assert_eq!(drain(&limits, "2", None, AT(100_000)), (5, AT(30)), "others have their own");
}

#[test]
fn an_address_has_its_own_limit_over_all_mobiles() {
    let limits = Limits::new(&Config::default());
    let from = address("192.0.2.1");
    let passed = (0..1000).filter(|n| fail(&limits, &n.to_string(), from, AT(1)).is_ok()).count();
    assert_eq!(passed, 100);
    let exceeded = fail(&limits, "x", from, AT(1)).unwrap_err();
    assert_eq!(exceeded.retry_after, Duration::from_millis(100));
    assert!(fail(&limits, "x", from, Duration::from_millis(1100)).is_ok());
    // One who was turned away for the address has used up no try of the mobile.
    assert_eq!(drain(&limits, "999", address("192.0.2.2"), AT(1)).0, 5);
}

#[test]
fn one_machine_is_one_address_however_it_is_written() {
    let limits = Limits::new(&Config { address_tries: NonZeroU32::MIN, ..Config::default() });
    let mut mobile = 0;
    let mut passes = |from: &str| {
        mobile += 1;
        fail(&limits, &mobile.to_string(), address(from), AT(0)).is_ok()
    };
    for (from, expected) in [
        ("192.0.2.1", true),
        ("::ffff:192.0.2.1", false),
        ("192.0.2.2", true),
        ("2001:db8:0:1::1", true),
        ("2001:db8:0:1:ffff::2", false),
        ("2001:db8:0:2::1", true),
    ] {
        assert_eq!(passes(from), expected, "{from}");
    }
}

#[test]
fn only_failures_cost_a_try() {
    let limits = Limits::new(&Config::default());
    let from = address("192.0.2.1");
    for _ in 0..1000 {
        drop(limits.attempt_at("1", from, AT(0)).unwrap());
    }
    for _ in 0..3 {
        assert!(fail(&limits, "1", from, AT(0)).is_ok());
    }
    drop(limits.attempt_at("1", from, AT(0)).unwrap());
    assert_eq!(drain(&limits, "1", from, AT(0)).0, 2);
}

#[test]
fn tries_that_are_not_yet_decided_count() {
    let limits = Limits::new(&Config::default());
    let pending: Vec<_> = (0..5).map(|_| limits.attempt_at("1", None, AT(0)).unwrap()).collect();
    assert!(limits.attempt_at("1", None, AT(0)).is_err());
    drop(pending);
    assert_eq!(drain(&limits, "1", None, AT(0)).0, 5);
}

#[test]
fn many_threads_share_one_limit() {
    let limits = Limits::new(&Config::default());
    let passed: usize = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8)
            .map(|_| scope.spawn(|| (0..100).filter(|_| fail(&limits, "1", None, AT(0)).is_ok()).count()))
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    assert_eq!(passed, 5);
}

#[test]
fn hostile_keys_do_not_grow_it() {
    let limits = Limits::new(&Config { remembered: 1000, ..Config::default() });
    for n in 0..20_000_u32 {
        let from = IpAddr::from(n.to_be_bytes());
        assert!(fail(&limits, &n.to_string(), Some(from), AT(0)).is_ok());
    }
    for buckets in [&limits.mobiles, &limits.addresses] {
        buckets.full_at.run_pending_tasks();
        assert!(buckets.full_at.entry_count() <= 1000);
    }
    // And those that came last are still limited.
    assert_eq!(drain(&limits, "19999", None, AT(0)).0, 4);
}

#[test]
fn odd_periods_are_no_overflow() {
    for period in [Duration::ZERO, Duration::from_nanos(1), Duration::MAX] {
        let limits = Limits::new(&Config { mobile_period: period, ..Config::default() });
        for now in [Duration::ZERO, Duration::from_secs(1 << 40), Duration::MAX] {
            if let Ok(attempt) = limits.attempt_at("1", None, now) {
                drop(attempt);
            }
        }
    }
}

#[test]
fn the_answer_says_when_to_come_again() {
    let status = Status::from(Exceeded { retry_after: Duration::from_secs(30) });
    assert_eq!(status.code(), Code::ResourceExhausted);
    assert_eq!(status.get_details_retry_info().unwrap().retry_delay, Some(Duration::from_secs(30)));
}
