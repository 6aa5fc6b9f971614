//! Updates that change where requests go, while secrets of the resource are kept: they would be sent to
//! the new address.

use std::time::{Duration, Instant};

use portkey_operation::{
    CompiledOperation, InputError, JsonMap, field_path, find_new_destination, find_same_item,
    is_destination,
};
use portkey_policy::REDACTED;
use serde_json::Value;

use super::{
    CallError, CallRecord, Dispatcher, OperationCall, dry_run, state_fields::to_arguments,
};
use crate::{
    observability::call_record::PriorState,
    security::secrets::{MASK, is_masked},
};

/// Age above which a state that was read to compute the call is read again.
const MAX_STATE_AGE: Duration = Duration::from_secs(5);
/// References to secrets, which are resolved when a request is sent.
const MAPPINGS: &str = "secret_mappings";
/// Beginning of the names under which Portkey shows a secret that it keeps.
const MASKED_PREFIX: &str = "masked_";

/// A secret that a call keeps, although it changes an address.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct RedirectedSecret {
    /// Path of the address.
    pub(crate) address: String,
    /// Path of the secret.
    pub(crate) secret: String,
}

impl RedirectedSecret {
    /// Finds a secret of a resource that would be sent to a new `address`. `stored` has the fields of
    /// the resource as the caller sees them, under the names of the arguments. `is_kept` recognizes
    /// values in `changes` that stand for the stored ones.
    pub(crate) fn find(
        published: &CompiledOperation,
        address: String,
        stored: &JsonMap,
        changes: &JsonMap,
        is_kept: &dyn Fn(&Value) -> bool,
    ) -> Option<Self> {
        let properties = published.full_schema().get("properties");
        let is_argument =
            |name: &str| properties.is_some_and(|properties| properties.get(name).is_some());
        let secret = stored.iter().find_map(|(name, value)| {
            let own = own_name(name);
            let given = changes.get(own);
            if own == MAPPINGS {
                let has_mappings = value.as_array().is_some_and(|items| !items.is_empty());
                return (has_mappings && given.is_none()).then(|| own.to_owned());
            }
            let is_relevant = is_argument(own) && !is_destination(own);
            is_relevant.then(|| find_kept(own, value, given, is_kept))?
        })?;
        Some(Self { address, secret })
    }

    /// Returns the explanation for the caller.
    pub(crate) fn explain(&self) -> String {
        format!(
            "changes where requests go, while a stored secret is kept (`{}`) and would be sent there. Give \
             that value in the same call, too, or a reference to it, or null to remove it. Nothing was sent",
            self.secret
        )
    }
}

/// Returns the path of a hidden value that a change leaves as it is.
fn find_kept(
    path: &str,
    stored: &Value,
    given: Option<&Value>,
    is_kept: &dyn Fn(&Value) -> bool,
) -> Option<String> {
    if given.is_some_and(is_kept) {
        return has_hidden(stored).then(|| path.to_owned());
    }
    match (stored, given) {
        (Value::String(text), None) => is_hidden(text).then(|| path.to_owned()),
        (Value::Object(fields), None | Some(Value::Object(_))) => {
            fields.iter().find_map(|(name, stored)| {
                let own = own_name(name);
                if is_destination(own) {
                    return None;
                }
                let given = given.and_then(|given| given.get(own));
                find_kept(&field_path(path, own), stored, given, is_kept)
            })
        }
        (Value::Array(_), None) => has_hidden(stored).then(|| path.to_owned()),
        (Value::Array(stored), Some(Value::Array(given))) => {
            given.iter().enumerate().find_map(|(index, given)| {
                let stored = find_same_item(stored, index, given)?;
                // What another entry keeps goes to its own address.
                find_new_destination(path, given, Some(stored))?;
                find_kept(&format!("{path}[{index}]"), stored, Some(given), is_kept)
            })
        }
        // Removed, or replaced by another value.
        _ => None,
    }
}

