//! What people read about an outcome: what happened, and what to do next, for a
//! radiographer with somebody waiting. The one place for these words: pages are rendered
//! from them and the page's script fetches them as JSON ([`as_json`]).
//!
//! Every code of the gateway (`Reject::CODES`) and of the extension has its own words; a
//! test says which lack them. A code of a newer gateway gets the general words of its kind.

use gateway_min::Reject;
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::outcome::Outcome;

/// The colour of an outcome, and the word that goes with it for those who see no colour.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Tone {
    Success,
    Warning,
    Error,
}

impl Tone {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

/// What to read about one outcome.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub(crate) struct Words {
    pub(crate) tone: Tone,
    /// Two or three words.
    pub(crate) title: &'static str,
    /// What happened.
    pub(crate) what: &'static str,
    /// What to do next; may be empty where there is nothing to do.
    pub(crate) next: &'static str,
}

// What to do next. "By hand" is every site's fallback: type the details at the equipment.
const RELOAD: &str = "Reload this page and send it again.";
const RELOAD_OR_SUPPORT: &str = "Reload this page and send it once more. If it happens again, enter the details by hand and tell support the code.";
const AGAIN: &str = "Wait a few seconds, then send it again: sending twice does no harm. If it happens again, enter the details by hand and tell support the code.";
const BY_HAND: &str = "Enter the details by hand at the equipment, and tell support the code.";

const fn refused(what: &'static str, next: &'static str) -> Words {
    Words {
        tone: Tone::Error,
        title: "Not sent",
        what,
        next,
    }
}

const fn not_now(what: &'static str, next: &'static str) -> Words {
    Words {
        tone: Tone::Warning,
        title: "Not sent yet",
        what,
        next,
    }
}

