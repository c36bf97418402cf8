//! What a test stands on: a browser with a stamped copy of the extension, a page that
//! behaves as manage's does, and a gateway that answers as the test says.

use std::{path::PathBuf, sync::Arc};

use extension::{
    browser,
    cdp::{Browser, Launch, Page},
    stamp::{GatewayUrl, Origin, Stamp, stamp},
    workspace,
};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::server::{Reply, Request, Server};

/// What the page's script keeps: each outcome that it was told, in order, and what the
/// status line said last.
const SCRIPT: &str = r#"
    globalThis.outcomes = [];
    const status = document.querySelector("[role=status]");
    document.addEventListener("click", (event) => {
      if (event.target.closest("[data-gateway-message]")) {
        status.textContent = "Sending…";
        navigator.sendBeacon("/pressed");
      }
    });
    document.addEventListener("gateway-outcome", (event) => {
      outcomes.push({ id: event.target.id, ...event.detail });
      status.textContent = event.detail.outcome;
    });
"#;

/// The installed browser.
pub(crate) fn program() -> PathBuf {
    #[expect(
        clippy::disallowed_methods,
        reason = "where programs are is the machine's to say"
    )]
    let path = std::env::var_os("PATH").unwrap_or_default();
    let applications = [PathBuf::from("/Applications")];
    browser::find(&path, &applications).expect(
        "no Chromium-family browser is installed; on Debian: apt-get install --no-install-recommends chromium",
    )
}

/// A headless browser with a profile in `folder`, which resolves no name but this
/// machine's.
pub(crate) fn launch(folder: &TempDir, more: &[String]) -> Browser {
    let rules = "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost";
    Browser::launch(&Launch {
        program: &program(),
        profile: &folder.path().join("profile"),
        headless: true,
        arguments: &[&[rules.to_owned()], more].concat(),
    })
    .unwrap()
}

/// A page with one button for each token; the n-th has the id `b<n>`.
pub(crate) fn page_of(tokens: &[&str]) -> Reply {
    let buttons: String = tokens
        .iter()
        .enumerate()
        .map(|(i, token)| {
            let token = token.replace('&', "&amp;").replace('"', "&quot;");
            format!(
                r#"<p><button type="button" id="b{i}" data-gateway-message="{token}">Send <b>for scan</b></button></p>"#
            )
        })
        .collect();
    let html = format!(
        r#"<!doctype html><html lang="en"><meta charset="utf-8"><title>Clinic</title><style>button {{ width: 100%; height: 4rem }}</style>{buttons}<p role="status"></p><script>{SCRIPT}</script></html>"#
    );
    Reply::new(200, "text/html; charset=utf-8", html)
        .with("Set-Cookie", "lax=secret; SameSite=Lax")
        .with("Set-Cookie", "none=secret; SameSite=None; Secure")
}

/// A page with another inside, whose first button is in the middle of the frame.
pub(crate) fn framing(url: &str) -> Reply {
    let html = format!(
        r#"<!doctype html><html lang="en"><title>Framing</title><iframe src="{url}" width="300" height="90"></iframe></html>"#
    );
    Reply::new(200, "text/html; charset=utf-8", html)
}

/// What the gateway answers to a message that it takes.
pub(crate) fn accepted() -> Reply {
    Reply::new(
        200,
        "application/json",
        r#"{"outcome":"accepted","jti":"1","routed":true}"#,
    )
}

/// A gateway that speaks CORS to every extension, as ours does to the allowed one.
pub(crate) fn gateway(reply: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Server {
    Server::start(with_cors(reply))
}

pub(crate) fn with_cors(
    reply: impl Fn(&Request) -> Reply + Send + Sync + 'static,
) -> impl Fn(&Request) -> Reply + Send + Sync + 'static {
    move |request| {
        let answer = if request.method == "OPTIONS" {
            Reply::new(204, "text/plain", "")
                .with("Access-Control-Allow-Methods", "POST")
                .with("Access-Control-Allow-Headers", "Content-Type")
        } else {
            reply(request)
        };
        let origin = request.header("origin").unwrap_or_default();
        answer.with("Access-Control-Allow-Origin", origin)
    }
}

/// The stage. Fields are dropped in this order: the browser first, its folder last.
pub(crate) struct Scene {
    pub(crate) browser: Browser,
    pub(crate) manage: Server,
    pub(crate) gateway: Server,
    /// The extension's id, as the browser gave it.
    pub(crate) id: String,
    /// Where the stamped copy is.
    pub(crate) copy: PathBuf,
    _folder: TempDir,
}

impl Scene {
    /// A page with these tokens, and a gateway that answers so.
    pub(crate) fn new(
        tokens: &[&str],
        reply: impl Fn(&Request) -> Reply + Send + Sync + 'static,
    ) -> Self {
        Self::prepared(tokens, gateway(reply), |_| {})
    }

    /// The same, with a change to the copy of the extension before it is loaded.
    pub(crate) fn prepared(tokens: &[&str], gateway: Server, change: impl Fn(&PathBuf)) -> Self {
        let page = Arc::new(page_of(tokens));
        let manage = Server::start(move |request| match request.path.as_str() {
            "/framing" => framing("/"),
            _ => (*page).clone(),
        });
        let folder = tempfile::tempdir().unwrap();
        let copy = folder.path().join("extension");
        let asked = Stamp {
            manage: vec![Origin::parse(&manage.origin()).unwrap()],
            gateway: Some(GatewayUrl::parse(&format!("{}/do", gateway.origin())).unwrap()),
            ..Stamp::default()
        };
        stamp(&workspace::unpacked(), &copy, &asked).unwrap();
        change(&copy);
        // As in a hospital: the page comes from the internet, the gateway is local.
        let spaces = format!(
            "--ip-address-space-overrides={}=public,{}=local",
            manage.address(),
            gateway.address()
        );
        let browser = launch(&folder, &[spaces]);
        let id = browser.load_extension(&copy).unwrap();
        Self {
            browser,
            manage,
            gateway,
            id,
            copy,
            _folder: folder,
        }
    }

    /// The page of manage, with the extension at work on it.
    pub(crate) fn page(&self) -> Page<'_> {
        let page = self.browser.open(&self.manage.origin()).unwrap();
        page.wait_for("document.documentElement.dataset.gatewayExtension")
            .unwrap();
        page
    }

    /// The extension's worker, if it is awake.
    pub(crate) fn worker(&self) -> Option<Page<'_>> {
        let prefix = format!("chrome-extension://{}/", self.id);
        let target = self.browser.target("service_worker", &prefix).unwrap()?;
        Some(self.browser.attach(target).unwrap())
    }
}

/// Presses an element and waits until the page was told `count` outcomes in all; gives
/// the last one, without the id of its element.
#[track_caller]
pub(crate) fn press(page: &Page<'_>, selector: &str, count: usize) -> Value {
    page.click(selector).unwrap();
    told(page, count)
}

/// Waits until the page was told `count` outcomes; gives the last one, without the id.
#[track_caller]
pub(crate) fn told(page: &Page<'_>, count: usize) -> Value {
    page.wait_for(&format!("outcomes.length >= {count}"))
        .unwrap();
    let mut outcomes = page.evaluate("outcomes").unwrap();
    let outcomes = outcomes.as_array_mut().unwrap();
    assert_eq!(outcomes.len(), count, "{outcomes:?}");
    let mut last = outcomes.pop().unwrap();
    last.as_object_mut().unwrap().remove("id");
    last
}

/// An outcome without `routed`.
pub(crate) fn outcome(text: &str) -> Value {
    json!({ "outcome": text })
}
