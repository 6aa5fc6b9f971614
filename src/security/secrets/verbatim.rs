//! Finds out whether a response may be shown as it is, without building its document.
//!
//! A document takes ten times the memory of its text. Most responses hold nothing to mask, so one
//! pass over the text is enough. The rules are those of [`mask`](super::mask), and stricter where
//! that is simpler: a response that is not found to be clean is masked as a document.

use std::fmt;

use portkey_operation::Operation;
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

use super::{
    CallSecrets,
    mask::is_masked,
    names::{self, NameKind},
    scan,
};

/// Maximum number of fields of an object that is examined. Their names are compared with each other.
const MAX_FIELDS: usize = 64;

/// Returns true if a response to an operation holds nothing to mask. `plain` is the response, which
/// is [clean ASCII](crate::security::sanitize::as_clean_ascii).
///
/// False if it is not JSON, or if an object has a name twice.
pub(super) fn is_free_of_secrets(
    operation: &Operation,
    fetched: &CallSecrets,
    plain: &str,
) -> bool {
    if !operation.one_time_secrets().is_empty()
        || fetched.texts().any(|secret| plain.contains(secret))
        || scan::may_have_key(plain)
    {
        return false;
    }
    let declared = declared_fields(operation);
    let walk = Walk {
        declared: &declared,
        place: Place::Ordinary,
    };
    let mut deserializer = serde_json::Deserializer::from_str(plain);
    walk.deserialize(&mut deserializer).is_ok() && deserializer.end().is_ok()
}

/// A field that an operation declares secret.
#[derive(Clone, Copy, Debug)]
pub(super) struct DeclaredField {
    name: &'static str,
    /// Everything below is secret.
    is_whole: bool,
}

impl DeclaredField {
    fn from_path(path: &'static str) -> Self {
        let (path, is_whole) = match path.strip_suffix(".*") {
            Some(path) => (path, true),
            None => (path, false),
        };
        let last = path.rsplit_once('.').map_or(path, |(_, last)| last);
        Self {
            name: last.trim_end_matches("[]"),
            is_whole,
        }
    }

    /// Returns the place that the field opens.
    fn place(self) -> Place {
        match self.is_whole || names::is_credential(self.name) {
            true => Place::Secret,
            false => Place::Declared,
        }
    }
}

/// Returns the fields that an operation declares secret.
pub(super) fn declared_fields(operation: &Operation) -> Vec<DeclaredField> {
    let fields = operation.secret_fields().iter().copied();
    fields.map(DeclaredField::from_path).collect()
}

/// The rules for a value, from the least strict.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Place {
    /// Only telling names count.
    Ordinary,
    /// The value is where credentials are kept.
    Strict,
    /// The value is a document that is declared secret.
    Declared,
    /// The value is a secret, unless it is empty or masked already.
    Secret,
}

impl Place {
    pub(super) fn of_field(self, name: &str, declared: &[DeclaredField]) -> Self {
        let is_strict = matches!(self, Self::Strict | Self::Declared);
        let kind = names::classify(name, is_strict);
        if !matches!(kind, NameKind::NotSecret | NameKind::Labels) {
            return Self::Secret;
        }
        let declared = declared.iter().filter(|field| field.name == name);
        match declared.map(|field| field.place()).max() {
            Some(place) => place,
            None if is_strict && kind == NameKind::NotSecret => Self::Strict,
            None => Self::Ordinary,
        }
    }

    pub(super) fn shows_text(self, text: &str) -> bool {
        let is_document = || text.trim_ascii_start().starts_with(['{', '[']);
        match self {
            Self::Ordinary => true,
            Self::Strict => !is_document(),
            Self::Declared | Self::Secret => text.is_empty() || is_masked(text) && !is_document(),
        }
    }

    pub(super) fn shows_number(self) -> bool {
        matches!(self, Self::Ordinary | Self::Strict)
    }
}

/// Walks a value, and fails at the first one that may have to be masked.
#[derive(Clone, Copy)]
struct Walk<'a> {
    declared: &'a [DeclaredField],
    place: Place,
}

impl Walk<'_> {
    fn check<E: Error>(is_shown: bool) -> Result<(), E> {
        match is_shown {
            true => Ok(()),
            false => Err(E::custom("may have to be masked")),
        }
    }
}

