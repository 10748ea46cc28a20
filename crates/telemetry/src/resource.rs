//! What is said of this process with every span and metric.

use opentelemetry::KeyValue;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{IdGenerator as _, RandomIdGenerator};

use crate::{Config, semconv};

/// The process's resource: its name and version, an id of its own, its host, and what is configured.
pub(crate) fn of(config: &Config) -> Resource {
    let version = env!("CARGO_PKG_VERSION");
    let mut attributes = vec![
        KeyValue::new(semconv::SERVICE_VERSION, version),
        KeyValue::new(semconv::SERVICE_INSTANCE_ID, instance_id()),
        KeyValue::new(semconv::PROCESS_PID, i64::from(std::process::id())),
    ];
    attributes.extend(host_name().map(|host| KeyValue::new(semconv::HOST_NAME, host)));
    let configured = config.attributes.iter().map(|(key, value)| KeyValue::new(key.clone(), value.clone()));
    Resource::builder_empty()
        .with_detector(Box::new(opentelemetry_sdk::resource::TelemetryResourceDetector))
        .with_schema_url(attributes, semconv::SCHEMA_URL)
        .with_attributes(configured)
        .with_attribute(KeyValue::new(semconv::SERVICE_NAME, config.name.clone()))
        .build()
}

/// A random UUID, version 4.
fn instance_id() -> String {
    let mut bytes = RandomIdGenerator::default().new_trace_id().to_bytes();
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let hex = format!("{:032x}", u128::from_be_bytes(bytes));
    [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
}

/// The host's name where the environment or Linux tells it.
fn host_name() -> Option<String> {
    let name = std::env::var("HOSTNAME").or_else(|_| std::fs::read_to_string("/proc/sys/kernel/hostname")).ok()?;
    Some(name.trim().to_owned()).filter(|name| !name.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_instance_has_an_id_of_its_own() {
        let (one, other) = (instance_id(), instance_id());
        assert_ne!(one, other);
        assert_eq!((one.len(), &one[14..15]), (36, "4"));
    }

    #[test]
    fn what_is_configured_wins_but_for_the_name() {
        let config = Config {
            name: "user.rpc".to_owned(),
            attributes: [("service.version", "9"), ("service.name", "other"), ("region", "eu")]
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .into(),
            ..Config::default()
        };
        let resource = of(&config);
        let get = |key: &'static str| resource.get(&key.into()).map(|value| value.to_string());
        assert_eq!(get("service.name").as_deref(), Some("user.rpc"));
        assert_eq!(get("service.version").as_deref(), Some("9"));
        assert_eq!(get("region").as_deref(), Some("eu"));
        assert!(get("service.instance.id").is_some() && get("telemetry.sdk.name").is_some());
    }
}
