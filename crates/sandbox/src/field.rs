//! Declarations of the fields in request bodies and queries.

use super::store::Item;

/// Type of a field's value.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    /// Any text.
    Text,
    /// A text, or a list of texts.
    TextOrTexts,
    /// A text of at most this many characters.
    TextUpTo(usize),
    /// A text, or an object.
    TextOrObject,
    /// A text that is not blank, at most 255 characters.
    Name,
    /// Letters, digits, `-` and `_`; 255 characters at most.
    Slug,
    /// One of these texts.
    Choice(&'static [&'static str]),
    /// Some of these texts separated by commas, as in queries.
    Choices(&'static [&'static str]),
    /// A boolean.
    Flag,
    /// An integer in an inclusive range, or its text.
    WholeOrText(i64, i64),
    /// An integer in an inclusive range.
    Whole(i64, i64),
    /// A number of at least zero.
    Amount,
    /// A number in an inclusive range.
    Number(f64, f64),
    /// A date and time in ISO 8601.
    Instant,
    /// A date and time in ISO 8601, stored as UTC if it has no zone.
    Moment,
    /// An `http` or `https` URL.
    Url,
    /// An `http` or `https` URL with a public host.
    PublicUrl,
    /// Id or slug of a workspace; stored as the id.
    Workspace,
    /// An object with text values.
    Labels,
    /// An object with text values, as JSON in a text for queries.
    EncodedLabels,
    /// An object whose leaves are numbers of at least zero, or null.
    Multipliers,
    /// Any object, stored as it is.
    Object,
    /// An object with declared fields.
    Shape(&'static Shape),
    /// A list.
    List(&'static List),
    /// A list, or its only item; stored as a list.
    ListOrOne(&'static List),
}

/// Declaration of a list: its items, their number, and a field that must be unique.
#[derive(Debug)]
pub(crate) struct List {
    /// Type of each item.
    pub(crate) of: Kind,
    /// Minimum number of items.
    pub(crate) least: usize,
    /// Maximum number of items.
    pub(crate) most: usize,
    /// Field whose values must be unique among the items.
    pub(crate) unique: Option<&'static str>,
}

impl List {
    /// Declares a list of any length.
    pub(crate) const fn of(kind: Kind) -> Self {
        Self {
            of: kind,
            least: 0,
            most: usize::MAX,
            unique: None,
        }
    }
}

/// Declaration of an object: its fields and a rule across them.
#[derive(Debug)]
pub(crate) struct Shape {
    /// Fields that are validated.
    pub(crate) fields: &'static [Field],
    /// True if other fields are stored as they are; otherwise they are ignored.
    pub(crate) open: bool,
    /// Rule across several valid fields. It returns the reason if they are inconsistent.
    pub(crate) rule: fn(&Item) -> Result<(), &'static str>,
}

impl Shape {
    /// Declares an object without a rule across its fields.
    pub(crate) const fn of(fields: &'static [Field]) -> Self {
        Self {
            fields,
            open: false,
            rule: |_| Ok(()),
        }
    }

    /// Declares an object that also keeps undeclared fields.
    pub(crate) const fn open(fields: &'static [Field]) -> Self {
        Self {
            open: true,
            ..Self::of(fields)
        }
    }
}

/// Default of a field that is absent on creation.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Preset {
    /// Nothing is stored.
    Absent,
    /// `null`.
    Null,
    /// A boolean.
    Flag(bool),
    /// A text.
    Text(&'static str),
    /// `[]`.
    EmptyList,
    /// `{}`.
    EmptyObject,
}

/// Treatment of `null` as the value of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Nulls {
    /// `null` is rejected.
    Refused,
    /// `null` is accepted on creation only, with the same meaning as an absent field.
    AtFirst,
    /// `null` is always accepted; on update it clears the field.
    Clear,
}

/// Declaration of a field in a body or query.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Field {
    /// Name of the field in JSON.
    pub(crate) name: &'static str,
    /// Type of the value.
    pub(crate) kind: Kind,
    /// True if creation requires the field.
    pub(crate) required: bool,
    /// True if updates ignore the field.
    pub(crate) fixed: bool,
    /// Treatment of `null`.
    pub(crate) nulls: Nulls,
    /// Default on creation.
    pub(crate) preset: Preset,
}

impl Field {
    /// Declares an optional field without a default.
    pub(crate) const fn new(name: &'static str, kind: Kind) -> Self {
        let nulls = Nulls::Refused;
        Self {
            name,
            kind,
            required: false,
            fixed: false,
            nulls,
            preset: Preset::Absent,
        }
    }

    /// Makes the field required on creation.
    pub(crate) const fn required(self) -> Self {
        Self {
            required: true,
            ..self
        }
    }

    /// Makes updates ignore the field.
    pub(crate) const fn fixed(self) -> Self {
        Self {
            fixed: true,
            ..self
        }
    }

    /// Accepts `null`, which clears the field.
    pub(crate) const fn nullable(self) -> Self {
        Self {
            nulls: Nulls::Clear,
            ..self
        }
    }

    /// Accepts `null` on creation, but not on update.
    pub(crate) const fn nullable_at_first(self) -> Self {
        Self {
            nulls: Nulls::AtFirst,
            ..self
        }
    }

    /// Sets the default on creation.
    pub(crate) const fn preset(self, preset: Preset) -> Self {
        Self { preset, ..self }
    }
}