impl<'de> DeserializeSeed<'de> for Walk<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Walk<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<(), E> {
        Self::check(self.place.shows_number())
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<(), E> {
        Self::check(self.place.shows_number())
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<(), E> {
        Self::check(self.place.shows_number())
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<(), E> {
        Self::check(self.place.shows_text(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        while items.next_element_seed(self)?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<(), A::Error> {
        let mut found: [&str; MAX_FIELDS] = [""; MAX_FIELDS];
        let mut count = 0;
        // Names have no escapes, so they are borrowed.
        while let Some(name) = fields.next_key::<&'de str>()? {
            let earlier = found.get(..count).unwrap_or_default();
            // Of a secret, any field may be one.
            Self::check(self.place != Place::Secret && !earlier.contains(&name))?;
            let Some(slot) = found.get_mut(count) else {
                return Self::check(false);
            };
            *slot = name;
            count += 1;
            fields.next_value_seed(Self {
                place: self.place.of_field(name, self.declared),
                ..self
            })?;
        }
        let names = found.get(..count).unwrap_or_default();
        // The name of a setting is told by another field.
        let is_setting = || {
            super::mask::PAIR_NAMES
                .iter()
                .any(|name| names.contains(name))
        };
        Self::check(!names.contains(&"value") || !is_setting())
    }
}

#[cfg(test)]
mod tests {
    use portkey_api::catalog::Catalog;
    use proptest::prelude::*;
    use serde_json::{Map, Value, json};

    use super::*;
    use crate::security::{sanitize, secrets::mask_response};

    const NAMES: [&str; 26] = [
        "id",
        "name",
        "value",
        "key",
        "header",
        "slug",
        "headers",
        "api_key",
        "masked_key",
        "token",
        "tokens",
        "total_tokens",
        "authorization",
        "credentials",
        "metadata",
        "conditions",
        "group_by",
        "configurations",
        "auth_config",
        "data",
        "secret_mappings",
        "secret_key",
        "password",
        "type",
        "custom_headers",
        "signed_url",
    ];

    fn document() -> impl Strategy<Value = Value> {
        let name = || prop::sample::select(NAMES.as_slice()).prop_map(str::to_owned);
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<u16>().prop_map(Value::from),
            prop::sample::select(
                [
                    "",
                    "a word",
                    "sk*****001",
                    "***",
                    "[]",
                    "{\"password\":1}",
                    "12",
                    "53845412-7b09-4000-8000-000000000007",
                    "name",
                    "api_key",
                ]
                .as_slice()
            )
            .prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 24, 5, move |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::vec((name(), inner), 0..5)
                    .prop_map(|fields| fields.into_iter().collect::<Map<_, _>>().into()),
            ]
        })
    }

    fn is_free(operation: &Operation, text: &str) -> bool {
        let plain = sanitize::as_clean_ascii(text.as_bytes());
        plain.is_some_and(|plain| is_free_of_secrets(operation, &CallSecrets::default(), plain))
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        #[test]
        fn clean_response_is_one_that_masking_leaves(document in document(), index in any::<prop::sample::Index>()) {
            let operations: Vec<_> = Catalog::operations().collect();
            let operation = index.get(&operations);
            if is_free(operation, &document.to_string()) {
                let mut masked = document.clone();
                mask_response(operation, &mut masked);
                prop_assert_eq!(masked, document);
            }
        }
    }

    #[test]
    fn ordinary_responses_are_clean() {
        let operation =
            |name: &str| Catalog::operations().find(|operation| operation.name() == name);
        let integration = operation("get-integration").unwrap();
        let response = json!({
            "id": "53845412-7b09-4000-8000-000000000007", "slug": "openai-production",
            "masked_key": "sk*****001", "configurations": { "openai_organization": "org-example" },
            "global_workspace_access_settings": { "enabled": false, "usage_limits": null },
            "secret_mappings": [], "tags": { "team": "platform" }, "workspace_count": 3
        });
        assert!(is_free(integration, &response.to_string()));
        for (name, secret) in [
            ("key", json!("planted")),
            (
                "configurations",
                json!({ "aws_secret_access_key": "planted" }),
            ),
            ("configurations", json!("planted")),
            (
                "note",
                json!("sk-planted0123456789abcdef0123456789abcdef01234567"),
            ),
            ("password", json!(1)),
            ("custom_headers", json!({ "x": "planted" })),
        ] {
            let mut response = response.clone();
            response[name] = secret;
            let mut masked = response.clone();
            mask_response(integration, &mut masked);
            let is_masked = masked != response;
            assert!(
                !is_masked || !is_free(integration, &response.to_string()),
                "{name}"
            );
        }
        for invalid in ["", "{", "{\"a\":1,\"a\":2}", "[1]x", "\"caf\u{e9}\""] {
            assert!(!is_free(integration, invalid), "{invalid}");
        }
    }
}
