//! The journal on a disk that fails at every operation in every way, is cut and flipped at
//! every byte, and is read again by a gateway that knows nothing else.

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
    time::{Duration, Instant},
};

use super::{Bounds, Done, Fault, Found, Kept, Segments, Unopened, Wish, list, name, read_entry};
use crate::{
    UnixTime,
    daemon::{
        files::{
            folder::{Disk, Folder},
            tests as files,
        },
        journal::record::{Entry, Fate, MAX_RECORD, tests as records},
    },
};

const BOUNDS: Bounds = Bounds {
    max_bytes: 1 << 20,
    max_age_secs: 3600,
    leeway_secs: 30,
    delivers: true,
};

fn at(secs: i64) -> UnixTime {
    UnixTime::from_secs(secs)
}

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

    fn check(&self) -> io::Result<()> {
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

    fn remove(&self, name: &str) -> io::Result<()> {
        self.turn(|| self.folder.remove(name))
    }
}

/// A folder of a test's own, and the journal's in it.
struct Place {
    outer: files::Folder,
}

impl Place {
    fn new(name: &str) -> Self {
        let place = Self {
            outer: files::Folder::new(&format!("journal-{name}")),
        };
        place.folder().make().unwrap();
        place
    }

    fn folder(&self) -> Folder {
        Folder::new(self.outer.0.join("journal")).unwrap()
    }

    fn open(&self, bounds: Bounds) -> (Segments<Folder>, Found) {
        Segments::open(Arc::new(self.folder()), bounds).unwrap()
    }

    /// The bytes of every segment, the oldest first.
    fn bytes(&self) -> Vec<(String, Vec<u8>)> {
        let folder = self.folder();
        let names = list(&folder).unwrap().into_iter();
        names
            .map(|(number, _)| {
                let name = name(number);
                let bytes = fs::read(self.outer.0.join("journal").join(&name)).unwrap();
                (name, bytes)
            })
            .collect()
    }

    #[expect(clippy::disallowed_methods, reason = "a test's own file")]
    fn write(&self, name: &str, bytes: &[u8]) {
        fs::write(self.outer.0.join("journal").join(name), bytes).unwrap();
    }

    fn clear(&self) {
        for (name, _) in self.folder().list().unwrap() {
            fs::remove_file(self.outer.0.join("journal").join(name)).unwrap();
        }
    }
}

fn entry(n: u8, exp: i64, token: &[u8]) -> Entry<'_> {
    Entry {
        seq: 0,
        accepted: at(1000),
        exp: at(exp),
        id: [n; 16],
        digest: [n ^ 0xff; 16],
        subject: u64::from(n),
        fate: Fate::Waiting,
        token,
    }
}

/// Writes one wish by a clock that says `secs`.
fn commit<D: Disk>(
    segments: &mut Segments<D>,
    wish: Wish<'_>,
    notes: &mut Vec<(u64, Fate)>,
    secs: i64,
) -> Result<Done, Fault> {
    let mut results = Vec::new();
    let time = (at(secs), Instant::now());
    let written = segments.commit([wish].into_iter(), notes, time, &mut results);
    assert_eq!(results.len(), 1);
    assert!(written.is_ok() || results[0].is_err());
    results[0]
}

fn keep<D: Disk>(segments: &mut Segments<D>, n: u8, exp: i64) -> Result<(u64, Kept), Fault> {
    let token = [b'a' + n % 26; 100];
    match commit(
        segments,
        Wish::Keep(entry(n, exp, &token)),
        &mut Vec::new(),
        1000,
    ) {
        Ok(Done::Kept(seq, kept)) => Ok((seq, kept)),
        Ok(done) => panic!("{done:?}"),
        Err(fault) => Err(fault),
    }
}

/// The ids, ends and fates of all entries, each of which can be read.
fn told<D: Disk>(segments: &Segments<D>) -> Vec<(u8, i64, Fate)> {
    let mut bytes = Vec::new();
    let entries = segments.entries().iter();
    entries
        .map(|(seq, kept)| {
            let entry = read_entry(&*segments.disk, kept.place, &mut bytes);
            let entry = entry.unwrap().unwrap();
            assert_eq!((entry.seq, entry.id), (*seq, kept.id));
            (kept.id[0], kept.exp.as_secs(), kept.fate)
        })
        .collect()
}

fn remembered(found: &Found) -> BTreeSet<(u8, u8, i64)> {
    let messages = found.remembered.iter();
    messages
        .map(|(id, digest, exp)| (id[0], digest[0], exp.as_secs()))
        .collect()
}

