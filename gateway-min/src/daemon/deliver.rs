//! Placeholder types, replaced at the merge.

use std::{prelude::v1::*, sync::Mutex};

use crate::UnixTime;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Place {
    pub(crate) segment: u64,
    pub(crate) offset: u32,
    pub(crate) len: u32,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Parcel {
    pub(crate) place: Place,
    pub(crate) seq: u64,
    pub(crate) subject: u64,
    pub(crate) exp: UnixTime,
    pub(crate) found: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Settled {
    Delivered,
    Refused,
    Expired,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Unreadable {
    Lost,
    Unavailable,
}

#[derive(Debug)]
pub(crate) struct Letter {
    pub(crate) token: Vec<u8>,
    pub(crate) accepted: UnixTime,
}

pub(crate) trait Outbox: Send + Sync {
    fn read(&self, parcel: &Parcel, letter: &mut Letter) -> Result<(), Unreadable>;
    fn settle(&self, parcel: &Parcel, how: Settled);
}

#[derive(Debug, Default)]
pub(crate) struct Queue(pub(crate) Mutex<Vec<Parcel>>);

impl Queue {
    pub(crate) fn push(&self, parcel: Parcel) {
        self.0.lock().unwrap().push(parcel);
    }
    pub(crate) fn moved(&self, _seq: u64, _place: Place) {}
}
