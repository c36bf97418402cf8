//! A disk of which every operation fails once, in every way.

use std::{
    collections::BTreeSet,
    fs,
    io::{self, ErrorKind, Read},
    panic,
    prelude::v1::*,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Instant,
};

use super::{BOUNDS, Place, at, commit, entry, keep, remembered, told};
use crate::daemon::{
    files::folder::{Disk, Folder, Home},
    journal::{
        record::Fate,
        segments::{Bounds, Segments, Wish},
    },
};

/// How an operation fails.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum How {
    /// Nothing was done.
    Before,
    /// It was done, and said to have failed.
    After,
    /// A write of which half was done.
    Half,
}

/// A folder whose n-th operation fails.
struct Faulty {
    folder: Folder,
    left: AtomicUsize,
    how: How,
}

impl Faulty {
    /// Does `what`, or fails.
    fn turn<T>(&self, what: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        let failed = || Err(io::Error::from(ErrorKind::Other));
        if self.left.fetch_sub(1, Ordering::SeqCst) != 1 {
            return what();
        }
        if self.how == How::After {
            what()?;
        }
        failed()
    }
}

impl Disk for Faulty {
    type File = fs::File;

    fn check(&self) -> io::Result<Home> {
        self.turn(|| self.folder.check())
    }

    fn list(&self) -> io::Result<Vec<(String, u64)>> {
        self.folder.list()
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn Read>> {
        self.turn(|| self.folder.open(name))
    }

    fn read_at(&self, name: &str, at: u64, bytes: &mut [u8]) -> io::Result<()> {
        self.turn(|| self.folder.read_at(name, at, bytes))
    }

    fn create(&self, name: &str) -> io::Result<fs::File> {
        self.turn(|| self.folder.create(name))
    }

    fn append(&self, file: &mut fs::File, bytes: &[u8]) -> io::Result<()> {
        let half = self.how == How::Half && self.left.load(Ordering::SeqCst) == 1;
        if half {
            self.folder.append(file, &bytes[..bytes.len() / 2])?;
        }
        self.turn(|| self.folder.append(file, bytes))
    }

    fn is_named(&self, name: &str, file: &fs::File) -> io::Result<bool> {
        self.turn(|| self.folder.is_named(name, file))
    }

    fn sync(&self, file: &fs::File) -> io::Result<()> {
        self.turn(|| self.folder.sync(file))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.turn(|| self.folder.rename(from, to))
    }

    fn sync_names(&self) -> io::Result<()> {
        self.turn(|| self.folder.sync_names())
    }

    fn cut(&self, name: &str, len: u64) -> io::Result<()> {
        self.turn(|| self.folder.cut(name, len))
    }

    fn sync_named(&self, name: &str) -> io::Result<()> {
        self.turn(|| self.folder.sync_named(name))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.turn(|| self.folder.remove(name))
    }
}

/// What the world was told in a life with one fault, and a life without after it.
#[test]
fn whichever_operation_fails_nothing_that_was_kept_is_lost() {
    let mut operations = 0;
    for how in [How::Before, How::After, How::Half] {
        for nth in 1.. {
            let place = Place::new("faulty");
            let disk = Arc::new(Faulty {
                folder: place.folder(),
                left: AtomicUsize::new(nth),
                how,
            });
            let (kept, settled) = life(&disk);
            let left = disk.left.load(Ordering::SeqCst);
            drop(disk);
            let (segments, found) = place.open(BOUNDS);
            let told = told(&segments);
            let known = remembered(&found);
            for (n, exp) in &kept {
                assert!(
                    told.iter().any(|(m, e, _)| m == n && e >= exp),
                    "{how:?} {nth}: {n} was kept, and is not in {told:?}"
                );
                assert!(
                    known
                        .iter()
                        .any(|(m, d, e)| m == n && *d == n ^ 0xff && e >= exp),
                    "{how:?} {nth}: {n} is not remembered"
                );
            }
            for n in &settled {
                let fate = told
                    .iter()
                    .find(|(m, _, _)| m == n)
                    .map(|(_, _, fate)| *fate);
                assert_eq!(fate, Some(Fate::Delivered), "{how:?} {nth}: {n}");
            }
            assert_eq!(
                told.iter()
                    .map(|(n, _, _)| n)
                    .collect::<BTreeSet<_>>()
                    .len(),
                told.len(),
                "{how:?} {nth}: twice in {told:?}"
            );
            // A tail that could not be cut is no damage where nothing came after it.
            assert!(found.damage.len() <= 1, "{how:?} {nth}: {:?}", found.damage);
            if left > 0 && left <= nth {
                break;
            }
            operations = operations.max(nth);
        }
    }
    assert!(
        operations > 60,
        "only {operations} operations were made to fail"
    );
}

/// Keeps, extends, settles, rotates and reclaims; who was told *kept*, with which end, and
/// whose settlement was written.
fn life(disk: &Arc<Faulty>) -> (Vec<(u8, i64)>, Vec<u8>) {
    let (mut kept, mut settled) = (Vec::new(), Vec::new());
    let bounds = Bounds {
        max_bytes: 16 << 10,
        ..BOUNDS
    };
    let mut notes = Vec::new();
    let mut round = 0_u8;
    // An open that fails is a start that fails: the next one has another go.
    let mut opened = None;
    for _ in 0..2 {
        opened = opened.or_else(|| Segments::open(Arc::clone(disk), bounds).ok());
    }
    let (mut segments, _) = opened.unwrap();
    while round < 12 {
        round += 1;
        let (n, exp) = (round, if round < 4 { 1500 } else { 9000 });
        // Whoever is told 503 asks again.
        let mut result = keep(&mut segments, n, exp);
        if result.is_err() {
            result = keep(&mut segments, n, exp);
        }
        let (seq, _) = result.unwrap();
        kept.push((n, exp));
        if round.is_multiple_of(3) {
            notes.push((seq, Fate::Delivered));
            commit(&mut segments, Wish::Probe, &mut notes, 1000).ok();
            if notes.is_empty() {
                settled.push(n);
            }
        }
        if round == 5 {
            let longer = Wish::Extend(entry(5, 9500, b"longer"));
            if commit(&mut segments, longer, &mut notes, 1000).is_ok() {
                kept.push((5, 9500));
            }
        }
        if round.is_multiple_of(4) {
            segments.seal();
            // The first three have expired by then, and where they were delivered may go.
            let time = (at(1600), Instant::now());
            segments.reclaim(time, &mut |_, _| {}).ok();
        }
    }
    // What has expired and was settled need not be found any more.
    let delivered = settled.clone();
    let gone = |n: u8| n < 4 && delivered.contains(&n);
    kept.retain(|(n, _)| !gone(*n));
    settled.retain(|n| !gone(*n));
    (kept, settled)
}

#[test]
fn after_a_failed_fsync_the_segment_is_never_touched_again() {
    let place = Place::new("sealed");
    // Counted out below: the fsync behind the second append.
    for nth in 1..40 {
        place.clear();
        let disk = Arc::new(Faulty {
            folder: place.folder(),
            left: AtomicUsize::new(usize::MAX),
            how: How::Before,
        });
        let (mut segments, _) = Segments::open(Arc::clone(&disk), BOUNDS).unwrap();
        keep(&mut segments, 1, 5000).unwrap();
        let before = place.bytes();
        disk.left.store(nth, Ordering::SeqCst);
        let failed = keep(&mut segments, 2, 5000).is_err();
        disk.left.store(usize::MAX, Ordering::SeqCst);
        if !failed {
            assert!(nth > 3, "each operation of a commit can fail");
            return;
        }
        keep(&mut segments, 3, 5000).unwrap();
        let after = place.bytes();
        if after.len() > before.len() {
            assert_eq!(after[..before.len()], before, "{nth}");
        }
        let ids: Vec<_> = told(&segments).iter().map(|(n, _, _)| *n).collect();
        assert_eq!(ids, [1, 3], "{nth}");
    }
    panic!("no end of operations");
}
