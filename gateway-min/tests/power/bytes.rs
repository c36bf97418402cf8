//! A journal that the real binary made, with everything in it that a journal can say, cut and
//! flipped at its bytes. What is left is told from a reading of the format that shares nothing
//! with the gateway's: the table in `src/daemon/journal/record.rs`, and no more.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use crate::{
    is_full,
    sink_server::SinkServer,
    site::{Printed, Site, Told, token},
    support::Folder,
};

const HEADER: usize = 32;
const FRAME: usize = 13;
const STATES: [&str; 6] = [
    "waiting",
    "not_for_delivery",
    "delivered",
    "refused",
    "expired",
    "lost",
];

fn number(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(*bytes[at..].first_chunk().unwrap())
}

/// What a record says.
#[derive(Clone)]
enum Says {
    /// The message of this number, with its `jti`, end and state.
    Message(u64, String, u64, u8),
    Settled(u64, u8),
    Longer(u64, u64),
    Nothing,
}

/// A record of a whole segment, and where it ends.
struct Record {
    end: usize,
    says: Says,
}

/// A segment, by its name.
struct Segment {
    name: String,
    bytes: Vec<u8>,
    records: Vec<Record>,
}

impl Segment {
    fn read(path: &Path, ids: &BTreeMap<String, String>) -> Self {
        let bytes = fs::read(path).unwrap();
        let mut records = Vec::new();
        let mut at = HEADER;
        while at < bytes.len() {
            let len = u32::from_le_bytes(*bytes[at + 8..].first_chunk().unwrap());
            let body = at + FRAME;
            let end = body + usize::try_from(len).unwrap();
            let says = match bytes[at + 12] {
                1 => {
                    let token = str::from_utf8(&bytes[body + 66..end]).unwrap();
                    Says::Message(
                        number(&bytes, body),
                        ids[token].clone(),
                        number(&bytes, body + 16),
                        bytes[body + 64],
                    )
                }
                2 => Says::Settled(number(&bytes, body), bytes[body + 8]),
                3 => Says::Longer(number(&bytes, body), number(&bytes, body + 8)),
                _ => Says::Nothing,
            };
            records.push(Record { end, says });
            at = end;
        }
        assert_eq!(at, bytes.len(), "a whole segment ends with a record");
        Self {
            name: path.file_name().unwrap().to_str().unwrap().to_owned(),
            bytes,
            records,
        }
    }

    /// The record that holds the byte `at`; `None` in the header.
    fn hit(&self, at: usize) -> Option<usize> {
        let ends = self.records.iter().position(|record| at < record.end);
        ends.filter(|_| at >= HEADER)
    }
}

/// What a journal of these records says.
fn said<'a>(records: impl Iterator<Item = &'a Says>) -> BTreeMap<String, Told> {
    let mut messages: BTreeMap<u64, (String, u64, u8)> = BTreeMap::new();
    for says in records {
        match says {
            Says::Message(seq, jti, exp, state) => {
                messages.insert(*seq, (jti.clone(), *exp, *state));
            }
            Says::Settled(seq, state) => {
                if let Some(message) = messages.get_mut(seq) {
                    message.2 = *state;
                }
            }
            Says::Longer(seq, exp) => {
                if let Some(message) = messages.get_mut(seq) {
                    message.1 = message.1.max(*exp);
                }
            }
            Says::Nothing => {}
        }
    }
    let told = messages.into_iter().map(|(seq, (jti, expires, state))| {
        let state = STATES[usize::from(state)].to_owned();
        (
            jti,
            Told {
                seq,
                state,
                expires,
            },
        )
    });
    told.collect()
}

/// A journal of four lives: messages delivered and not for delivery, a longer life, and one
/// whole segment that went because everything in it was delivered and had expired.
struct Real {
    site: Site,
    segments: Vec<Segment>,
    tokens: BTreeMap<String, String>,
    _sink: SinkServer,
}

impl Real {
    fn make() -> Self {
        let sink = SinkServer::start();
        let site = Site::new(&[
            ("GATEWAY_DELIVER_URL", &sink.url("/")),
            ("GATEWAY_LEEWAY_SECS", "0"),
        ]);
        let mut tokens = BTreeMap::new();
        for life in 0..4_u64 {
            let gateway = site.start();
            let secs = if life == 0 { 1 } else { 3600 };
            for message in 0..3 {
                let jti = format!("{life}-{message}");
                let made = token(&jti, &jti, secs);
                assert_eq!(gateway.post(&made).outcome(), "accepted");
                tokens.insert(made, jti);
            }
            if life > 1 {
                let jti = format!("{life}-1");
                let longer = token(&jti, &jti, 7200 + life);
                assert_eq!(gateway.post(&longer).outcome(), "duplicate");
            }
            // The second one's notes stay unwritten, or are: both are a journal.
            if life != 1 {
                site.wait_for_deliveries();
            }
            if life == 0 {
                let (first, _) = tokens.first_key_value().unwrap();
                while gateway.post(first).status == 200 {}
            }
        }
        let segments: Vec<_> = files(&site.journal)
            .iter()
            .map(|path| Segment::read(path, &tokens))
            .collect();
        assert_eq!(
            segments[0].name, "000000000002.journal",
            "the first one went"
        );
        let real = Self {
            site,
            segments,
            tokens,
            _sink: sink,
        };
        let printed = real.site.printed();
        let all = real.segments.iter().flat_map(|segment| &segment.records);
        assert_eq!(printed.messages, said(all.map(|record| &record.says)));
        assert_eq!(printed.messages.len(), 9);
        real
    }

