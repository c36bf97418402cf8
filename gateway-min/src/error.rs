//! [`Reject`]: every reason for which the gateway does not take something, in one flat list.
//!
//! A browser sees [`Reject::code`], [`Reject::stage`], [`Reject::status`] and
//! [`Reject::title`]; the log of the site sees `Display`, which may carry lengths, times
//! and offsets but never a byte of the token. manage words each code for people and tests
//! that it words them all, so a code is listed here even where the core itself cannot
//! meet it (the socket's, the route's).

use core::fmt;

use crate::{limits, time::UnixTime};

/// Where in the path of a message a refusal arose. The first eight are the order in
/// which a token is judged.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
#[non_exhaustive]
pub enum Stage {
    /// The token's length, before anything is looked at.
    Size,
    /// Cutting it into three parts.
    Split,
    /// The protected header.
    Header,
    /// Finding the configured key.
    Key,
    /// The signature, its encoding first.
    Signature,
    /// The claims' form and types.
    Claims,
    /// The claims' times against the clock.
    Time,
    /// Issuer and audience.
    Audience,
    /// The memory of what was accepted.
    Replay,
    /// The gateway's own clock.
    Clock,
    /// Keeping what was judged to be good.
    Journal,
    /// The connection, before a request was complete.
    Connection,
    /// The request line and header fields.
    Head,
    /// `Host` and `Origin`.
    Access,
    /// Method and path.
    Route,
    /// The request's body.
    Body,
    /// The gateway itself.
    Internal,
}

impl Stage {
    /// Stable name, as answers and logs carry it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Size => "size",
            Self::Split => "split",
            Self::Header => "header",
            Self::Key => "key",
            Self::Signature => "signature",
            Self::Claims => "claims",
            Self::Time => "time",
            Self::Audience => "audience",
            Self::Replay => "replay",
            Self::Clock => "clock",
            Self::Journal => "journal",
            Self::Connection => "connection",
            Self::Head => "head",
            Self::Access => "access",
            Self::Route => "route",
            Self::Body => "body",
            Self::Internal => "internal",
        }
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Which JSON text a [`JsonFault`] was found in.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Part {
    /// The token's protected header.
    Header,
    /// The token's claims set, after its signature held.
    Claims,
    /// The request's body.
    Body,
    /// A configured key.
    Key,
}

/// What is wrong with a JSON text (RFC 8259, narrowed: see `json`).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
#[non_exhaustive]
pub enum JsonFault {
    /// Not an object at the outermost level.
    NotObject,
    /// Begins with a byte-order mark (RFC 8259 section 8.1).
    ByteOrderMark,
    /// Not UTF-8.
    Utf8,
    /// A raw control character inside a string (section 7).
    Control,
    /// An escape that does not exist, or is cut short.
    Escape,
    /// Half of a surrogate pair (section 8.2).
    Surrogate,
    /// A number that is not one, is written in more than [`limits::MAX_NUMBER`]
    /// characters, or is of magnitude 1e308 or more.
    Number,
    /// Nested deeper than [`limits::MAX_DEPTH`].
    Depth,
    /// The same member name twice.
    Duplicate,
    /// More than [`limits::MAX_MEMBERS`] members.
    Members,
    /// Bytes behind the end of the object.
    Trailing,
    /// Any other departure from the grammar.
    Syntax,
}

macro_rules! codes {
    ($($(#[$doc:meta])* $variant:pat => $code:literal, $title:literal;)*) => {
        impl Reject {
            /// Every code, in the order of the enum: what manage must have words for.
            pub const CODES: &'static [&'static str] = &[$($code),*];

            /// Stable name: answers, log fields, metric labels. Never reused.
            #[must_use]
            pub const fn code(&self) -> &'static str {
                match self { $($variant => $code,)* }
            }

            /// What happened, in a few English words, without any detail of the token,
            /// the configuration or the client.
            #[must_use]
            pub const fn title(&self) -> &'static str {
                match self { $($variant => $title,)* }
            }
        }
    };
}

