//! Describes a call that the upstream refused, so that causes can be told apart.

use portkey_operation::{CompiledOperation, JsonMap, Operation};
use serde_json::Value;

use crate::{
    auth::principal::{AuthMethod, KeySource, Principal},
    upstream::{FailedCall, KeyHolder, RetrySafety},
};

/// The scope that the arguments name. Extracted before the call, because sending consumes the
/// arguments.
#[derive(Clone, Copy, Debug)]
pub(super) struct ScopeArguments {
    workspace: bool,
    organisation: bool,
}

impl ScopeArguments {
    pub(super) fn from_arguments(args: &JsonMap) -> Self {
        let names = |name: &str| args.get(name).is_some_and(|value| !value.is_null());
        Self {
            workspace: names("workspace_id"),
            organisation: names("organisation_id"),
        }
    }

    /// Describes the call for an error of the upstream.
    pub(super) fn describe_call(
        self,
        published: &CompiledOperation,
        principal: &Principal,
    ) -> FailedCall {
        let mut names = Vec::new();
        collect_field_names(published.full_schema(), &mut names);
        FailedCall {
            key_holder: key_holder(published.operation(), principal),
            argument_names: names,
            has_workspace: self.workspace,
            has_organisation: self.organisation,
            warnings: Vec::new(),
            retry_safety: RetrySafety::default(),
        }
    }
}

/// Returns who can replace the key that acts for a caller.
fn key_holder(operation: &Operation, principal: &Principal) -> KeyHolder {
    let key = principal.credentials.key(operation.base().upstream());
    match key.map(|key| key.source()) {
        Ok(KeySource::Request) => KeyHolder::Request,
        _ if principal.method == AuthMethod::Local => KeyHolder::Local,
        _ => KeyHolder::Operator,
    }
}

/// Collects the names of all fields in a schema.
fn collect_field_names(schema: &Value, names: &mut Vec<String>) {
    match schema {
        Value::Object(map) => {
            for (name, below) in map {
                if name == "properties"
                    && let Value::Object(fields) = below
                {
                    names.extend(fields.keys().cloned());
                    fields
                        .values()
                        .for_each(|field| collect_field_names(field, names));
                } else {
                    collect_field_names(below, names);
                }
            }
        }
        Value::Array(list) => list
            .iter()
            .for_each(|item| collect_field_names(item, names)),
        _ => {}
    }
}
