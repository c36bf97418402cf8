//! The journal's folder: every way in which the journal touches a disk, one operation at a
//! time, so that tests can make each of them fail.
//!
//! The folder is believed where it belongs to root or to the service's own user, nobody
//! else can change it, and nobody but a group can read it: it holds what is about
//! patients. One process at a time has it. Both are asked again before every append,
//! because folders vanish under a running service: disks are unmounted, folders moved.

use std::{
    fs::{self, DirBuilder, File, OpenOptions, TryLockError},
    io::{self, ErrorKind, Read, Write},
    os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt},
    path::PathBuf,
    prelude::v1::*,
    sync::{Mutex, PoisonError},
};

use super::{fault, own_uid, parent};

/// Others' permissions of every kind.
const ANY_BY_OTHERS: u32 = 0o007;

/// Device and inode of a folder.
pub(crate) type Home = (u64, u64);

/// What the journal does to a disk. Names are of files in its one folder.
pub(crate) trait Disk: Send + Sync + 'static {
    /// A file that is appended to.
    type File: Send;

    /// Whether the folder is there, believed, and ours alone; which one it is.
    fn check(&self) -> io::Result<Home>;
    /// The names and lengths of all files.
    fn list(&self) -> io::Result<Vec<(String, u64)>>;
    /// Reads a file from its front. What a bad block hides is zeros.
    fn open(&self, name: &str) -> io::Result<Box<dyn Read>>;
    /// Fills `bytes` from `at` on.
    fn read_at(&self, name: &str, at: u64, bytes: &mut [u8]) -> io::Result<()>;
    /// A new file, that only its owner can read.
    fn create(&self, name: &str) -> io::Result<Self::File>;
    fn append(&self, file: &mut Self::File, bytes: &[u8]) -> io::Result<()>;
    /// Whether the file still is what is called `name`.
    fn is_named(&self, name: &str, file: &Self::File) -> io::Result<bool>;
    /// Returns when the file's bytes are on the disk.
    fn sync(&self, file: &Self::File) -> io::Result<()>;
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;
    /// Returns when the folder's names are on the disk.
    fn sync_names(&self) -> io::Result<()>;
    fn cut(&self, name: &str, len: u64) -> io::Result<()>;
    /// Returns when the bytes and the length of a file that nobody appends to are on the disk.
    fn sync_named(&self, name: &str) -> io::Result<()>;
    fn remove(&self, name: &str) -> io::Result<()>;
}

/// A folder of the file system.
#[derive(Debug)]
pub(crate) struct Folder {
    path: PathBuf,
    own: u32,
    /// Held while this lives.
    lock: Mutex<Option<Lock>>,
}

#[derive(Debug)]
struct Lock {
    /// The folder, and the handle that is locked.
    of: Home,
    _handle: File,
}

impl Folder {
    /// The folder at `path`, for one that only looks.
    ///
    /// # Errors
    /// The system's.
    pub(crate) fn new(path: PathBuf) -> io::Result<Self> {
        Ok(Self {
            path,
            own: own_uid()?,
            lock: Mutex::new(None),
        })
    }

    /// Makes the folder where only it is missing. Called at a start and never while serving:
    /// a folder that vanished then may be a disk that will come back.
    ///
    /// # Errors
    /// The system's.
    pub(crate) fn make(&self) -> io::Result<()> {
        match DirBuilder::new().mode(0o700).create(&self.path) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
            Err(error) => Err(error),
            Ok(()) => File::open(parent(&self.path))?.sync_all(),
        }
    }

    /// Which folder it is, where it is there and believed.
    ///
    /// # Errors
    /// Why it is not.
    pub(crate) fn look(&self) -> io::Result<Home> {
        let meta = fs::metadata(&self.path)?;
        if !meta.is_dir() {
            return Err(ErrorKind::NotADirectory.into());
        }
        let denied = |what: String| Err(io::Error::new(ErrorKind::PermissionDenied, what));
        if let Some(fault) = fault(meta.uid(), meta.mode(), self.own, false) {
            return denied(format!("the folder {fault}"));
        }
        if meta.mode() & ANY_BY_OTHERS != 0 {
            let mode = meta.mode() & 0o7777;
            return denied(format!(
                "the folder has mode {mode:04o}: everybody can read it; take that away with chmod o-rwx"
            ));
        }
        Ok((meta.dev(), meta.ino()))
    }

    fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }
}