/// A refusal: why something is not taken, or not now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Reject {
    /// There is no token at all.
    TokenEmpty,
    /// The token is longer than [`limits::MAX_TOKEN`].
    TokenTooLong {
        /// Its length in bytes.
        len: usize,
    },
    /// Not exactly three parts separated by dots.
    TokenSegments,
    /// The header is not canonical base64url without padding.
    HeaderEncoding,
    /// The header decodes to more than [`limits::MAX_HEADER`].
    HeaderTooLong,
    /// The signature is not canonical base64url without padding.
    SignatureEncoding,
    /// The signature does not decode to as many bytes as the key's algorithm makes:
    /// [`limits::SIGNATURE_LEN`], or [`limits::MAC_LEN`] of a bypass token.
    SignatureLength,
    /// A JSON text that this gateway does not read.
    Json {
        /// Which text.
        part: Part,
        /// What is wrong with it.
        fault: JsonFault,
        /// Offset of the fault in the decoded text, in bytes.
        at: usize,
    },
    /// A header member of the wrong JSON type.
    HeaderType {
        /// Its name.
        member: &'static str,
    },
    /// No `alg`, or one that is not the configured key's.
    UnsupportedAlg,
    /// Any `crit` (RFC 7515 section 4.1.11): no extension is understood.
    UnsupportedCrit,
    /// A `typ` that is not a message's.
    UnsupportedTyp,
    /// `kid` is empty or longer than [`limits::MAX_KID`].
    KidLength,
    /// `kid` names no configured key.
    UnknownKey,
    /// No `kid`, and not exactly one key is configured.
    KidRequired,
    /// The signature does not hold.
    BadSignature,
    /// The claims are not canonical base64url without padding.
    ClaimsEncoding,
    /// The claims decode to more than [`limits::MAX_CLAIMS`].
    ClaimsTooLong,
    /// A required claim is absent.
    ClaimMissing {
        /// Its name.
        claim: &'static str,
    },
    /// A claim of the wrong JSON type, or a number that is not a whole one within 64 bits.
    ClaimType {
        /// Its name.
        claim: &'static str,
    },
    /// A claim's text is empty where it may not be, or too long.
    ClaimLength {
        /// Its name.
        claim: &'static str,
        /// Its length in bytes, decoded.
        len: usize,
    },
    /// A control character in an identifier.
    ClaimCharacters {
        /// Its name.
        claim: &'static str,
    },
    /// A `schema_version` that this gateway does not know.
    UnsupportedSchema {
        /// The version it asks for.
        version: i64,
    },
    /// `exp` has passed.
    Expired {
        /// End of life.
        exp: UnixTime,
        /// The gateway's clock.
        now: UnixTime,
    },
    /// `nbf` is in the future beyond the leeway.
    NotYetValid {
        /// Start of life.
        nbf: UnixTime,
        /// The gateway's clock.
        now: UnixTime,
    },
    /// `iat` is in the future beyond the leeway.
    IssuedInFuture {
        /// When it says it was signed.
        iat: UnixTime,
        /// The gateway's clock.
        now: UnixTime,
    },
    /// `exp` is not later than `iat` or than `nbf`.
    LifetimeEmpty,
    /// `exp − iat` (without `iat`: `exp − now`) is more than the policy allows.
    LifetimeTooLong {
        /// The lifetime, in seconds.
        secs: i64,
        /// The longest allowed, in seconds.
        max_secs: u32,
    },
    /// `iss` is not the configured issuer.
    WrongIssuer,
    /// `aud` does not name this gateway.
    WrongAudience,
    /// The same `jti` was accepted with other content.
    JtiConflict,
    /// The memory of live messages is full.
    ReplayFull,
    /// The same message is being kept at this moment, and its fate is not yet known.
    InProgress,
    /// Older than something already forgotten: the clock has been stepped back.
    ClockSteppedBack {
        /// End of life of the token.
        exp: UnixTime,
        /// The latest end of life that was forgotten.
        floor: UnixTime,
    },
    /// The gateway's clock is earlier than the gateway itself.
    ClockNotSet,
    /// The journal, or its disk, has no room.
    JournalFull,
    /// The journal cannot be written, or not in time.
    JournalUnavailable,
    /// The request was not complete within its time.
    RequestTimeout,
    /// Too many connections.
    TooManyConnections,
    /// The request line or a header field is not HTTP/1.1 (RFC 9112).
    HeadMalformed,
    /// The request's head is longer than [`limits::MAX_HEAD`].
    HeadTooLarge,
    /// More header fields than [`limits::MAX_HEADER_FIELDS`].
    TooManyHeaders,
    /// A protocol version other than HTTP/1.0 and HTTP/1.1.
    HttpVersion,
    /// The request target is not in origin form (RFC 9112 section 3.2.1).
    TargetForm,
    /// `Content-Length` is repeated or not a plain decimal number.
    ContentLength,
    /// `Host` is absent, repeated or malformed.
    HostHeader,
    /// An `Expect` other than `100-continue`.
    UnknownExpectation,
    /// `Host` is none that this gateway answers to.
    HostNotAllowed,
    /// `Origin` is none that this gateway answers.
    OriginNotAllowed,
    /// No such path.
    NotFound,
    /// The path does not have this method.
    MethodNotAllowed,
    /// A method that this gateway does not know.
    MethodUnknown,
    /// A body without `Content-Length`.
    LengthRequired,
    /// No body where one is needed.
    BodyMissing,
    /// The body is longer than [`limits::MAX_BODY`].
    BodyTooLarge {
        /// The announced length, in bytes.
        len: u64,
    },
    /// `Content-Type` is neither `application/json` nor `application/jose`.
    ContentType,
    /// The body has no `message`.
    MessageMissing,
    /// The body's `message` or `timestamp` is not a string.
    MessageType,
    /// The gateway failed.
    Internal,
}

