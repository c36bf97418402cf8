//! The stylesheet, the script, the icon, and the words for outcomes: compiled in, and
//! served under an address that changes with their content, so that a browser keeps them
//! for good and a new page never meets an old script.

use std::sync::LazyLock;

use rocket::{
    get,
    http::{ContentType, Header},
    response::Responder,
    uri,
};

use crate::{error::Failure, secret, words};

const STYLE: &str = include_str!("../../static/manage.css");
const SCRIPT: &str = include_str!("../../static/manage.js");
const ICON: &str = include_str!("../../static/icon.svg");

/// The addresses that pages refer to.
pub(super) struct Assets {
    words_json: String,
    version: String,
    pub(super) style: String,
    pub(super) script: String,
    pub(super) icon: String,
    pub(super) words: String,
}

static ASSETS: LazyLock<Assets> = LazyLock::new(|| {
    let words_json = words::as_json().to_string();
    let mut version = secret::sha256_hex(&[STYLE, SCRIPT, ICON, &words_json].join("\0"));
    version.truncate(16);
    let address = |name: &str| uri!(asset(&version, name)).to_string();
    Assets {
        style: address("manage.css"),
        script: address("manage.js"),
        icon: address("icon.svg"),
        words: address("words.json"),
        words_json,
        version,
    }
});

impl Assets {
    pub(super) fn get() -> &'static Self {
        &ASSETS
    }
}

#[derive(Responder)]
pub(super) struct Asset {
    content: (ContentType, &'static str),
    cache: Header<'static>,
}

#[get("/assets/<version>/<name>")]
pub(super) fn asset(version: &str, name: &str) -> Result<Asset, Failure> {
    let content = match name {
        "manage.css" => (ContentType::CSS, STYLE),
        "manage.js" => (ContentType::JavaScript, SCRIPT),
        "icon.svg" => (ContentType::SVG, ICON),
        "words.json" => (ContentType::JSON, ASSETS.words_json.as_str()),
        _ => return Err(Failure::NotFound),
    };
    // Another version's address gets this version's content, but must not keep it.
    let cache = if version == ASSETS.version {
        "public, max-age=31536000, immutable"
    } else {
        "no-store"
    };
    Ok(Asset {
        content,
        cache: Header::new("Cache-Control", cache),
    })
}
