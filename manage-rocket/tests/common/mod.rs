//! What every flow needs: the real application with a database of its own, a clock that
//! stands still until it is moved, and a browser's eyes for its pages.
//!
//! On SQLite in a temporary folder; with the feature `postgres` and `TEST_DATABASE_URL`, in
//! a PostgreSQL database that is made for each test and dropped after it.

#![allow(dead_code, reason = "each flow uses a part of it")]

pub(crate) mod web;

use std::{
    ffi::OsString,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
};

use gateway_min::{KeySet, Policy, UnixTime};
use manage_rocket::{
    Config, MessageKey,
    clock::Clock,
    config::{Build, PublicUrl},
};
use rocket::{
    http::{ContentType, Header, Status},
    local::asynchronous::{Client, LocalResponse},
};
use sqlx::{AnyPool, Executor as _};

/// 2026-07-06T08:30:00Z: half past nine on a summer's Monday in London.
pub(crate) const START: i64 = 1_783_326_600;

pub(crate) const GATEWAY: &str = "screening-gateway";
pub(crate) const ISSUER: &str = "http://localhost:8080";
pub(crate) const RADIOGRAPHER: &str = "Rosalind Achebe";
pub(crate) const CLERK: &str = "Tomasz Birch";

/// One installation.
pub(crate) struct Site {
    pub(crate) now: Arc<AtomicI64>,
    pub(crate) key: MessageKey,
    pub(crate) config: Config,
    /// The database, beside the application's own connections.
    pub(crate) pool: AnyPool,
    database: String,
    admin: Option<String>,
    _folder: tempfile::TempDir,
}

/// Somebody's browser.
pub(crate) struct Browser {
    pub(crate) client: Client,
}

impl Site {
    /// With the demonstration clinics.
    pub(crate) async fn new() -> Self {
        Self::with(|config| config.demonstration = true).await
    }

    /// As `change` wants it.
    pub(crate) async fn with(change: impl FnOnce(&mut Config)) -> Self {
        Self::with_vars(&[], change).await
    }

    /// With these settings besides, or instead.
    pub(crate) async fn with_vars(more: &[(&str, &str)], change: impl FnOnce(&mut Config)) -> Self {
        sqlx::any::install_default_drivers();
        let folder = tempfile::tempdir().unwrap();
        let server = std::env::vars().find(|(name, _)| name == "TEST_DATABASE_URL");
        let (database, admin) = match server {
            None => (
                format!("sqlite:{}/manage.db", folder.path().display()),
                None,
            ),
            Some((_, admin)) => {
                let name = format!("manage_test_{}", uuid::Uuid::new_v4().simple());
                let pool = AnyPool::connect(&admin).await.unwrap();
                let create = format!("CREATE DATABASE {name}");
                pool.execute(sqlx::AssertSqlSafe(create)).await.unwrap();
                pool.close().await;
                let (host, _) = admin.rsplit_once('/').unwrap();
                (format!("{host}/{name}"), Some(admin))
            }
        };
        let key = MessageKey::generate().unwrap();
        let pem = key.to_private_pem().unwrap();
        let vars = [
            ("JWT_PRIVATE_KEY", pem.as_str()),
            ("MANAGE_SIGN_IN", "mock"),
            ("MANAGE_DATABASE", &database),
        ];
        let vars = vars.iter().chain(more).copied();
        let vars = vars.map(|(name, value)| (OsString::from(name), OsString::from(value)));
        let mut config = Config::from_vars(vars, Build::Debug).unwrap();
        let now = Arc::new(AtomicI64::new(START));
        let clock = Arc::clone(&now);
        config.clock = Clock::new(move || UnixTime::from_secs(clock.load(Ordering::SeqCst)));
        change(&mut config);
        // Opened once, so that the data model is there.
        let opened = manage_rocket::rocket(config.clone(), manage_rocket::server_defaults());
        drop(opened.await.unwrap());
        let pool = AnyPool::connect(&database).await.unwrap();
        Self {
            now,
            key,
            config,
            pool,
            database,
            admin,
            _folder: folder,
        }
    }

