//! Fields that may be cleared.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::Deserialize;

/// A field with three values: absent leaves it alone, `null` clears it, a value sets it.
///
/// A plain `Option` has two: absent, or a value; `null` is read as absent.
pub type Nullable<T> = Option<Clearable<T>>;

/// Marks the type inside a [`Nullable`].
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(transparent)]
pub struct Clearable<T>(pub T);

/// The mark in a schema under construction; it is never published.
pub(super) const MARK: &str = "x-clearable";

impl<T: JsonSchema> JsonSchema for Clearable<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        format!("Clearable{}", T::schema_name()).into()
    }

    fn schema_id() -> Cow<'static, str> {
        format!("{}::Clearable<{}>", module_path!(), T::schema_id()).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let mut schema = generator.subschema_for::<T>();
        schema.insert(MARK.to_owned(), true.into());
        schema
    }
}
