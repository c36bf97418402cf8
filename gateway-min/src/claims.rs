//! The names in a message, once for signer and verifier (RFC 7519 section 4,
//! RFC 8693 section 4.1, and the message vocabulary of this project).

/// `typ` of a message as manage signs it (RFC 8725 section 3.11). Absent or [`TYP_JWT`]
/// is understood too; every other type is refused, so that a session token is never a message.
pub const TYP_MESSAGE: &str = "gateway-message+jwt";
/// The generic `typ` that most JWT libraries write.
pub const TYP_JWT: &str = "JWT";

/// `alg` that manage writes (RFC 8037): every JWT library that knows Ed25519 reads it.
pub const ALG_EDDSA: &str = "EdDSA";
/// The fully specified name (RFC 9864), understood but not written.
pub const ALG_ED25519: &str = "Ed25519";

/// `alg` of bypass tokens (RFC 7518 section 3.2), never of messages.
pub const ALG_HS256: &str = "HS256";

/// The one message schema of this version.
pub const SCHEMA_VERSION: i64 = 1;

/// Member names of the protected header.
pub mod header {
    /// Signature algorithm.
    pub const ALG: &str = "alg";
    /// Extensions that must be understood: any is refused.
    pub const CRIT: &str = "crit";
    /// Key identifier, an RFC 7638 thumbprint where manage signs.
    pub const KID: &str = "kid";
    /// Media type of the token.
    pub const TYP: &str = "typ";
}

/// Member names of the claims set.
pub mod name {
    /// Actor: who was signed in when the message was made, `{"sub": …}`.
    pub const ACT: &str = "act";
    /// What is asked for: the routing key.
    pub const ACTION_TYPE: &str = "action_type";
    /// The gateway's id: a string, or an array that contains it.
    pub const AUD: &str = "aud";
    /// End of life, in seconds; required.
    pub const EXP: &str = "exp";
    /// When it was signed, in seconds.
    pub const IAT: &str = "iat";
    /// Origin of the manage installation.
    pub const ISS: &str = "iss";
    /// The idempotency key; required.
    pub const JTI: &str = "jti";
    /// Start of life, in seconds.
    pub const NBF: &str = "nbf";
    /// The actor's organisation.
    pub const ORG: &str = "org";
    /// The content, an object handed on byte for byte.
    pub const PARAMETERS: &str = "parameters";
    /// Version of the message schema: 1.
    pub const SCHEMA_VERSION: &str = "schema_version";
    /// Ids in manage, an object handed on byte for byte.
    pub const SOURCE_REFERENCE: &str = "source_reference";
    /// What the message is about: the appointment.
    pub const SUB: &str = "sub";
}

/// The values of `action_type` that a gateway of this version routes. Any other, or
/// none, is accepted and kept with `"routed": false`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum ActionType {
    /// Put an item on the modality's worklist.
    WorklistCreateItem,
    /// Change the state of an item on the worklist.
    WorklistUpdateStatus,
    /// Take an item off the worklist.
    WorklistRemoveItem,
    /// Come back and tell what each stage did.
    Echo,
}

impl ActionType {
    /// Every routed action, in the order of the documentation.
    pub const ALL: [Self; 4] = [
        Self::WorklistCreateItem,
        Self::WorklistUpdateStatus,
        Self::WorklistRemoveItem,
        Self::Echo,
    ];

    /// The value as it stands in the claim.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::WorklistCreateItem => "worklist.create_item",
            Self::WorklistUpdateStatus => "worklist.update_status",
            Self::WorklistRemoveItem => "worklist.remove_item",
            Self::Echo => "echo",
        }
    }

    /// The action of that exact name, or `None` for one that is not routed.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|action| action.as_str() == text)
    }
}

#[cfg(test)]
mod tests {
    use super::ActionType;

    #[test]
    fn every_action_is_read_back_by_its_name() {
        for action in ActionType::ALL {
            assert_eq!(ActionType::parse(action.as_str()), Some(action));
        }
        assert_eq!(ActionType::parse("Echo"), None);
        assert_eq!(ActionType::parse(""), None);
    }
}
