//! Field types whose schema carries a marker: clearable fields, secrets, open enums, alternatives
//! and times.

use std::{borrow::Cow, marker::PhantomData};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{
    Deserialize, Deserializer,
    de::{DeserializeOwned, Error},
};
use serde_json::Value;

use super::time::TimeRole;

/// A field with three states: absent keeps the stored value, `null` clears it, a value sets it.
///
/// A plain `Option` has two: absent, or a value. It reads `null` as absent.
pub type Nullable<T> = Option<MarkedField<ClearableMarker, T>>;

/// A credential in the arguments, or a map that may hold some. Redaction finds it by the marker in
/// the schema.
pub type Secret<T = String> = MarkedField<SecretMarker, T>;

/// A `T` whose schema carries the marker `M`. Markers are never published. The value is checked and
/// not stored.
#[derive(Debug)]
pub struct MarkedField<M, T>(PhantomData<(M, T)>);

impl<'de, M, T: Deserialize<'de>> Deserialize<'de> for MarkedField<M, T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        T::deserialize(deserializer).map(|_| Self(PhantomData))
    }
}

/// A kind of marker.
pub trait Marker {
    /// The key of the marker in the schema.
    const KEY: &'static str;
}

/// Marks a field that `null` clears.
#[derive(Debug)]
pub struct ClearableMarker;

impl Marker for ClearableMarker {
    const KEY: &'static str = "x-clearable";
}

/// Marks a secret, which must not be shown again.
#[derive(Debug)]
pub struct SecretMarker;

impl Marker for SecretMarker {
    const KEY: &'static str = "x-secret";
}

impl<M: Marker, T: JsonSchema> JsonSchema for MarkedField<M, T> {
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

/// Marks an enum whose values are the vendor's. Other values pass with a warning.
pub(super) const OPEN: &str = "x-open";
/// Marks a value that a list of such values may replace.
pub(super) const OR_LIST: &str = "x-or-list";
/// Marks a value that text may replace.
pub(super) const OR_TEXT: &str = "x-or-text";

/// Declares a `T` whose schema carries one more marker.
macro_rules! marked_type {
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

marked_type! {
    /// One of the values of the enum `T`, or any other text. The vocabulary is the vendor's and
    /// grows between our releases, so unknown values pass with a warning.
    Open<T>, OPEN
}

marked_type! {
    /// One `T` or a list of them. Clients allow one type per field, so the schema is published as
    /// that of `T`.
    OneOrMany<T>, OR_LIST
}

marked_type! {
    /// A text or a `T`. Clients allow one type per field, so the schema is published as text. A `T`
    /// passes as it is or as JSON text.
    TextOr<T>, OR_TEXT
}

/// A text or a list of texts. A list passes as it is or as JSON text.
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

/// Declares a point in time whose schema carries its role.
macro_rules! time_type {
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

time_type! {
    /// The beginning of a range in the past.
    ///
    /// Takes RFC 3339, a period (`2026-11`, `last month`), which stands for its beginning, or a
    /// time relative to now (`7d`, `-24h`). Sent as RFC 3339.
    StartTime, TimeRole::Start
}

time_type! {
    /// The end of a range in the past, written as [`StartTime`]. A period stands for its end.
    EndTime, TimeRole::End
}

time_type! {
    /// A time in the future, such as an expiry.
    ///
    /// Takes RFC 3339, a date, or a time from now (`30d`). Sent as RFC 3339.
    Time, TimeRole::Point
}
