//! Gateways as places to sign in at and to make bypass tokens for: those of an
//! organisation's sites, the sign-ins and the tokens given out for each.

use gateway_min::UnixTime;
use sqlx::{Row as _, any::AnyRow};

use super::{Db, DbResult, column};
use crate::ids::{OrganisationId, UserId};

/// A gateway, with its site and whose it is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Gateway {
    pub(crate) id: String,
    pub(crate) site_name: String,
    pub(crate) organisation: OrganisationId,
    pub(crate) address: String,
    /// Where it takes session tokens, if it does.
    pub(crate) callback: Option<String>,
    pub(crate) is_active: bool,
}

/// A session token that was given out.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct GatewaySignIn<'a> {
    pub(crate) jti: &'a str,
    pub(crate) gateway: &'a str,
    pub(crate) user: UserId,
    pub(crate) session: &'a str,
    pub(crate) at: UnixTime,
    pub(crate) session_ends: UnixTime,
}

/// A bypass token that was given out, without the token.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct BypassToken {
    pub(crate) id: String,
    pub(crate) subject: String,
    pub(crate) purpose: String,
    pub(crate) issued: UnixTime,
    pub(crate) issued_by: String,
    pub(crate) expires: UnixTime,
}

/// A bypass token to be noted.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct NewBypassToken<'a> {
    pub(crate) id: &'a str,
    pub(crate) gateway: &'a str,
    pub(crate) subject: &'a str,
    pub(crate) purpose: &'a str,
    pub(crate) issued: UnixTime,
    pub(crate) issued_by: UserId,
    pub(crate) expires: UnixTime,
}

const GATEWAY: &str = "SELECT g.id AS gateway_id, g.address, g.callback, g.state, \
     s.name AS site_name, s.organisation_id \
     FROM gateways g JOIN sites s ON s.id = g.site_id ";

fn gateway(row: &AnyRow) -> DbResult<Gateway> {
    Ok(Gateway {
        id: row.try_get("gateway_id")?,
        site_name: row.try_get("site_name")?,
        organisation: column(row, "organisation_id", |text| {
            OrganisationId::parse(text).ok()
        })?,
        address: row.try_get("address")?,
        callback: row.try_get("callback")?,
        is_active: column(row, "state", |text| match text {
            "active" => Some(true),
            "off" => Some(false),
            _ => None,
        })?,
    })
}

impl Db {
    /// The gateway of that id.
    pub(crate) async fn gateway(&self, id: &str) -> DbResult<Option<Gateway>> {
        let row = sqlx::query(sqlx::AssertSqlSafe(format!("{GATEWAY} WHERE g.id = $1")))
            .bind(id)
            .fetch_optional(&self.pool)
            .await?;
        row.as_ref().map(gateway).transpose()
    }

    /// The gateways of an organisation's sites, by site.
    pub(crate) async fn gateways(&self, organisation: OrganisationId) -> DbResult<Vec<Gateway>> {
        let sql = format!("{GATEWAY} WHERE s.organisation_id = $1 ORDER BY s.name, g.id");
        let rows = sqlx::query(sqlx::AssertSqlSafe(sql))
            .bind(organisation.to_string())
            .fetch_all(&self.pool)
            .await?;
        rows.iter().map(gateway).collect()
    }

    /// Notes that somebody was given a session token for a gateway.
    pub(crate) async fn note_gateway_sign_in(&self, new: &GatewaySignIn<'_>) -> DbResult<()> {
        sqlx::query(
            "INSERT INTO gateway_sign_ins (jti, gateway_id, user_id, session_public_id, \
             signed_in_at, session_ends_at) VALUES ($1, $2, $3, $4, $5, $6)",
        )
        .bind(new.jti)
        .bind(new.gateway)
        .bind(new.user.to_string())
        .bind(new.session)
        .bind(new.at.as_secs())
        .bind(new.session_ends.as_secs())
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// Notes a bypass token before it is shown.
    pub(crate) async fn note_bypass_token(&self, new: &NewBypassToken<'_>) -> DbResult<()> {
        sqlx::query(
            "INSERT INTO bypass_tokens (id, gateway_id, subject, purpose, issued_at, issued_by, \
             expires_at) VALUES ($1, $2, $3, $4, $5, $6, $7)",
        )
        .bind(new.id)
        .bind(new.gateway)
        .bind(new.subject)
        .bind(new.purpose)
        .bind(new.issued.as_secs())
        .bind(new.issued_by.to_string())
        .bind(new.expires.as_secs())
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// The latest `most` bypass tokens of a gateway, the one that ends last first.
    pub(crate) async fn bypass_tokens(
        &self,
        gateway: &str,
        most: i64,
    ) -> DbResult<Vec<BypassToken>> {
        let rows = sqlx::query(
            "SELECT b.id, b.subject, b.purpose, b.issued_at, b.expires_at, u.name AS user_name \
             FROM bypass_tokens b JOIN users u ON u.id = b.issued_by \
             WHERE b.gateway_id = $1 ORDER BY b.expires_at DESC, b.issued_at DESC, b.id LIMIT $2",
        )
        .bind(gateway)
        .bind(most)
        .fetch_all(&self.pool)
        .await?;
        let token = |row: &AnyRow| {
            Ok(BypassToken {
                id: row.try_get("id")?,
                subject: row.try_get("subject")?,
                purpose: row.try_get("purpose")?,
                issued: UnixTime::from_secs(row.try_get("issued_at")?),
                issued_by: row.try_get("user_name")?,
                expires: UnixTime::from_secs(row.try_get("expires_at")?),
            })
        };
        rows.iter().map(token).collect()
    }
}
