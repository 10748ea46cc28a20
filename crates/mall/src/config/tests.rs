//! What can be written, what cannot, and what is said about it.

use std::time::Duration;

use serde::Deserialize;

use super::*;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Service {
    listen: std::net::SocketAddr,
    limits: Limits,
    database: Option<String>,
    hosts: Vec<String>,
    mode: Mode,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Limits {
    calls: usize,
    share: f64,
    strict: bool,
    #[serde(with = "humantime_serde")]
    timeout: Duration,
}

#[derive(Debug, Default, Deserialize, PartialEq)]
#[serde(rename_all = "lowercase")]
enum Mode {
    #[default]
    Slow,
    Fast,
}

impl Default for Service {
    fn default() -> Self {
        Self {
            listen: ([0, 0, 0, 0], 8000).into(),
            limits: Limits::default(),
            database: None,
            hosts: Vec::new(),
            mode: Mode::Slow,
        }
    }
}

fn read(built_in: &str, file: &str, variables: &[(&str, &str)]) -> Result<Document, Error> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.yaml");
    std::fs::write(&path, file).unwrap();
    let sources = Sources { file: Some(path), ..Sources::default() };
    let sources = variables.iter().fold(sources, |sources, (name, value)| sources.with(name, value));
    Document::read("x", built_in, &sources)
}

fn service(file: &str, variables: &[(&str, &str)]) -> Result<Service, Error> {
    read("", file, variables)?.service()
}

#[test]
fn each_layer_wins_over_the_ones_under_it() {
    let built_in = "listen: 0.0.0.0:1\nlimits: {calls: 1, timeout: 1s}\n";
    let file = "limits:\n  calls: 2\n  strict: true\n";
    let document = read(built_in, file, &[("MALL__LIMITS__CALLS", "3"), ("MALL__HOSTS", "a, b")]).unwrap();
    let service: Service = document.service().unwrap();
    assert_eq!(service.listen.port(), 1);
    assert_eq!((service.limits.calls, service.limits.strict, service.limits.share), (3, true, 0.0));
    assert_eq!(service.limits.timeout, Duration::from_secs(1));
    assert_eq!(service.hosts, ["a", "b"]);

    let from = |key| document.origin(key).map(ToString::to_string);
    assert_eq!(from("listen").unwrap(), "built-in etc/x.yaml:1");
    assert!(from("limits.strict").unwrap().ends_with("x.yaml:3"));
    assert_eq!(from("limits.calls").unwrap(), "environment variable MALL__LIMITS__CALLS");
    assert_eq!(from("mode"), None);
}

#[test]
fn a_value_is_what_its_field_wants() {
    let text = "database: 123\nhosts: [1, true]\nmode: fast\nlimits: {share: 1}\nlisten: '[::1]:5'\n";
    let read = service(text, &[]).unwrap();
    assert_eq!(read.database.unwrap(), "123");
    assert_eq!(read.hosts, ["1", "true"]);
    assert_eq!((read.mode, read.limits.share, read.listen.port()), (Mode::Fast, 1.0, 5));
    let empty = service("database:\nlimits:\n", &[("MALL__HOSTS", "")]).unwrap();
    assert!(empty.database.is_none() && empty.hosts.is_empty());
}

#[test]
fn what_is_wrong_is_said_in_one_line_with_key_place_and_advice() {
    type Case = (&'static str, &'static [(&'static str, &'static str)], &'static [&'static str]);
    let cases: &[Case] = &[
        ("listne: 1\n", &[], &["x.yaml:1: ", "no key `listne`", "did you mean `listen`?"]),
        (
            "\nlimits:\n  zzz: 1\n",
            &[],
            &["x.yaml:3: ", "`limits.zzz`", "the keys there are calls, share, strict, timeout"],
        ),
        (
            "",
            &[("MALL__LIMITS__CALS", "1")],
            &["environment variable MALL__LIMITS__CALS: ", "`limits.cals`", "`calls`?"],
        ),
        ("", &[("MALL__LIMIT", "1")], &["environment variable MALL__LIMIT: ", "`limit`", "`limits`?"]),
        ("", &[("MALL__MALL__LIMITS", "1")], &["no key `mall`"]),
        ("", &[("MALL__", "1")], &["environment variable MALL__: "]),
        ("limits: {calls: many}\n", &[], &["x.yaml:1: ", "`limits.calls`", "\"many\""]),
        ("limits:\n  timeout: 5 parsecs\n", &[], &["x.yaml:2: ", "`limits.timeout`", "5 parsecs"]),
        ("", &[("MALL__LIMITS__STRICT", "perhaps")], &["MALL__LIMITS__STRICT: ", "`limits.strict`", "\"perhaps\""]),
        ("mode: quick\n", &[], &["x.yaml:1: ", "`mode`", "quick", "slow", "fast"]),
        ("limits: hunter2\n", &[], &["x.yaml:1: ", "`limits`", "keys and values below it"]),
        ("listen: localhost\n", &[], &["x.yaml:1: ", "`listen`", "socket address"]),
        ("hosts:\n  - a\n  - [b]\n", &[], &["x.yaml:3: ", "`hosts[1]`"]),
        ("database: {url: a}\n", &[], &["x.yaml:1: ", "`database`"]),
        ("a: [1\n", &[], &["x.yaml:", "not YAML"]),
        ("just words\n", &[], &["x.yaml:1: ", "mapping of keys to values"]),
    ];
    for (file, variables, parts) in cases {
        let error = service(file, variables).unwrap_err().to_string();
        for part in *parts {
            assert!(error.contains(part), "{file:?} {variables:?}: `{part}` is not in: {error}");
        }
        assert!(!error.contains('\n') && !error.contains("hunter2"), "{error}");
    }
}

