use std::future::Future;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc;
use std::task::{Context, Poll, Waker};

use super::*;

fn passwords(threads: usize, queue: usize) -> Passwords {
    Passwords::new(&Config { threads: NonZeroUsize::new(threads).unwrap(), queue, wait: Duration::from_secs(600) })
}

fn secret(text: &str) -> Secret<String> {
    Secret::new(text.to_owned())
}

/// Goes on with a future as far as it can without waiting.
fn poll(future: std::pin::Pin<&mut impl Future>) -> bool {
    matches!(future.poll(&mut Context::from_waker(Waker::noop())), Poll::Ready(_))
}

#[tokio::test]
async fn the_right_password_and_no_other_is_verified() {
    let passwords = passwords(2, 8);
    let right = "pässword 🔑";
    let stored = passwords.hash(secret(right)).await.unwrap();
    assert!(stored.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{stored}");
    assert!(!needs_rehash(&stored));
    assert_ne!(passwords.hash(secret(right)).await.unwrap(), stored, "each has a salt of its own");
    for (password, expected) in [(right, true), ("", false), ("pässword", false), ("pässword 🔑 ", false)] {
        assert_eq!(passwords.verify(secret(password), &stored).await.unwrap(), expected, "{password:?}");
    }
    passwords.verify_nothing(secret(right)).await.unwrap();
    assert!(!needs_rehash(&of_nothing().unwrap().to_string()), "an unknown mobile costs what a known one does");
}

#[tokio::test]
async fn hashes_of_other_parameters_are_verified_and_made_anew() {
    let passwords = passwords(1, 1);
    let salt = Salt::generate();
    for (algorithm, version, cost) in [
        (Algorithm::Argon2id, Version::V0x13, (19 * 1024, 1, 1, 32)),
        (Algorithm::Argon2id, Version::V0x13, (64, 2, 1, 32)),
        (Algorithm::Argon2id, Version::V0x13, (19 * 1024, 2, 2, 32)),
        (Algorithm::Argon2id, Version::V0x13, (19 * 1024, 2, 1, 16)),
        (Algorithm::Argon2id, Version::V0x10, (19 * 1024, 2, 1, 32)),
        (Algorithm::Argon2i, Version::V0x13, (19 * 1024, 2, 1, 32)),
        // Larger than the memory that is reserved.
        (Algorithm::Argon2id, Version::V0x13, (40 * 1024, 1, 1, 32)),
    ] {
        let (m, t, p, length) = cost;
        let params = Params::new(m, t, p, Some(length)).unwrap();
        let hash = compute(algorithm, version, &params, &secret("x"), &salt).unwrap();
        let stored = PasswordHash {
            algorithm: algorithm.ident(),
            version: Some(version.into()),
            params: ParamsString::try_from(&params).unwrap(),
            salt: Some(salt),
            hash: Some(hash),
        }
        .to_string();
        assert!(passwords.verify(secret("x"), &stored).await.unwrap(), "{stored}");
        assert!(!passwords.verify(secret("y"), &stored).await.unwrap(), "{stored}");
        assert!(needs_rehash(&stored), "{stored}");
    }
}

#[tokio::test]
async fn what_is_no_hash_is_an_error() {
    for stored in [
        "",
        "x",
        "$argon2id$",
        "$scrypt$ln=1$c2FsdHNhbHQ$aGFzaGhhc2hoYXNo",
        "$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHQ",
    ] {
        let error = passwords(1, 1).verify(secret("x"), stored).await.unwrap_err();
        assert!(matches!(error, Error::Malformed), "{stored}: {error}");
        assert!(needs_rehash(stored));
        let status = Status::from(error);
        assert_eq!((status.code(), status.message()), (Code::Internal, "internal error"));
    }
}

#[tokio::test]
async fn two_hundred_at_once_take_the_memory_of_two() {
    let passwords = passwords(2, 256);
    let (running, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let calls: Vec<_> = (0..200)
        .map(|_| {
            let (passwords, running, most) = (passwords.clone(), Arc::clone(&running), Arc::clone(&most));
            tokio::spawn(async move {
                let job = move || {
                    most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                    let salt = Salt::generate();
                    let params = Params::new(256, 1, 1, None).unwrap();
                    compute(Algorithm::Argon2id, Version::V0x13, &params, &secret("x"), &salt)?;
                    running.fetch_sub(1, Ordering::SeqCst);
                    Ok(())
                };
                passwords.run(job).await.unwrap();
            })
        })
        .collect();
    for call in calls {
        call.await.unwrap();
    }
    assert!(most.load(Ordering::SeqCst) <= 2);
    assert_eq!((passwords.places.available_permits(), passwords.turns.available_permits()), (258, 2));
}

#[tokio::test]
async fn a_full_queue_says_so_at_once_and_other_work_goes_on() {
    let passwords = passwords(1, 2);
    let (release, released) = mpsc::channel::<()>();
    let mut first = pin!(passwords.run(move || Ok(released.recv().is_ok())));
    assert!(!poll(first.as_mut()));
    let (mut second, mut third) = (pin!(passwords.run(|| Ok(2))), pin!(passwords.run(|| Ok(3))));
    assert!(!poll(second.as_mut()) && !poll(third.as_mut()));

    // The one async thread is here, not in the hash, and the answer is no matter of waiting.
    let error = passwords.hash(secret("x")).await.unwrap_err();
    assert!(matches!(error, Error::Busy));
    let status = Status::from(error);
    assert_eq!(status.code(), Code::ResourceExhausted);
    assert_eq!(status.get_details_retry_info().unwrap().retry_delay, Some(RETRY));

    release.send(()).unwrap();
    assert!(first.await.unwrap());
    assert_eq!((second.await.unwrap(), third.await.unwrap()), (2, 3));
    passwords.hash(secret("x")).await.unwrap();
}

#[tokio::test]
async fn who_waits_too_long_is_told_to_come_again() {
    let passwords = Passwords { wait: Duration::from_millis(10), ..passwords(1, 2) };
    let (release, released) = mpsc::channel::<()>();
    let mut first = pin!(passwords.run(move || Ok(released.recv().is_ok())));
    assert!(!poll(first.as_mut()));
    let error = passwords.run(|| Ok(())).await.unwrap_err();
    assert!(matches!(error, Error::Busy));
    assert_eq!(Status::from(error).get_details_retry_info().unwrap().retry_delay, Some(RETRY));
    release.send(()).unwrap();
    assert!(first.await.unwrap());
    assert_eq!(passwords.places.available_permits(), 3, "it has left its place");
}

#[tokio::test]
async fn turns_come_in_order_and_one_who_left_has_none() {
    let passwords = passwords(1, 8);
    let (release, released) = mpsc::channel::<()>();
    let mut first = pin!(passwords.run(move || Ok(released.recv().is_ok())));
    assert!(!poll(first.as_mut()));
    let (order, done) = mpsc::channel();
    let left = Arc::new(AtomicBool::new(false));
    let mut waiting = Vec::new();
    for number in 0..6 {
        let (passwords, order, left) = (passwords.clone(), order.clone(), Arc::clone(&left));
        let mut call = Box::pin(async move {
            let job = move || {
                left.fetch_or(number == 3, Ordering::SeqCst);
                order.send(number).unwrap();
                Ok(())
            };
            passwords.run(job).await
        });
        assert!(!poll(call.as_mut()));
        waiting.push(call);
    }
    drop(waiting.remove(3));
    release.send(()).unwrap();
    first.await.unwrap();
    // Awaited from the last to the first: the order is that of their coming.
    for call in waiting.into_iter().rev() {
        tokio::spawn(call);
    }
    drop(order);
    let order = tokio::task::spawn_blocking(move || done.iter().collect::<Vec<_>>()).await.unwrap();
    assert_eq!(order, [0, 1, 2, 4, 5]);
    assert!(!left.load(Ordering::SeqCst));
}

#[tokio::test]
async fn a_job_that_panics_gives_its_turn_back() {
    let passwords = passwords(1, 0);
    let error = passwords.run::<()>(|| panic!("as it happens")).await.unwrap_err();
    assert!(matches!(error, Error::Thread(_)));
    passwords.run(|| Ok(())).await.unwrap();
}
