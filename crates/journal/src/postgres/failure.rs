//! Failures of PostgreSQL, as errors of the journal.

use std::io;

use rustls::CertificateError;
use sqlx::Error;

use crate::error::JournalError;

impl JournalError {
    /// Returns true if the connection on which the error occurred must not be used again.
    pub(crate) const fn is_of_connection(&self) -> bool {
        matches!(
            self,
            Self::TimedOut | Self::Unreachable(_) | Self::Untrusted(_)
        )
    }
}

impl From<Error> for JournalError {
    fn from(error: Error) -> Self {
        match error {
            // As many connections as requests at the same time, so that one cannot be made.
            Error::PoolTimedOut | Error::PoolClosed => {
                Self::Unreachable("no connection in time".to_owned())
            }
            Error::Io(error) => match describe_certificate(&error) {
                Some(reason) => Self::Untrusted(reason),
                None => Self::Unreachable(error.to_string()),
            },
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

/// Returns what is wrong with the certificate of the server, if that is why a connection failed.
fn describe_certificate(error: &io::Error) -> Option<String> {
    let inner = error.get_ref()?.downcast_ref::<rustls::Error>()?;
    let rustls::Error::InvalidCertificate(reason) = inner else {
        return None;
    };
    Some(match reason {
        CertificateError::UnknownIssuer | CertificateError::BadSignature => {
            "its authority is not one of those that are trusted".to_owned()
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "it is for another host than the address names".to_owned()
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "it has expired".to_owned()
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "it is not valid yet".to_owned()
        }
        reason => reason.to_string(),
    })
}