#[test]
fn a_missing_file_or_directory_is_named() {
    for sources in [
        Sources { file: Some("/nowhere/x.yaml".into()), ..Sources::default() },
        Sources { dir: Some("/nowhere".into()), ..Sources::default() },
    ] {
        let error = Document::read("x", "", &sources).unwrap_err().to_string();
        assert!(error.contains("/nowhere") && error.contains("--config-dir"), "{error}");
    }
    let dir = tempfile::tempdir().unwrap();
    Document::read("x", "", &Sources { dir: Some(dir.path().to_owned()), ..Sources::default() }).unwrap();
}

#[test]
fn a_variable_that_is_no_text_is_named() {
    use std::os::unix::ffi::OsStringExt as _;
    let variables = vec![("MALL__MODE".to_owned(), OsString::from_vec(vec![0xff]))];
    let error = Document::read("x", "", &Sources { variables, ..Sources::default() }).unwrap_err().to_string();
    assert!(error.contains("MALL__MODE") && error.contains("UTF-8"), "{error}");
}

#[test]
fn a_go_zero_block_is_the_telemetry_section() {
    let built_in = "telemetry:\n  name: x\n  endpoint: http://127.0.0.1:4317\n  batcher: otlpgrpc\n";
    let ours = "telemetry:\n  log: {format: json}\n";
    let theirs =
        "Telemetry:\n  Name: user.api\n  Endpoint: http://jaeger:14268/api/traces\n  Sampler: 0.5\n  Batcher: jaeger\n";
    for file in [theirs.to_owned(), format!("{ours}{theirs}"), format!("{theirs}{ours}")] {
        let telemetry: telemetry::Config = read(built_in, &file, &[]).unwrap().telemetry().unwrap();
        assert_eq!(telemetry.name, "user.api");
        assert_eq!(telemetry.endpoint.unwrap(), "http://jaeger:14268/api/traces");
        assert_eq!(telemetry.sampler, 0.5);
        assert_eq!(telemetry.batcher, telemetry::Batcher::Jaeger);
    }
    let error = read(built_in, "Telemetry:\n  Smapler: 1\n", &[]).unwrap().telemetry::<telemetry::Config>();
    let error = error.unwrap_err().to_string();
    assert!(error.contains("x.yaml:2: ") && error.contains("did you mean `sampler`?"), "{error}");
}

#[test]
fn every_key_of_go_zero_is_known() {
    let block = "Telemetry: {Name: a, Endpoint: 'collector:4318', Sampler: 1, Batcher: otlphttp, Disabled: true, \
                 OtlpHeaders: {authorization: token}, OtlpHttpPath: /in, OtlpHttpSecure: true}\n";
    let config: telemetry::Config = read("", block, &[]).unwrap().telemetry().unwrap();
    assert_eq!((config.name.as_str(), config.endpoint.as_deref()), ("a", Some("collector:4318")));
    assert_eq!((config.batcher, config.secure, config.disabled), (telemetry::Batcher::OtlpHttp, true, true));
    assert_eq!(config.path.as_deref(), Some("/in"));
    assert_eq!(config.headers["authorization"].expose_secret(), "token");
}

#[test]
fn the_blocks_of_the_reference_parse() {
    for domain in ["user", "product", "order", "pay"] {
        for name in [format!("{domain}.api"), format!("{domain}.rpc")] {
            let block = format!(
                "Telemetry:\n  Name: {name}\n  Endpoint: http://jaeger:14268/api/traces\n  Sampler: 1.0\n  Batcher: jaeger\n"
            );
            let telemetry: telemetry::Config = read("", &block, &[]).unwrap().telemetry().unwrap();
            assert_eq!((telemetry.name, telemetry.sampler), (name, 1.0));
            assert_eq!(telemetry.endpoint.unwrap(), "http://jaeger:14268/api/traces");
            assert_eq!(telemetry.batcher, telemetry::Batcher::Jaeger);
        }
    }
}