fn own_name(name: &str) -> &str {
    name.strip_prefix(MASKED_PREFIX).unwrap_or(name)
}

fn is_hidden(text: &str) -> bool {
    is_masked(text) || text.contains(MASK) || text.contains(REDACTED)
}

fn has_hidden(value: &Value) -> bool {
    match value {
        Value::String(text) => is_hidden(text),
        Value::Array(items) => items.iter().any(has_hidden),
        Value::Object(fields) => fields
            .iter()
            .any(|(name, value)| !is_destination(name) && has_hidden(value)),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

impl Dispatcher {
    /// Rejects an update that changes where requests go, while secrets of the resource are kept. The
    /// state is read as if the caller had asked for it, unless it was read for the call.
    ///
    /// # Errors
    /// Returns an error that names the address and the secret. A state that cannot be read is an
    /// error, too, unless the upstream answers that there is none for this caller.
    pub(super) async fn reject_redirected_secrets(
        &self,
        call: OperationCall<'_>,
        args: &JsonMap,
        record: &mut CallRecord,
    ) -> Result<(), CallError> {
        let published = call.entry.compiled();
        let operation = call.entry.operation;
        let (Some(rules), Some(address)) = (
            operation.update_rules(),
            operation.find_new_address(args, None),
        ) else {
            return Ok(());
        };
        if !call.form.reads_state() {
            return Ok(());
        }
        let is_recent = |prior: &&PriorState| prior.read_at.elapsed() <= MAX_STATE_AGE;
        let known = record.prior_state.as_deref().filter(is_recent);
        let stored = match known {
            Some(known) => to_arguments(rules, &known.state),
            None => {
                let read = self.catalog.find(rules.read())?;
                let mut read_arguments = dry_run::read_arguments(operation, read, args);
                for (name, value) in rules.read_arguments() {
                    read_arguments.insert((*name).to_owned(), (*value).into());
                }
                let state = self
                    .read_state(
                        call.principal,
                        call.request_info,
                        rules.read(),
                        read_arguments.clone(),
                    )
                    .await;
                let unreadable = |reason: &str| {
                    let message = format!(
                        "changes where requests go, and `{}` cannot tell here which secrets would be sent there: \
                         {reason}. Nothing was sent",
                        rules.read()
                    );
                    InputError::new(address.as_str(), message)
                };
                let state = match state {
                    Ok(state) if state.clear.is_null() => {
                        return Err(unreadable("its read is only described, and not sent").into());
                    }
                    Ok(state) => state,
                    // The write is refused, too.
                    Err(CallError::Upstream(_, refusal)) if refusal.is_definite() => return Ok(()),
                    Err(error) if error.is_denial() => {
                        return Err(unreadable(&error.to_string()).into());
                    }
                    Err(error) => return Err(error),
                };
                let stored = to_arguments(rules, &state.shown);
                // The journal need not read it again.
                record.prior_state = Some(Box::new(PriorState {
                    read: rules.read(),
                    read_arguments,
                    state: state.shown,
                    is_untrusted: state.is_untrusted,
                    read_at: Instant::now(),
                }));
                stored
            }
        };
        let Some(address) = operation.find_new_address(args, Some(&stored)) else {
            return Ok(());
        };
        match RedirectedSecret::find(published, address, &stored, args, &|_| false) {
            Some(found) => Err(InputError::new(found.address.as_str(), found.explain()).into()),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use portkey_api::catalog::Catalog;
    use serde_json::json;

    use super::*;

    struct Case {
        tool: &'static str,
        stored: Value,
        changes: Value,
        secret: Option<&'static str>,
    }

    #[test]
    fn secrets_that_are_kept_at_a_new_address_are_found() {
        let mcp = || {
            json!({ "url": "https://a.example", "configurations": {
                "custom_headers": { "authorization": "Be*****ken", "x-team": "a" } }, "secret_mappings": [] })
        };
        let header = Some("configurations.custom_headers.authorization");
        let integration = || {
            json!({ "masked_key": "sk*****001", "configurations": { "custom_host": "https://a.example",
                "masked_azure_entra_client_secret": "sa*****003" }, "secret_mappings": [] })
        };
        let models = || {
            json!({ "models": [
                { "slug": "a", "configurations": { "custom_host": "x", "custom_headers": { "authorization": "[masked by portkey-mcp]" } } },
                { "slug": "b", "configurations": { "custom_host": "y" } }] })
        };
        let case = |tool, stored, changes, secret| Case {
            tool,
            stored,
            changes,
            secret,
        };
        let evil = "https://evil.example";
        for Case {
            tool,
            stored,
            changes,
            secret,
        } in [
            case(
                "update-mcp-integration",
                mcp(),
                json!({ "url": evil }),
                header,
            ),
            case(
                "update-agent-integration",
                mcp(),
                json!({ "url": evil }),
                header,
            ),
            case(
                "update-mcp-integration",
                mcp(),
                json!({ "url": evil, "configurations": { "custom_headers": { "x-team": "b" } } }),
                header,
            ),
            case(
                "update-mcp-integration",
                mcp(),
                json!({ "url": evil, "configurations": { "custom_headers": { "authorization": "new" } } }),
                None,
            ),
            case(
                "update-mcp-integration",
                mcp(),
                json!({ "url": evil, "configurations": null }),
                None,
            ),
            case(
                "update-mcp-integration",
                mcp(),
                json!({ "url": "https://a.example", "name": "B" }),
                None,
            ),
            case(
                "update-mcp-integration",
                mcp(),
                json!({ "configurations": { "token_url": evil } }),
                header,
            ),
            case(
                "update-mcp-integration",
                json!({ "url": "x", "secret_mappings": [{ "target_field": "configurations.custom_headers" }] }),
                json!({ "url": evil }),
                Some("secret_mappings"),
            ),
            case(
                "update-integration",
                integration(),
                json!({ "configurations": { "custom_host": evil } }),
                Some("key"),
            ),
            case(
                "update-integration",
                integration(),
                json!({ "key": "new", "configurations": { "custom_host": evil } }),
                Some("configurations.azure_entra_client_secret"),
            ),
            case(
                "update-integration",
                integration(),
                json!({ "key": "new", "configurations": { "custom_host": evil, "azure_entra_client_secret": "new" } }),
                None,
            ),
            case(
                "update-integration",
                integration(),
                json!({ "base_url": evil }),
                Some("key"),
            ),
            case(
                "bulk-update-integration-models",
                models(),
                json!({ "models": [{ "slug": "a", "configurations": { "custom_host": evil } }] }),
                Some("models[0].configurations.custom_headers.authorization"),
            ),
            case(
                "bulk-update-integration-models",
                models(),
                json!({ "models": [{ "slug": "b", "configurations": { "custom_host": evil } }] }),
                None,
            ),
            case(
                "update-secret-reference",
                json!({ "auth_config": { "vault_addr": "https://a.example", "vault_token": "hv*****abc" } }),
                json!({ "auth_config": { "vault_addr": evil } }),
                Some("auth_config.vault_token"),
            ),
            case(
                "update-virtual-key",
                json!({ "key": "sk*****001", "resourceName": "a" }),
                json!({ "resourceName": "evil" }),
                Some("key"),
            ),
        ] {
            let catalog = Catalog::full();
            let published = catalog.find(tool).unwrap().compiled();
            let stored = stored.as_object().unwrap();
            let changes = changes.as_object().unwrap();
            let address = published
                .operation()
                .find_new_address(changes, Some(stored));
            let found = address.and_then(|address| {
                RedirectedSecret::find(published, address, stored, changes, &|_| false)
            });
            let found = found.map(|found| found.secret);
            assert_eq!(found.as_deref(), secret, "{tool} {changes:?}");
        }
    }
}