/// The words of a code, whichever kind of outcome carries it; `None` where this version
/// does not know the code.
pub(crate) fn of_code(code: &str) -> Option<Words> {
    let words = match code {
        // The token's form: something between this page and the gateway changed it.
        "token_empty" => refused("The button carried no message.", RELOAD_OR_SUPPORT),
        "token_too_long" => refused("The message is longer than a gateway takes.", BY_HAND),
        "token_segments" => refused(
            "The message reached the gateway incomplete.",
            RELOAD_OR_SUPPORT,
        ),
        "header_encoding" | "header_too_long" | "header_type" => refused(
            "The beginning of the message reached the gateway damaged.",
            RELOAD_OR_SUPPORT,
        ),
        "signature_encoding" | "signature_length" => refused(
            "The signature of the message reached the gateway damaged.",
            RELOAD_OR_SUPPORT,
        ),
        "claims_encoding" | "claims_too_long" => refused(
            "The content of the message reached the gateway damaged.",
            RELOAD_OR_SUPPORT,
        ),
        "json_not_object" | "json_bom" | "json_utf8" | "json_control" | "json_escape"
        | "json_surrogate" | "json_number" | "json_depth" | "json_duplicate" | "json_members"
        | "json_trailing" | "json_syntax" => {
            refused("The gateway could not read the message.", RELOAD_OR_SUPPORT)
        }
        "unsupported_alg" | "unsupported_crit" | "unsupported_typ" => refused(
            "The message is signed in a way that this gateway does not accept.",
            BY_HAND,
        ),
        // Keys.
        "kid_length" | "kid_required" => refused(
            "The message does not say properly which key signed it.",
            BY_HAND,
        ),
        "unknown_key" => refused(
            "The gateway does not have the key that this system signs with.",
            BY_HAND,
        ),
        "bad_signature" => refused(
            "The message was changed on its way, or is not from this system. The gateway did not accept it.",
            RELOAD_OR_SUPPORT,
        ),
        // Claims.
        "claim_missing" | "claim_type" | "claim_length" | "claim_characters" => refused(
            "The message lacks something that the gateway needs.",
            BY_HAND,
        ),
        "unsupported_schema" => refused(
            "The gateway is of a version that does not know this kind of message.",
            BY_HAND,
        ),
        // Times.
        "expired" => refused(
            "This page has been open too long, or the gateway\u{2019}s clock is ahead: the message has run out.",
            RELOAD_OR_SUPPORT,
        ),
        "not_yet_valid" | "issued_in_future" => refused(
            "The gateway\u{2019}s clock is behind this system\u{2019}s clock, so the message seems to come from the future.",
            BY_HAND,
        ),
        "lifetime_empty" | "lifetime_too_long" => refused(
            "The message is valid for a different length of time than the gateway allows.",
            BY_HAND,
        ),
        // Addresses.
        "wrong_issuer" => refused(
            "The gateway takes messages from another system only.",
            BY_HAND,
        ),
        "wrong_audience" => refused(
            "The message is for another site\u{2019}s gateway than the one this computer uses.",
            "Check that you opened the clinic of the site you are at. If so, enter the details by hand and tell support the code.",
        ),
        // Replay.
        "jti_conflict" => refused(
            "The gateway already has other details under this message\u{2019}s number.",
            "Check the details on the equipment before you scan, and tell support the code.",
        ),
        "replay_full" => not_now("The gateway is holding as many messages as it can.", AGAIN),
        "in_progress" => not_now("The gateway is dealing with this same message.", AGAIN),
        // What the gateway keeps.
        "journal_full" => not_now("The gateway has no room to keep messages.", AGAIN),
        "journal_unavailable" => not_now("The gateway cannot keep messages at the moment.", AGAIN),
        // The gateway's clock.
        "clock_stepped_back" => not_now(
            "The gateway\u{2019}s clock was set back, so it cannot tell old messages from new ones.",
            RELOAD_OR_SUPPORT,
        ),
        "clock_not_set" => not_now(
            "The gateway has not got the time yet. It may have just been switched on.",
            "Wait a minute, then send it again. If it happens again, enter the details by hand and tell support the code.",
        ),
        // The connection.
        "request_timeout" => not_now("The message took too long to reach the gateway.", AGAIN),
        "too_many_connections" => not_now("The gateway is busy with other computers.", AGAIN),
        // The extension's or a proxy's request was not as it should be.
        "head_malformed"
        | "head_too_large"
        | "too_many_headers"
        | "http_version"
        | "target_form"
        | "content_length"
        | "host_header"
        | "unknown_expectation"
        | "length_required"
        | "method_not_allowed"
        | "method_unknown"
        | "content_type" => refused(
            "The gateway did not understand this computer\u{2019}s request. The extension may be out of date, or something between them changed it.",
            BY_HAND,
        ),
        "host_not_allowed" => refused(
            "The gateway does not know itself by the address that this computer uses for it.",
            BY_HAND,
        ),
        "origin_not_allowed" => refused(
            "The gateway does not accept messages from this computer\u{2019}s extension.",
            BY_HAND,
        ),
        "not_found" => refused(
            "There is something at the gateway\u{2019}s address, but it does not take messages.",
            BY_HAND,
        ),
        "body_missing" | "message_missing" | "message_type" => refused(
            "The request reached the gateway without its message.",
            RELOAD_OR_SUPPORT,
        ),
        "body_too_large" => refused("The request is larger than the gateway takes.", BY_HAND),
        "internal" => not_now(
            "Something went wrong inside the gateway.",
            "Send it once more. If it happens again, enter the details by hand and tell support the code.",
        ),
        // The extension's own.
        "bad_answer" => not_now(
            "Something answered at the gateway\u{2019}s address, but not the gateway.",
            BY_HAND,
        ),
        _ => return None,
    };
    Some(words)
}

/// The extension's own codes, beside the gateway's.
pub(crate) const EXTENSION_CODES: &[&str] = &["bad_answer"];