    /// Moves the clock.
    pub(crate) fn pass(&self, secs: i64) {
        self.now.fetch_add(secs, Ordering::SeqCst);
    }

    pub(crate) fn now(&self) -> UnixTime {
        UnixTime::from_secs(self.now.load(Ordering::SeqCst))
    }

    /// Another browser at this installation, served by a process of its own.
    pub(crate) async fn browser(&self) -> Browser {
        self.browser_of(self.config.clone()).await
    }

    /// Another browser at this installation, as it would be with other settings.
    pub(crate) async fn browser_of(&self, config: Config) -> Browser {
        let server = manage_rocket::server_defaults();
        let rocket = manage_rocket::rocket(config, server).await.unwrap();
        Browser {
            client: Client::tracked(rocket).await.unwrap(),
        }
    }

    /// A browser in which that person is signed in.
    pub(crate) async fn signed_in(&self, name: &str) -> Browser {
        let browser = self.browser().await;
        browser.sign_in(name).await;
        browser
    }

    /// Runs SQL that a test needs to have happened.
    pub(crate) async fn execute(&self, sql: &'static str) -> u64 {
        self.pool.execute(sql).await.unwrap().rows_affected()
    }

    /// A count, or another single number.
    pub(crate) async fn number(&self, sql: &'static str) -> i64 {
        sqlx::query_scalar(sql).fetch_one(&self.pool).await.unwrap()
    }

    /// A single text.
    pub(crate) async fn text(&self, sql: &'static str) -> String {
        sqlx::query_scalar(sql).fetch_one(&self.pool).await.unwrap()
    }

    /// The key set of a gateway that trusts this installation.
    pub(crate) fn gateway_keys(&self) -> KeySet<4> {
        let mut keys = KeySet::new();
        let pem = self.key.to_public_pem().unwrap();
        keys.add(pem.as_bytes()).unwrap();
        keys
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        let Some(admin) = self.admin.take() else {
            return;
        };
        let name = self.database.rsplit('/').next().unwrap().to_owned();
        // In a thread of its own: this one is inside a runtime.
        let dropped = std::thread::spawn(move || {
            rocket::execute(async move {
                let pool = AnyPool::connect(&admin).await.unwrap();
                let sql = format!("DROP DATABASE {name} WITH (FORCE)");
                pool.execute(sqlx::AssertSqlSafe(sql)).await.unwrap();
            });
        });
        dropped.join().unwrap();
    }
}

/// The policy of the demonstration's gateway.
pub(crate) const POLICY: Policy<'static> = Policy {
    audience: GATEWAY,
    issuer: Some(ISSUER),
    leeway_secs: 30,
    max_lifetime_secs: 43_200,
};

/// What came of a request.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: String,
    pub(crate) location: String,
    headers: Vec<(String, String)>,
}

impl Answer {
    async fn of(response: LocalResponse<'_>) -> Self {
        let headers: Vec<_> = response
            .headers()
            .iter()
            .map(|header| {
                (
                    header.name.to_string().to_lowercase(),
                    header.value.to_string(),
                )
            })
            .collect();
        let status = response.status().code;
        let mut answer = Self {
            status,
            body: response.into_string().await.unwrap_or_default(),
            location: String::new(),
            headers,
        };
        answer.location = answer.header("location").to_owned();
        answer
    }

    /// A header's value, empty where there is none.
    pub(crate) fn header(&self, name: &str) -> &str {
        let mut values = self.headers.iter().filter(|(given, _)| given == name);
        let value = values.next().map_or("", |(_, value)| value);
        assert!(values.next().is_none(), "{name} stands twice");
        value
    }

    /// Every value of a header that may stand more than once.
    pub(crate) fn headers(&self, name: &str) -> Vec<&str> {
        let values = self.headers.iter().filter(|(given, _)| given == name);
        values.map(|(_, value)| value.as_str()).collect()
    }

