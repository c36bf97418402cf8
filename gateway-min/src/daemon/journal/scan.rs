//! Reads a segment from its front to its end, in bounded memory, past whatever is damaged.
//!
//! Bytes that are no record are looked at one after the other until a record begins again.
//! What has records behind it is *damage*: somebody or something changed the file. What has
//! none is a *tail*: an append that a power cut or a failed disk did not let end.

use std::{
    io::{self, Read},
    prelude::v1::*,
};

use super::record::{self, FRAME, HEADER, Header, MAX_RECORD, Record};

/// What a scan meets.
#[derive(PartialEq, Eq, Debug)]
pub(super) enum Met<'a> {
    /// A record, where it begins, and its length.
    Record {
        record: Record<'a>,
        at: u64,
        len: usize,
    },
    /// Bytes that are none, with records behind them; or a damaged header.
    Damage { at: u64, len: u64 },
    /// Bytes at the end that are none.
    Tail { at: u64, len: u64 },
}

/// A segment being read.
pub(super) struct Scan<R> {
    reader: R,
    number: u64,
    window: Vec<u8>,
    /// Where in the window the next record may begin.
    front: usize,
    /// Where in the segment the window's front is.
    at: u64,
    ended: bool,
    /// Where bytes that are no record began.
    bad: Option<u64>,
    /// How many bytes at the front were handed out, and lie behind the next look.
    used: usize,
}

/// Why a segment is not read.
#[derive(Debug)]
pub(super) enum Refused {
    Io(io::Error),
    /// Of this version, which is newer than ours.
    Newer(u32),
}

impl<R: Read> Scan<R> {
    /// Reads the header of the segment `number`. The second says whether it is damaged: its
    /// records are found all the same.
    pub(super) fn open(reader: R, number: u64) -> Result<(Self, bool), Refused> {
        let mut scan = Self {
            reader,
            number,
            window: Vec::with_capacity(2 * MAX_RECORD),
            front: 0,
            at: 0,
            ended: false,
            bad: None,
            used: 0,
        };
        scan.fill(HEADER).map_err(Refused::Io)?;
        let damaged = match record::read_header(&scan.window, number) {
            Header::Good => {
                scan.step(HEADER);
                false
            }
            Header::Newer(version) => return Err(Refused::Newer(version)),
            // Its length may be as wrong as its bytes: records are looked for from its front.
            Header::Damaged => true,
        };
        Ok((scan, damaged))
    }

