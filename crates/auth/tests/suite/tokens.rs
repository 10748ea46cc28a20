//! Which tokens are accepted, which refused and why.

use auth::{Caller, Rejection, Role};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64;
use ring::hmac;
use serde_json::{Value, json};

use crate::support::{Fixture, NOW, headers, unsigned, user_claims, with};

const USER: Caller = Caller::User { id: 7, role: Role::User };

#[test]
fn a_users_token_names_the_user_to_every_service() {
    let fixture = Fixture::new();
    for role in [Role::User, Role::Admin] {
        let token = fixture.users().issue(7, role);
        assert_eq!(token.expires_at, NOW as i64 + 86_400);
        for audience in ["user.rpc", "order.rpc"] {
            assert_eq!(fixture.verifier(audience).verify(&token.value), Ok(Caller::User { id: 7, role }));
        }
    }
}

#[test]
fn a_services_token_names_it_to_its_peer_alone() {
    let fixture = Fixture::new();
    let token = fixture.service("order.rpc").token_for("product.rpc");
    let verify = |audience| fixture.verifier(audience).verify(&token);
    assert_eq!(verify("product.rpc"), Ok(Caller::Service("order.rpc".to_owned())));
    assert_eq!(verify("user.rpc"), Err(Rejection::Audience));
}

#[test]
fn a_token_must_be_signed_by_the_key_it_names() {
    let fixture = Fixture::new();
    let (good, claims) = (fixture.header("user.rpc"), user_claims());
    let sign = |header: &Value| fixture.sign("user.rpc", header, &claims);
    let cases = [
        ("good", sign(&good), Ok(USER)),
        ("typ and unknown members", sign(&with(with(good.clone(), "typ", json!("JWT")), "x", json!(1))), Ok(USER)),
        ("signed by another", fixture.sign("order.rpc", &good, &claims), Err(Rejection::Signature)),
        ("not signed", format!("{}.", unsigned(&good, &claims)), Err(Rejection::Signature)),
        ("alg none", format!("{}.", unsigned(&json!({ "alg": "none" }), &claims)), Err(Rejection::Algorithm)),
        ("alg none but signed", sign(&with(good.clone(), "alg", json!("none"))), Err(Rejection::Algorithm)),
        ("alg in lower case", sign(&with(good.clone(), "alg", json!("eddsa"))), Err(Rejection::Algorithm)),
        ("another curve", sign(&with(good.clone(), "alg", json!("Ed448"))), Err(Rejection::Algorithm)),
        ("ECDSA", sign(&with(good.clone(), "alg", json!("ES256"))), Err(Rejection::Algorithm)),
        ("no alg", sign(&with(good.clone(), "alg", Value::Null)), Err(Rejection::Malformed)),
        ("alg not a string", sign(&with(good.clone(), "alg", json!(["EdDSA"]))), Err(Rejection::Malformed)),
        ("no kid", sign(&with(good.clone(), "kid", Value::Null)), Err(Rejection::UnknownKey)),
        ("unknown kid", sign(&with(good.clone(), "kid", json!("../user.rpc"))), Err(Rejection::UnknownKey)),
        ("a key of its own", sign(&with(good.clone(), "jwk", json!({ "kty": "OKP" }))), Ok(USER)),
        ("critical extension", sign(&with(good.clone(), "crit", json!(["b64"]))), Err(Rejection::Malformed)),
        ("header is a list", sign(&json!([good])), Err(Rejection::Malformed)),
    ];
    let verifier = fixture.verifier("user.rpc");
    for (name, token, expected) in cases {
        assert_eq!(verifier.verify(&token), expected, "{name}");
    }
}

#[test]
fn the_public_key_is_no_shared_secret() {
    let fixture = Fixture::new();
    let header = with(fixture.header("user.rpc"), "alg", json!("HS256"));
    let signed = unsigned(&header, &user_claims());
    let pem = fixture.pair("user.rpc").public;
    let body = pem.lines().nth(1).unwrap();
    let der = base64::prelude::BASE64_STANDARD.decode(body).unwrap();
    for secret in [pem.as_bytes(), body.as_bytes(), &der, &der[12..]] {
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), signed.as_bytes());
        let token = format!("{signed}.{}", BASE64.encode(tag));
        assert_eq!(fixture.verifier("user.rpc").verify(&token), Err(Rejection::Algorithm));
    }
}

