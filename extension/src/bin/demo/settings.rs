//! The few settings of the demonstration: arguments and environment, read once into what
//! cannot be nonsense. The addresses have the names that the two servers know them by.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use extension::stamp::{DEFAULT_GATEWAY, Origin};

/// What `--help` says.
pub(crate) const HELP: &str = "\
Starts the whole product on this machine: a gateway, manage with made-up clinics, and,
if asked to, a browser with the extension. Keys and database are made on first use.
Ctrl-C ends everything.

  cargo demo [--open] [--browser PROGRAM] [--fresh] [--state FOLDER]

  --open              also starts an installed browser with the extension loaded: Chromium,
                      Chrome for Testing, Brave, Edge or Vivaldi, with an empty profile.
                      Google Chrome is not started: from version 137 it ignores extensions
                      named on its command line. Load it there by hand, as printed.
  --browser PROGRAM   the browser that is started; implies --open
  --fresh             begins with a new database: clinics of today, nothing sent yet
  --state FOLDER      where keys and database are (target/demo)

Environment:
  GATEWAY_LISTEN      where the gateway listens (127.0.0.1:9090)
  ROCKET_ADDRESS      where manage listens (127.0.0.1) …
  ROCKET_PORT         … and on which port (8080)
  MANAGE_PUBLIC_URL   how the browser reaches manage (http://localhost:<ROCKET_PORT>)
Where these differ from the shipped extension's addresses, a copy of the extension for
them is made in the state folder. Every other setting of the two servers is passed on.

Linux and macOS. On Windows nothing of this was run; what should work there is `cargo demo`
inside WSL 2 with the browser on the Windows side, loading the extension by hand.
";

/// What was asked for on the command line.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Arguments {
    pub(crate) help: bool,
    pub(crate) open: bool,
    pub(crate) browser: Option<String>,
    pub(crate) fresh: bool,
    pub(crate) state: Option<String>,
}

impl Arguments {
    pub(crate) fn parse(arguments: impl IntoIterator<Item = String>) -> Result<Self, String> {
        let mut asked = Self::default();
        let mut arguments = arguments.into_iter();
        while let Some(name) = arguments.next() {
            match name.as_str() {
                "--help" | "-h" => asked.help = true,
                "--open" => asked.open = true,
                "--fresh" => asked.fresh = true,
                "--state" => asked.state = Some(arguments.next().ok_or("--state needs a folder")?),
                "--browser" => {
                    let program = arguments.next().ok_or("--browser needs a program")?;
                    asked.browser = Some(program);
                    asked.open = true;
                }
                _ => return Err(format!("{name} is not an option; --help lists them")),
            }
        }
        Ok(asked)
    }
}

/// Where the two servers are.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Settings {
    pub(crate) gateway: SocketAddr,
    pub(crate) manage: SocketAddr,
    pub(crate) public: Origin,
}

/// An address to listen on, and the setting that changes it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) address: SocketAddr,
    pub(crate) what: &'static str,
    pub(crate) setting: &'static str,
}

impl Settings {
    /// Reads the environment through `variable`.
    pub(crate) fn read(variable: impl Fn(&str) -> Option<String>) -> Result<Self, String> {
        let text =
            |name: &str, otherwise: &str| variable(name).unwrap_or_else(|| otherwise.to_owned());
        let listen = text("GATEWAY_LISTEN", "127.0.0.1:9090");
        let Ok(gateway) = listen.parse::<SocketAddr>() else {
            return Err(format!(
                "GATEWAY_LISTEN={listen:?} is not an address and port such as 127.0.0.1:9091"
            ));
        };
        let address = text("ROCKET_ADDRESS", "127.0.0.1");
        let Ok(address) = address.parse::<IpAddr>() else {
            return Err(format!("ROCKET_ADDRESS={address:?} is not an IP address"));
        };
        let port = text("ROCKET_PORT", "8080");
        let Ok(port) = port.parse::<u16>() else {
            return Err(format!("ROCKET_PORT={port:?} is not a port"));
        };
        for (name, port) in [("GATEWAY_LISTEN", gateway.port()), ("ROCKET_PORT", port)] {
            if port == 0 {
                return Err(format!(
                    "{name}: port 0 means any free port, but the extension must know which"
                ));
            }
        }
        let public = text("MANAGE_PUBLIC_URL", &format!("http://localhost:{port}"));
        let public = Origin::parse(public.strip_suffix('/').unwrap_or(&public))
            .map_err(|error| format!("MANAGE_PUBLIC_URL: {error}"))?;
        Ok(Self {
            gateway,
            manage: SocketAddr::new(address, port),
            public,
        })
    }

    /// The address that the extension sends to.
    pub(crate) fn gateway_url(&self) -> String {
        format!("http://{}/do", here(self.gateway))
    }

    /// Whether the shipped extension works with these, which knows `origins`.
    pub(crate) fn shipped_fits(&self, origins: &[Origin]) -> bool {
        origins.contains(&self.public) && self.gateway_url() == DEFAULT_GATEWAY
    }

    /// Everything that must be free. A browser tries `localhost` on IPv6 first, so another
    /// program there would be met instead of manage.
    pub(crate) fn places(&self) -> Vec<Place> {
        let place = |address, what, setting| Place {
            address,
            what,
            setting,
        };
        let manage = "ROCKET_PORT, such as ROCKET_PORT=8081";
        let mut places = vec![
            place(
                self.gateway,
                "the gateway",
                "GATEWAY_LISTEN, such as GATEWAY_LISTEN=127.0.0.1:9091",
            ),
            place(self.manage, "manage", manage),
        ];
        if self.manage.is_ipv4() && self.public.as_str().starts_with("http://localhost:") {
            let twin = SocketAddr::new(Ipv6Addr::LOCALHOST.into(), self.manage.port());
            places.push(place(twin, "manage", manage));
        }
        places
    }
}

