//! A driver for a Chromium-family browser over its debugging pipe (Chrome DevTools
//! Protocol), as small as the end-to-end tests and `cargo demo --open` need it.
//!
//! The browser reads commands from descriptor 3 and answers on 4; a shell moves our two
//! pipes there, so that neither unsafe code nor a port is needed. It is closed by
//! `Browser.close` and by reading the pipe to its end: a killed browser leaves children
//! that write into its profile after it was deleted.

use std::{
    fmt,
    io::{self, BufRead as _, BufReader, Write as _},
    os::unix::process::CommandExt as _,
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::{
        Mutex, PoisonError,
        mpsc::{Receiver, RecvTimeoutError, Sender, channel},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use serde_json::{Value, json};

/// How long one command, or the end of the browser, may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// How often a condition on a page is looked at again.
const PACE: Duration = Duration::from_millis(25);

/// Moves our pipes to descriptors 3 and 4 and becomes the browser.
const MOVE_PIPES: &str = r#"exec "$0" "$@" 3<&0 4>&1 </dev/null >/dev/null 2>&1"#;

/// Why a command was not carried out.
#[derive(Debug)]
#[non_exhaustive]
pub enum CdpError {
    /// The browser could not be started.
    Start(io::Error),
    /// The browser is gone.
    Gone,
    /// No answer within a minute.
    Timeout {
        /// The command.
        method: String,
    },
    /// The browser refused a command.
    Refused {
        /// The command.
        method: String,
        /// Its words.
        message: String,
    },
    /// A script on the page threw.
    Script(String),
    /// Nothing on the page matches a selector.
    NoElement(String),
    /// A condition did not come about in time.
    Never {
        /// The expression that stayed false.
        condition: String,
        /// The page's text at that time.
        text: String,
    },
}

impl fmt::Display for CdpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Start(error) => write!(f, "the browser could not be started: {error}"),
            Self::Gone => f.write_str("the browser has ended"),
            Self::Timeout { method } => write!(f, "the browser did not answer {method}"),
            Self::Refused { method, message } => {
                write!(f, "the browser refused {method}: {message}")
            }
            Self::Script(text) => write!(f, "the page's script failed: {text}"),
            Self::NoElement(selector) => write!(f, "no element matches {selector}"),
            Self::Never { condition, text } => {
                write!(
                    f,
                    "waited in vain for {condition} on a page that says: {text}"
                )
            }
        }
    }
}

impl std::error::Error for CdpError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Start(error) => Some(error),
            Self::Gone
            | Self::Timeout { .. }
            | Self::Refused { .. }
            | Self::Script(_)
            | Self::NoElement(_)
            | Self::Never { .. } => None,
        }
    }
}

/// What is started.
#[derive(Debug)]
pub struct Launch<'a> {
    /// The browser's program.
    pub program: &'a Path,
    /// The folder of its profile, which is made.
    pub profile: &'a Path,
    /// Whether it runs without a window.
    pub headless: bool,
    /// Further arguments.
    pub arguments: &'a [String],
}

/// A running browser.
#[derive(Debug)]
pub struct Browser {
    child: Child,
    wire: Mutex<Wire>,
    reader: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Wire {
    input: Option<ChildStdin>,
    messages: Receiver<Value>,
    last_id: u64,
}

/// A page, or a worker, with a session of its own.
#[derive(Debug)]
pub struct Page<'a> {
    browser: &'a Browser,
    target: String,
    session: String,
}

