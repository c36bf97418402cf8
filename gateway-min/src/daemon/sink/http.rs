//! The HTTP sink: one `POST` of one message, over a connection of its own making. Framing is
//! ours, because an attempt must say truly which phase failed and whether anything was sent,
//! and because every phase must end with the attempt's one deadline.
//!
//! Refused: redirects (a message goes to the address that was configured, or nowhere), answers
//! that are none. Only `deliver` calls it, through [`Sink`].

use std::{
    io::{self, ErrorKind},
    net::TcpStream,
    prelude::v1::*,
    time::{Duration, Instant},
};

use super::{
    Answered, Delivery, Fault, Phase, Sink, Target,
    answer::{Answer, Progress},
    resolve::Resolver,
    wire::Wire,
};
use crate::daemon::listen::put;

/// Statuses that say: never this message (RFC 9110 section 15.5). 401, 403, 404 and 405 are
/// not among them: somebody configured something, and will again.
const REFUSALS: [u16; 5] = [400, 409, 413, 415, 422];
/// The longest that a receiver can ask to be left alone.
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(300);

/// A receiver that is posted to.
pub(super) struct Http {
    target: Target,
    name: String,
    timeout: Duration,
    resolver: Resolver,
    #[cfg(feature = "tls")]
    pub(super) trust: Option<super::tls::Trust>,
    /// A connection that can take another request.
    kept: Option<Wire>,
    request: Vec<u8>,
    answer: Answer,
}

/// Why a phase failed.
enum Why {
    /// The deadline.
    Late,
    /// The system or the receiver.
    Said(String),
}

impl From<io::Error> for Why {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            ErrorKind::WouldBlock | ErrorKind::TimedOut => Self::Late,
            _ => Self::Said(error.to_string()),
        }
    }
}

impl Http {
    /// A receiver at `target`, whose every attempt ends within `timeout`.
    ///
    /// # Errors
    /// The system's, where it refuses a thread, or has no authorities to trust for TLS.
    pub(super) fn new(target: Target, timeout: Duration) -> io::Result<Self> {
        Ok(Self {
            name: target.to_string(),
            resolver: Resolver::new(&target.host, target.port)?,
            #[cfg(feature = "tls")]
            trust: match target.tls {
                true => Some(super::tls::Trust::of_the_system(&target.host)?),
                false => None,
            },
            target,
            timeout,
            kept: None,
            request: Vec::new(),
            answer: Answer::new(),
        })
    }

    fn write_request(&mut self, delivery: &Delivery<'_>) {
        let (target, key, len) = (&self.target, delivery.key, delivery.body.len());
        let mark = if delivery.redelivered {
            "Gateway-Redelivered: true\r\n"
        } else {
            ""
        };
        self.request.clear();
        put(
            &mut self.request,
            format_args!(
                "POST {} HTTP/1.1\r\nHost: {}\r\nUser-Agent: gateway-min/{}\r\n\
                 Content-Type: application/json\r\nContent-Length: {len}\r\n\
                 Idempotency-Key: {key}\r\n{mark}\r\n",
                target.path,
                target.authority,
                env!("CARGO_PKG_VERSION"),
            ),
        );
        self.request.extend_from_slice(delivery.body);
    }

    /// A new connection; nothing is sent on it but a handshake.
    fn connect(&mut self, deadline: Instant) -> Result<Wire, (Phase, Why)> {
        let addresses = self.resolver.addresses(deadline);
        let addresses = addresses.map_err(|what| (Phase::Resolve, Why::Said(what)))?;
        let mut last = Why::Late;
        for (at, address) in addresses.iter().enumerate() {
            let left = deadline.saturating_duration_since(Instant::now());
            // One that swallows everything must not take the time of the others.
            let others = u32::try_from(addresses.len() - at).unwrap_or(1);
            let share = left / others.max(1);
            if share.is_zero() {
                break;
            }
            match TcpStream::connect_timeout(address, share) {
                Ok(stream) => {
                    let set = stream.set_nodelay(true);
                    set.map_err(|error| (Phase::Connect, error.into()))?;
                    return self.wrap(stream, deadline);
                }
                Err(error) => last = error.into(),
            }
        }
        Err((Phase::Connect, last))
    }

