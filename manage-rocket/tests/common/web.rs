//! The application behind a real socket, a browser without a screen (redirects, one jar of
//! cookies a host), and the sign-in services that it meets: what a sign-in needs that
//! crosses from one server to another.

#![allow(clippy::panic, reason = "a test fails by panicking")]

use std::{
    cell::RefCell,
    io::{BufRead as _, BufReader},
    net::TcpListener,
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::mpsc::channel,
    thread,
    time::Duration,
};

use rocket::{Shutdown, tokio::task::JoinHandle};
use ureq::Agent;
use url::Url;

use super::Site;

/// Longer than anything here takes, even on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// A port that was free a moment ago. The application must know its address beforehand.
pub(crate) fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

/// The application, served on 127.0.0.1 until the test ends.
pub(crate) struct Served {
    shutdown: Shutdown,
    _task: JoinHandle<()>,
}

impl Served {
    pub(crate) async fn start(site: &Site, port: u16) -> Self {
        let server = manage_rocket::server_defaults().merge(("port", port));
        let rocket = manage_rocket::rocket(site.config.clone(), server).await;
        let rocket = rocket.unwrap().ignite().await.unwrap();
        let shutdown = rocket.shutdown();
        let task = rocket::tokio::spawn(async move {
            rocket.launch().await.unwrap();
        });
        for _ in 0..2000 {
            if std::net::TcpStream::connect(("127.0.0.1", port)).is_ok() {
                return Self {
                    shutdown,
                    _task: task,
                };
            }
            rocket::tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("the application does not listen");
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.shutdown.clone().notify();
    }
}

/// A sign-in service, ended with the test.
pub(crate) struct Peer {
    child: Child,
    pub(crate) url: String,
}

/// Where the sign-in services' programs are.
pub(crate) fn peers() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/peers")
}

impl Peer {
    /// The npm oidc-provider, which knows the installation at `manage`.
    pub(crate) fn provider(manage: &str, more: &[(&str, &str)]) -> Self {
        assert!(
            peers().join("node_modules").is_dir(),
            "run `npm ci` in {}",
            peers().display()
        );
        Self::start("node", "provider.mjs", manage, more)
    }

    /// Doorkeeper as Signon.
    pub(crate) fn signon(manage: &str) -> Self {
        Self::start("ruby", "signon.rb", manage, &[])
    }

    fn start(program: &str, script: &str, manage: &str, more: &[(&str, &str)]) -> Self {
        let mut command = Command::new(program);
        command
            .arg(script)
            .current_dir(peers())
            .env("MANAGE", manage)
            .envs(more.iter().copied())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let mut child = command
            .spawn()
            .unwrap_or_else(|error| panic!("{program}: {error} (.ci/test installs it)"));
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let (said, wait) = channel();
        thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                if let Some(url) = line.strip_prefix("listening on ") {
                    said.send(url.to_owned()).ok();
                }
            }
        });
        let url = wait.recv_timeout(PATIENCE);
        let url = url.unwrap_or_else(|_| {
            child.kill().ok();
            child.wait().ok();
            panic!("{script} does not say where it listens");
        });
        Self { child, url }
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// What came of a request.
#[derive(Clone, Debug)]
pub(crate) struct Reply {
    pub(crate) url: String,
    pub(crate) status: u16,
    pub(crate) body: String,
    /// Where it leads, as a whole address.
    pub(crate) location: String,
    headers: Vec<(String, String)>,
}

impl Reply {
    pub(crate) fn header(&self, name: &str) -> &str {
        let found = self.headers.iter().find(|(given, _)| given == name);
        found.map_or("", |(_, value)| value)
    }

    /// A parameter of the address it leads to.
    pub(crate) fn parameter(&self, name: &str) -> Option<String> {
        parameter(&self.location, name)
    }

    pub(crate) fn set_cookies(&self) -> Vec<&str> {
        let cookies = self.headers.iter().filter(|(name, _)| name == "set-cookie");
        cookies.map(|(_, value)| value.as_str()).collect()
    }
}

/// A parameter of an address.
pub(crate) fn parameter(address: &str, name: &str) -> Option<String> {
    let url = Url::parse(address).ok()?;
    let mut pairs = url.query_pairs();
    pairs
        .find(|(given, _)| given == name)
        .map(|(_, value)| value.into_owned())
}

/// Somebody's browser: cookies by host, as browsers keep them whatever the port.
pub(crate) struct Web {
    agent: Agent,
    cookies: RefCell<Vec<(String, String, String)>>,
}

impl Web {
    pub(crate) fn new() -> Self {
        Self::with(Agent::config_builder())
    }

    pub(crate) fn with(config: ureq::config::ConfigBuilder<ureq::typestate::AgentScope>) -> Self {
        let config = config
            .max_redirects(0)
            .max_redirects_will_error(false)
            .http_status_as_error(false)
            .timeout_global(Some(PATIENCE))
            .proxy(None)
            .build();
        Self {
            agent: Agent::new_with_config(config),
            cookies: RefCell::default(),
        }
    }

