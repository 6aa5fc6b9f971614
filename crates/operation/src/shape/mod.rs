//! The shape of an operation's arguments, compiled from its full schema.
//!
//! `validate` walks over the arguments, brings them into form (a number that came as text, an object that
//! came as JSON text, a name in another spelling) and collects everything that is wrong, each with its
//! path. On arguments that are right it allocates nothing.

mod clear;
mod compile;
mod fields;
mod names;
mod secrets;
mod validate;

use std::fmt;

use super::{path::write_step, schema::Quantity, time::TimeRole};

pub(super) use self::validate::{Nulls, Walk};
pub use self::{
    names::{did_you_mean, is_misspelling_of, is_same_name},
    secrets::Opaque,
};

/// What a value must look like.
#[derive(Clone, Debug)]
pub(super) enum Shape {
    /// A struct.
    Struct(Struct),
    /// A map: any names, each value of one shape, or `null` where that clears it.
    Map {
        values: Box<Shape>,
        null_clears: bool,
    },
    /// A list.
    List {
        items: Box<Shape>,
        least: usize,
        most: usize,
    },
    /// One of some values; an open vocabulary takes others, too.
    Enum { values: Vec<String>, open: bool },
    /// Text of a bounded length in characters; a slug has a small alphabet.
    Text {
        least: usize,
        most: usize,
        slug: bool,
    },
    /// A point in time, written as text.
    Time(TimeRole),
    /// One value, or a list of such values.
    OneOrMany(Box<Shape>),
    /// Text, or a value of another shape.
    TextOr(Box<Shape>),
    /// A whole number within bounds.
    Integer { least: i64, most: i64 },
    /// A number within bounds.
    Number { least: f64, most: f64 },
    /// True or false.
    Truth,
    /// Anything.
    Any,
}

/// A struct: the fields that are known, and how they depend on each other.
#[derive(Clone, Debug)]
pub(super) struct Struct {
    fields: Vec<Field>,
    groups: Vec<(Quantity, Vec<String>)>,
    /// Pairs of fields that are the two ends of a time range, by their places in `fields`.
    ranges: Vec<(usize, usize)>,
    /// Whether any name is as good as another: unknown ones are not worth a word.
    any_names: bool,
}

/// One field of a struct.
#[derive(Clone, Debug)]
struct Field {
    name: String,
    shape: Shape,
    required: bool,
    clearable: bool,
    /// Whether that is what `null` does.
    null_clears: bool,
    secret: bool,
}

/// The one pattern inputs may state, in `#[schemars(regex(pattern = …))]`: a slug's.
const SLUG_PATTERN: &str = "^[a-zA-Z0-9_-]+$";

/// Where in the arguments the walk stands; written out only when there is something to say.
#[derive(Clone, Copy)]
pub(super) enum At<'a> {
    Root,
    Field(&'a At<'a>, &'a str),
    Item(&'a At<'a>, usize),
}

impl fmt::Display for At<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Root => Ok(()),
            Self::Field(At::Root, name) => f.write_str(name),
            Self::Field(parent, name) => {
                parent.fmt(f)?;
                write_step(f, name)
            }
            Self::Item(parent, index) => write!(f, "{parent}[{index}]"),
        }
    }
}
