//! One connection, from its first byte to its last: requests are read one at a time into a
//! buffer of fixed size, judged by their head, read to their end, answered in one write.
//!
//! Bytes are never read twice as two things: what follows a request stays in the buffer
//! and begins the next one, and after any request whose end is not certain, or was not
//! waited for, the connection is closed. Called by the slots' threads only.

use std::{
    io::ErrorKind,
    panic::{self, AssertUnwindSafe},
    prelude::v1::*,
    time::Instant,
};

use super::{
    Request, Site,
    answer::Answer,
    head::{Framing, Head, Scan},
    slots::{Doom, Fate, Phase, Slots},
    wire::Wire,
};
use crate::{
    Reject,
    limits::{MAX_BODY, MAX_HEAD},
};

/// A head, the empty line that may stand before it, and a body.
const BUFFER: usize = MAX_HEAD + 2 + MAX_BODY;
/// How much is thrown away, at most, to let a client that still sends read its answer.
const MAX_LINGER: usize = 256 * 1024;

/// What of an answer's memory a slot keeps for the next one: metrics are longer, and every
/// slot may have answered them once.
pub(super) const KEPT: usize = 4 * 1024;

const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// A slot's memory, kept from one connection to the next.
pub(super) struct Bench<D> {
    buffer: Box<[u8]>,
    answer: Answer,
    out: Vec<u8>,
    desk: D,
}

impl<D> Bench<D> {
    pub(super) fn new(desk: D) -> Self {
        Self {
            buffer: vec![0; BUFFER].into_boxed_slice(),
            answer: Answer::default(),
            out: Vec::new(),
            desk,
        }
    }
}

/// What becomes of a connection after a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Next {
    /// Another request may come; so many of its bytes are in the buffer.
    Request { filled: usize },
    /// Everything that was sent has been read, or nobody is there: close.
    Close(Fate),
    /// Something may still be on its way: let the client read its answer before closing.
    Linger,
}

/// Why a request was not read to its end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum End {
    /// There is nobody to answer, or nothing to answer.
    Gone(Fate),
    /// It is to be answered so, and the connection closed.
    Refuse(Reject),
}

impl From<Reject> for End {
    fn from(reject: Reject) -> Self {
        Self::Refuse(reject)
    }
}

/// A connection in its slot.
pub(super) struct Connection<'a, S: Site> {
    wire: Wire<'a>,
    slots: &'a Slots,
    slot: usize,
    site: &'a S,
    phase: Phase,
}

impl<'a, S: Site> Connection<'a, S> {
    pub(super) fn new(wire: Wire<'a>, slots: &'a Slots, slot: usize, site: &'a S) -> Self {
        Self {
            wire,
            slots,
            slot,
            site,
            phase: Phase::Fresh,
        }
    }

    /// Answers requests until one side has had enough: which, and how.
    pub(super) fn serve(mut self, bench: &mut Bench<S::Desk>) -> Fate {
        let mut filled = 0;
        loop {
            match self.exchange(bench, filled) {
                Next::Request { filled: more } => {
                    filled = more;
                    if self.enter(Phase::Idle).is_err() {
                        self.wire.leave();
                        return Fate::Answered;
                    }
                }
                Next::Close(fate) => {
                    self.wire.leave();
                    return fate;
                }
                Next::Linger => {
                    self.linger(&mut bench.buffer);
                    return Fate::Answered;
                }
            }
        }
    }

    fn enter(&mut self, phase: Phase) -> Result<Instant, Doom> {
        let deadline = self.slots.enter(self.slot, phase)?;
        self.phase = phase;
        Ok(deadline)
    }

