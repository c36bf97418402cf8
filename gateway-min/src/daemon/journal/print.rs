//! `gateway-min journal`: reads the journal as a start would, without changing or taking
//! anything, and prints it: one JSON line for each message, one for each place that is
//! damaged, and one with what there is in all. A gateway may be writing meanwhile.
//!
//! `--content` adds the claims, which are about patients.

use std::{
    collections::BTreeMap,
    io::{self, ErrorKind, Write},
    path::PathBuf,
    prelude::v1::*,
};

use super::{
    record::{Entry, Fate, Record},
    scan::{Met, Refused, Scan},
    segments::{self, Unopened},
};
use crate::{
    Part, UnixTime, b64,
    claims::{header, name},
    compact::Compact,
    daemon::{
        exit::{Code, Stop},
        files::folder::{Disk, Folder},
        listen::{json, put},
    },
    json::{self, Members, Room, Value},
    limits::{MAX_CLAIMS, MAX_HEADER},
};

/// What is known of a message when everything was read.
struct Known {
    /// Where its newest copy is.
    place: (u64, u64),
    exp: UnixTime,
    fate: Fate,
}

/// Counts for the last line.
#[derive(Default)]
struct Sum {
    segments: u64,
    bytes: u64,
    messages: u64,
    waiting: u64,
    damaged: u64,
    unfinished: u64,
}

/// Checks the journal in `folder` and prints it.
///
/// # Errors
/// Those of [`super::open`], and [`Code::Data`] where something is damaged: what is not was
/// printed all the same.
pub(crate) fn run(folder: PathBuf, content: bool, mut output: impl Write) -> Result<(), Stop> {
    let path = folder.clone();
    let damaged = Folder::new(folder)
        .map_err(Unopened::Io)
        .and_then(|folder| {
            folder.look().map_err(Unopened::Io)?;
            print(&folder, content, &mut output)
        });
    match damaged {
        Ok(0) => Ok(()),
        Ok(places) => Err(Stop::new(
            Code::Data,
            format!(
                "GATEWAY_JOURNAL: {}: {places} places are damaged",
                path.display()
            ),
        )),
        // Whoever read it has read enough.
        Err(Unopened::Io(error)) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        Err(fault) => Err(super::stop(&path, fault)),
    }
}

/// How many places are damaged.
fn print(disk: &impl Disk, content: bool, output: &mut impl Write) -> Result<u64, Unopened> {
    let mut sum = Sum::default();
    let mut known = BTreeMap::new();
    let segments = segments::list(disk)?;
    let last = segments.last().map(|(number, _)| *number);
    let mut line = Vec::new();
    for (number, len) in &segments {
        sum.segments += 1;
        sum.bytes += len;
        let name = segments::name(*number);
        let mut fault = |what: &str, at: u64, len: u64| {
            line.clear();
            put(
                &mut line,
                format_args!(
                    "{{\"segment\":\"{name}\",\"{what}_at\":{at},\"{what}_bytes\":{len}}}\n"
                ),
            );
            output.write_all(&line)
        };
        let Some(damaged) = each(disk, *number, |met| {
            match met {
                Met::Record { record, at, .. } => learn(record, (*number, at), &mut known),
                Met::Tail { at, len } if Some(*number) == last => {
                    sum.unfinished += 1;
                    fault("unfinished", at, len)?;
                }
                Met::Damage { at, len } | Met::Tail { at, len } => {
                    sum.damaged += 1;
                    fault("damaged", at, len)?;
                }
            }
            Ok(())
        })?
        else {
            continue;
        };
        if damaged {
            sum.damaged += 1;
        }
    }
    let mut room = Decoded::new();
    for (number, _) in &segments {
        each(disk, *number, |met| {
            if let Met::Record {
                record: Record::Entry(entry),
                at,
                ..
            } = met
                && let Some(known) = known.get(&entry.seq)
                && known.place == (*number, at)
            {
                sum.messages += 1;
                sum.waiting += u64::from(known.fate == Fate::Waiting);
                line.clear();
                tell(&entry, known, content, &mut room, &mut line);
                output.write_all(&line)?;
            }
            Ok(())
        })?;
    }
    line.clear();
    put(
        &mut line,
        format_args!(
            "{{\"segments\":{},\"bytes\":{},\"messages\":{},\"waiting\":{},\"damaged\":{},\"unfinished\":{}}}\n",
            sum.segments, sum.bytes, sum.messages, sum.waiting, sum.damaged, sum.unfinished
        ),
    );
    output.write_all(&line)?;
    output.flush()?;
    Ok(sum.damaged)
}

