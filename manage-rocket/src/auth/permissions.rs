//! What a sign-in service lets a person do here, by the names of permissions that both
//! strategies share. Without `signin` nobody gets in, whatever else they have.

/// May use this service at all.
const SIGN_IN: &str = "signin";
/// May send messages.
const SEND: &str = "send";
/// Administers the organisation's gateways.
const ADMINISTER: &str = "administer";
/// Signon's for itself: may tell applications that somebody changed.
pub(crate) const USER_UPDATE: &str = "user_update_permission";

/// A person's permissions.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Permissions {
    pub(crate) may_sign_in: bool,
    pub(crate) may_send: bool,
    pub(crate) is_administrator: bool,
}

impl Permissions {
    /// By their names; others are somebody else's.
    pub(crate) fn of<S: AsRef<str>>(names: &[S]) -> Self {
        let has = |wanted| names.iter().any(|name| name.as_ref() == wanted);
        Self {
            may_sign_in: has(SIGN_IN),
            may_send: has(SEND),
            is_administrator: has(ADMINISTER),
        }
    }

    /// In words, beside the person's name.
    pub(crate) const fn role(self) -> &'static str {
        match (self.may_send, self.is_administrator) {
            (_, true) => "Administrator",
            (true, false) => "Can send",
            (false, false) => "Can look",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Permissions;

    #[test]
    fn each_name_gives_its_permission_alone() {
        for (names, expected, role) in [
            (&[][..], (false, false, false), "Can look"),
            (&["signin"], (true, false, false), "Can look"),
            (&["signin", "send"], (true, true, false), "Can send"),
            (&["send"], (false, true, false), "Can send"),
            (
                &["signin", "administer"],
                (true, false, true),
                "Administrator",
            ),
            (
                &["Signin", "sign in", "signin "],
                (false, false, false),
                "Can look",
            ),
            (&["signin,send"], (false, false, false), "Can look"),
        ] {
            let got = Permissions::of(names);
            let flags = (got.may_sign_in, got.may_send, got.is_administrator);
            assert_eq!((flags, got.role()), (expected, role), "{names:?}");
        }
    }
}