impl Disk for Folder {
    type File = File;

    fn check(&self) -> io::Result<Home> {
        let of = self.look()?;
        let mut lock = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        if lock.as_ref().is_some_and(|lock| lock.of == of) {
            return Ok(of);
        }
        // Gone before another is taken: it may be the same folder under another number.
        *lock = None;
        let handle = File::open(&self.path)?;
        match handle.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(io::Error::new(
                    ErrorKind::ResourceBusy,
                    "another gateway has this folder",
                ));
            }
            Err(TryLockError::Error(error)) => return Err(error),
        }
        let meta = handle.metadata()?;
        let of = (meta.dev(), meta.ino());
        *lock = Some(Lock {
            of,
            _handle: handle,
        });
        Ok(of)
    }

    fn list(&self) -> io::Result<Vec<(String, u64)>> {
        let mut files = Vec::new();
        for entry in fs::read_dir(&self.path)? {
            let entry = entry?;
            if let (Ok(name), Ok(meta)) = (entry.file_name().into_string(), entry.metadata())
                && meta.is_file()
            {
                files.push((name, meta.len()));
            }
        }
        Ok(files)
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn Read>> {
        let file = File::open(self.file(name))?;
        Ok(Box::new(PastBadBlocks::new(move |into, at| {
            file.read_at(into, at)
        })))
    }

    fn read_at(&self, name: &str, at: u64, bytes: &mut [u8]) -> io::Result<()> {
        File::open(self.file(name))?.read_exact_at(bytes, at)
    }

    fn create(&self, name: &str) -> io::Result<File> {
        OpenOptions::new()
            .append(true)
            .create_new(true)
            .mode(0o600)
            .open(self.file(name))
    }

    fn append(&self, file: &mut File, bytes: &[u8]) -> io::Result<()> {
        file.write_all(bytes)
    }

    fn is_named(&self, name: &str, file: &File) -> io::Result<bool> {
        match fs::metadata(self.file(name)) {
            Ok(named) => {
                let itself = file.metadata()?;
                Ok((named.dev(), named.ino()) == (itself.dev(), itself.ino()))
            }
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn sync(&self, file: &File) -> io::Result<()> {
        file.sync_data()
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.file(from), self.file(to))
    }

    fn sync_names(&self) -> io::Result<()> {
        File::open(&self.path)?.sync_all()
    }

    fn cut(&self, name: &str, len: u64) -> io::Result<()> {
        let file = OpenOptions::new().write(true).open(self.file(name))?;
        file.set_len(len)
    }

    fn sync_named(&self, name: &str) -> io::Result<()> {
        File::open(self.file(name))?.sync_all()
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.file(name))
    }
}

/// `EIO` of every Unix.
const EIO: i32 = 5;
/// What a file system asks of a disk at once.
const BLOCK: u16 = 4096;
/// Bad blocks of one file that are passed over. A disk that gives nothing is waited for no
/// longer: it may come back.
const MOST_BAD: u32 = 64;

/// Whether a disk says that it cannot give what it has.
pub(crate) fn is_bad_block(error: &io::Error) -> bool {
    error.raw_os_error() == Some(EIO)
}

fn len(bytes: usize) -> u64 {
    u64::try_from(bytes).unwrap_or(u64::MAX)
}

/// Reads past blocks that the disk does not give. A card that lost one of them must not cost
/// what is in all others: whoever reads finds zeros, which are damage to be told.
struct PastBadBlocks<R> {
    read: R,
    at: u64,
    bad: u32,
}

impl<R: FnMut(&mut [u8], u64) -> io::Result<usize>> PastBadBlocks<R> {
    /// `read` fills a buffer from a place on.
    const fn new(read: R) -> Self {
        Self {
            read,
            at: 0,
            bad: 0,
        }
    }
}

