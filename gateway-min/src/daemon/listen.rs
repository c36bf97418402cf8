//! The guarded socket: accepting, limits, deadlines, reading requests and writing answers.
//! What is asked and what is answered is a [`Site`]'s business; a `Site` never sees a
//! socket, a partial request or a second request.
//!
//! The accept loop never ends: what goes wrong there is counted and waited out. No thread
//! is started after [`serve`] has returned.

use std::{
    io,
    net::{Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpListener, TcpStream},
    prelude::v1::*,
    sync::{Arc, Condvar, Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

use socket2::{Domain, Protocol, Socket, Type};

use crate::Reject;

mod answer;
mod connection;
mod head;
mod slots;
#[cfg(feature = "tls")]
mod tls;
mod wire;

pub(crate) use answer::{Answer, Fields, Method, json, put};
pub(crate) use head::{Head, Once};
pub(crate) use slots::{Deadlines, Slots};
#[cfg(feature = "tls")]
pub(crate) use tls::{Certificates, Half, Pair};
pub(crate) use wire::Transport;

use connection::{Bench, Connection, guard};
use slots::Fate;

/// Connections that the system may hold before they are accepted.
const BACKLOG: i32 = 256;
/// Stack of each slot's thread. Only what is touched of it becomes memory: some 20 KiB, and
/// with TLS 36 (72 in a debug build).
const STACK: usize = 256 * 1024;
/// How long a failed accept is waited out.
const PAUSE: Duration = Duration::from_millis(50);
/// How long, at most, a slot that is being emptied is waited for: its thread has only to
/// notice, which on a busy machine takes longer than 10 ms now and then.
const ROOM: Duration = Duration::from_millis(100);
/// How long the system keeps trying to deliver what a client does not acknowledge: longer
/// than any deadline of ours, so that it only ends what is left behind a close.
#[cfg(any(target_os = "android", target_os = "linux"))]
const UNACKNOWLEDGED: Duration = Duration::from_secs(15);
/// `EMFILE` and `ENFILE`, the same on every Unix: no file descriptor is left.
const NO_DESCRIPTOR: [i32; 2] = [24, 23];

/// A whole request.
pub(crate) struct Request<'a> {
    pub(crate) head: &'a Head<'a>,
    pub(crate) body: &'a [u8],
    /// When its first byte was seen.
    pub(crate) started: Instant,
    /// When its last byte was seen.
    pub(crate) read: Instant,
    /// When its answer must have been written.
    pub(crate) deadline: Instant,
}

/// A refusal, with the methods that would do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Refusal {
    pub(crate) reject: Reject,
    /// For `Allow`.
    pub(crate) allow: Option<&'static str>,
}

impl From<Reject> for Refusal {
    fn from(reject: Reject) -> Self {
        Self {
            reject,
            allow: None,
        }
    }
}

