//! How long `/metrics` takes when there is much to tell.

use std::time::{Duration, Instant};

use anyhow::ensure;
use http::Request;
use http_body_util::Full;
use rpc::Lifecycle;
use telemetry::{KeyValue, metric, semconv};
use testkit::http::Client;

use crate::report::{Goal, Row, number};
use crate::{on_one_thread, p99};

const SERIES: usize = 2_000;
const SCRAPES: usize = 200;

pub(crate) fn measure() -> anyhow::Result<Vec<Row>> {
    on_one_thread(async {
        let calls = metric::RPC_SERVER_CALL_DURATION.histogram();
        // A histogram is a series for each of its buckets, with the last one, the sum and the count.
        for method in 0..=SERIES / 17 {
            let label = KeyValue::new(semconv::RPC_METHOD, format!("mall.shop.v1.ShopService/Method{method}"));
            calls.record(0.01, &[label]);
        }
        let admin = rpc::admin::serve("127.0.0.1:0".parse()?, Lifecycle::new()).await?;
        // Prometheus keeps its connection as well.
        let (client, url) = (Client::default(), format!("http://{}/metrics", admin.address()));
        let (mut times, mut series) = (Vec::new(), 0);
        for _ in 0..SCRAPES {
            let start = Instant::now();
            let answer = client.try_send(Request::get(&url).body(Full::default())?).await;
            let answer = answer.map_err(anyhow::Error::from_boxed)?;
            times.push(start.elapsed().as_secs_f64() * 1e3);
            let text = std::str::from_utf8(answer.body())?;
            series = text.lines().filter(|line| !line.starts_with('#')).count();
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        ensure!(series >= SERIES, "there are {series} series");
        let note = format!("{series} series, over HTTP; median {} ms", number(crate::median(times.clone())));
        Ok(vec![Row::new("/metrics, p99", Goal::AtMost(5.0), p99(times), "ms").note(note)])
    })
}
