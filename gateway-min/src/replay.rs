//! The memory of what was accepted: one acceptance for each (issuer, `jti`), on a slice
//! that the caller lends.
//!
//! Judging is *reserve → commit or release*. A message is reserved before it is made
//! durable and committed after; a copy that arrives between the two is [`Busy`] and has
//! to wait, so that nobody is told *duplicate* of something that was then not kept.
//!
//! What is promised:
//!
//! * a live entry is never forgotten: when every slot holds one, a new message is
//!   [`ReplayFull`], not remembered at another's cost;
//! * expired entries go only when their room is needed, and the latest `exp` that went is
//!   kept: a token that ends no later is [`ClockSteppedBack`], so a clock that jumps
//!   forward and back reopens nothing;
//! * a token refused for any other reason never occupies a slot.
//!
//! Entries lie in an open-addressed table without tombstones, indexed by a hash that only
//! signers can steer. [`slots_for`] leaves a fifth of it empty, so a look-up reads a few
//! neighbours. Nothing allocates; one call is `O(1)`, and `O(slots)` when room is made.
//!
//! [`Busy`]: Reservation::Busy
//! [`ReplayFull`]: Reject::ReplayFull
//! [`ClockSteppedBack`]: Reject::ClockSteppedBack

use crate::{
    error::Reject,
    time::UnixTime,
    verify::{ContentDigest, MessageId, Verified},
};

/// Room for one message.
#[derive(Clone, Copy, Debug)]
pub struct Slot(Option<Entry>);

impl Slot {
    /// Room for a message, holding none.
    pub const EMPTY: Self = Self(None);
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    id: MessageId,
    digest: ContentDigest,
    /// The latest end of life of its copies: not forgotten before.
    exp: UnixTime,
    /// Up to where that is durable.
    kept: UnixTime,
    committed: bool,
}

/// How many slots a memory of `capacity` messages needs: a quarter more, and one.
#[must_use]
pub const fn slots_for(capacity: usize) -> usize {
    capacity.saturating_add(capacity / 4).saturating_add(1)
}

/// What [`Replay::reserve`] found.
#[derive(Debug)]
pub enum Reservation {
    /// Not seen before: make it durable, then commit or release.
    New(Ticket),
    /// The same content was accepted before.
    Duplicate {
        /// Whether this copy ends later than what was made durable: to be made so, and then
        /// [`Replay::extended`], before anybody is told of a duplicate.
        longer: bool,
    },
    /// A copy is being made durable at this moment: ask again when its fate is known.
    Busy,
}

/// The right to commit or release one reservation.
#[derive(Debug)]
#[must_use = "a reservation that is neither committed nor released keeps every copy waiting"]
pub struct Ticket(MessageId);

/// See the module's documentation.
pub struct Replay<S> {
    slots: S,
    held: usize,
    capacity: usize,
    floor: UnixTime,
}

impl<S: AsRef<[Slot]> + AsMut<[Slot]>> Replay<S> {
    /// An empty memory on `slots`, whose contents are cleared. It holds as many messages
    /// as [`slots_for`] was asked for.
    pub fn new(mut slots: S) -> Self {
        slots.as_mut().fill(Slot::EMPTY);
        let len = slots.as_ref().len();
        // The inverse of `slots_for`: 5 slots for 4 messages, and one that stays empty.
        let capacity = len.saturating_sub(1).saturating_mul(4).div_ceil(5);
        Self {
            slots,
            held: 0,
            capacity,
            floor: UnixTime::from_secs(i64::MIN),
        }
    }

    /// How many messages it can hold.
    pub const fn capacity(&self) -> usize {
        self.capacity
    }

    /// How many messages it holds, reserved ones among them.
    pub const fn held(&self) -> usize {
        self.held
    }