codes! {
    Self::TokenEmpty => "token_empty", "the token is empty";
    Self::TokenTooLong { .. } => "token_too_long", "the token is too long";
    Self::TokenSegments => "token_segments", "not three parts separated by dots";
    Self::HeaderEncoding => "header_encoding", "the header is not canonical base64url";
    Self::HeaderTooLong => "header_too_long", "the header is too long";
    Self::SignatureEncoding => "signature_encoding", "the signature is not canonical base64url";
    Self::SignatureLength => "signature_length", "the signature is of another length";
    Self::Json { fault: JsonFault::NotObject, .. } => "json_not_object", "not a JSON object";
    Self::Json { fault: JsonFault::ByteOrderMark, .. } => "json_bom", "JSON with a byte-order mark";
    Self::Json { fault: JsonFault::Utf8, .. } => "json_utf8", "JSON that is not UTF-8";
    Self::Json { fault: JsonFault::Control, .. } => "json_control", "a raw control character in a JSON string";
    Self::Json { fault: JsonFault::Escape, .. } => "json_escape", "an unknown escape in a JSON string";
    Self::Json { fault: JsonFault::Surrogate, .. } => "json_surrogate", "half of a surrogate pair in a JSON string";
    Self::Json { fault: JsonFault::Number, .. } => "json_number", "not a JSON number of a usual size";
    Self::Json { fault: JsonFault::Depth, .. } => "json_depth", "JSON nested too deep";
    Self::Json { fault: JsonFault::Duplicate, .. } => "json_duplicate", "a JSON member twice";
    Self::Json { fault: JsonFault::Members, .. } => "json_members", "too many JSON members";
    Self::Json { fault: JsonFault::Trailing, .. } => "json_trailing", "bytes behind the JSON object";
    Self::Json { fault: JsonFault::Syntax, .. } => "json_syntax", "not JSON";
    Self::HeaderType { .. } => "header_type", "a header member of the wrong type";
    Self::UnsupportedAlg => "unsupported_alg", "not the key's signature algorithm";
    Self::UnsupportedCrit => "unsupported_crit", "critical extensions are not understood";
    Self::UnsupportedTyp => "unsupported_typ", "not the type of a message";
    Self::KidLength => "kid_length", "the key id is empty or too long";
    Self::UnknownKey => "unknown_key", "signed with a key that this gateway does not have";
    Self::KidRequired => "kid_required", "the key id is missing";
    Self::BadSignature => "bad_signature", "the signature does not hold";
    Self::ClaimsEncoding => "claims_encoding", "the claims are not canonical base64url";
    Self::ClaimsTooLong => "claims_too_long", "the claims are too long";
    Self::ClaimMissing { .. } => "claim_missing", "a required claim is missing";
    Self::ClaimType { .. } => "claim_type", "a claim of the wrong type";
    Self::ClaimLength { .. } => "claim_length", "a claim is empty or too long";
    Self::ClaimCharacters { .. } => "claim_characters", "a control character in an identifier";
    Self::UnsupportedSchema { .. } => "unsupported_schema", "a message schema that this gateway does not know";
    Self::Expired { .. } => "expired", "the message has expired";
    Self::NotYetValid { .. } => "not_yet_valid", "the message is not valid yet";
    Self::IssuedInFuture { .. } => "issued_in_future", "the message was signed in the future";
    Self::LifetimeEmpty => "lifetime_empty", "the message ends before it begins";
    Self::LifetimeTooLong { .. } => "lifetime_too_long", "the message lives too long";
    Self::WrongIssuer => "wrong_issuer", "not from the issuer of this gateway";
    Self::WrongAudience => "wrong_audience", "not for this gateway";
    Self::JtiConflict => "jti_conflict", "another content under a known message id";
    Self::ReplayFull => "replay_full", "the memory of live messages is full";
    Self::InProgress => "in_progress", "the same message is being kept at this moment";
    Self::ClockSteppedBack { .. } => "clock_stepped_back", "the gateway's clock was set back";
    Self::ClockNotSet => "clock_not_set", "the gateway's clock is not set";
    Self::JournalFull => "journal_full", "the gateway's journal is full";
    Self::JournalUnavailable => "journal_unavailable", "the gateway's journal cannot be written";
    Self::RequestTimeout => "request_timeout", "the request was not complete in time";
    Self::TooManyConnections => "too_many_connections", "too many connections";
    Self::HeadMalformed => "head_malformed", "not an HTTP/1.1 request";
    Self::HeadTooLarge => "head_too_large", "the request's head is too large";
    Self::TooManyHeaders => "too_many_headers", "too many header fields";
    Self::HttpVersion => "http_version", "only HTTP/1.0 and HTTP/1.1 are spoken";
    Self::TargetForm => "target_form", "the request target is not a path";
    Self::ContentLength => "content_length", "not one plain Content-Length";
    Self::HostHeader => "host_header", "not exactly one Host";
    Self::UnknownExpectation => "unknown_expectation", "only 100-continue can be expected";
    Self::HostNotAllowed => "host_not_allowed", "not a name of this gateway";
    Self::OriginNotAllowed => "origin_not_allowed", "not an origin that this gateway answers";
    Self::NotFound => "not_found", "no such path";
    Self::MethodNotAllowed => "method_not_allowed", "the path does not have this method";
    Self::MethodUnknown => "method_unknown", "an unknown method";
    Self::LengthRequired => "length_required", "a body needs a Content-Length";
    Self::BodyMissing => "body_missing", "the body is missing";
    Self::BodyTooLarge { .. } => "body_too_large", "the body is too large";
    Self::ContentType => "content_type", "neither application/json nor application/jose";
    Self::MessageMissing => "message_missing", "the body has no message";
    Self::MessageType => "message_type", "the message is not a string";
    Self::Internal => "internal", "the gateway failed";
}

