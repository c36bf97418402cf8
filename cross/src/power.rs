//! Power cuts: a board is switched off in the middle of taking messages, again and again,
//! and what it had answered *accepted* to has to be there afterwards.

use std::{
    collections::BTreeSet,
    fs::File,
    net::SocketAddr,
    path::Path,
    process::Command,
    sync::{
        Mutex,
        atomic::{AtomicU32, Ordering},
        mpsc::{Sender, channel},
    },
    thread,
    time::Duration,
};

use crate::{
    Client, Folder, PATIENCE,
    machine::{Machine, Setup},
    message::Message,
    packages::run,
};

/// What came of some power cuts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cuts {
    /// How often the power was taken away.
    pub cuts: u32,
    /// Messages that were answered *accepted*.
    pub accepted: u32,
    /// Messages that were on their way at a cut and turned out to have been kept.
    pub kept_unanswered: u32,
}

/// What was sent before a cut.
#[derive(Debug, Default)]
struct Sent {
    accepted: Vec<Kept>,
    /// Sent, and nothing came back.
    unanswered: Vec<Kept>,
}

/// A message, and its id.
#[derive(Debug)]
struct Kept {
    jti: String,
    token: String,
}

/// Messages at most before a cut: the board takes some hundred in a second.
const MOST: u32 = 400;

/// Takes the power away `cuts` times, at moments that follow from `seed`. After each cut
/// every message that was answered *accepted* since the last has to be a duplicate; at the
/// end the gateway's journal has to list all of them, each once. `tell` hears of each cut.
pub fn cut_power(cuts: u32, seed: u64, mut tell: impl FnMut(u32, usize)) -> Cuts {
    let folder = Folder::new();
    let disk = folder.path().join("disk");
    new_disk(&disk);
    let journal = [
        ("GATEWAY_JOURNAL", "/var/lib/gateway-min/journal"),
        ("GATEWAY_REPLAY_CAPACITY", "65536"),
        ("GATEWAY_JOURNAL_MAX_MB", "64"),
    ];
    let setup = Setup {
        disk: Some(&disk),
        settings: &journal,
        ..Setup::default()
    };
    let mut random = Random(seed | 1);
    let mut known = BTreeSet::new();
    let mut last = Sent::default();
    let mut result = Cuts {
        cuts: 0,
        accepted: 0,
        kept_unanswered: 0,
    };
    loop {
        let mut machine = Machine::boot(&setup);
        machine.start();
        machine.ready();
        result.accepted += u32::try_from(last.accepted.len()).unwrap();
        result.kept_unanswered += present(&mut machine, &last);
        let kept = last.accepted.drain(..).chain(last.unanswered.drain(..));
        for kept in kept {
            assert!(known.insert(kept.jti.clone()), "{} twice", kept.jti);
        }
        if result.cuts == cuts {
            assert_eq!(listed(&mut machine), known);
            return result;
        }
        result.cuts += 1;
        let after = random.below(MOST);
        let pause = Duration::from_micros(random.below(20_000).into());
        last = load_until_cut(machine, &format!("cut-{}", result.cuts), after, pause);
        tell(result.cuts, last.accepted.len());
    }
}

/// Checks that what was answered *accepted* is a duplicate, and that what was not answered
/// is taken, now or before: how many before.
fn present(machine: &mut Machine, sent: &Sent) -> u32 {
    let mut client = machine.client();
    for kept in &sent.accepted {
        let said = client.post(&kept.token).unwrap().said();
        assert_eq!(
            said,
            (200, "duplicate".to_owned()),
            "{} was answered accepted\n{}",
            kept.jti,
            machine.log()
        );
    }
    let mut before = 0;
    for kept in &sent.unanswered {
        match client.post(&kept.token).unwrap().said() {
            (200, said) if said == "duplicate" => before += 1,
            (200, said) if said == "accepted" => {}
            said => panic!("{}: {said:?}\n{}", kept.jti, machine.log()),
        }
    }
    before
}

/// Sends messages over four connections, and takes the power away `pause` after so many
/// were accepted.
fn load_until_cut(machine: Machine, name: &str, after: u32, pause: Duration) -> Sent {
    let sent = Mutex::new(Sent::default());
    let accepted = AtomicU32::new(0);
    let (enough, heard) = channel();
    let address = machine.address();
    thread::scope(|scope| {
        for connection in 0..4 {
            let (sent, accepted, enough) = (&sent, &accepted, enough.clone());
            let name = format!("{name}-{connection}");
            scope.spawn(move || send(address, &name, after, (sent, accepted, &enough)));
        }
        heard.recv_timeout(PATIENCE).unwrap();
        // The moment is what is tested: nothing tells when it has come.
        thread::park_timeout(pause);
        machine.cut();
    });
    sent.into_inner().unwrap()
}

/// Sends new messages until the board is gone.
fn send(
    address: SocketAddr,
    name: &str,
    after: u32,
    (sent, accepted, enough): (&Mutex<Sent>, &AtomicU32, &Sender<()>),
) {
    // The board may be gone already: it was the others' messages that were enough.
    let Ok(mut client) = Client::new(address) else {
        return;
    };
    for number in 0.. {
        let jti = format!("{name}-{number}");
        let token = Message::new(&jti).sign();
        let answer = client.post(&token);
        let kept = Kept { jti, token };
        let Ok(answer) = answer else {
            sent.lock().unwrap().unanswered.push(kept);
            return;
        };
        assert_eq!(answer.said(), (200, "accepted".to_owned()), "{}", kept.jti);
        sent.lock().unwrap().accepted.push(kept);
        if accepted.fetch_add(1, Ordering::Relaxed) >= after {
            // Heard once; later ones have nobody who listens.
            enough.send(()).ok();
        }
    }
}

/// The ids that the gateway's own reader finds in the journal.
fn listed(machine: &mut Machine) -> BTreeSet<String> {
    let text = machine.run(
        "su -s /bin/sh -c 'GATEWAY_JOURNAL=/var/lib/gateway-min/journal exec gateway-min journal' gateway-min",
    );
    let mut listed = BTreeSet::new();
    for line in text.lines() {
        let line: serde_json::Value = serde_json::from_str(line).unwrap_or_default();
        if let Some(jti) = line["jti"].as_str() {
            assert!(listed.insert(jti.to_owned()), "{jti} is listed twice");
        }
    }
    listed
}

fn new_disk(path: &Path) {
    File::create(path).unwrap().set_len(128 << 20).unwrap();
    run(Command::new("/sbin/mkfs.ext4").args(["-q", "-F"]).arg(path));
}

/// Marsaglia's xorshift: moments that can be had again.
struct Random(u64);

impl Random {
    const fn below(&mut self, bound: u32) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        #[expect(clippy::cast_possible_truncation, reason = "less than the bound")]
        let below = (self.0 % bound as u64) as u32;
        below
    }
}
