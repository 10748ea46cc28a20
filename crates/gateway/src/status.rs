//! A refusal of the service as one of the gateway: its code, its details, the headers that they imply.

use std::error::Error as _;

use http::{HeaderName, HeaderValue, header};
use rest_over_grpc::handling::{Code, Context, Status};
use tonic_types::StatusExt as _;

use crate::details;

/// Marks, inside of the gateway, an answer that the service refused rather than the gateway.
pub(crate) const REFUSED: HeaderName = HeaderName::from_static("grpc-status");

/// The REST form of what the service answers in place of a message.
pub(crate) fn refusal(status: tonic::Status, cx: &mut Context) -> Status {
    let status = own(status);
    cx.insert_response_header(REFUSED, HeaderValue::from(i32::from(status.code())));
    if status.code() == tonic::Code::Unauthenticated {
        cx.insert_response_header(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    let details = status.get_error_details_vec();
    if let Some(seconds) = details::retry_after(&details) {
        cx.insert_response_header(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    let code = Code::from_i32(status.code().into()).unwrap_or(Code::Unknown);
    Status::new(code, status.message()).with_details(details.into_iter().filter_map(details::to_json))
}

/// A status that the service sent, as it is; in place of one that the client made of a broken answer, words for a caller.
fn own(status: tonic::Status) -> tonic::Status {
    let Some(cause) = status.source() else { return status };
    tracing::warn!(error = cause, code = ?status.code(), "an answer broke off");
    tonic::Status::unavailable("the service broke off its answer, try again")
}