    /// What comes next; `None` at the end.
    ///
    /// # Errors
    /// The reader's.
    pub(super) fn next(&mut self) -> io::Result<Option<Met<'_>>> {
        let used = core::mem::take(&mut self.used);
        self.step(used);
        let mut wanted = FRAME;
        let len = loop {
            self.fill(wanted)?;
            let left = self.window.len() - self.front;
            match record::read(&self.window[self.front..], self.number) {
                record::Read::Record(_, len) => {
                    if let Some(bad) = self.bad.take() {
                        return Ok(Some(Met::Damage {
                            at: bad,
                            len: self.at - bad,
                        }));
                    }
                    self.used = len;
                    break len;
                }
                record::Read::Short(more) if !self.ended => wanted = more,
                record::Read::Short(_) | record::Read::Nothing if left > 0 => {
                    self.bad.get_or_insert(self.at);
                    self.step(1);
                    wanted = FRAME;
                }
                record::Read::Short(_) | record::Read::Nothing => {
                    let tail = self.bad.take();
                    return Ok(tail.map(|at| Met::Tail {
                        at,
                        len: self.at - at,
                    }));
                }
            }
        };
        let at = self.at;
        let record = record::parse(&self.window[self.front..self.front + len]);
        Ok(record.map(|record| Met::Record { record, at, len }))
    }

    fn step(&mut self, len: usize) {
        self.front += len;
        self.at += u64::try_from(len).unwrap_or(0);
    }

    /// Has `wanted` bytes at the front, or all there are.
    fn fill(&mut self, wanted: usize) -> io::Result<()> {
        while !self.ended && self.window.len() - self.front < wanted {
            if self.front >= MAX_RECORD {
                self.window.drain(..self.front);
                self.front = 0;
            }
            let room = (2 * MAX_RECORD - self.window.len()).max(wanted);
            let room = u64::try_from(room).unwrap_or(u64::MAX);
            let read = self
                .reader
                .by_ref()
                .take(room)
                .read_to_end(&mut self.window)?;
            self.ended = read == 0;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::{panic, prelude::v1::*};

    use super::{Met, Refused, Scan};
    use crate::{
        UnixTime,
        daemon::journal::record::{self, Entry, Fate, HEADER, Record},
    };

    fn entry(seq: u64, token: &[u8]) -> Record<'_> {
        Record::Entry(Entry {
            seq,
            accepted: UnixTime::EPOCH,
            exp: UnixTime::EPOCH,
            id: [0; 16],
            digest: [0; 16],
            subject: 0,
            fate: Fate::Waiting,
            token,
        })
    }

    /// A segment of `count` entries, and where each begins.
    fn segment(count: u64) -> (Vec<u8>, Vec<usize>) {
        let mut bytes = record::header(5).to_vec();
        let mut starts = Vec::new();
        for seq in 0..count {
            starts.push(bytes.len());
            let token = vec![b'x'; usize::try_from(seq * 977 % 3000).unwrap()];
            entry(seq, &token).write(5, &mut bytes);
        }
        (bytes, starts)
    }

    /// Numbers of entries, and what else is met.
    fn scan(bytes: &[u8]) -> (Vec<u64>, Vec<(&'static str, u64, u64)>, bool) {
        let (mut scan, damaged) = Scan::open(bytes, 5).unwrap();
        let (mut entries, mut rest) = (Vec::new(), Vec::new());
        while let Some(met) = scan.next().unwrap() {
            match met {
                Met::Record {
                    record: Record::Entry(entry),
                    at,
                    len,
                } => {
                    let at = usize::try_from(at).unwrap();
                    let same = record::read(&bytes[at..at + len], 5);
                    assert!(
                        matches!(same, record::Read::Record(Record::Entry(e), l) if e.seq == entry.seq && l == len)
                    );
                    entries.push(entry.seq);
                }
                Met::Record { record, .. } => panic!("{record:?}"),
                Met::Damage { at, len } => rest.push(("damage", at, len)),
                Met::Tail { at, len } => rest.push(("tail", at, len)),
            }
        }
        (entries, rest, damaged)
    }

    #[test]
    fn a_whole_segment_is_read_whole() {
        let (bytes, _) = segment(100);
        let (entries, rest, damaged) = scan(&bytes);
        assert_eq!(entries, (0..100).collect::<Vec<_>>());
        assert_eq!((rest, damaged), (Vec::new(), false));
    }

    #[test]
    fn a_cut_is_a_tail_wherever_it_is() {
        let (bytes, starts) = segment(4);
        for cut in 0..bytes.len() {
            let (entries, rest, damaged) = scan(&bytes[..cut]);
            let whole = starts[1..].iter().filter(|start| **start <= cut).count();
            assert_eq!(entries.len(), whole, "{cut}");
            assert_eq!(damaged, cut < HEADER, "{cut}");
            let good = match whole {
                0 if cut < HEADER => 0,
                _ => starts[whole],
            };
            let tail = u64::try_from(cut - good).unwrap();
            let wanted = (tail > 0).then_some(("tail", u64::try_from(good).unwrap(), tail));
            assert_eq!(rest, Vec::from_iter(wanted), "{cut}");
        }
    }

    #[test]
    fn a_flipped_byte_costs_its_own_record_alone() {
        let (mut bytes, starts) = segment(4);
        for at in 0..bytes.len() {
            bytes[at] ^= 0x55;
            let (entries, rest, damaged) = scan(&bytes);
            bytes[at] ^= 0x55;
            let hit = starts.iter().rposition(|start| *start <= at);
            let mut wanted = vec![0, 1, 2, 3];
            if let Some(hit) = hit {
                wanted.remove(hit);
            }
            assert_eq!(entries, wanted, "{at}");
            assert_eq!(damaged, hit.is_none(), "{at}");
            let kind = if hit == Some(3) { "tail" } else { "damage" };
            assert_eq!(rest.len(), 1, "{at}: {rest:?}");
            assert_eq!(rest[0].0, kind, "{at}");
        }
    }

    #[test]
    fn a_newer_version_is_not_read() {
        let mut bytes = record::header(5);
        bytes[8..12].copy_from_slice(&2_u32.to_le_bytes());
        // Damaged, where the check does not say so too.
        assert!(Scan::open(bytes.as_slice(), 5).unwrap().1);
        let newer = record::tests::of_version(5, 2);
        assert!(matches!(
            Scan::open(newer.as_slice(), 5),
            Err(Refused::Newer(2))
        ));
    }
}
