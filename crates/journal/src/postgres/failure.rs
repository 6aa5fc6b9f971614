//! Failures of PostgreSQL, as errors of the journal.

use sqlx::Error;

use crate::error::JournalError;

impl JournalError {
    /// Returns true if the connection on which the error occurred must not be used again.
    pub(crate) const fn is_of_connection(&self) -> bool {
        matches!(self, Self::TimedOut | Self::Unreachable(_))
    }
}

impl From<Error> for JournalError {
    fn from(error: Error) -> Self {
        match error {
            // As many connections as requests at the same time, so that one cannot be made.
            Error::PoolTimedOut | Error::PoolClosed => {
                Self::Unreachable("no connection in time".to_owned())
            }
            Error::Io(error) => Self::Unreachable(error.to_string()),
            Error::Tls(error) => Self::Unreachable(error.to_string()),
            Error::Protocol(reason) => Self::Unreachable(reason),
            Error::ColumnNotFound(_) | Error::ColumnDecode { .. } => Self::Unreadable,
            Error::Database(error) => match error.code().as_deref() {
                Some("53100") => Self::Full,
                Some("55P03" | "40P01") => Self::Locked,
                Some("57014") => Self::TimedOut,
                // The server is being stopped, or starts.
                Some("57P01" | "57P02" | "57P03") => Self::Unreachable(error.message().to_owned()),
                _ => Self::Database(error.message().to_owned()),
            },
            error => Self::Database(error.to_string()),
        }
    }
}
