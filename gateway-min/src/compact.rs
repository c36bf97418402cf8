//! The compact serialisation (RFC 7515 section 7.1), cut into its parts and nothing more:
//! a [`Compact`] is an allegation.

use crate::{error::Reject, limits::MAX_TOKEN};

/// A token cut at its two dots. Nothing in it has been decoded or believed.
#[derive(Clone, Copy)]
pub(crate) struct Compact<'a> {
    pub(crate) header: &'a [u8],
    pub(crate) claims: &'a [u8],
    pub(crate) signature: &'a [u8],
    /// Header, dot and claims: the bytes that are signed (RFC 7515 section 5.1).
    pub(crate) signed: &'a [u8],
}

impl<'a> Compact<'a> {
    /// Cuts `token`.
    ///
    /// # Errors
    ///
    /// [`Reject::TokenEmpty`], [`Reject::TokenTooLong`], or [`Reject::TokenSegments`]
    /// where there are not exactly two dots.
    pub(crate) fn split(token: &'a [u8]) -> Result<Self, Reject> {
        if token.is_empty() {
            return Err(Reject::TokenEmpty);
        }
        if token.len() > MAX_TOKEN {
            return Err(Reject::TokenTooLong { len: token.len() });
        }
        let mut parts = token.split(|&byte| byte == b'.');
        let (Some(header), Some(claims), Some(signature), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(Reject::TokenSegments);
        };
        let signed_len = header.len().saturating_add(claims.len()).saturating_add(1);
        let signed = token.get(..signed_len).ok_or(Reject::TokenSegments)?;
        Ok(Self {
            header,
            claims,
            signature,
            signed,
        })
    }
}