/// What is behind the socket.
pub(crate) trait Site: Send + Sync + 'static {
    /// Memory that a thread lends to every request it answers.
    type Desk: Send;

    /// Memory for one thread; called when the thread has its first connection.
    fn desk(&self) -> Self::Desk;

    /// Header lines, each with its line end, for every answer to a request with this head.
    fn lines(&self, head: &Head<'_>) -> &str;

    /// Judges a request by its head, before its body is read.
    ///
    /// # Errors
    /// What to answer instead of reading on.
    fn admit(&self, head: &Head<'_>, length: Option<u64>) -> Result<(), Refusal>;

    /// Answers a request that was admitted.
    fn answer(&self, request: &Request<'_>, desk: &mut Self::Desk, answer: &mut Answer);

    /// Told of every refusal that is answered, whoever found it.
    fn refused(&self, reject: &Reject);

    /// Told when what [`answer`](Self::answer) said has been written, `took` after the first
    /// byte of the request was seen.
    fn answered(&self, head: &Head<'_>, took: Duration);
}

/// A listening socket.
///
/// # Errors
/// The system's: the address is taken, not ours, or not allowed.
pub(crate) fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    // A restart must not wait for the connections of the last run. A free port is another
    // matter: with this set, two that are looking for one may be given the same.
    socket.set_reuse_address(address.port() != 0)?;
    // Each connection inherits these: answers leave at once, and none is kept for ever for
    // a client that has vanished.
    socket.set_tcp_nodelay(true)?;
    #[cfg(any(target_os = "android", target_os = "linux"))]
    socket.set_tcp_user_timeout(Some(UNACKNOWLEDGED))?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// A running listener.
pub(crate) struct Server {
    address: SocketAddr,
    listener: TcpListener,
    shared: Arc<Shared>,
}

struct Shared {
    slots: Arc<Slots>,
    /// Set once, to stop accepting.
    stopping: Mutex<bool>,
    stop: Condvar,
}

impl Shared {
    /// Waits, unless it is time to stop; whether it is.
    fn pause(&self, pause: Duration) -> bool {
        let stopping = self.stopping.lock().unwrap_or_else(PoisonError::into_inner);
        let (stopping, _) = self
            .stop
            .wait_timeout_while(stopping, pause, |stopping| !*stopping)
            .unwrap_or_else(PoisonError::into_inner);
        *stopping
    }
}

/// Starts every thread and serves.
///
/// # Errors
/// The system's, where it refuses a thread; those that were started serve nobody.
pub(crate) fn serve<S: Site>(
    listener: TcpListener,
    slots: Arc<Slots>,
    site: Arc<S>,
    transport: &Transport,
) -> io::Result<Server> {
    let shared = Arc::new(Shared {
        slots,
        stopping: Mutex::new(false),
        stop: Condvar::new(),
    });
    for slot in 0..shared.slots.len() {
        let (shared, site) = (Arc::clone(&shared), Arc::clone(&site));
        let transport = transport.clone();
        thread::Builder::new()
            .name("slot".to_owned())
            .stack_size(STACK)
            .spawn(move || work(slot, &shared.slots, &*site, &transport))?;
    }
    let reaping = Arc::clone(&shared);
    thread::Builder::new()
        .name("reaper".to_owned())
        .stack_size(STACK)
        .spawn(move || reaping.slots.reap())?;
    let address = listener.local_addr()?;
    let (accepting, on) = (Arc::clone(&shared), listener.try_clone()?);
    let plain = transport.is_plain();
    thread::Builder::new()
        .name("accept".to_owned())
        .stack_size(STACK)
        .spawn(move || accept(&on, &accepting, &*site, plain))?;
    Ok(Server {
        address,
        listener,
        shared,
    })
}

/// A slot's thread.
fn work<S: Site>(slot: usize, slots: &Slots, site: &S, transport: &Transport) {
    let mut bench = None;
    while let Some(stream) = slots.take(slot) {
        let bench = bench.get_or_insert_with(|| Bench::new(site.desk()));
        // Handlers are guarded in themselves. This one is for faults of the connection's own
        // code: the slot must outlive them.
        let fate = guard(|| match transport.open(&stream, slots, slot) {
            Ok(wire) => Connection::new(wire, slots, slot, site).serve(bench),
            Err(fate) => fate,
        });
        // The table's hold on the socket is then the last: leaving closes it, and whoever
        // waits for its file descriptor is told behind that.
        drop(stream);
        slots.leave(slot, fate.unwrap_or(Fate::Failed));
    }
}

/// The accept loop. Who is turned away is told why where the listener is `plain`: nobody
/// waits here for a handshake.
fn accept<S: Site>(listener: &TcpListener, shared: &Shared, site: &S, plain: bool) {
    let mut turned_away = Answer::default();
    turned_away.problem(&Reject::TooManyConnections, None);
    let mut words = Vec::new();
    while !shared.pause(Duration::ZERO) {
        let accepted = listener.accept();
        if shared.pause(Duration::ZERO) {
            return;
        }
        // Nothing in here panics that we know of; what we do not know of must not end it.
        let taken = guard(|| {
            let (stream, peer) = accepted?;
            if let Some(stream) = shared.slots.offer(stream, peer.ip()) {
                site.refused(&Reject::TooManyConnections);
                if plain && turned_away.print("", true, false, &mut words).is_ok() {
                    wire::say_at_once(&stream, &words).ok();
                    wire::forget(&stream);
                }
            }
            io::Result::Ok(())
        });
        if let Ok(Err(error)) = taken {
            let times = shared.slots.accept_failed();
            // A lack of file descriptors lasts: the lines get rarer.
            if times.is_power_of_two() {
                log::warn!("accept failed, {times} times so far: {error}");
            }
            let lacks = |lack| error.raw_os_error() == Some(lack);
            // The newest wins here too.
            let evicted = NO_DESCRIPTOR.into_iter().any(lacks) && shared.slots.evict_one(PAUSE);
            if !evicted {
                shared.pause(PAUSE);
            }
        } else {
            // Whoever waits to be accepted keeps what it has sent; whoever was accepted, and
            // is given up before its slot is empty, loses it.
            shared.slots.wait_for_room(ROOM);
        }
    }
}

impl Server {
    /// The address it listens on, with its real port.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// An address at which this machine reaches it.
    pub(crate) fn own_address(&self) -> SocketAddr {
        let ip = match self.address.ip() {
            ip if !ip.is_unspecified() => ip,
            ip if ip.is_ipv4() => Ipv4Addr::LOCALHOST.into(),
            _ => Ipv6Addr::LOCALHOST.into(),
        };
        SocketAddr::new(ip, self.address.port())
    }

    /// Stops accepting, lets what has begun be finished, and returns when it is or `limit`
    /// has passed: whether it was.
    pub(crate) fn drain(self, limit: Duration) -> bool {
        *self
            .shared
            .stopping
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = true;
        self.shared.stop.notify_all();
        // Wakes the accept loop: on Linux by itself, elsewhere by a last connection. Where
        // neither works the loop serves nobody: its next connection ends it.
        let own_address = self.own_address();
        Socket::from(self.listener).shutdown(Shutdown::Both).ok();
        drop(TcpStream::connect_timeout(&own_address, PAUSE));
        self.shared.slots.stop();
        self.shared.slots.drained_within(limit)
    }
}

#[cfg(test)]
mod tests;
