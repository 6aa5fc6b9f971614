//! Fields: what a request body or a query may hold, declared as data.

use super::store::Item;

/// What a value must be.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    /// Any text.
    Text,
    /// A text, or a list with texts in it.
    TextOrTexts,
    /// A text of at most this many characters.
    TextUpTo(usize),
    /// A text, or an object.
    TextOrObject,
    /// A text with something in it, 255 characters at most.
    Name,
    /// Letters, digits, `-` and `_`; 255 characters at most.
    Slug,
    /// One of these texts.
    Choice(&'static [&'static str]),
    /// Some of these texts, separated by commas, as queries carry them.
    Choices(&'static [&'static str]),
    /// True or false.
    Flag,
    /// A whole number between the two, both included, or the same as a text.
    WholeOrText(i64, i64),
    /// A whole number between the two, both included.
    Whole(i64, i64),
    /// A number from zero up.
    Amount,
    /// A number between the two, both included.
    Number(f64, f64),
    /// A date and time in ISO 8601.
    Instant,
    /// A date and time in ISO 8601, stored as UTC if it has no zone.
    Moment,
    /// An `http` or `https` URL.
    Url,
    /// The same, of a host on the open internet.
    PublicUrl,
    /// Id or slug of a workspace; stored as its id.
    Workspace,
    /// An object with texts in it.
    Labels,
    /// The same, as JSON in a text, as queries carry it.
    EncodedLabels,
    /// An object whose leaves are numbers from zero up, or null.
    Multipliers,
    /// Any object, kept as it is.
    Object,
    /// An object of which these fields are kept.
    Shape(&'static Shape),
    /// A list.
    List(&'static List),
    /// A list, or its only item; stored as a list.
    ListOrOne(&'static List),
}

/// A list: what is in it, how many, and which field of its items may not repeat.
#[derive(Debug)]
pub(crate) struct List {
    /// What each item must be.
    pub(crate) of: Kind,
    /// How few items are allowed.
    pub(crate) least: usize,
    /// How many items are allowed.
    pub(crate) most: usize,
    /// A field that tells the items apart.
    pub(crate) unique: Option<&'static str>,
}

impl List {
    /// A list of any length.
    pub(crate) const fn of(kind: Kind) -> Self {
        Self {
            of: kind,
            least: 0,
            most: usize::MAX,
            unique: None,
        }
    }
}

/// An object: its fields and what must hold between them.
#[derive(Debug)]
pub(crate) struct Shape {
    /// The fields that are checked.
    pub(crate) fields: &'static [Field],
    /// Whether other fields are kept as they are; if not, they are ignored.
    pub(crate) open: bool,
    /// Says what is wrong when each field is right but they do not go together.
    pub(crate) rule: fn(&Item) -> Result<(), &'static str>,
}

impl Shape {
    /// An object whose fields do not constrain each other.
    pub(crate) const fn of(fields: &'static [Field]) -> Self {
        Self {
            fields,
            open: false,
            rule: |_| Ok(()),
        }
    }

    /// The same, with whatever else it holds.
    pub(crate) const fn open(fields: &'static [Field]) -> Self {
        Self {
            open: true,
            ..Self::of(fields)
        }
    }
}

/// What a field left out of a create is stored as.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Preset {
    /// Nothing is stored.
    Absent,
    /// `null`.
    Null,
    /// True or false.
    Flag(bool),
    /// A text.
    Text(&'static str),
    /// `[]`.
    EmptyList,
    /// `{}`.
    EmptyObject,
}

/// Whether `null` is a value for a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Nulls {
    /// Never: it is refused.
    Refused,
    /// On create only, where it means the same as leaving the field out.
    AtFirst,
    /// Always; on update it clears.
    Clear,
}

/// One field of a body or a query.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Field {
    /// Its name on the wire.
    pub(crate) name: &'static str,
    /// What it must be.
    pub(crate) kind: Kind,
    /// Whether a create must have it.
    pub(crate) required: bool,
    /// Whether an update leaves it alone.
    pub(crate) fixed: bool,
    /// Whether it may be `null`.
    pub(crate) nulls: Nulls,
    /// What it is when left out of a create.
    pub(crate) preset: Preset,
}

impl Field {
    /// An optional field that is absent until given.
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

    /// A create must have it.
    pub(crate) const fn required(self) -> Self {
        Self {
            required: true,
            ..self
        }
    }

    /// Only a create reads it.
    pub(crate) const fn fixed(self) -> Self {
        Self {
            fixed: true,
            ..self
        }
    }

    /// It may be `null`, which clears it.
    pub(crate) const fn nullable(self) -> Self {
        Self {
            nulls: Nulls::Clear,
            ..self
        }
    }

    /// It may be `null` on create, but not on update.
    pub(crate) const fn nullable_at_first(self) -> Self {
        Self {
            nulls: Nulls::AtFirst,
            ..self
        }
    }

    /// It is this when left out of a create.
    pub(crate) const fn preset(self, preset: Preset) -> Self {
        Self { preset, ..self }
    }
}
