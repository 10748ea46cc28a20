//! Lists: pages, whose orders, and how the database finds them.

use proto::order::v1::*;
use testkit::database::{on_each, plan};
use testkit::service::fields;
use tonic::Code;

use crate::support::*;

#[tokio::test(flavor = "multi_thread")]
async fn a_user_reads_their_orders_page_by_page() {
    on_shop(patient(), async |shop| {
        let product = shop.product(100, 50).await;
        for _ in 0..5 {
            shop.create(one(product.id)).await.unwrap();
        }
        shop.create_as(&shop.keys.user(3), one(product.id)).await.unwrap();
        let page = async |page_token: String| {
            let request = ListRequest { uid: None, page_size: 2, page_token };
            let answer = shop.list(&shop.user, request).await.unwrap();
            (answer.orders.iter().map(|order| order.id).collect::<Vec<_>>(), answer.next_page_token)
        };
        let (first, token) = page(String::new()).await;
        // What is ordered meanwhile moves nothing.
        shop.create(one(product.id)).await.unwrap();
        let (second, next) = page(token.clone()).await;
        let (third, end) = page(next).await;
        assert_eq!((first, second, third, end.as_str()), (vec![5, 4], vec![3, 2], vec![1], ""));

        // Someone else's token, none at all, a page that is too large.
        let other = ListRequest { page_token: token, ..Default::default() };
        assert_eq!(fields(&shop.list(&shop.keys.user(3), other).await.unwrap_err()), ["pageToken"]);
        for (request, field) in [
            (ListRequest { page_token: "AAAA".into(), ..Default::default() }, "pageToken"),
            (ListRequest { page_size: 101, ..Default::default() }, "pageSize"),
            (ListRequest { page_size: i32::MIN, ..Default::default() }, "pageSize"),
        ] {
            assert_eq!(fields(&shop.list(&shop.user, request).await.unwrap_err()), [field]);
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn defect_4_orders_are_their_owners_business() {
    on_shop(patient(), async |shop| {
        let product = shop.product(100, 50).await;
        let id = shop.create(one(product.id)).await.unwrap().id;
        let other = shop.keys.user(3);
        let detail = shop.client().detail(testkit::service::with_token(&other, DetailRequest { id })).await;
        assert_eq!(detail.unwrap_err().code(), Code::NotFound);
        let remove = shop.client().remove(testkit::service::with_token(&other, RemoveRequest { id })).await;
        assert_eq!(remove.unwrap_err().code(), Code::NotFound);
        let theirs = ListRequest { uid: Some(2), ..Default::default() };
        assert_eq!(shop.list(&other, theirs.clone()).await.unwrap_err().code(), Code::PermissionDenied);
        let in_their_name = CreateRequest { uid: Some(2), ..one(product.id) };
        assert_eq!(fields(&shop.create_as(&other, in_their_name).await.unwrap_err()), ["uid"]);

        // An admin may look, and cancel.
        assert_eq!(shop.list(&shop.admin, theirs).await.unwrap().orders.len(), 1);
        assert!(shop.list(&shop.admin, ListRequest::default()).await.unwrap().orders.is_empty());
        let detail = shop.client().detail(testkit::service::with_token(&shop.admin, DetailRequest { id })).await;
        assert_eq!(detail.unwrap().into_inner().uid, 2);
        assert_eq!(shop.detail(id).await.unwrap().status, PLACED);
        let remove = shop.client().remove(testkit::service::with_token(&shop.admin, RemoveRequest { id })).await;
        assert_eq!(remove.unwrap_err().code(), Code::NotFound);
        assert_eq!(shop.update(to(id, CANCELLED)).await.unwrap().status, CANCELLED);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_order_is_looked_for_in_all_of_them() {
    on_each(order::MIGRATIONS, async |database| {
        for query in [
            "select * from orders where id = $1",
            "select * from orders where uid = $1 and idempotency_key = $2",
            "select * from orders where uid = $1 and id < $2 and not hidden order by id desc limit $3",
            "select id from orders where due_at <= $1 order by due_at limit $2",
            "select count(*), min(due_at) from orders where due_at <= $1 and since is null",
            "select count(*), min(since) from orders where since is not null",
        ] {
            let plan = plan(&database, query).await;
            let is_scan = plan.contains("Seq Scan") || plan.lines().any(|step| step.starts_with("SCAN"));
            assert!(!is_scan && !plan.contains("TEMP B-TREE") && !plan.contains("Sort"), "{query}: {plan}");
        }
    })
    .await;
}
