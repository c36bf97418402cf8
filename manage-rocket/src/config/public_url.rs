//! How browsers reach this installation: the `iss` of its messages, what `Origin` must
//! equal, and whether cookies can be `Secure`. Refuses everything but a scheme, a host and
//! perhaps a port.

/// How browsers reach this installation: the `iss` of its messages.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PublicUrl {
    origin: String,
    https: bool,
}

impl PublicUrl {
    /// Reads a scheme, a host and perhaps a port, as a browser writes an origin
    /// (RFC 6454 section 6.1): lower case, without the scheme's default port.
    ///
    /// # Errors
    /// What is wrong, in words.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let (https, default_port, rest) = if let Some(rest) = text.strip_prefix("https://") {
            (true, "443", rest)
        } else if let Some(rest) = text.strip_prefix("http://") {
            (false, "80", rest)
        } else {
            return Err("must begin with http:// or https://");
        };
        let authority = rest.strip_suffix('/').unwrap_or(rest);
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
            _ => (authority, None),
        };
        let bracketed = host.strip_prefix('[').and_then(|h| h.strip_suffix(']'));
        let good_host = match bracketed {
            Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
            None => {
                !host.is_empty()
                    && host
                        .bytes()
                        .all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b))
            }
        };
        if !good_host {
            return Err("must be a host and perhaps a port, with nothing behind them");
        }
        let port = match port {
            None => None,
            Some(text) => match text.parse::<u16>() {
                Ok(number) if number > 0 && number.to_string() == text => Some(text),
                _ => return Err("has a port that is not one"),
            },
        };
        let scheme = if https { "https" } else { "http" };
        let mut origin = format!("{scheme}://{}", host.to_ascii_lowercase());
        if let Some(port) = port.filter(|port| *port != default_port) {
            origin.push(':');
            origin.push_str(port);
        }
        Ok(Self { origin, https })
    }

    /// As browsers write it in `Origin`.
    #[must_use]
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// Whether nobody on the way from a browser to here can listen: HTTPS, or this very
    /// machine.
    #[must_use]
    pub fn is_confidential(&self) -> bool {
        let here = ["http://localhost", "http://127.0.0.1", "http://[::1]"];
        let behind = here.iter().find_map(|here| self.origin.strip_prefix(here));
        self.https || behind.is_some_and(|rest| rest.is_empty() || rest.starts_with(':'))
    }

    /// Whether cookies can be `Secure`.
    #[must_use]
    pub const fn is_https(&self) -> bool {
        self.https
    }
}

#[cfg(test)]
mod tests {
    use super::PublicUrl;

    #[test]
    fn who_could_listen_is_known() {
        for (text, confidential) in [
            ("https://manage.example", true),
            ("http://localhost:8080", true),
            ("http://127.0.0.1", true),
            ("http://[::1]:8080", true),
            ("http://localhost.example", false),
            ("http://manage-breast-screening:8080", false),
            ("http://[::2]:8080", false),
        ] {
            let url = PublicUrl::parse(text).unwrap();
            assert_eq!(url.is_confidential(), confidential, "{text}");
        }
    }

    #[test]
    fn an_address_is_read_as_browsers_write_origins() {
        for (text, expected) in [
            ("http://localhost:8080", Ok("http://localhost:8080")),
            ("http://localhost:8080/", Ok("http://localhost:8080")),
            (
                "https://Manage.Example.NHS.UK",
                Ok("https://manage.example.nhs.uk"),
            ),
            ("https://manage.example:443", Ok("https://manage.example")),
            ("http://manage.example:80", Ok("http://manage.example")),
            ("https://manage.example:80", Ok("https://manage.example:80")),
            ("http://[::1]:8080", Ok("http://[::1]:8080")),
            ("http://[::1]", Ok("http://[::1]")),
            ("localhost:8080", Err("must begin with http:// or https://")),
            ("ftp://x", Err("must begin with http:// or https://")),
            ("http://x:0", Err("has a port that is not one")),
            ("http://x:065", Err("has a port that is not one")),
            ("http://x:65536", Err("has a port that is not one")),
            ("http://x:", Err("has a port that is not one")),
            (
                "http://",
                Err("must be a host and perhaps a port, with nothing behind them"),
            ),
            (
                "http://x?y",
                Err("must be a host and perhaps a port, with nothing behind them"),
            ),
            (
                "http://a@x",
                Err("must be a host and perhaps a port, with nothing behind them"),
            ),
            (
                "http://[x]",
                Err("must be a host and perhaps a port, with nothing behind them"),
            ),
            (
                "http://münchen",
                Err("must be a host and perhaps a port, with nothing behind them"),
            ),
        ] {
            let got = PublicUrl::parse(text);
            assert_eq!(
                got.as_ref().map(PublicUrl::origin).map_err(|e| *e),
                expected,
                "{text}"
            );
        }
    }
}
