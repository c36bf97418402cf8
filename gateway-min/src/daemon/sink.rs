//! Where messages are delivered to: [`Sink`] is what `deliver` asks of a receiver, `http`
//! the one that there is. Here is what both speak of: the address, the phases of an attempt
//! and what can come of one.
//!
//! An address is refused with a user name or password in it (it stands in logs and in
//! process lists), with a fragment, or in a form that not every server reads alike. Its
//! query is kept and never told.

use core::fmt;
use std::{io, prelude::v1::*, time::Duration};

mod answer;
mod http;
mod resolve;
#[cfg(test)]
#[path = "../../tests/sink_server/mod.rs"]
pub(crate) mod sink_server;
#[cfg(feature = "tls")]
mod tls;
mod wire;

/// What an attempt is doing, and so what failed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Phase {
    /// Finding the address of the receiver's name.
    Resolve,
    /// Reaching it.
    Connect,
    /// The TLS handshake.
    Tls,
    /// Sending the request.
    Send,
    /// Waiting for the first byte of an answer.
    Await,
    /// Reading the answer to its end.
    Read,
    /// The answer came whole, and its status is not success.
    Status,
}

impl Phase {
    /// Every phase, in its order.
    pub(crate) const ALL: [Self; 7] = [
        Self::Resolve,
        Self::Connect,
        Self::Tls,
        Self::Send,
        Self::Await,
        Self::Read,
        Self::Status,
    ];

    /// Stable name: logs, metric labels.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Resolve => "resolve",
            Self::Connect => "connect",
            Self::Tls => "tls",
            Self::Send => "send",
            Self::Await => "await",
            Self::Read => "read",
            Self::Status => "status",
        }
    }
}

/// What is sent of one message.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Delivery<'a> {
    /// The value of `Idempotency-Key`.
    pub(crate) key: &'a str,
    /// Whether the receiver may have had it before.
    pub(crate) redelivered: bool,
    /// JSON.
    pub(crate) body: &'a [u8],
}

/// An answer that settles a message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Answered {
    /// The receiver has it.
    Taken,
    /// The receiver says, with this status, that it will never take it.
    Refused(u16),
}

/// An attempt that settled nothing.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Fault {
    pub(crate) phase: Phase,
    /// For the log; nothing of the message, and of the receiver's answer only numbers.
    pub(crate) detail: String,
    /// The status that was answered.
    pub(crate) status: Option<u16>,
    /// How long the receiver asks to be left alone.
    pub(crate) retry_after: Option<Duration>,
    /// Whether the receiver may have the message all the same.
    pub(crate) sent: bool,
    /// Whether it was a kept connection that had ended: the receiver may be well.
    pub(crate) stale: bool,
}

/// A receiver.
pub(crate) trait Sink: Send {
    /// Delivers one message, or says what failed; within the time that was configured.
    ///
    /// # Errors
    /// [`Fault`], which names the phase.
    fn deliver(&mut self, delivery: &Delivery<'_>) -> Result<Answered, Fault>;

    /// Told when nothing was sent for a while: what is kept for the next is given back.
    fn rest(&mut self);

    /// The receiver as logs name it.
    fn name(&self) -> &str;
}

/// The receiver at `target`, whose every attempt ends within `timeout`.
///
/// # Errors
/// The system's, where it refuses a thread, or has no authorities to trust for TLS.
pub(crate) fn open(target: Target, timeout: Duration) -> io::Result<Box<dyn Sink>> {
    Ok(Box::new(http::Http::new(target, timeout)?))
}

/// The address that messages are posted to.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Target {
    /// Whether TLS is spoken.
    pub(crate) tls: bool,
    /// A name, or an address without brackets.
    pub(crate) host: String,
    pub(crate) port: u16,
    /// What `Host` says.
    pub(crate) authority: String,
    /// Path and query.
    pub(crate) path: String,
}

impl Target {
    /// Reads `http://` and, where the build has TLS, `https://` addresses.
    ///
    /// # Errors
    /// What is wrong with it, without any of it.
    pub(crate) fn read(text: &str) -> Result<Self, &'static str> {
        let (scheme, rest) = text
            .split_once("://")
            .ok_or("not an address that begins with http:// or https://")?;
        let tls = match scheme {
            "http" => false,
            "https" if cfg!(feature = "tls") => true,
            "https" => return Err("https, which takes a build with --features tls"),
            _ => return Err("not an address that begins with http:// or https://"),
        };
        let allowed = |byte: u8| {
            byte.is_ascii_graphic()
                && !matches!(
                    byte,
                    b'"' | b'<' | b'>' | b'\\' | b'^' | b'`' | b'{' | b'|' | b'}'
                )
        };
        if !text.bytes().all(allowed) {
            return Err("an address with characters that have to be percent-encoded");
        }
        if text.contains('#') {
            return Err("an address with a fragment, which is never sent");
        }
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        if authority.contains('@') {
            return Err("an address with a user name or password, which would stand in logs");
        }
        let default = if tls { 443 } else { 80 };
        let (host, port) = match authority.strip_prefix('[') {
            Some(rest) => {
                let (host, port) = rest.split_once(']').ok_or("an address without a host")?;
                host.parse::<core::net::Ipv6Addr>()
                    .map_err(|_fault| "an address with brackets around what is no IPv6 address")?;
                (host, port)
            }
            None => {
                let colon = authority.find(':').unwrap_or(authority.len());
                let (host, port) = authority.split_at(colon);
                let named =
                    |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
                if host.is_empty() || host.len() > 253 || !host.bytes().all(named) {
                    return Err("an address without the name of a host");
                }
                (host, port)
            }
        };
        let port = match port.strip_prefix(':') {
            Some(number) if number.bytes().all(|byte| byte.is_ascii_digit()) => number
                .parse()
                .ok()
                .filter(|number| *number != 0)
                .ok_or("an address whose port is not 1 to 65535")?,
            None if port.is_empty() => default,
            _ => return Err("an address whose port is not 1 to 65535"),
        };
        Ok(Self {
            tls,
            host: host.to_owned(),
            port,
            authority: authority.to_owned(),
            path: if path.starts_with('/') {
                path.to_owned()
            } else {
                format!("/{path}")
            },
        })
    }
}

