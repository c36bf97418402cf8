//! What can come back for a message, as the extension tells it to the page and the page
//! tells it to us: one text, read into [`Outcome`] or refused. A code that this version
//! has no words for is kept all the same, because a newer gateway may have more codes and
//! its answer must not be lost.

use std::fmt;

/// Longest code that is kept, in bytes.
const MAX_CODE: usize = 64;

/// What came back.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Outcome {
    /// The gateway has it.
    Accepted,
    /// The gateway has had it already.
    Duplicate,
    /// It will not be taken, for the reason of that code.
    Refused(String),
    /// Not now, for the reason of that code.
    Unavailable(String),
    /// There was nobody to ask.
    Unreachable,
    /// No answer in time: it may have arrived.
    Timeout,
    /// The extension was updated or removed under the page: nothing was sent.
    Reload,
}

fn is_code(text: &str) -> bool {
    let label = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_';
    (1..=MAX_CODE).contains(&text.len()) && text.bytes().all(label)
}

impl Outcome {
    /// Reads an outcome; `None` for every other text.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        match text {
            "accepted" => Some(Self::Accepted),
            "duplicate" => Some(Self::Duplicate),
            "unreachable" => Some(Self::Unreachable),
            "timeout" => Some(Self::Timeout),
            "reload" => Some(Self::Reload),
            _ => {
                let (kind, code) = text.split_once(':')?;
                let code = is_code(code).then(|| code.to_owned())?;
                match kind {
                    "refused" => Some(Self::Refused(code)),
                    "unavailable" => Some(Self::Unavailable(code)),
                    _ => None,
                }
            }
        }
    }
}

/// Whether outcomes of one message, in their order, say that it is on its way to the
/// equipment: accepted and not without a route. *Duplicate* alone says so too (the answer
/// to the first was lost), but not of a message that was accepted without a route.
pub(crate) fn is_sent<'a>(told: impl IntoIterator<Item = (&'a Outcome, Option<bool>)>) -> bool {
    let (mut sent, mut unrouted) = (false, false);
    for (outcome, routed) in told {
        match outcome {
            Outcome::Accepted if routed == Some(false) => unrouted = true,
            Outcome::Accepted => sent = true,
            Outcome::Duplicate => sent |= !unrouted && routed != Some(false),
            Outcome::Refused(_)
            | Outcome::Unavailable(_)
            | Outcome::Unreachable
            | Outcome::Timeout
            | Outcome::Reload => {}
        }
    }
    sent
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Accepted => f.write_str("accepted"),
            Self::Duplicate => f.write_str("duplicate"),
            Self::Refused(code) => write!(f, "refused:{code}"),
            Self::Unavailable(code) => write!(f, "unavailable:{code}"),
            Self::Unreachable => f.write_str("unreachable"),
            Self::Timeout => f.write_str("timeout"),
            Self::Reload => f.write_str("reload"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{MAX_CODE, Outcome, is_sent};

    #[test]
    fn sent_is_what_the_gateway_has_a_route_for() {
        use Outcome::{Accepted, Duplicate, Timeout, Unreachable};
        for (name, told, expected) in [
            ("nothing told", &[][..], false),
            ("accepted", &[(Accepted, Some(true))], true),
            (
                "accepted, nothing said of a route",
                &[(Accepted, None)],
                true,
            ),
            (
                "accepted without a route",
                &[(Accepted, Some(false))],
                false,
            ),
            (
                "the first answer was lost",
                &[(Timeout, None), (Duplicate, None)],
                true,
            ),
            (
                "without a route, and again",
                &[(Accepted, Some(false)), (Duplicate, None)],
                false,
            ),
            (
                "sent, then unreachable",
                &[(Accepted, Some(true)), (Unreachable, None)],
                true,
            ),
            ("unreachable", &[(Unreachable, None)], false),
            (
                "a duplicate without a route",
                &[(Timeout, None), (Duplicate, Some(false))],
                false,
            ),
        ] {
            let told = told.iter().map(|(outcome, routed)| (outcome, *routed));
            assert_eq!(is_sent(told), expected, "{name}");
        }
    }

    #[test]
    fn every_outcome_is_read_back_and_nothing_else_is() {
        for text in [
            "accepted",
            "duplicate",
            "refused:bad_signature",
            "refused:a_code_of_next_year",
            "unavailable:bad_answer",
            "unreachable",
            "timeout",
            "reload",
        ] {
            assert_eq!(Outcome::parse(text).unwrap().to_string(), text);
        }
        let long = format!("refused:{}", "a".repeat(MAX_CODE + 1));
        for (name, text) in [
            ("nothing", ""),
            ("upper case", "Accepted"),
            ("space", "accepted "),
            ("another word", "delivered"),
            ("no code", "refused"),
            ("an empty code", "refused:"),
            ("a code where none is", "accepted:now"),
            ("markup", "refused:<b>"),
            ("two codes", "refused:a:b"),
            ("a code too long", &long),
        ] {
            assert_eq!(Outcome::parse(text), None, "{name}");
        }
    }
}
