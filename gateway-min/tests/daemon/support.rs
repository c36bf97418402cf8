//! What every flow needs: a running gateway, a client that shows every byte, messages.

use std::{
    env, fs,
    io::{BufRead, BufReader, ErrorKind, Read, Write},
    net::{Shutdown, SocketAddr, TcpStream},
    os::unix::fs::{DirBuilderExt, PermissionsExt},
    path::{Path, PathBuf},
    process::{Child, ChildStderr, Command, ExitStatus, Stdio},
    sync::{
        Arc, Condvar, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    thread,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use crate::signer::{KID, PUBLIC_JWK, sign};

/// Longer than anything here takes on a busy machine; only a failure waits for it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
pub(crate) const ISSUER: &str = "http://localhost:8080";
pub(crate) const ID: &str = "screening-gateway";
pub(crate) const EXTENSION: &str = "chrome-extension://abcdefghijklmnopabcdefghijklmnop";

/// A folder of one test's own, removed with it.
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let next = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = env::temp_dir().join(format!("gateway-min-{}-{next}", std::process::id()));
        fs::DirBuilder::new().mode(0o700).create(&path).unwrap();
        Self(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// A file with a mode, whatever the umask.
    #[expect(clippy::disallowed_methods, reason = "a test's own file")]
    pub(crate) fn file(&self, name: &str, text: &str, mode: u32) -> String {
        let path = self.0.join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        path.to_str().unwrap().to_owned()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).unwrap();
    }
}

/// The command with an environment of these settings alone.
pub(crate) fn command(settings: &[(&str, &str)]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gateway-min"));
    command
        .env_clear()
        .envs(settings.iter().copied())
        .stdin(Stdio::null());
    command
}

/// What the daemon has logged so far.
#[derive(Clone, Default)]
pub(crate) struct Lines(Arc<(Mutex<String>, Condvar)>);

impl Lines {
    fn read(from: impl Read + Send + 'static) -> Self {
        let lines = Self::default();
        let filled = lines.clone();
        thread::spawn(move || {
            let mut from = BufReader::new(from);
            let mut line = String::new();
            while from.read_line(&mut line).is_ok_and(|len| len > 0) {
                filled.0.0.lock().unwrap().push_str(&line);
                filled.0.1.notify_all();
                line.clear();
            }
        });
        lines
    }

    pub(crate) fn text(&self) -> String {
        self.0.0.lock().unwrap().clone()
    }

    /// Waits for a line that contains `text`, and gives it.
    #[track_caller]
    pub(crate) fn wait_for(&self, text: &str) -> String {
        self.wait_for_another(0, text)
    }

    /// How many lines so far contain `text`.
    pub(crate) fn count(&self, text: &str) -> usize {
        let lines = self.text();
        lines.lines().filter(|line| line.contains(text)).count()
    }

    /// Waits for a line that contains `text` behind the first `seen` that do, and gives it.
    #[track_caller]
    pub(crate) fn wait_for_another(&self, seen: usize, text: &str) -> String {
        let lines = self.0.0.lock().unwrap();
        let nth = |lines: &str| {
            let mut lines = lines.lines().filter(|line| line.contains(text));
            lines.nth(seen).map(str::to_owned)
        };
        let (lines, _) = self
            .0
            .1
            .wait_timeout_while(lines, PATIENCE, |lines| nth(lines).is_none())
            .unwrap();
        nth(&lines).unwrap_or_else(|| panic!("no {text:?} behind {seen} in:\n{lines}"))
    }
}

/// A gateway whose console is read up to where it tells its address, and no further.
pub(crate) struct Unread {
    child: Child,
    pub(crate) address: SocketAddr,
    pub(crate) console: Option<BufReader<ChildStderr>>,
    _folder: Folder,
}

impl Unread {
    pub(crate) fn start() -> Self {
        let folder = Folder::new();
        let key = folder.file("key.jwk", PUBLIC_JWK, 0o600);
        let mut child = command(&[
            ("GATEWAY_LISTEN", "127.0.0.1:0"),
            ("GATEWAY_ID", ID),
            ("GATEWAY_ORIGINS", EXTENSION),
            ("GATEWAY_LOG_CONTENT", "1"),
            ("JWT_PUBLIC_KEY", &key),
        ])
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
        let mut console = BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        while !line.contains("listening on ") {
            line.clear();
            assert!(console.read_line(&mut line).unwrap() > 0, "no address");
        }
        let (_, address) = line.split_once("listening on ").unwrap();
        Self {
            address: address.trim().parse().unwrap(),
            child,
            console: Some(console),
            _folder: folder,
        }
    }

    pub(crate) fn stop(mut self) -> ExitStatus {
        signal(self.child.id(), "TERM");
        self.child.wait().unwrap()
    }
}

impl Drop for Unread {
    fn drop(&mut self) {
        // It may have ended by itself.
        self.child.kill().ok();
        self.child.wait().unwrap();
    }
}

fn signal(process: u32, name: &str) {
    let status = Command::new("kill")
        .args([format!("-{name}"), process.to_string()])
        .status();
    assert!(status.unwrap().success());
}

/// A running gateway; ended with its test.
pub(crate) struct Gateway {
    child: Child,
    pub(crate) address: SocketAddr,
    pub(crate) lines: Lines,
    _folder: Folder,
}

impl Gateway {
    /// With the settings of a site, and `more`.
    pub(crate) fn start(more: &[(&str, &str)]) -> Self {
        Self::spawn(command(&[]), more)
    }

    /// Within a limit of the shell's, such as `-n 64`: so many file descriptors.
    pub(crate) fn start_within(limit: &str, more: &[(&str, &str)]) -> Self {
        Self::start_by(&format!("ulimit {limit}"), more)
    }

    /// By a shell that does something first and then becomes the gateway.
    pub(crate) fn start_by(first: &str, more: &[(&str, &str)]) -> Self {
        let mut shell = Command::new("/bin/sh");
        shell
            .env_clear()
            .args(["-c", &format!("{first} && exec \"$0\"")])
            .arg(env!("CARGO_BIN_EXE_gateway-min"));
        Self::spawn(shell, more)
    }

    fn spawn(mut command: Command, more: &[(&str, &str)]) -> Self {
        let folder = Folder::new();
        let key = folder.file("key.jwk", PUBLIC_JWK, 0o600);
        let mut settings = vec![
            ("GATEWAY_LISTEN", "127.0.0.1:0"),
            ("GATEWAY_ID", ID),
            ("GATEWAY_ISSUER", ISSUER),
            ("GATEWAY_ORIGINS", EXTENSION),
            ("JWT_PUBLIC_KEY", &key),
        ];
        settings.extend(more);
        let mut child = command
            .envs(settings)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = Lines::read(child.stderr.take().unwrap());
        let line = lines.wait_for("listening on ");
        let (_, address) = line.split_once("listening on ").unwrap();
        let address = address.trim().parse().unwrap();
        Self {
            child,
            address,
            lines,
            _folder: folder,
        }
    }

    pub(crate) fn client(&self) -> Client {
        Client::new(self.address)
    }

    /// One request on a connection of its own.
    #[track_caller]
    pub(crate) fn ask(&self, request: &[u8]) -> Answer {
        let mut client = self.client();
        client.send(request);
        client.answer()
    }

    /// Posts a token as the extension does.
    #[track_caller]
    pub(crate) fn post(&self, token: &str) -> Answer {
        self.ask(&post(token))
    }

    /// That a good request is served: what every attack is followed by.
    #[track_caller]
    pub(crate) fn is_well(&self) {
        let answer = self.post(&message(&[]));
        assert_eq!((answer.status, answer.outcome()), (200, "accepted".into()));
    }

    /// Waits until every slot is empty: the gateway's first probe of itself is over (the
    /// next is ten seconds away), and so is the connection that asked for that. A close is
    /// seen after the slot was left.
    pub(crate) fn settle(&self) {
        let ask = request("GET /healthcheck/ready", &[("Connection", "close")], b"");
        loop {
            let mut client = self.client();
            client.send(&ask);
            if client.rest().starts_with("HTTP/1.1 200 ") {
                return;
            }
        }
    }

    pub(crate) fn signal(&self, name: &str) {
        signal(self.id(), name);
    }

    /// Its process.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Waits for the process to end by itself: how it did.
    pub(crate) fn status(mut self) -> ExitStatus {
        self.child.wait().unwrap()
    }

    /// Waits for the process to end in order: how it did, and its last line.
    pub(crate) fn ended(mut self) -> (ExitStatus, String) {
        let status = self.child.wait().unwrap();
        let closing = self.lines.wait_for("stopped: ");
        (status, closing)
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        // It may have ended by itself.
        self.child.kill().ok();
        self.child.wait().unwrap();
    }
}

/// An answer as it came.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        let mut fields = self.head.lines().filter_map(|line| line.split_once(": "));
        fields
            .find(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
    }

    #[track_caller]
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    #[track_caller]
    pub(crate) fn outcome(&self) -> String {
        self.json()["outcome"].as_str().unwrap_or("none").to_owned()
    }

    /// Status and code of a refusal, whose form is checked.
    #[track_caller]
    pub(crate) fn refusal(&self) -> (u16, String) {
        let body = self.json();
        let named = body.as_object().unwrap().keys().collect::<Vec<_>>();
        assert_eq!(named, ["code", "stage", "status", "title", "type"]);
        assert_eq!(self.field("Content-Type"), Some("application/problem+json"));
        assert_eq!(body["type"], "about:blank");
        assert_eq!(body["status"], self.status);
        let code = body["code"].as_str().unwrap();
        assert!(gateway_min::Reject::CODES.contains(&code), "{code}");
        (self.status, code.to_owned())
    }
}

