//! Opening files as if someone were trying: this file and `folder` alone open any.
//!
//! A file is believed only where nobody but root and the service's own user can change it:
//! it is a regular file, it and its folder belong to one of the two, neither is writable by
//! group or others (a sticky folder such as `/tmp` is), and it is not longer than its
//! reader is willing to hold. The checks are made on the opened file, so that it cannot be
//! exchanged between check and use. Where the file, or its folder, is reached by a
//! link, the link's owner and the folders of both ends are asked too: who can change the
//! link chooses the file.
//!
//! [`look`] tells whether something there may have changed since, without reading it.

use std::{
    fs::{self, File, Metadata},
    io::{self, ErrorKind, Read},
    os::{fd::OwnedFd, unix::fs::MetadataExt},
    path::{Path, PathBuf},
    prelude::v1::*,
};

use super::exit::{Code, Stop};

#[cfg(feature = "journal")]
pub(crate) mod folder;

/// Group's and others' write permission.
const WRITABLE_BY_OTHERS: u32 = 0o022;
/// Others' read permission; a group can be the service's own.
const READABLE_BY_ALL: u32 = 0o004;
/// In a sticky folder only the owner of a file can rename or remove it.
const STICKY: u32 = 0o1000;
/// Most links that are followed, as Linux has it.
const MAX_LINKS: usize = 40;

/// The bytes of a file that the setting `name` points at, at most `max` of them.
///
/// # Errors
/// [`Stop`] that names the setting and the file.
pub(crate) fn read_guarded(name: &str, path: &Path, max: usize) -> Result<Vec<u8>, Stop> {
    read(name, path, max, false)
}

/// Likewise of a file with a secret: one that everybody may read is none, and refused.
///
/// # Errors
/// [`Stop`] that names the setting and the file.
#[cfg(feature = "tls")]
pub(crate) fn read_secret(name: &str, path: &Path, max: usize) -> Result<Vec<u8>, Stop> {
    read(name, path, max, true)
}

fn read(name: &str, path: &Path, max: usize, secret: bool) -> Result<Vec<u8>, Stop> {
    let refuse =
        |code, what: String| Stop::new(code, format!("{name}: {}: {what}", path.display()));
    let no_input = |error: io::Error| refuse(Code::NoInput, error.to_string());
    // Asked before opening, because opening a FIFO would wait for a writer.
    if !fs::metadata(path).map_err(no_input)?.is_file() {
        return Err(refuse(Code::NoInput, "not a regular file".to_owned()));
    }
    let own = own_uid().map_err(|error| refuse(Code::Os, error.to_string()))?;
    let mut links = MAX_LINKS;
    let real = follow(path, own, &mut links).map_err(|(code, what)| refuse(code, what))?;
    let file = File::open(&real).map_err(no_input)?;
    let meta = file.metadata().map_err(no_input)?;
    if !meta.is_file() {
        return Err(refuse(Code::NoInput, "not a regular file".to_owned()));
    }
    if let Some(fault) = fault(meta.uid(), meta.mode(), own, false) {
        return Err(refuse(Code::NoPermission, fault));
    }
    if secret && meta.mode() & READABLE_BY_ALL != 0 {
        let mode = meta.mode() & 0o7777;
        let fault =
            format!("has mode {mode:04o}: everybody can read it; take that away with chmod o-r");
        return Err(refuse(Code::NoPermission, fault));
    }
    let mut bytes = Vec::new();
    let limit = u64::try_from(max).unwrap_or(u64::MAX).saturating_add(1);
    file.take(limit)
        .read_to_end(&mut bytes)
        .map_err(|error| refuse(Code::Io, error.to_string()))?;
    if bytes.len() > max {
        return Err(refuse(Code::Data, format!("longer than {max} bytes")));
    }
    Ok(bytes)
}

/// What the system allows this process, where it tells (Linux).
pub(crate) fn own_limits() -> Option<String> {
    fs::read_to_string("/proc/self/limits").ok()
}