    /// Asks for `message` to be accepted at `now`. A duplicate's memory is extended to
    /// the later `exp`.
    ///
    /// # Errors
    ///
    /// [`Reject::JtiConflict`], [`Reject::ClockSteppedBack`] or [`Reject::ReplayFull`].
    pub fn reserve(
        &mut self,
        message: &Verified<'_>,
        now: UnixTime,
        leeway_secs: u32,
    ) -> Result<Reservation, Reject> {
        self.reserve_entry(
            message.id(),
            message.digest(),
            message.expires(),
            now,
            leeway_secs,
        )
    }

    fn reserve_entry(
        &mut self,
        id: MessageId,
        digest: ContentDigest,
        exp: UnixTime,
        now: UnixTime,
        leeway_secs: u32,
    ) -> Result<Reservation, Reject> {
        if let Some(entry) = self.entry(&id) {
            if !entry.committed {
                return Ok(Reservation::Busy);
            }
            if entry.digest != digest {
                return Err(Reject::JtiConflict);
            }
            // At once: remembered for longer than needed is safe where that is not kept.
            entry.exp = entry.exp.max(exp);
            let longer = exp > entry.kept;
            return Ok(Reservation::Duplicate { longer });
        }
        if exp <= self.floor {
            return Err(Reject::ClockSteppedBack {
                exp,
                floor: self.floor,
            });
        }
        if self.held >= self.capacity {
            self.forget_expired(now, leeway_secs);
            if self.held >= self.capacity {
                return Err(Reject::ReplayFull);
            }
        }
        self.insert(Entry {
            id,
            digest,
            exp,
            kept: exp,
            committed: false,
        });
        Ok(Reservation::New(Ticket(id)))
    }

    /// A duplicate's later end was made durable: its copies need not be.
    pub fn extended(&mut self, message: &Verified<'_>) {
        self.extended_entry(&message.id(), message.expires());
    }

    fn extended_entry(&mut self, id: &MessageId, exp: UnixTime) {
        if let Some(entry) = self.entry(id) {
            entry.kept = entry.kept.max(exp);
        }
    }

    /// Remembers messages that were accepted before a restart, and the latest end of life
    /// that was forgotten before it. They come in the order of their ends, the latest first:
    /// those for which there is no room are forgotten.
    #[cfg(feature = "journal")]
    pub(crate) fn restore(
        &mut self,
        floor: UnixTime,
        messages: impl Iterator<Item = (MessageId, ContentDigest, UnixTime)>,
    ) {
        self.floor = self.floor.max(floor);
        for (id, digest, exp) in messages {
            if self.held >= self.capacity {
                self.floor = self.floor.max(exp);
            } else {
                self.insert(Entry {
                    id,
                    digest,
                    exp,
                    kept: exp,
                    committed: true,
                });
            }
        }
    }

    /// The message was kept: from now on its copies are duplicates.
    // A ticket is spent by its use, so that no reservation is settled twice.
    #[expect(clippy::needless_pass_by_value, reason = "the ticket is spent")]
    pub fn commit(&mut self, ticket: Ticket) {
        if let Some(entry) = self.entry(&ticket.0) {
            entry.committed = true;
        }
    }

    /// The message was not kept: its next copy is new again.
    #[expect(clippy::needless_pass_by_value, reason = "the ticket is spent")]
    pub fn release(&mut self, ticket: Ticket) {
        if let Some(at) = self.position(&ticket.0) {
            self.remove(at);
        }
    }

    /// Slots from where `id` belongs, once round.
    fn walk(&self, id: &MessageId) -> impl Iterator<Item = usize> + use<S> {
        let len = self.slots.as_ref().len();
        let home = home(id, len);
        (home..len).chain(0..home)
    }

    fn position(&self, id: &MessageId) -> Option<usize> {
        let slots = self.slots.as_ref();
        self.walk(id)
            .map_while(|at| slots.get(at)?.0.map(|entry| (at, entry)))
            .find_map(|(at, entry)| (entry.id == *id).then_some(at))
    }

    fn entry(&mut self, id: &MessageId) -> Option<&mut Entry> {
        let at = self.position(id)?;
        self.slots.as_mut().get_mut(at)?.0.as_mut()
    }

