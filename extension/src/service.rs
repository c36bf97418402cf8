//! Child processes: their lines are read as they come, and they are ended again.
//!
//! A child runs in its own process group, so that Ctrl-C in a terminal reaches the
//! starter alone, which then ends its children in order. Should the starter itself be
//! killed, a [`Watchdog`] ends them. Used by the demonstration and the tests.

use std::{
    io::{self, BufRead as _, BufReader, Read},
    os::unix::process::CommandExt as _,
    process::{Child, Command, ExitStatus, Stdio},
    sync::{
        Arc,
        mpsc::{Receiver, RecvTimeoutError, Sender, channel},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};

/// Hears each line of a child, without its line end, and at last [`Heard::End`].
pub type Listener = Arc<dyn Fn(Heard<'_>) + Send + Sync>;

/// What a child lets hear.
#[derive(Debug)]
pub enum Heard<'a> {
    /// A line of its standard output or error; bytes that are not UTF-8 are replaced.
    Line(&'a str),
    /// It has closed both, which it does by ending.
    End,
}

/// A running child.
#[derive(Debug)]
pub struct Service {
    child: Child,
    /// Disconnected once both outputs are closed.
    open: Receiver<()>,
    readers: Vec<JoinHandle<()>>,
}

impl Service {
    /// Starts `command` with no input, in its own process group.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn start(mut command: Command, listener: &Listener) -> io::Result<Self> {
        let mut child = command
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        let (opened, open) = channel();
        let outputs: [Option<Box<dyn Read + Send>>; 2] = [
            child.stdout.take().map(|out| Box::new(out) as _),
            child.stderr.take().map(|out| Box::new(out) as _),
        ];
        let end = Arc::new(AtEnd(Arc::clone(listener)));
        let readers = outputs
            .into_iter()
            .flatten()
            .map(|output| {
                let (listener, opened, end) =
                    (Arc::clone(listener), opened.clone(), Arc::clone(&end));
                thread::spawn(move || {
                    read_lines(output, &listener);
                    drop(end);
                    drop::<Sender<()>>(opened);
                })
            })
            .collect();
        Ok(Self {
            child,
            open,
            readers,
        })
    }

    /// Its process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Asks it to end (SIGTERM) and waits; after `patience`, ends it (SIGKILL).
    ///
    /// # Errors
    /// It could not be waited for.
    pub fn stop(self, patience: Duration) -> io::Result<ExitStatus> {
        if let Some(pid) = Pid::from_raw(self.child.id().try_into().unwrap_or_default()) {
            // It fails where the child has ended already: that is what is wanted.
            kill_process(pid, Signal::TERM).unwrap_or_default();
        }
        self.wait(patience)
    }

    /// Waits until it ends by itself; after `patience`, ends it (SIGKILL).
    ///
    /// # Errors
    /// It could not be waited for.
    pub fn wait(mut self, patience: Duration) -> io::Result<ExitStatus> {
        if self.open.recv_timeout(patience) == Err(RecvTimeoutError::Timeout) {
            self.child.kill()?;
        }
        let status = self.child.wait()?;
        for reader in self.readers.drain(..) {
            // A panic of a listener was already reported by its thread.
            reader.join().unwrap_or_default();
        }
        Ok(status)
    }
}

impl Drop for Service {
    /// For the ways out that do not stop it: an error or a panic.
    fn drop(&mut self) {
        self.child.kill().unwrap_or_default();
        self.child.wait().map(drop).unwrap_or_default();
    }
}

/// Tells the end when the last reader lets go of it.
struct AtEnd(Listener);

impl Drop for AtEnd {
    fn drop(&mut self) {
        (self.0)(Heard::End);
    }
}

fn read_lines(output: impl Read, listener: &Listener) {
    let mut output = BufReader::new(output);
    let mut line = Vec::new();
    // A read that fails is an end, too.
    while let Ok(1..) = output.read_until(b'\n', &mut line) {
        let text = String::from_utf8_lossy(&line);
        listener(Heard::Line(text.trim_end_matches(['\r', '\n'])));
        line.clear();
    }
}

/// Ends the given processes when this process is gone, however it went: a shell waits
/// for the end of a pipe that only we hold open.
#[derive(Debug)]
pub struct Watchdog(Child);

impl Watchdog {
    /// Watches over the processes with these ids.
    ///
    /// # Errors
    /// `sh` cannot be started.
    pub fn over(ids: &[u32]) -> io::Result<Self> {
        Command::new("sh")
            .args(["-c", r#"read -r _; kill "$@" 2>/dev/null"#, "watchdog"])
            .args(ids.iter().map(u32::to_string))
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map(Self)
    }
}

impl Drop for Watchdog {
    /// Calls it off. What it watched over has been ended before, so that no id it knows
    /// can have become another's.
    fn drop(&mut self) {
        self.0.kill().unwrap_or_default();
        self.0.wait().map(drop).unwrap_or_default();
    }
}

#[cfg(test)]
mod tests {
    use super::{Heard, Listener, Service, Watchdog};
    use std::{
        os::unix::process::ExitStatusExt as _,
        process::{Command, Stdio},
        sync::{
            Arc,
            mpsc::{Receiver, channel},
        },
        time::Duration,
    };

    const PATIENCE: Duration = Duration::from_secs(20);

    fn sh(script: &str) -> (Service, Receiver<String>) {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        let (lines, heard) = channel();
        let listener: Listener = Arc::new(move |it| {
            let text = match it {
                Heard::Line(line) => line.to_owned(),
                Heard::End => "<end>".to_owned(),
            };
            lines.send(text).unwrap();
        });
        (Service::start(command, &listener).unwrap(), heard)
    }

    #[test]
    fn lines_of_both_outputs_are_heard_and_the_end_is_last() {
        let (service, heard) = sh("echo one; echo two >&2; printf three; exit 7");
        assert_eq!(service.wait(PATIENCE).unwrap().code(), Some(7));
        let mut heard: Vec<_> = heard.iter().collect();
        assert_eq!(heard.pop().as_deref(), Some("<end>"));
        heard.sort();
        assert_eq!(heard, ["one", "three", "two"]);
    }

    #[test]
    fn stop_is_orderly_where_the_child_is() {
        let script = "trap 'echo bye; exit 3' TERM; echo ready; while :; do sleep 0.02; done";
        let (service, heard) = sh(script);
        assert_eq!(heard.recv_timeout(PATIENCE).as_deref(), Ok("ready"));
        assert_eq!(service.stop(PATIENCE).unwrap().code(), Some(3));
        assert_eq!(heard.recv_timeout(PATIENCE).as_deref(), Ok("bye"));
    }

    #[test]
    fn a_deaf_child_is_ended_too() {
        let (service, heard) = sh("trap '' TERM; echo ready; while :; do :; done");
        assert_eq!(heard.recv_timeout(PATIENCE).as_deref(), Ok("ready"));
        let status = service.stop(Duration::from_millis(50)).unwrap();
        assert_eq!(status.signal(), Some(9));
    }

    /// The process under test kills itself; what it started must end nevertheless.
    #[test]
    fn the_watchdog_ends_what_it_watches_when_its_owner_is_gone() {
        let mut child = Command::new("sleep")
            .arg("600")
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        let mut watchdog = Watchdog::over(&[child.id()]).unwrap();
        // What the end of the owner does: its end of the pipe is closed.
        drop(watchdog.0.stdin.take());
        assert_eq!(child.wait().unwrap().signal(), Some(15));
        watchdog.0.wait().unwrap();
    }

    #[test]
    fn a_watchdog_that_was_called_off_ends_nothing() {
        let mut child = Command::new("sleep")
            .arg("600")
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        drop(Watchdog::over(&[child.id()]).unwrap());
        assert_eq!(child.try_wait().unwrap(), None);
        child.kill().unwrap();
        child.wait().unwrap();
    }
}
