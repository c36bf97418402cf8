//! The journal's bytes. Pure: nothing here opens a file.
//!
//! A segment is a file `<number>.journal` of one header and any number of records. All
//! numbers are little-endian.
//!
//! | header, 32 bytes | |
//! |---|---|
//! | 0–7 | `89 67 77 6a 0d 0a 1a 0a`: not text, and broken by whoever translates line ends |
//! | 8–11 | version of the format, 1 |
//! | 12–15 | zero |
//! | 16–23 | the segment's number |
//! | 24–31 | check: the first 8 bytes of SHA-256 over bytes 0–23 |
//!
//! The header has this form in every version, so that a newer one is known for what it is.
//!
//! | record | |
//! |---|---|
//! | 0–7 | check: the first 8 bytes of SHA-256 over the segment's number and bytes 8 to the end |
//! | 8–11 | length of the body, at most [`MAX_BODY`] |
//! | 12 | kind |
//! | 13– | body |
//!
//! The number in the check binds a record to its segment: a block of another file that a
//! broken file system puts here is no record. SHA-256 is there already for the tokens, and
//! no damage passes 64 bits of it; on a board it costs less than a hundredth of an fsync.

use std::prelude::v1::*;

use sha2::{Digest as _, Sha256};

use crate::{
    UnixTime,
    limits::MAX_TOKEN,
    verify::{ContentDigest, MessageId},
};

/// The version of the format that is written, and the newest that is read.
pub(super) const VERSION: u32 = 1;
pub(super) const HEADER: usize = 32;
const MAGIC: [u8; 8] = *b"\x89gwj\r\n\x1a\n";
/// Check, length and kind.
pub(super) const FRAME: usize = 13;
/// Fields of an entry before its token.
const ENTRY: usize = 66;
/// Longest body: an entry with the longest token.
pub(super) const MAX_BODY: usize = ENTRY + MAX_TOKEN;
/// Longest record.
pub(super) const MAX_RECORD: usize = FRAME + MAX_BODY;

/// What became of a kept message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Fate {
    /// It waits for its delivery.
    Waiting,
    /// It is for this gateway's journal and log alone.
    NotForDelivery,
    Delivered,
    /// The site's system will not have it.
    Refused,
    /// Given up, long expired.
    Expired,
    /// It could not be read back.
    Lost,
}

impl Fate {
    const ALL: [Self; 6] = [
        Self::Waiting,
        Self::NotForDelivery,
        Self::Delivered,
        Self::Refused,
        Self::Expired,
        Self::Lost,
    ];

    const fn byte(self) -> u8 {
        match self {
            Self::Waiting => 0,
            Self::NotForDelivery => 1,
            Self::Delivered => 2,
            Self::Refused => 3,
            Self::Expired => 4,
            Self::Lost => 5,
        }
    }

    fn of(byte: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|fate| fate.byte() == byte)
    }

    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::NotForDelivery => "not_for_delivery",
            Self::Delivered => "delivered",
            Self::Refused => "refused",
            Self::Expired => "expired",
            Self::Lost => "lost",
        }
    }
}

/// A message that was accepted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Entry<'a> {
    /// Its place in the order of acceptance; never used again.
    pub(super) seq: u64,
    /// When it was accepted.
    pub(super) accepted: UnixTime,
    /// The latest end of life of its tokens.
    pub(super) exp: UnixTime,
    pub(super) id: MessageId,
    pub(super) digest: ContentDigest,
    /// What it is about, hashed; 0 where it does not say.
    pub(super) subject: u64,
    pub(super) fate: Fate,
    pub(super) token: &'a [u8],
}

/// What a journal says, one after the other.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Record<'a> {
    /// A message was accepted; or, where its `seq` is known already, the same entry was
    /// copied from an older segment.
    Entry(Entry<'a>),
    /// What became of an entry.
    Settled { seq: u64, fate: Fate },
    /// A copy with a later end of life was told *duplicate*.
    Extended { seq: u64, exp: UnixTime },
    /// What outlives the entries: at the beginning of every segment.
    State(State),
    /// Proof that the journal can be written.
    Probe,
}

/// What outlives the entries that it comes from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct State {
    /// The latest end of life among entries that were removed.
    pub(super) floor: UnixTime,
    /// When a message was accepted last.
    pub(super) newest: UnixTime,
    /// The next entry's `seq`.
    pub(super) next: u64,
}

impl State {
    pub(super) const EMPTY: Self = Self {
        floor: UnixTime::from_secs(i64::MIN),
        newest: UnixTime::from_secs(i64::MIN),
        next: 1,
    };

    /// The later of each, so that no record can take back another.
    pub(super) fn merge(&mut self, other: Self) {
        self.floor = self.floor.max(other.floor);
        self.newest = self.newest.max(other.newest);
        self.next = self.next.max(other.next);
    }
}

