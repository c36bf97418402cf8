//! The database: opening it, bringing it to the present data model, and, in one module a
//! table below, every SQL statement there is. No Rocket types here. The same SQL runs on
//! SQLite and PostgreSQL, through sqlx's `Any`.
//!
//! Refuses a database of a newer version (its migrations are not known here), and any
//! stored value that is not of its column's form: [`DbError::Stored`] names the column.

use std::{fmt, fs::OpenOptions, io, time::Duration};

use sqlx::SqlSafeStr as _;
use sqlx::{
    AnyPool, ConnectOptions as _, Connection as _, Executor as _, Row as _, Transaction,
    any::{Any, AnyConnectOptions, AnyPoolOptions, AnyRow},
    migrate::{MigrateError, Migration, MigrationType, Migrator},
};

pub(crate) mod appointments;
pub(crate) mod clinics;
pub(crate) mod demonstration;
pub(crate) mod gateways;
pub(crate) mod messages;
pub(crate) mod outcomes;
pub(crate) mod sessions;
pub(crate) mod users;

const DATA_MODEL: &str = include_str!("../migrations/0001_data_model.sql");
const SQLITE_APPEND_ONLY: &str = include_str!("../migrations/sqlite/0002_append_only.sql");
const POSTGRES_APPEND_ONLY: &str = include_str!("../migrations/postgres/0002_append_only.sql");
const SIGN_IN: &str = include_str!("../migrations/0003_sign_in.sql");
const SQLITE_APPEND_ONLY_TOO: &str = include_str!("../migrations/sqlite/0004_append_only.sql");
const POSTGRES_APPEND_ONLY_TOO: &str = include_str!("../migrations/postgres/0004_append_only.sql");

/// Connections at once. SQLite writes one at a time whatever this is.
const CONNECTIONS: u32 = 8;

/// How often the data model is tried to be brought up to date. Each failure for another
/// program's sake means that it got a migration further.
const MIGRATION_TRIES: u32 = 8;

/// For every SQLite connection: readers do not wait for the writer, an answered request is
/// on disk, references hold, and no `REPLACE` slips past the append-only triggers.
const SQLITE_PRAGMAS: &str = "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; \
     PRAGMA foreign_keys = ON; PRAGMA busy_timeout = 5000; PRAGMA recursive_triggers = ON;";

/// Where the database is, as `MANAGE_DATABASE` says it.
#[derive(Clone, PartialEq, Eq)]
pub enum DatabaseUrl {
    /// A SQLite file, made on first use.
    Sqlite(String),
    /// A PostgreSQL database, which must exist.
    Postgres(String),
}

impl DatabaseUrl {
    /// Reads `sqlite:<path>` or `postgres://…`.
    ///
    /// # Errors
    /// What is wrong, in words without the text itself, which may hold a password.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        if let Some(path) = text.strip_prefix("sqlite:") {
            let path = path.strip_prefix("//").unwrap_or(path);
            // `sqlite:////var/lib/manage.db`, as other libraries write an absolute path.
            let path = match path.trim_start_matches('/') {
                rest if path.starts_with("//") => format!("/{rest}"),
                _ => path.to_owned(),
            };
            return match path.as_str() {
                "" => Err("names no file"),
                ":memory:" => Err("must be a file: each connection would have its own memory"),
                _ => Ok(Self::Sqlite(path)),
            };
        }
        if text.starts_with("postgres:") || text.starts_with("postgresql:") {
            if cfg!(feature = "postgres") {
                return Ok(Self::Postgres(text.to_owned()));
            }
            return Err("needs a build with `--features postgres`");
        }
        Err("is neither `sqlite:<path>` nor `postgres://…`")
    }
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(path) => write!(f, "sqlite:{path}"),
            Self::Postgres(_) => f.write_str("postgres:***"),
        }
    }
}

/// What went wrong at the database. `Display` names tables, columns and causes, never a
/// stored value.
#[derive(Debug)]
pub(crate) enum DbError {
    /// The file cannot be opened.
    File(io::Error),
    /// The database's own words.
    Sql(sqlx::Error),
    /// The data model cannot be brought up to date.
    Migration(MigrateError),
    /// A stored value is not of its column's form.
    Stored {
        /// The column.
        column: &'static str,
    },
}

impl fmt::Display for DbError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(error) => write!(f, "the database file: {error}"),
            Self::Sql(error) => write!(f, "the database: {error}"),
            Self::Migration(error) => write!(f, "the database's data model: {error}"),
            Self::Stored { column } => write!(f, "column {column} holds what it never should"),
        }
    }
}

impl std::error::Error for DbError {}

impl From<sqlx::Error> for DbError {
    fn from(error: sqlx::Error) -> Self {
        Self::Sql(error)
    }
}

/// Answers of the database.
pub(crate) type DbResult<T> = Result<T, DbError>;

/// An open database. Clones share its connections.
#[derive(Clone, Debug)]
pub(crate) struct Db {
    pool: AnyPool,
}

