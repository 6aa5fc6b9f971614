//! Rows of a file whose signed address an operation returns: fetched, filtered and masked here, so that
//! the address reaches neither a caller nor a log.

mod query;
mod reader;

use std::{sync::Arc, time::Duration};

use portkey_operation::Operation;
use portkey_policy::FieldPath;
use serde_json::Value;

pub use self::query::{RowCondition, RowQuery, RowTest};
use self::reader::RowReader;
use super::{CallError, CallForm, Dispatcher, OperationCall, response::RawResponse};
use crate::{
    security::secrets::CallSecrets,
    upstream::{FileError, SendError, UpstreamError},
};

/// Maximum time for a file.
const FILE_TIMEOUT: Duration = Duration::from_secs(120);
/// Maximum number of bytes that are received of a file.
const MAX_FILE_BYTES: usize = 256 * 1024 * 1024;

/// The address of a file that an upstream has signed. Anybody who has it can read the file.
pub(super) struct SignedAddress(String);

impl std::fmt::Debug for SignedAddress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SignedAddress")
    }
}

/// What the treatment of a row depends on.
#[derive(Clone, Copy)]
pub(super) struct RowContext<'a> {
    /// The operation that names the file.
    pub(super) operation: &'static Operation,
    /// Secrets of the call, which are masked.
    pub(super) fetched: &'a CallSecrets,
    /// Paths of values that policies redact, in `{"rows": […]}`.
    pub(super) redactions: &'a [Arc<[FieldPath]>],
}

impl RawResponse {
    /// Returns the address in the answer: its one-time secret.
    pub(super) fn finish_address(self) -> Result<Option<SignedAddress>, UpstreamError> {
        let field = self.operation.one_time_secrets().first();
        let answer = self.response.into_result()?;
        let address = field.and_then(|field| answer.get(field)?.as_str());
        Ok(address.map(|address| SignedAddress(address.to_owned())))
    }
}

impl Dispatcher {
    /// Reads the rows of a file that the query wants. What is read before a bound or a failure counts, and
    /// the answer says what is missing.
    pub(super) async fn read_signed_file(
        &self,
        address: Option<SignedAddress>,
        call: OperationCall<'_>,
        context: RowContext<'_>,
    ) -> Result<Value, CallError> {
        let CallForm::Rows(query) = call.form else {
            return Err(SendError::from(FileError::NoAddress).into());
        };
        let SignedAddress(address) = address.ok_or(SendError::from(FileError::NoAddress))?;
        let bound = call
            .demands
            .timeout
            .map_or(FILE_TIMEOUT, |bound| bound.min(FILE_TIMEOUT));
        let mut reader = RowReader::new(query, context);
        let receive = async {
            let mut file = self.upstream.open_file(&address).await?;
            let mut received = 0;
            while let Some(chunk) = file.next_chunk().await? {
                received += chunk.len();
                if received > MAX_FILE_BYTES {
                    reader.stop("the file is longer than 256 MiB; the rest was not read");
                    break;
                }
                if !reader.push(&chunk).await {
                    break;
                }
            }
            Ok::<_, SendError>(())
        };
        match tokio::time::timeout(bound, receive).await {
            Ok(Ok(())) => reader.end(),
            Ok(Err(error)) if reader.has_rows() => {
                reader.stop(&format!("the rest of the file: {error}"));
            }
            Ok(Err(error)) => return Err(error.into()),
            Err(_) => {
                let seconds = bound.as_secs();
                reader.stop(&format!(
                    "the rest of the file: {seconds} seconds were over"
                ));
            }
        }
        Ok(reader.into_report())
    }
}