    /// The form token on the page.
    pub(crate) fn csrf(&self) -> &str {
        between(&self.body, r#"name="csrf" value=""#, '"').expect("a form on the page")
    }

    /// The buttons on the page, in its order.
    pub(crate) fn buttons(&self) -> Vec<Button> {
        let buttons = self.body.split("<button").skip(1);
        let buttons = buttons.filter_map(|text| {
            let attribute = |name: &str| between(text, &format!(r#" {name}=""#), '"');
            Some(Button {
                token: attribute("data-gateway-message")?.to_owned(),
                jti: attribute("data-jti")?.to_owned(),
                report_token: attribute("data-report-token")?.to_owned(),
                name: between(text, r#"visually-hidden"> "#, '<')?.to_owned(),
            })
        });
        buttons.collect()
    }

    /// The row of the table that names that person.
    pub(crate) fn row(&self, name: &str) -> &str {
        let mut rows = self.body.split("<tr").filter(|row| row.contains(name));
        rows.next().expect("a row of that name")
    }
}

/// A *Send for scan* button.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Button {
    pub(crate) token: String,
    pub(crate) jti: String,
    pub(crate) report_token: String,
    pub(crate) name: String,
}

/// The text between `before` and the next `end`.
pub(crate) fn between<'a>(text: &'a str, before: &str, end: char) -> Option<&'a str> {
    let (_, rest) = text.split_once(before)?;
    rest.split_once(end).map(|(found, _)| found)
}

impl Browser {
    pub(crate) async fn get(&self, address: &str) -> Answer {
        Answer::of(self.client.get(address.to_owned()).dispatch().await).await
    }

    /// Posts a form, with these headers besides.
    pub(crate) async fn post(
        &self,
        address: &str,
        fields: &[(&str, &str)],
        headers: &[(&'static str, &'static str)],
    ) -> Answer {
        let fields: Vec<_> = fields
            .iter()
            .map(|(name, value)| {
                let value = rocket::http::RawStr::new(value).percent_encode();
                format!("{name}={value}")
            })
            .collect();
        let mut request = self
            .client
            .post(address.to_owned())
            .header(ContentType::Form)
            .body(fields.join("&"));
        for (name, value) in headers {
            request.add_header(Header::new(*name, *value));
        }
        Answer::of(request.dispatch().await).await
    }

    /// Posts JSON, with these headers besides.
    pub(crate) async fn post_json(
        &self,
        address: &str,
        body: &str,
        headers: &[(&'static str, &'static str)],
    ) -> Answer {
        let mut request = self
            .client
            .post(address.to_owned())
            .header(ContentType::JSON)
            .body(body);
        for (name, value) in headers {
            request.add_header(Header::new(*name, *value));
        }
        Answer::of(request.dispatch().await).await
    }

    pub(crate) async fn sign_in(&self, name: &str) -> Answer {
        let page = self.get("/sign-in").await;
        let person = person_on(&page, name);
        let fields = [("csrf", page.csrf()), ("person", &person), ("next", "")];
        let answer = self.post("/sign-in", &fields, &[]).await;
        assert_eq!(answer.status, Status::SeeOther.code, "{}", answer.body);
        answer
    }

    /// The address of the clinic of that name.
    pub(crate) async fn clinic_address(&self, name: &str) -> String {
        let page = self.get("/clinics").await;
        let link = page.body.split("<a ").find(|link| link.contains(name));
        between(link.expect("a clinic of that name"), r#"href=""#, '"')
            .unwrap()
            .to_owned()
    }

    /// Today's clinic.
    pub(crate) async fn clinic(&self) -> Answer {
        let address = self.clinic_address("Morning clinic").await;
        let page = self.get(&address).await;
        assert_eq!(page.status, 200);
        page
    }
}

/// The value behind that person's name on the sign-in page.
pub(crate) fn person_on(page: &Answer, name: &str) -> String {
    let item = page
        .body
        .split("nhsuk-radios__item")
        .find(|item| item.contains(name));
    between(item.expect("that person"), r#"type="radio" value=""#, '"')
        .unwrap()
        .to_owned()
}

/// An address as `MANAGE_PUBLIC_URL` has it.
pub(crate) fn public_url(text: &str) -> PublicUrl {
    PublicUrl::parse(text).unwrap()
}