/// A segment's header.
pub(super) fn header(number: u64) -> [u8; HEADER] {
    let mut bytes = [0; HEADER];
    bytes[..8].copy_from_slice(&MAGIC);
    bytes[8..12].copy_from_slice(&VERSION.to_le_bytes());
    bytes[16..24].copy_from_slice(&number.to_le_bytes());
    let check = check(&[&bytes[..24]]);
    bytes[24..].copy_from_slice(&check);
    bytes
}

/// What a segment's first bytes are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Header {
    /// Of this version, and of this segment.
    Good,
    /// Of a version that this gateway does not know.
    Newer(u32),
    Damaged,
}

/// Judges the first bytes of the segment `number`.
pub(super) fn read_header(bytes: &[u8], number: u64) -> Header {
    let Some(bytes) = bytes.first_chunk::<HEADER>() else {
        return Header::Damaged;
    };
    if bytes[..8] != MAGIC || bytes[24..] != check(&[&bytes[..24]]) {
        return Header::Damaged;
    }
    let version = u32::from_le_bytes([bytes[8], bytes[9], bytes[10], bytes[11]]);
    if version > VERSION {
        return Header::Newer(version);
    }
    if *bytes == header(number) {
        Header::Good
    } else {
        Header::Damaged
    }
}

impl Record<'_> {
    /// Appends this record to `out`, bound to the segment `number`. `out` grows by the
    /// record's length, which is returned.
    pub(super) fn write(&self, number: u64, out: &mut Vec<u8>) -> usize {
        let start = out.len();
        out.extend_from_slice(&[0; FRAME]);
        let kind = match self {
            Self::Entry(entry) => {
                out.extend_from_slice(&entry.seq.to_le_bytes());
                put_time(entry.accepted, out);
                put_time(entry.exp, out);
                out.extend_from_slice(&entry.id);
                out.extend_from_slice(&entry.digest);
                out.extend_from_slice(&entry.subject.to_le_bytes());
                out.push(entry.fate.byte());
                // Room for what an entry may have to say later.
                out.push(0);
                out.extend_from_slice(entry.token);
                1
            }
            Self::Settled { seq, fate } => {
                out.extend_from_slice(&seq.to_le_bytes());
                out.push(fate.byte());
                2
            }
            Self::Extended { seq, exp } => {
                out.extend_from_slice(&seq.to_le_bytes());
                put_time(*exp, out);
                3
            }
            Self::State(state) => {
                put_time(state.floor, out);
                put_time(state.newest, out);
                out.extend_from_slice(&state.next.to_le_bytes());
                4
            }
            Self::Probe => 5,
        };
        let len = out.len() - start;
        let body = u32::try_from(len - FRAME).unwrap_or(u32::MAX);
        out[start + 8..start + 12].copy_from_slice(&body.to_le_bytes());
        out[start + 12] = kind;
        let check = check(&[&number.to_le_bytes(), &out[start + 8..]]);
        out[start..start + 8].copy_from_slice(&check);
        len
    }
}

fn put_time(time: UnixTime, out: &mut Vec<u8>) {
    out.extend_from_slice(&time.as_secs().to_le_bytes());
}

/// What stands at the front of some bytes of a segment.
#[derive(PartialEq, Eq, Debug)]
pub(super) enum Read<'a> {
    /// A record, and its length.
    Record(Record<'a>, usize),
    /// This many bytes in all are needed to tell.
    Short(usize),
    /// No record.
    Nothing,
}

/// Reads a record of the segment `number` at the front of `bytes`.
pub(super) fn read(bytes: &[u8], number: u64) -> Read<'_> {
    let Some(frame) = bytes.first_chunk::<FRAME>() else {
        return Read::Short(FRAME);
    };
    let body = u32::from_le_bytes([frame[8], frame[9], frame[10], frame[11]]);
    let Some(len) = usize::try_from(body).ok().filter(|len| *len <= MAX_BODY) else {
        return Read::Nothing;
    };
    let len = FRAME + len;
    let Some(record) = bytes.get(..len) else {
        return Read::Short(len);
    };
    if frame[..8] != check(&[&number.to_le_bytes(), &record[8..]]) {
        return Read::Nothing;
    }
    match parse(record) {
        Some(record) => Read::Record(record, len),
        None => Read::Nothing,
    }
}

