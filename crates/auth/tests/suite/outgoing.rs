//! A service's own token on the calls it makes.

use std::convert::Infallible;

use auth::{Caller, Role};
use http::header::{AUTHORIZATION, HeaderValue};
use http::{Request, Response};
use tower::{Layer as _, ServiceExt as _, service_fn};

use crate::support::Fixture;

async fn sent(fixture: &Fixture, request: Request<()>) -> HeaderValue {
    let peer = service_fn(async |request: Request<()>| {
        let mut values = request.headers().get_all(AUTHORIZATION).iter();
        let value = values.next().unwrap().clone();
        assert!(values.next().is_none());
        Ok::<_, Infallible>(Response::new(value))
    });
    let layer = auth::outgoing::Layer::new(fixture.service("order.rpc"), "product.rpc");
    layer.layer(peer).oneshot(request).await.unwrap().into_body()
}

#[tokio::test]
async fn a_call_carries_the_services_token() {
    let fixture = Fixture::new();
    let value = sent(&fixture, Request::new(())).await;
    assert!(value.is_sensitive());
    let headers = [(AUTHORIZATION, value)].into_iter().collect();
    assert_eq!(fixture.verifier("product.rpc").caller(&headers), Ok(Caller::Service("order.rpc".to_owned())));
}

#[tokio::test]
async fn a_call_on_behalf_of_a_user_keeps_the_users_token() {
    let fixture = Fixture::new();
    let user = format!("Bearer {}", fixture.users().issue(7, Role::User).value);
    let request = Request::builder().header(AUTHORIZATION, &user).body(()).unwrap();
    assert_eq!(sent(&fixture, request).await, user);
}
