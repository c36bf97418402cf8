//! Reading a journal at a start: every segment, past what is damaged, into what is known of
//! its entries. An unfinished end is cut off; nothing else is written.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    io,
    prelude::v1::*,
    sync::Arc,
    time::Instant,
};

use super::{Bounds, Disk, Kept, Segment, Segments, list, name, number, place};
use crate::{
    UnixTime,
    daemon::journal::{
        record::{Fate, Record, State},
        scan::{Met, Refused, Scan},
    },
    verify::{ContentDigest, MessageId},
};

/// What was found at a start.
#[derive(Debug, Default)]
pub(in crate::daemon::journal) struct Found {
    /// What the memory of accepted messages has to know again.
    pub(in crate::daemon::journal) remembered: Vec<(MessageId, ContentDigest, UnixTime)>,
    /// What is wrong with which segment, in words.
    pub(in crate::daemon::journal) damage: Vec<String>,
    /// What was cut off the end, in words.
    pub(in crate::daemon::journal) torn: Option<String>,
}

/// Why a journal is not opened.
#[derive(Debug)]
pub(crate) enum Unopened {
    Io(io::Error),
    /// A segment of a version that this gateway does not know.
    Newer {
        name: String,
        version: u32,
    },
}

impl From<io::Error> for Unopened {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// Whether every segment is of a version that is read here.
pub(in crate::daemon::journal) fn versions(disk: &impl Disk) -> Result<(), Unopened> {
    for (number, _) in list(disk)? {
        let name = name(number);
        match Scan::open(disk.open(&name)?, number) {
            Ok(_) => {}
            Err(Refused::Io(error)) => return Err(error.into()),
            Err(Refused::Newer(version)) => return Err(Unopened::Newer { name, version }),
        }
    }
    Ok(())
}

/// What is known while segments are read.
#[derive(Default)]
struct Reading {
    known: HashMap<MessageId, (u64, ContentDigest)>,
    settled: HashMap<u64, Fate>,
    extended: HashMap<u64, UnixTime>,
}

impl<D: Disk> Segments<D> {
    /// Reads what is there, and cuts off what a crash left unfinished. Nothing else is
    /// written.
    pub(in crate::daemon::journal) fn open(
        disk: Arc<D>,
        bounds: Bounds,
    ) -> Result<(Self, Found), Unopened> {
        let home = disk.check()?;
        let segments = list(&*disk)?;
        let mut journal = Self {
            disk,
            home,
            bounds,
            sealed: VecDeque::new(),
            active: None,
            entries: BTreeMap::new(),
            state: State::EMPTY,
            last_number: segments.last().map_or(0, |(number, _)| *number),
            tail: None,
            opened: Instant::now(),
            buffer: Vec::new(),
        };
        let mut found = Found::default();
        let mut reading = Reading::default();
        let last = journal.last_number;
        for (number, len) in segments {
            journal.read(number, len, number == last, &mut reading, &mut found)?;
        }
        for (seq, kept) in &mut journal.entries {
            if let Some(exp) = reading.extended.get(seq) {
                kept.exp = kept.exp.max(*exp);
            }
            if let Some(fate) = reading.settled.get(seq) {
                kept.fate = *fate;
            }
            if let Some((latest, digest)) = reading.known.get(&kept.id)
                && latest == seq
            {
                found.remembered.push((kept.id, *digest, kept.exp));
            }
        }
        // What was being made when the process ended; harmless where it cannot be removed.
        for (name, _) in journal.disk.list()? {
            let unfinished = name.strip_prefix('.').and_then(number);
            if unfinished.is_some() {
                journal.disk.remove(&name).ok();
            }
        }
        Ok((journal, found))
    }

    fn read(
        &mut self,
        number: u64,
        len: u64,
        last: bool,
        reading: &mut Reading,
        found: &mut Found,
    ) -> Result<(), Unopened> {
        let name = name(number);
        let mut segment = Segment {
            number,
            len,
            notes: false,
            damaged: false,
        };
        let (mut scan, damaged) = match Scan::open(self.disk.open(&name)?, number) {
            Ok(open) => open,
            Err(Refused::Io(error)) => return Err(error.into()),
            Err(Refused::Newer(version)) => return Err(Unopened::Newer { name, version }),
        };
        let mut torn = None;
        let faults = found.damage.len();
        if damaged {
            found.damage.push(format!("{name}: its header is damaged"));
        }
        while let Some(met) = scan.next()? {
            match met {
                Met::Record { record, at, len } => {
                    segment.notes |=
                        matches!(record, Record::Settled { .. } | Record::Extended { .. });
                    self.found(record, number, at, len, reading);
                }
                Met::Damage { at, len } => found
                    .damage
                    .push(format!("{name}: {len} bytes at {at} are damaged")),
                Met::Tail { at, len } if last && !damaged => torn = Some((at, len)),
                Met::Tail { at, len } => found
                    .damage
                    .push(format!("{name}: {len} bytes at {at}, its end, are damaged")),
            }
        }
        segment.damaged = found.damage.len() > faults;
        if let Some((at, len)) = torn {
            found.torn = Some(format!("{name}: {len} unfinished bytes at {at}"));
            self.tail = Some((number, at));
        }
        self.sealed.push_back(segment);
        self.cut_tail();
        Ok(())
    }

    /// Cuts off an unfinished end, for good before another segment follows: there it would
    /// be damage. Where it cannot be cut it is tried again with the next segment.
    pub(super) fn cut_tail(&mut self) {
        let Some((number, at)) = self.tail else {
            return;
        };
        let name = name(number);
        let cut = self.disk.cut(&name, at);
        if cut.and_then(|()| self.disk.sync_named(&name)).is_ok() {
            self.tail = None;
            let mut sealed = self.sealed.iter_mut();
            if let Some(segment) = sealed.find(|segment| segment.number == number) {
                segment.len = at;
            }
        }
    }

    fn found(
        &mut self,
        record: Record<'_>,
        number: u64,
        at: u64,
        len: usize,
        reading: &mut Reading,
    ) {
        match record {
            Record::Entry(entry) => {
                self.state.newest = self.state.newest.max(entry.accepted);
                self.state.next = self.state.next.max(entry.seq.saturating_add(1));
                let known = reading.known.insert(entry.id, (entry.seq, entry.digest));
                if let Some((other, digest)) = known
                    && other != entry.seq
                    && digest == entry.digest
                {
                    // Its answer was 503, and it was asked again. Other content was accepted
                    // when the first had been forgotten, and is another message.
                    self.entries.remove(&other);
                }
                let place = place(number, at, len);
                self.entries.insert(entry.seq, Kept::of(&entry, place));
            }
            Record::Settled { seq, fate } => {
                reading.settled.insert(seq, fate);
            }
            Record::Extended { seq, exp } => {
                let known = reading.extended.entry(seq).or_insert(exp);
                *known = exp.max(*known);
            }
            Record::State(state) => self.state.merge(state),
            Record::Probe => {}
        }
    }
}
