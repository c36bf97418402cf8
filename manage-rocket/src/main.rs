//! The program: serves, or makes a key pair. It reads the environment, installs the logger
//! before Rocket can install its own, and says in one line why it cannot start, with a
//! `sysexits` code: 64 for a wrong command, 69 for an address that is taken, 78 for a
//! setting, 70 for the rest.

use std::{
    fmt,
    io::{self, Write as _},
    path::Path,
    process::ExitCode,
};

use ::rocket::{config::Config as Server, error::ErrorKind, figment::providers::Env};
use manage_rocket::{
    Config,
    config::Build,
    keygen::{self, Pair},
    logger, rocket, server_defaults,
};

const USAGE: u8 = 64;
const UNAVAILABLE: u8 = 69;
const SOFTWARE: u8 = 70;
const CONFIG: u8 = 78;

const HELP: &str = "\
manage-rocket                           serve (settings: see README.md)
manage-rocket keygen <folder>           make message-private.pem and message-public.pem there
manage-rocket keygen <folder> session   make session-private.pem and session-public.pem there
manage-rocket --help                    this text
";

/// Why the program ends: a code for the system, a line for people.
struct Failure(u8, String);

fn failure(code: u8) -> impl FnOnce(&dyn fmt::Display) -> Failure {
    move |problem| Failure(code, problem.to_string())
}

/// Writes to standard output; that nobody reads it is no failure of ours.
fn print(text: &str) {
    io::stdout().write_all(text.as_bytes()).ok();
}

/// A setting of Rocket's that is wrong, by the name it has in the environment.
fn rockets_setting(error: &::rocket::figment::Error) -> Failure {
    let name = error.path.join("_").to_uppercase();
    Failure(CONFIG, format!("ROCKET_{name} is wrong: {}", error.kind))
}

/// Refuses the settings of Rocket's that it would pass over in silence: those it knows
/// nothing of, and TLS, without which it would serve plain HTTP.
fn check_rockets_settings() -> Result<(), Failure> {
    // PROFILE is ignored, whatever it is; the other one is missing from Rocket's own list.
    let more = ["profile", "proxy_proto_header"];
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy();
        let problem = match name.strip_prefix("ROCKET_").map(str::to_ascii_lowercase) {
            None => continue,
            Some(known) if known == Server::TLS => {
                "is set, but this version has no TLS of its own: put a proxy in front"
            }
            Some(known) if Server::PARAMETERS.iter().chain(&more).any(|p| *p == known) => continue,
            Some(_) => "is not a setting of this version",
        };
        return Err(Failure(CONFIG, format!("{name} {problem}")));
    }
    Ok(())
}

async fn serve() -> Result<(), Failure> {
    let config = Config::from_vars(std::env::vars_os(), Build::this())
        .map_err(|error| failure(CONFIG)(&error))?;
    check_rockets_settings()?;
    logger::install();
    log::info!(target: logger::TARGET,
        "manage-rocket {}: {} on {:?}, key {}",
        env!("CARGO_PKG_VERSION"),
        config.public_url.origin(),
        config.database,
        config.key.kid()
    );
    if !config.public_url.is_confidential() {
        log::warn!(
            target: logger::TARGET,
            "MANAGE_PUBLIC_URL is plain HTTP: names and sessions can be read on the way"
        );
    }
    let server = server_defaults().merge(Env::prefixed("ROCKET_").ignore(&["PROFILE"]).global());
    let listen = Server::try_from(&server).map_err(|error| rockets_setting(&error))?;
    let (address, port) = (listen.address, listen.port);
    let rocket = rocket(config, server)
        .await
        .map_err(|error| failure(CONFIG)(&error))?;
    match rocket.launch().await {
        Ok(_stopped) => Ok(()),
        Err(error) => Err(match error.kind() {
            ErrorKind::Bind(cause) => Failure(
                UNAVAILABLE,
                format!(
                    "cannot listen on {address}, port {port}: {cause}; ROCKET_PORT sets another port"
                ),
            ),
            kind => failure(SOFTWARE)(kind),
        }),
    }
}

fn make_keys(folder: &str, pair: Pair) -> Result<(), Failure> {
    let kid = keygen::keygen(Path::new(folder), pair).map_err(|error| failure(SOFTWARE)(&error))?;
    print(&format!("{kid}\n"));
    Ok(())
}

fn main() -> ExitCode {
    let arguments = std::env::args_os().skip(1);
    let arguments: Option<Vec<String>> = arguments.map(|text| text.into_string().ok()).collect();
    let arguments: Option<Vec<&str>> = arguments
        .as_ref()
        .map(|arguments| arguments.iter().map(String::as_str).collect());
    let done = match arguments.as_deref() {
        None => Err(Failure(USAGE, "an argument is not UTF-8".to_owned())),
        Some([]) => ::rocket::execute(serve()),
        Some(["keygen", folder]) => make_keys(folder, Pair::Message),
        Some(["keygen", folder, "session"]) => make_keys(folder, Pair::Session),
        Some(["--help" | "-h"]) => {
            print(HELP);
            Ok(())
        }
        Some(_) => Err(Failure(USAGE, format!("unknown command\n{HELP}"))),
    };
    log::logger().flush();
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure(code, problem)) => {
            writeln!(io::stderr(), "manage-rocket: {problem}").ok();
            ExitCode::from(code)
        }
    }
}
