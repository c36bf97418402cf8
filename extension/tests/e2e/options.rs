//! Where messages go: what an address is, the options page, and that a policy decides.
//! The order of precedence in every case is in `tests/unit/address.test.js`.

use extension::cdp::Page;
use serde_json::json;

use crate::scene::{Scene, accepted, gateway, outcome, press};

fn options(scene: &Scene) -> Page<'_> {
    let url = format!("chrome-extension://{}/options.html", scene.id);
    let page = scene.browser.open(&url).unwrap();
    page.wait_for("document.querySelector('#status').textContent")
        .unwrap();
    page
}

/// The page's text that is to be seen.
fn words(page: &Page<'_>) -> String {
    let text = page.evaluate("document.body.innerText").unwrap();
    text.as_str().unwrap().to_owned()
}

/// Lets `storage.managed` answer as a policy would make it, in this page or worker.
fn set_policy(page: &Page<'_>, url: &str) {
    let policy = json!({ "gatewayUrl": url });
    page.evaluate(&format!(
        "chrome.storage.managed.get = async () => ({policy}); true"
    ))
    .unwrap();
}

#[test]
fn an_address_is_read_strictly() {
    let scene = Scene::new(&["token"], |_| accepted());
    let page = options(&scene);
    let long = format!("http://gateway/{}", "x".repeat(2048));
    for (text, expected) in [
        (
            "http://screening-gateway:9090/do",
            Some("http://screening-gateway:9090/do"),
        ),
        (
            "  http://127.0.0.1:9090/do\n",
            Some("http://127.0.0.1:9090/do"),
        ),
        ("http://127.0.0.1:9090", Some("http://127.0.0.1:9090/do")),
        (
            "https://Gateway.Example/",
            Some("https://gateway.example/do"),
        ),
        (
            "https://gateway.example:443/do",
            Some("https://gateway.example/do"),
        ),
        (
            "https://gateway.example/site/do",
            Some("https://gateway.example/site/do"),
        ),
        ("http://[::1]:9090/do", Some("http://[::1]:9090/do")),
        ("", None),
        ("screening-gateway:9090/do", None),
        ("//screening-gateway/do", None),
        ("http:screening-gateway", None),
        ("http:///do", None),
        ("http://", None),
        ("ftp://gateway/do", None),
        ("file:///etc/passwd", None),
        ("javascript:alert(1)", None),
        ("http://gate way/do", None),
        ("http://gate%20way/do", None),
        ("http://gate*way/do", None),
        ("http://gateway:99999/do", None),
        ("http://user:word@gateway/do", None),
        ("http://user@gateway/do", None),
        ("http://gateway/do?to=x", None),
        ("http://gateway/do?", None),
        ("http://gateway/do#x", None),
        (&long, None),
    ] {
        let found = page
            .evaluate(&format!(
                "import('./address.js').then(({{ parseAddress }}) => parseAddress({}))",
                json!(text)
            ))
            .unwrap();
        match expected {
            Some(url) => assert_eq!(found, json!({ "url": url }), "{text:?}"),
            None => assert!(found["problem"].is_string(), "{text:?}: {found}"),
        }
    }
}

#[test]
fn a_person_changes_the_address() {
    let scene = Scene::new(&["first", "second", "third"], |_| accepted());
    let other = gateway(|_| accepted());
    let page = scene.page();
    let settings = options(&scene);
    assert!(words(&settings).contains("Messages go to the standard address."));
    assert!(words(&settings).contains(&scene.manage.origin()));
    assert!(words(&settings).contains(&format!("chrome-extension://{}", scene.id)));
    assert_eq!(press(&page, "#b0", 1)["outcome"], "accepted");

    let type_address = |text: &str| {
        settings
            .evaluate("document.querySelector('#address').select()")
            .unwrap();
        settings.type_text(text).unwrap();
    };
    type_address("screening-gateway");
    settings.click("#save").unwrap();
    settings
        .wait_for("document.querySelector('#address').getAttribute('aria-invalid') === 'true'")
        .unwrap();
    assert!(words(&settings).contains("must begin with http://"));
    assert!(words(&settings).contains("Not saved."));

    type_address(&other.origin());
    settings.press_enter().unwrap();
    settings
        .wait_for("document.querySelector('#status').textContent.startsWith('Saved.')")
        .unwrap();
    assert!(words(&settings).contains("Messages go to the address that was set here."));
    assert!(!words(&settings).contains("must begin with http://"));
    assert_eq!(
        settings
            .evaluate("document.querySelector('#address').value")
            .unwrap(),
        format!("{}/do", other.origin())
    );
    assert_eq!(press(&page, "#b1", 2)["outcome"], "accepted");

    settings.click("#reset").unwrap();
    settings
        .wait_for("document.querySelector('#status').textContent.includes('standard address')")
        .unwrap();
    assert_eq!(press(&page, "#b2", 3)["outcome"], "accepted");
    assert_eq!(scene.gateway.tokens(), ["first", "third"]);
    assert_eq!(other.tokens(), ["second"]);
}

#[test]
fn a_policy_decides_and_the_page_says_so() {
    let scene = Scene::new(&["token", "malformed"], |_| accepted());
    let chosen = gateway(|_| accepted());
    let page = scene.page();
    let settings = options(&scene);
    settings
        .evaluate(&format!(
            "chrome.storage.local.set({{ optionUrl: '{}/do' }})",
            scene.gateway.origin()
        ))
        .unwrap();

    let worker = scene.worker().unwrap();
    set_policy(&worker, &format!("{}/do", chosen.origin()));
    assert_eq!(press(&page, "#b0", 1)["outcome"], "accepted");
    assert_eq!(chosen.tokens(), ["token"]);

    set_policy(&worker, "gateway");
    assert_eq!(press(&page, "#b1", 2), outcome("unreachable"));
    assert_eq!(chosen.tokens(), ["token"]);
    assert_eq!(scene.gateway.posts().len(), 0);

    // The options page shows the last policy (its own `storage.managed` is in the gap).
    let settings = options(&scene);
    assert!(words(&settings).contains("Your organisation has set this address."));
    assert!(words(&settings).contains("Nothing is sent until this address is put right."));
    let controls = "[document.querySelector('#address').readOnly, document.querySelector('#save').checkVisibility(), document.querySelector('#reset').checkVisibility()]";
    assert_eq!(
        settings.evaluate(controls).unwrap(),
        json!([true, false, false])
    );
}
