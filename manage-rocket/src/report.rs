//! Report tokens: each button carries one, which lets the page tell what came back for
//! that message, in the name of the person it was shown to, for as long as the message can
//! be answered, and nothing else. It needs no session: an outcome must not be lost because
//! a session idled out while somebody was being scanned.
//!
//! `<person>.<end>.<tag>`, where the tag is HMAC-SHA-256 over `jti`, person and end.

use gateway_min::UnixTime;

use crate::{
    ids::{Jti, UserId},
    secret::Tagger,
};

/// How long after a message's `exp` its outcome can still be reported, in seconds: the
/// gateway takes it up to 30 s after, and its answer takes a moment to come here.
pub(crate) const GRACE_SECS: u32 = 60;

/// The token with which `person` can report on `jti`, a message that lives until `expires`.
pub(crate) fn token(tagger: &Tagger, jti: Jti, person: UserId, expires: UnixTime) -> String {
    let end = expires.plus(GRACE_SECS).as_secs().to_string();
    let person = person.to_string();
    let tag = tagger.tag(&[&jti.to_string(), &person, &end]);
    format!("{person}.{end}.{tag}")
}

/// Who may report on `jti` with this token now; `None` where nobody may.
pub(crate) fn reporter(tagger: &Tagger, jti: Jti, token: &str, now: UnixTime) -> Option<UserId> {
    let (person, rest) = token.split_once('.')?;
    let (end, tag) = rest.split_once('.')?;
    // Nothing of it is believed before the tag holds.
    if !tagger.holds(&[&jti.to_string(), person, end], tag) {
        return None;
    }
    let end = UnixTime::from_secs(end.parse().ok()?);
    let person = UserId::parse(person).ok()?;
    (now < end).then_some(person)
}

#[cfg(test)]
mod tests {
    use gateway_min::UnixTime;

    use super::{reporter, token};
    use crate::{
        ids::{Jti, UserId},
        secret::Secrets,
        token::key::MessageKey,
    };

    #[test]
    fn a_token_is_for_one_message_one_person_and_a_time() {
        let tagger = Secrets::of(&MessageKey::generate().unwrap()).report;
        let other = Secrets::of(&MessageKey::generate().unwrap()).report;
        let (jti, person) = (Jti::random(), UserId::random());
        let expires = UnixTime::from_secs(1000);
        let good = token(&tagger, jti, person, expires);
        let parts: Vec<&str> = good.split('.').collect();
        let (end, tag) = (parts[1], parts[2]);
        let someone = UserId::random();
        let now = expires;
        for (name, got, expected) in [
            ("good", reporter(&tagger, jti, &good, now), Some(person)),
            (
                "the last second",
                reporter(&tagger, jti, &good, expires.plus(59)),
                Some(person),
            ),
            (
                "a second later",
                reporter(&tagger, jti, &good, expires.plus(60)),
                None,
            ),
            (
                "another message",
                reporter(&tagger, Jti::random(), &good, now),
                None,
            ),
            (
                "another installation",
                reporter(&other, jti, &good, now),
                None,
            ),
            (
                "another person",
                reporter(&tagger, jti, &format!("{someone}.{end}.{tag}"), now),
                None,
            ),
            (
                "a later end",
                reporter(&tagger, jti, &format!("{person}.9999.{tag}"), now),
                None,
            ),
            (
                "no tag",
                reporter(&tagger, jti, &format!("{person}.{end}."), now),
                None,
            ),
            (
                "two parts",
                reporter(&tagger, jti, &format!("{person}.{end}"), now),
                None,
            ),
            ("nothing", reporter(&tagger, jti, "", now), None),
        ] {
            assert_eq!(got, expected, "{name}");
        }
    }
}
