//! What every request shares: the database, the clock, the keys, and what the settings
//! said.

use crate::{
    auth::Strategy,
    clock::Clock,
    config::{BypassSecrets, PublicUrl},
    db::Db,
    secret::Secrets,
    token::key::MessageKey,
};

/// Rocket's managed state.
#[derive(Debug)]
pub(crate) struct App {
    pub(crate) db: Db,
    pub(crate) clock: Clock,
    pub(crate) key: MessageKey,
    /// Signs people in at gateways, where it is set.
    pub(crate) session_key: Option<MessageKey>,
    pub(crate) bypass_secrets: BypassSecrets,
    pub(crate) secrets: Secrets,
    pub(crate) public_url: PublicUrl,
    pub(crate) lifetime_secs: u32,
    pub(crate) sign_in: Strategy,
}
