//! What leaves the journal: segments, whole and from the oldest on, when everything in them
//! was settled and has expired. What they would hold back, or take with them, stands in a
//! newer one first.

use std::{
    io::{self, ErrorKind},
    prelude::v1::*,
    time::{Duration, Instant},
};

use super::{Bounds, Disk, Kept, Segment, Segments, bytes, name, place, read_entry};
use crate::{
    UnixTime,
    daemon::{
        deliver::Place,
        files::folder::is_bad_block,
        journal::record::{Entry, Fate, MAX_RECORD, Record},
    },
};

/// Copies are written when they are so many bytes: a segment can be larger than what a board
/// has to spare.
const PIECE: usize = 1024 * 1024;

/// Told of every entry that has another place now, before its old one goes.
pub(in crate::daemon::journal) type Moved<'a> = &'a mut dyn FnMut(u64, Place);

impl Kept {
    /// Whether it is too old to be delivered.
    pub(in crate::daemon::journal) fn is_past(&self, bounds: &Bounds, now: UnixTime) -> bool {
        self.exp.plus(bounds.max_age_secs) <= now
    }

    /// Whether it can go, `more` seconds after it first could.
    fn is_due(&self, bounds: &Bounds, now: UnixTime, more: u32) -> bool {
        let expired = |more| now >= self.exp.plus(bounds.leeway_secs).plus(more);
        match self.fate {
            // Nobody delivers it any more; once it is old enough, nobody should.
            Fate::Waiting => !bounds.delivers && expired(bounds.max_age_secs),
            _ => expired(more),
        }
    }
}

impl<D: Disk> Segments<D> {
    /// Removes what may go by now, the oldest first. `moved` is told what had to be
    /// copied.
    pub(in crate::daemon::journal) fn reclaim(
        &mut self,
        time: (UnixTime, Instant),
        moved: Moved<'_>,
    ) -> io::Result<()> {
        self.remove_empty(time.1)?;
        while let Some(oldest) = self.sealed.front().copied() {
            let of = |kept: &Kept| kept.place.segment == oldest.number;
            let mut entries = self.entries.values().filter(|kept| of(kept));
            let all = entries
                .clone()
                .all(|kept| kept.is_due(&self.bounds, time.0, 0));
            let overdue =
                entries.any(|kept| kept.is_due(&self.bounds, time.0, self.bounds.max_age_secs));
            // Evidence is not worth an outage, however often the gateway was started.
            let stays = self.is_evidence(&oldest, time.1) && !self.is_tight(MAX_RECORD);
            if !(all || overdue) || stays {
                break;
            }
            self.carry_over(oldest, time, moved)?;
            self.remove(oldest.number)?;
            self.sealed.pop_front();
        }
        Ok(())
    }

    /// Removes segments that say nothing, wherever they are: what they begin with stands in
    /// every newer one.
    fn remove_empty(&mut self, now: Instant) -> io::Result<()> {
        let newest = self.active.as_ref().map(|active| active.segment.number);
        let newest = newest.or_else(|| self.sealed.back().map(|segment| segment.number));
        let mut at = 0;
        while let Some(segment) = self.sealed.get(at).copied() {
            let said = segment.notes
                || self.is_evidence(&segment, now)
                || Some(segment.number) == newest
                || self
                    .entries
                    .values()
                    .any(|kept| kept.place.segment == segment.number);
            if said {
                at += 1;
            } else {
                self.remove(segment.number)?;
                self.sealed.remove(at);
            }
        }
        Ok(())
    }

    /// Whether a segment is damaged, and whoever was told of it may not have looked yet.
    fn is_evidence(&self, segment: &Segment, now: Instant) -> bool {
        let age = Duration::from_secs(u64::from(self.bounds.max_age_secs));
        segment.damaged && now.saturating_duration_since(self.opened) < age
    }

    /// Writes what has to outlive a segment into the active one.
    fn carry_over(
        &mut self,
        segment: Segment,
        time: (UnixTime, Instant),
        moved: Moved<'_>,
    ) -> io::Result<()> {
        let of_segment = |kept: &Kept| kept.place.segment == segment.number;
        let entries = self.entries.iter().filter(|(_, kept)| of_segment(kept));
        let mut staying = Vec::new();
        for (seq, kept) in entries {
            if kept.is_due(&self.bounds, time.0, 0) {
                // Forgotten: no token that ends as early is new again.
                self.state.floor = self.state.floor.max(kept.exp);
            } else {
                staying.push((*seq, *kept));
            }
        }
        let (mut out, mut copies, mut body) = (Vec::new(), Vec::new(), Vec::new());
        let mut into = self.prepare(time.1)?;
        for (seq, kept) in staying {
            let copy = match read_entry(&*self.disk, kept.place, &mut body) {
                Err(error) if is_bad_block(&error) => None,
                read => read?,
            };
            let entry = match copy {
                Some(entry) => Entry {
                    exp: kept.exp,
                    fate: kept.fate,
                    ..entry
                },
                // Lost, and no reason to take the same message twice.
                None => kept.without_token(seq),
            };
            let at = into.len + bytes(out.len());
            let len = Record::Entry(entry).write(into.number, &mut out);
            copies.push((seq, place(into.number, at, len)));
            if out.len() >= PIECE {
                self.copy(&mut out, &mut copies, moved)?;
                into = self.prepare(time.1)?;
            }
        }
        Record::State(self.state).write(into.number, &mut out);
        self.copy(&mut out, &mut copies, moved)
    }

    /// Writes copies, and tells their new places.
    fn copy(
        &mut self,
        out: &mut Vec<u8>,
        copies: &mut Vec<(u64, Place)>,
        moved: Moved<'_>,
    ) -> io::Result<()> {
        self.write(out, false)?;
        out.clear();
        for (seq, place) in copies.drain(..) {
            if let Some(kept) = self.entries.get_mut(&seq) {
                kept.place = place;
            }
            moved(seq, place);
        }
        Ok(())
    }

    /// Removes a segment's file, and everything that is still known to be in it.
    fn remove(&mut self, number: u64) -> io::Result<()> {
        match self.disk.remove(&name(number)) {
            // Somebody was faster.
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            removed => removed?,
        }
        self.disk.sync_names()?;
        self.entries.retain(|_, kept| kept.place.segment != number);
        Ok(())
    }
}
