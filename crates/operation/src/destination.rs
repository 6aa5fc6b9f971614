//! Addresses in arguments: fields that say where requests go. Keys and headers that are stored beside
//! one are sent there.

use serde_json::Value;

use super::{JsonMap, Operation, UpdateRules, field_path};

/// Endings of the names of addresses, in lower case and without separators.
const ENDINGS: [&str; 8] = [
    "host",
    "hostname",
    "url",
    "uri",
    "endpoint",
    "issuer",
    "resourcename",
    "vaultaddr",
];
/// Names of addresses whose ending says nothing.
const NAMES: [&str; 1] = ["snowflakeaccount"];
/// Names that have such an ending, and are sent as a header.
const NO_ADDRESSES: [&str; 1] = ["amznsagemakertargetcontainerhostname"];
/// Fields that tell the items of a list apart.
const IDENTITY_FIELDS: [&str; 4] = ["slug", "id", "name", "provider"];

/// Returns true if a field says where requests go.
pub fn is_destination(name: &str) -> bool {
    let name: String = name
        .chars()
        .filter(char::is_ascii_alphanumeric)
        .map(|c| c.to_ascii_lowercase())
        .collect();
    let is_named = NAMES.contains(&name.as_str()) || ENDINGS.iter().any(|end| name.ends_with(end));
    is_named && !NO_ADDRESSES.contains(&name.as_str())
}

/// Returns the path of the first address in a value that an older one does not have.
pub fn find_new_destination(path: &str, new: &Value, old: Option<&Value>) -> Option<String> {
    let parsed;
    let old = match old {
        // Some documents are read as a text of JSON.
        Some(Value::String(text)) if !new.is_string() => {
            parsed = serde_json::from_str::<Value>(text).ok();
            parsed.as_ref()
        }
        old => old,
    };
    match new {
        Value::Object(fields) => fields.iter().find_map(|(name, new)| {
            let path = field_path(path, name);
            let old = old.and_then(|old| old.get(name));
            match is_destination(name) {
                true => is_other(new, old).then_some(path),
                false => find_new_destination(&path, new, old),
            }
        }),
        Value::Array(items) => items.iter().enumerate().find_map(|(index, item)| {
            let old = old.and_then(|old| find_same_item(old.as_array()?, index, item));
            find_new_destination(&format!("{path}[{index}]"), item, old)
        }),
        _ => None,
    }
}

/// Returns the item of a list that another one is about: by its identity, or else by its position.
pub fn find_same_item<'a>(items: &'a [Value], index: usize, item: &Value) -> Option<&'a Value> {
    let identity = IDENTITY_FIELDS
        .iter()
        .find_map(|name| Some((*name, item.get(*name).filter(|value| !value.is_null())?)));
    match identity {
        Some((name, value)) => {
            let mut same = items.iter().filter(|item| item.get(name) == Some(value));
            let first = same.next();
            // Several are about the same thing: only the position tells them apart.
            match same.next() {
                None => first,
                Some(_) => items.get(index),
            }
        }
        None => items.get(index),
    }
}

/// Returns true if two addresses differ. `null` is as no address.
fn is_other(new: &Value, old: Option<&Value>) -> bool {
    let old = old.filter(|old| !old.is_null());
    match new {
        Value::Null => old.is_some(),
        new => old != Some(new),
    }
}

impl Operation {
    /// Returns the path of the first address in the arguments of an update that differs from the stored
    /// one. `stored` has the fields of the resource under the names of the arguments; without it every
    /// address counts.
    pub fn find_new_address(&self, args: &JsonMap, stored: Option<&JsonMap>) -> Option<String> {
        let rules = self.update_rules()?;
        args.iter().find_map(|(name, value)| {
            if !self.is_change(name) {
                return None;
            }
            let old = stored.and_then(|stored| stored.get(name));
            if is_destination(name) {
                return is_other(value, old).then(|| name.clone());
            }
            let holds_addresses = rules.addresses().contains(&name.as_str());
            holds_addresses.then(|| find_new_destination(name, value, old))?
        })
    }
}

impl UpdateRules {
    /// Names the fields that are an address to which stored secrets are sent, or hold one.
    #[must_use]
    pub const fn with_addresses(mut self, fields: &'static [&'static str]) -> Self {
        self.addresses = fields;
        self
    }

    /// Returns the fields that are an address to which stored secrets are sent, or hold one.
    pub const fn addresses(&self) -> &'static [&'static str] {
        self.addresses
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn names_of_addresses_are_recognized_in_any_spelling() {
        for name in [
            "url",
            "webhookURL",
            "custom_host",
            "customHost",
            "huggingface_base_url",
            "azure_resource_name",
            "resourceName",
            "vault_addr",
            "token_endpoint",
            "snowflake_account",
        ] {
            assert!(is_destination(name), "{name}");
        }
        for name in [
            "name",
            "hosted",
            "urls_allowed",
            "aws_region",
            "amzn_sagemaker_target_container_hostname",
        ] {
            assert!(!is_destination(name), "{name}");
        }
    }

    #[test]
    fn only_addresses_that_differ_are_new() {
        let old = json!({ "a": { "custom_host": "x" }, "list": [
            { "slug": "m", "url": "x" }, { "slug": "n", "url": "y" }] });
        for (new, path) in [
            (json!({ "a": { "custom_host": "x", "b": 1 } }), None),
            (
                json!({ "a": { "custom_host": null } }),
                Some("a.custom_host"),
            ),
            (json!({ "a": { "base_url": null } }), None),
            (json!({ "list": [{ "slug": "n", "url": "y" }] }), None),
            (
                json!({ "list": [{ "slug": "n", "url": "x" }] }),
                Some("list[0].url"),
            ),
            (
                json!({ "list": [{ "slug": "o", "url": "x" }] }),
                Some("list[0].url"),
            ),
        ] {
            let found = find_new_destination("", &new, Some(&old));
            assert_eq!(found.as_deref(), path, "{new}");
            let text = Value::String(old.to_string());
            let found = find_new_destination("", &new, Some(&text));
            assert_eq!(found.as_deref(), path, "{new}");
        }
    }
}
