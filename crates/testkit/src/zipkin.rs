//! Real Zipkin, in memory, on a free port.

use crate::part::{self, Log, Part};

/// A running Zipkin; it goes when this is dropped.
#[derive(Debug)]
pub struct Zipkin {
    /// Base URL of its API: it takes spans at `/api/v2/spans` and answers at `/api/v2/trace/{id}`.
    pub url: String,
    _part: Part,
}

/// Starts Zipkin by the `java` on PATH; `None`, said aloud, where it is missing and not required.
pub async fn start() -> Option<Zipkin> {
    let jar = part::find("zipkin")?;
    let (mut command, directory) = part::command("java".as_ref());
    // A small heap and the quick compiler: it starts in a third of the time and serves a handful of traces.
    command.args(["-Xmx128m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-XX:-UsePerfData"]);
    command.arg(format!("-Djava.io.tmpdir={}", directory.display()));
    command.args(["-Darmeria.ports[0].address=127.0.0.1", "-Darmeria.ports[0].port=0"]);
    command.args(["-Darmeria.ports[0].protocols[0]=http", "-Dzipkin.storage.type=mem"]);
    command.arg("-jar").arg(jar);
    let (part, url) = Part::start(&command, &directory, &Log::default(), |line| {
        let (_, address) = line.split_once("Serving HTTP at ")?;
        let (_, url) = address.split_once(" - ")?;
        Some(url.trim_end_matches('/').to_owned())
    })
    .await;
    Some(Zipkin { url, _part: part })
}