    /// The cookies as a request to that host has them.
    pub(crate) fn cookies(&self, host: &str) -> Vec<(String, String)> {
        let cookies = self.cookies.borrow();
        let own = cookies.iter().filter(|(of, ..)| of == host);
        own.map(|(_, name, value)| (name.clone(), value.clone()))
            .collect()
    }

    pub(crate) fn set_cookie(&self, host: &str, name: &str, value: &str) {
        let mut cookies = self.cookies.borrow_mut();
        cookies.retain(|(of, known, _)| (of.as_str(), known.as_str()) != (host, name));
        cookies.push((host.to_owned(), name.to_owned(), value.to_owned()));
    }

    fn keep(&self, host: &str, set: &str) {
        let (pair, attributes) = set.split_once(';').unwrap_or((set, ""));
        let (name, value) = pair.split_once('=').unwrap();
        let attributes = attributes.to_ascii_lowercase();
        let gone = attributes.contains("max-age=0") || attributes.contains("01 jan 1970");
        self.set_cookie(host, name, value);
        if gone {
            let mut cookies = self.cookies.borrow_mut();
            cookies.retain(|(of, known, _)| (of.as_str(), known.as_str()) != (host, name));
        }
    }

    fn send(
        &self,
        method: &str,
        address: &str,
        headers: &[(&str, &str)],
        body: Option<(&str, String)>,
    ) -> Reply {
        let url = Url::parse(address).unwrap();
        let host = url.host_str().unwrap().to_owned();
        let mut request = ureq::http::Request::builder().method(method).uri(address);
        let cookies: Vec<_> = self
            .cookies(&host)
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        if !cookies.is_empty() {
            request = request.header("Cookie", cookies.join("; "));
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let sent = match body {
            Some((kind, body)) => {
                let request = request.header("Content-Type", kind).body(body).unwrap();
                self.agent.run(request)
            }
            None => self.agent.run(request.body(()).unwrap()),
        };
        let mut answer = sent.unwrap_or_else(|error| panic!("{address}: {error}"));
        let headers: Vec<(String, String)> = answer
            .headers()
            .iter()
            .map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()))
            .collect();
        let mut reply = Reply {
            url: address.to_owned(),
            status: answer.status().as_u16(),
            body: answer.body_mut().read_to_string().unwrap(),
            location: String::new(),
            headers,
        };
        for set in reply.set_cookies() {
            self.keep(&host, set);
        }
        if !reply.header("location").is_empty() {
            reply.location = url.join(reply.header("location")).unwrap().into();
        }
        reply
    }

    pub(crate) fn get(&self, address: &str) -> Reply {
        self.send("GET", address, &[], None)
    }

    pub(crate) fn get_with(&self, address: &str, headers: &[(&str, &str)]) -> Reply {
        self.send("GET", address, headers, None)
    }

    pub(crate) fn post(&self, address: &str, fields: &[(&str, &str)]) -> Reply {
        let form = url::form_urlencoded::Serializer::new(String::new())
            .extend_pairs(fields)
            .finish();
        let body = Some(("application/x-www-form-urlencoded", form));
        self.send("POST", address, &[], body)
    }

    pub(crate) fn send_json(
        &self,
        method: &str,
        address: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Reply {
        let body = Some(("application/json", body.to_owned()));
        self.send(method, address, headers, body)
    }

    /// Follows redirects until `there` says of an address that it is not to be opened, or
    /// an answer leads nowhere.
    pub(crate) fn follow(&self, address: &str, there: impl Fn(&str) -> bool) -> Reply {
        let mut reply = self.get(address);
        for _ in 0..20 {
            if reply.location.is_empty() || there(&reply.location) {
                return reply;
            }
            reply = self.get(&reply.location);
        }
        panic!("it goes round in circles at {}", reply.url);
    }

    /// Signs in at the npm provider as `login`, from wherever `address` leads there, up to
    /// the reply that leads back to the application.
    pub(crate) fn through_provider(&self, address: &str, login: &str) -> Reply {
        let back = |address: &str| address.contains("/auth/oidc/callback");
        let mut reply = self.follow(address, back);
        for _ in 0..4 {
            if back(&reply.location) {
                return reply;
            }
            assert!(reply.url.contains("/interaction/"), "{reply:?}");
            let fields: &[(&str, &str)] = if reply.body.contains(r#"value="login""#) {
                &[("prompt", "login"), ("login", login), ("password", "x")]
            } else {
                &[("prompt", "consent")]
            };
            let answer = self.post(&reply.url, fields);
            assert_eq!(answer.status, 303, "{answer:?}");
            reply = self.follow(&answer.location, back);
        }
        panic!("the provider does not end at {}", reply.url);
    }

    /// Signs in at the Signon stand-in as `login`, up to the reply that leads back.
    pub(crate) fn through_signon(&self, address: &str, login: &str) -> Reply {
        let back = |address: &str| address.contains("/auth/gds/callback");
        let reply = self.follow(address, back);
        if back(&reply.location) {
            return reply;
        }
        let return_to = parameter(&reply.url, "return_to").unwrap();
        let fields = [("login", login), ("return_to", &*return_to)];
        let answer = self.post(&reply.url, &fields);
        assert_eq!(answer.status, 302, "{answer:?}");
        self.follow(&answer.location, back)
    }
}