impl<R: FnMut(&mut [u8], u64) -> io::Result<usize>> Read for PastBadBlocks<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = match (self.read)(into, self.at) {
            Err(error) if is_bad_block(&error) && self.bad < MOST_BAD => {
                let left = u64::from(BLOCK) - self.at % u64::from(BLOCK);
                let left = usize::try_from(left).unwrap_or(0).min(into.len());
                into[..left].fill(0);
                // A block is one, in however many pieces it is passed over.
                let end = (self.at + len(left)).is_multiple_of(u64::from(BLOCK));
                self.bad += u32::from(end);
                left
            }
            read => read?,
        };
        self.at += len(read);
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        io::{self, ErrorKind, Read},
        os::unix::fs::PermissionsExt,
        prelude::v1::*,
    };

    use super::{BLOCK, Disk, EIO, Folder, MOST_BAD, PastBadBlocks, is_bad_block};
    use crate::daemon::files::tests as files;

    #[test]
    fn only_a_folder_of_our_own_is_believed() {
        let outer = files::Folder::new("journal-modes");
        let path = outer.0.join("journal");
        let folder = Folder::new(path.clone()).unwrap();
        assert_eq!(folder.check().unwrap_err().kind(), ErrorKind::NotFound);
        folder.make().unwrap();
        folder.make().unwrap();
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o7777,
            0o700
        );
        for (mode, wanted) in [
            (0o700, None),
            (0o750, None),
            (0o770, Some("others can change it")),
            (0o702, Some("others can change it")),
            (0o1777, Some("others can change it")),
            (0o705, Some("everybody can read it")),
            (0o701, Some("everybody can read it")),
        ] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            let said = folder.check().err().map(|error| error.to_string());
            let right = match (wanted, &said) {
                (None, None) => true,
                (Some(wanted), Some(said)) => said.contains(wanted),
                _ => false,
            };
            assert!(right, "{mode:o}: {said:?}");
        }
    }

    #[test]
    fn a_bad_block_is_zeros_and_a_bad_disk_is_an_error() {
        let block = usize::from(BLOCK);
        let bytes = vec![7; 5 * block + 9];
        for (name, bad) in [
            ("none", [].as_slice()),
            ("the first", &[0]),
            ("two", &[1, 3]),
            ("the last, which is short", &[5]),
        ] {
            let mut past = PastBadBlocks::new(|into: &mut [u8], at: u64| {
                let at = usize::try_from(at).unwrap();
                if at < bytes.len() && bad.contains(&(at / block)) {
                    return Err(io::Error::from_raw_os_error(EIO));
                }
                // Up to the next bad block, as a page cache gives it.
                let to = bad.iter().map(|bad| bad * block).filter(|to| *to > at);
                let to = to.min().unwrap_or(bytes.len()).min(bytes.len());
                let given = bytes.get(at..to).unwrap_or_default();
                let len = into.len().min(given.len());
                into[..len].copy_from_slice(&given[..len]);
                Ok(len)
            });
            let mut read = Vec::new();
            past.read_to_end(&mut read).unwrap();
            let wanted = |at: usize| if bad.contains(&(at / block)) { 0 } else { 7 };
            assert!(read.len() >= bytes.len(), "{name}");
            let same = read[..bytes.len()].iter().enumerate();
            assert!(
                same.into_iter().all(|(at, byte)| *byte == wanted(at)),
                "{name}"
            );
            assert!(read[bytes.len()..].iter().all(|byte| *byte == 0), "{name}");
        }
        let mut asked = 0_u32;
        let gone = PastBadBlocks::new(|_: &mut [u8], _| {
            asked += 1;
            Err(io::Error::from_raw_os_error(EIO))
        });
        let error = io::copy(&mut { gone }, &mut io::sink()).unwrap_err();
        assert!(is_bad_block(&error) && asked > MOST_BAD);
        let mut denied =
            PastBadBlocks::new(|_: &mut [u8], _| Err(ErrorKind::PermissionDenied.into()));
        let error = denied.read(&mut [0]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::PermissionDenied);
    }

    #[test]
    fn one_gateway_at_a_time_has_the_folder_wherever_it_is() {
        let outer = files::Folder::new("journal-lock");
        let path = outer.0.join("journal");
        let first = Folder::new(path.clone()).unwrap();
        first.make().unwrap();
        first.check().unwrap();
        first.check().unwrap();
        let second = Folder::new(path.clone()).unwrap();
        assert_eq!(second.check().unwrap_err().kind(), ErrorKind::ResourceBusy);
        // Another folder in its place is another's to take.
        fs::rename(&path, outer.0.join("moved")).unwrap();
        assert_eq!(first.check().unwrap_err().kind(), ErrorKind::NotFound);
        second.make().unwrap();
        second.check().unwrap();
        assert_eq!(first.check().unwrap_err().kind(), ErrorKind::ResourceBusy);
        drop(second);
        first.check().unwrap();
    }
}
