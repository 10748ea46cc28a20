//! One line of OTLP's JSON for every batch, as the OTLP file exporter's specification has it.

use std::path::Path;

use opentelemetry_proto::tonic::trace::v1::TracesData;
use opentelemetry_proto::transform::common::tonic::ResourceAttributesWithSchema;
use opentelemetry_proto::transform::trace::tonic::group_spans_by_resource_and_scope;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SpanData;
use tokio::io::{AsyncWrite, AsyncWriteExt as _};
use tokio::sync::Mutex;

use crate::Error;

pub(super) struct Lines {
    resource: ResourceAttributesWithSchema,
    out: Mutex<Box<dyn AsyncWrite + Send + Unpin>>,
}

impl Lines {
    /// Appends to the file, which is made if it is not there.
    pub(super) fn file(path: &str, resource: &Resource) -> Result<Self, Error> {
        let file = std::fs::OpenOptions::new().create(true).append(true).open(path);
        let file = file.map_err(|source| Error::File { path: Path::new(path).to_owned(), source })?;
        Ok(Self::new(Box::new(tokio::fs::File::from_std(file)), resource))
    }

    pub(super) fn stdout(resource: &Resource) -> Self {
        Self::new(Box::new(tokio::io::stdout()), resource)
    }

    fn new(out: Box<dyn AsyncWrite + Send + Unpin>, resource: &Resource) -> Self {
        Self { resource: resource.into(), out: Mutex::new(out) }
    }

    pub(super) async fn export(&self, batch: Vec<SpanData>) -> Result<(), String> {
        let data = TracesData { resource_spans: group_spans_by_resource_and_scope(batch, &self.resource) };
        let mut line = serde_json::to_vec(&data).map_err(|error| error.to_string())?;
        line.push(b'\n');
        let mut out = self.out.lock().await;
        out.write_all(&line).await.map_err(|error| error.to_string())?;
        out.flush().await.map_err(|error| error.to_string())
    }
}

impl std::fmt::Debug for Lines {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Lines")
    }
}