/// The record in bytes whose check held.
pub(super) fn parse(record: &[u8]) -> Option<Record<'_>> {
    let mut body = Body(record.get(FRAME..)?);
    let record = match record.get(FRAME - 1)? {
        1 => Record::Entry(Entry {
            seq: body.number()?,
            accepted: body.time()?,
            exp: body.time()?,
            id: body.take()?,
            digest: body.take()?,
            subject: body.number()?,
            fate: body.fate()?,
            token: {
                let [_later] = body.take()?;
                core::mem::take(&mut body.0)
            },
        }),
        2 => Record::Settled {
            seq: body.number()?,
            fate: body.fate()?,
        },
        3 => Record::Extended {
            seq: body.number()?,
            exp: body.time()?,
        },
        4 => Record::State(State {
            floor: body.time()?,
            newest: body.time()?,
            next: body.number()?,
        }),
        5 => Record::Probe,
        _ => return None,
    };
    body.0.is_empty().then_some(record)
}

/// The rest of a body.
struct Body<'a>(&'a [u8]);

impl Body<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (first, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*first)
    }

    fn number(&mut self) -> Option<u64> {
        self.take().map(u64::from_le_bytes)
    }

    fn time(&mut self) -> Option<UnixTime> {
        self.take().map(i64::from_le_bytes).map(UnixTime::from_secs)
    }

    fn fate(&mut self) -> Option<Fate> {
        let [byte] = self.take()?;
        Fate::of(byte)
    }
}

fn check(parts: &[&[u8]]) -> [u8; 8] {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(part);
    }
    let mut check = [0; 8];
    for (check, byte) in check.iter_mut().zip(hash.finalize()) {
        *check = byte;
    }
    check
}

#[cfg(test)]
pub(super) mod tests {
    use std::prelude::v1::*;

    use super::{
        Entry, FRAME, Fate, HEADER, Header, MAX_RECORD, Read, Record, State, header, read,
        read_header,
    };
    use crate::{UnixTime, limits::MAX_TOKEN};

    /// The header of a segment of another version.
    pub(in crate::daemon::journal) fn of_version(number: u64, version: u32) -> [u8; HEADER] {
        let mut bytes = header(number);
        bytes[8..12].copy_from_slice(&version.to_le_bytes());
        let check = super::check(&[&bytes[..24]]);
        bytes[24..].copy_from_slice(&check);
        bytes
    }

    fn samples(token: &[u8]) -> [Record<'_>; 5] {
        [
            Record::Entry(Entry {
                seq: 7,
                accepted: UnixTime::from_secs(-5),
                exp: UnixTime::from_secs(1_800_000_000),
                id: [1; 16],
                digest: [2; 16],
                subject: u64::MAX,
                fate: Fate::Waiting,
                token,
            }),
            Record::Settled {
                seq: 7,
                fate: Fate::Refused,
            },
            Record::Extended {
                seq: 7,
                exp: UnixTime::from_secs(i64::MAX),
            },
            Record::State(State {
                floor: UnixTime::from_secs(3),
                newest: UnixTime::from_secs(4),
                next: 8,
            }),
            Record::Probe,
        ]
    }

    #[test]
    fn what_is_written_is_read() {
        let token = [b'a'; MAX_TOKEN];
        for record in samples(&token).into_iter().chain(samples(b"")) {
            let mut bytes = Vec::new();
            let len = record.write(3, &mut bytes);
            assert!(len == bytes.len() && len <= MAX_RECORD, "{len}");
            bytes.extend_from_slice(b"more");
            assert_eq!(read(&bytes, 3), Read::Record(record, len));
            assert_eq!(read(&bytes, 4), Read::Nothing, "of another segment");
            for cut in 0..len {
                let wanted = if cut < FRAME { FRAME } else { len };
                assert_eq!(read(&bytes[..cut], 3), Read::Short(wanted), "{cut}");
            }
        }
    }

    #[test]
    fn no_flipped_bit_is_a_record() {
        for record in samples(b"a.b.c") {
            let mut bytes = Vec::new();
            let len = record.write(1, &mut bytes);
            for bit in 0..len * 8 {
                bytes[bit / 8] ^= 1 << (bit % 8);
                assert!(
                    matches!(read(&bytes, 1), Read::Nothing | Read::Short(_)),
                    "{record:?}, bit {bit}"
                );
                bytes[bit / 8] ^= 1 << (bit % 8);
            }
        }
    }

    #[test]
    fn a_header_is_of_its_segment_and_of_a_known_version() {
        let good = header(9);
        assert_eq!(read_header(&good, 9), Header::Good);
        assert_eq!(read_header(&good, 8), Header::Damaged);
        assert_eq!(read_header(&good[..HEADER - 1], 9), Header::Damaged);
        for bit in 0..HEADER * 8 {
            let mut flipped = good;
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(read_header(&flipped, 9), Header::Damaged, "bit {bit}");
        }
        assert_eq!(read_header(&of_version(9, 7), 9), Header::Newer(7));
    }

    #[test]
    fn fates_are_told_apart() {
        for fate in Fate::ALL {
            assert_eq!(Fate::of(fate.byte()), Some(fate));
        }
        assert_eq!(Fate::of(6), None);
    }
}