/// Where `path` leads. Judges the folder that it is in, and where that folder or `path`
/// itself is a link, the link's owner and the same of what it leads to; at most `links` of
/// them.
fn follow(path: &Path, own: u32, links: &mut usize) -> Result<PathBuf, (Code, String)> {
    let no_input = |error: io::Error| (Code::NoInput, error.to_string());
    let is_link = |path: &Path| fs::symlink_metadata(path).map(|meta| meta.is_symlink());
    let mut folder = parent(path).to_path_buf();
    if is_link(&folder).map_err(no_input)? {
        folder = follow(&folder, own, links)?;
    }
    let meta = fs::metadata(&folder).map_err(no_input)?;
    if let Some(fault) = fault(meta.uid(), meta.mode(), own, true) {
        let what = format!("its folder {} {fault}", folder.display());
        return Err((Code::NoPermission, what));
    }
    let meta = fs::symlink_metadata(path).map_err(no_input)?;
    if !meta.is_symlink() {
        return Ok(path.to_path_buf());
    }
    // A link's own mode means nothing.
    if let Some(fault) = fault(meta.uid(), 0, own, false) {
        let what = format!("the link {} {fault}", path.display());
        return Err((Code::NoPermission, what));
    }
    *links = links
        .checked_sub(1)
        .ok_or_else(|| (Code::NoInput, "too many links".to_owned()))?;
    let target = fs::read_link(path).map_err(no_input)?;
    follow(&folder.join(target), own, links)
}

/// The files of a folder in the order of their names; names that begin with a dot are left
/// out (editors' and orchestrators' own files).
///
/// # Errors
/// [`Stop`] that names the setting and the folder.
pub(crate) fn list(name: &str, folder: &Path) -> Result<Vec<PathBuf>, Stop> {
    let no_input = |error: io::Error| {
        Stop::new(
            Code::NoInput,
            format!("{name}: {}: {error}", folder.display()),
        )
    };
    entries(folder).map_err(no_input)
}

fn entries(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if !entry.file_name().as_encoded_bytes().starts_with(b".") {
            paths.push(entry.path());
        }
    }
    paths.sort();
    Ok(paths)
}

/// How a file, or a folder with its files, stood when it was looked at. Two that are equal
/// say that nothing happened in between, but for what the file system's clock is too
/// coarse to tell apart.
#[derive(PartialEq, Eq, Debug)]
pub(crate) struct Sight {
    itself: Result<Stamp, ErrorKind>,
    /// Owner and mode of the folder around it, by which it is believed or not.
    around: Result<(u32, u32), ErrorKind>,
    inside: Vec<(PathBuf, Result<Stamp, ErrorKind>)>,
}

/// Changes when a file is exchanged, written, or given to somebody.
#[derive(PartialEq, Eq, Debug)]
struct Stamp {
    device: u64,
    inode: u64,
    len: u64,
    owner: u32,
    mode: u32,
    /// Seconds and nanoseconds, as all times here.
    modified: (i64, i64),
    /// When content, owner, mode or name changed; nobody can set it back.
    changed: (i64, i64),
}

impl Stamp {
    fn of(path: &Path) -> Result<Self, ErrorKind> {
        let meta = fs::metadata(path).map_err(|error| error.kind())?;
        Ok(Self {
            device: meta.dev(),
            inode: meta.ino(),
            len: meta.len(),
            owner: meta.uid(),
            mode: meta.mode(),
            modified: (meta.mtime(), meta.mtime_nsec()),
            changed: (meta.ctime(), meta.ctime_nsec()),
        })
    }
}

/// Looks at a file, or at a folder and each file that [`list`] finds in it, through links.
pub(crate) fn look(path: &Path) -> Sight {
    let owner_and_mode = |meta: Metadata| (meta.uid(), meta.mode());
    // What is no folder, or cannot be listed, has its stamp alone.
    let inside = entries(path).unwrap_or_default().into_iter();
    Sight {
        itself: Stamp::of(path),
        around: fs::metadata(parent(path))
            .map(owner_and_mode)
            .map_err(|error| error.kind()),
        inside: inside
            .map(|file| {
                let stamp = Stamp::of(&file);
                (file, stamp)
            })
            .collect(),
    }
}

/// The folder that holds `path`.
pub(crate) fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

/// Why others could change what this is about, in words that follow its name.
fn fault(owner: u32, mode: u32, own: u32, folder: bool) -> Option<String> {
    let mode = mode & 0o7777;
    if owner != 0 && owner != own {
        Some(format!(
            "belongs to user {owner}: it must belong to root or to user {own}, who runs the gateway"
        ))
    } else if mode & WRITABLE_BY_OTHERS != 0 && !(folder && mode & STICKY != 0) {
        Some(format!(
            "has mode {mode:04o}: others can change it; take that away with chmod go-w"
        ))
    } else {
        None
    }
}