#[test]
fn what_a_token_claims_must_fit_its_key_the_time_and_the_service() {
    let fixture = Fixture::new();
    let service = |audience: &str| json!({ "iss": "order.rpc", "sub": "order.rpc", "aud": audience, "iat": NOW, "exp": NOW + 60 });
    let order = Caller::Service("order.rpc".to_owned());
    let user = |member, to| ("user.rpc", with(user_claims(), member, to));
    let cases = [
        ("good user", ("user.rpc", user_claims()), Ok(USER)),
        ("good service", ("order.rpc", service("user.rpc")), Ok(order)),
        ("a service posing as user.rpc", ("order.rpc", user_claims()), Err(Rejection::Issuer)),
        (
            "a service making users",
            ("order.rpc", with(user_claims(), "iss", json!("order.rpc"))),
            Err(Rejection::Issuer),
        ),
        ("issuer unknown", user("iss", json!("else.rpc")), Err(Rejection::Issuer)),
        ("no issuer", user("iss", Value::Null), Err(Rejection::Malformed)),
        ("another audience", user("aud", json!("product.rpc")), Err(Rejection::Audience)),
        ("several audiences", user("aud", json!(["mall", "user.rpc"])), Err(Rejection::Malformed)),
        ("no audience", user("aud", Value::Null), Err(Rejection::Malformed)),
        ("a user's token for a service", user("aud", json!("user.rpc")), Err(Rejection::Subject)),
        ("service for another", ("order.rpc", service("product.rpc")), Err(Rejection::Audience)),
        ("service as a user", ("order.rpc", service("mall")), Err(Rejection::Issuer)),
        (
            "service as another",
            ("order.rpc", with(service("user.rpc"), "sub", json!("user.rpc"))),
            Err(Rejection::Subject),
        ),
        ("subject zero", user("sub", json!("0")), Err(Rejection::Subject)),
        ("subject negative", user("sub", json!("-7")), Err(Rejection::Subject)),
        ("subject a name", user("sub", json!("user.rpc")), Err(Rejection::Subject)),
        ("subject too large", user("sub", json!("9223372036854775808")), Err(Rejection::Subject)),
        ("subject a number", user("sub", json!(7)), Err(Rejection::Malformed)),
        ("role unknown", user("role", json!("root")), Err(Rejection::Malformed)),
        ("no role", user("role", Value::Null), Err(Rejection::Malformed)),
        ("expired now", user("exp", json!(NOW)), Ok(USER)),
        ("expired within the leeway", user("exp", json!(NOW - 4)), Ok(USER)),
        ("expired", user("exp", json!(NOW - 5)), Err(Rejection::Expired)),
        ("expired in 1970", user("exp", json!(0)), Err(Rejection::Expired)),
        ("never expires", user("exp", Value::Null), Err(Rejection::Malformed)),
        ("expires at the end of time", user("exp", json!(u64::MAX)), Ok(USER)),
        ("expires after it", user("exp", json!(1e30)), Err(Rejection::Malformed)),
        ("expires at a text", user("exp", json!("1800000060")), Err(Rejection::Malformed)),
        ("issued just ahead", user("iat", json!(NOW + 5)), Ok(USER)),
        ("issued in the future", user("iat", json!(NOW + 6)), Err(Rejection::NotYet)),
        ("no time of issue", user("iat", Value::Null), Err(Rejection::Malformed)),
    ];
    let verifier = fixture.verifier("user.rpc");
    for (name, (signer, claims), expected) in cases {
        let token = fixture.sign(signer, &fixture.header(signer), &claims);
        // The second time it may be remembered.
        for _ in 0..2 {
            assert_eq!(verifier.verify(&token), expected, "{name}");
        }
    }
}

#[test]
fn what_is_no_token_is_refused() {
    let fixture = Fixture::new();
    let verifier = fixture.verifier("user.rpc");
    let good = fixture.users().issue(7, Role::User).value;
    for length in 0..good.len() {
        assert!(verifier.verify(&good[..length]).is_err(), "cut to {length}");
    }
    for at in 0..good.len() {
        let mut changed = good.clone().into_bytes();
        changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
        assert!(verifier.verify(&String::from_utf8(changed).unwrap()).is_err(), "changed at {at}");
    }
    let long_claims = with(user_claims(), "x", json!("x".repeat(8192)));
    let cases = [
        ("too long", fixture.sign("user.rpc", &fixture.header("user.rpc"), &long_claims), Rejection::TooLong),
        ("far too long", "x".repeat(1 << 20), Rejection::TooLong),
        ("dots", "...".to_owned(), Rejection::Malformed),
        ("two parts", "e30.e30".to_owned(), Rejection::Malformed),
        ("empty objects", "e30.e30.e30".to_owned(), Rejection::Malformed),
        ("padded", format!("{good}="), Rejection::Malformed),
        ("a part more", format!("{good}.{good}"), Rejection::Signature),
        ("spaces", good.replace('.', " . "), Rejection::Malformed),
        ("not ASCII", "ä.ö.ü".to_owned(), Rejection::Malformed),
        ("deep JSON", format!("{}.e30.e30", BASE64.encode("[".repeat(5000))), Rejection::Malformed),
        ("not UTF-8", format!("{}.e30.e30", BASE64.encode(b"{\"alg\":\"\xff\"}")), Rejection::Malformed),
    ];
    for (name, token, expected) in cases {
        assert_eq!(verifier.verify(&token), Err(expected), "{name}");
    }
    assert_eq!(verifier.verify(&good), Ok(USER));
}

