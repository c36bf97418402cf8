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

/// What the journal does to a disk. Names are of files in its one folder.
pub(crate) trait Disk: Send + Sync + 'static {
    /// A file that is appended to.
    type File: Send;

    /// Whether the folder is there, believed, and ours alone.
    fn check(&self) -> io::Result<()>;
    /// The names and lengths of all files.
    fn list(&self) -> io::Result<Vec<(String, u64)>>;
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
    /// Device and inode of the folder, and the handle that is locked.
    of: (u64, u64),
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

    /// Device and inode of the folder, where it is there and believed.
    ///
    /// # Errors
    /// Why it is not.
    pub(crate) fn look(&self) -> io::Result<(u64, u64)> {
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

    fn check(&self) -> io::Result<()> {
        let of = self.look()?;
        let mut lock = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        if lock.as_ref().is_some_and(|lock| lock.of == of) {
            return Ok(());
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
        *lock = Some(Lock {
            of: (meta.dev(), meta.ino()),
            _handle: handle,
        });
        Ok(())
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
        Ok(Box::new(File::open(self.file(name))?))
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

    fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.file(name))
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, io::ErrorKind, os::unix::fs::PermissionsExt, prelude::v1::*};

    use super::{Disk, Folder};
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