#[test]
fn what_was_kept_is_found_with_what_became_of_it() {
    let place = Place::new("found");
    let (mut segments, found) = place.open(BOUNDS);
    assert_eq!((found.remembered.len(), segments.count()), (0, 0));
    for n in 1..=4 {
        keep(&mut segments, n, 5000 + i64::from(n)).unwrap();
    }
    let mut notes = vec![(1, Fate::Delivered), (3, Fate::Refused)];
    let longer = Wish::Extend(entry(2, 9000, b"t"));
    assert_eq!(
        commit(&mut segments, longer, &mut notes, 2000),
        Ok(Done::Written)
    );
    assert!(notes.is_empty());
    let shorter = Wish::Extend(entry(4, 1, b"t"));
    commit(&mut segments, shorter, &mut notes, 2000).unwrap();
    let wanted = [
        (1, 5001, Fate::Delivered),
        (2, 9000, Fate::Waiting),
        (3, 5003, Fate::Refused),
        (4, 5004, Fate::Waiting),
    ];
    assert_eq!(told(&segments), wanted);
    drop(segments);
    let (segments, found) = place.open(BOUNDS);
    assert_eq!(told(&segments), wanted);
    assert_eq!((found.damage.len(), found.torn), (0, None));
    let all = wanted.map(|(n, exp, _)| (n, n ^ 0xff, exp));
    assert_eq!(
        found
            .remembered
            .iter()
            .map(|(id, d, exp)| (id[0], d[0], exp.as_secs()))
            .collect::<BTreeSet<_>>(),
        BTreeSet::from(all)
    );
    assert_eq!(
        (segments.state().newest, segments.state().next),
        (at(1000), 5)
    );
}

#[test]
fn reading_writes_nothing() {
    let place = Place::new("reading");
    for _ in 0..3 {
        let (segments, _) = place.open(BOUNDS);
        assert_eq!(segments.count(), 0);
    }
    keep(&mut place.open(BOUNDS).0, 1, 5000).unwrap();
    let before = place.bytes();
    drop(place.open(BOUNDS));
    assert_eq!(place.bytes(), before);
}

/// A journal of three segments, the last of which is longest, and its bytes.
fn real(place: &Place) -> Vec<(String, Vec<u8>)> {
    for (ids, settled) in [(1..=2, 1), (3..=4, 2), (5..=8, 6)] {
        let (mut segments, _) = place.open(BOUNDS);
        for n in ids {
            keep(&mut segments, n, 5000).unwrap();
        }
        let notes = &mut vec![(settled, Fate::Delivered)];
        commit(&mut segments, Wish::Probe, notes, 1000).unwrap();
    }
    place.bytes()
}

#[test]
fn cut_at_every_byte_everything_before_is_there_and_nothing_else() {
    let place = Place::new("cut");
    let files = real(&place);
    let whole: Vec<_> = told(&place.open(BOUNDS).0);
    for (at, (cut_name, bytes)) in files.iter().enumerate() {
        for len in 0..bytes.len() {
            place.clear();
            for (name, bytes) in &files {
                place.write(name, bytes);
            }
            place.write(cut_name, &bytes[..len]);
            let (segments, found) = place.open(BOUNDS);
            let last = at == files.len() - 1;
            for entry in &whole {
                let in_file = usize::from(entry.0 > 2) + usize::from(entry.0 > 4);
                let still = told(&segments).iter().any(|(n, _, _)| *n == entry.0);
                assert!(
                    still || in_file == at,
                    "{} of {cut_name} cut at {len}",
                    entry.0
                );
            }
            assert!(told(&segments).len() <= whole.len());
            // What is whole is whole: a record's end is nothing unusual.
            let noticed = found.torn.is_some() || !found.damage.is_empty();
            let whole_records = {
                let (again, found) = place.open_again(segments);
                assert!(found.torn.is_none() || !last, "cut away: {:?}", found.torn);
                drop(again);
                place.bytes()[at].1.len() == len
            };
            assert!(noticed || whole_records, "{cut_name} cut at {len}");
        }
    }
}

impl Place {
    /// Opens what was open.
    fn open_again(&self, segments: Segments<Folder>) -> (Segments<Folder>, Found) {
        drop(segments);
        self.open(BOUNDS)
    }
}