impl Reject {
    /// Where in the path it arose.
    #[must_use]
    pub const fn stage(&self) -> Stage {
        match self {
            Self::TokenEmpty | Self::TokenTooLong { .. } => Stage::Size,
            Self::TokenSegments => Stage::Split,
            Self::HeaderEncoding
            | Self::HeaderTooLong
            | Self::HeaderType { .. }
            | Self::UnsupportedAlg
            | Self::UnsupportedCrit
            | Self::UnsupportedTyp
            | Self::KidLength => Stage::Header,
            Self::Json { part, .. } => match part {
                Part::Header => Stage::Header,
                Part::Claims => Stage::Claims,
                Part::Body => Stage::Body,
                Part::Key => Stage::Key,
            },
            Self::UnknownKey | Self::KidRequired => Stage::Key,
            Self::SignatureEncoding | Self::SignatureLength | Self::BadSignature => {
                Stage::Signature
            }
            Self::ClaimsEncoding
            | Self::ClaimsTooLong
            | Self::ClaimMissing { .. }
            | Self::ClaimType { .. }
            | Self::ClaimLength { .. }
            | Self::ClaimCharacters { .. }
            | Self::UnsupportedSchema { .. } => Stage::Claims,
            Self::Expired { .. }
            | Self::NotYetValid { .. }
            | Self::IssuedInFuture { .. }
            | Self::LifetimeEmpty
            | Self::LifetimeTooLong { .. } => Stage::Time,
            Self::WrongIssuer | Self::WrongAudience => Stage::Audience,
            Self::JtiConflict | Self::ReplayFull | Self::InProgress => Stage::Replay,
            Self::ClockSteppedBack { .. } | Self::ClockNotSet => Stage::Clock,
            Self::JournalFull | Self::JournalUnavailable => Stage::Journal,
            Self::RequestTimeout | Self::TooManyConnections => Stage::Connection,
            Self::HeadMalformed
            | Self::HeadTooLarge
            | Self::TooManyHeaders
            | Self::HttpVersion
            | Self::TargetForm
            | Self::ContentLength
            | Self::HostHeader
            | Self::UnknownExpectation => Stage::Head,
            Self::HostNotAllowed | Self::OriginNotAllowed => Stage::Access,
            Self::NotFound | Self::MethodNotAllowed | Self::MethodUnknown => Stage::Route,
            Self::LengthRequired
            | Self::BodyMissing
            | Self::BodyTooLarge { .. }
            | Self::ContentType
            | Self::MessageMissing
            | Self::MessageType => Stage::Body,
            Self::Internal => Stage::Internal,
        }
    }

