//! The DevTools protocol over two pipes: commands with their answers, and events for the record.

use std::collections::HashMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{ChildStdout, Command};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::oneshot;

use super::record::Record;
use crate::part::Part;

/// How long Chromium may take for one command; a wait in the page ends sooner.
const PATIENCE: Duration = Duration::from_secs(60);

/// What evaluating answers when the page was left meanwhile; the next page is asked again.
const LEFT: [&str; 3] = ["Execution context was destroyed", "Inspected target navigated", "Cannot find context"];

/// A connection to the one page of a browser.
#[derive(Debug)]
pub(super) struct Connection {
    part: Mutex<Part>,
    next: AtomicU64,
    session: Option<String>,
    shared: Arc<Shared>,
}

/// What the reading thread and the callers share.
#[derive(Debug, Default)]
struct Shared {
    waiting: Mutex<HashMap<u64, oneshot::Sender<Value>>>,
    record: Mutex<Record>,
}

impl Connection {
    /// Starts the browser and attaches to its page.
    pub(super) async fn open(command: &Command, profile: &Path) -> Self {
        let (part, output) = Part::piped(command, profile);
        let shared = Arc::new(Shared::default());
        let reader = Arc::clone(&shared);
        std::thread::spawn(move || read(output, &reader));
        let mut connection = Self { part: Mutex::new(part), next: AtomicU64::new(1), session: None, shared };
        let targets = connection.call("Target.getTargets", json!({})).await;
        let targets = targets["targetInfos"].as_array().cloned().unwrap_or_default();
        let page = targets.iter().find(|target| target["type"] == "page").expect("Chromium opens a page");
        let attach = json!({ "targetId": page["targetId"], "flatten": true });
        let attached = connection.call("Target.attachToTarget", attach).await;
        connection.session = attached["sessionId"].as_str().map(str::to_owned);
        for domain in ["Page", "Runtime", "Log", "Network"] {
            connection.call(&format!("{domain}.enable"), json!({})).await;
        }
        connection
    }

    /// One command, which must succeed.
    pub(super) async fn call(&self, method: &str, parameters: Value) -> Value {
        let answer = self.try_call(method, parameters).await;
        answer.unwrap_or_else(|error| panic!("Chromium: {method}: {error}"))
    }

    /// The value of an expression, awaited; on a page that was left meanwhile it is evaluated again on the next.
    pub(super) async fn evaluate(&self, expression: &str) -> Result<Value, String> {
        let parameters = json!({ "expression": expression, "awaitPromise": true, "returnByValue": true });
        loop {
            match self.try_call("Runtime.evaluate", parameters.clone()).await {
                Ok(answer) if answer["exceptionDetails"].is_null() => return Ok(answer["result"]["value"].clone()),
                Ok(answer) => return Err(super::record::exception(&answer["exceptionDetails"])),
                Err(error) if LEFT.iter().any(|left| error.contains(left)) => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// What the record holds.
    pub(super) fn problems(&self) -> Vec<String> {
        lock(&self.shared.record).problems().to_vec()
    }

    async fn try_call(&self, method: &str, parameters: Value) -> Result<Value, String> {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let (sender, answer) = oneshot::channel();
        lock(&self.shared.waiting).insert(id, sender);
        let mut message = json!({ "id": id, "method": method, "params": parameters });
        if let Some(session) = &self.session {
            message["sessionId"] = session.as_str().into();
        }
        self.write(&message)?;
        let mut answer = match tokio::time::timeout(PATIENCE, answer).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => return Err("Chromium has ended".to_owned()),
            Err(_) => return Err(format!("no answer within {} s", PATIENCE.as_secs())),
        };
        match answer["error"]["message"].as_str() {
            Some(error) => Err(error.to_owned()),
            None => Ok(answer["result"].take()),
        }
    }

    fn write(&self, message: &Value) -> Result<(), String> {
        let mut part = lock(&self.part);
        let input = part.input().ok_or("Chromium has ended")?;
        let mut bytes = message.to_string().into_bytes();
        bytes.push(0);
        input.write_all(&bytes).and_then(|()| input.flush()).map_err(|error| error.to_string())
    }
}

/// Reads messages, which end with a zero byte, until Chromium ends.
fn read(output: ChildStdout, shared: &Shared) {
    for message in BufReader::new(output).split(0).map_while(Result::ok) {
        let message: Value = serde_json::from_slice(&message).unwrap_or_default();
        match message["id"].as_u64() {
            Some(id) => {
                if let Some(caller) = lock(&shared.waiting).remove(&id) {
                    // A caller that has given up is not waiting.
                    let _ = caller.send(message);
                }
            }
            None => lock(&shared.record).event(&message),
        }
    }
    lock(&shared.waiting).clear();
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
