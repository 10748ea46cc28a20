//! A thousand want a hundred units: over REST, at once, and over connections that break.

use bytes::Bytes;
use futures::future::join_all;
use http::Response;
use serde_json::json;
use testkit::process::{Mall, json as body};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::books::Books;
use crate::support::{Customer, mall, number};

#[tokio::test(flavor = "multi_thread")]
async fn of_a_thousand_a_hundred_get_one() {
    // All of them at one time: nobody is to be told to come again.
    let mall = mall(None).variable("MALL__SERVER__MAX_QUEUED", "1000").start().await;
    let admin = Customer::new(&mall, "15838607660").await;
    let product = admin.offer(100, 50).await;
    let wish = json!({ "pid": product });
    let answers = join_all((0..1000).map(|_| admin.post("/api/order/create", &wish))).await;
    let (placed, refused): (Vec<Response<Bytes>>, Vec<_>) = answers.into_iter().partition(|it| it.status() == 200);
    assert_eq!((placed.len(), admin.stock(product).await), (100, 0));
    for answer in &refused {
        assert_eq!((answer.status().as_u16(), &body(answer)["code"]), (400, &json!(9)), "{answer:?}");
    }
    let books = Books::closed(&mall).await;
    books.balance(&[(product, 100)]);
    assert_eq!(books.with_status(0), 100);
}

/// Fifty who order twice each, whose every connection may break at any time, and who try again until they know.
#[tokio::test(flavor = "multi_thread")]
async fn defect_3_lost_answers_and_retries_make_one_order_each() {
    let mall = mall(None).start().await;
    let admin = Customer::new(&mall, "15838607660").await;
    let product = admin.offer(60, 50).await;
    let seed = fastrand::u64(..);
    eprintln!("seed {seed}");
    let clients = (0..50).map(|client| {
        let mut random = fastrand::Rng::with_seed(seed.wrapping_add(client));
        let (mall, admin) = (&mall, &admin);
        async move {
            let mut placed = 0;
            for order in 0..2 {
                placed +=
                    i32::from(insist(mall, &admin.token, &format!("{client}-{order}"), product, &mut random).await);
            }
            placed
        }
    });
    let placed: i32 = join_all(clients).await.into_iter().sum();
    let books = Books::closed(&mall).await;
    books.balance(&[(product, 60)]);
    assert_eq!((placed, books.with_status(0), admin.stock(product).await), (60, 60, 0));
}

/// Orders over connections that the client cuts after some bytes or some time, until an answer came; tells whether the order
/// was placed.
async fn insist(mall: &Mall, token: &str, key: &str, product: i64, random: &mut fastrand::Rng) -> bool {
    for attempt in 0.. {
        let body = json!({ "pid": product }).to_string();
        let request = format!(
            "POST /api/order/create HTTP/1.1\r\nhost: mall\r\ncontent-type: application/json\r\nconnection: close\r\n\
             authorization: Bearer {token}\r\nidempotency-key: {key}\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        let mut stream = TcpStream::connect(mall.address("order.api", "listen")).await.unwrap();
        // In the end they have patience, or the test had none.
        if attempt < 5 && random.bool() {
            stream.write_all(&request.as_bytes()[..random.usize(..request.len())]).await.unwrap();
            continue;
        }
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        let patience = std::time::Duration::from_millis(if attempt < 5 { random.u64(0..100) } else { 60_000 });
        let read = tokio::time::timeout(patience, stream.read_to_string(&mut answer)).await;
        if read.is_ok_and(|read| read.is_ok()) && answer.ends_with('}') {
            match answer.split(' ').nth(1) {
                Some("200") => return true,
                Some("400") => return false,
                _ => panic!("{answer}"),
            }
        }
    }
    unreachable!("it is tried for ever")
}

#[tokio::test(flavor = "multi_thread")]
async fn defect_12_out_of_stock_is_no_order_zero() {
    let mall = mall(None).start().await;
    let admin = Customer::new(&mall, "15838607660").await;
    let product = admin.offer(1, 50).await;
    let order = admin.ask("/api/order/create", &json!({ "pid": product })).await;
    let answer = admin.post("/api/order/create", &json!({ "pid": product })).await;
    assert_eq!((answer.status().as_u16(), &body(&answer)["code"]), (400, &json!(9)));
    // Nobody else's order pays for it: the one that was placed stays placed.
    let again = admin.ask("/api/order/detail", &json!({ "id": number(&order["id"]) })).await;
    assert_eq!(again["status"], 0);
}