/// Shows everything in the segment `number` to `see`. Whether its header is damaged; `None`
/// where it is gone: a gateway removed it meanwhile.
fn each(
    disk: &impl Disk,
    number: u64,
    mut see: impl FnMut(Met<'_>) -> io::Result<()>,
) -> Result<Option<bool>, Unopened> {
    let name = segments::name(number);
    let reader = match disk.open(&name) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        reader => reader?,
    };
    let (mut scan, damaged) = match Scan::open(reader, number) {
        Ok(open) => open,
        Err(Refused::Io(error)) => return Err(error.into()),
        Err(Refused::Newer(version)) => return Err(Unopened::Newer { name, version }),
    };
    while let Some(met) = scan.next()? {
        see(met)?;
    }
    Ok(Some(damaged))
}

fn learn(record: Record<'_>, place: (u64, u64), known: &mut BTreeMap<u64, Known>) {
    match record {
        Record::Entry(entry) => {
            let known = known.entry(entry.seq).or_insert(Known {
                place,
                exp: entry.exp,
                fate: entry.fate,
            });
            known.place = place;
            known.exp = known.exp.max(entry.exp);
        }
        Record::Settled { seq, fate } => {
            if let Some(known) = known.get_mut(&seq) {
                known.fate = fate;
            }
        }
        Record::Extended { seq, exp } => {
            if let Some(known) = known.get_mut(&seq) {
                known.exp = known.exp.max(exp);
            }
        }
        Record::State(_) | Record::Probe => {}
    }
}

/// Room for a token's decoded parts.
struct Decoded {
    header: [u8; MAX_HEADER],
    claims: Box<[u8]>,
    text: Box<[u8]>,
}

impl Decoded {
    fn new() -> Self {
        Self {
            header: [0; MAX_HEADER],
            claims: vec![0; MAX_CLAIMS].into_boxed_slice(),
            text: vec![0; MAX_HEADER + MAX_CLAIMS].into_boxed_slice(),
        }
    }
}

fn tell(entry: &Entry<'_>, known: &Known, content: bool, room: &mut Decoded, line: &mut Vec<u8>) {
    put(
        line,
        format_args!(
            r#"{{"seq":{},"accepted":{},"expires":{},"state":"{}","segment":"{}","bytes":{}"#,
            entry.seq,
            entry.accepted,
            known.exp,
            known.fate.as_str(),
            segments::name(known.place.0),
            entry.token.len(),
        ),
    );
    // It was judged when it was accepted: what cannot be read now has no more to say.
    if let Ok(token) = Compact::split(entry.token) {
        let mut text = Room::new(&mut room.text);
        if let Ok(decoded) = b64::decode_public(token.header, &mut room.header)
            && let Ok(members) = json::scan(decoded, Part::Header)
        {
            member(&members, header::KID, &mut text, line);
        }
        if let Ok(decoded) = b64::decode_public(token.claims, &mut room.claims)
            && let Ok(members) = json::scan(decoded, Part::Claims)
        {
            for claim in [name::JTI, name::SUB, name::ACTION_TYPE] {
                member(&members, claim, &mut text, line);
            }
            if content {
                line.extend_from_slice(b",\"claims\":");
                // Such bytes stand between its tokens alone: within texts they are escaped.
                let one_line = decoded.iter().map(|byte| (*byte).max(b' '));
                line.extend(one_line);
            }
        }
    }
    line.extend_from_slice(b"}\n");
}

/// A text of the token, where it is there.
fn member<'a>(members: &Members<'a>, name: &str, room: &mut Room<'a>, line: &mut Vec<u8>) {
    let text = members.get(name).and_then(Value::text);
    if let Some(text) = text.and_then(|text| text.decode(room)) {
        put(line, format_args!(r#","{name}":{}"#, json(text)));
    }
}