impl Db {
    /// Opens the database, making a SQLite file that only its owner can read where there
    /// is none, and brings its data model up to date.
    pub(crate) async fn open(url: &DatabaseUrl) -> DbResult<Self> {
        sqlx::any::install_default_drivers();
        let (address, triggers) = match url {
            DatabaseUrl::Sqlite(path) => {
                create_private(path).map_err(DbError::File)?;
                (
                    sqlite_address(path),
                    [SQLITE_APPEND_ONLY, SQLITE_APPEND_ONLY_TOO],
                )
            }
            DatabaseUrl::Postgres(url) => (
                url.clone(),
                [POSTGRES_APPEND_ONLY, POSTGRES_APPEND_ONLY_TOO],
            ),
        };
        let options = address
            .parse::<AnyConnectOptions>()?
            .disable_statement_logging();
        let is_sqlite = matches!(url, DatabaseUrl::Sqlite(_));
        if is_sqlite {
            try_sqlite(&options).await?;
        }
        let pool = AnyPoolOptions::new()
            .max_connections(CONNECTIONS)
            .acquire_timeout(Duration::from_secs(5))
            .after_connect(move |connection, _| {
                Box::pin(async move {
                    if is_sqlite {
                        connection.execute(SQLITE_PRAGMAS).await?;
                    }
                    Ok(())
                })
            })
            .connect_with(options)
            .await?;
        migrate(&migrator(triggers), &pool).await?;
        Ok(Self { pool })
    }

    /// Whether the database answers.
    pub(crate) async fn ping(&self) -> DbResult<()> {
        sqlx::query("SELECT COUNT(*) FROM organisations")
            .fetch_one(&self.pool)
            .await?;
        Ok(())
    }

    /// Begins a transaction. Its first statement must write: a SQLite transaction that
    /// read first cannot wait for another writer.
    pub(crate) async fn begin(&self) -> DbResult<Transaction<'static, Any>> {
        Ok(self.pool.begin().await?)
    }
}

fn migrator([append_only, append_only_too]: [&'static str; 2]) -> Migrator {
    let migration = |version, description: &'static str, sql: &'static str| {
        let kind = MigrationType::Simple;
        Migration::new(version, description.into(), kind, sql.into_sql_str(), false)
    };
    Migrator::with_migrations(vec![
        migration(1, "data model", DATA_MODEL),
        migration(2, "append-only", append_only),
        migration(3, "sign-in", SIGN_IN),
        migration(4, "append-only", append_only_too),
    ])
}

/// Brings the data model up to date. On SQLite nothing keeps two programs from beginning
/// at once: the slower one then finds the tables of the faster one, and looks again.
async fn migrate(migrator: &Migrator, pool: &AnyPool) -> DbResult<()> {
    let mut tries_left = MIGRATION_TRIES;
    loop {
        tries_left -= 1;
        match migrator.run(pool).await {
            Ok(()) => return Ok(()),
            Err(MigrateError::ExecuteMigration(..)) if tries_left > 0 => {}
            Err(error) => return Err(DbError::Migration(error)),
        }
    }
}

/// The path as sqlx's address. What an address would read as something else is escaped.
fn sqlite_address(path: &str) -> String {
    let escaped = path
        .replace('%', "%25")
        .replace('?', "%3F")
        .replace('#', "%23")
        .replace(' ', "%20");
    format!("sqlite:{escaped}")
}

/// Tells at once why a file cannot be used: the pool would ask again until its time is up,
/// and then tell of nothing but the time. One that is busy is left to the pool's patience.
async fn try_sqlite(options: &AnyConnectOptions) -> DbResult<()> {
    const BUSY: i32 = 5;
    let mut connection = options.connect().await?;
    let tried = connection.execute(SQLITE_PRAGMAS).await;
    connection.close().await?;
    let code = |error: &sqlx::Error| error.as_database_error()?.code()?.parse::<i32>().ok();
    match tried {
        // The low byte is the kind, the rest its detail.
        Err(error) if code(&error).is_none_or(|code| code & 0xff != BUSY) => Err(error.into()),
        Err(_) | Ok(_) => Ok(()),
    }
}

/// Makes the file, for its owner alone, where there is none: it will hold names and NHS
/// numbers. SQLite gives its journal files the same mode.
fn create_private(path: &str) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    match options.open(path) {
        Ok(_made) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
    }
}

/// Reads a column that has a form of its own.
fn column<T>(
    row: &AnyRow,
    name: &'static str,
    parse: impl FnOnce(&str) -> Option<T>,
) -> DbResult<T> {
    let text: String = row.try_get(name)?;
    parse(&text).ok_or(DbError::Stored { column: name })
}

/// Reads a column of yes or no, or of neither.
fn yes_or_no(row: &AnyRow, name: &'static str) -> DbResult<Option<bool>> {
    match row.try_get::<Option<i64>, _>(name)? {
        None => Ok(None),
        Some(0) => Ok(Some(false)),
        Some(1) => Ok(Some(true)),
        Some(_) => Err(DbError::Stored { column: name }),
    }
}

#[cfg(test)]
mod tests {
    use super::DatabaseUrl;

    #[test]
    fn addresses_are_read_or_refused_by_reason() {
        let sqlite = |path: &str| Ok(DatabaseUrl::Sqlite(path.to_owned()));
        for (text, expected) in [
            ("sqlite:manage.db", sqlite("manage.db")),
            ("sqlite:/var/lib/manage.db", sqlite("/var/lib/manage.db")),
            ("sqlite:///var/lib/manage.db", sqlite("/var/lib/manage.db")),
            ("sqlite:////var/lib/manage.db", sqlite("/var/lib/manage.db")),
            ("sqlite:", Err("names no file")),
            (
                "sqlite::memory:",
                Err("must be a file: each connection would have its own memory"),
            ),
            (
                "mysql://localhost/x",
                Err("is neither `sqlite:<path>` nor `postgres://…`"),
            ),
            ("", Err("is neither `sqlite:<path>` nor `postgres://…`")),
        ] {
            assert_eq!(DatabaseUrl::parse(text), expected, "{text}");
        }
        let postgres = DatabaseUrl::Postgres("postgres://u:secret@host/db".to_owned());
        assert_eq!(format!("{postgres:?}"), "postgres:***");
    }
}
