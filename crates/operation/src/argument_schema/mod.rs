//! The schema of an operation's arguments, compiled from its full JSON schema.
//!
//! `validate` visits the arguments, and coerces text to numbers and objects and other spellings to
//! known names. It collects every error with its path. Valid arguments cause no allocation.

mod clear;
mod compile;
mod examine;
mod fields;
mod identifier;
mod names;
mod secrets;
mod validate;

use std::fmt;

use super::{path::write_step, schema::Quantity, time::TimeRole};

pub(super) use self::validate::{ArgumentWalk, NullPolicy};
pub use self::{
    names::{did_you_mean, is_misspelling_of, is_same_name},
    secrets::OpaqueKind,
};

/// The schema of a value.
#[derive(Clone, Debug)]
pub(super) enum ArgumentSchema {
    /// An object with declared fields.
    Object(ObjectSchema),
    /// A map of any names. All values have one schema, or are `null` if that clears them.
    Map {
        values: Box<ArgumentSchema>,
        null_clears: bool,
    },
    /// A list.
    List {
        items: Box<ArgumentSchema>,
        min: usize,
        max: usize,
    },
    /// One of some values. An open vocabulary accepts others, too.
    Enum { values: Vec<String>, open: bool },
    /// Text of a bounded length in characters. A slug has a small alphabet.
    Text { min: usize, max: usize, slug: bool },
    /// A point in time, written as text.
    Time(TimeRole),
    /// One value, or a list of such values.
    OneOrMany(Box<ArgumentSchema>),
    /// Text, or a value of another schema.
    TextOr(Box<ArgumentSchema>),
    /// A whole number within bounds.
    Integer { min: i64, max: i64 },
    /// A number within bounds.
    Number { min: f64, max: f64 },
    /// True or false.
    Bool,
    /// Any value.
    Any,
}

/// The schema of an object: its known fields, and their dependencies.
#[derive(Clone, Debug)]
pub(super) struct ObjectSchema {
    fields: Vec<FieldSchema>,
    groups: Vec<(Quantity, Vec<String>)>,
    /// Pairs of fields that are the two ends of a time range, by index into `fields`.
    ranges: Vec<(usize, usize)>,
    /// True if any field name is accepted, so that unknown names cause no warning.
    accepts_any_name: bool,
}

/// One field of an object.
#[derive(Clone, Debug)]
struct FieldSchema {
    name: String,
    schema: ArgumentSchema,
    is_required: bool,
    is_clearable: bool,
    /// True if `null` clears the field in this profile.
    null_clears: bool,
    is_secret: bool,
    /// True if the value names an entity or a person, so that blanks around it are no part of it.
    is_identifier: bool,
}

/// The only pattern that inputs use, in `#[schemars(regex(pattern = …))]`: that of a slug.
const SLUG_PATTERN: &str = "^[a-zA-Z0-9_-]+$";

/// The path of the visited value. It is formatted only if there is something to report.
#[derive(Clone, Copy)]
pub(super) enum ArgumentPath<'a> {
    Root,
    Field(&'a ArgumentPath<'a>, &'a str),
    Item(&'a ArgumentPath<'a>, usize),
}

impl fmt::Display for ArgumentPath<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Root => Ok(()),
            Self::Field(ArgumentPath::Root, name) => f.write_str(name),
            Self::Field(parent, name) => {
                parent.fmt(f)?;
                write_step(f, name)
            }
            Self::Item(parent, index) => write!(f, "{parent}[{index}]"),
        }
    }
}
