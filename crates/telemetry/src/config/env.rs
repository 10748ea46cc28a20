//! The standard `OTEL_*` variables; they override the configuration.

use std::str::FromStr;
use std::time::Duration;

use percent_encoding::percent_decode_str;
use redact::Secret;
use serde::Deserialize as _;
use serde::de::IntoDeserializer;
use serde::de::value::Error as Unknown;

use super::{Batcher, Config, Propagator, has_password};
use crate::export::endpoint::TRACES;
use crate::{Error, semconv};

type Pairs = Vec<(String, String)>;

impl Config {
    /// This configuration with what the process's `OTEL_*` variables say in its place, checked; `init` does it as well.
    pub fn with_env(self) -> Result<Self, Error> {
        self.with_vars(|name| std::env::var(name).ok())
    }

    pub(crate) fn with_vars(mut self, var: impl Fn(&str) -> Option<String>) -> Result<Self, Error> {
        // An empty variable is an absent one, as the standard says.
        let vars = Vars(|name: &str| var(name).map(|value| value.trim().to_owned()).filter(|value| !value.is_empty()));
        vars.set("OTEL_SDK_DISABLED", &mut self.disabled, truth)?;
        self.resource(&vars)?;
        self.exporter(&vars)?;
        self.sampler(&vars)?;
        let millis = |value: &str| value.parse().ok().map(Duration::from_millis);
        vars.set("OTEL_BSP_SCHEDULE_DELAY", &mut self.queue.delay, millis)?;
        vars.set("OTEL_BSP_EXPORT_TIMEOUT", &mut self.queue.timeout, millis)?;
        vars.set("OTEL_BSP_MAX_QUEUE_SIZE", &mut self.queue.size, parsed)?;
        vars.set("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", &mut self.queue.batch, parsed)?;
        vars.set("OTEL_PROPAGATORS", &mut self.propagators, propagators)?;
        vars.set("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", &mut self.limits.attributes, parsed)?;
        vars.set("OTEL_SPAN_EVENT_COUNT_LIMIT", &mut self.limits.events, parsed)?;
        vars.set("OTEL_SPAN_LINK_COUNT_LIMIT", &mut self.limits.links, parsed)?;
        vars.set("OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT", &mut self.limits.value_bytes, parsed)?;
        let exporter = |value: &str| ["otlp", "prometheus", "none"].into_iter().find(|known| *known == value);
        if let Some(exporter) = vars.parse("OTEL_METRICS_EXPORTER", exporter)? {
            // Prometheus reads them at the admin port, also where they are sent.
            (self.metrics.otlp, self.metrics.disabled) = (exporter == "otlp", exporter == "none");
        }
        vars.set("OTEL_METRIC_EXPORT_INTERVAL", &mut self.metrics.interval, millis)?;
        let otlp = |value: &str| ["otlp", "console", "none"].contains(&value).then_some(value == "otlp");
        vars.set("OTEL_LOGS_EXPORTER", &mut self.log.otlp, otlp)?;
        // The standard's switch is for all signals, and that of the configuration for spans.
        if vars.parse("OTEL_SDK_DISABLED", truth)? == Some(true) {
            (self.metrics.otlp, self.log.otlp) = (false, false);
        }
        self.checked()
    }

    fn checked(self) -> Result<Self, Error> {
        if !(0.0..=1.0).contains(&self.sampler) {
            return Err(Error::Sampler(self.sampler));
        }
        if self.queue.batch == 0 || self.queue.batch > self.queue.size {
            return Err(Error::Queue);
        }
        if self.queue.timeout.is_zero() {
            return Err(Error::Zero("queue.timeout"));
        }
        if self.metrics.interval.is_zero() {
            return Err(Error::Zero("metrics.interval"));
        }
        if self.metrics.disabled && self.metrics.otlp {
            return Err(Error::NothingToSend);
        }
        Ok(self)
    }

