//! Finding an installed browser that still takes unpacked extensions from its command
//! line or its debugging pipe. Branded Google Chrome is not among them: since version
//! 137 it ignores `--load-extension`, and we have not run it any other way.

use std::{
    ffi::OsStr,
    path::{Path, PathBuf},
};

/// Names to look for in `PATH`, the best known first. All but the first two are read
/// from their makers' packages, not run.
pub const NAMES: &[&str] = &[
    "chromium",
    "chromium-browser",
    "google-chrome-for-testing",
    "chrome-for-testing",
    "brave-browser",
    "brave",
    "microsoft-edge-stable",
    "microsoft-edge",
    "vivaldi-stable",
];

/// Where macOS keeps them, under `/Applications` or the same folder of a person.
pub const APPLICATIONS: &[&str] = &[
    "Chromium.app/Contents/MacOS/Chromium",
    "Google Chrome for Testing.app/Contents/MacOS/Google Chrome for Testing",
    "Brave Browser.app/Contents/MacOS/Brave Browser",
    "Microsoft Edge.app/Contents/MacOS/Microsoft Edge",
    "Vivaldi.app/Contents/MacOS/Vivaldi",
];

/// The first installed one: in the folders of `path` (the value of `PATH`), then in the
/// folders of applications.
#[must_use]
pub fn find(path: &OsStr, applications: &[PathBuf]) -> Option<PathBuf> {
    let folders: Vec<PathBuf> = std::env::split_paths(path).collect();
    let in_path = NAMES.iter().flat_map(|name| beneath(&folders, name));
    let in_applications = APPLICATIONS
        .iter()
        .flat_map(|name| beneath(applications, name));
    in_path.chain(in_applications).find(|file| file.is_file())
}

/// The program of that name: a path as it stands, a plain name in the folders of `path`.
#[must_use]
pub fn program(path: &OsStr, name: &str) -> Option<PathBuf> {
    let folders: Vec<PathBuf> = if name.contains(std::path::MAIN_SEPARATOR) {
        vec![PathBuf::new()]
    } else {
        std::env::split_paths(path).collect()
    };
    beneath(&folders, name).find(|file| file.is_file())
}

fn beneath(folders: &[PathBuf], name: &str) -> impl Iterator<Item = PathBuf> {
    let name = Path::new(name).to_owned();
    folders.iter().map(move |folder| folder.join(&name))
}

#[cfg(test)]
mod tests {
    use super::{find, program};
    use std::{ffi::OsStr, fs::File, path::Path};

    fn touch(path: &Path) {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        File::create(path).unwrap();
    }

    #[test]
    fn the_first_name_wins_over_the_first_folder() {
        let folder = tempfile::tempdir().unwrap();
        let (one, two) = (folder.path().join("one"), folder.path().join("two"));
        touch(&one.join("brave-browser"));
        touch(&two.join("chromium"));
        let path = std::env::join_paths([&one, &two]).unwrap();
        assert_eq!(find(&path, &[]), Some(two.join("chromium")));
    }

    #[test]
    fn a_plain_name_is_looked_for_and_a_path_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("browser");
        touch(&file);
        let path = folder.path().as_os_str();
        for (name, expected) in [
            ("browser", Some(&file)),
            (file.to_str().unwrap(), Some(&file)),
            ("./browser", None),
            ("another", None),
            (folder.path().to_str().unwrap(), None),
        ] {
            assert_eq!(program(path, name).as_ref(), expected, "{name}");
        }
    }

    #[test]
    fn applications_come_after_the_path() {
        let folder = tempfile::tempdir().unwrap();
        let app = folder.path().join("Chromium.app/Contents/MacOS/Chromium");
        touch(&app);
        let applications = [folder.path().to_owned()];
        assert_eq!(find(OsStr::new(""), &applications), Some(app));
        assert_eq!(find(OsStr::new(""), &[]), None);
    }
}
