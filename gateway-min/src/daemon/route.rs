//! What the gateway answers to which request: `Host`, `Origin`, path, method and type are
//! judged by the head alone, before any work; then the one handler of the path is called.
//! Methods are judged after paths: a path says in `Allow` which it has.

use core::fmt;
use std::{
    prelude::v1::*,
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    cors::Cors,
    health::{Degraded, Health, Trouble},
    hosts,
    intake::{Carrier, Desk, Intake, Submission},
    listen::{Answer, Fields, Head, Method, Once, Refusal, Request, Site, Slots, json, put},
    metrics,
    tallies::Tallies,
};
#[cfg(feature = "journal")]
use super::{deliver::Queue, journal::Journal};
use crate::{Reject, limits::MAX_BODY};

/// What an extension may send after asking first; asked again after ten minutes.
const PREFLIGHT: &str = "Access-Control-Allow-Methods: POST\r\n\
                         Access-Control-Allow-Headers: Content-Type\r\n\
                         Access-Control-Max-Age: 600\r\n";
/// The page needs nothing from anywhere, and nothing may frame it.
const PAGE_POLICY: &str = "Content-Security-Policy: default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'\r\n";

/// A path of the gateway.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Route {
    Page,
    Live,
    Ready,
    Do,
    Metrics,
}

impl Route {
    fn find(path: &str) -> Option<Self> {
        match path {
            "/" => Some(Self::Page),
            "/healthcheck/live" => Some(Self::Live),
            "/healthcheck/ready" => Some(Self::Ready),
            "/do" => Some(Self::Do),
            "/metrics" => Some(Self::Metrics),
            _ => None,
        }
    }

    /// The methods that it has, as `Allow` lists them.
    const fn allow(self) -> &'static str {
        match self {
            Self::Page | Self::Live | Self::Ready | Self::Metrics => "GET, HEAD",
            Self::Do => "POST, OPTIONS",
        }
    }

    fn has(self, method: &Method) -> bool {
        self.allow().split(", ").any(|name| name == method.as_str())
    }
}

/// Which paths a listener has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Paths {
    All,
    /// Metrics have a listener of their own.
    AllButMetrics,
    /// That listener.
    MetricsOnly,
}

impl Paths {
    fn find(self, path: &str) -> Option<Route> {
        Route::find(path).filter(|route| match self {
            Self::All => true,
            Self::AllButMetrics => *route != Route::Metrics,
            Self::MetricsOnly => *route == Route::Metrics,
        })
    }
}

/// What answers are made of, whichever listener gives them.
pub(crate) struct State {
    pub(crate) intake: Intake,
    pub(crate) health: Arc<Health>,
    /// What can be degraded beside the keys.
    pub(crate) troubles: Vec<Arc<Trouble>>,
    pub(crate) tallies: Arc<Tallies>,
    #[cfg(feature = "journal")]
    pub(crate) journal: Option<Arc<Journal>>,
    /// What waits to be delivered.
    #[cfg(feature = "journal")]
    pub(crate) queue: Arc<Queue>,
    /// The main listener's.
    pub(crate) slots: Arc<Slots>,
    /// When the gateway was started.
    pub(crate) born: Instant,
}

impl State {
    /// Whether messages can be kept, where there is a journal.
    #[cfg_attr(
        not(feature = "journal"),
        expect(clippy::unused_self, reason = "there is no journal")
    )]
    fn journal_writable(&self) -> Option<bool> {
        #[cfg(feature = "journal")]
        return self.journal.as_ref().map(|journal| journal.writable());
        #[cfg(not(feature = "journal"))]
        None
    }

    /// What somebody must see to although messages are taken.
    fn degraded(&self) -> impl Iterator<Item = Degraded> {
        let keys = core::iter::once(self.intake.ring().trouble());
        keys.chain(&self.troubles)
            .filter_map(|trouble| trouble.get())
    }

    /// How the gateway stands, in one line for people; whether the last probe came
    /// `through` is the caller's to say.
    pub(crate) fn standing(&self, through: bool) -> String {
        if !through {
            return "not ready: the gateway does not answer its own probe".to_owned();
        }
        if !self.intake.clock_is_set() {
            return "not ready: the clock is not set".to_owned();
        }
        let codes: Vec<_> = self.degraded().map(|degraded| degraded.code).collect();
        let codes = codes.join(", ");
        if self.journal_writable() == Some(false) {
            return format!("not ready: the journal cannot be written: {codes}");
        }
        if codes.is_empty() {
            "ready".to_owned()
        } else {
            format!("ready, and degraded: {codes}")
        }
    }
}

