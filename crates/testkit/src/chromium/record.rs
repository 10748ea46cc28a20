//! The record of what went wrong on a page.

use std::collections::HashMap;

use serde_json::Value;

/// Problems in the order in which Chromium told them.
#[derive(Debug, Default)]
pub(super) struct Record {
    problems: Vec<String>,
    addresses: HashMap<String, String>,
}

impl Record {
    /// The problems so far, one text each.
    pub(super) fn problems(&self) -> &[String] {
        &self.problems
    }

    /// Takes an event in; most are no problem.
    pub(super) fn event(&mut self, event: &Value) {
        let parameters = &event["params"];
        match event["method"].as_str().unwrap_or_default() {
            "Network.requestWillBeSent" => {
                let address = text(&parameters["request"]["url"]);
                self.addresses.insert(text(&parameters["requestId"]), address);
            }
            "Network.responseReceived" => {
                let response = &parameters["response"];
                if response["status"].as_u64().unwrap_or_default() >= 400 {
                    self.problems.push(format!("request: {} answers {}", text(&response["url"]), response["status"]));
                }
            }
            // One that the page itself gave up, as when it is left, has not failed.
            "Network.loadingFailed" if parameters["canceled"] != true => {
                let address = self.addresses.get(&text(&parameters["requestId"])).cloned().unwrap_or_default();
                self.problems.push(format!("request: {address} fails: {}", text(&parameters["errorText"])));
            }
            "Runtime.exceptionThrown" => {
                self.problems.push(format!("exception: {}", exception(&parameters["exceptionDetails"])));
            }
            "Runtime.consoleAPICalled" if parameters["type"] == "error" || parameters["type"] == "assert" => {
                self.problems.push(format!("console: {}", arguments(&parameters["args"])));
            }
            "Log.entryAdded" => self.entry(&parameters["entry"]),
            "Inspector.targetCrashed" => self.problems.push("the page has crashed".to_owned()),
            _ => {}
        }
    }

    /// What the browser itself writes on the console; failed requests are told by the network events already.
    fn entry(&mut self, entry: &Value) {
        if entry["level"] == "error" && entry["source"] != "network" {
            self.problems.push(format!("console: {} ({})", text(&entry["text"]), text(&entry["url"])));
        }
    }
}

/// What an exception says.
pub(super) fn exception(details: &Value) -> String {
    let description = &details["exception"]["description"];
    text(if description.is_null() { &details["text"] } else { description })
}

/// The arguments of a console call as the console shows them.
fn arguments(values: &Value) -> String {
    let values = values.as_array().map(Vec::as_slice).unwrap_or_default();
    let shown = values.iter().map(|value| match (&value["value"], &value["description"]) {
        (Value::Null, description) => text(description),
        (value, _) => text(value),
    });
    shown.collect::<Vec<_>>().join(" ")
}

/// A string as it is, anything else as JSON.
fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
