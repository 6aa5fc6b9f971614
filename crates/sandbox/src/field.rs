//! Declarations of the fields in request bodies and queries.

use super::store::Item;

/// Type of a field's value.
#[derive(Clone, Copy, Debug)]
pub(crate) enum FieldType {
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
    Enum(&'static [&'static str]),
    /// Some of these texts separated by commas, as in queries.
    EnumList(&'static [&'static str]),
    /// A boolean.
    Bool,
    /// An integer in an inclusive range, or its text.
    IntegerOrText(i64, i64),
    /// An integer in an inclusive range.
    Integer(i64, i64),
    /// A number of at least zero.
    NonNegative,
    /// A number in an inclusive range.
    Number(f64, f64),
    /// A date and time in ISO 8601.
    Timestamp,
    /// A date and time in ISO 8601, stored as UTC if it has no zone.
    TimestampOrLocal,
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
    AnyObject,
    /// An object with declared fields.
    Object(&'static ObjectSchema),
    /// A list.
    List(&'static ListSchema),
    /// A list, or its only item; stored as a list.
    ListOrItem(&'static ListSchema),
}

/// Declaration of a list: its items, their number, and a field that must be unique.
#[derive(Debug)]
pub(crate) struct ListSchema {
    /// Type of each item.
    pub(crate) item_type: FieldType,
    /// Minimum number of items.
    pub(crate) min_items: usize,
    /// Maximum number of items.
    pub(crate) max_items: usize,
    /// Field whose values must be unique among the items.
    pub(crate) unique_field: Option<&'static str>,
}

impl ListSchema {
    /// Declares a list of any length.
    pub(crate) const fn new(kind: FieldType) -> Self {
        Self {
            item_type: kind,
            min_items: 0,
            max_items: usize::MAX,
            unique_field: None,
        }
    }
}

/// Declaration of an object: its fields and a rule across them.
#[derive(Debug)]
pub(crate) struct ObjectSchema {
    /// Fields that are validated.
    pub(crate) fields: &'static [Field],
    /// True if other fields are stored as they are; otherwise they are ignored.
    pub(crate) keeps_unknown: bool,
    /// Rule across several valid fields. It returns the reason if they are inconsistent.
    pub(crate) rule: fn(&Item) -> Result<(), &'static str>,
}

impl ObjectSchema {
    /// Declares an object without a rule across its fields.
    pub(crate) const fn new(fields: &'static [Field]) -> Self {
        Self {
            fields,
            keeps_unknown: false,
            rule: |_| Ok(()),
        }
    }

    /// Declares an object that also keeps undeclared fields.
    pub(crate) const fn with_unknown_fields(fields: &'static [Field]) -> Self {
        Self {
            keeps_unknown: true,
            ..Self::new(fields)
        }
    }
}

/// Default of a field that is absent on creation.
#[derive(Clone, Copy, Debug)]
pub(crate) enum DefaultValue {
    /// Nothing is stored.
    Absent,
    /// `null`.
    Null,
    /// A boolean.
    Bool(bool),
    /// A text.
    Text(&'static str),
    /// `[]`.
    EmptyList,
    /// `{}`.
    EmptyObject,
}

/// Treatment of `null` as the value of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NullPolicy {
    /// `null` is rejected.
    Rejected,
    /// `null` is accepted on creation only, with the same meaning as an absent field.
    OnCreate,
    /// `null` is always accepted; on update it clears the field.
    Allowed,
}

/// Declaration of a field in a body or query.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Field {
    /// Name of the field in JSON.
    pub(crate) name: &'static str,
    /// Type of the value.
    pub(crate) kind: FieldType,
    /// True if creation requires the field.
    pub(crate) required: bool,
    /// True if updates ignore the field.
    pub(crate) immutable: bool,
    /// Treatment of `null`.
    pub(crate) null_policy: NullPolicy,
    /// Default on creation.
    pub(crate) default: DefaultValue,
}

impl Field {
    /// Declares an optional field without a default.
    pub(crate) const fn new(name: &'static str, kind: FieldType) -> Self {
        let nulls = NullPolicy::Rejected;
        Self {
            name,
            kind,
            required: false,
            immutable: false,
            null_policy: nulls,
            default: DefaultValue::Absent,
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
    pub(crate) const fn immutable(self) -> Self {
        Self {
            immutable: true,
            ..self
        }
    }

    /// Accepts `null`, which clears the field.
    pub(crate) const fn nullable(self) -> Self {
        Self {
            null_policy: NullPolicy::Allowed,
            ..self
        }
    }

    /// Accepts `null` on creation, but not on update.
    pub(crate) const fn nullable_on_create(self) -> Self {
        Self {
            null_policy: NullPolicy::OnCreate,
            ..self
        }
    }

    /// Sets the default on creation.
    pub(crate) const fn with_default(self, preset: DefaultValue) -> Self {
        Self {
            default: preset,
            ..self
        }
    }
}
