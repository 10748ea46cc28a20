//! `mall demo`: one shopper against a running mall, step by step, each with the address of its trace.

use std::hash::{BuildHasher as _, RandomState};
use std::io::Write as _;
use std::time::Instant;

use anyhow::{Context as _, bail};
use bytes::Bytes;
use http::{Method, Request, StatusCode, Uri, header};
use http_body_util::Full;
use serde_json::{Value, json};

use crate::http as client;

#[derive(clap::Args, Debug)]
pub(crate) struct Options {
    /// Where user.api is
    #[arg(long, env = "MALL_URL", value_name = "URL", default_value = "http://127.0.0.1:8000")]
    url: Uri,
    /// Where the trace viewer is, or another Jaeger
    #[arg(long, env = "MALL_VIEWER", value_name = "URL", default_value = "http://127.0.0.1:5000")]
    viewer: Uri,
}

pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    if options.url.scheme_str() != Some("http") || options.url.host().is_none() {
        bail!("`{}` cannot be called: write --url as http://HOST:PORT", options.url);
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(Shopper { options, traced: false }.shop())
}

struct Shopper<'a> {
    options: &'a Options,
    /// Whether any step so far has a trace.
    traced: bool,
}

impl Shopper<'_> {
    async fn shop(mut self) -> anyhow::Result<()> {
        let random = RandomState::new();
        let mobile = format!("1{:010}", random.hash_one("mobile") % 10_000_000_000);
        let password = format!("{:016x}", random.hash_one("password"));
        let mut out = std::io::stdout();
        writeln!(out, "A shopper with the mobile number {mobile} at {}\n", trimmed(&self.options.url))?;

        let account = json!({ "name": "Ada", "gender": 2, "mobile": mobile, "password": password });
        self.step("register", "/api/user/register", None, &account).await?;
        let login = json!({ "mobile": mobile, "password": password });
        let answer = self.step("log in", "/api/user/login", None, &login).await?;
        let token = answer["accessToken"].as_str().context("the answer to the login has no accessToken")?;
        let user = self.step("who am I", "/api/user/userinfo", Some(token), &json!({})).await?;

        writeln!(out, "\n{}", serde_json::to_string(&user)?)?;
        if self.traced {
            writeln!(out, "\n{}", self.where_traces_are().await)?;
        }
        Ok(())
    }

    async fn where_traces_are(&self) -> String {
        let viewer = trimmed(&self.options.viewer);
        let request = Request::get(format!("{viewer}/")).body(Full::default());
        if let Ok(request) = request
            && client::send(request).await.is_ok()
        {
            return "The traces are there a second later.".to_owned();
        }
        format!("Nothing answers at {viewer}: say where your Jaeger's UI is with --viewer.")
    }

    async fn step(&mut self, what: &str, path: &str, token: Option<&str>, body: &Value) -> anyhow::Result<Value> {
        let base = trimmed(&self.options.url);
        let mut request = Request::builder().method(Method::POST).uri(format!("{base}{path}"));
        request = request.header(header::CONTENT_TYPE, "application/json");
        if let Some(token) = token {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        let start = Instant::now();
        let sent = client::send(request.body(Full::new(Bytes::from(body.to_string())))?).await;
        let response = sent.with_context(|| {
            format!("nothing answers at {base}: start the mall with `mall up`, or say where it is with --url")
        })?;
        let millis = start.elapsed().as_millis();

        let status = response.status();
        let told = |name| response.headers().get(name).and_then(|value| value.to_str().ok());
        let sampled = told("traceresponse").is_some_and(|context| context.ends_with("-01"));
        self.traced |= sampled;
        let trace = match told("x-trace-id") {
            Some(id) if sampled => format!("{}/trace/{id}", trimmed(&self.options.viewer)),
            _ => "not sampled, so no trace".to_owned(),
        };
        writeln!(std::io::stdout(), "{what:9} POST {path:20} {} {millis:5} ms  {trace}", status.as_u16())?;
        let answer: Value = serde_json::from_slice(response.body()).unwrap_or_default();
        if status != StatusCode::OK {
            bail!("{what} failed: {}", answer["message"].as_str().unwrap_or("the answer says no reason"));
        }
        Ok(answer)
    }
}

/// A base address without the slash at its end.
fn trimmed(url: &Uri) -> String {
    url.to_string().trim_end_matches('/').to_owned()
}
