//! Requests to the sign-in service: the only connections that this program opens beside the
//! database's. HTTPS with the system's own certificates (hospitals have authorities of
//! their own), or plain HTTP to this very machine. Follows no redirect, believes no proxy
//! setting it was not given, waits ten seconds at most, reads a mebibyte at most, and asks
//! for sixteen people at once at most.
//!
//! A failure names what was asked for and the phase that failed, and never an address with
//! a query, a code or a token.

use std::{fmt, sync::Arc, time::Duration};

use rocket::tokio::{sync::Semaphore, task};
use serde::de::DeserializeOwned;
use ureq::{
    Agent, Timeout,
    http::Response,
    tls::{Certificate, RootCerts, TlsConfig},
};

use crate::config::is_safe_address;

/// Longest wait for an answer, all phases together.
const PATIENCE: Duration = Duration::from_secs(10);
/// Longest answer, in bytes.
const MAX_ANSWER: u64 = 1 << 20;
/// Requests at once.
const AT_ONCE: usize = 16;

/// Why there is no answer to use.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct PeerFault {
    /// What was asked for.
    pub(crate) what: &'static str,
    /// What failed: `address`, `busy`, `resolve`, `connect`, `tls`, `send`, `await`, `read`,
    /// `status`, `form`.
    pub(crate) phase: &'static str,
    /// More, for the log.
    pub(crate) detail: String,
}

impl fmt::Display for PeerFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: {}", self.what, self.phase, self.detail)
    }
}

/// A request.
pub(crate) enum Ask {
    Get {
        url: String,
        bearer: Option<String>,
    },
    Form {
        url: String,
        /// User and password (RFC 7617), already as they go into the header.
        basic: Option<String>,
        fields: Vec<(&'static str, String)>,
    },
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    what: &'static str,
    pub(crate) status: u16,
    body: Vec<u8>,
}

impl Answer {
    fn fault(&self, phase: &'static str, detail: impl Into<String>) -> PeerFault {
        PeerFault {
            what: self.what,
            phase,
            detail: detail.into(),
        }
    }

    /// The JSON of a 200; every other status is a fault. An OAuth error code, which is no
    /// secret, is told (RFC 6749 section 5.2).
    pub(crate) fn json<T: DeserializeOwned>(&self) -> Result<T, PeerFault> {
        #[derive(serde::Deserialize)]
        struct OauthError {
            error: String,
        }
        if self.status != 200 {
            let error = serde_json::from_slice::<OauthError>(&self.body).ok();
            let known = |c: char| c.is_ascii_lowercase() || c == '_';
            let error = error
                .map(|error| error.error)
                .filter(|error| error.len() <= 64 && error.chars().all(known));
            let detail = format!("{} {}", self.status, error.unwrap_or_default());
            return Err(self.fault("status", detail.trim_end()));
        }
        // serde's words may quote the answer: the place is enough.
        serde_json::from_slice(&self.body).map_err(|error| {
            let place = format!("line {} column {}", error.line(), error.column());
            self.fault("form", place)
        })
    }
}

/// The client.
pub(crate) struct Outbound {
    agent: Agent,
    slots: Semaphore,
}

impl fmt::Debug for Outbound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Outbound")
    }
}

impl Outbound {
    pub(crate) fn new() -> Self {
        let found = rustls_native_certs::load_native_certs();
        for error in &found.errors {
            log::warn!(target: crate::logger::TARGET, "a certificate store of the system: {error}");
        }
        let roots = found.certs.iter();
        let roots = roots.map(|certificate| Certificate::from_der(certificate).to_owned());
        let tls = TlsConfig::builder()
            .root_certs(RootCerts::from(roots.collect::<Vec<_>>()))
            .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .build();
        let config = Agent::config_builder()
            .tls_config(tls)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .http_status_as_error(false)
            .proxy(None)
            .timeout_global(Some(PATIENCE))
            .user_agent(concat!("manage-rocket/", env!("CARGO_PKG_VERSION")))
            .build();
        Self {
            agent: Agent::new_with_config(config),
            slots: Semaphore::new(AT_ONCE),
        }
    }

    /// Asks, in a thread that may wait.
    pub(crate) async fn ask(&self, what: &'static str, ask: Ask) -> Result<Answer, PeerFault> {
        let fault = |phase, detail: &dyn fmt::Display| PeerFault {
            what,
            phase,
            detail: detail.to_string(),
        };
        let (Ask::Get { url, .. } | Ask::Form { url, .. }) = &ask;
        // The whole address may have a query; what is before it must be safe.
        let address = url.split('?').next().unwrap_or_default();
        if !is_safe_address(address) {
            return Err(fault("address", &"is neither https nor this machine"));
        }
        let Ok(_slot) = self.slots.try_acquire() else {
            return Err(fault("busy", &"too many sign-ins at once"));
        };
        let agent = self.agent.clone();
        let asked = task::spawn_blocking(move || send(&agent, ask)).await;
        let (status, body) = asked
            .map_err(|error| fault("send", &error))?
            .map_err(|error| fault(phase(&error), &error))?;
        Ok(Answer { what, status, body })
    }
}

fn send(agent: &Agent, ask: Ask) -> Result<(u16, Vec<u8>), ureq::Error> {
    let mut response: Response<ureq::Body> = match ask {
        Ask::Get { url, bearer } => {
            let request = agent.get(&url).header("Accept", "application/json");
            match bearer {
                Some(token) => request.header("Authorization", format!("Bearer {token}")),
                None => request,
            }
            .call()?
        }
        Ask::Form { url, basic, fields } => {
            let request = agent.post(&url).header("Accept", "application/json");
            let request = match basic {
                Some(basic) => request.header("Authorization", format!("Basic {basic}")),
                None => request,
            };
            let form = url::form_urlencoded::Serializer::new(String::new())
                .extend_pairs(fields)
                .finish();
            request
                .content_type("application/x-www-form-urlencoded")
                .send(form)?
        }
    };
    let status = response.status().as_u16();
    let body = response.body_mut().with_config().limit(MAX_ANSWER);
    Ok((status, body.read_to_vec()?))
}

/// The phase that failed: three faults behind one word cost people a day.
fn phase(error: &ureq::Error) -> &'static str {
    match error {
        ureq::Error::HostNotFound | ureq::Error::Timeout(Timeout::Resolve) => "resolve",
        ureq::Error::ConnectionFailed | ureq::Error::Timeout(Timeout::Connect) => "connect",
        ureq::Error::Tls(_) | ureq::Error::Rustls(_) => "tls",
        ureq::Error::Io(error) => match error.kind() {
            std::io::ErrorKind::ConnectionRefused => "connect",
            std::io::ErrorKind::InvalidData => "tls",
            _ => "read",
        },
        ureq::Error::Timeout(Timeout::SendRequest | Timeout::SendBody) => "send",
        ureq::Error::Timeout(_) => "await",
        _ => "read",
    }
}
