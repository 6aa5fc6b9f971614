//! Fields that are more than their type: those that `null` clears, those that are secret, and those
//! of which one may be several.

use std::{borrow::Cow, marker::PhantomData};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, de::IgnoredAny};

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

/// A text or a list of texts. Clients allow a field one type, so it is published as text; a list passes
/// as it is or as JSON text.
#[derive(Debug)]
pub struct TextOrList;

impl TextOrList {
    /// What stands in the schema.
    pub(super) const KEY: &'static str = "x-or-list";
}

impl<'de> Deserialize<'de> for TextOrList {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // The shape has looked already.
        IgnoredAny::deserialize(deserializer).map(|_| Self)
    }
}

impl JsonSchema for TextOrList {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "TextOrList".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", (Self::KEY): true })
    }
}
