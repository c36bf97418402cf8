//! Where messages go: the options page, the order of precedence, and what an address is.

use extension::cdp::Page;
use serde_json::{Value, json};

use crate::scene::{Scene, accepted, gateway, outcome, press};

const DEFAULT: &str = "http://default.example/do";
const OPTION: &str = "http://option.example/do";
const POLICY: &str = "http://policy.example/do";
const OLD: &str = "http://old.example/do";

/// Milliseconds for which an empty policy is not believed after the browser's start.
const GAP: u64 = 60_000;

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

/// One reading of the address, with storage areas that hold what the row says.
struct Row {
    name: &'static str,
    managed: Value,
    local: Value,
    /// When the browser started; null where the extension does not know yet.
    since: Value,
    now: u64,
    expected: Value,
    /// The policy value that is kept for the next start.
    kept: Value,
}

#[test]
fn policy_goes_before_option_before_default() {
    let late = GAP + 1000;
    let policy = || json!({ "gatewayUrl": POLICY });
    let was = |source: &str, url: &str| json!({ "source": source, "text": url, "url": url });
    let rows = [
        Row {
            name: "nothing set",
            managed: json!({}),
            local: json!({}),
            since: json!(1000),
            now: late,
            expected: was("default", DEFAULT),
            kept: Value::Null,
        },
        Row {
            name: "option",
            managed: json!({}),
            local: json!({ "optionUrl": OPTION }),
            since: json!(1000),
            now: late,
            expected: was("option", OPTION),
            kept: Value::Null,
        },
        Row {
            name: "policy over option, kept",
            managed: policy(),
            local: json!({ "optionUrl": OPTION }),
            since: json!(1000),
            now: late,
            expected: was("policy", POLICY),
            kept: json!(POLICY),
        },
        Row {
            name: "policy is believed at once where it answers",
            managed: policy(),
            local: json!({ "lastPolicyUrl": OLD }),
            since: Value::Null,
            now: 1000,
            expected: was("policy", POLICY),
            kept: json!(POLICY),
        },
        Row {
            name: "in the gap the last policy holds",
            managed: json!({}),
            local: json!({ "optionUrl": OPTION, "lastPolicyUrl": OLD }),
            since: json!(1000),
            now: late - 1,
            expected: was("policy", OLD),
            kept: json!(OLD),
        },
        Row {
            name: "the gap begins with the first reading",
            managed: json!({}),
            local: json!({ "lastPolicyUrl": OLD }),
            since: Value::Null,
            now: late,
            expected: was("policy", OLD),
            kept: json!(OLD),
        },
        Row {
            name: "after the gap a policy that is gone is forgotten",
            managed: json!({}),
            local: json!({ "optionUrl": OPTION, "lastPolicyUrl": OLD }),
            since: json!(1000),
            now: late,
            expected: was("option", OPTION),
            kept: Value::Null,
        },
        Row {
            name: "a clock that was set back begins the gap again",
            managed: json!({}),
            local: json!({ "lastPolicyUrl": OLD }),
            since: json!(late),
            now: 1000,
            expected: was("policy", OLD),
            kept: json!(OLD),
        },
        Row {
            name: "a browser without policies",
            managed: Value::Null,
            local: json!({ "optionUrl": OPTION }),
            since: json!(1000),
            now: late,
            expected: was("option", OPTION),
            kept: Value::Null,
        },
        Row {
            name: "a blank policy is none",
            managed: json!({ "gatewayUrl": " " }),
            local: json!({ "optionUrl": OPTION }),
            since: json!(1000),
            now: late,
            expected: was("option", OPTION),
            kept: Value::Null,
        },
        Row {
            name: "a malformed policy stops sending",
            managed: json!({ "gatewayUrl": "gateway" }),
            local: json!({ "optionUrl": OPTION }),
            since: json!(1000),
            now: late,
            expected: json!({ "source": "policy", "text": "gateway", "url": null }),
            kept: json!("gateway"),
        },
    ];
    let scene = Scene::prepared(&["token"], gateway(|_| accepted()), |copy| {
        let line = format!("export const DEFAULT_GATEWAY = \"{DEFAULT}\";\n");
        crate::alone::overwrite(&copy.join("defaults.js"), &line);
    });
    let page = options(&scene);
    for row in rows {
        let session = match &row.since {
            Value::Null => json!({}),
            since => json!({ "since": since }),
        };
        let found = page
            .evaluate(&format!(
                "(async () => {{
                    const {{ readAddress }} = await import('./address.js');
                    const area = (items) => ({{
                        get: async (key) => items === null ? Promise.reject(new Error('no policies'))
                            : key in items ? {{ [key]: items[key] }} : {{}},
                        set: async (more) => void Object.assign(items, more),
                        remove: async (key) => void delete items[key],
                    }});
                    const local = {};
                    const storage = {{ managed: area({}), local: area(local), session: area({session}) }};
                    const address = await readAddress(storage, {});
                    return {{ address, kept: local.lastPolicyUrl ?? null }};
                }})()",
                row.local, row.managed, row.now
            ))
            .unwrap();
        assert_eq!(found["address"], row.expected, "{}", row.name);
        assert_eq!(found["kept"], row.kept, "{}: kept", row.name);
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
