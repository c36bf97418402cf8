//! The journal on a disk whose power goes: what was not synced is lost, wholly, partly, or
//! is zeros; names that were not synced are as they were at any moment since. And an fsync
//! that failed has thrown away what it should have written, as Linux does: the next one says
//! that all is well.

use std::{
    collections::BTreeMap,
    io::{self, ErrorKind, Read},
    prelude::v1::*,
    sync::{Arc, Mutex, MutexGuard},
    time::Instant,
};

use super::{BOUNDS, at, commit, entry, told};
use crate::daemon::{
    files::folder::{Disk, Home},
    journal::{
        record::Fate,
        segments::{Bounds, Done, Segments, Wish},
    },
};

type Names = BTreeMap<String, usize>;

/// A file as its readers see it, and as it is on the disk.
#[derive(Clone, Default)]
struct Inode {
    seen: Vec<u8>,
    synced: Vec<u8>,
    /// What a failed fsync threw away; readers still see it.
    lost: Vec<core::ops::Range<usize>>,
}

/// What is left of bytes that were not synced.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Left {
    Nothing,
    Half,
    Zeros,
    Everything,
}

impl Left {
    const ALL: [Self; 4] = [Self::Nothing, Self::Half, Self::Zeros, Self::Everything];

    fn of(self, inode: &Inode) -> Vec<u8> {
        let Inode { seen, synced, .. } = inode;
        let mut left = match self {
            Self::Nothing => return synced.clone(),
            Self::Everything | Self::Zeros => seen.clone(),
            Self::Half => {
                let more = seen.len().saturating_sub(synced.len()) / 2;
                seen[..seen.len().min(synced.len() + more)].to_vec()
            }
        };
        if self == Self::Zeros && left.len() > synced.len() {
            left[synced.len()..].fill(0);
        }
        inode.forget(&mut left);
        left
    }
}

impl Inode {
    /// Zeros where an fsync failed.
    fn forget(&self, bytes: &mut [u8]) {
        for range in &self.lost {
            let end = range.end.min(bytes.len());
            if let Some(lost) = bytes.get_mut(range.start..end) {
                lost.fill(0);
            }
        }
    }
}

#[derive(Default)]
struct State {
    inodes: Vec<Inode>,
    names: Names,
    /// What the names on the disk may be: as they were synced, and after each change since.
    written: Vec<Names>,
    operations: usize,
    /// Which operation fails once, and which is the first without power.
    fails: Option<usize>,
    ends: Option<usize>,
}

/// A disk in memory.
struct Model(Mutex<State>);

impl Model {
    fn new(fails: Option<usize>, ends: Option<usize>) -> Arc<Self> {
        Arc::new(Self(Mutex::new(State {
            written: vec![Names::new()],
            fails,
            ends,
            ..State::default()
        })))
    }

    /// The disks that there may be when the power is back.
    fn survivors(&self) -> impl Iterator<Item = (String, Arc<Self>)> {
        let state = self.lock();
        let mut survivors = Vec::new();
        for (at, names) in state.written.iter().enumerate() {
            for left in Left::ALL {
                let inodes = state.inodes.iter().map(|inode| {
                    let bytes = left.of(inode);
                    Inode {
                        seen: bytes.clone(),
                        synced: bytes,
                        lost: Vec::new(),
                    }
                });
                let disk = Self(Mutex::new(State {
                    inodes: inodes.collect(),
                    names: names.clone(),
                    written: vec![names.clone()],
                    ..State::default()
                }));
                survivors.push((format!("names {at}, {left:?}"), Arc::new(disk)));
            }
        }
        survivors.into_iter()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    /// Counts an operation; fails where this one fails.
    fn turn(&self) -> io::Result<MutexGuard<'_, State>> {
        let mut state = self.lock();
        state.operations += 1;
        let now = Some(state.operations);
        if state.ends.is_some() && state.ends <= now {
            return Err(io::Error::other("no power"));
        }
        if state.fails == now {
            return Err(io::Error::other("failed once"));
        }
        Ok(state)
    }
}

impl State {
    fn of(&mut self, name: &str) -> io::Result<&mut Inode> {
        let inode = self.names.get(name).ok_or(ErrorKind::NotFound)?;
        Ok(&mut self.inodes[*inode])
    }

    fn renamed(&mut self) {
        self.written.push(self.names.clone());
    }
}

impl Disk for Model {
    type File = usize;

    fn check(&self) -> io::Result<Home> {
        self.turn().map(|_state| (0, 0))
    }

