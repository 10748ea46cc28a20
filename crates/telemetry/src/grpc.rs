//! tower layers that give every gRPC call a span, its measurements and its trace context, in both directions.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, RwLock};

mod call;
mod client;
mod server;

pub use client::ClientLayer;
pub use server::ServerLayer;

/// Calls that nobody wants to see: probes and the questions of tools.
fn is_untraced(path: &str) -> bool {
    path.starts_with("/grpc.health.v1.Health/") || path.starts_with("/grpc.reflection.")
}

/// At most this many method names are ever kept, whatever callers send.
const MAX_METHODS: usize = 1024;

/// The names of methods, made once for the life of the process: spans and metrics borrow them.
static METHODS: LazyLock<RwLock<HashMap<Arc<str>, &'static str>>> = LazyLock::new(RwLock::default);

/// The method `pkg.Svc/Method` of a path, or none if it has another form or there are too many.
fn method(path: &str) -> Option<&'static str> {
    if let Some(method) = METHODS.read().ok()?.get(path) {
        return Some(method);
    }
    let name = path.strip_prefix('/').filter(|name| name.len() <= 255 && is_method(name))?;
    let mut methods = METHODS.write().ok()?;
    if methods.len() >= MAX_METHODS {
        return None;
    }
    Some(methods.entry(path.into()).or_insert_with(|| Box::leak(name.into())))
}

fn is_method(name: &str) -> bool {
    let part = |part: &str| {
        !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_'))
    };
    name.split_once('/').is_some_and(|(service, method)| part(service) && part(method))
}

/// The name of a gRPC code, given by its number, as the conventions write it.
pub fn code_name(code: impl Into<tonic::Code>) -> &'static str {
    match code.into() {
        tonic::Code::Ok => "OK",
        tonic::Code::Cancelled => "CANCELLED",
        tonic::Code::Unknown => "UNKNOWN",
        tonic::Code::InvalidArgument => "INVALID_ARGUMENT",
        tonic::Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        tonic::Code::NotFound => "NOT_FOUND",
        tonic::Code::AlreadyExists => "ALREADY_EXISTS",
        tonic::Code::PermissionDenied => "PERMISSION_DENIED",
        tonic::Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        tonic::Code::FailedPrecondition => "FAILED_PRECONDITION",
        tonic::Code::Aborted => "ABORTED",
        tonic::Code::OutOfRange => "OUT_OF_RANGE",
        tonic::Code::Unimplemented => "UNIMPLEMENTED",
        tonic::Code::Internal => "INTERNAL",
        tonic::Code::Unavailable => "UNAVAILABLE",
        tonic::Code::DataLoss => "DATA_LOSS",
        tonic::Code::Unauthenticated => "UNAUTHENTICATED",
    }
}

/// Whether a server that answers this code is at fault, as the conventions have it.
fn is_server_fault(code: tonic::Code) -> bool {
    use tonic::Code::{DataLoss, DeadlineExceeded, Internal, Unavailable, Unimplemented, Unknown};
    matches!(code, Unknown | DeadlineExceeded | Unimplemented | Internal | Unavailable | DataLoss)
}
