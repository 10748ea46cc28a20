//! The sandbox payment provider: it tells pay.api, in a signed callback, that a payment was made.

use anyhow::Context as _;
use auth::CallbackKey;
use bytes::Bytes;
use gateway::Api;
use http::HeaderValue;
use http::header::InvalidHeaderValue;
use proto::pay::v1::Payment;

use super::{Ask, Whereabouts};
use crate::keys::PROVIDER;

/// Signs as the provider does.
#[derive(Debug)]
pub(crate) struct Provider(CallbackKey);

impl Provider {
    pub(crate) fn load(whereabouts: &Whereabouts) -> anyhow::Result<Self> {
        let config = auth::Config { keys: whereabouts.keys(), ..Default::default() };
        let key = CallbackKey::load(&config, PROVIDER)
            .context("to pay, name the data directory of the mall that runs with --data-dir: its keys are there")?;
        Ok(Self(key))
    }

    /// What says that all of `payment` was paid.
    pub(crate) fn callback(&self, payment: &Payment) -> Result<Ask, InvalidHeaderValue> {
        // The signature is of these bytes.
        let body = body(payment);
        let signature = HeaderValue::try_from(self.0.sign(&body))?;
        Ok(Ask::post(Api::Pay, "/api/pay/callback", body).with(rpc::SIGNATURE, signature))
    }
}

fn body(Payment { id, oid, amount, .. }: &Payment) -> Bytes {
    format!(r#"{{"id":{id},"oid":{oid},"amount":{amount},"source":1,"status":1}}"#).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_callback_says_what_was_paid() {
        let payment = Payment { id: 7, uid: 3, oid: 5, amount: 990, source: 0, status: 0 };
        assert_eq!(body(&payment), r#"{"id":7,"oid":5,"amount":990,"source":1,"status":1}"#);
    }
}
