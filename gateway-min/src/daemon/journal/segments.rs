//! The journal on the disk: what is in which segment, and every change to it. One thread
//! owns it (`keeper`); nothing here waits for anything but the disk.
//!
//! What is promised, whatever fails when:
//!
//! * what [`Segments::commit`] returned `Ok` for is on the disk, and is found by every later
//!   [`Segments::open`] until it was settled and has expired;
//! * what it returned an error for is unknown: it may be found later, and then counts as
//!   kept. Its number in the order of acceptance is never used again;
//! * after a failed write or fsync the segment is sealed: cut back to what was on the disk
//!   before where that is possible, and never written or fsynced again. The next append
//!   begins a new one;
//! * segments go from the oldest on, and only after what must outlive them stands in a newer
//!   one: the latest end of life that was forgotten, and entries that others of the segment
//!   would otherwise hold back ([`Bounds::max_age_secs`]).
//!
//! A crash at any point leaves segments that are each whole but for a tail of the last.

use std::{
    collections::{BTreeMap, VecDeque},
    io::{self, ErrorKind},
    prelude::v1::*,
    sync::Arc,
    time::{Duration, Instant},
};

use super::record::{self, Entry, Fate, MAX_RECORD, Record, State};
use crate::{
    UnixTime,
    daemon::{
        deliver::Place,
        files::folder::{Disk, Home},
    },
    verify::{ContentDigest, MessageId},
};

mod reclaim;
mod recover;

pub(crate) use recover::Unopened;
pub(super) use recover::versions;

/// Segments are exchanged daily: what is in one is about one day's patients.
const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// A segment is at most this part of the whole, so that what is removed is not much at once.
const PARTS: u64 = 8;
/// So many of the newest entries are looked for in a folder that may be ours.
const TOKENS_OF_HOME: usize = 4;

/// What is kept at most, and how long.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Bounds {
    /// Bytes of all segments together.
    pub(crate) max_bytes: u64,
    /// How long an entry may stay after it could have gone, in seconds.
    pub(crate) max_age_secs: u32,
    /// How far clocks may differ, in seconds.
    pub(crate) leeway_secs: u32,
    /// Whether messages are delivered from here.
    pub(crate) delivers: bool,
}

impl Bounds {
    /// Entries stop here. The rest is room for what becomes of them, and for copies.
    const fn for_entries(&self) -> u64 {
        self.max_bytes / 4 * 3
    }

    /// Copies stop here. What becomes of entries fits in the rest: a note is a tenth of the
    /// shortest message.
    const fn for_copies(&self) -> u64 {
        self.max_bytes / 8 * 7
    }
}

/// Why something was not kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Fault {
    /// The journal, or its disk, has no room.
    Full,
    /// The journal cannot be written.
    Unavailable,
}

impl Fault {
    pub(super) fn of(error: &io::Error) -> Self {
        match error.kind() {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge => {
                Self::Full
            }
            _ => Self::Unavailable,
        }
    }
}

/// Something to be written.
#[derive(Clone, Copy, Debug)]
pub(super) enum Wish<'a> {
    /// A message; its `seq` is given by the journal.
    Keep(Entry<'a>),
    /// A message that is remembered, with a later end of life.
    Extend(Entry<'a>),
    Probe,
}

/// What came of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Done {
    Kept(u64, Kept),
    Written,
}

/// An entry, as it is known without reading it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Kept {
    pub(super) place: Place,
    pub(super) accepted: UnixTime,
    pub(super) exp: UnixTime,
    pub(super) id: MessageId,
    pub(super) digest: ContentDigest,
    pub(super) subject: u64,
    pub(super) fate: Fate,
}

/// A segment that is not written any more.
#[derive(Clone, Copy, Debug)]
struct Segment {
    number: u64,
    len: u64,
    /// Whether it says something about entries of others.
    notes: bool,
    /// Whether somebody may want to look at it.
    damaged: bool,
}

/// The segment that is written, and how much of it is on the disk.
struct Active<F> {
    segment: Segment,
    file: F,
    since: Instant,
}

