//! Addresses of a name, in bounded time. The system's resolver keeps no deadline, so a
//! thread of its own asks it, started with the program; whoever wants to know waits as long
//! as it likes. A question that hangs is not asked twice at once. Called by `http`.

use std::{
    io,
    net::{SocketAddr, ToSocketAddrs},
    prelude::v1::*,
    sync::mpsc::{self, Receiver, RecvTimeoutError, Sender},
    thread,
    time::{Duration, Instant},
};

/// What the system says about a name.
type Addresses = io::Result<Vec<SocketAddr>>;
/// How the system is asked.
type Ask = fn(&str, u16) -> Addresses;

/// Most addresses of one name that are tried.
const MOST: usize = 4;
/// The system's resolver loads plug-ins and keeps buffers on the stack.
const STACK: usize = 256 * 1024;

/// Where a receiver is.
pub(super) enum Resolver {
    /// An address needs no asking.
    Known(SocketAddr),
    /// A name is asked for anew each time: it may have moved.
    Asked {
        questions: Sender<()>,
        answers: Receiver<Addresses>,
        /// Whether a question has no answer yet.
        open: bool,
    },
}

impl Resolver {
    /// # Errors
    /// The system's, where it refuses the thread.
    pub(super) fn new(host: &str, port: u16) -> io::Result<Self> {
        Self::with(host, port, |host, port| {
            Ok((host, port).to_socket_addrs()?.take(MOST).collect())
        })
    }

    fn with(host: &str, port: u16, ask: Ask) -> io::Result<Self> {
        if let Ok(address) = host.parse() {
            return Ok(Self::Known(SocketAddr::new(address, port)));
        }
        let (questions, asked) = mpsc::channel::<()>();
        let (answer, answers) = mpsc::channel();
        let host = host.to_owned();
        thread::Builder::new()
            .name("resolve".to_owned())
            .stack_size(STACK)
            .spawn(move || {
                while asked.recv().is_ok() {
                    if answer.send(ask(&host, port)).is_err() {
                        return;
                    }
                }
            })?;
        Ok(Self::Asked {
            questions,
            answers,
            open: false,
        })
    }

    /// The receiver's addresses, at least one, most wanted first.
    ///
    /// # Errors
    /// The system's, or that there was no answer by `deadline`.
    pub(super) fn addresses(&mut self, deadline: Instant) -> Result<Vec<SocketAddr>, String> {
        let (questions, answers, open) = match self {
            Self::Known(address) => return Ok(vec![*address]),
            Self::Asked {
                questions,
                answers,
                open,
            } => (questions, answers, open),
        };
        const GONE: &str = "the thread that asks for addresses has ended";
        if !*open {
            questions.send(()).map_err(|_gone| GONE.to_owned())?;
            *open = true;
        }
        let limit = deadline.saturating_duration_since(Instant::now());
        let answer = answers.recv_timeout(limit.max(Duration::from_millis(1)));
        let addresses = match answer {
            Ok(answer) => {
                *open = false;
                answer.map_err(|error| error.to_string())?
            }
            Err(RecvTimeoutError::Timeout) => return Err("no answer in time".to_owned()),
            Err(RecvTimeoutError::Disconnected) => return Err(GONE.to_owned()),
        };
        if addresses.is_empty() {
            return Err("the name has no address".to_owned());
        }
        Ok(addresses)
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io,
        prelude::v1::*,
        sync::{Condvar, Mutex},
        time::{Duration, Instant},
    };

    use super::Resolver;

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(60)
    }

    #[test]
    fn an_address_needs_no_asking() {
        let refuse = |_: &str, _| Err(io::Error::other("asked"));
        for (host, wanted) in [("127.0.0.1", "127.0.0.1:7"), ("::1", "[::1]:7")] {
            let mut resolver = Resolver::with(host, 7, refuse).unwrap();
            let addresses = resolver.addresses(soon()).unwrap();
            assert_eq!(addresses, [wanted.parse().unwrap()]);
        }
    }

    #[test]
    fn what_the_system_says_is_told() {
        let localhost = Resolver::new("localhost", 7).unwrap().addresses(soon());
        assert!(
            localhost
                .unwrap()
                .iter()
                .all(|address| address.ip().is_loopback())
        );
        let rows: [(&str, super::Ask, &str); 2] = [
            (
                "a fault",
                |_, _| Err(io::Error::other("no such name")),
                "no such name",
            ),
            ("nothing", |_, _| Ok(Vec::new()), "the name has no address"),
        ];
        for (name, ask, wanted) in rows {
            let mut resolver = Resolver::with("ris", 7, ask).unwrap();
            for _ in 0..2 {
                assert_eq!(resolver.addresses(soon()), Err(wanted.to_owned()), "{name}");
            }
        }
    }

    #[test]
    fn a_question_that_hangs_is_not_asked_again_and_its_answer_is_used() {
        static ASKED: (Mutex<(u32, bool)>, Condvar) = (Mutex::new((0, false)), Condvar::new());
        let ask = |host: &str, port| {
            assert_eq!((host, port), ("ris", 7));
            let mut asked = ASKED.0.lock().unwrap();
            asked.0 += 1;
            drop(ASKED.1.wait_while(asked, |asked| !asked.1).unwrap());
            Ok(vec!["127.0.0.1:7".parse().unwrap()])
        };
        let mut resolver = Resolver::with("ris", 7, ask).unwrap();
        for _ in 0..3 {
            let past = Instant::now();
            assert_eq!(
                resolver.addresses(past),
                Err("no answer in time".to_owned())
            );
        }
        ASKED.0.lock().unwrap().1 = true;
        ASKED.1.notify_all();
        assert_eq!(
            resolver.addresses(soon()),
            Ok(vec!["127.0.0.1:7".parse().unwrap()])
        );
        assert_eq!(ASKED.0.lock().unwrap().0, 1);
    }
}