const ACCEPTED: Words = Words {
    tone: Tone::Success,
    title: "Sent",
    what: "The gateway has it.",
    next: "",
};
const ACCEPTED_UNROUTED: Words = Words {
    tone: Tone::Warning,
    title: "Sent, but no further",
    what: "The gateway has it, but has nowhere to pass it on to: it will not appear on the equipment.",
    next: "Enter the details by hand at the equipment, and tell support.",
};
const DUPLICATE: Words = Words {
    tone: Tone::Success,
    title: "Already sent",
    what: "The gateway already had it. Nothing was sent twice.",
    next: "",
};
const DUPLICATE_UNROUTED: Words = Words {
    tone: Tone::Warning,
    title: "Already sent, but no further",
    what: "The gateway already had it, but has nowhere to pass it on to: it will not appear on the equipment.",
    next: "Enter the details by hand at the equipment, and tell support.",
};
const UNREACHABLE: Words = Words {
    tone: Tone::Error,
    title: "Not sent",
    what: "This computer could not reach the gateway.",
    next: "Check the network, then send it again. If it stays unreachable, enter the details by hand and tell support.",
};
const TIMEOUT: Words = Words {
    tone: Tone::Warning,
    title: "Not confirmed",
    what: "The gateway\u{2019}s answer did not come through in time. The message may have arrived.",
    next: "Send it again: sending twice does no harm. If it stays unconfirmed, look for the details on the equipment, enter them by hand if they are not there, and tell support.",
};
const EXTENSION_UPDATED: Words = Words {
    tone: Tone::Warning,
    title: "Not sent",
    what: "The browser extension was updated or removed while this page was open.",
    next: RELOAD,
};
const REFUSED: Words = refused("The gateway did not accept it.", BY_HAND);
const UNAVAILABLE: Words = not_now("The gateway cannot take it at the moment.", AGAIN);
const NO_EXTENSION: Words = Words {
    tone: Tone::Error,
    title: "Not sent",
    what: "The gateway extension is not running in this browser.",
    next: "Install it or switch it on, then reload this page. Until then, enter the details by hand at the equipment.",
};

/// The words of an outcome. Only the gateway can say that it has no route: `None` is not
/// `Some(false)`.
pub(crate) fn of(outcome: &Outcome, routed: Option<bool>) -> Words {
    match outcome {
        Outcome::Accepted if routed == Some(false) => ACCEPTED_UNROUTED,
        Outcome::Accepted => ACCEPTED,
        Outcome::Duplicate if routed == Some(false) => DUPLICATE_UNROUTED,
        Outcome::Duplicate => DUPLICATE,
        Outcome::Refused(code) => of_code(code).unwrap_or(REFUSED),
        Outcome::Unavailable(code) => of_code(code).unwrap_or(UNAVAILABLE),
        Outcome::Unreachable => UNREACHABLE,
        Outcome::Timeout => TIMEOUT,
        Outcome::Reload => EXTENSION_UPDATED,
    }
}

/// The code of an outcome, for support; empty where the outcome has none.
pub(crate) fn code(outcome: &Outcome) -> &str {
    match outcome {
        Outcome::Refused(code) | Outcome::Unavailable(code) => code,
        Outcome::Accepted
        | Outcome::Duplicate
        | Outcome::Unreachable
        | Outcome::Timeout
        | Outcome::Reload => "",
    }
}

/// All words, for the page's script: by outcome and, for `refused` and `unavailable`, by
/// code.
pub(crate) fn as_json() -> Value {
    let codes = Reject::CODES.iter().chain(EXTENSION_CODES);
    let codes: Map<String, Value> = codes
        .filter_map(|code| Some(((*code).to_owned(), json!(of_code(code)?))))
        .collect();
    json!({
        "outcomes": {
            "accepted": ACCEPTED,
            "accepted:unrouted": ACCEPTED_UNROUTED,
            "duplicate": DUPLICATE,
            "duplicate:unrouted": DUPLICATE_UNROUTED,
            "unreachable": UNREACHABLE,
            "timeout": TIMEOUT,
            "reload": EXTENSION_UPDATED,
            "refused": REFUSED,
            "unavailable": UNAVAILABLE,
            "no_extension": NO_EXTENSION,
        },
        "codes": codes,
    })
}

