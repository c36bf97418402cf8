//! A log that cannot be written costs no answer: the console closed, and one that nobody
//! reads, beside one that is read.

use std::{
    io::{BufRead, BufReader},
    process::ChildStderr,
    thread,
    time::{Duration, Instant},
};

use crate::support::{Client, Unread, message, post};

const MESSAGES: usize = 1000;

/// Reads to the end: how many lines came.
fn read_on(console: BufReader<ChildStderr>) -> thread::JoinHandle<usize> {
    thread::spawn(move || console.lines().count())
}

/// The time for a thousand good messages, and that each is answered.
fn time(gateway: &Unread) -> Duration {
    let all: Vec<_> = (0..MESSAGES).map(|_| post(&message(&[]))).collect();
    let mut client = Client::new(gateway.address);
    let began = Instant::now();
    for bytes in all {
        client.send(&bytes);
        assert_eq!(client.answer().outcome(), "accepted");
    }
    began.elapsed()
}

#[test]
fn a_thousand_messages_whatever_the_console_does() {
    let mut read = Unread::start();
    let reader = read_on(read.console.take().unwrap());
    let when_read = time(&read);
    assert!(read.stop().success());
    assert!(reader.join().unwrap() >= MESSAGES);

    let mut closed = Unread::start();
    drop(closed.console.take());
    let when_closed = time(&closed);
    assert!(closed.stop().success());

    let unread = Unread::start();
    let when_unread = time(&unread);
    assert!(unread.stop().success());
    println!(
        "{MESSAGES} messages: console read {when_read:.1?}, closed {when_closed:.1?}, unread {when_unread:.1?}"
    );
}
