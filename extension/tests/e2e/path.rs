//! The whole path: the real manage, the real gateway, a real browser with the extension.
//! Click → the gateway's log → the page → the database; and what can go wrong on the way.

use std::{
    ffi::OsStr,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::PathBuf,
    process::Command,
    sync::{Arc, Condvar, Mutex, OnceLock, PoisonError, mpsc::channel},
    time::{Duration, Instant},
};

use extension::{
    cdp::{Browser, Page},
    http,
    service::{Heard, Listener, Service},
    stamp::{GatewayUrl, Origin, Stamp, extension_id, read_manifest, stamp},
    workspace,
};
use rusqlite::{Connection, OpenFlags};
use serde_json::json;
use tempfile::TempDir;

use crate::{
    scene::launch,
    server::{Reply, Server},
};

const PATIENCE: Duration = Duration::from_secs(60);

/// The gateway's id in manage's demonstration data.
const GATEWAY_ID: &str = "screening-gateway";

/// The two programs, built once for all tests.
pub(crate) fn programs() -> &'static (PathBuf, PathBuf) {
    static PROGRAMS: OnceLock<(PathBuf, PathBuf)> = OnceLock::new();
    PROGRAMS.get_or_init(|| {
        let build = |name| workspace::build(OsStr::new(env!("CARGO")), name, name).unwrap();
        (build("gateway-min"), build("manage-rocket"))
    })
}

/// A port that was free a moment ago.
pub(crate) fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    listener.local_addr().unwrap().port()
}

/// Waits until a server answers 200.
pub(crate) fn await_answer(port: u16, path: &str) {
    let deadline = Instant::now() + PATIENCE;
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    // Nothing is ever sent: it only paces the asking.
    let (_never, pace) = channel::<()>();
    while !matches!(http::get(address, path), Ok((200, _))) {
        assert!(Instant::now() < deadline, "{address}{path} does not answer");
        pace.recv_timeout(Duration::from_millis(20)).unwrap_err();
    }
}

/// The lines of a child, which can be waited for.
#[derive(Default)]
pub(crate) struct Lines {
    lines: Mutex<Vec<String>>,
    more: Condvar,
}

impl Lines {
    pub(crate) fn listener(lines: &Arc<Self>) -> Listener {
        let lines = Arc::clone(lines);
        Arc::new(move |heard| {
            if let Heard::Line(line) = heard {
                let mut kept = lines.lines.lock().unwrap_or_else(PoisonError::into_inner);
                kept.push(line.to_owned());
                lines.more.notify_all();
            }
        })
    }

    /// Every line so far that contains all of `parts`.
    pub(crate) fn with(&self, parts: &[&str]) -> Vec<String> {
        let lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        let fits = |line: &&String| parts.iter().all(|part| line.contains(part));
        lines.iter().filter(fits).cloned().collect()
    }

    /// Waits for a line that contains all of `parts`.
    #[track_caller]
    pub(crate) fn await_line(&self, parts: &[&str]) {
        let lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        let (lines, waited) = self
            .more
            .wait_timeout_while(lines, PATIENCE, |lines| {
                !lines
                    .iter()
                    .any(|line| parts.iter().all(|part| line.contains(part)))
            })
            .unwrap_or_else(PoisonError::into_inner);
        assert!(!waited.timed_out(), "no line with {parts:?} in {lines:#?}");
    }
}

/// Everything at work. Fields are dropped in this order, the folder last.
struct Stage {
    browser: Browser,
    gateway: Option<Service>,
    _manage: Service,
    /// What the gateway has logged, over all its starts.
    log: Arc<Lines>,
    gateway_port: u16,
    public: String,
    id: String,
    copy: PathBuf,
    folder: TempDir,
}

impl Stage {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let keys = folder.path().join("keys");
        let made = Command::new(&programs().1)
            .arg("keygen")
            .arg(&keys)
            .output()
            .unwrap();
        assert!(made.status.success(), "{made:?}");

        let (gateway_port, manage_port) = (free_port(), free_port());
        let public = format!("http://localhost:{manage_port}");
        let copy = folder.path().join("extension");
        let asked = Stamp {
            manage: vec![Origin::parse(&public).unwrap()],
            gateway: Some(
                GatewayUrl::parse(&format!("http://127.0.0.1:{gateway_port}/do")).unwrap(),
            ),
            ..Stamp::default()
        };
        stamp(&workspace::unpacked(), &copy, &asked).unwrap();
        let id = extension_id(&read_manifest(&copy).unwrap()).unwrap();