/// The user this process runs as: who owns a pipe that it makes. The standard library has
/// no other way to ask.
fn own_uid() -> io::Result<u32> {
    let (reader, _writer) = io::pipe()?;
    Ok(File::from(OwnedFd::from(reader)).metadata()?.uid())
}

#[cfg(test)]
pub(super) mod tests {
    use std::{
        env, fs,
        os::unix::fs::{MetadataExt, PermissionsExt, lchown, symlink},
        path::PathBuf,
        prelude::v1::*,
        process,
    };

    use super::{Code, fault, list, look, own_uid, read_guarded};

    /// A folder of one test's own, removed with it.
    pub(in crate::daemon) struct Folder(pub(in crate::daemon) PathBuf);

    impl Folder {
        pub(in crate::daemon) fn new(name: &str) -> Self {
            let path = env::temp_dir().join(format!("gateway-files-{name}-{}", process::id()));
            fs::create_dir(&path).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).unwrap();
            Self(path)
        }

        #[expect(clippy::disallowed_methods, reason = "a test's own file")]
        pub(in crate::daemon) fn file(&self, name: &str, text: &str, mode: u32) -> PathBuf {
            let path = self.0.join(name);
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            path
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            fs::remove_dir_all(&self.0).unwrap();
        }
    }

    #[test]
    fn a_pipe_belongs_to_whom_a_file_belongs() {
        let folder = Folder::new("uid");
        let path = folder.file("own", "", 0o600);
        assert_eq!(own_uid().unwrap(), fs::metadata(path).unwrap().uid());
    }

    #[test]
    fn only_files_that_nobody_else_can_change_are_read() {
        let folder = Folder::new("modes");
        for (mode, wanted) in [
            (0o600, None),
            (0o644, None),
            (0o444, None),
            (0o620, Some(Code::NoPermission)),
            (0o602, Some(Code::NoPermission)),
            (0o666, Some(Code::NoPermission)),
        ] {
            let path = folder.file(&format!("mode-{mode:o}"), "text", mode);
            let got = read_guarded("GATEWAY_KEYS", &path, 4);
            assert_eq!(got.as_ref().err().map(|stop| stop.code), wanted, "{mode:o}");
            if let Err(stop) = got {
                let line = &stop.lines[0];
                assert!(
                    line.contains("GATEWAY_KEYS") && line.contains("chmod go-w"),
                    "{line}"
                );
            }
        }
    }

    #[test]
    fn a_folder_that_others_can_change_is_not_believed_unless_sticky() {
        let folder = Folder::new("folder");
        let path = folder.file("key", "text", 0o600);
        for (mode, wanted) in [
            (0o755, None),
            (0o775, Some(Code::NoPermission)),
            (0o777, Some(Code::NoPermission)),
            (0o1777, None),
        ] {
            fs::set_permissions(&folder.0, fs::Permissions::from_mode(mode)).unwrap();
            let got = read_guarded("GATEWAY_KEYS", &path, 4);
            assert_eq!(got.err().map(|stop| stop.code), wanted, "{mode:o}");
        }
    }

    #[test]
    fn a_link_is_believed_where_its_target_would_be() {
        let folder = Folder::new("links");
        let inner = folder.0.join("inner");
        fs::create_dir(&inner).unwrap();
        folder.file("inner/key", "text", 0o600);
        symlink("inner/key", folder.0.join("link")).unwrap();
        symlink(folder.0.join("link"), folder.0.join("second")).unwrap();
        symlink("third", folder.0.join("third")).unwrap();
        symlink("inner", folder.0.join("folder")).unwrap();
        for (mode, wanted) in [(0o755, None), (0o777, Some(Code::NoPermission))] {
            fs::set_permissions(&inner, fs::Permissions::from_mode(mode)).unwrap();
            for link in ["link", "second", "folder/key"] {
                let got = read_guarded("GATEWAY_KEYS", &folder.0.join(link), 4);
                let code = got.as_ref().err().map(|stop| stop.code);
                assert_eq!(code, wanted, "{link} into {mode:o}");
                if let Err(stop) = got {
                    assert!(stop.lines[0].contains("inner"), "{:?}", stop.lines);
                }
            }
        }
        let stop = read_guarded("GATEWAY_KEYS", &folder.0.join("third"), 4).unwrap_err();
        assert_eq!(stop.code, Code::NoInput);
        // Only root can give a link away.
        if own_uid().unwrap() == 0 {
            fs::set_permissions(&inner, fs::Permissions::from_mode(0o755)).unwrap();
            for (link, path) in [("link", "link"), ("folder", "folder/key")] {
                lchown(folder.0.join(link), Some(12_345), None).unwrap();
                let stop = read_guarded("GATEWAY_KEYS", &folder.0.join(path), 4).unwrap_err();
                assert_eq!(stop.code, Code::NoPermission, "{path}");
                let words = format!("{link} belongs to user 12345");
                assert!(stop.lines[0].contains(&words), "{:?}", stop.lines);
            }
        }
    }

    #[test]
    fn what_is_no_short_regular_file_is_refused() {
        let folder = Folder::new("kinds");
        let long = folder.file("long", "12345", 0o600);
        for (path, wanted) in [
            (long, Code::Data),
            (folder.0.clone(), Code::NoInput),
            (folder.0.join("absent"), Code::NoInput),
            (PathBuf::from("/dev/null"), Code::NoInput),
        ] {
            let stop = read_guarded("GATEWAY_KEYS", &path, 4).unwrap_err();
            assert_eq!(stop.code, wanted, "{}", path.display());
        }
    }

    #[test]
    fn owner_and_mode_decide() {
        const OWN: u32 = 1000;
        for (owner, mode, folder, wanted) in [
            (0, 0o100_644, false, None),
            (OWN, 0o100_600, false, None),
            (1001, 0o100_600, false, Some("belongs to user 1001")),
            (0, 0o100_664, false, Some("has mode 0664")),
            (OWN, 0o101_666, false, Some("has mode 1666")),
            (0, 0o041_777, true, None),
            (1001, 0o041_777, true, Some("belongs to user 1001")),
            (OWN, 0o040_770, true, Some("has mode 0770")),
        ] {
            let got = fault(owner, mode, OWN, folder);
            let begins = |got: &String| wanted.is_some_and(|wanted| got.starts_with(wanted));
            assert_eq!(got.as_ref().map(begins), wanted.map(|_| true), "{got:?}");
        }
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "a test's own files")]
    fn a_look_tells_what_happened_since_the_last_one() {
        let folder = Folder::new("look");
        let inner = folder.0.join("keys");
        let mode = |path: &PathBuf, mode| {
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        };
        fs::create_dir(&inner).unwrap();
        mode(&inner, 0o700);
        let other = folder.file("other", "same", 0o600);
        let file = folder.file("keys/file", "text", 0o600);
        let link = folder.0.join("link");
        symlink(&file, &link).unwrap();
        let absent = folder.0.join("absent");
        let all = [&file, &inner, &link, &absent];
        let mut last = all.map(|path| look(path));
        // Which of the file, the folder it is in, a link to it, and a path without anything
        // look different after each step.
        let steps: [(&str, &dyn Fn(), [bool; 4]); 8] = [
            ("nothing", &|| {}, [false; 4]),
            (
                "written longer",
                &|| fs::write(&file, "longer").unwrap(),
                [true, true, true, false],
            ),
            ("mode", &|| mode(&file, 0o640), [true, true, true, false]),
            (
                "exchanged",
                &|| fs::rename(&other, &file).unwrap(),
                [true, true, true, false],
            ),
            (
                "the folder's mode",
                &|| mode(&inner, 0o750),
                [true, true, false, false],
            ),
            (
                "a file more",
                &|| fs::write(inner.join("more"), "").unwrap(),
                [false, true, false, false],
            ),
            (
                "something where nothing was",
                &|| fs::write(&absent, "").unwrap(),
                [false, false, false, true],
            ),
            (
                "removed",
                &|| fs::remove_file(&file).unwrap(),
                [true, true, true, false],
            ),
        ];
        for (name, step, wanted) in steps {
            step();
            let now = all.map(|path| look(path));
            let mut differ = [false; 4];
            for (differ, (last, now)) in differ.iter_mut().zip(last.iter().zip(&now)) {
                *differ = last != now;
            }
            assert_eq!(differ, wanted, "{name}");
            last = now;
        }
    }

    #[test]
    fn hidden_files_are_not_listed() {
        let folder = Folder::new("list");
        let b = folder.file("b.pem", "", 0o600);
        let a = folder.file("a.pem", "", 0o600);
        folder.file(".swp", "", 0o600);
        assert_eq!(list("GATEWAY_KEYS", &folder.0).unwrap(), [a, b]);
    }
}
