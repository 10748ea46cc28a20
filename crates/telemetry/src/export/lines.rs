//! One line of OTLP's JSON for every batch, as the OTLP file exporter's specification has it.

use std::os::fd::AsFd as _;
use std::path::Path;

use opentelemetry_proto::tonic::trace::v1::TracesData;
use opentelemetry_proto::transform::common::tonic::ResourceAttributesWithSchema;
use opentelemetry_proto::transform::trace::tonic::group_spans_by_resource_and_scope;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SpanData;
use tokio::fs::File;
use tokio::io::AsyncWriteExt as _;
use tokio::sync::Mutex;

use crate::Error;

#[derive(Debug)]
pub(super) struct Lines {
    resource: ResourceAttributesWithSchema,
    out: Mutex<File>,
}

impl Lines {
    /// Appends to the file, which is made if it is not there.
    pub(super) fn file(path: &str, resource: &Resource) -> Result<Self, Error> {
        let file = std::fs::OpenOptions::new().create(true).append(true).open(path);
        Self::new(file, Path::new(path), resource)
    }

    /// Writes to the standard output.
    pub(super) fn stdout(resource: &Resource) -> Result<Self, Error> {
        let own = std::io::stdout().as_fd().try_clone_to_owned();
        Self::new(own.map(Into::into), Path::new("stdout"), resource)
    }

    fn new(file: std::io::Result<std::fs::File>, path: &Path, resource: &Resource) -> Result<Self, Error> {
        let file = file.map_err(|source| Error::File { path: path.to_owned(), source })?;
        Ok(Self { resource: resource.into(), out: Mutex::new(File::from_std(file)) })
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