/// See the module's documentation.
pub(super) struct Segments<D: Disk> {
    disk: Arc<D>,
    /// Which folder it is that the journal was in last.
    home: Home,
    bounds: Bounds,
    sealed: VecDeque<Segment>,
    active: Option<Active<D::File>>,
    entries: BTreeMap<u64, Kept>,
    state: State,
    last_number: u64,
    /// A segment's unfinished end that could not be cut off yet, and where it begins.
    tail: Option<(u64, u64)>,
    opened: Instant,
    buffer: Vec<u8>,
}

/// The name of the segment `number`.
pub(super) fn name(number: u64) -> String {
    format!("{number:012}.journal")
}

/// The number of the segment of this name.
pub(super) fn number(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(".journal")?;
    let number = digits.parse().ok()?;
    (self::name(number) == name).then_some(number)
}

/// The segments of a folder and their lengths, oldest first.
pub(super) fn list(disk: &impl Disk) -> io::Result<Vec<(u64, u64)>> {
    let files = disk.list()?.into_iter();
    let mut segments: Vec<_> = files
        .filter_map(|(name, len)| Some((number(&name)?, len)))
        .collect();
    segments.sort_unstable();
    Ok(segments)
}

/// The name under which a segment is made.
fn unfinished(number: u64) -> String {
    format!(".{}", name(number))
}