#[cfg(test)]
mod tests {
    use gateway_min::Reject;

    use super::{EXTENSION_CODES, Tone, as_json, code, of, of_code};
    use crate::outcome::Outcome;

    #[test]
    fn every_code_has_words() {
        let lacking: Vec<_> = Reject::CODES
            .iter()
            .chain(EXTENSION_CODES)
            .filter(|code| of_code(code).is_none())
            .collect();
        assert!(lacking.is_empty(), "no words for {lacking:?}");
        assert_eq!(of_code("a_code_of_next_year"), None);
    }

    #[test]
    fn words_are_sentences_and_say_what_to_do() {
        for code in Reject::CODES.iter().chain(EXTENSION_CODES) {
            let words = of_code(code).unwrap();
            for text in [words.what, words.next] {
                assert!(text.ends_with('.') && text.len() > 10, "{code}: {text:?}");
            }
            assert!(
                !words.title.is_empty() && words.tone != Tone::Success,
                "{code}"
            );
        }
    }

    /// Whatever goes wrong can go wrong again, with somebody waiting.
    #[test]
    fn what_goes_wrong_has_a_way_on_that_needs_no_gateway() {
        let json = as_json();
        let kinds = ["outcomes", "codes"].map(|kind| json[kind].as_object().unwrap());
        for (name, words) in kinds.into_iter().flatten() {
            let next = words["next"].as_str().unwrap();
            let by_hand = next.contains("by hand") || next.contains("on the equipment");
            // The page without its extension says the rest itself.
            let is_well = words["tone"] == "success" || name == "reload";
            assert!(by_hand || is_well, "{name}: {next:?}");
        }
    }

    #[test]
    fn the_outcome_decides_before_the_code() {
        let refused = |code: &str| Outcome::Refused(code.to_owned());
        let unavailable = |code: &str| Outcome::Unavailable(code.to_owned());
        for (outcome, routed, title, tone) in [
            (Outcome::Accepted, Some(true), "Sent", Tone::Success),
            (Outcome::Accepted, None, "Sent", Tone::Success),
            (
                Outcome::Accepted,
                Some(false),
                "Sent, but no further",
                Tone::Warning,
            ),
            (Outcome::Duplicate, None, "Already sent", Tone::Success),
            (
                Outcome::Duplicate,
                Some(false),
                "Already sent, but no further",
                Tone::Warning,
            ),
            (refused("expired"), None, "Not sent", Tone::Error),
            (refused("new_code"), None, "Not sent", Tone::Error),
            (
                unavailable("clock_not_set"),
                None,
                "Not sent yet",
                Tone::Warning,
            ),
            (unavailable("new_code"), None, "Not sent yet", Tone::Warning),
            (Outcome::Unreachable, None, "Not sent", Tone::Error),
            (Outcome::Timeout, None, "Not confirmed", Tone::Warning),
            (Outcome::Reload, None, "Not sent", Tone::Warning),
        ] {
            let words = of(&outcome, routed);
            assert_eq!((words.title, words.tone), (title, tone), "{outcome}");
        }
        assert_eq!(code(&refused("expired")), "expired");
        assert_eq!(code(&Outcome::Timeout), "");
    }

    #[test]
    fn the_script_gets_the_same_words() {
        let json = as_json();
        for code in Reject::CODES.iter().chain(EXTENSION_CODES) {
            assert_eq!(json["codes"][code]["what"], of_code(code).unwrap().what);
        }
        for outcome in [
            Outcome::Accepted,
            Outcome::Duplicate,
            Outcome::Unreachable,
            Outcome::Timeout,
            Outcome::Reload,
        ] {
            let words = of(&outcome, None);
            assert_eq!(json["outcomes"][outcome.to_string()]["what"], words.what);
            assert_eq!(
                json["outcomes"][outcome.to_string()]["tone"],
                words.tone.as_str()
            );
        }
    }
}
