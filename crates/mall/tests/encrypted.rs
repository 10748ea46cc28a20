//! A mall whose services speak TLS among each other, and know each other by their certificates.

use std::process::Command;

use proto::product::v1::ReserveRequest;
use proto::product::v1::product_service_client::ProductServiceClient;
use testkit::Authority;
use testkit::process::Mall;
use tonic::Code;

const MALL: &str = env!("CARGO_BIN_EXE_mall");

#[tokio::test(flavor = "multi_thread")]
async fn services_know_each_other_by_their_certificates() {
    let authority = Authority::new("mall");
    let [certificate, key] = authority.issue("mall", "mall.internal");
    let text = |path: &std::path::Path| path.to_str().unwrap().to_owned();
    let mut mall = Mall::of(MALL)
        .variable("MALL__SERVER__TLS__CERTIFICATE", &text(&certificate))
        .variable("MALL__SERVER__TLS__KEY", &text(&key))
        .variable("MALL__SERVER__TLS__CLIENTS", &text(&authority.certificate()));
    for peer in ["UPSTREAM", "PRODUCT", "ORDER"] {
        for (key, value) in [
            ("AUTHORITIES", text(&authority.certificate())),
            ("NAME", "mall.internal".to_owned()),
            ("CERTIFICATE", text(&certificate)),
            ("KEY", text(&key)),
        ] {
            mall = mall.variable(&format!("MALL__{peer}__TLS__{key}"), &value);
        }
    }
    let mall = mall.start().await;
    let demo = Command::new(MALL).args(["demo", "--data-dir"]).arg(mall.data()).output().unwrap();
    assert!(demo.status.success(), "{}", String::from_utf8_lossy(&demo.stderr));

    // Without a token, a certificate is enough where it names a service that may call.
    let reserve = async |tls: Option<rpc::tls::Client>| {
        let target = mall.address("product.rpc", "listen").into();
        let config = rpc::client::Config { target, tls, ..Default::default() };
        let mut client = ProductServiceClient::new(rpc::client::connect(&config).unwrap());
        let request = ReserveRequest { order_id: 1_000_000, product_id: 1, quantity: 1 };
        client.reserve(request).await.map_or_else(|status| status.code(), |_| Code::Ok)
    };
    let shown = |host: &str| {
        let [certificate, key] = authority.issue(host, host).map(Some);
        let name = Some("mall.internal".to_owned());
        Some(rpc::tls::Client { authorities: authority.certificate(), name, certificate, key })
    };
    assert_eq!(reserve(None).await, Code::Unavailable, "without TLS nobody is served");
    assert_eq!(reserve(shown("pay.rpc")).await, Code::Unauthenticated);
    assert_eq!(reserve(shown("order.rpc")).await, Code::Ok);
}