impl<D: Disk> Segments<D> {
    /// Writes `notes` and `wishes`, and returns when they are on the disk; then `notes` is
    /// empty, and `results` has one for each wish.
    pub(super) fn commit<'a>(
        &mut self,
        wishes: impl ExactSizeIterator<Item = Wish<'a>>,
        notes: &mut Vec<(u64, Fate)>,
        time: (UnixTime, Instant),
        results: &mut Vec<Result<Done, Fault>>,
    ) -> io::Result<()> {
        results.clear();
        let count = wishes.len();
        let mut buffer = core::mem::take(&mut self.buffer);
        buffer.clear();
        let written = self.prepare(time.1).and_then(|segment| {
            let mut changes = Changes {
                segment,
                used: self.len(),
                notes: !notes.is_empty(),
            };
            for (seq, fate) in notes.iter() {
                let record = Record::Settled {
                    seq: *seq,
                    fate: *fate,
                };
                record.write(segment.number, &mut buffer);
            }
            for wish in wishes {
                results.push(self.encode(wish, &mut changes, &mut buffer));
            }
            self.write(&buffer, changes.notes)
        });
        self.buffer = buffer;
        // A day with much to say leaves no buffer behind.
        if self.buffer.capacity() > 8 * MAX_RECORD {
            self.buffer = Vec::new();
        }
        match &written {
            Ok(()) => {
                for (seq, fate) in notes.drain(..) {
                    if let Some(kept) = self.entries.get_mut(&seq) {
                        kept.fate = fate;
                    }
                }
                for done in results.iter().flatten() {
                    if let Done::Kept(seq, kept) = done {
                        self.entries.insert(*seq, *kept);
                        // By the clock that judged it, not by what that has become since.
                        self.state.newest = self.state.newest.max(kept.accepted);
                    }
                }
            }
            Err(error) => {
                results.clear();
                results.resize(count, Err(Fault::of(error)));
            }
        }
        written
    }

    /// The bytes of one wish, behind those that are in `buffer` already.
    fn encode(
        &mut self,
        wish: Wish<'_>,
        changes: &mut Changes,
        buffer: &mut Vec<u8>,
    ) -> Result<Done, Fault> {
        let number = changes.segment.number;
        match wish {
            Wish::Keep(entry) => {
                let at = buffer.len();
                let seq = self.state.next;
                let entry = Entry { seq, ..entry };
                let len = Record::Entry(entry).write(number, buffer);
                if changes.used + bytes(buffer.len()) > self.bounds.for_entries() {
                    buffer.truncate(at);
                    return Err(Fault::Full);
                }
                // Whatever becomes of this one: a number that may be on the disk is used up.
                self.state.next += 1;
                let place = place(number, changes.segment.len + bytes(at), len);
                Ok(Done::Kept(seq, Kept::of(&entry, place)))
            }
            Wish::Extend(entry) => {
                let mut kept = self.entries.iter_mut();
                match kept.rfind(|(_, kept)| kept.id == entry.id) {
                    Some((seq, kept)) => {
                        // At once: longer than needed is safe where the write fails.
                        kept.exp = kept.exp.max(entry.exp);
                        let (seq, exp) = (*seq, kept.exp);
                        let at = buffer.len();
                        Record::Extended { seq, exp }.write(number, buffer);
                        // Of these there can be any number.
                        if changes.used + bytes(buffer.len()) > self.bounds.for_copies() {
                            buffer.truncate(at);
                            return Err(Fault::Full);
                        }
                        changes.notes = true;
                        Ok(Done::Written)
                    }
                    // Its entry had expired, and went: it lives again.
                    None => self.encode(Wish::Keep(entry), changes, buffer),
                }
            }
            Wish::Probe => {
                Record::Probe.write(number, buffer);
                Ok(Done::Written)
            }
        }
    }

    /// The segment that is to be written: a new one where the old has had its day, or is
    /// not there any more.
    fn prepare(&mut self, now: Instant) -> io::Result<Segment> {
        let home = self.disk.check()?;
        if home != self.home {
            self.recognise()?;
            self.home = home;
        }
        if let Some(active) = &self.active {
            let day = DAY.min(Duration::from_secs(u64::from(self.bounds.max_age_secs)));
            let full = active.segment.len >= self.bounds.max_bytes / PARTS;
            if full || now.saturating_duration_since(active.since) >= day {
                self.seal();
            } else if !self
                .disk
                .is_named(&name(active.segment.number), &active.file)?
            {
                // What was in it went with it.
                self.seal();
            }
        }
        if let Some(active) = &self.active {
            return Ok(active.segment);
        }
        self.begin(now)
    }

    /// Whether another folder that is in the place of ours holds our journal, as a disk does
    /// that was away. What is below its mount point does not, and nothing is written there:
    /// it would be out of sight when the disk is back.
    fn recognise(&self) -> io::Result<()> {
        let mut bytes = Vec::new();
        for (seq, kept) in self.entries.iter().rev().take(TOKENS_OF_HOME) {
            let found = read_entry(&*self.disk, kept.place, &mut bytes)?;
            if found.is_some_and(|entry| (entry.seq, entry.id) == (*seq, kept.id)) {
                return Ok(());
            }
        }
        if self.entries.is_empty() {
            return Ok(());
        }
        Err(io::Error::new(
            ErrorKind::NotFound,
            "another folder is in its place, without what was kept: \
             bring it back, or start the gateway again to go on without",
        ))
    }

    /// A new segment, which has its name only when it is whole.
    fn begin(&mut self, now: Instant) -> io::Result<Segment> {
        // Others that somebody put there meanwhile are not ours to replace.
        let newest = list(&*self.disk)?.last().map_or(0, |(number, _)| *number);
        let number = self.last_number.max(newest).checked_add(1);
        let number = number.ok_or(ErrorKind::FileTooLarge)?;
        self.last_number = number;
        let (unfinished, name) = (unfinished(number), name(number));
        self.cut_tail();
        let mut bytes = record::header(number).to_vec();
        Record::State(self.state).write(number, &mut bytes);
        let made = self.disk.create(&unfinished).and_then(|mut file| {
            self.disk.append(&mut file, &bytes)?;
            self.disk.sync(&file)?;
            self.disk.rename(&unfinished, &name)?;
            self.disk.sync_names()?;
            Ok(file)
        });
        match made {
            Ok(file) => {
                let segment = Segment {
                    number,
                    len: self::bytes(bytes.len()),
                    notes: false,
                    damaged: false,
                };
                self.active = Some(Active {
                    segment,
                    file,
                    since: now,
                });
                Ok(segment)
            }
            Err(error) => {
                // Nothing is in it that anybody was told of.
                self.disk.remove(&unfinished).ok();
                self.disk.remove(&name).ok();
                Err(error)
            }
        }
    }

    /// Appends to the active segment; it is sealed where that fails.
    fn write(&mut self, bytes: &[u8], notes: bool) -> io::Result<()> {
        let Some(active) = &mut self.active else {
            return Ok(());
        };
        if bytes.is_empty() {
            return Ok(());
        }
        let written = self
            .disk
            .append(&mut active.file, bytes)
            .and_then(|()| self.disk.sync(&active.file));
        match written {
            Ok(()) => {
                active.segment.len += self::bytes(bytes.len());
                active.segment.notes |= notes;
            }
            Err(_) => {
                let Segment { number, len, .. } = active.segment;
                // So that what was answered 503 is not found later, if it can be helped.
                self.disk.cut(&name(number), len).ok();
                self.seal();
            }
        }
        written
    }

    /// Leaves the segment that is written as it is: whoever wrote it was interrupted.
    pub(super) fn seal(&mut self) {
        if let Some(active) = self.active.take() {
            self.sealed.push_back(active.segment);
        }
    }

    /// Bytes of all segments.
    pub(super) fn len(&self) -> u64 {
        let sealed = self.sealed.iter().map(|segment| segment.len);
        let active = self.active.as_ref().map(|active| active.segment.len);
        sealed.chain(active).sum()
    }

    /// How many segments there are.
    pub(super) fn count(&self) -> usize {
        self.sealed.len() + usize::from(self.active.is_some())
    }

    /// Whether `more` bytes of entries could be too many.
    pub(super) fn is_tight(&self, more: usize) -> bool {
        self.len() + bytes(more) > self.bounds.for_entries()
    }

    /// Which folder it is in.
    pub(super) const fn home(&self) -> Home {
        self.home
    }

    /// Every entry that is known, by its `seq`.
    pub(super) const fn entries(&self) -> &BTreeMap<u64, Kept> {
        &self.entries
    }

    pub(super) const fn state(&self) -> &State {
        &self.state
    }

    pub(super) const fn bounds(&self) -> &Bounds {
        &self.bounds
    }
}