    /// One request and its answer. The first `filled` bytes of the buffer have arrived.
    fn exchange(&mut self, bench: &mut Bench<S::Desk>, mut filled: usize) -> Next {
        let Bench {
            buffer,
            answer,
            out,
            desk,
        } = bench;
        let mut begun = (filled > 0).then(Instant::now);
        let (start, end) = match self.read_head(buffer, &mut filled, &mut begun) {
            Ok(found) => found,
            Err(end) => return self.end(end, "", false, answer, out),
        };
        let started = begun.unwrap_or_else(Instant::now);
        let (front, rest) = buffer.split_at_mut(end);
        let mut arrived = filled - end;
        let head = match Head::parse(&front[start..]) {
            Ok(head) => head,
            Err(reject) => return self.end(End::Refuse(reject), "", false, answer, out),
        };
        let lines = self.site.lines(&head);
        let head_only = head.is_head();
        let framing = match head.framing() {
            Ok(framing) => framing,
            Err(reject) => {
                return self.end(End::Refuse(reject), lines, head_only, answer, out);
            }
        };
        let judged = guard(|| self.site.admit(&head, framing.length))
            .unwrap_or_else(|Panicked| Err(super::Refusal::from(Reject::Internal)));
        if let Err(refusal) = judged {
            // Its body need not be waited for; if it is here, the connection is still good.
            let length = framing
                .length
                .map_or(Some(0), |len| usize::try_from(len).ok());
            let used = length.filter(|len| *len <= arrived).map(|len| end + len);
            self.site.refused(&refusal.reject);
            answer.problem(&refusal.reject, refusal.allow);
            let close = used.is_none() || !head.keep_alive;
            let sent = self.answer(&head, lines, close, answer, out);
            return next(sent, used, filled, buffer);
        }
        let body = match self.read_body(rest, &mut arrived, framing) {
            Ok(len) => &rest[..len],
            Err(end) => return self.end(end, lines, head_only, answer, out),
        };
        let deadline = match self.slots.begin_work(self.slot) {
            Ok(deadline) => deadline,
            Err(doom) => return self.end(last_words(doom), lines, head_only, answer, out),
        };
        self.phase = Phase::Working;
        let request = Request {
            head: &head,
            body,
            started,
            read: Instant::now(),
            deadline,
        };
        let done = guard(|| self.site.answer(&request, desk, answer));
        if done.is_err() {
            self.site.refused(&Reject::Internal);
            answer.problem(&Reject::Internal, None);
        }
        let close = done.is_err() || !head.keep_alive;
        let used = end + body.len();
        let sent = self.answer(&head, lines, close, answer, out);
        if done.is_ok() && !matches!(sent, Sent::Failed) {
            self.site.answered(&head, started.elapsed());
        }
        // Here, so that a usual answer never pays for it.
        answer.give_back();
        out.clear();
        out.shrink_to(KEPT);
        next(sent, Some(used), end + arrived, buffer)
    }

    /// Reads until the head is whole: where it begins and ends.
    fn read_head(
        &mut self,
        buffer: &mut [u8],
        filled: &mut usize,
        begun: &mut Option<Instant>,
    ) -> Result<(usize, usize), End> {
        let mut scan = Scan::default();
        loop {
            if let Some(found) = scan.look(&buffer[..*filled])? {
                return Ok(found);
            }
            self.incomplete(*filled > 0);
            *filled += self.read(&mut buffer[*filled..])?;
            begun.get_or_insert_with(Instant::now);
        }
    }

    /// Reads until the body is whole: its length.
    fn read_body(
        &mut self,
        rest: &mut [u8],
        arrived: &mut usize,
        framing: Framing,
    ) -> Result<usize, End> {
        let announced = framing.length.unwrap_or(0);
        let too_large = Reject::BodyTooLarge { len: announced };
        let len = usize::try_from(announced).map_err(|_too_long| too_large)?;
        if len > MAX_BODY {
            return Err(too_large.into());
        }
        if framing.expects_continue && *arrived < len {
            self.incomplete(true);
            let said = self.wire.say_in_passing(CONTINUE);
            said.map_err(|_broken| End::Gone(Fate::Broken))?;
        }
        while *arrived < len {
            self.incomplete(true);
            *arrived += self.read(&mut rest[*arrived..])?;
        }
        Ok(len)
    }

    /// Notes that a request has begun and is not whole, so that its time runs. Where the
    /// connection was given up, what has come of it is read all the same: it may be all.
    fn incomplete(&mut self, begun: bool) {
        if begun && self.phase != Phase::Reading {
            self.enter(Phase::Reading).ok();
            self.phase = Phase::Reading;
        }
    }