#[test]
fn the_header_is_bearer_in_any_case_or_the_bare_token() {
    let fixture = Fixture::new();
    let verifier = fixture.verifier("user.rpc");
    let good = fixture.users().issue(7, Role::User).value;
    for prefix in ["Bearer ", "bearer ", "BEARER ", "bEaReR   ", "", "  "] {
        let value = format!("{prefix}{good}");
        assert_eq!(verifier.caller(&headers(&[value.as_bytes()])), Ok(USER), "{prefix:?}");
    }
    let bearer = format!("Bearer {good}");
    let two = format!("{bearer}, {bearer}");
    let cases: [(&str, &[&[u8]], Rejection); 9] = [
        ("none", &[], Rejection::Missing),
        ("empty", &[b""], Rejection::Missing),
        ("the scheme alone", &[b"Bearer "], Rejection::Malformed),
        ("two", &[bearer.as_bytes(), bearer.as_bytes()], Rejection::Several),
        ("a good one after a bad one", &[b"x", bearer.as_bytes()], Rejection::Several),
        ("another scheme", &[b"Basic dXNlcjpwYXNz"], Rejection::Malformed),
        ("two in one", &[two.as_bytes()], Rejection::Signature),
        ("not ASCII", &["Bearer ä.ö.ü".as_bytes()], Rejection::Malformed),
        ("not UTF-8", &[b"Bearer \xff\xfe"], Rejection::Malformed),
    ];
    for (name, values, expected) in cases {
        assert_eq!(verifier.caller(&headers(values)), Err(expected), "{name}");
    }
}

#[test]
fn a_remembered_token_expires_when_it_says() {
    let fixture = Fixture::new();
    let verifier = fixture.verifier("user.rpc");
    let token = fixture.users().issue(7, Role::User);
    let exp = token.expires_at as u64;
    for (now, expected) in [
        (NOW, Ok(USER)),
        (exp - 1, Ok(USER)),
        // From here on only the leeway admits it, as it would a token never seen before.
        (exp, Ok(USER)),
        (exp + 4, Ok(USER)),
        (exp + 5, Err(Rejection::Expired)),
        (exp + 1_000_000, Err(Rejection::Expired)),
    ] {
        fixture.set_time(now);
        assert_eq!(verifier.verify(&token.value), expected, "{now}");
        assert_eq!(fixture.verifier("user.rpc").verify(&token.value), expected, "{now}, not remembered");
    }
}

#[test]
fn a_services_token_is_used_again_until_it_is_nearly_over() {
    let fixture = Fixture::new();
    let signer = fixture.service("order.rpc");
    let first = signer.token_for("product.rpc");
    assert_ne!(signer.token_for("user.rpc"), first);
    fixture.set_time(NOW + 44);
    assert_eq!(signer.token_for("product.rpc"), first);
    fixture.set_time(NOW + 45);
    let second = signer.token_for("product.rpc");
    assert_ne!(second, first);
    // Each was good for at least a quarter of its life when it was given out.
    fixture.set_time(NOW + 59);
    assert!(fixture.verifier("product.rpc").verify(&first).is_ok());
    fixture.set_time(NOW + 65);
    assert_eq!(fixture.verifier("product.rpc").verify(&first), Err(Rejection::Expired));
    assert!(fixture.verifier("product.rpc").verify(&second).is_ok());
}

#[test]
fn nothing_printed_holds_a_token_or_a_key() {
    let fixture = Fixture::new();
    let token = fixture.users().issue(7, Role::User);
    let verifier = fixture.verifier("user.rpc");
    verifier.verify(&token.value).unwrap();
    let pair = fixture.pair("user.rpc");
    let printed = format!("{token:?} {verifier:?} {:?} {:?} {pair:?}", fixture.users(), fixture.service("order.rpc"));
    let secret = pair.private.expose_secret().lines().nth(1).unwrap();
    assert!(!printed.contains(&token.value) && !printed.contains(secret), "{printed}");
}
