//! `stamp`: a copy of the extension for other manage origins, ready to be packed. Refuses
//! what the library's `stamp` refuses, and any argument that it does not know.

use std::{
    io::{self, Write as _},
    path::{Path, PathBuf},
    process::ExitCode,
};

use extension::{
    stamp::{GatewayUrl, Origin, Stamp, extension_id, read_manifest, stamp},
    workspace,
};

const HELP: &str = "\
Makes a copy of the extension that works on other pages, ready to be packed.

  cargo run -p extension --bin stamp -- --manage ORIGIN… --out FOLDER [options]

  --manage ORIGIN    where it works, such as https://manage.example; may be repeated
  --out FOLDER       where the copy goes; must not exist, or be empty
  --gateway URL      the standard address of the gateway; the shipped one is
                     http://127.0.0.1:9090/do (IT policy and options still go before it)
  --update-url URL   where browsers ask for updates of a self-hosted package
  --without-key      leaves out the fixed key: the id comes from the key it is packed with,
                     or from the store
";

/// What was asked for.
#[derive(Debug, Default)]
struct Asked {
    stamp: Stamp,
    out: PathBuf,
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (told, code) = match run(&arguments) {
        Ok(told) => (told, ExitCode::SUCCESS),
        Err(trouble) => (format!("stamp: {trouble}\n"), ExitCode::from(64)),
    };
    let mut output: Box<dyn io::Write> = if code == ExitCode::SUCCESS {
        Box::new(io::stdout())
    } else {
        Box::new(io::stderr())
    };
    // Where nobody reads any more there is nobody to tell.
    output.write_all(told.as_bytes()).unwrap_or_default();
    code
}

fn run(arguments: &[String]) -> Result<String, String> {
    if arguments.is_empty() || arguments.iter().any(|argument| argument == "--help") {
        return Ok(HELP.to_owned());
    }
    let asked = read(arguments)?;
    stamp(&workspace::unpacked(), &asked.out, &asked.stamp).map_err(|error| error.to_string())?;
    Ok(format!("{}\n{}", asked.out.display(), id_line(&asked.out)?))
}

fn read(arguments: &[String]) -> Result<Asked, String> {
    let mut asked = Asked::default();
    let mut arguments = arguments.iter();
    while let Some(name) = arguments.next() {
        let mut value = || {
            arguments
                .next()
                .ok_or_else(|| format!("{name} needs a value"))
        };
        match name.as_str() {
            "--manage" => {
                let origin = Origin::parse(value()?).map_err(|error| error.to_string())?;
                asked.stamp.manage.push(origin);
            }
            "--gateway" => {
                let url = GatewayUrl::parse(value()?).map_err(|error| error.to_string())?;
                asked.stamp.gateway = Some(url);
            }
            "--out" => asked.out = PathBuf::from(value()?),
            "--update-url" => asked.stamp.update_url = Some(value()?.clone()),
            "--without-key" => asked.stamp.without_key = true,
            _ => return Err(format!("{name} is not an option; --help lists them")),
        }
    }
    if asked.out.as_os_str().is_empty() {
        return Err("--out is missing".to_owned());
    }
    Ok(asked)
}

fn id_line(out: &Path) -> Result<String, String> {
    let manifest = read_manifest(out).map_err(|error| error.to_string())?;
    if manifest.get("key").is_none() {
        return Ok("its id comes from the key that it is packed with, or from the store\n".into());
    }
    let id = extension_id(&manifest).map_err(|error| error.to_string())?;
    Ok(format!(
        "the gateway allows it with GATEWAY_ORIGINS=chrome-extension://{id}\n"
    ))
}

#[cfg(test)]
mod tests {
    use super::run;

    fn told(arguments: &[&str]) -> Result<String, String> {
        let arguments: Vec<String> = arguments.iter().map(|a| (*a).to_owned()).collect();
        run(&arguments)
    }

    #[test]
    fn arguments() {
        for (arguments, expected) in [
            (&["--manage"][..], "--manage needs a value"),
            (&["--manage", "https://m.example"], "--out is missing"),
            (&["--out", "x"], "no manage origin was named"),
            (
                &["--everywhere"],
                "--everywhere is not an option; --help lists them",
            ),
            (
                &["--out", "x", "--manage", "https://*.example"],
                "\"https://*.example\" is not an origin: it must name one origin, without a wildcard",
            ),
        ] {
            assert_eq!(told(arguments), Err(expected.to_owned()), "{arguments:?}");
        }
        assert!(told(&[]).unwrap().contains("--without-key"));
        assert_eq!(told(&[]), told(&["--help"]));
    }

    #[test]
    fn a_copy_and_its_id_are_told() {
        let folder = tempfile::tempdir().unwrap();
        let out = |name: &str| folder.path().join(name).display().to_string();
        let with = told(&["--manage", "https://m.example", "--out", &out("with")]).unwrap();
        assert_eq!(
            with,
            format!(
                "{}\nthe gateway allows it with GATEWAY_ORIGINS=chrome-extension://eamiakabbepiegmmefkjgpepofelohap\n",
                out("with")
            )
        );
        let without = told(&[
            "--manage",
            "https://m.example",
            "--without-key",
            "--out",
            &out("without"),
        ]);
        assert!(without.unwrap().ends_with("or from the store\n"));
    }
}