        let mut command = Command::new(&programs().1);
        command
            .env("ROCKET_ADDRESS", "127.0.0.1")
            .env("ROCKET_PORT", manage_port.to_string())
            .env("MANAGE_PUBLIC_URL", &public)
            .env(
                "MANAGE_DATABASE",
                format!("sqlite:{}", database(&folder).display()),
            )
            .env("MANAGE_SIGN_IN", "mock")
            .env("MANAGE_DEMONSTRATION", "1")
            .env("JWT_PRIVATE_KEY", keys.join("message-private.pem"));
        let manage = Service::start(command, &Lines::listener(&Arc::default())).unwrap();
        await_answer(manage_port, "/healthcheck/live");

        let browser = launch(&folder, &[]);
        assert_eq!(browser.load_extension(&copy).unwrap(), id);
        let mut stage = Self {
            browser,
            gateway: None,
            _manage: manage,
            log: Arc::default(),
            gateway_port,
            public,
            id,
            copy,
            folder,
        };
        stage.start_gateway();
        stage
    }

    fn start_gateway(&mut self) {
        let mut command = Command::new(&programs().0);
        command
            .env("GATEWAY_LISTEN", format!("127.0.0.1:{}", self.gateway_port))
            .env("GATEWAY_ID", GATEWAY_ID)
            .env("GATEWAY_ISSUER", &self.public)
            .env("GATEWAY_ORIGINS", format!("chrome-extension://{}", self.id))
            .env("GATEWAY_LOG_CONTENT", "1")
            .env("GATEWAY_JOURNAL", self.folder.path().join("journal"))
            .env(
                "JWT_PUBLIC_KEY",
                self.folder.path().join("keys/message-public.pem"),
            );
        let service = Service::start(command, &Lines::listener(&self.log)).unwrap();
        self.gateway = Some(service);
        await_answer(self.gateway_port, "/healthcheck/ready");
    }

    fn stop_gateway(&mut self) {
        let status = self.gateway.take().unwrap().stop(PATIENCE).unwrap();
        assert!(status.success(), "an orderly end: {status}");
    }

    /// Today's clinic, as a person who has just signed in sees it.
    fn clinic(&self) -> Page<'_> {
        let page = self.browser.open(&self.public).unwrap();
        page.wait_for("document.querySelector('form[action=\"/sign-in\"]')")
            .unwrap();
        page.click("form[action=\"/sign-in\"] button").unwrap();
        page.wait_for("document.querySelector('main a[href*=\"/clinics/\"]')")
            .unwrap();
        page.click("main a[href*=\"/clinics/\"]").unwrap();
        page.wait_for("document.querySelector('[data-gateway-message]')")
            .unwrap();
        page.wait_for("document.readyState === 'complete'").unwrap();
        page
    }

    /// What the database holds about a message: outcome, routed and source, in order.
    fn kept(&self, jti: &str) -> Vec<(String, Option<i64>, String)> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY;
        let database = Connection::open_with_flags(database(&self.folder), flags).unwrap();
        let mut asked = database
            .prepare("SELECT outcome, routed, source FROM outcomes WHERE jti = ? ORDER BY serial")
            .unwrap();
        asked
            .query_map([jti], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
            .unwrap()
            .collect::<Result<_, _>>()
            .unwrap()
    }
}

fn database(folder: &TempDir) -> PathBuf {
    folder.path().join("manage.db")
}

fn claimed(outcome: &str, routed: Option<i64>) -> (String, Option<i64>, String) {
    (outcome.to_owned(), routed, "browser".to_owned())
}

/// One button of a clinic page and what stands beside it.
struct Button<'a> {
    page: &'a Page<'a>,
    selector: String,
    jti: String,
    person: String,
}

impl<'a> Button<'a> {
    /// The n-th button of the page.
    fn nth(page: &'a Page<'a>, n: usize) -> Self {
        let button = format!("document.querySelectorAll('[data-gateway-message]')[{n}]");
        let text = |what: &str| {
            let value = page.evaluate(&format!("{button}.{what}")).unwrap();
            value.as_str().unwrap().to_owned()
        };
        Self {
            page,
            selector: format!("#{}", text("id")),
            jti: text("dataset.jti"),
            person: text("closest('tr').querySelector('.app-person').innerText"),
        }
    }

    /// The text beside the button.
    fn words(&self) -> String {
        let words = self
            .page
            .evaluate(&format!("{}.innerText", self.region()))
            .unwrap();
        words.as_str().unwrap().to_owned()
    }

