//! A service's own token on the calls it makes.

use auth::{Caller, Outgoing, Role};
use http::HeaderMap;
use http::header::AUTHORIZATION;
use tonic::Request;
use tonic::service::Interceptor as _;

use crate::support::Fixture;

/// The headers of a call to product.rpc that order.rpc makes.
fn sent(fixture: &Fixture, request: Request<()>) -> HeaderMap {
    let mut outgoing = Outgoing::new(fixture.service("order.rpc"), "product.rpc");
    let headers = outgoing.call(request).unwrap().into_parts().0.into_headers();
    assert_eq!(headers.get_all(AUTHORIZATION).iter().count(), 1);
    headers
}

#[test]
fn a_call_carries_the_services_token() {
    let fixture = Fixture::new();
    let headers = sent(&fixture, Request::new(()));
    assert!(headers[AUTHORIZATION].is_sensitive());
    assert_eq!(fixture.verifier("product.rpc").caller(&headers), Ok(Caller::Service("order.rpc".to_owned())));
}

#[test]
fn a_call_on_behalf_of_a_user_keeps_the_users_token() {
    let fixture = Fixture::new();
    let user = format!("Bearer {}", fixture.users().issue(7, Role::User).value);
    let mut request = Request::new(());
    request.metadata_mut().insert("authorization", user.parse().unwrap());
    assert_eq!(sent(&fixture, request)[AUTHORIZATION], user);
}