    fn resource(&mut self, vars: &Vars<impl Fn(&str) -> Option<String>>) -> Result<(), Error> {
        for (key, value) in vars.parse("OTEL_RESOURCE_ATTRIBUTES", pairs)?.unwrap_or_default() {
            if key == semconv::SERVICE_NAME {
                self.name = value;
            } else {
                self.attributes.insert(key, value);
            }
        }
        vars.set("OTEL_SERVICE_NAME", &mut self.name, parsed)
    }

    fn exporter(&mut self, vars: &Vars<impl Fn(&str) -> Option<String>>) -> Result<(), Error> {
        let exporter = |value: &str| ["otlp", "zipkin", "console", "none"].into_iter().find(|known| *known == value);
        match vars.parse("OTEL_TRACES_EXPORTER", exporter)? {
            Some("otlp") if !self.sends_otlp() => self.change_batcher(Batcher::OtlpGrpc),
            Some("zipkin") => self.change_batcher(Batcher::Zipkin),
            Some("console") => self.change_batcher(Batcher::Stdout),
            Some("none") => self.disabled = true,
            _ => {}
        }
        if self.batcher == Batcher::Zipkin {
            vars.set("OTEL_EXPORTER_ZIPKIN_ENDPOINT", &mut self.endpoint, |value| url(value).map(Some))?;
        }
        if !self.sends_otlp() {
            return Ok(());
        }
        let protocol = |value: &str| match value {
            // Which is what jaeger is mapped to.
            "grpc" if self.batcher == Batcher::Jaeger => Some(Batcher::Jaeger),
            "grpc" => Some(Batcher::OtlpGrpc),
            "http/protobuf" => Some(Batcher::OtlpHttp),
            _ => None,
        };
        let mut asked = self.batcher;
        vars.set_otlp("PROTOCOL", &mut asked, protocol)?;
        self.change_batcher(asked);
        let for_all = vars.parse("OTEL_EXPORTER_OTLP_ENDPOINT", url)?;
        let for_all = for_all.map(|base| base.trim_end_matches('/').to_owned() + self.otlp_path());
        if let Some(endpoint) = vars.parse("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", url)?.or(for_all) {
            // The variables name OTLP endpoints: nothing is left to be mapped.
            if self.batcher == Batcher::Jaeger {
                self.batcher = Batcher::OtlpGrpc;
            }
            self.endpoint = Some(endpoint);
        }
        let mut headers = Pairs::new();
        vars.set_otlp("HEADERS", &mut headers, pairs)?;
        self.headers.extend(headers.into_iter().map(|(name, value)| (name.to_ascii_lowercase(), Secret::new(value))));
        vars.set_otlp("TIMEOUT", &mut self.queue.timeout, |value| value.parse().ok().map(Duration::from_millis))?;
        let gzip = |value: &str| ["gzip", "none"].contains(&value).then_some(value == "gzip");
        vars.set_otlp("COMPRESSION", &mut self.gzip, gzip)?;
        vars.set_otlp("CERTIFICATE", &mut self.ca, |path| Some(Some(path.into())))?;
        // All signals go to one collector in one way: better to say so than to send a token where it does not belong.
        for signal in ["LOGS", "METRICS"] {
            for name in ["ENDPOINT", "PROTOCOL", "HEADERS", "TIMEOUT", "COMPRESSION", "CERTIFICATE"] {
                let name = format!("OTEL_EXPORTER_OTLP_{signal}_{name}");
                if vars.parse(&name, |value| Some(value.to_owned()))?.is_some() {
                    return Err(Error::OneCollector(name));
                }
            }
        }
        Ok(())
    }

