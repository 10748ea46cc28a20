//! Who may call what.

use crate::support::*;

#[tokio::test(flavor = "multi_thread")]
async fn who_may_call_what() {
    on_shop(patient(), async |shop| {
        for (method, callers) in [
            ("Create", "user admin"),
            ("Update", "admin"),
            ("Remove", "user admin"),
            ("Detail", "user admin pay.rpc"),
            ("List", "user admin"),
            ("MarkPaid", "pay.rpc"),
        ] {
            let path = format!("mall.order.v1.OrderService/{method}");
            let admitted = shop.keys.admitted(&shop.orders.channel, order::NAME, &path).await;
            assert_eq!(admitted, callers, "{method}");
        }
    })
    .await;
}
