//! A running mall as its shoppers see it, over REST: what `mall demo` and `mall load` ask, and what they are answered.

mod account;
mod answer;
mod ask;
mod goods;
mod places;
mod provider;

use bytes::Bytes;
use http::{HeaderValue, Request, header};
use http_body_util::Full;

pub(crate) use self::account::{Account, Token};
pub(crate) use self::answer::{Answer, Error};
pub(crate) use self::ask::Ask;
pub(crate) use self::goods::buyable;
use self::places::Places;
pub(crate) use self::places::Whereabouts;
pub(crate) use self::provider::Provider;
use crate::http::Client;

/// Where a mall runs, and connections to it; clones share these.
#[derive(Clone, Debug)]
pub(crate) struct Shop {
    client: Client,
    places: Places,
}

impl Shop {
    pub(crate) fn new(whereabouts: &Whereabouts) -> anyhow::Result<Self> {
        Ok(Self { client: Client::new(), places: Places::find(whereabouts)? })
    }

    /// Sends one request; an answer that refuses is an answer, too.
    pub(crate) async fn send(&self, ask: Ask) -> Result<Answer, Error> {
        let base = self.places.of(ask.api);
        let unsent = |source: http::Error| Error::Unsent { base: base.to_owned(), source };
        let mut request = Request::builder().method(ask.method).uri(format!("{base}{}", ask.path));
        if !ask.body.is_empty() {
            request = request.header(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        for (name, value) in ask.headers {
            request = request.header(name, value);
        }
        let request = request.body(Full::new(ask.body)).map_err(unsent)?;
        match self.client.send(request).await {
            Ok(answer) => Ok(Answer::from(answer)),
            Err(source) => Err(Error::NoAnswer { base: base.to_owned(), flag: places::flag(ask.api), source }),
        }
    }

    pub(crate) fn user_api(&self) -> &str {
        self.places.of(gateway::Api::User)
    }

    pub(crate) fn viewer(&self) -> &str {
        &self.places.viewer
    }

    /// Whether something answers where the viewer is said to be; one behind TLS is believed to.
    pub(crate) async fn has_viewer(&self) -> bool {
        if self.places.viewer.starts_with("https:") {
            return true;
        }
        let request = Request::get(format!("{}/", self.places.viewer)).body(Full::<Bytes>::default());
        match request {
            Ok(request) => self.client.send(request).await.is_ok(),
            Err(_) => false,
        }
    }

    /// Where a trace is shown.
    pub(crate) fn trace_address(&self, id: &str) -> String {
        format!("{}/trace/{id}", self.places.viewer)
    }
}
