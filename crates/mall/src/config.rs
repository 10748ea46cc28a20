//! What a process runs with, in layers: the file compiled in, a file named by the caller, environment variables.
//!
//! No crate does all of this: every value knows its file and line, a wrong key is answered by the nearest right one, and
//! a scalar has the type of its field, so that a password `0123` stays a text. figment has the layers and no lines.

mod de;
mod error;
mod tree;
mod yaml;

use std::ffi::OsString;
use std::path::PathBuf;

use serde::de::DeserializeOwned;

use self::de::Fault;
pub(crate) use self::error::Error;
pub(crate) use self::tree::Origin;
use self::tree::{Map, Node, Value};

/// What every variable that sets a configuration key begins with; sections are parted by two underscores as well.
const PREFIX: &str = "MALL__";

/// The section that configures traces, metrics and logs, the same in every process.
const TELEMETRY: &str = "telemetry";

/// go-zero's keys in a `Telemetry:` block, which it reads in any case, and ours.
const GO_ZERO: &[(&str, &str)] = &[
    ("Name", "name"),
    ("Endpoint", "endpoint"),
    ("Sampler", "sampler"),
    ("Batcher", "batcher"),
    ("OtlpHeaders", "headers"),
    ("OtlpHttpPath", "path"),
    ("OtlpHttpSecure", "secure"),
    ("Disabled", "disabled"),
];

/// Where configuration is looked for beside what is compiled in.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sources {
    file: Option<PathBuf>,
    dir: Option<PathBuf>,
    variables: Vec<(String, OsString)>,
}

impl Sources {
    /// `file`, or `NAME.yaml` in `dir` if it has one, and this process's environment.
    pub(crate) fn new(file: Option<PathBuf>, dir: Option<PathBuf>) -> Self {
        let variables = std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value)));
        Self { file, dir, variables: variables.filter(|(name, _)| name.starts_with(PREFIX)).collect() }
    }

    /// The same, and a variable more.
    pub(crate) fn with(self, name: &str, value: &str) -> Self {
        let mut sources = self.without(name);
        sources.variables.push((name.to_owned(), value.into()));
        sources
    }

    /// The same, without a variable.
    pub(crate) fn without(mut self, name: &str) -> Self {
        self.variables.retain(|(other, _)| other != name);
        self
    }

    /// The file for the process `name`, if there is one.
    fn named(&self, name: &str) -> Result<Option<PathBuf>, Error> {
        match (&self.file, &self.dir) {
            (Some(file), _) => Ok(Some(file.clone())),
            // Not every process needs a file there, but a directory that is mistyped must not go unnoticed.
            (None, Some(dir)) => {
                std::fs::read_dir(dir).map_err(|source| Error::File { path: dir.clone(), source })?;
                Ok(Some(dir.join(format!("{name}.yaml"))).filter(|path| path.try_exists().unwrap_or(true)))
            }
            (None, None) => Ok(None),
        }
    }
}

/// The variable that sets `key`, sections parted by dots.
pub(crate) fn variable(key: &str) -> String {
    format!("{PREFIX}{}", key.to_uppercase().replace('.', "__"))
}

/// The configuration of one process, of no type yet.
#[derive(Debug)]
pub(crate) struct Document {
    name: &'static str,
    map: Map,
}

impl Document {
    /// Reads all layers for the process `name`, whose own file is `built_in`.
    pub(crate) fn read(name: &'static str, built_in: &str, sources: &Sources) -> Result<Self, Error> {
        let mut map = layer(built_in, &|line| Origin::BuiltIn { name, line })?;
        if let Some(path) = sources.named(name)? {
            let text = std::fs::read_to_string(&path);
            let text = text.map_err(|source| Error::File { path: path.clone(), source })?;
            tree::merge(&mut map, layer(&text, &|line| Origin::File { path: path.clone(), line })?);
        }
        for (variable, value) in &sources.variables {
            tree::merge(&mut map, setting(variable, value)?);
        }
        Ok(Self { name, map })
    }

    /// The `telemetry` section.
    pub(crate) fn telemetry<T: DeserializeOwned>(&self) -> Result<T, Error> {
        let section = self.map.get_key_value(TELEMETRY).map(|(key, node)| (key.clone(), node.clone()));
        let only: Section<T> = self.typed(section.into_iter().collect())?;
        Ok(only.telemetry)
    }

    /// Everything but the `telemetry` section.
    pub(crate) fn service<T: DeserializeOwned>(&self) -> Result<T, Error> {
        let mut map = self.map.clone();
        map.remove(TELEMETRY);
        self.typed(map)
    }

    /// Where the value of `key` is written; `None` when it is nowhere, and the default holds.
    pub(crate) fn origin(&self, key: &str) -> Option<&Origin> {
        tree::find(&self.map, key).map(|node| &node.origin)
    }

    fn typed<T: DeserializeOwned>(&self, map: Map) -> Result<T, Error> {
        let name = self.name;
        let root = Node { origin: Origin::BuiltIn { name, line: 1 }, value: Value::Map(map) };
        serde_path_to_error::deserialize(&root).map_err(|error| {
            let (key, origin) = (error.path().to_string(), tree::nearest(&root, error.path()).clone());
            match error.into_inner() {
                Fault::UnknownKey(known) => {
                    let hint = error::hint(key.rsplit('.').next().unwrap_or_default(), known);
                    Error::UnknownKey { origin, name, key, hint }
                }
                Fault::BadValue(what) => Error::BadValue { origin, name, key, what },
            }
        })
    }
}

#[derive(serde::Deserialize)]
struct Section<T> {
    telemetry: T,
}

/// One file's layer, where a go-zero `Telemetry:` block counts as our `telemetry` section.
fn layer(text: &str, origin: &dyn Fn(usize) -> Origin) -> Result<Map, Error> {
    let mut map = yaml::parse(text, origin)?;
    if let Some(Node { origin, value }) = map.remove("Telemetry") {
        let value = match value {
            Value::Map(block) => Value::Map(block.into_iter().map(|(key, node)| (ours(key), node)).collect()),
            other => other,
        };
        tree::merge(&mut map, tree::at(&[TELEMETRY], Node { origin, value }));
    }
    Ok(map)
}

fn ours(key: String) -> String {
    GO_ZERO.iter().find(|(theirs, _)| key.eq_ignore_ascii_case(theirs)).map_or(key, |(_, ours)| (*ours).to_owned())
}

fn setting(variable: &str, value: &OsString) -> Result<Map, Error> {
    let text = value.to_str().ok_or_else(|| Error::Encoding(variable.to_owned()))?.to_owned();
    let key = variable.strip_prefix(PREFIX).unwrap_or(variable).to_lowercase();
    let path: Vec<_> = key.split("__").collect();
    let origin = Origin::Variable(variable.to_owned());
    Ok(tree::at(&path, Node { origin, value: Value::Scalar { text, quoted: false } }))
}

#[cfg(test)]
mod tests;
