//! Where the workspace is, and building its binaries with the cargo that runs us.

use std::{
    ffi::OsStr,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use serde_json::Value;

/// The folder of the workspace.
#[must_use]
pub fn root() -> PathBuf {
    let member = Path::new(env!("CARGO_MANIFEST_DIR"));
    member.parent().unwrap_or(member).to_owned()
}

/// The extension as it is loaded in a browser.
#[must_use]
pub fn unpacked() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("unpacked")
}

/// Builds one binary and says where it is. cargo's messages go to standard error.
///
/// Each package is built alone: together, cargo would unify the features of what they
/// share, and the binary would not be the one that is shipped.
///
/// # Errors
/// A sentence for a person: cargo could not be started, or the build failed.
pub fn build(cargo: &OsStr, package: &str, binary: &str) -> Result<PathBuf, String> {
    let output = Command::new(cargo)
        .current_dir(root())
        .args(["build", "--package", package, "--bin", binary])
        .arg("--message-format=json-render-diagnostics")
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| format!("cargo could not be started: {error}"))?;
    if !output.status.success() {
        return Err(format!("building {binary} failed ({})", output.status));
    }
    executable(&output.stdout, binary)
        .ok_or_else(|| format!("cargo did not say where it put {binary}"))
}

fn executable(messages: &[u8], binary: &str) -> Option<PathBuf> {
    messages
        .split(|&byte| byte == b'\n')
        .filter_map(|line| serde_json::from_slice::<Value>(line).ok())
        .filter(|message| message["target"]["name"] == binary)
        .find_map(|message| message["executable"].as_str().map(PathBuf::from))
}

#[cfg(test)]
mod tests {
    use super::executable;
    use std::path::Path;

    #[test]
    fn the_executable_is_read_from_cargos_messages() {
        let messages = br#"
{"reason":"compiler-artifact","target":{"name":"other"},"executable":"/t/other"}
{"reason":"compiler-artifact","target":{"name":"demo"},"executable":null}
not json
{"reason":"compiler-artifact","target":{"name":"demo"},"executable":"/t/demo"}
{"reason":"build-finished","success":true}"#;
        assert_eq!(
            executable(messages, "demo").as_deref(),
            Some(Path::new("/t/demo"))
        );
        assert_eq!(executable(messages, "absent"), None);
    }
}