impl Browser {
    /// Starts a browser and waits until it answers.
    ///
    /// # Errors
    /// [`CdpError::Start`], or [`CdpError::Gone`] where it ends at once (no display, say).
    pub fn launch(launch: &Launch<'_>) -> Result<Self, CdpError> {
        std::fs::create_dir_all(launch.profile).map_err(CdpError::Start)?;
        let mut command = Command::new("sh");
        command
            .args(["-c", MOVE_PIPES])
            .arg(launch.program)
            .args([
                "--remote-debugging-pipe",
                "--enable-unsafe-extension-debugging",
            ])
            .args([
                "--no-first-run",
                "--no-default-browser-check",
                "--disable-sync",
            ])
            .args([
                "--disable-background-networking",
                "--disable-component-update",
            ])
            .arg(format!("--user-data-dir={}", launch.profile.display()));
        if launch.headless {
            command.args(["--headless=new", "--disable-gpu", "--disable-quic"]);
        }
        command.args(launch.arguments);
        if rustix::process::geteuid().is_root() {
            // Chromium refuses to run as root with its sandbox.
            command.arg("--no-sandbox");
        }
        // In a group of its own: Ctrl-C in a terminal is for us, and we close it in order. It
        // ends by itself when our end of the pipe is gone.
        let mut child = command
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(CdpError::Start)?;
        let (sender, messages) = channel();
        let reader = child
            .stdout
            .take()
            .map(|output| thread::spawn(move || read_messages(output, &sender)));
        let wire = Wire {
            input: child.stdin.take(),
            messages,
            last_id: 0,
        };
        let browser = Self {
            child,
            wire: Mutex::new(wire),
            reader,
        };
        browser.call(None, "Browser.getVersion", &json!({}))?;
        Ok(browser)
    }

    /// Loads an unpacked extension, or loads it again, and gives its id.
    ///
    /// # Errors
    /// [`CdpError::Refused`] where the browser does not take it.
    pub fn load_extension(&self, folder: &Path) -> Result<String, CdpError> {
        let answer = self.call(
            None,
            "Extensions.loadUnpacked",
            &json!({ "path": folder.display().to_string() }),
        )?;
        Ok(text(&answer["id"]))
    }

    /// Opens a page in a new tab and waits until it is loaded.
    ///
    /// # Errors
    /// Every [`CdpError`]; [`CdpError::Refused`] where the address cannot be reached.
    pub fn open(&self, url: &str) -> Result<Page<'_>, CdpError> {
        let created = self.call(
            None,
            "Target.createTarget",
            &json!({ "url": "about:blank" }),
        )?;
        let page = self.attach(text(&created["targetId"]))?;
        page.go(url)?;
        Ok(page)
    }

    /// The first target of a type whose address begins with `prefix`, if there is one:
    /// `("service_worker", "chrome-extension://…")`.
    ///
    /// # Errors
    /// The browser is gone or does not answer.
    pub fn target(&self, kind: &str, prefix: &str) -> Result<Option<String>, CdpError> {
        let answer = self.call(None, "Target.getTargets", &json!({}))?;
        let targets = answer["targetInfos"].as_array();
        Ok(targets.into_iter().flatten().find_map(|target| {
            let fits = target["type"] == kind
                && target["url"]
                    .as_str()
                    .is_some_and(|url| url.starts_with(prefix));
            fits.then(|| text(&target["targetId"]))
        }))
    }

    /// Opens a session with a target.
    ///
    /// # Errors
    /// It is gone.
    pub fn attach(&self, target: String) -> Result<Page<'_>, CdpError> {
        let attached = self.call(
            None,
            "Target.attachToTarget",
            &json!({ "targetId": target, "flatten": true }),
        )?;
        Ok(Page {
            browser: self,
            session: text(&attached["sessionId"]),
            target,
        })
    }

    /// Gives one command and waits for its answer.
    ///
    /// # Errors
    /// [`CdpError::Gone`], [`CdpError::Timeout`] or [`CdpError::Refused`].
    pub fn call(
        &self,
        session: Option<&str>,
        method: &str,
        params: &Value,
    ) -> Result<Value, CdpError> {
        let mut wire = self.wire.lock().unwrap_or_else(PoisonError::into_inner);
        wire.last_id = wire.last_id.saturating_add(1);
        let id = wire.last_id;
        let mut command = json!({ "id": id, "method": method, "params": params });
        if let Some(session) = session {
            command["sessionId"] = json!(session);
        }
        let input = wire.input.as_mut().ok_or(CdpError::Gone)?;
        input
            .write_all(format!("{command}\0").as_bytes())
            .or(Err(CdpError::Gone))?;
        let deadline = Instant::now() + PATIENCE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match wire.messages.recv_timeout(left) {
                Ok(mut message) if message["id"] == id => {
                    return match message["error"]["message"].as_str() {
                        None => Ok(message["result"].take()),
                        Some(words) => Err(CdpError::Refused {
                            method: method.to_owned(),
                            message: words.to_owned(),
                        }),
                    };
                }
                // Events, and answers that came too late.
                Ok(_) => {}
                Err(RecvTimeoutError::Disconnected) => return Err(CdpError::Gone),
                Err(RecvTimeoutError::Timeout) => {
                    return Err(CdpError::Timeout {
                        method: method.to_owned(),
                    });
                }
            }
        }
    }

    /// Lets a little time pass, reading what the browser says meanwhile.
    fn pause(&self) -> Result<(), CdpError> {
        let wire = self.wire.lock().unwrap_or_else(PoisonError::into_inner);
        let deadline = Instant::now() + PACE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match wire.messages.recv_timeout(left) {
                Ok(_) => {}
                Err(RecvTimeoutError::Timeout) => return Ok(()),
                Err(RecvTimeoutError::Disconnected) => return Err(CdpError::Gone),
            }
        }
    }
}