/// As logs tell it: without the query, which may be a secret.
impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls { "https" } else { "http" };
        write!(f, "{scheme}://{}", self.authority)?;
        match self.path.split_once('?') {
            Some((path, _)) => write!(f, "{path}?***"),
            None => f.write_str(&self.path),
        }
    }
}

/// Likewise: a panic or a test must not tell more than the log does.
impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Target({self})")
    }
}

#[cfg(test)]
mod tests {
    use std::prelude::v1::*;

    use super::{Phase, Target};

    #[test]
    fn addresses_that_are_taken() {
        for (text, host, port, authority, path, told) in [
            ("http://ris", "ris", 80, "ris", "/", "http://ris/"),
            (
                "http://ris.example:8080/in",
                "ris.example",
                8080,
                "ris.example:8080",
                "/in",
                "http://ris.example:8080/in",
            ),
            (
                "http://10.0.0.7/a/b?key=s",
                "10.0.0.7",
                80,
                "10.0.0.7",
                "/a/b?key=s",
                "http://10.0.0.7/a/b?***",
            ),
            (
                "http://ris?key=s",
                "ris",
                80,
                "ris",
                "/?key=s",
                "http://ris/?***",
            ),
            (
                "http://[::1]:81/",
                "::1",
                81,
                "[::1]:81",
                "/",
                "http://[::1]:81/",
            ),
            ("http://[::1]", "::1", 80, "[::1]", "/", "http://[::1]/"),
            (
                "http://a_b-c/@x:1",
                "a_b-c",
                80,
                "a_b-c",
                "/@x:1",
                "http://a_b-c/@x:1",
            ),
        ] {
            let target = Target::read(text).unwrap();
            let read = (
                target.host.as_str(),
                target.port,
                target.authority.as_str(),
                target.path.as_str(),
            );
            assert_eq!(read, (host, port, authority, path), "{text}");
            assert!(!target.tls);
            assert_eq!(target.to_string(), told);
            assert_eq!(format!("{target:?}"), format!("Target({told})"));
        }
    }

    #[test]
    fn https_is_taken_where_it_is_built_in() {
        let read = Target::read("https://ris/in");
        if cfg!(feature = "tls") {
            let target = read.unwrap();
            assert_eq!(
                (target.tls, target.port, target.to_string()),
                (true, 443, "https://ris/in".into())
            );
        } else {
            assert_eq!(read, Err("https, which takes a build with --features tls"));
        }
    }

    #[test]
    fn every_phase_is_listed() {
        let readme = include_str!("../../README.md");
        let (_, table) = readme.split_once("\n| phase | what failed |").unwrap();
        let rows = table.lines().skip(2).take_while(|line| !line.is_empty());
        let listed: Vec<_> = rows.filter_map(|row| row.split('`').nth(1)).collect();
        assert_eq!(listed, Phase::ALL.map(Phase::as_str));
    }

    #[test]
    fn addresses_that_are_refused() {
        for (text, wanted) in [
            ("ris.example/in", "begins with"),
            ("ftp://ris", "begins with"),
            ("HTTP://ris", "begins with"),
            ("http:///in", "without the name"),
            ("http://:80/", "without the name"),
            ("http://u:p@ris/", "user name or password"),
            ("http://u@ris/", "user name or password"),
            ("http://ris/#a", "fragment"),
            ("http://ris/a b", "percent-encoded"),
            ("http://ris/\r\nX: y", "percent-encoded"),
            ("http://ris/é", "percent-encoded"),
            ("http://ris/{a}", "percent-encoded"),
            ("http://ris:0/", "port"),
            ("http://ris:/", "port"),
            ("http://ris:+80/", "port"),
            ("http://ris:65536/", "port"),
            ("http://ris:80:81/", "port"),
            ("http://[::1/", "without a host"),
            ("http://[ris]/", "IPv6"),
            ("http://[::1]x/", "port"),
            ("http://ri,s/", "without the name"),
        ] {
            let fault = Target::read(text).unwrap_err();
            assert!(fault.contains(wanted), "{text}: {fault}");
        }
    }
}