/// A connection that shows what is sent and what comes back.
pub(crate) struct Client {
    stream: TcpStream,
    read: Vec<u8>,
}

impl Client {
    pub(crate) fn new(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Self {
            stream,
            read: Vec::new(),
        }
    }

    #[track_caller]
    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
    }

    /// Sends what the gateway takes: it may have closed meanwhile.
    pub(crate) fn send_anyway(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// Sends `bytes` over and over until none are taken for a second.
    pub(crate) fn send_until_full(&mut self, bytes: &[u8]) {
        let second = Some(Duration::from_secs(1));
        self.stream.set_write_timeout(second).unwrap();
        while self.stream.write_all(bytes).is_ok() {}
        self.stream.set_write_timeout(Some(PATIENCE)).unwrap();
    }

    /// Whether nothing, not even a close, comes within `limit`.
    pub(crate) fn nothing_within(&mut self, limit: Duration) -> bool {
        self.stream.set_read_timeout(Some(limit)).unwrap();
        let mut chunk = [0; 4096];
        let read = self.stream.read(&mut chunk);
        self.stream.set_read_timeout(Some(PATIENCE)).unwrap();
        match read {
            Ok(len) => self.read.extend_from_slice(&chunk[..len]),
            Err(error) => return error.kind() == ErrorKind::WouldBlock,
        }
        false
    }

    /// The same connection, to send on while this one reads.
    pub(crate) fn another(&self) -> Self {
        Self {
            stream: self.stream.try_clone().unwrap(),
            read: Vec::new(),
        }
    }

    pub(crate) fn finish_sending(&self) {
        self.stream.shutdown(Shutdown::Write).unwrap();
    }

    #[track_caller]
    pub(crate) fn answer(&mut self) -> Answer {
        let (status, head) = self.head();
        let mut answer = Answer {
            status,
            head,
            body: String::new(),
        };
        let len: usize = answer.field("Content-Length").unwrap().parse().unwrap();
        self.fill(|read| read.len() >= len);
        answer.body = String::from_utf8(self.read.drain(..len).collect()).unwrap();
        answer
    }

    /// Status and head of an answer that has no body.
    #[track_caller]
    pub(crate) fn head(&mut self) -> (u16, String) {
        let end = |read: &[u8]| read.windows(4).position(|four| four == b"\r\n\r\n");
        self.fill(|read| end(read).is_some());
        let len = end(&self.read).unwrap() + 4;
        let head = String::from_utf8(self.read.drain(..len).collect()).unwrap();
        let status = head.strip_prefix("HTTP/1.1 ").unwrap()[..3]
            .parse()
            .unwrap();
        (status, head)
    }

    #[track_caller]
    fn fill(&mut self, enough: impl Fn(&[u8]) -> bool) {
        while !enough(&self.read) {
            let mut chunk = [0; 4096];
            let len = match self.stream.read(&mut chunk) {
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                read => read.unwrap(),
            };
            assert!(len > 0, "closed after {}", self.read.escape_ascii());
            self.read.extend_from_slice(&chunk[..len]);
        }
    }

    /// Waits until the gateway has closed: what came before that. A reset is a close too,
    /// a time-out is not.
    #[track_caller]
    pub(crate) fn rest(self) -> String {
        String::from_utf8(self.rest_of_bytes()).unwrap()
    }

    /// Likewise of what is no text.
    #[track_caller]
    pub(crate) fn rest_of_bytes(mut self) -> Vec<u8> {
        loop {
            let mut chunk = [0; 4096];
            match self.stream.read(&mut chunk) {
                Ok(0) => break,
                Ok(len) => self.read.extend_from_slice(&chunk[..len]),
                Err(error) if error.kind() == ErrorKind::ConnectionReset => break,
                // A process of the test's that was stopped or continued.
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => panic!("{error}"),
            }
        }
        self.read
    }
}

