use std::{
    prelude::v1::*,
    time::{Duration, Instant},
};

use super::{super::Place, Attempt, Blame, Line, MAX_ASIDE, Pace, Turn};
use crate::daemon::deliver::tests::parcel;

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);

/// A line whose subjects are these, in order; numbers from 1.
fn line(subjects: &[u64]) -> Line {
    let mut line = Line::new(Pace::new(SECOND, MINUTE));
    for (at, subject) in (1..).zip(subjects) {
        line.push(parcel(at, *subject));
    }
    line
}

#[track_caller]
fn tried(line: &mut Line, now: Instant) -> Attempt {
    match line.next(now) {
        Turn::Try(attempt) => attempt,
        wait @ Turn::Wait(_) => std::panic!("{wait:?}"),
    }
}

/// Until when everything waits.
#[track_caller]
fn waits(line: &mut Line, now: Instant) -> Instant {
    match line.next(now) {
        Turn::Wait(Some(until)) => until,
        other => std::panic!("{other:?}"),
    }
}

/// The number of the message that is next, which is delivered.
#[track_caller]
fn delivered(line: &mut Line, now: Instant) -> u64 {
    let attempt = tried(line, now);
    assert_eq!(line.over(now), Some(attempt.parcel));
    line.well();
    attempt.parcel.seq
}

const MESSAGE: Blame = Blame::Message;
const RECEIVER: Blame = Blame::Receiver { wait: None };

#[test]
fn messages_go_in_their_order_each_once() {
    let now = Instant::now();
    let mut line = line(&[7, 7, 8, 7]);
    assert_eq!(line.len(), 4);
    let order: Vec<_> = (0..4).map(|_| delivered(&mut line, now)).collect();
    assert_eq!(order, [1, 2, 3, 4]);
    assert_eq!((line.next(now), line.len()), (Turn::Wait(None), 0));
}

#[test]
fn waits_double_and_a_part_of_them_is_chance() {
    let mut pace = Pace::new(SECOND, MINUTE);
    for (failures, most) in [
        (0, 1),
        (1, 1),
        (2, 2),
        (3, 4),
        (6, 32),
        (7, 60),
        (u32::MAX, 60),
    ] {
        let drawn: Vec<_> = (0..200).map(|_| pace.draw(failures)).collect();
        let bounds = SECOND / 4..=SECOND * most;
        assert!(
            drawn.iter().all(|wait| bounds.contains(wait)),
            "{failures}: {drawn:?}"
        );
        let (least, longest) = (drawn.iter().min().unwrap(), drawn.iter().max().unwrap());
        assert!(*longest - *least > SECOND * most / 4, "{failures}");
    }
}

#[test]
fn one_message_that_fails_lets_all_pass_but_its_own_subject() {
    let now = Instant::now();
    let mut line = line(&[7, 7, 8, 7, 9]);
    assert_eq!(tried(&mut line, now).parcel.seq, 1);
    line.failed(MESSAGE, true, now);
    assert!(line.has_failed());
    assert_eq!([(); 2].map(|()| delivered(&mut line, now)), [3, 5]);
    let due = waits(&mut line, now);
    assert!(due > now && due <= now + SECOND);
    let again = tried(&mut line, due);
    assert_eq!(
        (again.parcel.seq, again.number, again.redelivered),
        (1, 2, true)
    );
    line.over(due);
    line.well();
    assert!(!line.has_failed());
    assert_eq!([(); 2].map(|()| delivered(&mut line, due)), [2, 4]);
    assert_eq!(line.next(due), Turn::Wait(None));
}

#[test]
fn a_receiver_that_fails_holds_everything_and_nothing_is_overtaken() {
    let mut now = Instant::now();
    let mut line = line(&[7, 8, 9]);
    for number in 1..=9 {
        let attempt = tried(&mut line, now);
        // It was never sent: no mark.
        assert_eq!(
            (attempt.parcel.seq, attempt.number, attempt.redelivered),
            (1, number, false)
        );
        line.failed(RECEIVER, false, now);
        let due = waits(&mut line, now);
        let longest = SECOND * (1 << (number - 1)).min(60);
        assert!(due > now && due <= now + longest, "{number}");
        now = due;
    }
    assert_eq!([(); 3].map(|()| delivered(&mut line, now)), [1, 2, 3]);
}

#[test]
fn what_makes_the_receiver_stumble_does_not_stop_the_others() {
    let mut now = Instant::now();
    let mut line = line(&[7, 8]);
    for _ in 0..2 {
        assert_eq!(tried(&mut line, now).parcel.seq, 1);
        line.failed(RECEIVER, true, now);
        let due = waits(&mut line, now);
        // Both the queue and the message wait.
        now = due.max(now + SECOND * 2);
    }
    assert_eq!(delivered(&mut line, now), 2);
    let again = tried(&mut line, now + SECOND * 4);
    assert_eq!(
        (again.parcel.seq, again.number, again.redelivered),
        (1, 3, true)
    );
}

#[test]
fn a_receiver_that_says_when_is_left_alone_till_then() {
    let now = Instant::now();
    let mut line = line(&[7, 8]);
    tried(&mut line, now);
    let wait = Some(MINUTE * 4);
    line.failed(Blame::Receiver { wait }, true, now);
    assert_eq!(line.next(now), Turn::Wait(Some(now + MINUTE * 4)));
    assert_eq!(
        line.next(now + MINUTE * 3),
        Turn::Wait(Some(now + MINUTE * 4))
    );
    assert_eq!(delivered(&mut line, now + MINUTE * 5), 1);
}