    /// What the general endpoint's variable is followed by.
    fn otlp_path(&self) -> &'static str {
        if self.batcher == Batcher::OtlpHttp { TRACES } else { "" }
    }

    /// The configured endpoint goes with the configured batcher: another one has another, but for the two of OTLP, which a
    /// collector has at one place.
    fn change_batcher(&mut self, batcher: Batcher) {
        let is_otlp = |batcher| matches!(batcher, Batcher::OtlpGrpc | Batcher::OtlpHttp);
        if self.batcher != batcher && !(is_otlp(self.batcher) && is_otlp(batcher)) {
            self.endpoint = None;
        }
        self.batcher = batcher;
    }

    fn sampler(&mut self, vars: &Vars<impl Fn(&str) -> Option<String>>) -> Result<(), Error> {
        let kinds = |value: &str| {
            let (ignores, kind) = value.strip_prefix("parentbased_").map_or((true, value), |kind| (false, kind));
            let share = match kind {
                "always_on" => Some(1.0),
                "always_off" => Some(0.0),
                "traceidratio" => None,
                _ => return None,
            };
            Some((ignores, share))
        };
        if let Some((ignores, share)) = vars.parse("OTEL_TRACES_SAMPLER", kinds)? {
            self.ignore_parent = ignores;
            self.sampler = match share {
                Some(share) => share,
                None => vars.parse("OTEL_TRACES_SAMPLER_ARG", parsed)?.unwrap_or(1.0),
            };
        }
        Ok(())
    }
}

struct Vars<F>(F);

impl<F: Fn(&str) -> Option<String>> Vars<F> {
    fn parse<T>(&self, name: &str, parse: impl Fn(&str) -> Option<T>) -> Result<Option<T>, Error> {
        // The value is not shown: it may be a secret.
        (self.0)(name).map(|value| parse(&value).ok_or_else(|| Error::Variable(name.to_owned()))).transpose()
    }

    fn set<T>(&self, name: &str, target: &mut T, parse: impl Fn(&str) -> Option<T>) -> Result<(), Error> {
        if let Some(value) = self.parse(name, parse)? {
            *target = value;
        }
        Ok(())
    }

    /// A variable for all signals, and the one for traces that overrides it.
    fn set_otlp<T>(&self, name: &str, target: &mut T, parse: impl Fn(&str) -> Option<T>) -> Result<(), Error> {
        self.set(&format!("OTEL_EXPORTER_OTLP_{name}"), target, &parse)?;
        self.set(&format!("OTEL_EXPORTER_OTLP_TRACES_{name}"), target, &parse)
    }
}

fn truth(value: &str) -> Option<bool> {
    value.to_ascii_lowercase().parse().ok()
}

/// `tracecontext,baggage`; `none` for none.
fn propagators(names: &str) -> Option<Vec<Propagator>> {
    let names = names.split(',').map(str::trim).filter(|name| *name != "none");
    let named = |name: &str| Propagator::deserialize(IntoDeserializer::<Unknown>::into_deserializer(name)).ok();
    names.map(named).collect()
}

fn parsed<T: FromStr>(value: &str) -> Option<T> {
    value.parse().ok()
}

/// An endpoint is shown and logged, so it must hold no secret.
fn url(value: &str) -> Option<String> {
    (!has_password(value)).then(|| value.to_owned())
}