    /// Waits for bytes: at least one.
    fn read(&mut self, into: &mut [u8]) -> Result<usize, End> {
        loop {
            match self.wire.read(into) {
                Ok(0) => {
                    // A client that sent nothing is told nothing.
                    let doom = self.slots.doom(self.slot);
                    return Err(match (self.phase, doom) {
                        (Phase::Reading, Some(doom)) => last_words(doom),
                        // Its reading end was closed for it, or it closed.
                        _ if self.slots.stopping() => End::Gone(Fate::Answered),
                        _ => End::Gone(Fate::Client),
                    });
                }
                Ok(len) => return Ok(len),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return Err(End::Gone(Fate::Broken)),
            }
        }
    }

    /// The answer to a request that was not read to its end; no body where `head_only`.
    fn end(
        &mut self,
        end: End,
        lines: &str,
        head_only: bool,
        answer: &mut Answer,
        out: &mut Vec<u8>,
    ) -> Next {
        let reject = match end {
            End::Refuse(reject) => reject,
            End::Gone(fate) => return Next::Close(fate),
        };
        self.site.refused(&reject);
        answer.problem(&reject, None);
        if answer.print(lines, true, head_only, out).is_err() {
            return Next::Close(Fate::Failed);
        }
        if self.enter(Phase::Working).is_err() {
            // The slot is wanted: what the socket takes at once is all there is.
            self.wire.say_at_once(out).ok();
            return Next::Close(Fate::Answered);
        }
        match self.wire.write_all(out) {
            Ok(()) => Next::Linger,
            Err(_) => Next::Close(Fate::Broken),
        }
    }

    /// Writes an answer to a whole request, or to one whose head was judged.
    fn answer(
        &mut self,
        head: &Head<'_>,
        lines: &str,
        close: bool,
        answer: &Answer,
        out: &mut Vec<u8>,
    ) -> Sent {
        let close = close || self.slots.is_last(self.slot);
        if answer.print(lines, close, head.is_head(), out).is_err() {
            return Sent::Failed;
        }
        if self.phase != Phase::Working && self.enter(Phase::Working).is_err() {
            self.wire.say_at_once(out).ok();
            return Sent::Failed;
        }
        match self.wire.write_all(out) {
            Ok(()) if close => Sent::Closed,
            Ok(()) => Sent::Open,
            Err(_) => Sent::Failed,
        }
    }

    /// Closing a socket with unread bytes resets it, and the client may lose an answer it
    /// has not read. So: say that nothing more comes, and read until the client has closed.
    fn linger(mut self, buffer: &mut [u8]) {
        if self.enter(Phase::Closing).is_err() || self.wire.finish().is_err() {
            return;
        }
        let mut left = MAX_LINGER;
        loop {
            match self.wire.discard(buffer) {
                Ok(len) if len > 0 && len <= left => left -= len,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Ok(_) | Err(_) => return,
            }
        }
    }
}

/// What became of an answer.
enum Sent {
    Open,
    Closed,
    Failed,
}

/// What follows an answer. `used` is where its request ended in the buffer, where that was
/// read; what lies behind it, up to `filled`, moves to the front.
fn next(sent: Sent, used: Option<usize>, filled: usize, buffer: &mut [u8]) -> Next {
    match (sent, used) {
        (Sent::Open, Some(used)) => {
            buffer.copy_within(used..filled, 0);
            Next::Request {
                filled: filled - used,
            }
        }
        (Sent::Failed, _) => Next::Close(Fate::Broken),
        (Sent::Closed, Some(used)) if used == filled => Next::Close(Fate::Answered),
        // What was sent behind the request is not answered; it must not reset the answer.
        (Sent::Open | Sent::Closed, _) => Next::Linger,
    }
}

/// What to say to a client whose connection is ended from outside.
fn last_words(doom: Doom) -> End {
    End::Refuse(match doom {
        Doom::Late => Reject::RequestTimeout,
        Doom::Evicted => Reject::TooManyConnections,
    })
}

pub(super) struct Panicked;

/// A panic in a handler ends its request, nothing else.
pub(super) fn guard<T>(work: impl FnOnce() -> T) -> Result<T, Panicked> {
    panic::catch_unwind(AssertUnwindSafe(work)).map_err(|_noted_by_the_hook| Panicked)
}
