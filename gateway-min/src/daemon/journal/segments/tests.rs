//! The journal on a disk that fails at every operation in every way, is cut and flipped at
//! every byte, and is read again by a gateway that knows nothing else.

use std::{collections::BTreeSet, fs, panic, prelude::v1::*, sync::Arc, time::Instant};

use super::{
    Bounds, Done, Fault, Kept, Segments, Unopened, Wish, list, name, read_entry, recover::Found,
};
use crate::{
    UnixTime,
    daemon::{
        files::{
            folder::{Disk, Folder},
            tests as files,
        },
        journal::record::{Entry, Fate, tests as records},
    },
};

mod faults;
mod leaving;
mod power;

const BOUNDS: Bounds = Bounds {
    max_bytes: 1 << 20,
    max_age_secs: 3600,
    leeway_secs: 30,
    delivers: true,
};

fn at(secs: i64) -> UnixTime {
    UnixTime::from_secs(secs)
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

#[test]
fn a_clock_that_jumps_while_the_disk_is_slow_does_not_date_what_was_accepted() {
    let place = Place::new("newest");
    let (mut segments, _) = place.open(BOUNDS);
    let wish = Wish::Keep(entry(1, 5000, b"t"));
    commit(&mut segments, wish, &mut Vec::new(), 9_000_000).unwrap();
    segments.seal();
    commit(&mut segments, Wish::Probe, &mut Vec::new(), 1000).unwrap();
    drop(segments);
    assert_eq!(place.open(BOUNDS).0.state().newest, at(1000));
}

#[test]
fn other_content_under_a_forgotten_id_is_another_message() {
    let place = Place::new("other");
    let (mut segments, _) = place.open(BOUNDS);
    keep(&mut segments, 1, 1500).unwrap();
    let other = Entry {
        digest: [7; 16],
        ..entry(1, 5000, b"other")
    };
    commit(&mut segments, Wish::Keep(other), &mut Vec::new(), 2000).unwrap();
    drop(segments);
    let (segments, found) = place.open(BOUNDS);
    let both = [(1, 1500, Fate::Waiting), (1, 5000, Fate::Waiting)];
    assert_eq!(told(&segments), both);
    assert_eq!(remembered(&found), BTreeSet::from([(1, 7, 5000)]));
    assert_eq!(found.remembered.len(), 1);
}

#[test]
fn segments_that_somebody_put_there_are_not_replaced() {
    let place = Place::new("exchanged");
    let (mut segments, _) = place.open(BOUNDS);
    let path = place.outer.0.join("journal");
    for number in [2, u64::MAX - 1] {
        place.write(&name(number), b"somebody's");
        keep(&mut segments, 2, 5000).unwrap();
        assert_eq!(
            fs::read(path.join(name(number))).unwrap(),
            b"somebody's",
            "{number}"
        );
        segments.seal();
    }
    // There is no number behind the last.
    assert_eq!(keep(&mut segments, 3, 5000).err(), Some(Fault::Full));
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
fn a_folder_that_vanishes_is_a_fault_and_another_in_its_place_is_not_ours() {
    let place = Place::new("vanished");
    let (mut segments, _) = place.open(BOUNDS);
    keep(&mut segments, 1, 5000).unwrap();
    let (path, aside) = (place.outer.0.join("journal"), place.outer.0.join("aside"));
    fs::rename(&path, &aside).unwrap();
    assert_eq!(keep(&mut segments, 2, 5000).err(), Some(Fault::Unavailable));
    // As below a mount point whose disk is away.
    place.folder().make().unwrap();
    for _ in 0..2 {
        assert_eq!(keep(&mut segments, 3, 5000).err(), Some(Fault::Unavailable));
        assert_eq!(place.bytes().len(), 0);
    }
    fs::remove_dir(&path).unwrap();
    fs::rename(&aside, &path).unwrap();
    keep(&mut segments, 4, 5000).unwrap();
    // The same files on what is another device to the system.
    fs::rename(&path, &aside).unwrap();
    place.folder().make().unwrap();
    for entry in fs::read_dir(&aside).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), path.join(entry.file_name())).unwrap();
    }
    keep(&mut segments, 5, 5000).unwrap();
    drop(segments);
    let (segments, _) = place.open(BOUNDS);
    let ids: Vec<_> = told(&segments).iter().map(|(n, _, _)| *n).collect();
    assert_eq!(ids, [1, 4, 5]);
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