#[test]
fn flipped_at_every_byte_everything_else_is_there_and_nothing_more() {
    let place = Place::new("flip");
    let files = real(&place);
    let whole = told(&place.open(BOUNDS).0);
    for (flipped, bytes) in &files {
        for at in 0..bytes.len() {
            place.clear();
            for (name, bytes) in &files {
                place.write(name, bytes);
            }
            let mut bytes = bytes.clone();
            bytes[at] ^= 1 << (at % 8);
            place.write(flipped, &bytes);
            let (segments, found) = place.open(BOUNDS);
            let got = told(&segments);
            let lost: Vec<_> = whole
                .iter()
                .filter(|(n, _, _)| !got.iter().any(|(m, _, _)| n == m))
                .collect();
            assert!(lost.len() <= 1, "{flipped} at {at}: {lost:?}");
            for (n, exp, fate) in &got {
                let before = whole.iter().find(|(m, _, _)| n == m).unwrap();
                assert_eq!(before.1, *exp);
                // A lost note leaves its entry waiting: delivered again, and marked.
                assert!(*fate == before.2 || *fate == Fate::Waiting);
            }
            assert!(
                found.torn.is_some() || !found.damage.is_empty(),
                "{flipped} at {at} went unnoticed"
            );
        }
    }
}

#[test]
fn a_newer_journal_is_left_as_it_is() {
    let place = Place::new("newer");
    real(&place);
    place.write(&name(9), &records::of_version(9, 2));
    let before = place.bytes();
    let opened = Segments::open(Arc::new(place.folder()), BOUNDS);
    assert!(matches!(
        opened.err(),
        Some(Unopened::Newer { name, version: 2 }) if name == "000000000009.journal"
    ));
    assert_eq!(place.bytes(), before);
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

#[test]
fn full_is_said_in_time_and_ends_when_something_may_go() {
    let place = Place::new("full");
    let bounds = Bounds {
        max_bytes: 16 << 10,
        ..BOUNDS
    };
    let (mut segments, _) = place.open(bounds);
    let mut last = 0;
    for n in 1..=u8::MAX {
        match keep(&mut segments, n, 1500) {
            Ok(_) => last = n,
            Err(fault) => {
                assert_eq!(fault, Fault::Full);
                break;
            }
        }
    }
    assert!((40..100).contains(&last), "{last}");
    assert!(segments.len() <= bounds.max_bytes);
    assert!(segments.is_tight(MAX_RECORD));
    // What became of entries is written all the same.
    let mut notes: Vec<_> = (1..=u64::from(last))
        .map(|seq| (seq, Fate::Delivered))
        .collect();
    commit(&mut segments, Wish::Probe, &mut notes, 1000).unwrap();
    assert!(notes.is_empty() && segments.len() <= bounds.max_bytes);
    let reclaim = |segments: &mut Segments<Folder>, secs| {
        let time = (at(secs), Instant::now());
        segments.reclaim(time, &mut |_, _| {}).unwrap();
    };
    reclaim(&mut segments, 1529);
    assert_eq!(keep(&mut segments, 200, 5000).err(), Some(Fault::Full));
    reclaim(&mut segments, 1530);
    keep(&mut segments, 200, 5000).unwrap();
    // A token that ends no later than what was forgotten is not new.
    drop(segments);
    assert_eq!(place.open(bounds).0.state().floor, at(1500));
}

#[test]
fn what_may_stay_longest_is_carried_over_and_the_rest_goes_in_time() {
    let place = Place::new("carried");
    let (mut segments, _) = place.open(BOUNDS);
    for (n, exp) in [(1, 1500), (2, 90_000), (3, 1500)] {
        keep(&mut segments, n, exp).unwrap();
    }
    let mut notes = vec![(1, Fate::Delivered), (2, Fate::Delivered)];
    commit(&mut segments, Wish::Probe, &mut notes, 1000).unwrap();
    segments.seal();
    let reclaim = |segments: &mut Segments<Folder>, secs| {
        let mut moved = Vec::new();
        let time = (at(secs), Instant::now());
        segments
            .reclaim(time, &mut |seq, _| moved.push(seq))
            .unwrap();
        moved
    };
    // 1 may go, and the others hold it back, for an hour at most.
    assert_eq!(reclaim(&mut segments, 1530 + 3599), [0_u64; 0]);
    assert_eq!(told(&segments).len(), 3);
    assert_eq!(reclaim(&mut segments, 1530 + 3600), [2, 3]);
    let left = [(2, 90_000, Fate::Delivered), (3, 1500, Fate::Waiting)];
    assert_eq!(told(&segments), left);
    assert_eq!(place.bytes().len(), 1);
    drop(segments);
    let (segments, found) = place.open(BOUNDS);
    assert_eq!(told(&segments), left);
    assert_eq!(segments.state().floor, at(1500));
    assert_eq!(
        remembered(&found),
        BTreeSet::from([(2, 2 ^ 0xff, 90_000), (3, 3 ^ 0xff, 1500)])
    );
}

#[test]
fn what_waits_for_nobody_goes_when_it_is_old() {
    let place = Place::new("nobody");
    let bounds = Bounds {
        delivers: false,
        ..BOUNDS
    };
    let (mut segments, _) = place.open(bounds);
    keep(&mut segments, 1, 1500).unwrap();
    segments.seal();
    for (secs, left) in [(1530, 1), (1530 + 3599, 1), (1530 + 3600, 0)] {
        let time = (at(secs), Instant::now());
        segments.reclaim(time, &mut |_, _| {}).unwrap();
        assert_eq!(segments.entries().len(), left, "{secs}");
    }
}

#[test]
fn segments_change_daily_and_empty_ones_do_not_stay() {
    let place = Place::new("daily");
    let bounds = Bounds {
        max_age_secs: 7 * 24 * 3600,
        ..BOUNDS
    };
    let (mut segments, _) = place.open(bounds);
    let begun = Instant::now();
    for (hours, count) in [(0, 1), (23, 1), (25, 2), (26, 2), (50, 3)] {
        let now = begun + Duration::from_secs(hours * 3600);
        let mut results = Vec::new();
        let probe = [Wish::Probe].into_iter();
        let time = (at(1000), now);
        segments
            .commit(probe, &mut Vec::new(), time, &mut results)
            .unwrap();
        assert_eq!(segments.count(), count, "{hours}");
    }
    segments.reclaim((at(1000), begun), &mut |_, _| {}).unwrap();
    assert_eq!(segments.count(), 1);
    assert_eq!(place.bytes()[0].0, name(3));
}

#[test]
fn an_extension_of_what_has_gone_is_a_new_entry() {
    let place = Place::new("revived");
    let (mut segments, _) = place.open(BOUNDS);
    let entry = Entry {
        fate: Fate::NotForDelivery,
        ..entry(1, 9000, b"token")
    };
    let done = commit(&mut segments, Wish::Extend(entry), &mut Vec::new(), 1000);
    assert!(matches!(done, Ok(Done::Kept(1, _))), "{done:?}");
    drop(segments);
    let (segments, _) = place.open(BOUNDS);
    assert_eq!(told(&segments), [(1, 9000, Fate::NotForDelivery)]);
}

#[test]
fn a_message_that_was_asked_for_again_is_there_once() {
    let place = Place::new("again");
    // The first was on the disk before its answer said 503.
    let (mut segments, _) = place.open(BOUNDS);
    keep(&mut segments, 1, 5000).unwrap();
    segments.entries.clear();
    keep(&mut segments, 1, 5000).unwrap();
    drop(segments);
    let (segments, found) = place.open(BOUNDS);
    assert_eq!(segments.entries().keys().collect::<Vec<_>>(), [&2]);
    assert_eq!(found.remembered.len(), 1);
}

#[test]
fn a_folder_that_vanishes_is_a_fault_and_another_in_its_place_is_begun_anew() {
    let place = Place::new("vanished");
    let (mut segments, _) = place.open(BOUNDS);
    keep(&mut segments, 1, 5000).unwrap();
    let (path, aside) = (place.outer.0.join("journal"), place.outer.0.join("aside"));
    fs::rename(&path, &aside).unwrap();
    assert_eq!(keep(&mut segments, 2, 5000).err(), Some(Fault::Unavailable));
    place.folder().make().unwrap();
    keep(&mut segments, 3, 5000).unwrap();
    assert_eq!(place.bytes().len(), 1);
    fs::remove_dir_all(&path).unwrap();
    fs::rename(&aside, &path).unwrap();
    keep(&mut segments, 4, 5000).unwrap();
    drop(segments);
    let (segments, _) = place.open(BOUNDS);
    let ids: Vec<_> = told(&segments).iter().map(|(n, _, _)| *n).collect();
    assert_eq!(ids, [1, 4]);
}

#[test]
fn a_file_that_was_removed_is_not_written_on() {
    let place = Place::new("removed");
    let (mut segments, _) = place.open(BOUNDS);
    keep(&mut segments, 1, 5000).unwrap();
    fs::remove_file(place.outer.0.join("journal").join(name(1))).unwrap();
    keep(&mut segments, 2, 5000).unwrap();
    drop(segments);
    let (segments, _) = place.open(BOUNDS);
    let ids: Vec<_> = told(&segments).iter().map(|(n, _, _)| *n).collect();
    assert_eq!(ids, [2]);
}
