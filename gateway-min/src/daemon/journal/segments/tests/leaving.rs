//! What leaves the journal, when, and what stays of it.

use std::{
    collections::BTreeSet,
    prelude::v1::*,
    time::{Duration, Instant},
};

use super::{BOUNDS, Place, at, commit, entry, keep, remembered, told};
use crate::daemon::{
    files::folder::Folder,
    journal::{
        record::{Entry, Fate, MAX_RECORD},
        segments::{Bounds, Fault, Segments, Wish, name, read_entry},
    },
};

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
fn copies_never_take_the_room_of_what_becomes_of_messages() {
    let place = Place::new("copies");
    let bounds = Bounds {
        max_bytes: 16 << 10,
        ..BOUNDS
    };
    let (mut segments, _) = place.open(bounds);
    let mut last = 0;
    while let Ok((seq, _)) = keep(&mut segments, 1, 5000) {
        last = seq;
    }
    let mut refused = None;
    for later in 1..1000 {
        let wish = Wish::Extend(entry(1, 5000 + later, b"t"));
        refused = commit(&mut segments, wish, &mut Vec::new(), 1000).err();
        if refused.is_some() {
            break;
        }
    }
    assert_eq!(refused, Some(Fault::Full));
    let mut notes: Vec<_> = (1..=last).map(|seq| (seq, Fate::Delivered)).collect();
    commit(&mut segments, Wish::Probe, &mut notes, 1000).unwrap();
    assert!(notes.is_empty() && segments.len() <= bounds.max_bytes);
}

#[test]
fn damage_is_looked_at_and_not_waited_for_when_room_is_needed() {
    let place = Place::new("evidence");
    let bounds = Bounds {
        max_bytes: 64 << 10,
        delivers: false,
        ..BOUNDS
    };
    keep(&mut place.open(bounds).0, 1, 1500).unwrap();
    keep(&mut place.open(bounds).0, 2, 1500).unwrap();
    let (first, mut bytes) = place.bytes().remove(0);
    let end = bytes.len() - 1;
    bytes[end] ^= 1;
    place.write(&first, &bytes);
    // Started every night, it is never as old as its evidence.
    let mut full = 0;
    for night in 0..40 {
        let (mut segments, found) = place.open(bounds);
        let is_there = place.bytes()[0].0 == first;
        assert_eq!(found.damage.len(), usize::from(is_there));
        for n in 0..30 {
            if segments.is_tight(MAX_RECORD) {
                let time = (at(9000), Instant::now());
                segments.reclaim(time, &mut |_, _| {}).unwrap();
            }
            let message = Entry {
                id: [n, night, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
                fate: Fate::NotForDelivery,
                ..entry(n, 1500, &[b'a'; 100])
            };
            let kept = commit(&mut segments, Wish::Keep(message), &mut Vec::new(), 1000);
            full += u32::from(kept.is_err());
        }
    }
    assert_eq!(full, 0);
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
fn an_entry_that_cannot_be_read_any_more_is_remembered_all_the_same() {
    let place = Place::new("unreadable");
    let (mut segments, _) = place.open(BOUNDS);
    keep(&mut segments, 1, 1500).unwrap();
    let (_, second) = keep(&mut segments, 2, 90_000).unwrap();
    let mut notes = vec![(1, Fate::Delivered)];
    commit(&mut segments, Wish::Probe, &mut notes, 1000).unwrap();
    segments.seal();
    let (name, mut bytes) = place.bytes().remove(0);
    let middle = usize::try_from(second.place.offset + second.place.len / 2).unwrap();
    bytes[middle] ^= 1;
    place.write(&name, &bytes);
    let time = (at(1530 + 3600), Instant::now());
    segments.reclaim(time, &mut |_, _| {}).unwrap();
    assert_eq!(told(&segments), [(2, 90_000, Fate::Waiting)]);
    drop(segments);
    let (segments, found) = place.open(BOUNDS);
    assert_eq!(remembered(&found), BTreeSet::from([(2, 2 ^ 0xff, 90_000)]));
    // Nothing that ends before it is refused for its sake.
    assert_eq!(segments.state().floor, at(1500));
    let kept = segments.entries()[&2];
    let mut bytes = Vec::new();
    let entry = read_entry(&*segments.disk, kept.place, &mut bytes).unwrap();
    assert_eq!(entry.unwrap().token, b"");
}

#[test]
fn a_large_segment_is_carried_over_in_pieces() {
    let place = Place::new("pieces");
    let bounds = Bounds {
        max_bytes: 64 << 20,
        ..BOUNDS
    };
    let (mut segments, _) = place.open(bounds);
    let token = [b'x'; 8000];
    let wishes: Vec<_> = (0..=u8::MAX)
        .map(|n| Wish::Keep(entry(n, if n == 0 { 1500 } else { 90_000 }, &token)))
        .collect();
    let mut results = Vec::new();
    let time = (at(1000), Instant::now());
    segments
        .commit(wishes.into_iter(), &mut Vec::new(), time, &mut results)
        .unwrap();
    let mut notes = vec![(1, Fate::Delivered)];
    commit(&mut segments, Wish::Probe, &mut notes, 1000).unwrap();
    segments.seal();
    let wanted: Vec<_> = told(&segments).split_off(1);
    let mut moved = Vec::new();
    let time = (at(1530 + 3600), Instant::now());
    segments
        .reclaim(time, &mut |seq, _| moved.push(seq))
        .unwrap();
    assert_eq!(moved, (2..=256).collect::<Vec<_>>());
    assert_eq!(told(&segments), wanted);
    drop(segments);
    let (segments, _) = place.open(bounds);
    assert_eq!(told(&segments), wanted);
    assert_eq!(segments.state().floor, at(1500));
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
fn what_was_forgotten_is_known_when_the_segment_that_said_so_has_gone() {
    let place = Place::new("forgotten");
    let bounds = Bounds {
        delivers: false,
        ..BOUNDS
    };
    let (mut segments, _) = place.open(bounds);
    keep(&mut segments, 1, 1500).unwrap();
    for _ in 0..2 {
        segments.seal();
        commit(&mut segments, Wish::Probe, &mut Vec::new(), 1000).unwrap();
        let time = (at(1530 + 3600), Instant::now());
        segments.reclaim(time, &mut |_, _| {}).unwrap();
        assert_eq!((segments.count(), segments.entries().len()), (1, 0));
    }
    drop(segments);
    let (segments, _) = place.open(bounds);
    let state = segments.state();
    let wanted = (at(1500), at(1000), 2);
    assert_eq!((state.floor, state.newest, state.next), wanted);
}