    fn list(&self) -> io::Result<Vec<(String, u64)>> {
        let state = self.turn()?;
        let len = |inode: &usize| u64::try_from(state.inodes[*inode].seen.len()).unwrap();
        let names = state.names.iter();
        Ok(names
            .map(|(name, inode)| (name.clone(), len(inode)))
            .collect())
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn Read>> {
        let bytes = self.turn()?.of(name)?.seen.clone();
        Ok(Box::new(io::Cursor::new(bytes)))
    }

    fn read_at(&self, name: &str, at: u64, bytes: &mut [u8]) -> io::Result<()> {
        let mut state = self.turn()?;
        let at = usize::try_from(at).unwrap();
        let from = state.of(name)?.seen.get(at..at + bytes.len());
        bytes.copy_from_slice(from.ok_or(ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn create(&self, name: &str) -> io::Result<usize> {
        let mut state = self.turn()?;
        if state.names.contains_key(name) {
            return Err(ErrorKind::AlreadyExists.into());
        }
        let inode = state.inodes.len();
        state.inodes.push(Inode::default());
        state.names.insert(name.to_owned(), inode);
        state.renamed();
        Ok(inode)
    }

    fn append(&self, file: &mut usize, bytes: &[u8]) -> io::Result<()> {
        let half = &bytes[..bytes.len() / 2];
        match self.turn() {
            Ok(mut state) => {
                state.inodes[*file].seen.extend_from_slice(bytes);
                Ok(())
            }
            Err(error) => {
                self.lock().inodes[*file].seen.extend_from_slice(half);
                Err(error)
            }
        }
    }

    fn is_named(&self, name: &str, file: &usize) -> io::Result<bool> {
        Ok(self.turn()?.names.get(name) == Some(file))
    }

    fn sync(&self, file: &usize) -> io::Result<()> {
        match self.turn() {
            Ok(mut state) => {
                let inode = &mut state.inodes[*file];
                let mut bytes = inode.seen.clone();
                inode.forget(&mut bytes);
                inode.synced = bytes;
                Ok(())
            }
            Err(error) => {
                let mut state = self.lock();
                let powered = state.ends.is_none_or(|ends| state.operations < ends);
                let inode = &mut state.inodes[*file];
                if powered {
                    inode.lost.push(inode.synced.len()..inode.seen.len());
                }
                Err(error)
            }
        }
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.turn()?;
        let inode = state.names.remove(from).ok_or(ErrorKind::NotFound)?;
        state.names.insert(to.to_owned(), inode);
        state.renamed();
        Ok(())
    }

    fn sync_names(&self) -> io::Result<()> {
        let mut state = self.turn()?;
        state.written = vec![state.names.clone()];
        Ok(())
    }

    fn cut(&self, name: &str, len: u64) -> io::Result<()> {
        let mut state = self.turn()?;
        let len = usize::try_from(len).unwrap();
        state.of(name)?.seen.truncate(len);
        Ok(())
    }

    fn sync_named(&self, name: &str) -> io::Result<()> {
        let mut state = self.turn()?;
        let inode = state.of(name)?;
        inode.synced = inode.seen.clone();
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut state = self.turn()?;
        state.names.remove(name).ok_or(ErrorKind::NotFound)?;
        state.renamed();
        Ok(())
    }
}

const SMALL: Bounds = Bounds {
    max_bytes: 8 << 10,
    ..BOUNDS
};
/// When the last of [`life`] happens.
const END: i64 = 1000 + 30 + 3600;

/// What somebody was told in a life.
#[derive(Default)]
struct Promised {
    /// By the message's number: its place in the order, and its end.
    kept: BTreeMap<u8, (u64, i64)>,
    settled: Vec<u8>,
    /// Whose settlement was handed in: it may be on the disk.
    handed_in: Vec<u8>,
}

impl Promised {
    fn keep(&mut self, segments: &mut Segments<Model>, n: u8, exp: i64) -> bool {
        let token = [b'a' + n % 26; 40];
        let wish = Wish::Keep(entry(n, exp, &token));
        let done = commit(segments, wish, &mut Vec::new(), 1000);
        if let Ok(Done::Kept(seq, _)) = done {
            let twice = self.kept.insert(n, (seq, exp));
            assert_eq!(twice, None);
        }
        done.is_ok()
    }

    /// That all of it is in what was found, and nothing else.
    fn check(&self, segments: &Segments<Model>, what: &str) {
        let found = told(segments);
        for (n, (seq, exp)) in &self.kept {
            let Some((_, until, fate)) = found.iter().find(|(m, _, _)| m == n) else {
                let floor = segments.state().floor;
                let over = self.handed_in.contains(n) && at(*exp).plus(30) <= at(END);
                assert!(
                    over && floor >= at(*exp),
                    "{what}: {n} is lost; floor {floor}"
                );
                continue;
            };
            assert!(until >= exp, "{what}: {n} ends at {until}, not at {exp}");
            let settled = self.settled.contains(n);
            assert!(
                *fate == Fate::Delivered || !settled,
                "{what}: {n} is {fate:?}"
            );
            let handed_in = self.handed_in.contains(n);
            assert!(
                *fate == Fate::Waiting || handed_in,
                "{what}: {n} is {fate:?}"
            );
            let same = segments.entries().get(seq).map(|kept| kept.id[0]);
            assert_eq!(same, Some(*n), "{what}: {seq} has another message");
            let next = segments.state().next;
            assert!(next > *seq, "{what}: {next} after {seq}");
        }
    }
}

/// Keeps, settles, lengthens, changes segments, and lets go: whatever was promised before
/// the power went. `true` where it never did.
fn life(disk: &Arc<Model>) -> (Promised, bool) {
    let mut promised = Promised::default();
    let Ok((mut segments, _)) = Segments::open(Arc::clone(disk), SMALL) else {
        return (promised, false);
    };
    let (mut notes, mut settling) = (Vec::new(), Vec::new());
    for n in 1..=12 {
        let exp = if n % 3 == 2 { 9000 } else { 1000 };
        // Whoever is told 503 asks again.
        if !promised.keep(&mut segments, n, exp) && !promised.keep(&mut segments, n, exp) {
            break;
        }
        if n % 3 != 0 {
            notes.push((promised.kept[&n].0, Fate::Delivered));
            promised.handed_in.push(n);
            settling.push(n);
        }
        if n % 2 == 0 {
            commit(&mut segments, Wish::Probe, &mut notes, 1000).ok();
            if notes.is_empty() {
                promised.settled.append(&mut settling);
            }
        }
        if n % 4 == 2 {
            let longer = Wish::Extend(entry(n, 9500, b"longer"));
            if commit(&mut segments, longer, &mut notes, 1000).is_ok()
                && let Some((_, exp)) = promised.kept.get_mut(&n)
            {
                *exp = 9500;
                if notes.is_empty() {
                    promised.settled.append(&mut settling);
                }
            }
        }
        if n % 3 == 0 {
            segments.seal();
        }
        if n % 6 == 0 {
            let time = (at(END), Instant::now());
            segments.reclaim(time, &mut |_, _| {}).ok();
        }
    }
    let state = disk.lock();
    let powered = state.ends.is_none_or(|ends| state.operations < ends);
    (promised, powered)
}

/// That whatever the power left holds all that was promised, and that the next life keeps
/// that and its own, whatever the power leaves of it.
fn outlived(disk: &Model, promised: &Promised, what: &str, is_sound: bool) {
    for (left, disk) in disk.survivors() {
        let what = format!("{what}, {left}");
        let (mut segments, found) = Segments::open(Arc::clone(&disk), SMALL).unwrap();
        promised.check(&segments, &what);
        // The power alone damages nothing but an end that nobody was told of.
        assert!(
            !is_sound || found.damage.is_empty(),
            "{what}: {:?}",
            found.damage
        );
        let mut again = Promised {
            kept: promised.kept.clone(),
            settled: promised.settled.clone(),
            handed_in: promised.handed_in.clone(),
        };
        assert!(again.keep(&mut segments, 200, 9000), "{what}");
        let (seq, _) = again.kept[&200];
        let used = promised.kept.values().any(|(used, _)| *used == seq);
        assert!(!used, "{what}: {seq} was used again");
        drop(segments);
        for (left, disk) in disk.survivors() {
            let what = format!("{what}, then {left}");
            let (segments, found) = Segments::open(disk, SMALL).unwrap();
            again.check(&segments, &what);
            assert!(
                !is_sound || found.damage.is_empty(),
                "{what}: {:?}",
                found.damage
            );
        }
    }
}

#[test]
fn whenever_the_power_goes_what_was_promised_is_there() {
    let mut lives = 0;
    for ends in 1.. {
        let disk = Model::new(None, Some(ends));
        let (promised, powered) = life(&disk);
        outlived(&disk, &promised, &format!("no power from {ends}"), true);
        if powered {
            break;
        }
        lives = ends;
    }
    assert!(lives > 120, "only {lives} moments");
}

#[test]
fn whatever_failed_before_the_power_went_what_was_promised_is_there() {
    let mut lives = 0;
    for fails in 1.. {
        let disk = Model::new(Some(fails), None);
        let (promised, _) = life(&disk);
        let all = disk.lock().operations;
        outlived(&disk, &promised, &format!("{fails} failed"), false);
        if all < fails {
            break;
        }
        // Just behind the failure, and every so often until the end.
        for ends in (fails + 1..fails + 12).chain((fails + 12..all).step_by(29)) {
            let disk = Model::new(Some(fails), Some(ends));
            let (promised, _) = life(&disk);
            let what = format!("{fails} failed, no power from {ends}");
            outlived(&disk, &promised, &what, false);
        }
        lives = fails;
    }
    assert!(lives > 120, "only {lives} failures");
}