    fn region(&self) -> String {
        format!(
            "document.getElementById(document.querySelector('{}').dataset.outcome)",
            self.selector
        )
    }

    fn tag(&self) -> String {
        let tag = self.page.evaluate(&format!(
            "document.getElementById(document.querySelector('{}').dataset.tag).innerText",
            self.selector
        ));
        tag.unwrap().as_str().unwrap().to_owned()
    }

    /// Waits until the page says this, and that the server has recorded it.
    #[track_caller]
    fn await_words(&self, words: &str) {
        self.page
            .wait_for(&format!(
                "{region}.innerText.includes('{words}') && {region}.innerText.includes('Recorded at')",
                region = self.region()
            ))
            .unwrap();
    }

    #[track_caller]
    fn press_for(&self, words: &str) {
        self.page.click(&self.selector).unwrap();
        self.await_words(words);
    }
}

#[test]
fn a_click_reaches_the_log_the_page_and_the_database() {
    let stage = Stage::new();
    let page = stage.clinic();
    let missing = page.evaluate("document.querySelector('.app-needs-extension').checkVisibility()");
    assert_eq!(missing.unwrap(), false, "the note is gone");
    let button = Button::nth(&page, 0);
    assert_eq!(button.words(), "");

    button.press_for("Sent");
    assert_eq!(button.tag(), "Sent");
    stage.log.await_line(&["accepted", &button.jti]);
    let (first, last) = button.person.rsplit_once(' ').unwrap();
    assert_eq!(
        stage.log.with(&[&button.jti, first, last]).len(),
        1,
        "with its content"
    );
    assert_eq!(stage.kept(&button.jti), [claimed("accepted", Some(1))]);

    page.reload().unwrap();
    let button = Button::nth(&page, 0);
    assert!(button.words().contains("Sent"), "{}", button.words());
    assert_eq!(button.tag(), "Sent");

    // The same message once more, by keyboard: one delivery.
    page.evaluate(&format!(
        "document.querySelector('{}').focus()",
        button.selector
    ))
    .unwrap();
    page.press_enter().unwrap();
    button.await_words("Already sent");
    assert_eq!(stage.log.with(&["accepted", &button.jti]).len(), 1);
    assert_eq!(
        stage.kept(&button.jti),
        [claimed("accepted", Some(1)), claimed("duplicate", None)]
    );

    // Another button is another message.
    let other = Button::nth(&page, 1);
    assert_ne!(other.jti, button.jti);
    other.press_for("Sent");
    assert_eq!(stage.log.with(&["accepted", "jti="]).len(), 2);
}

/// A gateway nearby answers before a server far away has sent the words to say it in.
#[test]
fn an_outcome_waits_for_its_words() {
    let stage = Stage::new();
    let page = stage.clinic();
    let hold = "window.held = []; const real = window.fetch;
        window.fetch = (address, ...rest) => String(address).includes('words.json')
            ? new Promise((go) => window.held.push(() => go(real(address, ...rest))))
            : real(address, ...rest);";
    page.call("Page.enable", &json!({})).unwrap();
    page.call(
        "Page.addScriptToEvaluateOnNewDocument",
        &json!({ "source": hold }),
    )
    .unwrap();
    page.reload().unwrap();
    page.wait_for("window.held.length === 1").unwrap();
    let button = Button::nth(&page, 0);
    page.click(&button.selector).unwrap();
    page.wait_for("performance.getEntriesByType('resource').some((entry) => entry.name.endsWith('/outcomes'))")
        .unwrap();
    assert_eq!(stage.kept(&button.jti), [claimed("accepted", Some(1))]);
    page.evaluate("window.held.forEach((go) => go())").unwrap();
    button.await_words("The gateway has it");
    assert!(
        !button.words().contains("Reload this page"),
        "{}",
        button.words()
    );
}

#[test]
fn a_stopped_gateway_is_told_and_a_later_click_works() {
    let mut stage = Stage::new();
    stage.stop_gateway();
    let jti = {
        let page = stage.clinic();
        let button = Button::nth(&page, 0);
        button.press_for("could not reach the gateway");
        assert_eq!(stage.kept(&button.jti), [claimed("unreachable", None)]);
        button.jti
    };
    stage.start_gateway();
    let page = stage.browser.open(&stage.public).unwrap();
    page.wait_for("document.querySelector('main a[href*=\"/clinics/\"]')")
        .unwrap();
    page.click("main a[href*=\"/clinics/\"]").unwrap();
    page.wait_for("document.querySelector('[data-gateway-message]')")
        .unwrap();
    let button = Button::nth(&page, 0);
    assert_eq!(button.jti, jti);
    assert!(button.words().contains("could not reach the gateway"));
    button.press_for("Sent");
    assert_eq!(
        stage.kept(&jti),
        [claimed("unreachable", None), claimed("accepted", Some(1))]
    );
    stage.log.await_line(&["accepted", &jti]);
}