/// What a commit is about to change.
struct Changes {
    segment: Segment,
    /// Bytes of all segments before it.
    used: u64,
    notes: bool,
}

impl Kept {
    const fn of(entry: &Entry<'_>, place: Place) -> Self {
        Self {
            place,
            accepted: entry.accepted,
            exp: entry.exp,
            id: entry.id,
            digest: entry.digest,
            subject: entry.subject,
            fate: entry.fate,
        }
    }

    /// The entry itself, but for a token that cannot be read any more.
    const fn without_token(&self, seq: u64) -> Entry<'static> {
        Entry {
            seq,
            accepted: self.accepted,
            exp: self.exp,
            id: self.id,
            digest: self.digest,
            subject: self.subject,
            fate: self.fate,
            token: b"",
        }
    }
}

/// The entry at `place`, in the bytes of `buffer`; `None` where it is not there any more.
pub(super) fn read_entry<'a>(
    disk: &impl Disk,
    place: Place,
    buffer: &'a mut Vec<u8>,
) -> io::Result<Option<Entry<'a>>> {
    buffer.clear();
    buffer.resize(usize::try_from(place.len).unwrap_or(0), 0);
    match disk.read_at(&name(place.segment), u64::from(place.offset), buffer) {
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::UnexpectedEof) => {
            return Ok(None);
        }
        read => read?,
    }
    match record::read(buffer, place.segment) {
        record::Read::Record(Record::Entry(entry), _) => Ok(Some(entry)),
        _ => Ok(None),
    }
}

fn place(segment: u64, at: u64, len: usize) -> Place {
    Place {
        segment,
        offset: u32::try_from(at).unwrap_or(u32::MAX),
        len: u32::try_from(len).unwrap_or(u32::MAX),
    }
}

fn bytes(len: usize) -> u64 {
    u64::try_from(len).unwrap_or(u64::MAX)
}

/// Largest journal that can be asked for. A segment is sealed at an eighth of it and a batch,
/// so that every offset fits its 32 bits.
pub(crate) const MAX_BYTES: u64 = 4096 * 1024 * 1024;
const _: () = assert!(MAX_BYTES / PARTS < 1 << 30);

#[cfg(test)]
mod tests;