    #[cfg(not(feature = "tls"))]
    #[expect(
        clippy::unused_self,
        clippy::unnecessary_wraps,
        reason = "with TLS it has use for both"
    )]
    fn wrap(&self, stream: TcpStream, _: Instant) -> Result<Wire, (Phase, Why)> {
        Ok(Wire::Plain(stream))
    }

    #[cfg(feature = "tls")]
    fn wrap(&self, stream: TcpStream, deadline: Instant) -> Result<Wire, (Phase, Why)> {
        let Some(trust) = &self.trust else {
            return Ok(Wire::Plain(stream));
        };
        let session = trust.open(stream, deadline);
        let session = session.map_err(|error| (Phase::Tls, error.into()))?;
        Ok(Wire::Tls(Box::new(session)))
    }

    /// Sends the request and reads its answer.
    fn exchange(&mut self, wire: &mut Wire, deadline: Instant) -> Result<Progress, (Phase, Why)> {
        wire.write_all(&self.request, deadline)
            .map_err(|error| (Phase::Send, error.into()))?;
        self.answer.clear();
        let mut chunk = [0; 4096];
        loop {
            let read = wire.read(&mut chunk, deadline);
            let phase = if self.answer.began() {
                Phase::Read
            } else {
                Phase::Await
            };
            let said = |what: &str| Why::Said(what.to_owned());
            let progress = match read {
                Ok(0) => self
                    .answer
                    .closed()
                    .map(|()| Progress::Last)
                    .map_err(|what| (phase, said(what))),
                Ok(len) => self
                    .answer
                    .take(&chunk[..len])
                    .map_err(|what| (Phase::Read, said(what))),
                Err(error) => Err((phase, error.into())),
            };
            match progress {
                Ok(Progress::More) => {}
                // A refusal whose text is lost is a refusal.
                Err(_) if self.answer.has_status() && !self.is_success() => {
                    return Ok(Progress::Last);
                }
                end => return end,
            }
        }
    }

    fn is_success(&self) -> bool {
        matches!(self.answer.status, 200..=299)
    }

    /// What the answer's status says.
    fn judge(&self) -> Result<Answered, Fault> {
        let status = self.answer.status;
        if self.is_success() {
            Ok(Answered::Taken)
        } else if REFUSALS.contains(&status) {
            Ok(Answered::Refused(status))
        } else {
            let retry_after = self.answer.retry_after;
            Err(Fault {
                phase: Phase::Status,
                detail: format!("status {status}"),
                status: Some(status),
                retry_after: retry_after.map(|wait| wait.min(LONGEST_RETRY_AFTER)),
                sent: true,
                stale: false,
            })
        }
    }
}

/// An attempt that ended without an answer.
fn fault(timeout: Duration, (phase, why): (Phase, Why), stale: bool) -> Fault {
    Fault {
        phase,
        detail: match why {
            Why::Late => format!("not done within {} s", timeout.as_secs_f32()),
            Why::Said(what) => what,
        },
        status: None,
        retry_after: None,
        sent: !matches!(phase, Phase::Resolve | Phase::Connect | Phase::Tls),
        stale,
    }
}

impl Sink for Http {
    fn deliver(&mut self, delivery: &Delivery<'_>) -> Result<Answered, Fault> {
        let deadline = Instant::now() + self.timeout;
        self.write_request(delivery);
        let kept = self.kept.take().filter(Wire::is_open);
        let reused = kept.is_some();
        let wire = kept.map_or_else(|| self.connect(deadline), Ok);
        let mut wire = wire.map_err(|failed| fault(self.timeout, failed, false))?;
        match self.exchange(&mut wire, deadline) {
            Ok(progress) => {
                if progress == Progress::Whole {
                    self.kept = Some(wire);
                }
                self.judge()
            }
            Err(failed) => {
                // Its end may have crossed with the request: that says nothing about the
                // receiver, and does not tell whether the request was read.
                let nothing_came = matches!(failed.0, Phase::Send | Phase::Await);
                let ended = matches!(failed.1, Why::Said(_));
                let stale = reused && nothing_came && ended;
                Err(fault(self.timeout, failed, stale))
            }
        }
    }

    fn rest(&mut self) {
        self.kept = None;
    }

    fn name(&self) -> &str {
        &self.name
    }
}

#[cfg(test)]
mod tests;