/// `key=value,key=value`, the values percent-encoded.
fn pairs(text: &str) -> Option<Pairs> {
    let pair = |pair: &str| {
        let (key, value) = pair.split_once('=')?;
        let value = percent_decode_str(value.trim()).decode_utf8().ok()?;
        Some((key.trim().to_owned(), value.into_owned())).filter(|(key, _)| !key.is_empty())
    };
    text.split(',').filter(|part| !part.trim().is_empty()).map(pair).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(config: Config, vars: &[(&str, &str)]) -> Result<Config, Error> {
        config.with_vars(|name| vars.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned()))
    }

    #[test]
    fn variables_override_the_configuration() {
        let config = Config {
            name: "user.rpc".to_owned(),
            endpoint: Some("elsewhere:1".to_owned()),
            headers: [("authorization".to_owned(), Secret::new("old".to_owned()))].into(),
            attributes: [("team".to_owned(), "a".to_owned())].into(),
            ..Config::default()
        };
        let vars = [
            ("OTEL_SERVICE_NAME", "shop"),
            ("OTEL_RESOURCE_ATTRIBUTES", "service.name=lost, team=b%20c,region=eu"),
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4317"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "Authorization=Bearer%20new"),
            ("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip"),
            ("OTEL_TRACES_SAMPLER", "parentbased_traceidratio"),
            ("OTEL_TRACES_SAMPLER_ARG", "0.25"),
            ("OTEL_BSP_SCHEDULE_DELAY", "250"),
            ("OTEL_BSP_MAX_QUEUE_SIZE", "64"),
            ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "16"),
            ("OTEL_BSP_EXPORT_TIMEOUT", "700"),
            ("OTEL_SDK_DISABLED", " TRUE "),
            ("OTEL_PROPAGATORS", "b3, baggage"),
            ("OTEL_SPAN_EVENT_COUNT_LIMIT", "3"),
            ("OTEL_METRICS_EXPORTER", "otlp"),
            ("OTEL_METRIC_EXPORT_INTERVAL", "500"),
            ("OTEL_LOGS_EXPORTER", "otlp"),
        ];
        let config = with(config, &vars).unwrap();
        assert_eq!(config.name, "shop");
        assert_eq!(config.attributes["team"], "b c");
        assert_eq!(config.attributes["region"], "eu");
        assert_eq!(config.endpoint.as_deref(), Some("http://collector:4317"));
        assert_eq!(config.headers["authorization"].expose_secret(), "Bearer new");
        assert_eq!((config.sampler, config.ignore_parent), (0.25, false));
        assert_eq!((config.queue.size, config.queue.batch), (64, 16));
        assert_eq!(
            (config.queue.delay, config.queue.timeout),
            (Duration::from_millis(250), Duration::from_millis(700))
        );
        assert!(config.disabled && config.gzip);
        // Being disabled is for all signals.
        assert!(!config.metrics.otlp && !config.log.otlp);
        assert_eq!(config.propagators, [Propagator::B3, Propagator::Baggage]);
        assert_eq!((config.limits.events, config.metrics.interval), (3, Duration::from_millis(500)));
    }

    #[test]
    fn metrics_and_logs_are_sent_on_demand() {
        let config = |vars: &[_]| {
            let config = with(Config::default(), vars).unwrap();
            (config.metrics.otlp, config.metrics.disabled, config.log.otlp)
        };
        let (metrics, logs) = ("OTEL_METRICS_EXPORTER", "OTEL_LOGS_EXPORTER");
        assert_eq!(config(&[(metrics, "otlp"), (logs, "otlp")]), (true, false, true));
        assert_eq!(config(&[(metrics, "none"), (logs, "console")]), (false, true, false));
        assert_eq!(config(&[]), (false, false, false));
    }

    #[test]
    fn empty_variables_are_absent() {
        let config = with(Config::default(), &[("OTEL_SERVICE_NAME", " "), ("OTEL_TRACES_SAMPLER", "")]).unwrap();
        assert_eq!((config.name.as_str(), config.sampler), ("unknown_service", 1.0));
    }

    #[test]
    fn the_protocol_decides_on_the_path() {
        let base = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318/");
        let http = ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf");
        let config = with(Config::default(), &[base, http]).unwrap();
        assert_eq!(config.batcher, Batcher::OtlpHttp);
        assert_eq!(config.endpoint.as_deref(), Some("http://collector:4318/v1/traces"));
        let whole = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://other/in");
        assert_eq!(with(Config::default(), &[base, http, whole]).unwrap().endpoint.as_deref(), Some("http://other/in"));
    }

    #[test]
    fn an_otlp_endpoint_ends_jaegers_mapping_and_leaves_files_alone() {
        let vars = [("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4317")];
        let jaeger = Config { batcher: Batcher::Jaeger, ..Config::default() };
        assert_eq!(with(jaeger, &vars).unwrap().batcher, Batcher::OtlpGrpc);
        let file = Config { batcher: Batcher::File, endpoint: Some("spans".to_owned()), ..Config::default() };
        assert_eq!(with(file, &vars).unwrap().endpoint.as_deref(), Some("spans"));
    }

    #[test]
    fn another_batcher_does_not_take_over_the_endpoint() {
        let jaeger = |vars: &[_]| {
            let endpoint = Some("http://jaeger:14268/api/traces".to_owned());
            let config = with(Config { batcher: Batcher::Jaeger, endpoint, ..Config::default() }, vars).unwrap();
            (config.batcher, config.endpoint.is_some())
        };
        assert_eq!(jaeger(&[("OTEL_TRACES_EXPORTER", "otlp")]), (Batcher::Jaeger, true));
        assert_eq!(jaeger(&[("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")]), (Batcher::Jaeger, true));
        assert_eq!(jaeger(&[("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf")]), (Batcher::OtlpHttp, false));
        assert_eq!(jaeger(&[("OTEL_TRACES_EXPORTER", "zipkin")]), (Batcher::Zipkin, false));
        let otlp = Config { endpoint: Some("http://collector:4318".to_owned()), ..Config::default() };
        let otlp = with(otlp, &[("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf")]).unwrap();
        assert_eq!((otlp.batcher, otlp.endpoint.is_some()), (Batcher::OtlpHttp, true));
    }

    #[test]
    fn a_variable_turns_spans_on_again() {
        let config = Config { disabled: true, ..Config::default() };
        assert!(!with(config, &[("OTEL_SDK_DISABLED", "false")]).unwrap().disabled);
    }

    #[test]
    fn samplers_and_exporters_have_the_standards_names() {
        for (name, sampler, ignores) in [
            ("always_on", 1.0, true),
            ("always_off", 0.0, true),
            ("traceidratio", 1.0, true),
            ("parentbased_always_on", 1.0, false),
            ("parentbased_always_off", 0.0, false),
        ] {
            let config = with(Config::default(), &[("OTEL_TRACES_SAMPLER", name)]).unwrap();
            assert_eq!((config.sampler, config.ignore_parent), (sampler, ignores), "{name}");
        }
        let exporter = |name| with(Config::default(), &[("OTEL_TRACES_EXPORTER", name)]).unwrap();
        assert_eq!(exporter("zipkin").batcher, Batcher::Zipkin);
        assert_eq!(exporter("console").batcher, Batcher::Stdout);
        assert!(exporter("none").disabled);
    }

    #[test]
    fn a_collector_of_one_signal_alone_is_refused() {
        let error = with(Config::default(), &[("OTEL_EXPORTER_OTLP_LOGS_ENDPOINT", "http://logs:4317")]).unwrap_err();
        assert!(error.to_string().contains("OTEL_EXPORTER_OTLP_LOGS_ENDPOINT"), "{error}");
    }

    #[test]
    fn a_bad_value_is_an_error_that_names_the_variable_alone() {
        for (name, value) in [
            ("OTEL_SDK_DISABLED", "perhaps"),
            ("OTEL_TRACES_SAMPLER", "sometimes"),
            ("OTEL_TRACES_EXPORTER", "carrier-pigeon"),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json"),
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://me:hunter2@collector:4317"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "hunter2"),
            ("OTEL_RESOURCE_ATTRIBUTES", "=hunter2"),
            ("OTEL_BSP_MAX_QUEUE_SIZE", "many"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "-1"),
            ("OTEL_PROPAGATORS", "tracecontext,xray"),
            ("OTEL_METRICS_EXPORTER", "carrier-pigeon"),
        ] {
            let error = with(Config::default(), &[(name, value)]).unwrap_err().to_string();
            assert!(error.contains(name) && !error.contains(value), "{error}");
        }
    }
}
