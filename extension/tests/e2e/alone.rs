//! The extension against a gateway of ours that can answer wrongly, late or not at all.

use std::{
    net::TcpListener,
    sync::{Mutex, mpsc::channel},
    time::{Duration, Instant},
};

use extension::{
    stamp::{GatewayUrl, Origin, Stamp, stamp},
    workspace,
};
use serde_json::{Value, json};

use crate::{
    scene::{Scene, accepted, framing, gateway, outcome, page_of, press, told, with_cors},
    server::{Reply, Server},
};

const PATIENCE: Duration = Duration::from_secs(60);

/// Longest token that is carried, in characters.
const MAX_TOKEN: usize = 16 * 1024;

fn problem(status: u16, code: &str) -> Reply {
    let body = json!({ "type": "about:blank", "status": status, "code": code, "stage": "x" });
    Reply::new(status, "application/problem+json", body.to_string())
}

fn ok(body: &str) -> Reply {
    Reply::new(200, "application/json", body)
}

/// An answer that is accepted, filled up to `length` bytes.
fn filled(length: usize) -> Reply {
    let (head, tail) = (r#"{"outcome":"accepted","jti":"1","fill":""#, r#""}"#);
    let fill = "x".repeat(length - head.len() - tail.len());
    ok(&format!("{head}{fill}{tail}"))
}

#[test]
fn each_answer_becomes_its_outcome() {
    let bad = || outcome("unavailable:bad_answer");
    let rows: Vec<(&str, Reply, Value)> = vec![
        (
            "accepted",
            accepted(),
            json!({"outcome": "accepted", "routed": true}),
        ),
        (
            "accepted, not routed",
            ok(r#"{"outcome":"accepted","jti":"1","routed":false}"#),
            json!({"outcome": "accepted", "routed": false}),
        ),
        (
            "accepted with members of a later version",
            ok(r#"{"outcome":"accepted","jti":"1","phases":[]}"#),
            outcome("accepted"),
        ),
        (
            "duplicate",
            ok(r#"{"outcome":"duplicate","jti":"1"}"#),
            outcome("duplicate"),
        ),
        ("as long as may be", filled(64 * 1024), outcome("accepted")),
        (
            "400",
            problem(400, "token_segments"),
            outcome("refused:token_segments"),
        ),
        (
            "401",
            problem(401, "bad_signature"),
            outcome("refused:bad_signature"),
        ),
        ("403", problem(403, "expired"), outcome("refused:expired")),
        (
            "404",
            problem(404, "not_found"),
            outcome("refused:not_found"),
        ),
        (
            "409",
            problem(409, "jti_conflict"),
            outcome("refused:jti_conflict"),
        ),
        (
            "413",
            problem(413, "body_too_large"),
            outcome("refused:body_too_large"),
        ),
        (
            "421",
            problem(421, "host_not_allowed"),
            outcome("refused:host_not_allowed"),
        ),
        (
            "408",
            problem(408, "request_timeout"),
            outcome("unavailable:request_timeout"),
        ),
        (
            "429",
            problem(429, "too_many_connections"),
            outcome("unavailable:too_many_connections"),
        ),
        (
            "500",
            problem(500, "internal"),
            outcome("unavailable:internal"),
        ),
        (
            "503",
            problem(503, "clock_not_set").with("Retry-After", "30"),
            outcome("unavailable:clock_not_set"),
        ),
        (
            "a code of a later version",
            problem(400, "new_2"),
            outcome("refused:new_2"),
        ),
        ("one byte too long", filled(64 * 1024 + 1), bad()),
        (
            "a page of a portal",
            Reply::new(200, "text/html", "<h1>Sign in</h1>"),
            bad(),
        ),
        (
            "a page of a proxy",
            Reply::new(502, "text/html", "<h1>Bad gateway</h1>"),
            bad(),
        ),
        (
            "our JSON as a page",
            Reply::new(200, "text/html", r#"{"outcome":"accepted","jti":"1"}"#),
            bad(),
        ),
        ("not JSON", ok("accepted"), bad()),
        ("an array", ok(r#"["accepted"]"#), bad()),
        ("null", ok("null"), bad()),
        ("no jti", ok(r#"{"outcome":"accepted"}"#), bad()),
        (
            "an unknown outcome",
            ok(r#"{"outcome":"perhaps","jti":"1"}"#),
            bad(),
        ),
        (
            "routed as text",
            ok(r#"{"outcome":"accepted","jti":"1","routed":"yes"}"#),
            bad(),
        ),
        (
            "not UTF-8",
            Reply::new(
                200,
                "application/json",
                b"{\"outcome\":\"accepted\",\"jti\":\"\xff\"}",
            ),
            bad(),
        ),
        ("a problem with status 200", problem(200, "expired"), bad()),
        (
            "accepted with status 400",
            Reply::new(
                400,
                "application/json",
                r#"{"outcome":"accepted","jti":"1"}"#,
            ),
            bad(),
        ),
        (
            "accepted with status 201",
            Reply::new(
                201,
                "application/json",
                r#"{"outcome":"accepted","jti":"1"}"#,
            ),
            bad(),
        ),
        (
            "a problem without a code",
            Reply::new(400, "application/problem+json", "{}"),
            bad(),
        ),
        ("a code that is markup", problem(400, "<b>no</b>"), bad()),
        (
            "a code that is too long",
            problem(400, &"x".repeat(65)),
            bad(),
        ),
        ("our own word as a code", problem(400, "bad_answer"), bad()),
        ("nothing", Reply::new(204, "application/json", ""), bad()),
        (
            "cut short",
            ok(r#"{"outcome":"#).claiming(100),
            outcome("timeout"),
        ),
        (
            "a redirect",
            Reply::new(307, "text/plain", "").with("Location", "/elsewhere"),
            outcome("unreachable"),
        ),
    ];
    let tokens: Vec<&str> = rows.iter().map(|(name, ..)| *name).collect();
    let replies: Vec<(String, Reply)> = rows
        .iter()
        .map(|(name, reply, _)| ((*name).to_owned(), reply.clone()))
        .collect();
    let scene = Scene::new(&tokens, move |request| {
        let token = request.token();
        let row = replies.iter().find(|(name, _)| *name == token);
        row.map(|(_, reply)| reply.clone()).unwrap()
    });
    let page = scene.page();
    for (i, (name, _, expected)) in rows.iter().enumerate() {
        let found = press(&page, &format!("#b{i}"), i + 1);
        assert_eq!(&found, expected, "{name}");
        let status = page.evaluate("document.querySelector('[role=status]').textContent");
        assert_eq!(
            status.unwrap(),
            expected["outcome"],
            "{name}: the page's last words"
        );
    }

    // Each was asked for once, in the one way that the gateway expects.
    let posts = scene.gateway.posts();
    let mut sent = scene.gateway.tokens();
    // 421 invites to try another connection (RFC 9110 section 15.5.20), and Chromium does.
    sent.dedup_by(|later, earlier| later == earlier && later == "421");
    assert_eq!(
        sent, tokens,
        "nothing is sent twice, no redirect is followed"
    );
    let cookies = page.evaluate("document.cookie").unwrap();
    assert_eq!(
        cookies, "lax=secret; none=secret",
        "there are cookies to send"
    );
    for post in &posts {
        assert_eq!(post.path, "/do");
        assert_eq!(post.header("content-type"), Some("application/json"));
        assert_eq!(
            post.header("origin"),
            Some(&*format!("chrome-extension://{}", scene.id))
        );
        assert_eq!(post.header("cookie"), None);
        assert_eq!(post.header("referer"), None);
        let body: Value = serde_json::from_slice(&post.body).unwrap();
        let members: Vec<_> = body.as_object().unwrap().keys().collect();
        assert_eq!(members, ["message", "timestamp"]);
        let timestamp = body["timestamp"].as_str().unwrap();
        assert_eq!(
            timestamp.len(),
            "2026-01-01T00:00:00.000Z".len(),
            "{timestamp}"
        );
        assert!(
            timestamp.starts_with("20") && timestamp.ends_with('Z'),
            "{timestamp}"
        );
    }
}

#[test]
fn a_gateway_without_cors_is_unreachable() {
    let portal = Server::start(|_| accepted());
    let scene = Scene::prepared(&["token"], portal, |_| {});
    assert_eq!(press(&scene.page(), "#b0", 1), outcome("unreachable"));
    assert_eq!(scene.gateway.posts().len(), 0, "the browser asked first");
    assert_eq!(scene.gateway.requests()[0].method, "OPTIONS");
}

/// Browsers keep pages of the internet away from local addresses. The worker is exempt, by
/// trial and not by promise; this would notice the end of that.
#[test]
fn the_worker_reaches_a_gateway_that_its_page_cannot() {
    let scene = Scene::new(&["token"], |_| accepted());
    let page = scene.page();
    let own = format!(
        "fetch('{}/do', {{ method: 'POST', body: '{{\"message\":\"own\"}}' }}).then(() => 'answered', () => 'blocked')",
        scene.gateway.origin()
    );
    assert_eq!(page.evaluate(&own).unwrap(), "blocked");
    assert_eq!(press(&page, "#b0", 1)["outcome"], "accepted");
    assert_eq!(scene.gateway.tokens(), ["token"]);
}

#[test]
fn a_gateway_that_is_down_is_unreachable_until_it_is_back() {
    let free = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let address = free.local_addr().unwrap();
    drop(free);
    let placeholder = Server::start(|_| accepted());
    let scene = Scene::prepared(&["token"], placeholder, |copy| {
        let line = format!("export const DEFAULT_GATEWAY = \"http://{address}/do\";\n");
        overwrite(&copy.join("defaults.js"), &line);
    });
    let page = scene.page();
    assert_eq!(press(&page, "#b0", 1), outcome("unreachable"));
    let gateway = Server::start_at(address, with_cors(|_| accepted()));
    assert_eq!(press(&page, "#b0", 2)["outcome"], "accepted");
    assert_eq!(gateway.posts().len(), 1);
}

/// Really awaits the ten seconds.
#[test]
fn a_gateway_that_never_answers_is_a_timeout() {
    let scene = Scene::new(&["head", "body"], |request| {
        match request.token().as_str() {
            "head" => Reply::Silence,
            _ => accepted(),
        }
    });
    let page = scene.page();
    assert_eq!(press(&page, "#b0", 1), outcome("timeout"));
    assert_eq!(press(&page, "#b1", 2)["outcome"], "accepted");
}

#[test]
fn a_worker_that_went_to_sleep_wakes() {
    let scene = Scene::new(&["one", "two"], |_| accepted());
    let page = scene.page();
    assert_eq!(press(&page, "#b0", 1)["outcome"], "accepted");
    scene.worker().unwrap().close().unwrap();
    let deadline = Instant::now() + PATIENCE;
    while scene.worker().is_some() {
        assert!(Instant::now() < deadline, "the worker stays awake");
    }
    assert_eq!(press(&page, "#b1", 2)["outcome"], "accepted");
}

#[test]
fn a_worker_that_dies_on_the_way_leaves_it_open_whether_it_arrived() {
    let scene = Scene::new(&["lost", "next"], |request| {
        match request.token().as_str() {
            "lost" => Reply::Silence,
            _ => accepted(),
        }
    });
    let page = scene.page();
    page.click("#b0").unwrap();
    scene.gateway.await_posts(1);
    scene.worker().unwrap().close().unwrap();
    assert_eq!(told(&page, 1), outcome("timeout"));
    assert_eq!(press(&page, "#b1", 2)["outcome"], "accepted");
}

#[test]
fn a_page_cut_off_by_an_update_asks_for_a_reload() {
    let scene = Scene::new(&["before", "after"], |_| accepted());
    let page = scene.page();
    assert_eq!(press(&page, "#b0", 1)["outcome"], "accepted");

    assert_eq!(scene.browser.load_extension(&scene.copy).unwrap(), scene.id);
    assert_eq!(press(&page, "#b1", 2), outcome("reload"));
    assert_eq!(press(&page, "#b1", 3), outcome("reload"), "not stuck");
    assert_eq!(scene.gateway.posts().len(), 1);

    page.reload().unwrap();
    assert_eq!(press(&page, "#b1", 1)["outcome"], "accepted");
}

#[test]
fn an_update_on_the_way_leaves_it_open_and_then_asks_for_a_reload() {
    let scene = Scene::new(&["token"], |_| Reply::Silence);
    let page = scene.page();
    page.click("#b0").unwrap();
    scene.gateway.await_posts(1);
    scene.browser.load_extension(&scene.copy).unwrap();
    assert_eq!(told(&page, 1), outcome("timeout"));
    assert_eq!(press(&page, "#b0", 2), outcome("reload"));
    assert_eq!(scene.gateway.posts().len(), 1);
}

#[test]
fn a_page_whose_extension_was_removed_asks_for_a_reload() {
    let scene = Scene::new(&["token"], |_| accepted());
    let page = scene.page();
    let id = json!({ "id": scene.id });
    scene
        .browser
        .call(None, "Extensions.uninstall", &id)
        .unwrap();
    assert_eq!(press(&page, "#b0", 1), outcome("reload"));
    page.reload().unwrap();
    let marked = page.evaluate("document.documentElement.dataset.gatewayExtension ?? null");
    assert_eq!(
        marked.unwrap(),
        Value::Null,
        "the page can tell that nothing is there"
    );
    assert_eq!(scene.gateway.posts().len(), 0);
}

#[test]
fn two_copies_send_once() {
    let scene = Scene::new(&["token"], |_| accepted());
    // Without the fixed key a copy has an id made from its path: it is another extension.
    let other = scene.copy.with_file_name("other");
    let asked = Stamp {
        manage: vec![Origin::parse(&scene.manage.origin()).unwrap()],
        gateway: Some(GatewayUrl::parse(&format!("{}/do", scene.gateway.origin())).unwrap()),
        without_key: true,
        ..Stamp::default()
    };
    stamp(&workspace::unpacked(), &other, &asked).unwrap();
    assert_ne!(scene.browser.load_extension(&other).unwrap(), scene.id);
    let page = scene.page();
    assert_eq!(press(&page, "#b0", 1)["outcome"], "accepted");
    // A second outcome would come before that of a second press.
    assert_eq!(press(&page, "#b0", 2)["outcome"], "accepted");
    assert_eq!(scene.gateway.posts().len(), 2);
}

#[test]
fn the_page_sees_the_version() {
    let scene = Scene::new(&["token"], |_| accepted());
    let marked = scene
        .page()
        .evaluate("document.documentElement.dataset.gatewayExtension");
    assert_eq!(marked.unwrap(), env!("CARGO_PKG_VERSION"));
}

#[test]
fn a_script_cannot_press_the_button() {
    let scene = Scene::new(&["by script", "by hand"], |_| accepted());
    let page = scene.page();
    for script in [
        "document.querySelector('#b0').click()",
        "document.querySelector('#b0').dispatchEvent(new MouseEvent('click', { bubbles: true }))",
        "document.querySelector('#b0').dispatchEvent(new PointerEvent('click', { bubbles: true, composed: true }))",
    ] {
        page.evaluate(script).unwrap();
    }
    // Had they been heard, they would have been sent before this one.
    assert_eq!(press(&page, "#b1", 1)["outcome"], "accepted");
    assert_eq!(scene.gateway.tokens(), ["by hand"]);
}

#[test]
fn other_origins_and_frames_get_nothing() {
    let scene = Scene::new(&["allowed"], |_| accepted());
    let manage = scene.manage.origin();
    let foreign = page_of(&["foreign"]);
    let framing = framing(&manage);
    let elsewhere = Server::start(move |request| match request.path.as_str() {
        "/framing" => framing.clone(),
        _ => foreign.clone(),
    });
    let by_name = format!("http://localhost:{}", scene.manage.address().port());

    // The page's script tells its own server of each click, so that none of these is a
    // click that missed.
    for (name, url, selector, server, clicks) in [
        ("another port", elsewhere.origin(), "#b0", &elsewhere, 1),
        (
            "the same under another name",
            by_name,
            "#b0",
            &scene.manage,
            1,
        ),
        (
            "framed by another origin",
            elsewhere.origin() + "/framing",
            "iframe",
            &scene.manage,
            2,
        ),
        (
            "framed by itself",
            manage + "/framing",
            "iframe",
            &scene.manage,
            3,
        ),
    ] {
        let page = scene.browser.open(&url).unwrap();
        page.click(selector).unwrap();
        server.await_posts(clicks);
        let told = page.evaluate("globalThis.outcomes ?? []").unwrap();
        assert_eq!(told, json!([]), "{name}");
    }
    let page = scene.browser.open(&elsewhere.origin()).unwrap();
    let marked = page.evaluate("document.documentElement.dataset.gatewayExtension ?? null");
    assert_eq!(marked.unwrap(), Value::Null);

    // Had any of them been heard, it would have been sent before this one.
    assert_eq!(press(&scene.page(), "#b0", 1)["outcome"], "accepted");
    assert_eq!(scene.gateway.tokens(), ["allowed"]);
}

#[test]
fn a_second_click_waits_for_the_first() {
    let (release, held) = channel();
    let held = Mutex::new(held);
    let scene = Scene::new(&["token"], move |_| {
        held.lock().unwrap().recv_timeout(PATIENCE).unwrap();
        accepted()
    });
    let page = scene.page();
    page.click_times("#b0", 2).unwrap();
    scene.gateway.await_posts(1);
    page.click("#b0").unwrap();
    // Twice as many as are needed: a second request would find its answer, too.
    release.send(()).unwrap();
    release.send(()).unwrap();
    assert_eq!(told(&page, 1)["outcome"], "accepted");
    assert_eq!(scene.gateway.posts().len(), 1);
    assert_eq!(press(&page, "#b0", 2)["outcome"], "accepted", "free again");
}

#[test]
fn every_real_press_counts() {
    let scene = Scene::new(&["whole", "child", "key"], |_| accepted());
    let page = scene.page();
    assert_eq!(press(&page, "#b0", 1)["outcome"], "accepted");
    assert_eq!(press(&page, "#b1 b", 2)["outcome"], "accepted");
    page.evaluate("document.querySelector('#b2').focus()")
        .unwrap();
    page.press_enter().unwrap();
    assert_eq!(told(&page, 3)["outcome"], "accepted");
    page.evaluate(
        "document.body.insertAdjacentHTML('afterbegin', '<button id=late data-gateway-message=late>Send</button>')",
    )
    .unwrap();
    assert_eq!(press(&page, "#late", 4)["outcome"], "accepted");
    let ids = page.evaluate("outcomes.map(({ id }) => id)").unwrap();
    assert_eq!(
        ids,
        json!(["b0", "b1", "b2", "late"]),
        "told on the button itself"
    );
    assert_eq!(scene.gateway.tokens(), ["whole", "child", "key", "late"]);
}

#[test]
fn what_was_pressed_is_what_is_sent() {
    let scene = Scene::new(&["pressed"], |_| accepted());
    let page = scene.page();
    page.evaluate(
        "document.addEventListener('click', ({ target }) => { target.closest('button').dataset.gatewayMessage = 'swapped'; })",
    )
    .unwrap();
    assert_eq!(press(&page, "#b0", 1)["outcome"], "accepted");
    assert_eq!(scene.gateway.posts()[0].token(), "pressed");
}

#[test]
fn texts_are_carried_unchanged_and_bounded() {
    let longest = "x".repeat(MAX_TOKEN);
    let too_long = "x".repeat(MAX_TOKEN + 1);
    let odd = "  \"é\u{1f600}\\ \t<&>\u{2028} ";
    let tokens = ["", &too_long, &longest, odd];
    let scene = Scene::new(&tokens, |_| accepted());
    let page = scene.page();
    assert_eq!(press(&page, "#b0", 1), outcome("refused:token_empty"));
    assert_eq!(
        page.evaluate("document.querySelector('[role=status]').textContent")
            .unwrap(),
        "refused:token_empty",
        "an instant outcome comes after the page's own words"
    );
    assert_eq!(press(&page, "#b1", 2), outcome("refused:token_too_long"));
    assert_eq!(press(&page, "#b2", 3)["outcome"], "accepted");
    assert_eq!(press(&page, "#b3", 4)["outcome"], "accepted");
    assert_eq!(scene.gateway.tokens(), [&*longest, odd]);
}

/// The worker does not rely on the content script: a page that took over its process
/// could speak in its name.
#[test]
fn the_worker_checks_for_itself() {
    let speak = r#"
        const ask = async (message) => {
          try { return (await chrome.runtime.sendMessage(message))?.outcome ?? "nothing"; }
          catch { return "nothing"; }
        };
        const long = "x".repeat(16 * 1024 + 1);
        Promise.all([ask({ token: long }), ask({ token: 1 }), ask(null), ask({ url: "http://127.0.0.1:1/" })])
          .then((said) => { document.documentElement.dataset.said = said.join(" "); });
        // Closed once the worker has run for the first time.
        const look = () => chrome.storage.local.get(null).then(
          () => setTimeout(look, 20),
          () => { document.documentElement.dataset.storage = "closed"; },
        );
        look();
    "#;
    let scene = Scene::prepared(&["token"], gateway(|_| accepted()), |copy| {
        let path = copy.join("content.js");
        let own = std::fs::read_to_string(&path).unwrap();
        overwrite(&path, &format!("{own}\n{speak}"));
    });
    let page = scene.page();
    page.wait_for("document.documentElement.dataset.said")
        .unwrap();
    assert_eq!(
        page.evaluate("document.documentElement.dataset.said")
            .unwrap(),
        "refused:token_too_long refused:token_empty refused:token_empty refused:token_empty"
    );
    page.wait_for("document.documentElement.dataset.storage === 'closed'")
        .unwrap();

    // Our own pages are not the content script: the worker answers them nothing.
    let options = scene
        .browser
        .open(&format!("chrome-extension://{}/options.html", scene.id))
        .unwrap();
    let said = options
        .evaluate("chrome.runtime.sendMessage({ token: 'x' }).then((a) => a ?? null, () => null)")
        .unwrap();
    assert_eq!(said, Value::Null);
    assert_eq!(scene.gateway.posts().len(), 0);
}

#[expect(clippy::disallowed_methods, reason = "a test's own temporary file")]
pub(crate) fn overwrite(path: &std::path::Path, text: &str) {
    std::fs::write(path, text).unwrap();
}
