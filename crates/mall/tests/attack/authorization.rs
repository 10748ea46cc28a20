//! Every method and every kind of caller: who is let in, over gRPC at the service's own port.

use std::collections::{BTreeMap, BTreeSet};

use testkit::process::Mall;
use testkit::service::{Keys, client};

use crate::victim::MALL;

const EVERYONE: &str = "anyone user admin user.rpc product.rpc order.rpc pay.rpc";

/// Who may call what: a method that is not here fails the test, and so does one that is gone.
const ADMITTED: [(&str, &str); 21] = [
    ("mall.user.v1.UserService/Register", EVERYONE),
    ("mall.user.v1.UserService/Login", EVERYONE),
    ("mall.user.v1.UserService/UserInfo", "user admin"),
    ("mall.user.v1.UserService/ChangePassword", "user admin"),
    ("mall.user.v1.UserService/UpdateProfile", "user admin"),
    ("mall.product.v1.ProductService/Create", "admin"),
    ("mall.product.v1.ProductService/Update", "admin"),
    ("mall.product.v1.ProductService/Remove", "admin"),
    ("mall.product.v1.ProductService/Detail", EVERYONE),
    ("mall.product.v1.ProductService/List", EVERYONE),
    ("mall.product.v1.ProductService/Reserve", "order.rpc"),
    ("mall.product.v1.ProductService/Release", "order.rpc"),
    ("mall.order.v1.OrderService/Create", "user admin"),
    ("mall.order.v1.OrderService/Update", "admin"),
    ("mall.order.v1.OrderService/Remove", "user admin"),
    ("mall.order.v1.OrderService/Detail", "user admin pay.rpc"),
    ("mall.order.v1.OrderService/List", "user admin"),
    ("mall.order.v1.OrderService/MarkPaid", "pay.rpc"),
    ("mall.pay.v1.PayService/Create", "user admin"),
    ("mall.pay.v1.PayService/Detail", "user admin"),
    // Its signature says who calls; without one, where a mall is tried out, an admin may stand in for the provider.
    ("mall.pay.v1.PayService/Callback", "admin"),
];

#[tokio::test(flavor = "multi_thread")]
async fn every_method_admits_whom_it_should_and_nobody_else() {
    let services = proto::descriptors().services().filter(|service| service.full_name().starts_with("mall."));
    let methods: BTreeSet<_> = services
        .flat_map(|service| {
            let name = |method: prost_reflect::MethodDescriptor| format!("{}/{}", service.full_name(), method.name());
            service.methods().map(name).collect::<Vec<_>>()
        })
        .collect();
    let rows = BTreeMap::from(ADMITTED);
    assert_eq!(methods, rows.keys().map(|method| (*method).to_owned()).collect(), "the methods and the rows");

    let mall = Mall::of(MALL).start().await;
    let keys = Keys::of(&mall.data().join("keys"));
    for (method, admitted) in rows {
        let service = format!("{}.rpc", method.split('.').nth(1).unwrap());
        let channel = rpc::client::connect(&client(mall.address(&service, "listen"))).unwrap();
        assert_eq!(keys.admitted(&channel, &service, method).await, admitted, "{method}");
    }
}
