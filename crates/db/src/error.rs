//! Why a database could not be used, told without the values that statements carry.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use diesel::result::{DatabaseErrorInformation, DatabaseErrorKind};
use tonic::Status;

use crate::url::UrlError;

/// Why a database could not be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The URL is wrong.
    #[error(transparent)]
    Url(#[from] UrlError),
    /// The configured size is 0.
    #[error("a pool of 0 connections is of no use: set `size` to 1 or more")]
    Size,
    /// The pool could not be built.
    #[error("build the connection pool")]
    Build(#[from] deadpool::managed::BuildError),
    /// A certificate or a key cannot be used.
    #[error("read the certificates in {path}")]
    Tls {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// All connections were in use for as long as a caller waits.
    #[error("no database connection could be had within {0:?}")]
    Busy(Duration),
    /// No connection could be made.
    #[error("connect to the database")]
    Connect(#[source] ConnectError),
    /// Another writer held what the statement needs: the same call may succeed later.
    #[error("the database is locked")]
    Locked(#[source] QueryError),
    /// The connection broke while the statement ran.
    #[error("lost the connection to the database")]
    Lost(#[source] QueryError),
    /// A statement failed.
    #[error("run a statement")]
    Query(#[source] QueryError),
    /// A migration failed.
    #[error("migrate the database")]
    Migrate(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl Error {
    /// Whether a row with the same unique key exists.
    pub fn is_unique_violation(&self) -> bool {
        self.query().is_some_and(|query| query.kind == Kind::UniqueViolation)
    }

    /// The constraint that a statement violated; SQLite names the columns in its place: `users.mobile`.
    pub fn constraint(&self) -> Option<&str> {
        self.query()?.constraint.as_deref()
    }

    fn query(&self) -> Option<&QueryError> {
        match self {
            Self::Query(error) | Self::Locked(error) | Self::Lost(error) => Some(error),
            Self::Url(_)
            | Self::Size
            | Self::Build(_)
            | Self::Tls { .. }
            | Self::Busy(_)
            | Self::Connect(_)
            | Self::Migrate(_) => None,
        }
    }
}

impl From<diesel::result::Error> for Error {
    fn from(error: diesel::result::Error) -> Self {
        let error = QueryError::new(&error);
        match error.kind {
            Kind::Locked | Kind::SerializationFailure | Kind::Deadlock => Self::Locked(error),
            Kind::Lost => Self::Lost(error),
            _ => Self::Query(error),
        }
    }
}

impl From<Error> for Status {
    fn from(error: Error) -> Self {
        match &error {
            Error::Busy(_) | Error::Connect(_) | Error::Locked(_) | Error::Lost(_) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "database unavailable");
                Self::unavailable("the database is busy or unreachable, try again")
            }
            Error::Url(_) | Error::Size | Error::Build(_) | Error::Tls { .. } | Error::Query(_) | Error::Migrate(_) => {
                tracing::error!(error = &error as &dyn std::error::Error, "database");
                Self::internal("internal error")
            }
        }
    }
}

/// Why a connection could not be made: the driver's own words.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The server is not there, refuses us or speaks no TLS.
    #[error(transparent)]
    Postgres(#[from] tokio_postgres::Error),
    /// The file cannot be made or opened.
    #[error("open {path}: {reason}")]
    Sqlite {
        /// The file.
        path: PathBuf,
        /// What SQLite or the operating system says.
        reason: String,
    },
    /// The first statements failed.
    #[error("prepare the connection")]
    Prepare(#[source] QueryError),
}

/// A failed statement: of what the database said only what holds no value.
#[derive(Debug)]
pub struct QueryError {
    kind: Kind,
    constraint: Option<String>,
    /// The message of an error whose kind is unknown, without what it quotes.
    message: Option<String>,
}

/// What kind of failure it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kind {
    /// A row with the same unique key exists.
    UniqueViolation,
    /// A row that is referred to does not exist, or one that is removed is referred to.
    ForeignKeyViolation,
    /// A column must have a value.
    NotNullViolation,
    /// A row breaks one of its table's rules.
    CheckViolation,
    /// A removed row is referred to.
    RestrictViolation,
    /// A row conflicts with another.
    ExclusionViolation,
    /// Concurrent transactions cannot be put in an order.
    SerializationFailure,
    /// Transactions wait for each other.
    Deadlock,
    /// The transaction may not write.
    ReadOnly,
    /// Another writer holds the lock.
    Locked,
    /// The connection, or the file, is gone.
    Lost,
    /// No row was found where one was needed.
    NotFound,
    /// A row does not have the form that the code expects.
    Deserialization,
    /// A query or one of its values cannot be written as SQL.
    Serialization,
    /// Everything else.
    Other,
}

impl Kind {
    /// The kind as `error.type` has it.
    pub fn name(self) -> &'static str {
        match self {
            Self::UniqueViolation => "unique_violation",
            Self::ForeignKeyViolation => "foreign_key_violation",
            Self::NotNullViolation => "not_null_violation",
            Self::CheckViolation => "check_violation",
            Self::RestrictViolation => "restrict_violation",
            Self::ExclusionViolation => "exclusion_violation",
            Self::SerializationFailure => "serialization_failure",
            Self::Deadlock => "deadlock_detected",
            Self::ReadOnly => "read_only",
            Self::Locked => "locked",
            Self::Lost => "connection_lost",
            Self::NotFound => "not_found",
            Self::Deserialization => "deserialization",
            Self::Serialization => "serialization",
            Self::Other => "other",
        }
    }

    /// The SQLSTATE, for the kinds of which diesel keeps it.
    pub fn sqlstate(self) -> Option<&'static str> {
        match self {
            Self::UniqueViolation => Some("23505"),
            Self::ForeignKeyViolation => Some("23503"),
            Self::NotNullViolation => Some("23502"),
            Self::CheckViolation => Some("23514"),
            Self::RestrictViolation => Some("23001"),
            Self::ExclusionViolation => Some("23P01"),
            Self::SerializationFailure => Some("40001"),
            Self::Deadlock => Some("40P01"),
            Self::ReadOnly => Some("25006"),
            Self::Locked | Self::Lost | Self::NotFound | Self::Deserialization | Self::Serialization | Self::Other => {
                None
            }
        }
    }
}

impl QueryError {
    pub(crate) fn new(error: &diesel::result::Error) -> Self {
        use diesel::result::Error as Diesel;
        let (kind, database) = match error {
            Diesel::DatabaseError(kind, database) => (classify(kind, database.message()), Some(database)),
            Diesel::RollbackErrorOnCommit { commit_error, .. } => return Self::new(commit_error),
            Diesel::NotFound => (Kind::NotFound, None),
            Diesel::DeserializationError(_) => (Kind::Deserialization, None),
            Diesel::SerializationError(_) | Diesel::QueryBuilderError(_) | Diesel::InvalidCString(_) => {
                (Kind::Serialization, None)
            }
            Diesel::BrokenTransactionManager => (Kind::Lost, None),
            _ => (Kind::Other, None),
        };
        let constraint = database.and_then(|database| constraint(database.as_ref()));
        let message = (kind == Kind::Other).then(|| match database {
            Some(database) => without_quotes(database.message()),
            None => error.to_string(),
        });
        Self { kind, constraint, message }
    }

    /// What kind of failure it was.
    pub fn kind(&self) -> Kind {
        self.kind
    }
}

impl fmt::Display for QueryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind.name())?;
        if let Some(constraint) = &self.constraint {
            write!(f, " of {constraint}")?;
        }
        if let Some(code) = self.kind.sqlstate() {
            write!(f, " (SQLSTATE {code})")?;
        }
        if let Some(message) = &self.message {
            write!(f, ": {message}")?;
        }
        Ok(())
    }
}

impl std::error::Error for QueryError {}

/// What SQLite says when a writer waited in vain.
pub(crate) const SQLITE_LOCKED: &str = "database is locked";

/// Diesel keeps neither SQLSTATE nor SQLite's codes, so the rest is told by its fixed texts.
fn classify(kind: &DatabaseErrorKind, message: &str) -> Kind {
    match kind {
        DatabaseErrorKind::UniqueViolation => Kind::UniqueViolation,
        DatabaseErrorKind::ForeignKeyViolation => Kind::ForeignKeyViolation,
        DatabaseErrorKind::NotNullViolation => Kind::NotNullViolation,
        DatabaseErrorKind::CheckViolation => Kind::CheckViolation,
        DatabaseErrorKind::RestrictViolation => Kind::RestrictViolation,
        DatabaseErrorKind::ExclusionViolation => Kind::ExclusionViolation,
        DatabaseErrorKind::SerializationFailure => Kind::SerializationFailure,
        DatabaseErrorKind::ReadOnlyTransaction => Kind::ReadOnly,
        DatabaseErrorKind::ClosedConnection | DatabaseErrorKind::UnableToSendCommand => Kind::Lost,
        _ => match message {
            SQLITE_LOCKED | "database table is locked" | "canceling statement due to lock timeout" => Kind::Locked,
            "deadlock detected" => Kind::Deadlock,
            "unable to open database file"
            | "disk I/O error"
            | "database or disk is full"
            | "attempt to write a readonly database" => Kind::Lost,
            _ if message.starts_with("terminating connection") || message.starts_with("the database system is") => {
                Kind::Lost
            }
            _ => Kind::Other,
        },
    }
}

fn constraint(database: &(dyn DatabaseErrorInformation + Send + Sync)) -> Option<String> {
    if let Some(name) = database.constraint_name() {
        return Some(name.to_owned());
    }
    database.message().split_once(" constraint failed: ").map(|(_, columns)| columns.to_owned())
}

/// A message's frame: values stand in quotes, and a value may hold quotes itself.
fn without_quotes(message: &str) -> String {
    match (message.find('"'), message.rfind('"')) {
        (Some(first), Some(last)) if message.is_ascii() => {
            format!("{}\"..\"{}", &message[..first], &message[last + 1..])
        }
        _ if message.is_ascii() => message.to_owned(),
        _ => "not in English".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use diesel::result::Error as Diesel;

    use super::*;

    fn unknown(message: &str) -> Error {
        Diesel::DatabaseError(DatabaseErrorKind::Unknown, Box::new(message.to_owned())).into()
    }

    #[test]
    fn only_the_frame_of_a_message_is_kept() {
        assert_eq!(without_quotes("division by zero"), "division by zero");
        assert_eq!(without_quotes(r#"relation "users" does not exist"#), r#"relation ".." does not exist"#);
        assert_eq!(without_quotes(r#"invalid input syntax: "a" secret "b""#), r#"invalid input syntax: "..""#);
        assert_eq!(without_quotes("Syntaxfehler: »secret«"), "not in English");
    }

    #[test]
    fn what_passes_by_itself_is_told_from_what_does_not() {
        for message in [SQLITE_LOCKED, "deadlock detected"] {
            assert!(matches!(unknown(message), Error::Locked(_)), "{message}");
        }
        for message in [
            "terminating connection due to administrator command",
            "the database system is shutting down",
            "disk I/O error",
        ] {
            assert!(matches!(unknown(message), Error::Lost(_)), "{message}");
        }
        assert!(matches!(unknown("no such table: users"), Error::Query(_)));
        assert!(matches!(Error::from(Diesel::BrokenTransactionManager), Error::Lost(_)));
    }

    #[test]
    fn the_commit_is_what_failed_when_its_rollback_failed_too() {
        let message = |text: &str| Box::new(text.to_owned());
        let error = Diesel::RollbackErrorOnCommit {
            rollback_error: Box::new(Diesel::NotInTransaction),
            commit_error: Box::new(Diesel::DatabaseError(DatabaseErrorKind::UniqueViolation, message("x"))),
        };
        assert!(Error::from(error).is_unique_violation());
    }
}
