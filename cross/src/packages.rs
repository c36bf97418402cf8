//! What `cross/package.sh` made: the list of targets, and the programs in their packages.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
};

use crate::Folder;

/// A line of `cross/targets`.
#[derive(Debug)]
pub struct Target {
    /// As rustc names it.
    pub name: &'static str,
    /// The architecture of its Debian package.
    pub package: &'static str,
    /// Its user-mode emulator, and the least processor that it must run on.
    pub emulator: [&'static str; 2],
}

impl Target {
    /// All of them.
    #[must_use]
    pub fn all() -> Vec<Self> {
        let lines = include_str!("../targets").lines();
        lines
            .filter(|line| !line.starts_with('#'))
            .map(|line| {
                let mut columns = line.split_ascii_whitespace();
                let mut next = || columns.next().expect("a column of cross/targets");
                let [name, package, _compiler, emulator, cpu] = std::array::from_fn(|_| next());
                Self {
                    name,
                    package,
                    emulator: [emulator, cpu],
                }
            })
            .collect()
    }

    /// One of them.
    #[must_use]
    pub fn named(name: &str) -> Self {
        let mut all = Self::all().into_iter();
        all.find(|target| target.name == name)
            .unwrap_or_else(|| panic!("cross/targets has no {name}"))
    }
}

/// A package, unpacked as it would be on a board but for its scripts.
#[derive(Debug)]
pub struct Package {
    folder: Folder,
}

impl Package {
    /// The Debian package of a target.
    #[must_use]
    pub fn debian(target: &Target) -> Self {
        let version = env!("CARGO_PKG_VERSION");
        // Two of them are armhf, and the version tells them apart.
        let suffix = if target.name.starts_with("arm-") {
            "+armv6"
        } else {
            ""
        };
        let name = format!("gateway-min_{version}{suffix}_{}.deb", target.package);
        let folder = Folder::new();
        run(Command::new("dpkg-deb")
            .arg("-x")
            .arg(made(&name))
            .arg(folder.path()));
        Self { folder }
    }

    /// The tarball of a target.
    #[must_use]
    pub fn tarball(target: &Target) -> Self {
        let version = env!("CARGO_PKG_VERSION");
        let name = format!("gateway-min-{version}-{}.tar.gz", target.name);
        let folder = Folder::new();
        run(Command::new("tar")
            .args(["-x", "--strip-components=1", "-f"])
            .arg(made(&name))
            .arg("-C")
            .arg(folder.path()));
        Self { folder }
    }

    /// A file in it, which is there.
    #[must_use]
    pub fn file(&self, path: &str) -> PathBuf {
        let path = self.folder.path().join(path);
        assert!(path.is_file(), "{} is missing", path.display());
        path
    }

    /// The gateway.
    #[must_use]
    pub fn program(&self) -> PathBuf {
        self.file("usr/bin/gateway-min")
    }
}

/// A file that `cross/package.sh` made.
fn made(name: &str) -> PathBuf {
    let path = built().join("packages").join(name);
    assert!(
        path.is_file(),
        "{} is missing: run cross/package.sh",
        path.display()
    );
    path
}

/// What `cross/kernel.sh` brought.
pub(crate) fn kernel() -> PathBuf {
    let path = built().join("kernel");
    assert!(
        path.join("complete").is_file(),
        "{} is missing: run cross/kernel.sh",
        path.display()
    );
    path
}

/// Where the scripts of `cross/` put what they make.
#[expect(
    clippy::disallowed_methods,
    reason = "the scripts go by the same variable"
)]
fn built() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let target = env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into());
    root.join(target).join("cross")
}

pub(crate) fn run(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(
        output.status.success(),
        "{command:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}