/// The gateway as one of its listeners sees it.
pub(crate) struct Gateway {
    hosts: Vec<String>,
    cors: Cors,
    state: Arc<State>,
    paths: Paths,
}

impl Gateway {
    pub(crate) fn new(hosts: Vec<String>, cors: Cors, state: Arc<State>, paths: Paths) -> Self {
        Self {
            hosts,
            cors,
            state,
            paths,
        }
    }

    fn page(&self, answer: &mut Answer) {
        let policy = Fields {
            lines: PAGE_POLICY,
            ..Fields::default()
        };
        let body = answer.begin(200, "text/html; charset=utf-8", policy);
        let version = env!("CARGO_PKG_VERSION");
        put(
            body,
            format_args!(
                "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n\
                 <title>Gateway</title>\n<h1>The gateway is running</h1>\n\
                 <p>Id: {}</p>\n<p>Version: {version}</p>\n</html>\n",
                html(self.state.intake.id()),
            ),
        );
    }

    fn live(&self, answer: &mut Answer) {
        let live = self.state.health.live();
        let body = begin_health(live, answer);
        put(body, format_args!(r#"{{"live":{live},{}}}"#, self.age()));
    }

    fn ready(&self, answer: &mut Answer) {
        let live = self.state.health.live();
        let keys = self.state.intake.ring().current().keys.len();
        let clock = self.state.intake.clock_is_set();
        let journal = self.state.journal_writable();
        let ready = live && keys > 0 && clock && journal != Some(false);
        let body = begin_health(ready, answer);
        put(
            body,
            format_args!(
                r#"{{"ready":{ready},"live":{live},"keys":{keys},"clock_set":{clock},"journal":{},"id":{},"version":"{}",{},"degraded":["#,
                match journal {
                    Some(true) => "true",
                    Some(false) => "false",
                    None => "null",
                },
                json(self.state.intake.id()),
                env!("CARGO_PKG_VERSION"),
                self.age(),
            ),
        );
        let mut comma = "";
        for Degraded { code, since, began } in self.state.degraded() {
            let age = began.elapsed().as_secs();
            put(
                body,
                format_args!(r#"{comma}{{"code":"{code}","since":{since},"age_secs":{age}}}"#),
            );
            comma = ",";
        }
        put(body, format_args!("]}}"));
    }

    fn age(&self) -> impl fmt::Display {
        let age = self.state.health.age();
        fmt::from_fn(move |f| match age {
            Some(age) => write!(f, r#""probe_age_secs":{}"#, age.as_secs()),
            None => f.write_str(r#""probe_age_secs":null"#),
        })
    }
}

impl Site for Gateway {
    type Desk = Desk;

    fn desk(&self) -> Desk {
        Desk::new()
    }

    fn lines(&self, head: &Head<'_>) -> &str {
        self.cors.lines(origin(head).unwrap_or(None))
    }

    fn admit(&self, head: &Head<'_>, length: Option<u64>) -> Result<(), Refusal> {
        match head.host {
            Once::One(host) => match hosts::names(host, &self.hosts) {
                Some(true) => {}
                Some(false) => return Err(Reject::HostNotAllowed.into()),
                None => return Err(Reject::HostHeader.into()),
            },
            Once::Absent | Once::Repeated => return Err(Reject::HostHeader.into()),
        }
        self.cors.judge(origin(head)?)?;
        let method = head.method.as_ref().ok_or(Reject::MethodUnknown)?;
        let route = self.paths.find(head.path()).ok_or(Reject::NotFound)?;
        if !route.has(method) {
            return Err(Refusal {
                reject: Reject::MethodNotAllowed,
                allow: Some(route.allow()),
            });
        }
        if *method == Method::Post {
            carrier(head)?;
            if length.unwrap_or(0) == 0 {
                return Err(Reject::BodyMissing.into());
            }
        }
        match length {
            Some(len) if usize::try_from(len).map_or(true, |len| len > MAX_BODY) => {
                Err(Reject::BodyTooLarge { len }.into())
            }
            _ => Ok(()),
        }
    }

    fn answer(&self, request: &Request<'_>, desk: &mut Desk, answer: &mut Answer) {
        let head = request.head;
        match self.paths.find(head.path()) {
            Some(Route::Page) => self.page(answer),
            Some(Route::Live) => self.live(answer),
            Some(Route::Ready) => self.ready(answer),
            Some(Route::Metrics) => {
                let body = answer.begin(200, metrics::TYPE, Fields::default());
                metrics::write(&self.state, body);
            }
            Some(Route::Do) if head.method == Some(Method::Options) => {
                let asked_by_origin = matches!(head.origin, Once::One(_));
                let fields = Fields {
                    allow: Some(Route::Do.allow()),
                    lines: if asked_by_origin { PREFLIGHT } else { "" },
                    ..Fields::default()
                };
                answer.begin(200, "text/plain", fields);
            }
            Some(Route::Do) => match carrier(head) {
                Ok(carrier) => {
                    let submission = Submission {
                        body: request.body,
                        carrier,
                        started: request.started,
                        read: request.read,
                        deadline: request.deadline,
                    };
                    self.state.intake.take(&submission, desk, answer);
                }
                Err(reject) => {
                    self.refused(&reject);
                    answer.problem(&reject, None);
                }
            },
            None => {
                self.refused(&Reject::NotFound);
                answer.problem(&Reject::NotFound, None);
            }
        }
    }

    fn refused(&self, reject: &Reject) {
        self.state.tallies.refused(reject, None);
    }

    fn answered(&self, head: &Head<'_>, took: Duration) {
        if self.paths.find(head.path()) == Some(Route::Do) && head.method == Some(Method::Post) {
            self.state.tallies.answers.add(took);
        }
    }
}

/// The one `Origin`, or that there is none.
fn origin<'a>(head: &Head<'a>) -> Result<Option<&'a str>, Reject> {
    match head.origin {
        Once::Absent => Ok(None),
        Once::One(origin) => Ok(Some(origin)),
        Once::Repeated => Err(Reject::OriginNotAllowed),
    }
}

/// How a body of this type carries its token. Both types are ones for which a browser asks
/// first; what follows a semicolon changes neither.
fn carrier(head: &Head<'_>) -> Result<Carrier, Reject> {
    let Once::One(text) = head.content_type else {
        return Err(Reject::ContentType);
    };
    let kind = text.split(';').next().unwrap_or_default().trim();
    if kind.eq_ignore_ascii_case("application/json") {
        Ok(Carrier::Json)
    } else if kind.eq_ignore_ascii_case("application/jose") {
        Ok(Carrier::Jose)
    } else {
        Err(Reject::ContentType)
    }
}

fn begin_health(good: bool, answer: &mut Answer) -> &mut Vec<u8> {
    let (status, retry_after_secs) = if good { (200, None) } else { (503, Some(1)) };
    let fields = Fields {
        retry_after_secs,
        ..Fields::default()
    };
    answer.begin(status, "application/json", fields)
}

/// `text` as text of a page.
fn html(text: &str) -> impl fmt::Display {
    fmt::from_fn(move |f| {
        for c in text.chars() {
            match c {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                _ => fmt::Write::write_char(f, c)?,
            }
        }
        Ok(())
    })
}
