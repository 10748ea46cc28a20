//! Why a database could not be used, told without the values that statements carry.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use diesel::result::{DatabaseErrorInformation, DatabaseErrorKind};
use tonic::Status;

use crate::url::UrlError;

/// Why a database could not be used.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum Error {
    #[error(transparent)]
    Url(#[from] UrlError),
    #[error("build the connection pool")]
    Build(#[from] deadpool::managed::BuildError),
    #[error("read the certificates in {path}")]
    Tls {
        path: PathBuf,
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    #[error("pool.statement_timeout is {0:?}: it must be from 1ms to 24days")]
    StatementTimeout(Duration),
    #[error("no database connection could be had within {0:?}")]
    Busy(Duration),
    #[error("connect to the database")]
    Connect(#[source] ConnectError),
    #[error("the database is locked")]
    Locked(#[source] QueryError),
    #[error("lost the connection to the database")]
    Lost(#[source] QueryError),
    #[error("the database ended a statement that took too long")]
    Late(#[source] QueryError),
    #[error("run a statement")]
    Query(#[source] QueryError),
    #[error("migrate the database")]
    Migrate(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("a stored {field} {rule}")]
    Stored {
        /// The table and the column.
        field: &'static str,
        /// The rule that the value breaks.
        rule: &'static str,
    },
}

impl Error {
    /// Whether a row with the same unique key exists.
    pub fn is_unique_violation(&self) -> bool {
        self.query().is_some_and(|query| query.name() == UNIQUE)
    }

    /// Whether the same may well succeed in a moment: the database is busy, away, or not up yet.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Busy(_) | Self::Connect(_) | Self::Locked(_) | Self::Lost(_) => true,
            Self::Late(_)
            | Self::Url(_)
            | Self::Build(_)
            | Self::StatementTimeout(_)
            | Self::Tls { .. }
            | Self::Query(_)
            | Self::Migrate(_)
            | Self::Stored { .. } => false,
        }
    }

    /// The constraint that a statement violated; SQLite names the columns in its place: `users.mobile`.
    pub fn constraint(&self) -> Option<&str> {
        self.query()?.constraint.as_deref()
    }

    /// Why a stored value cannot be read: it breaks the `rule` of its `field`, the table and the column.
    pub fn stored(field: &'static str) -> impl FnOnce(&'static str) -> Self {
        move |rule| Self::Stored { field, rule }
    }

    fn query(&self) -> Option<&QueryError> {
        match self {
            Self::Query(error) | Self::Locked(error) | Self::Lost(error) | Self::Late(error) => Some(error),
            _ => None,
        }
    }
}

impl From<diesel::result::Error> for Error {
    fn from(error: diesel::result::Error) -> Self {
        let error = QueryError::new(&error);
        match error.kind.2 {
            Fate::Locked => Self::Locked(error),
            Fate::Lost => Self::Lost(error),
            Fate::Late => Self::Late(error),
            Fate::Final => Self::Query(error),
        }
    }
}

impl From<Error> for Status {
    fn from(error: Error) -> Self {
        if error.is_transient() {
            tracing::warn!(error = &error as &dyn std::error::Error, "database unavailable");
            return Self::unavailable("the database is busy or unreachable, try again");
        }
        tracing::error!(error = &error as &dyn std::error::Error, "database");
        if let Error::Late(_) = error {
            return Self::deadline_exceeded("the database took too long");
        }
        Self::internal("internal error")
    }
}

/// Why a connection could not be made: the driver's own words.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum ConnectError {
    #[error(transparent)]
    Postgres(#[from] tokio_postgres::Error),
    #[error("open {path}: {reason}")]
    Sqlite { path: PathBuf, reason: String },
    #[error("prepare the connection")]
    Prepare(#[source] QueryError),
}

/// A failed statement: of what the database said only what holds no value.
#[derive(Debug)]
pub struct QueryError {
    kind: Kind,
    constraint: Option<String>,
    /// The message of an error of no known kind, without what it quotes.
    message: Option<String>,
}

/// A name as `error.type` has it, the SQLSTATE where diesel keeps it, and what follows from it.
type Kind = (&'static str, Option<&'static str>, Fate);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// The same statement fails again.
    Final,
    /// Another writer was in the way.
    Locked,
    /// The connection, or the file, is gone.
    Lost,
    /// The server ended it.
    Late,
}

const UNIQUE: &str = "unique_violation";
pub(crate) const MISSING_TABLE: &str = "undefined_table";
const OTHER: Kind = ("other", None, Fate::Final);

impl QueryError {
    pub(crate) fn new(error: &diesel::result::Error) -> Self {
        use diesel::result::Error as Diesel;
        let (kind, database) = match error {
            Diesel::DatabaseError(kind, database) => (classify(kind, database.message()), Some(database)),
            Diesel::RollbackErrorOnCommit { commit_error, .. } => return Self::new(commit_error),
            Diesel::NotFound => (("not_found", None, Fate::Final), None),
            Diesel::DeserializationError(_) => (("deserialization", None, Fate::Final), None),
            Diesel::SerializationError(_) | Diesel::QueryBuilderError(_) | Diesel::InvalidCString(_) => {
                (("serialization", None, Fate::Final), None)
            }
            Diesel::BrokenTransactionManager => (("connection_lost", None, Fate::Lost), None),
            _ => (OTHER, None),
        };
        let constraint = database.and_then(|database| constraint(database.as_ref()));
        let message = match (kind, database) {
            (OTHER, Some(database)) => Some(without_quotes(database.message())),
            (OTHER, None) => Some(error.to_string()),
            ((MISSING_TABLE, ..), _) => Some("bring the schema up to date with `mall migrate NAME`".to_owned()),
            _ => None,
        };
        Self { kind, constraint, message }
    }

    /// What kind of failure it was, as PostgreSQL names it: `unique_violation`.
    pub fn name(&self) -> &'static str {
        self.kind.0
    }

    /// The standard's code, where diesel keeps it.
    pub fn sqlstate(&self) -> Option<&'static str> {
        self.kind.1
    }

    pub(crate) fn is_lost(&self) -> bool {
        self.kind.2 == Fate::Lost
    }
}

impl fmt::Display for QueryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())?;
        if let Some(constraint) = &self.constraint {
            write!(f, " of {constraint}")?;
        }
        if let Some(code) = self.sqlstate() {
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

/// Diesel keeps neither most SQLSTATEs nor SQLite's codes, so the rest is told by its fixed texts.
fn classify(kind: &DatabaseErrorKind, message: &str) -> Kind {
    match kind {
        DatabaseErrorKind::UniqueViolation => (UNIQUE, Some("23505"), Fate::Final),
        DatabaseErrorKind::ForeignKeyViolation => ("foreign_key_violation", Some("23503"), Fate::Final),
        DatabaseErrorKind::NotNullViolation => ("not_null_violation", Some("23502"), Fate::Final),
        DatabaseErrorKind::CheckViolation => ("check_violation", Some("23514"), Fate::Final),
        DatabaseErrorKind::RestrictViolation => ("restrict_violation", Some("23001"), Fate::Final),
        DatabaseErrorKind::ExclusionViolation => ("exclusion_violation", Some("23P01"), Fate::Final),
        DatabaseErrorKind::SerializationFailure => ("serialization_failure", Some("40001"), Fate::Locked),
        DatabaseErrorKind::ReadOnlyTransaction => ("read_only_sql_transaction", Some("25006"), Fate::Final),
        DatabaseErrorKind::ClosedConnection | DatabaseErrorKind::UnableToSendCommand => {
            ("connection_lost", None, Fate::Lost)
        }
        _ => match message {
            SQLITE_LOCKED | "database table is locked" => ("locked", None, Fate::Locked),
            "canceling statement due to statement timeout" | "canceling statement due to user request" => {
                ("query_canceled", Some("57014"), Fate::Late)
            }
            "deadlock detected" => ("deadlock_detected", Some("40P01"), Fate::Locked),
            "canceling statement due to lock timeout" => ("lock_not_available", Some("55P03"), Fate::Locked),
            "unable to open database file"
            | "disk I/O error"
            | "database or disk is full"
            | "attempt to write a readonly database" => ("file_lost", None, Fate::Lost),
            _ if is_missing_table(message) => (MISSING_TABLE, Some("42P01"), Fate::Final),
            _ if message.starts_with("terminating connection") => ("admin_shutdown", Some("57P01"), Fate::Lost),
            _ if message.starts_with("the database system is") => ("cannot_connect_now", Some("57P03"), Fate::Lost),
            _ => OTHER,
        },
    }
}

/// In a database that was not migrated.
fn is_missing_table(message: &str) -> bool {
    message.starts_with("no such table: ") || message.starts_with("relation ") && message.ends_with(" does not exist")
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
        assert!(matches!(unknown("near \"x\": syntax error"), Error::Query(_)));
        assert!(matches!(Error::from(Diesel::BrokenTransactionManager), Error::Lost(_)));
    }

    #[test]
    fn a_broken_row_is_not_shown() {
        let status = Status::from(Error::stored("user's name")("must be short"));
        assert_eq!((status.code(), status.message()), (tonic::Code::Internal, "internal error"));
    }

    #[test]
    fn a_missing_table_says_what_to_do() {
        for message in ["no such table: users", r#"relation "users" does not exist"#] {
            let Error::Query(error) = unknown(message) else { panic!("{message}") };
            assert_eq!(error.name(), "undefined_table");
            assert!(error.to_string().contains("mall migrate"), "{error}");
        }
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