    /// What is left where of one segment only these records are.
    fn left(&self, hurt: usize, stays: impl Fn(usize) -> bool) -> BTreeMap<String, Told> {
        let records = self.segments.iter().enumerate().flat_map(|(at, segment)| {
            let records = segment.records.iter().enumerate();
            let left = records.filter(|(record, _)| at != hurt || stays(*record));
            left.map(|(_, record)| &record.says).collect::<Vec<_>>()
        });
        said(records)
    }
}

fn files(journal: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<_> = fs::read_dir(journal)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.sort();
    paths
}

/// A copy of the journal, of which one segment is exchanged at a time.
struct Copied {
    outer: Folder,
}

impl Copied {
    fn of(real: &Real) -> Self {
        let outer = Folder::new();
        for segment in &real.segments {
            outer_file(&outer, &segment.name, &segment.bytes);
        }
        Self { outer }
    }

    #[track_caller]
    fn says(&self, name: &str, bytes: &[u8]) -> Printed {
        outer_file(&self.outer, name, bytes);
        Printed::of(self.outer.path())
    }
}

#[expect(clippy::disallowed_methods, reason = "a test's own file")]
fn outer_file(outer: &Folder, name: &str, bytes: &[u8]) {
    fs::write(outer.path().join(name), bytes).unwrap();
}

/// Every byte, or a few of them.
fn step() -> usize {
    if is_full() { 1 } else { 37 }
}

#[test]
fn a_real_journal_cut_anywhere_has_all_that_is_before_and_nothing_else() {
    let real = Real::make();
    let copied = Copied::of(&real);
    let mut cuts = 0;
    for (at, segment) in real.segments.iter().enumerate() {
        let is_last = at == real.segments.len() - 1;
        for len in (0..segment.bytes.len()).step_by(step()) {
            let printed = copied.says(&segment.name, &segment.bytes[..len]);
            let what = format!("{} cut at {len}: {}", segment.name, printed.sum);
            let wanted = real.left(at, |record| segment.records[record].end <= len);
            assert_eq!(printed.messages, wanted, "{what}");
            let is_torn = len > HEADER && segment.records.iter().all(|record| record.end != len);
            let damaged = u64::from(len < HEADER)
                + u64::from((is_torn || (1..HEADER).contains(&len)) && !is_last);
            let unfinished = u64::from((is_torn || (1..HEADER).contains(&len)) && is_last);
            assert_eq!(printed.sum["damaged"], damaged, "{what}");
            assert_eq!(printed.sum["unfinished"], unfinished, "{what}");
            assert_eq!(
                printed.code,
                Some(if damaged > 0 { 65 } else { 0 }),
                "{what}"
            );
            cuts += 1;
        }
        copied.says(&segment.name, &segment.bytes);
    }
    eprintln!("cut at {cuts} bytes");
}

#[test]
fn a_real_journal_flipped_anywhere_loses_that_record_alone() {
    let real = Real::make();
    let copied = Copied::of(&real);
    let mut flips = 0;
    for (at, segment) in real.segments.iter().enumerate() {
        let is_last = at == real.segments.len() - 1;
        for byte in (0..segment.bytes.len()).step_by(step()) {
            let mut bytes = segment.bytes.clone();
            bytes[byte] ^= 1 << (byte % 8);
            let printed = copied.says(&segment.name, &bytes);
            let what = format!("{} flipped at {byte}: {}", segment.name, printed.sum);
            let hit = segment.hit(byte);
            assert_eq!(
                printed.messages,
                real.left(at, |record| Some(record) != hit),
                "{what}"
            );
            // An end that is no record may be one that is being written.
            let is_end = is_last && hit == Some(segment.records.len() - 1);
            let (damaged, unfinished) = if is_end { (0, 1) } else { (1, 0) };
            let told = (&printed.sum["damaged"], &printed.sum["unfinished"]);
            if hit.is_some() {
                assert_eq!(told, (&damaged.into(), &unfinished.into()), "{what}");
            } else {
                assert!(printed.sum["damaged"].as_u64().unwrap() > 0, "{what}");
            }
            flips += 1;
        }
        copied.says(&segment.name, &segment.bytes);
    }
    eprintln!("flipped {flips} bytes");
}

#[test]
fn a_gateway_that_starts_on_a_damaged_journal_takes_again_what_was_hit_and_nothing_else() {
    let real = Real::make();
    let folder = &real.site.journal;
    let write = |name: &str, bytes: &[u8]| {
        #[expect(clippy::disallowed_methods, reason = "damage is what is tested")]
        fs::write(folder.join(name), bytes).unwrap();
    };
    let mut starts = 0;
    for (at, segment) in real.segments.iter().enumerate() {
        let step = if is_full() { 37 } else { 37 * 11 };
        for byte in (0..segment.bytes.len()).step_by(step) {
            for path in files(folder) {
                fs::remove_file(path).unwrap();
            }
            for segment in &real.segments {
                write(&segment.name, &segment.bytes);
            }
            let mut bytes = segment.bytes.clone();
            bytes[byte] ^= 0x10;
            write(&segment.name, &bytes);
            let hit = segment.hit(byte);
            let left = real.left(at, |record| Some(record) != hit);
            let gateway = real.site.start();
            for (token, jti) in real.tokens.iter().filter(|(_, jti)| !jti.starts_with('0')) {
                let wanted = if left.contains_key(jti) {
                    "duplicate"
                } else {
                    "accepted"
                };
                let outcome = gateway.post(token).outcome();
                assert_eq!(outcome, wanted, "{jti}, {} flipped at {byte}", segment.name);
            }
            starts += 1;
        }
    }
    eprintln!("started on {starts} damaged journals");
}
