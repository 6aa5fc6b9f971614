//! Fields that must not be seen again.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::Deserialize;

/// A credential on its way in, or a map that may hold some.
///
/// The mark it leaves in the schema is how redaction finds it (secrets.md §6).
#[derive(Deserialize)]
#[serde(transparent)]
pub struct Secret<T = String>(T);

/// The mark in a schema under construction; it is never published.
pub(super) const MARK: &str = "x-secret";

impl<T: JsonSchema> JsonSchema for Secret<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        format!("Secret{}", T::schema_name()).into()
    }

    fn schema_id() -> Cow<'static, str> {
        format!("{}::Secret<{}>", module_path!(), T::schema_id()).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let mut schema = generator.subschema_for::<T>();
        schema.insert(MARK.to_owned(), true.into());
        schema
    }
}
