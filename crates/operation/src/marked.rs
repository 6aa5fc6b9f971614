//! Fields that are more than their type: those that `null` clears, those that are secret, and those
//! of which one may be several.

use std::{borrow::Cow, marker::PhantomData};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{
    Deserialize, Deserializer,
    de::{DeserializeOwned, Error},
};
use serde_json::Value;

use super::time::TimeRole;

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

/// Marks an enum whose values are the vendor's catalogue: others pass, with a warning.
pub(super) const OPEN: &str = "x-open";
/// Marks a value in whose place a list of such values may stand.
pub(super) const OR_LIST: &str = "x-or-list";
/// Marks a value in whose place text may stand.
pub(super) const OR_TEXT: &str = "x-or-text";

/// A `T` whose schema says something that Rust's types do not.
macro_rules! schema_of {
    ($(#[$doc:meta])* $name:ident<T>, $mark:expr) => {
        $(#[$doc])*
        #[derive(Debug)]
        pub struct $name<T>(PhantomData<T>);

        impl<T: JsonSchema> JsonSchema for $name<T> {
            fn inline_schema() -> bool {
                true
            }

            fn schema_name() -> Cow<'static, str> {
                format!("{}_{}", stringify!($name), T::schema_name()).into()
            }

            fn schema_id() -> Cow<'static, str> {
                format!("{}::{}<{}>", module_path!(), stringify!($name), T::schema_id()).into()
            }

            fn json_schema(generator: &mut SchemaGenerator) -> Schema {
                let mut schema = generator.subschema_for::<T>();
                schema.insert($mark.to_owned(), true.into());
                schema
            }
        }
    };
}

schema_of! {
    /// One of the values of the enum `T`, or any other text: the vocabulary is the vendor's and grows
    /// without us. Values that are not known pass with a warning.
    Open<T>, OPEN
}

schema_of! {
    /// One `T` or a list of them. Clients allow a field one type, so it is published as `T`.
    OneOrMany<T>, OR_LIST
}

schema_of! {
    /// A text or a `T`. Clients allow a field one type, so it is published as text; a `T` passes as it is
    /// or as JSON text.
    TextOr<T>, OR_TEXT
}

/// A text or a list of texts; a list passes as it is or as JSON text.
pub type TextOrList = OneOrMany<String>;

impl<'de, T> Deserialize<'de> for Open<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(|_| Self(PhantomData))
    }
}

impl<'de, T: DeserializeOwned> Deserialize<'de> for OneOrMany<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let read = match Value::deserialize(deserializer)? {
            Value::Array(list) => Vec::<T>::deserialize(Value::Array(list)).map(drop),
            one => T::deserialize(one).map(drop),
        };
        read.map(|()| Self(PhantomData)).map_err(D::Error::custom)
    }
}

impl<'de, T: DeserializeOwned> Deserialize<'de> for TextOr<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let read = match Value::deserialize(deserializer)? {
            Value::String(_) => Ok(()),
            other => T::deserialize(other).map(drop),
        };
        read.map(|()| Self(PhantomData)).map_err(D::Error::custom)
    }
}

/// A point in time with a role, whose schema carries it.
macro_rules! time {
    ($(#[$doc:meta])* $name:ident, $role:expr) => {
        $(#[$doc])*
        #[derive(Debug)]
        pub struct $name;

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer).map(|_| Self)
            }
        }

        impl JsonSchema for $name {
            fn inline_schema() -> bool {
                true
            }

            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({ "type": "string", (TimeRole::KEY): ($role.as_str()) })
            }
        }
    };
}

time! {
    /// The beginning of a range of past time: RFC 3339, a period (`2026-11`, `last month`), which stands for
    /// its beginning, or relative to now (`7d`, `-24h`). It travels as RFC 3339.
    StartTime, TimeRole::Start
}

time! {
    /// The end of a range of past time, as [`StartTime`]; a period stands for its end.
    EndTime, TimeRole::End
}

time! {
    /// A time to come, such as an expiry: RFC 3339, a date, or a time from now (`30d`). It travels as
    /// RFC 3339.
    Time, TimeRole::Point
}
