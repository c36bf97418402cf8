//! The names that requests may call the gateway by. A page of a foreign site can make a
//! browser resolve the site's own name to this gateway's address (DNS rebinding); its
//! requests then carry that name in `Host`, and are refused by it.
//!
//! Names compare without port and without case; an IPv6 address by its value.

use core::net::Ipv6Addr;
use std::prelude::v1::*;

/// A name in the form in which names are compared, or `None` for what is no name: letters,
/// digits, `.`, `-` and `_`, or an IPv6 address in brackets (RFC 3986 section 3.2.2).
pub(crate) fn normal(name: &str) -> Option<String> {
    if let Some(inner) = name.strip_prefix('[') {
        let address: Ipv6Addr = inner.strip_suffix(']')?.parse().ok()?;
        return Some(format!("[{address}]"));
    }
    is_reg_name(name).then(|| name.to_ascii_lowercase())
}

fn is_reg_name(name: &str) -> bool {
    let good = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_');
    !name.is_empty() && name.len() <= 253 && name.bytes().all(good)
}

/// What a `Host` field says about the names in `known`, which are in [`normal`] form:
/// whether it is one of them, or `None` where it is no `Host` at all. Allocates for IPv6
/// addresses only.
pub(crate) fn names(host: &str, known: &[String]) -> Option<bool> {
    // The port's colon is the last one outside the brackets of an IPv6 address.
    let name = match host.rsplit_once(':') {
        Some((name, port)) if !port.ends_with(']') => {
            if port.len() > 5 || !port.bytes().all(|b| b.is_ascii_digit()) {
                return None;
            }
            name
        }
        _ => host,
    };
    if name.starts_with('[') {
        let name = normal(name)?;
        Some(known.contains(&name))
    } else if is_reg_name(name) {
        Some(known.iter().any(|known| known.eq_ignore_ascii_case(name)))
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use std::prelude::v1::*;

    use super::{names, normal};

    #[test]
    fn names_have_one_form() {
        for (name, wanted) in [
            ("Screening-Gateway", Some("screening-gateway")),
            ("10.0.0.7", Some("10.0.0.7")),
            ("[0:0::1]", Some("[::1]")),
            ("", None),
            ("a b", None),
            ("a:80", None),
            ("http://a", None),
            ("*", None),
            ("[::1", None),
            ("[::1]:80", None),
            ("::1", None),
        ] {
            assert_eq!(normal(name).as_deref(), wanted, "{name}");
        }
    }

    #[test]
    fn a_host_is_compared_without_port_and_case() {
        let known = ["localhost", "127.0.0.1", "[::1]"].map(str::to_owned);
        for (host, wanted) in [
            ("localhost", Some(true)),
            ("LOCALHOST:9090", Some(true)),
            ("localhost:", Some(true)),
            ("127.0.0.1:1", Some(true)),
            ("[::1]", Some(true)),
            ("[::1]:9090", Some(true)),
            ("[0::0:1]:9090", Some(true)),
            ("localhost.", Some(false)),
            ("evil.example", Some(false)),
            ("localhost.evil.example:9090", Some(false)),
            ("[::2]", Some(false)),
            ("", None),
            (":9090", None),
            ("localhost:port", None),
            ("localhost:123456", None),
            ("user@localhost", None),
            ("localhost, evil.example", None),
            ("localhost/", None),
            ("::1", None),
            ("[::1", None),
            ("[::1]x", None),
        ] {
            assert_eq!(names(host, &known), wanted, "{host}");
        }
    }
}
