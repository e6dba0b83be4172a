//! A real browser without a screen: Debian's `chromium-headless-shell`, driven over the
//! [DevTools protocol](https://chromedevtools.github.io/devtools-protocol/).

use super::{PATIENCE, installed, scratch, wait_until};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use tempfile::TempDir;

/// A browser with one tab, which is closed with the test.
pub(crate) struct Browser {
    child: Child,
    input: ChildStdin,
    /// Messages of the browser, collected by a thread of its own.
    messages: Receiver<Value>,
    /// Events so far.
    events: Vec<Value>,
    session: Option<String>,
    calls: u64,
    _directory: TempDir,
}

impl Browser {
    /// Starts the browser. Prints that the test is skipped and returns `None` if it isn't installed.
    pub(crate) fn start() -> Option<Self> {
        let program = installed("chromium", "WASMRUN_CHROMIUM")?;
        let directory = tempfile::tempdir_in(scratch()).expect("a directory");
        // The browser reads the protocol from descriptor 3 and writes it to 4.
        let mut child = Command::new("sh")
            .args(["-c", "exec \"$@\" 3<&0 4>&1 0</dev/null 1>/dev/null 2>&1", "sh"])
            .arg(program)
            // Root may not use its sandbox. It opens only what the tests serve.
            .args(["--remote-debugging-pipe", "--no-sandbox", "--no-first-run", "--disable-gpu"])
            // A name of another site that leads to this host.
            .args(["--host-resolver-rules=MAP *.example 127.0.0.1", "--lang=en", "--hide-scrollbars"])
            .arg(format!("--user-data-dir={}", directory.path().display()))
            .arg("about:blank")
            .env("HOME", directory.path())
            .env("TZ", "UTC")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("it starts");
        let (input, output) = (child.stdin.take().expect("a pipe"), child.stdout.take().expect("a pipe"));
        let (sender, messages) = channel();
        std::thread::spawn(move || {
            // Each message ends with a zero byte.
            for message in BufReader::new(output).split(0).map_while(Result::ok) {
                let message = serde_json::from_slice(&message).expect("JSON");
                if sender.send(message).is_err() {
                    break;
                }
            }
        });
        let mut browser = Self {
            child,
            input,
            messages,
            events: Vec::new(),
            session: None,
            calls: 0,
            _directory: directory,
        };
        let tab = browser.call("Target.createTarget", json!({"url": "about:blank"}));
        let attached =
            browser.call("Target.attachToTarget", json!({"targetId": tab["targetId"], "flatten": true}));
        browser.session = attached["sessionId"].as_str().map(str::to_owned);
        for domain in ["Page", "Runtime", "Log", "Network", "Audits"] {
            browser.call(&format!("{domain}.enable"), json!({}));
        }
        Some(browser)
    }

    /// Calls a method and returns its result.
    #[track_caller]
    pub(crate) fn call(&mut self, method: &str, parameters: Value) -> Value {
        self.calls += 1;
        let mut call = json!({"id": self.calls, "method": method, "params": parameters});
        if let Some(session) = &self.session {
            call["sessionId"] = json!(session);
        }
        let mut bytes = call.to_string().into_bytes();
        bytes.push(0);
        self.input.write_all(&bytes).expect("written");
        loop {
            let message = self.messages.recv_timeout(PATIENCE);
            let message = message.unwrap_or_else(|_| panic!("the browser doesn't answer {method}"));
            if message["id"] == self.calls {
                assert!(message["error"].is_null(), "{method}: {message}");
                return message["result"].clone();
            }
            self.events.push(message);
        }
    }

    /// Opens a page.
    #[track_caller]
    pub(crate) fn open(&mut self, url: &str) {
        let opened = self.call("Page.navigate", json!({"url": url}));
        assert!(opened["errorText"].is_null(), "{url}: {opened}");
        self.wait_until("the page is loaded", "document.readyState === 'complete'");
    }

    /// Returns the value of a JavaScript expression in the page.
    #[track_caller]
    pub(crate) fn value(&mut self, expression: &str) -> Value {
        let answer = self.call(
            "Runtime.evaluate",
            json!({"expression": expression, "returnByValue": true, "awaitPromise": true}),
        );
        assert!(answer["exceptionDetails"].is_null(), "{expression}: {answer}");
        answer["result"]["value"].clone()
    }

    /// Waits until a JavaScript expression in the page is true.
    #[track_caller]
    pub(crate) fn wait_until(&mut self, what: &str, expression: &str) {
        wait_until(what, || self.value(expression) == true);
    }

    /// Presses and releases a key.
    pub(crate) fn press(&mut self, key: &str, text: &str) {
        let code = match key {
            "Tab" => 9,
            "Enter" => 13,
            _ => 32,
        };
        for kind in ["keyDown", "keyUp"] {
            let event = json!({"type": kind, "key": key, "code": key, "text": if kind == "keyDown" { text } else { "" },
                "windowsVirtualKeyCode": code});
            self.call("Input.dispatchKeyEvent", event);
        }
    }

    /// Sets the size of the screen, in CSS pixels, and the colour scheme that the user prefers.
    pub(crate) fn screen(&mut self, width: u32, height: u32, scheme: &str) {
        let size = json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600});
        self.call("Emulation.setDeviceMetricsOverride", size);
        let features = json!([{"name": "prefers-color-scheme", "value": scheme}]);
        self.call("Emulation.setEmulatedMedia", json!({"features": features}));
    }

    /// Returns what the screen shows, as PNG.
    pub(crate) fn picture(&mut self) -> Vec<u8> {
        let picture =
            self.call("Page.captureScreenshot", json!({"format": "png", "optimizeForSpeed": false}));
        BASE64_STANDARD.decode(picture["data"].as_str().expect("base64")).expect("base64")
    }

    /// Returns all that the browser complained about: errors and warnings in the console, exceptions, issues.
    pub(crate) fn complaints(&mut self) -> Vec<String> {
        let complains = |event: &&Value| match event["method"].as_str() {
            Some("Runtime.exceptionThrown" | "Audits.issueAdded" | "Inspector.targetCrashed") => true,
            Some("Runtime.consoleAPICalled") => event["params"]["type"] != "log",
            Some("Log.entryAdded") => event["params"]["entry"]["level"] != "info",
            _ => false,
        };
        self.all_events().filter(complains).map(Value::to_string).collect()
    }

    /// Returns the URLs that were requested.
    pub(crate) fn requested(&mut self) -> Vec<String> {
        let sent = |event: &&Value| event["method"] == "Network.requestWillBeSent";
        let url = |event: &Value| event["params"]["request"]["url"].as_str().map(str::to_owned);
        self.all_events().filter(sent).filter_map(url).collect()
    }

    fn all_events(&mut self) -> impl Iterator<Item = &Value> {
        // Events come before the answer to a later call.
        self.value("0");
        self.events.iter()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Its other processes end when their pipes to this one close.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
