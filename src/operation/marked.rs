//! Fields that are more than their type: those that `null` clears, and those that are secret.

use std::{borrow::Cow, marker::PhantomData};

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Deserializer};

/// A field with three values: absent leaves it alone, `null` clears it, a value sets it.
///
/// A plain `Option` has two: absent, or a value; `null` is read as absent.
pub type Nullable<T> = Option<Marked<Clearable, T>>;

/// A credential on its way in, or a map that may hold some. The mark it leaves in the schema is how
/// redaction finds it (secrets.md §6).
pub type Secret<T = String> = Marked<Secretive, T>;

/// A `T` whose schema carries the mark `M`. Marks are never published, and the value is looked at
/// but not kept.
#[derive(Debug)]
pub struct Marked<M, T>(PhantomData<(M, T)>);

impl<'de, M, T: Deserialize<'de>> Deserialize<'de> for Marked<M, T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        T::deserialize(deserializer).map(|_| Self(PhantomData))
    }
}

/// A kind of mark.
pub trait Mark {
    /// What stands in the schema.
    const KEY: &'static str;
}

/// Marks what `null` clears.
#[derive(Debug)]
pub struct Clearable;

impl Mark for Clearable {
    const KEY: &'static str = "x-clearable";
}

/// Marks what must not be seen again.
#[derive(Debug)]
pub struct Secretive;

impl Mark for Secretive {
    const KEY: &'static str = "x-secret";
}

impl<M: Mark, T: JsonSchema> JsonSchema for Marked<M, T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        format!("{}_{}", M::KEY, T::schema_name()).into()
    }

    fn schema_id() -> Cow<'static, str> {
        format!("{}::{}<{}>", module_path!(), M::KEY, T::schema_id()).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let mut schema = generator.subschema_for::<T>();
        schema.insert(M::KEY.to_owned(), true.into());
        schema
    }
}