#[test]
fn many_messages_in_a_row_are_not_all_to_blame() {
    let now = Instant::now();
    let subjects: Vec<_> = (0..20).collect();
    let mut line = line(&subjects);
    for seq in 1..=4 {
        assert_eq!(tried(&mut line, now).parcel.seq, seq);
        line.failed(MESSAGE, true, now);
    }
    let hold = waits(&mut line, now);
    assert!(hold > now);
    // One gets through: they were.
    let later = now + MINUTE;
    delivered(&mut line, later);
    assert!(matches!(line.next(later), Turn::Try(_)));
}

#[test]
fn a_kept_connection_that_had_ended_costs_no_time() {
    let now = Instant::now();
    let mut line = line(&[7, 8]);
    tried(&mut line, now);
    line.failed(Blame::Connection, true, now);
    let again = tried(&mut line, now);
    assert_eq!(
        (again.parcel.seq, again.number, again.redelivered),
        (1, 2, true)
    );
}

#[test]
fn a_mark_stays_and_goes_with_its_message() {
    let now = Instant::now();
    let mut line = Line::new(Pace::new(SECOND, MINUTE));
    let mut found = parcel(1, 7);
    found.found = true;
    line.push(found);
    line.push(parcel(2, 7));
    line.push(parcel(3, 7));
    assert!(tried(&mut line, now).redelivered);
    line.over(now);
    // Not sent, sent, not sent: what was sent once stays so.
    let mut later = now;
    for (sent, marked) in [(false, false), (true, false), (false, true), (false, true)] {
        assert_eq!(tried(&mut line, later).redelivered, marked, "{sent}");
        line.failed(RECEIVER, sent, later);
        later += MINUTE * 2;
    }
    tried(&mut line, later);
    line.over(later);
    let next = tried(&mut line, later);
    assert_eq!(
        (next.parcel.seq, next.number, next.redelivered),
        (3, 1, false)
    );
}

#[test]
fn so_many_subjects_are_aside_and_no_more() {
    let now = Instant::now();
    let most = u64::try_from(MAX_ASIDE).unwrap();
    let subjects: Vec<_> = (0..=most).collect();
    let mut line = line(&subjects);
    for seq in 1..=most {
        // Its back-off past, its own turn not: each is another.
        line.hold = None;
        line.fresh_first = true;
        assert_eq!(tried(&mut line, now).parcel.seq, seq);
        line.failed(MESSAGE, true, now);
    }
    line.hold = None;
    let due = waits(&mut line, now);
    let again = tried(&mut line, due);
    assert!(again.number == 2 && again.parcel.seq <= most);
    line.over(due);
    line.well();
    line.fresh_first = true;
    assert_eq!(tried(&mut line, due).parcel.seq, most + 1);
}

#[test]
fn what_moved_is_looked_for_where_it_is() {
    let now = Instant::now();
    // 1 in hand, 2 behind it, 3 not begun.
    let mut line = line(&[7, 7, 8]);
    tried(&mut line, now);
    line.failed(MESSAGE, true, now);
    assert_eq!(tried(&mut line, now).parcel.seq, 3);
    for seq in [1, 2, 3] {
        line.moved(
            seq,
            Place {
                segment: 9,
                offset: 1,
                len: 1,
            },
        );
    }
    line.moved(
        4,
        Place {
            segment: 8,
            offset: 1,
            len: 1,
        },
    );
    assert_eq!(line.in_hand().unwrap().place.segment, 9);
    line.over(now);
    for seq in [1, 2] {
        let attempt = tried(&mut line, now + MINUTE);
        assert_eq!((attempt.parcel.seq, attempt.parcel.place.segment), (seq, 9));
        line.over(now + MINUTE);
    }
}

#[test]
fn what_is_too_old_is_taken_from_everywhere() {
    let now = Instant::now();
    let mut line = line(&[7, 7, 7, 8, 9]);
    tried(&mut line, now);
    line.failed(MESSAGE, true, now);
    tried(&mut line, now);
    line.failed(MESSAGE, true, now);
    let mut past = line.give_up(now, |parcel| [1, 2, 4, 5].contains(&parcel.seq));
    past.sort_by_key(|parcel| parcel.seq);
    let past: Vec<_> = past.iter().map(|parcel| parcel.seq).collect();
    assert_eq!((past.as_slice(), line.len()), (&[1, 2, 4, 5][..], 1));
    let next = tried(&mut line, now);
    assert_eq!(
        (next.parcel.seq, next.number, next.redelivered),
        (3, 1, false)
    );
}

#[test]
fn the_oldest_is_told_wherever_it_stands() {
    let now = Instant::now();
    let mut line = line(&[7, 8]);
    let first = line.oldest();
    assert_eq!(first, Some(parcel(1, 7).accepted));
    tried(&mut line, now);
    line.failed(MESSAGE, true, now);
    assert_eq!((line.oldest(), line.len()), (first, 2));
    assert_eq!(delivered(&mut line, now), 2);
    assert_eq!(line.oldest(), first);
    delivered(&mut line, now + MINUTE);
    assert_eq!(line.oldest(), None);
}

#[test]
fn a_fault_of_our_own_blames_nobody() {
    let now = Instant::now();
    let mut line = line(&[7, 8]);
    tried(&mut line, now);
    line.not_now(1, now);
    assert!(!line.has_failed());
    let due = waits(&mut line, now);
    let again = tried(&mut line, due);
    assert_eq!(
        (again.parcel.seq, again.number, again.redelivered),
        (1, 1, false)
    );
}