impl Drop for Browser {
    /// Closes the browser in order; one that does not follow is killed.
    fn drop(&mut self) {
        let wire = self.wire.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Some(mut input) = wire.input.take() {
            // Where writing fails it has ended already, and reading tells.
            let close = json!({ "id": 0, "method": "Browser.close" });
            input
                .write_all(format!("{close}\0").as_bytes())
                .unwrap_or_default();
            let deadline = Instant::now() + PATIENCE;
            loop {
                let left = deadline.saturating_duration_since(Instant::now());
                match wire.messages.recv_timeout(left) {
                    Ok(_) => {}
                    Err(RecvTimeoutError::Disconnected) => break,
                    Err(RecvTimeoutError::Timeout) => {
                        self.child.kill().unwrap_or_default();
                        break;
                    }
                }
            }
        }
        self.child.wait().map(drop).unwrap_or_default();
        if let Some(reader) = self.reader.take() {
            reader.join().unwrap_or_default();
        }
    }
}

impl Page<'_> {
    /// Goes to an address and waits until its page is loaded.
    ///
    /// # Errors
    /// [`CdpError::Refused`] where the address cannot be reached.
    pub fn go(&self, url: &str) -> Result<(), CdpError> {
        let answer = self.call("Page.navigate", &json!({ "url": url }))?;
        if let Some(message) = answer["errorText"].as_str() {
            return Err(CdpError::Refused {
                method: "Page.navigate".to_owned(),
                message: format!("{url}: {message}"),
            });
        }
        self.wait_for("document.readyState === 'complete'")
    }

    /// Loads the page again and waits until that is done.
    ///
    /// # Errors
    /// Every [`CdpError`].
    pub fn reload(&self) -> Result<(), CdpError> {
        self.evaluate("globalThis.beforeReload = true")?;
        self.call("Page.reload", &json!({}))?;
        self.wait_for("!globalThis.beforeReload && document.readyState === 'complete'")
    }

    /// The value of an expression in the page; of a promise, its result.
    ///
    /// # Errors
    /// [`CdpError::Script`] where it throws.
    pub fn evaluate(&self, expression: &str) -> Result<Value, CdpError> {
        let params = json!({
            "expression": expression,
            "returnByValue": true,
            "awaitPromise": true,
        });
        let mut answer = self.call("Runtime.evaluate", &params)?;
        let thrown = &answer["exceptionDetails"];
        if thrown.is_object() {
            let words = thrown["exception"]["description"]
                .as_str()
                .or_else(|| thrown["text"].as_str());
            return Err(CdpError::Script(words.unwrap_or_default().to_owned()));
        }
        Ok(answer["result"]["value"].take())
    }

    /// Waits until an expression is true; a page on its way to another answers nothing
    /// meanwhile.
    ///
    /// # Errors
    /// [`CdpError::Never`] after a minute.
    pub fn wait_for(&self, condition: &str) -> Result<(), CdpError> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.evaluate(&format!("Boolean({condition})")) {
                Ok(Value::Bool(true)) => return Ok(()),
                Ok(_) | Err(CdpError::Refused { .. } | CdpError::Script(_)) => {}
                Err(error) => return Err(error),
            }
            if Instant::now() >= deadline {
                let text = self.evaluate("document.body?.innerText ?? ''")?;
                return Err(CdpError::Never {
                    condition: condition.to_owned(),
                    text: text.as_str().unwrap_or_default().to_owned(),
                });
            }
            self.browser.pause()?;
        }
    }

    /// Presses the mouse once in the middle of the first element that matches: a real
    /// click, which the page cannot tell from a person's.
    ///
    /// # Errors
    /// [`CdpError::NoElement`].
    pub fn click(&self, selector: &str) -> Result<(), CdpError> {
        self.click_times(selector, 1)
    }

    /// Presses the mouse `times` times in quick succession.
    ///
    /// # Errors
    /// [`CdpError::NoElement`].
    pub fn click_times(&self, selector: &str, times: u32) -> Result<(), CdpError> {
        let found = self.evaluate(&format!(
            "(() => {{
                const element = document.querySelector({});
                element?.scrollIntoView({{ block: 'center', behavior: 'instant' }});
                const box = element?.getBoundingClientRect();
                return box && [box.x + box.width / 2, box.y + box.height / 2];
            }})()",
            json!(selector)
        ))?;
        if found.is_null() {
            return Err(CdpError::NoElement(selector.to_owned()));
        }
        for count in 1..=times {
            for kind in ["mousePressed", "mouseReleased"] {
                self.call(
                    "Input.dispatchMouseEvent",
                    &json!({
                        "type": kind,
                        "x": found[0],
                        "y": found[1],
                        "button": "left",
                        "clickCount": count,
                    }),
                )?;
            }
        }
        Ok(())
    }

    /// Presses the Enter key on the element that has the focus.
    ///
    /// # Errors
    /// The page is gone.
    pub fn press_enter(&self) -> Result<(), CdpError> {
        for kind in ["keyDown", "keyUp"] {
            let mut key = json!({
                "type": kind,
                "key": "Enter",
                "code": "Enter",
                "windowsVirtualKeyCode": 13,
            });
            if kind == "keyDown" {
                key["text"] = json!("\r");
            }
            self.call("Input.dispatchKeyEvent", &key)?;
        }
        Ok(())
    }

    /// Types text into the element that has the focus.
    ///
    /// # Errors
    /// The page is gone.
    pub fn type_text(&self, text: &str) -> Result<(), CdpError> {
        self.call("Input.insertText", &json!({ "text": text }))
            .map(drop)
    }

    /// Ends the target: closes a tab, stops a worker.
    ///
    /// # Errors
    /// It is gone already.
    pub fn close(self) -> Result<(), CdpError> {
        let params = json!({ "targetId": self.target });
        self.browser
            .call(None, "Target.closeTarget", &params)
            .map(drop)
    }

    /// Gives one command of this session.
    ///
    /// # Errors
    /// As [`Browser::call`].
    pub fn call(&self, method: &str, params: &Value) -> Result<Value, CdpError> {
        self.browser.call(Some(&self.session), method, params)
    }
}

fn read_messages(output: ChildStdout, messages: &Sender<Value>) {
    let mut output = BufReader::new(output);
    let mut message = Vec::new();
    while let Ok(1..) = output.read_until(0, &mut message) {
        message.pop();
        let sent = serde_json::from_slice(&message).map(|message| messages.send(message));
        if !matches!(sent, Ok(Ok(()))) {
            // Nobody listens any more, or what came is not the protocol.
            return;
        }
        message.clear();
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
