//! The caller of a change, and its outcome, as the journal has them.

use portkey_journal::{ChangeCaller, ChangeOutcome, truncate};

use crate::{
    auth::principal::Principal,
    observability::{
        call_record::OutcomeKind,
        request::{RequestInfo, Transport},
    },
    security::secrets::mask_text,
};

/// The outcome of the call decides: `Unknown` is in doubt.
impl From<OutcomeKind> for ChangeOutcome {
    fn from(kind: OutcomeKind) -> Self {
        match kind {
            OutcomeKind::Answered => Self::Done,
            OutcomeKind::Refused => Self::Rejected,
            OutcomeKind::Unknown => Self::InDoubt,
            OutcomeKind::Withheld
            | OutcomeKind::Forbidden
            | OutcomeKind::Rejected
            | OutcomeKind::DryRun
            | OutcomeKind::Asked
            | OutcomeKind::Waiting
            | OutcomeKind::Denied
            | OutcomeKind::Cancelled
            | OutcomeKind::Failed => Self::Failed,
        }
    }
}

/// Describes the caller of a request for the journal.
pub(super) fn describe_caller(principal: &Principal, request_info: &RequestInfo) -> ChangeCaller {
    let session = request_info.session.as_deref();
    ChangeCaller {
        principal: truncate(&principal.name),
        auth: principal.method.as_str().to_owned(),
        client: request_info
            .client
            .as_deref()
            .map(|client| truncate(&mask_text(client))),
        transport: request_info.transport.as_str().to_owned(),
        // The id of a session over HTTP would let a reader of the file join it.
        session: session.map(|id| match request_info.transport {
            Transport::Stdio => id.to_owned(),
            Transport::Http | Transport::Rest => digest(&[id]),
        }),
        request_id: request_info.id.to_string(),
    }
}

/// Returns the key by which the changes of callers are kept apart: of the caller's name and the
/// Portkey key that acts for it, so that callers of another organisation never share one.
pub fn owner_of(principal: &Principal) -> String {
    let key = principal.credentials.portkey.as_ref();
    let key = key.map(|key| key.fingerprint()).unwrap_or_default();
    digest(&[&principal.name, &key])
}

fn digest(parts: &[&str]) -> String {
    use sha2::{Digest, Sha256};
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part.as_bytes());
    }
    let mut digest = hex::encode(hash.finalize());
    digest.truncate(32);
    digest
}