/// A request; `Host` and `Content-Length` are added where `fields` does not name them.
pub(crate) fn request(line: &str, fields: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let mut text = format!("{line} HTTP/1.1\r\n");
    let named = |name: &str| {
        fields
            .iter()
            .any(|(known, _)| known.eq_ignore_ascii_case(name))
    };
    if !named("Host") {
        text.push_str("Host: localhost\r\n");
    }
    if !body.is_empty() && !named("Content-Length") {
        text.push_str(&format!("Content-Length: {}\r\n", body.len()));
    }
    for (name, value) in fields {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    text.push_str("\r\n");
    let mut bytes = text.into_bytes();
    bytes.extend_from_slice(body);
    bytes
}

/// A token in a body as the extension makes it.
pub(crate) fn post(token: &str) -> Vec<u8> {
    let body = serde_json::json!({"message": token, "timestamp": "2026-11-21T09:00:00Z"});
    request(
        "POST /do",
        &[("Content-Type", "application/json"), ("Origin", EXTENSION)],
        body.to_string().as_bytes(),
    )
}

/// The bare token.
pub(crate) fn post_jose(token: &[u8]) -> Vec<u8> {
    request("POST /do", &[("Content-Type", "application/jose")], token)
}

#[expect(clippy::disallowed_methods, reason = "the gateway judges by the clock")]
pub(crate) fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs()
}

/// A `jti` of its own.
pub(crate) fn jti() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("message-{}", NEXT.fetch_add(1, Ordering::Relaxed))
}

/// Header and claims of a good message; `changes` replace claims, or with `null` take them
/// away.
pub(crate) fn claims(changes: &[(&str, serde_json::Value)]) -> String {
    let mut claims = serde_json::json!({
        "iss": ISSUER,
        "aud": ID,
        "iat": now(),
        "exp": now() + 3600,
        "jti": jti(),
        "sub": "appointment-1",
        "action_type": "worklist.create_item",
        "parameters": {"worklist_item": {"participant": {"name": "ZZTEST, Ann", "nhs_number": "9990000018"}}},
    });
    let members = claims.as_object_mut().unwrap();
    for (name, value) in changes {
        if value.is_null() {
            members.remove(*name);
        } else {
            members.insert((*name).to_owned(), value.clone());
        }
    }
    claims.to_string()
}

pub(crate) fn header() -> String {
    format!(r#"{{"alg":"EdDSA","kid":"{KID}","typ":"gateway-message+jwt"}}"#)
}

/// A signed message.
pub(crate) fn message(changes: &[(&str, serde_json::Value)]) -> String {
    sign(header().as_bytes(), claims(changes).as_bytes())
}
