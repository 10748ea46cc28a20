//! Real Chromium, headless, driven the way a person uses a page: it looks for what is shown and clicks on it.
//!
//! The DevTools protocol goes over a pair of pipes, so there is no port, and Chromium ends when they close.

mod connection;
mod record;

use std::path::Path;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

use self::connection::Connection;
use crate::part;

/// Width and height of the page in pixels.
const SIZE: (u32, u32) = (1400, 760);

/// How long the page may take to show what is waited for, as in `find.js`.
const PATIENCE: Duration = Duration::from_secs(30);

/// Waits in the page until something is shown, see there.
const FIND: &str = include_str!("chromium/find.js");

/// The arrows of Jaeger's page System Architecture: pairs of services, caller and called.
pub const ARROWS: &str = include_str!("chromium/arrows.js");

/// A browser with one page; it goes when this is dropped. Its methods panic when the page is not as expected, and say
/// what it showed.
#[derive(Debug)]
pub struct Browser {
    connection: Connection,
}

/// Starts Chromium with an empty profile; `None`, said aloud, where it is missing and not required.
pub async fn start() -> Option<Browser> {
    let program = part::find("chromium")?;
    let (mut command, profile) = part::command(&program);
    command.arg("--remote-debugging-pipe").arg("--headless=new").arg("--no-sandbox").arg("--disable-gpu");
    // It asks for nothing but what the test opens.
    command.args(["--disable-background-networking", "--disable-component-update", "--disable-sync"]);
    command.args(["--no-first-run", "--disable-quic", "--disable-breakpad", "--disable-dev-shm-usage"]);
    command.arg(format!("--user-data-dir={}", profile.display())).arg("about:blank");
    let browser = Browser { connection: Connection::open(&command, &profile).await };
    let (width, height) = SIZE;
    let size = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": false });
    browser.connection.call("Emulation.setDeviceMetricsOverride", size).await;
    Some(browser)
}

impl Browser {
    /// Opens an address.
    pub async fn open(&self, url: &str) {
        let answer = self.connection.call("Page.navigate", json!({ "url": url })).await;
        assert!(answer["errorText"].is_null(), "{url} does not open: {}", answer["errorText"]);
    }

    /// Waits until an element is shown.
    pub async fn wait_for(&self, selector: &str) {
        self.find(selector, None, false).await;
    }

    /// Waits until a text is shown, be it part of a longer one.
    pub async fn wait_for_text(&self, text: &str) {
        self.wait_for_text_in("body *", text).await;
    }

    /// Waits until an element of a selector shows a text, be it part of a longer one.
    pub async fn wait_for_text_in(&self, selector: &str, text: &str) {
        self.find(selector, Some(text), false).await;
    }

    /// Waits until a JavaScript expression has a value.
    pub async fn wait_until(&self, expression: &str, value: &Value) {
        let given_up = tokio::time::Instant::now() + PATIENCE;
        loop {
            let found = self.eval(expression).await;
            if found == *value {
                return;
            }
            let late = tokio::time::Instant::now() > given_up;
            assert!(!late, "{expression} is {found}, not {value}\n{}", self.describe().await);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Clicks on the first element of a selector that is shown.
    pub async fn click(&self, selector: &str) {
        let point = self.find(selector, None, true).await;
        self.press(&point).await;
    }

    /// Clicks on the first element of a selector that shows a text.
    pub async fn click_text(&self, selector: &str, text: &str) {
        let point = self.find(selector, Some(text), true).await;
        self.press(&point).await;
    }

    /// Moves the pointer onto the first element of a selector that is shown.
    pub async fn hover(&self, selector: &str) {
        let point = self.find(selector, None, true).await;
        self.mouse("mouseMoved", &point).await;
    }

    /// Types a text into what has the focus.
    pub async fn enter(&self, text: &str) {
        self.connection.call("Input.insertText", json!({ "text": text })).await;
    }

    /// The value of a JavaScript expression, awaited.
    pub async fn eval(&self, expression: &str) -> Value {
        match self.connection.evaluate(expression).await {
            Ok(value) => value,
            Err(error) => panic!("{error}\n{}", self.describe().await),
        }
    }

    /// The text that the page shows.
    pub async fn text(&self) -> String {
        let text = self.connection.evaluate("document.body.innerText").await;
        text.ok().and_then(|text| Some(text.as_str()?.to_owned())).unwrap_or_default()
    }

    /// Writes what is shown as a PNG.
    pub async fn screenshot(&self, path: &Path) {
        let answer = self.connection.call("Page.captureScreenshot", json!({ "format": "png" })).await;
        let image = BASE64_STANDARD.decode(answer["data"].as_str().unwrap_or_default()).expect("a picture");
        std::fs::write(path, image).expect("write the picture");
    }

    /// All that went wrong so far: errors on the console, exceptions, requests that failed or were answered with 400
    /// or more.
    pub fn problems(&self) -> Vec<String> {
        self.connection.problems()
    }

    /// Waits for an element that is shown, and with `reachable` stands still and is covered by nothing; gives its middle.
    async fn find(&self, selector: &str, text: Option<&str>, reachable: bool) -> Value {
        let call = format!("({FIND})({}, {}, {reachable})", json!(selector), json!(text));
        self.eval(&call).await
    }

    async fn press(&self, point: &Value) {
        for kind in ["mouseMoved", "mousePressed", "mouseReleased"] {
            self.mouse(kind, point).await;
        }
    }

    async fn mouse(&self, kind: &str, point: &Value) {
        let button = if kind == "mouseMoved" { "none" } else { "left" };
        let event = json!({ "type": kind, "x": point["x"], "y": point["y"], "button": button, "clickCount": 1 });
        self.connection.call("Input.dispatchMouseEvent", event).await;
    }

    async fn describe(&self) -> String {
        let place = self.connection.evaluate("location.href").await.unwrap_or_default();
        format!("at {place}\nproblems: {:#?}\nthe page shows:\n{}", self.problems(), self.text().await)
    }
}