    fn insert(&mut self, entry: Entry) {
        let slots = self.slots.as_ref();
        let free = self
            .walk(&entry.id)
            .find(|&at| slots.get(at).is_some_and(|slot| slot.0.is_none()));
        if let Some(slot) = free.and_then(|at| self.slots.as_mut().get_mut(at)) {
            slot.0 = Some(entry);
            self.held = self.held.saturating_add(1);
        }
    }

    /// Empties a slot and moves up what was displaced by its entry, so that every entry
    /// is reached from its home without a gap.
    fn remove(&mut self, at: usize) {
        let slots = self.slots.as_mut();
        let len = slots.len();
        let next = |at: usize| {
            if at.saturating_add(1) == len {
                0
            } else {
                at.saturating_add(1)
            }
        };
        // Distance from `from` forward to `to`, round the end.
        let ahead = |from: usize, to: usize| {
            to.checked_sub(from)
                .unwrap_or_else(|| len.saturating_sub(from).saturating_add(to))
        };
        let mut hole = at;
        let mut candidate = next(at);
        while let Some(&Slot(Some(entry))) = slots.get(candidate)
            && candidate != at
        {
            if ahead(home(&entry.id, len), candidate) >= ahead(hole, candidate) {
                if let Some(slot) = slots.get_mut(hole) {
                    slot.0 = Some(entry);
                }
                hole = candidate;
            }
            candidate = next(candidate);
        }
        if let Some(slot) = slots.get_mut(hole) {
            slot.0 = None;
        }
        self.held = self.held.saturating_sub(1);
    }

    fn forget_expired(&mut self, now: UnixTime, leeway_secs: u32) {
        let mut at = 0;
        while let Some(slot) = self.slots.as_ref().get(at) {
            match slot.0 {
                Some(entry) if entry.committed && now >= entry.exp.plus(leeway_secs) => {
                    self.floor = self.floor.max(entry.exp);
                    // What moved up into this slot is looked at next.
                    self.remove(at);
                }
                _ => at = at.saturating_add(1),
            }
        }
    }
}

