//! Complete sign-ins in a real browser, whose rules are stricter than a test client's:
//! cookies on redirects, and `form-action` on what lies behind a form.

#![cfg(unix)]
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]

mod common;

use std::{
    io::{BufRead as _, BufReader, Write as _},
    net::TcpListener,
    path::PathBuf,
    sync::{
        atomic::Ordering,
        mpsc::{Receiver, channel},
    },
    thread,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use common::{
    GATEWAY, RADIOGRAPHER, Site,
    web::{Peer, Served, free_port, parameter},
};
use extension::{
    browser,
    cdp::{Browser, Launch, Page},
};
use manage_rocket::MessageKey;

const NONCE: &str = "47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU";

#[expect(
    clippy::disallowed_methods,
    reason = "the test asks the machine for its browser and its time"
)]
fn machine() -> (PathBuf, i64) {
    let path = std::env::var_os("PATH").unwrap();
    let applications: Vec<_> = ["/Applications".into()].to_vec();
    let program = browser::find(&path, &applications).expect("a browser (.ci/test installs it)");
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    (program, i64::try_from(since.as_secs()).unwrap())
}

fn launch(folder: &tempfile::TempDir) -> Browser {
    Browser::launch(&Launch {
        program: &machine().0,
        profile: &folder.path().join("profile"),
        headless: true,
        // No name is resolved but this machine's.
        arguments: &[
            "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost"
                .to_owned(),
        ],
    })
    .unwrap()
}

/// A gateway's callback: hears the first target that it is asked for.
fn gateway() -> (String, Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let (said, heard) = channel();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut line = String::new();
            BufReader::new(&stream).read_line(&mut line).unwrap();
            let target = line.split(' ').nth(1).unwrap_or_default().to_owned();
            if target.starts_with("/auth/callback") {
                said.send(target).ok();
            }
            let page = "<title>At the gateway</title><p>signed in there";
            write!(
                stream,
                "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{page}",
                page.len()
            )
            .ok();
        }
    });
    (address, heard)
}

fn title_has(page: &Page<'_>, words: &str) {
    page.wait_for(&format!("document.title.includes({words:?})"))
        .unwrap();
}

#[rocket::async_test]
async fn to_a_gateway_by_the_mock_s_form() {
    let key = MessageKey::generate().unwrap().to_private_pem().unwrap();
    let port = free_port();
    let manage = format!("http://localhost:{port}");
    let vars = [
        ("MANAGE_SESSION_KEY", &**key),
        ("MANAGE_PUBLIC_URL", &manage),
    ];
    let site = Site::with_vars(&vars, |config| config.demonstration = true).await;
    let (gateway, heard) = gateway();
    let change = format!("UPDATE gateways SET callback = '{gateway}/auth/callback'");
    sqlx::query(sqlx::AssertSqlSafe(change))
        .execute(&site.pool)
        .await
        .unwrap();
    let served = Served::start(&site, port).await;
    let folder = tempfile::tempdir().unwrap();
    let browser = launch(&folder);
    let ask = format!("{manage}/gateway/sign-in?gateway={GATEWAY}&state=aZ0_&nonce={NONCE}");
    let page = browser.open(&ask).unwrap();
    title_has(&page, "Sign in");
    let who = format!(
        "[...document.querySelectorAll('label')].find(l => l.textContent.includes({RADIOGRAPHER:?})).click()"
    );
    page.evaluate(&who).unwrap();
    page.click("main button[type=submit]").unwrap();
    title_has(&page, "At the gateway");
    let target = heard.recv_timeout(Duration::from_secs(60)).unwrap();
    let address = format!("{gateway}{target}");
    assert_eq!(parameter(&address, "state").unwrap(), "aZ0_");
    assert_eq!(parameter(&address, "token").unwrap().split('.').count(), 3);
    // Signed in here, too, so the next time leads straight there.
    page.go(&ask).unwrap();
    title_has(&page, "At the gateway");
    heard.recv_timeout(Duration::from_secs(60)).unwrap();
    assert_eq!(
        site.number("SELECT COUNT(*) FROM gateway_sign_ins").await,
        2
    );
    drop(served);
}

#[rocket::async_test]
async fn through_a_provider_and_out_again() {
    let port = free_port();
    let manage = format!("http://localhost:{port}");
    let provider = Peer::provider(&manage, &[]);
    let vars = [
        ("MANAGE_PUBLIC_URL", manage.as_str()),
        ("MANAGE_SIGN_IN", "oidc"),
        ("MANAGE_OIDC_ISSUER", &provider.url),
        ("MANAGE_OIDC_CLIENT_ID", "manage RS256"),
        ("MANAGE_OIDC_CLIENT_SECRET", "a secret: with+signs/and%more"),
    ];
    let site = Site::with_vars(&vars, |config| config.demonstration = true).await;
    site.now.store(machine().1, Ordering::SeqCst);
    let served = Served::start(&site, port).await;
    let folder = tempfile::tempdir().unwrap();
    let browser = launch(&folder);
    let page = browser.open(&format!("{manage}/clinics")).unwrap();
    page.wait_for("document.querySelector('input[name=login]') !== null")
        .unwrap();
    page.click("input[name=login]").unwrap();
    page.type_text("uid-radiographer").unwrap();
    page.click("input[name=password]").unwrap();
    page.type_text("x").unwrap();
    page.click("button[type=submit]").unwrap();
    page.wait_for("document.querySelector('input[name=prompt][value=consent]') !== null")
        .unwrap();
    page.click("button[type=submit]").unwrap();
    title_has(&page, "Clinics");
    let name = "document.body.textContent.includes('Jo Radiographer')";
    page.wait_for(name).unwrap();
    page.click(".nhsuk-header__account-button").unwrap();
    title_has(&page, "Sign in");
    page.wait_for("document.body.textContent.includes('You have signed out.')")
        .unwrap();
    assert_eq!(site.number("SELECT COUNT(*) FROM sessions").await, 0);
    // Its button leads back in, without asking again: the provider's session goes on.
    page.click("main a.nhsuk-button").unwrap();
    title_has(&page, "Clinics");
    drop(served);
}