/// An address at which this machine reaches a listener.
pub(crate) fn here(listener: SocketAddr) -> SocketAddr {
    let address = match listener.ip() {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(Ipv6Addr::UNSPECIFIED) => Ipv6Addr::LOCALHOST.into(),
        address => address,
    };
    SocketAddr::new(address, listener.port())
}

#[cfg(test)]
mod tests {
    use super::{Arguments, Settings};
    use extension::stamp::{manage_origins, read_manifest};
    use extension::workspace;

    fn settings(pairs: &[(&str, &str)]) -> Result<Settings, String> {
        Settings::read(|name| {
            let mut pairs = pairs.iter();
            pairs
                .find(|(n, _)| *n == name)
                .map(|(_, v)| (*v).to_owned())
        })
    }

    #[test]
    fn addresses() {
        let origins = manage_origins(&read_manifest(&workspace::unpacked()).unwrap()).unwrap();
        for (name, pairs, gateway, public, shipped) in [
            (
                "shipped",
                &[][..],
                "http://127.0.0.1:9090/do",
                "http://localhost:8080",
                true,
            ),
            (
                "the forebear's name",
                &[("MANAGE_PUBLIC_URL", "http://manage-breast-screening:8080/")],
                "http://127.0.0.1:9090/do",
                "http://manage-breast-screening:8080",
                true,
            ),
            (
                "another port of manage",
                &[("ROCKET_PORT", "8081")],
                "http://127.0.0.1:9090/do",
                "http://localhost:8081",
                false,
            ),
            (
                "another port of the gateway",
                &[("GATEWAY_LISTEN", "127.0.0.1:9091")],
                "http://127.0.0.1:9091/do",
                "http://localhost:8080",
                false,
            ),
            (
                "every address",
                &[("GATEWAY_LISTEN", "0.0.0.0:9090"), ("ROCKET_ADDRESS", "::")],
                "http://127.0.0.1:9090/do",
                "http://localhost:8080",
                true,
            ),
            (
                "IPv6",
                &[("GATEWAY_LISTEN", "[::1]:9090")],
                "http://[::1]:9090/do",
                "http://localhost:8080",
                false,
            ),
        ] {
            let settings = settings(pairs).unwrap();
            assert_eq!(settings.gateway_url(), gateway, "{name}");
            assert_eq!(settings.public.as_str(), public, "{name}");
            assert_eq!(settings.shipped_fits(&origins), shipped, "{name}");
        }
    }

    #[test]
    fn nonsense_is_named() {
        for (name, value, expected) in [
            (
                "GATEWAY_LISTEN",
                "9091",
                "GATEWAY_LISTEN=\"9091\" is not an address and port such as 127.0.0.1:9091",
            ),
            (
                "GATEWAY_LISTEN",
                "127.0.0.1:0",
                "GATEWAY_LISTEN: port 0 means any free port, but the extension must know which",
            ),
            (
                "ROCKET_ADDRESS",
                "localhost",
                "ROCKET_ADDRESS=\"localhost\" is not an IP address",
            ),
            (
                "ROCKET_PORT",
                "80800",
                "ROCKET_PORT=\"80800\" is not a port",
            ),
            (
                "ROCKET_PORT",
                "0",
                "ROCKET_PORT: port 0 means any free port, but the extension must know which",
            ),
            (
                "MANAGE_PUBLIC_URL",
                "localhost",
                "MANAGE_PUBLIC_URL: \"localhost\" is not an origin: it must begin with http:// or https://",
            ),
        ] {
            assert_eq!(
                settings(&[(name, value)]),
                Err(expected.to_owned()),
                "{name}={value}"
            );
        }
    }

    #[test]
    fn what_must_be_free() {
        let addresses = |pairs: &[_]| -> Vec<String> {
            let places = settings(pairs).unwrap().places();
            places
                .iter()
                .map(|place| place.address.to_string())
                .collect()
        };
        assert_eq!(
            addresses(&[]),
            ["127.0.0.1:9090", "127.0.0.1:8080", "[::1]:8080"]
        );
        assert_eq!(
            addresses(&[("MANAGE_PUBLIC_URL", "http://manage-breast-screening:8080")]),
            ["127.0.0.1:9090", "127.0.0.1:8080"]
        );
        assert_eq!(
            addresses(&[("ROCKET_ADDRESS", "::1")]),
            ["127.0.0.1:9090", "[::1]:8080"]
        );
    }

    #[test]
    fn arguments() {
        let parse =
            |arguments: &[&str]| Arguments::parse(arguments.iter().map(|a| (*a).to_owned()));
        assert_eq!(parse(&[]), Ok(Arguments::default()));
        assert!(parse(&["--help"]).unwrap().help);
        assert!(parse(&["--open"]).unwrap().open);
        assert!(parse(&["--fresh"]).unwrap().fresh);
        let state = parse(&["--state", "/s"]).unwrap().state;
        assert_eq!(state.as_deref(), Some("/s"));
        assert_eq!(
            parse(&["--state"]),
            Err("--state needs a folder".to_owned())
        );
        let browser = parse(&["--browser", "/b"]).unwrap();
        assert!(browser.open);
        assert_eq!(browser.browser.as_deref(), Some("/b"));
        assert_eq!(
            parse(&["--browser"]),
            Err("--browser needs a program".to_owned())
        );
        assert_eq!(
            parse(&["open"]),
            Err("open is not an option; --help lists them".to_owned())
        );
    }
}