#[test]
fn a_forged_token_is_refused_with_its_code() {
    let stage = Stage::new();
    let page = stage.clinic();
    // Changed claims under the old signature, and a signature of another message.
    for (n, forge) in [
        (
            0,
            "[head, btoa(atob(claims.replace(/-/g, '+').replace(/_/g, '/')).replace('create_item', 'remove_item')).replace(/=+$/, '').replace(/\\+/g, '-').replace(/\\//g, '_'), signature]",
        ),
        (1, "[head, claims, other]"),
    ] {
        let button = Button::nth(&page, n);
        page.evaluate(&format!(
            "(() => {{
                const buttons = document.querySelectorAll('[data-gateway-message]');
                const [head, claims, signature] = buttons[{n}].dataset.gatewayMessage.split('.');
                const other = buttons[2].dataset.gatewayMessage.split('.')[2];
                const forged = {forge}.join('.');
                if (forged === buttons[{n}].dataset.gatewayMessage) {{ throw new Error('not forged'); }}
                buttons[{n}].dataset.gatewayMessage = forged;
            }})()"
        ))
        .unwrap();
        button.press_for("bad_signature");
        assert_eq!(
            stage.kept(&button.jti),
            [claimed("refused:bad_signature", None)]
        );
        assert_ne!(button.tag(), "Sent");
    }
    // The gateway is well, and has accepted neither.
    let honest = Button::nth(&page, 2);
    honest.press_for("Sent");
    stage.log.await_line(&["accepted", &honest.jti]);
    assert_eq!(stage.log.with(&["accepted", "jti="]).len(), 1);
}

#[test]
fn another_origin_with_the_same_markup_sends_nothing() {
    let stage = Stage::new();
    let page = stage.clinic();
    let markup = page.evaluate("document.documentElement.outerHTML").unwrap();
    let copied = markup.as_str().unwrap().to_owned();
    let elsewhere = Server::start(move |_| {
        Reply::new(
            200,
            "text/html; charset=utf-8",
            copied.clone() + CLICK_TELLS,
        )
    });
    let foreign = stage.browser.open(&elsewhere.origin()).unwrap();
    foreign.click("[data-gateway-message]").unwrap();
    elsewhere.await_posts(1);

    // Had it been sent, the honest click would be the duplicate.
    let button = Button::nth(&page, 0);
    page.call("Page.bringToFront", &serde_json::json!({}))
        .unwrap();
    button.press_for("Sent");
    assert_eq!(stage.kept(&button.jti), [claimed("accepted", Some(1))]);
}

/// Tells the page's own server of a click, so that it is known not to have missed.
const CLICK_TELLS: &str = "<script>document.addEventListener('click', (event) => { if (event.target.closest('[data-gateway-message]')) navigator.sendBeacon('/pressed'); });</script>";

#[test]
fn an_extension_updated_under_the_page_asks_for_a_reload() {
    let stage = Stage::new();
    let page = stage.clinic();
    stage.browser.load_extension(&stage.copy).unwrap();
    let button = Button::nth(&page, 0);
    button.press_for("Reload this page");
    assert_eq!(stage.kept(&button.jti), [claimed("reload", None)]);

    page.reload().unwrap();
    let button = Button::nth(&page, 0);
    button.press_for("Sent");
    stage.log.await_line(&["accepted", &button.jti]);
}

#[test]
fn a_page_without_the_extension_says_so_and_sends_nothing() {
    let stage = Stage::new();
    let id = serde_json::json!({ "id": stage.id });
    stage
        .browser
        .call(None, "Extensions.uninstall", &id)
        .unwrap();
    let page = stage.clinic();
    let note = page
        .evaluate("document.querySelector('.app-needs-extension').innerText")
        .unwrap();
    assert!(
        note.as_str().unwrap().contains("gateway extension"),
        "{note}"
    );
    let button = Button::nth(&page, 0);
    page.click(&button.selector).unwrap();
    page.wait_for(&format!("{}.innerText", button.region()))
        .unwrap();
    assert_eq!(stage.kept(&button.jti), []);
    assert_eq!(stage.log.with(&["accepted", "jti="]).len(), 0);
}