    /// The HTTP status of an answer that carries it. 503 means: unknown or not now, ask
    /// again with the same token; every other is final for that request.
    #[must_use]
    pub const fn status(&self) -> u16 {
        match self {
            Self::TokenEmpty
            | Self::TokenSegments
            | Self::HeaderEncoding
            | Self::HeaderTooLong
            | Self::SignatureEncoding
            | Self::SignatureLength
            | Self::Json { .. }
            | Self::HeaderType { .. }
            | Self::UnsupportedCrit
            | Self::UnsupportedTyp
            | Self::KidLength
            | Self::ClaimsEncoding
            | Self::ClaimsTooLong
            | Self::ClaimMissing { .. }
            | Self::ClaimType { .. }
            | Self::ClaimLength { .. }
            | Self::ClaimCharacters { .. }
            | Self::LifetimeEmpty
            | Self::HeadMalformed
            | Self::HttpVersion
            | Self::TargetForm
            | Self::ContentLength
            | Self::HostHeader
            | Self::BodyMissing
            | Self::MessageMissing
            | Self::MessageType => 400,
            Self::UnsupportedAlg | Self::UnknownKey | Self::KidRequired | Self::BadSignature => 401,
            Self::UnsupportedSchema { .. }
            | Self::Expired { .. }
            | Self::NotYetValid { .. }
            | Self::IssuedInFuture { .. }
            | Self::LifetimeTooLong { .. }
            | Self::WrongIssuer
            | Self::WrongAudience
            | Self::OriginNotAllowed => 403,
            Self::NotFound => 404,
            Self::MethodNotAllowed => 405,
            Self::RequestTimeout => 408,
            Self::JtiConflict => 409,
            Self::LengthRequired => 411,
            Self::TokenTooLong { .. } | Self::BodyTooLarge { .. } => 413,
            Self::ContentType => 415,
            Self::UnknownExpectation => 417,
            Self::HostNotAllowed => 421,
            Self::TooManyConnections => 429,
            Self::HeadTooLarge | Self::TooManyHeaders => 431,
            Self::Internal => 500,
            Self::MethodUnknown => 501,
            Self::ReplayFull
            | Self::InProgress
            | Self::ClockSteppedBack { .. }
            | Self::ClockNotSet
            | Self::JournalFull
            | Self::JournalUnavailable => 503,
        }
    }

    /// Seconds after which asking again makes sense, for `Retry-After`; `None` where the
    /// same request will meet the same refusal.
    #[must_use]
    pub const fn retry_after_secs(&self) -> Option<u32> {
        match self.status() {
            408 | 429 => Some(1),
            503 => Some(match self {
                Self::InProgress => 1,
                _ => 30,
            }),
            _ => None,
        }
    }
}

impl fmt::Display for Reject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TokenTooLong { len } => {
                write!(f, "token of {len} bytes, longest is {}", limits::MAX_TOKEN)
            }
            Self::Json { at, .. } => write!(f, "{} at byte {at}", self.title()),
            Self::HeaderType { member } => write!(f, "header member {member} is of the wrong type"),
            Self::ClaimMissing { claim } => write!(f, "claim {claim} is missing"),
            Self::ClaimType { claim } => write!(f, "claim {claim} is of the wrong type"),
            Self::ClaimLength { claim, len } => write!(f, "claim {claim} is {len} bytes long"),
            Self::ClaimCharacters { claim } => write!(f, "control character in claim {claim}"),
            Self::UnsupportedSchema { version } => {
                write!(f, "schema_version {version} is not known")
            }
            Self::Expired { exp, now } => write!(f, "expired at {exp}, it is {now}"),
            Self::NotYetValid { nbf, now } => write!(f, "not valid before {nbf}, it is {now}"),
            Self::IssuedInFuture { iat, now } => write!(f, "issued at {iat}, it is {now}"),
            Self::LifetimeTooLong { secs, max_secs } => {
                write!(f, "lifetime of {secs} s, longest is {max_secs} s")
            }
            Self::ClockSteppedBack { exp, floor } => {
                write!(
                    f,
                    "expires at {exp}, messages up to {floor} were already forgotten"
                )
            }
            Self::BodyTooLarge { len } => {
                write!(f, "body of {len} bytes, longest is {}", limits::MAX_BODY)
            }
            _ => f.write_str(self.title()),
        }
    }
}

impl core::error::Error for Reject {}

#[cfg(test)]
mod tests {
    use super::Reject;

    #[test]
    fn no_code_is_used_twice_and_each_is_a_label() {
        for (i, code) in Reject::CODES.iter().enumerate() {
            assert!(!Reject::CODES[..i].contains(code), "{code} stands twice");
            assert!(
                code.bytes()
                    .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_'),
                "{code}"
            );
        }
    }
}