fn home(id: &MessageId, len: usize) -> usize {
    let [a, b, c, d, ..] = *id;
    let hash = u32::from_be_bytes([a, b, c, d]);
    usize::try_from(hash)
        .unwrap_or(0)
        .checked_rem(len)
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    extern crate std;

    use std::{collections::HashMap, vec, vec::Vec};

    use proptest::prelude::*;

    use super::{Replay, Reservation, Slot, Ticket, slots_for};
    use crate::{error::Reject, time::UnixTime};

    const LEEWAY: u32 = 30;

    fn memory(capacity: usize) -> Replay<Vec<Slot>> {
        let memory = Replay::new(vec![Slot::EMPTY; slots_for(capacity)]);
        assert_eq!(memory.capacity(), capacity);
        memory
    }

    fn id(n: u8) -> [u8; 16] {
        // Few distinct homes, so that entries displace each other.
        let mut id = [n; 16];
        id[..4].copy_from_slice(&u32::from(n % 3).to_be_bytes());
        id
    }

    fn ask(
        memory: &mut Replay<Vec<Slot>>,
        n: u8,
        digest: u8,
        exp: i64,
        now: i64,
    ) -> Result<Reservation, Reject> {
        memory.reserve_entry(
            id(n),
            [digest; 16],
            UnixTime::from_secs(exp),
            UnixTime::from_secs(now),
            LEEWAY,
        )
    }

    fn ticket(answer: Result<Reservation, Reject>) -> Ticket {
        match answer {
            Ok(Reservation::New(ticket)) => ticket,
            other => panic!("expected a new reservation, got {other:?}"),
        }
    }

    #[test]
    fn every_capacity_is_what_was_asked_for() {
        for capacity in 1..600 {
            memory(capacity);
        }
        memory(4096);
    }

    #[test]
    fn a_copy_waits_then_learns_what_became_of_the_first() {
        let mut memory = memory(4);
        let first = ticket(ask(&mut memory, 1, 1, 100, 0));
        assert!(matches!(
            ask(&mut memory, 1, 1, 100, 0),
            Ok(Reservation::Busy)
        ));
        memory.release(first);
        let second = ticket(ask(&mut memory, 1, 1, 100, 0));
        memory.commit(second);
        assert!(matches!(
            ask(&mut memory, 1, 1, 100, 0),
            Ok(Reservation::Duplicate { longer: false })
        ));
        assert_eq!(memory.held(), 1);
    }

    #[test]
    fn other_content_under_a_known_id_is_a_conflict() {
        let mut memory = memory(4);
        let first = ticket(ask(&mut memory, 1, 1, 100, 0));
        // While the first may still fail, the second must wait like any copy.
        assert!(matches!(
            ask(&mut memory, 1, 2, 100, 0),
            Ok(Reservation::Busy)
        ));
        memory.commit(first);
        assert!(matches!(
            ask(&mut memory, 1, 2, 100, 0),
            Err(Reject::JtiConflict)
        ));
    }

    #[test]
    fn full_of_live_entries_is_an_honest_refusal() {
        let mut memory = memory(2);
        for n in 0..2 {
            let ticket = ticket(ask(&mut memory, n, 0, 100, 0));
            memory.commit(ticket);
        }
        assert!(matches!(
            ask(&mut memory, 9, 0, 100, 129),
            Err(Reject::ReplayFull)
        ));
        assert!(matches!(
            ask(&mut memory, 9, 0, 200, 130),
            Ok(Reservation::New(_))
        ));
    }

    #[test]
    #[cfg(feature = "journal")]
    fn what_was_accepted_before_a_restart_is_remembered() {
        let mut memory = memory(2);
        let at = UnixTime::from_secs;
        // The latest first; there is no room for the third.
        let messages = [
            (id(1), [1; 16], at(300)),
            (id(2), [1; 16], at(200)),
            (id(3), [1; 16], at(150)),
        ];
        memory.restore(at(90), messages.into_iter());
        for (name, n, digest, exp, now, wanted) in [
            ("remembered", 1, 1, 300, 100, Ok("duplicate")),
            ("other content", 2, 2, 200, 100, Err("jti_conflict")),
            (
                "forgotten for want of room",
                3,
                1,
                150,
                100,
                Err("clock_stepped_back"),
            ),
            ("forgotten before", 4, 1, 90, 80, Err("clock_stepped_back")),
            ("no room", 5, 1, 400, 100, Err("replay_full")),
            ("new, where one has expired", 5, 1, 400, 230, Ok("new")),
        ] {
            let got = match ask(&mut memory, n, digest, exp, now) {
                Ok(Reservation::New(ticket)) => {
                    memory.commit(ticket);
                    Ok("new")
                }
                Ok(Reservation::Duplicate { .. }) => Ok("duplicate"),
                Ok(Reservation::Busy) => Ok("busy"),
                Err(reject) => Err(reject.code()),
            };
            assert_eq!(got, wanted, "{name}");
        }
    }

    #[test]
    fn a_duplicate_extends_the_memory_to_the_later_end() {
        let mut memory = memory(1);
        let first = ticket(ask(&mut memory, 1, 1, 100, 0));
        memory.commit(first);
        assert!(matches!(
            ask(&mut memory, 1, 1, 500, 0),
            Ok(Reservation::Duplicate { longer: true })
        ));
        assert!(matches!(
            ask(&mut memory, 2, 1, 600, 200),
            Err(Reject::ReplayFull)
        ));
        assert!(matches!(
            ask(&mut memory, 1, 1, 100, 200),
            Ok(Reservation::Duplicate { longer: false })
        ));
    }

    #[test]
    fn every_copy_is_to_be_kept_until_its_end_was() {
        let mut memory = memory(1);
        let first = ticket(ask(&mut memory, 1, 1, 100, 0));
        memory.commit(first);
        // What becomes of the first is not known when the second comes, nor of the third.
        for (name, exp, kept, wanted) in [
            ("no later than the first", 100, None, false),
            ("later", 200, None, true),
            ("a copy of that, meanwhile", 200, None, true),
            ("later still", 300, None, true),
            (
                "the second was not kept, the third was",
                200,
                Some(300),
                false,
            ),
            ("a note that comes late", 300, Some(200), false),
            ("later than all", 301, None, true),
        ] {
            if let Some(kept) = kept {
                memory.extended_entry(&id(1), UnixTime::from_secs(kept));
            }
            let asked = ask(&mut memory, 1, 1, exp, 0);
            assert!(
                matches!(asked, Ok(Reservation::Duplicate { longer }) if longer == wanted),
                "{name}: {asked:?}"
            );
        }
    }

    #[test]
    fn a_clock_that_jumps_forward_and_back_reopens_nothing() {
        let mut memory = memory(1);
        let first = ticket(ask(&mut memory, 1, 1, 100, 0));
        memory.commit(first);
        let second = ticket(ask(&mut memory, 2, 1, 9100, 9000));
        memory.release(second);
        let floor = UnixTime::from_secs(100);
        for exp in [1, 100] {
            let exp = UnixTime::from_secs(exp);
            let again = memory.reserve_entry(id(1), [1; 16], exp, UnixTime::from_secs(0), LEEWAY);
            assert!(
                matches!(again, Err(reject) if reject == Reject::ClockSteppedBack { exp, floor })
            );
        }
        assert!(matches!(
            ask(&mut memory, 3, 1, 101, 0),
            Ok(Reservation::New(_))
        ));
    }

    #[test]
    fn a_reservation_is_never_forgotten() {
        let mut memory = memory(1);
        let first = ticket(ask(&mut memory, 1, 1, 100, 0));
        assert!(matches!(
            ask(&mut memory, 2, 1, 9100, 9000),
            Err(Reject::ReplayFull)
        ));
        memory.commit(first);
        assert!(matches!(
            ask(&mut memory, 1, 1, 100, 0),
            Ok(Reservation::Duplicate { longer: false })
        ));
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]
        /// Against a map that forgets nothing until it must.
        #[test]
        fn agrees_with_a_plain_map(steps in prop::collection::vec((0_u8..40, 0_u8..2, 1_i64..60, 0_i64..4, 0_u8..3), 1..300)) {
            let mut memory = memory(8);
            let mut model: HashMap<u8, (u8, i64)> = HashMap::new();
            let mut floor = i64::MIN;
            let mut now = 0;
            for (n, digest, life, wait, fate) in steps {
                now += wait * 10;
                let exp = now + life;
                let expected = match model.get_mut(&n) {
                    Some((known, until)) if *known == digest => { *until = exp.max(*until); "duplicate" }
                    Some(_) => "conflict",
                    None if exp <= floor => "stepped back",
                    None => {
                        if model.len() == 8 {
                            for (_, until) in model.values() {
                                if now >= until + i64::from(LEEWAY) { floor = floor.max(*until); }
                            }
                            model.retain(|_, (_, until)| now < *until + i64::from(LEEWAY));
                        }
                        if model.len() == 8 { "full" } else { "new" }
                    }
                };
                let got = match ask(&mut memory, n, digest, exp, now) {
                    Ok(Reservation::New(ticket)) => {
                        if fate == 0 { memory.release(ticket); } else { memory.commit(ticket); model.insert(n, (digest, exp)); }
                        "new"
                    }
                    Ok(Reservation::Duplicate { .. }) => "duplicate",
                    Ok(Reservation::Busy) => "busy",
                    Err(Reject::JtiConflict) => "conflict",
                    Err(Reject::ReplayFull) => "full",
                    Err(Reject::ClockSteppedBack { .. }) => "stepped back",
                    Err(_) => "other",
                };
                prop_assert_eq!(got, expected);
                prop_assert_eq!(memory.held(), model.len());
            }
        }
    }
}
