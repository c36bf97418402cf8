//! The secrets of bypass tokens: a folder with one file a gateway, named as the gateway's
//! id, that holds what the gateway has in `JWT_AUTH_SECRET`. Read once, at start. Refuses a
//! secret that is shorter than gateways take, and a file that others can read.

use std::{collections::BTreeMap, fmt, path::Path};

use gateway_min::limits::MIN_SECRET;

use super::{ConfigError, files, wrong};
use crate::token::bypass::BypassKey;

const SETTING: &str = "MANAGE_BYPASS_SECRETS";

/// Each gateway's secret, by the gateway's id.
#[derive(Clone, Default)]
pub struct BypassSecrets(BTreeMap<String, BypassKey>);

impl BypassSecrets {
    pub(super) fn read(folder: Option<&Path>) -> Result<Self, ConfigError> {
        let Some(folder) = folder else {
            return Ok(Self::default());
        };
        let fault = |problem: &dyn fmt::Display| {
            wrong(SETTING, format!("({}): {problem}", folder.display()))
        };
        let mut secrets = BTreeMap::new();
        for entry in folder.read_dir().map_err(|error| fault(&error))? {
            let path = entry.map_err(|error| fault(&error))?.path();
            // Kubernetes and systemd keep their own things beside the files, dotted.
            let name = path.file_name().and_then(|name| name.to_str());
            let name = name.ok_or_else(|| fault(&"holds a name that is not UTF-8"))?;
            if name.starts_with('.') {
                continue;
            }
            let text = files::without_line_end(&files::read_private(SETTING, &path)?);
            if text.len() < MIN_SECRET {
                return Err(wrong(
                    SETTING,
                    format!(
                        "({}): a secret of {} bytes, at least {MIN_SECRET} are needed",
                        path.display(),
                        text.len()
                    ),
                ));
            }
            secrets.insert(name.to_owned(), BypassKey::new(text.as_bytes()));
        }
        Ok(Self(secrets))
    }

    /// The gateway's secret, where there is one.
    pub(crate) fn of(&self, gateway: &str) -> Option<&BypassKey> {
        self.0.get(gateway)
    }
}

impl fmt::Debug for BypassSecrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BypassSecrets({:?})", self.0.keys())
    }
}
