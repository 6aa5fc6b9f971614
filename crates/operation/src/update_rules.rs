//! Declarations of how the update of a resource behaves, on the row of the operation.
//!
//! A patch is computed from these rules: what reads the current state, and what each field does with
//! a part of its value. What `null` does follows from the struct: it clears a field of the type
//! [`Nullable`](super::Nullable), and is refused elsewhere.

use portkey_merge_patch::{KeyedList, ListRules};

/// The update semantics of an operation.
#[derive(Clone, Copy, Debug)]
pub enum UpdateSemantics {
    /// The operation changes fields of a resource that another operation reads.
    Fields(UpdateRules),
    /// No patch is possible, for a reason that completes "`update-x` takes no `patch`: …".
    NoPatch(&'static str),
}

/// The undo of a call, where it does not follow from the effect: the fields of an update are restored,
/// what was created is deleted, and what was deleted is created again.
#[derive(Clone, Copy, Debug)]
pub enum UndoSemantics {
    /// The operation is called again with arguments from the state before: name of each argument, and
    /// of the field of the state that has its value.
    Repeat(&'static [(&'static str, &'static str)]),
    /// The deletion takes its id from the only entry of a list that was sent.
    DeleteEntry(SentEntry),
    /// Nothing undoes the call, for a reason that completes "`rotate-x` cannot be undone: …".
    Impossible(&'static str),
}

/// An argument that moves a label to a version, away from the one that has it.
#[derive(Clone, Copy, Debug)]
pub struct MovedLabel {
    /// The argument with the label. The listed versions have it in a field of the same name.
    pub argument: &'static str,
    /// The operation that lists the versions.
    pub list: &'static str,
    /// The argument that names a version, which is the `id` of a listed one.
    pub version: &'static str,
}

/// The entry of a list in the arguments of a creation, and where the deletion takes its id.
#[derive(Clone, Copy, Debug)]
pub struct SentEntry {
    /// Argument of the creation with the list.
    pub list: &'static str,
    /// Field of the entry with its id.
    pub field: &'static str,
    /// Argument of the deletion.
    pub argument: &'static str,
}

/// Rules by which the fields of a resource are updated. A field that is left out keeps its value; every other
/// deviation is declared.
#[derive(Clone, Copy, Debug)]
pub struct UpdateRules {
    pub(crate) read: &'static str,
    pub(crate) read_arguments: &'static [(&'static str, &'static str)],
    pub(crate) fields: &'static [UpdateField],
    pub(crate) lists: &'static [KeyedList],
    pub(crate) version: Option<&'static str>,
    pub(crate) create_only: &'static [&'static str],
    pub(crate) partial_flag: Option<PartialFlag>,
    pub(crate) addresses: &'static [&'static str],
    pub(crate) switch: Option<Switch>,
}

/// A flag that stands for everything, and the list that stands for a selection. The upstream removes the list when the
/// flag is set, and clears the flag when the list is given.
#[derive(Clone, Copy, Debug)]
pub struct Switch {
    /// Name of the flag.
    pub flag: &'static str,
    /// Name of the list.
    pub list: &'static str,
}

/// The flag by which an upstream completes a new version from the one before.
#[derive(Clone, Copy, Debug)]
pub struct PartialFlag {
    /// Name of the flag.
    pub argument: &'static str,
    /// Fields that belong to no version.
    pub unversioned: &'static [&'static str],
}

/// Effect of an update on the value of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldUpdate {
    /// The value replaces the stored one as a whole. A patch sends the whole value.
    Replace,
    /// The fields of an object that are left out keep their values. A patch sends those that change.
    Merge,
    /// Entries of a keyed list that are left out stay. A patch sends the entries that change. The
    /// text says what to do instead of removing an entry.
    MergeEntries(&'static str),
    /// The value cannot be read back.
    WriteOnly,
    /// A patch cannot have the field, for a reason that completes "is no part of a patch: …".
    NotInPatch(&'static str),
}

/// A field of an update that differs from the default: replaced as a whole, and read under its own
/// name.
#[derive(Clone, Copy, Debug)]
pub struct UpdateField {
    name: &'static str,
    update: FieldUpdate,
    read_as: &'static str,
    is_json_text: bool,
    item_field: Option<&'static str>,
    read_prefix: &'static str,
    withdrawal_flag: Option<&'static str>,
}

impl UpdateField {
    /// Declares a field whose value replaces the stored one.
    pub const fn replaced(name: &'static str) -> Self {
        Self {
            name,
            update: FieldUpdate::Replace,
            read_as: name,
            is_json_text: false,
            item_field: None,
            read_prefix: "",
            withdrawal_flag: None,
        }
    }

    /// Declares an object whose omitted fields keep their values.
    pub const fn merged(name: &'static str) -> Self {
        Self {
            update: FieldUpdate::Merge,
            ..Self::replaced(name)
        }
    }

    /// Declares a list whose omitted entries stay, with what to do instead of removing an entry. Its
    /// key is in [`UpdateRules::with_lists`].
    pub const fn merged_entries(name: &'static str, removal: &'static str) -> Self {
        Self {
            update: FieldUpdate::MergeEntries(removal),
            ..Self::replaced(name)
        }
    }

    /// Names the flag that withdraws an entry of a list if it is false.
    #[must_use]
    pub const fn withdrawn_by(mut self, flag: &'static str) -> Self {
        self.withdrawal_flag = Some(flag);
        self
    }

    /// Returns the flag that withdraws an entry of a list if it is false.
    pub const fn withdrawal_flag(&self) -> Option<&'static str> {
        self.withdrawal_flag
    }

    /// Declares a field that cannot be read back.
    pub const fn write_only(name: &'static str) -> Self {
        Self {
            update: FieldUpdate::WriteOnly,
            ..Self::replaced(name)
        }
    }

    /// Declares a field that no patch can have, with the reason for callers.
    pub const fn excluded(name: &'static str, reason: &'static str) -> Self {
        Self {
            update: FieldUpdate::NotInPatch(reason),
            ..Self::replaced(name)
        }
    }

    /// Sets a prefix that the state may add to the value.
    #[must_use]
    pub const fn with_read_prefix(mut self, prefix: &'static str) -> Self {
        self.read_prefix = prefix;
        self
    }

    /// Returns the prefix that the state may add to the value; empty if there is none.
    pub const fn read_prefix(&self) -> &'static str {
        self.read_prefix
    }

    /// Sets the name under which the state has the field.
    #[must_use]
    pub const fn read_as(mut self, name: &'static str) -> Self {
        self.read_as = name;
        self
    }

    /// Declares that the state has the field as a text of JSON.
    #[must_use]
    pub const fn as_json_text(mut self) -> Self {
        self.is_json_text = true;
        self
    }

    /// Declares that the state has objects in the list where the update takes this field of each.
    #[must_use]
    pub const fn as_items_by(mut self, field: &'static str) -> Self {
        self.item_field = Some(field);
        self
    }

    /// Returns the field of each item that the update takes, where the state has objects.
    pub const fn item_field(&self) -> Option<&'static str> {
        self.item_field
    }

    /// Returns the name of the argument.
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// Returns what the update does with the value.
    pub const fn update(&self) -> FieldUpdate {
        self.update
    }

    /// Returns the name under which the state has the field.
    pub const fn read_name(&self) -> &'static str {
        self.read_as
    }

    /// Returns true if the state has the field as a text of JSON.
    pub const fn is_json_text(&self) -> bool {
        self.is_json_text
    }
}

impl UpdateRules {
    /// Declares the operation that reads the current state, by the same path arguments.
    pub const fn read_by(read: &'static str) -> Self {
        Self {
            read,
            read_arguments: &[],
            fields: &[],
            lists: &[],
            version: None,
            create_only: &[],
            partial_flag: None,
            addresses: &[],
            switch: None,
        }
    }

    /// Declares a flag for everything beside a list of a selection.
    #[must_use]
    pub const fn with_switch(mut self, flag: &'static str, list: &'static str) -> Self {
        self.switch = Some(Switch { flag, list });
        self
    }

    /// Returns the flag for everything beside a list of a selection.
    pub const fn switch(&self) -> Option<Switch> {
        self.switch
    }

    /// Names arguments that the read needs beside those of the update, each with its value.
    #[must_use]
    pub const fn with_read_arguments(
        mut self,
        arguments: &'static [(&'static str, &'static str)],
    ) -> Self {
        self.read_arguments = arguments;
        self
    }

    /// Declares the fields that are not simply replaced.
    #[must_use]
    pub const fn with_fields(mut self, fields: &'static [UpdateField]) -> Self {
        self.fields = fields;
        self
    }

    /// Declares the lists whose entries a patch may name by a key.
    #[must_use]
    pub const fn with_lists(mut self, lists: &'static [KeyedList]) -> Self {
        self.lists = lists;
        self
    }

    /// Names the field of the state that each update changes.
    #[must_use]
    pub const fn with_version(mut self, field: &'static str) -> Self {
        self.version = Some(field);
        self
    }

    /// Names fields that are set when the resource is created, and stay.
    #[must_use]
    pub const fn with_create_only(mut self, fields: &'static [&'static str]) -> Self {
        self.create_only = fields;
        self
    }

    /// Names the flag by which the upstream completes a new version itself, and the fields that make
    /// no version. A patch sets the flag.
    #[must_use]
    pub const fn with_partial_flag(
        mut self,
        argument: &'static str,
        unversioned: &'static [&'static str],
    ) -> Self {
        self.partial_flag = Some(PartialFlag {
            argument,
            unversioned,
        });
        self
    }

    /// Returns the name of the operation that reads the current state.
    pub const fn read(&self) -> &'static str {
        self.read
    }

    /// Returns the arguments that the read needs beside those of the update.
    pub const fn read_arguments(&self) -> &'static [(&'static str, &'static str)] {
        self.read_arguments
    }

    /// Returns the declared fields.
    pub const fn fields(&self) -> &'static [UpdateField] {
        self.fields
    }

    /// Returns what the update does with the value of a field.
    pub fn field_update(&self, name: &str) -> FieldUpdate {
        let declared = self.fields.iter().find(|field| field.name == name);
        declared.map_or(FieldUpdate::Replace, |field| field.update)
    }

    /// Returns the names of the fields by which entries of a list are told apart; none if they have no key.
    pub fn entry_key(&self, list: &str) -> Vec<&'static str> {
        let lists = self.lists.iter().filter(|rule| rule.path == list);
        let keys = lists.flat_map(|rule| rule.keys);
        keys.flat_map(|key| key.0.iter().map(|field| field.name))
            .collect()
    }

    /// Returns the lists whose entries a patch may name by a key.
    pub const fn list_rules(&self) -> ListRules {
        ListRules(self.lists)
    }

    /// Returns the field of the state that each update changes.
    pub const fn version_field(&self) -> Option<&'static str> {
        self.version
    }

    /// Returns the fields that are set when the resource is created, and stay.
    pub const fn create_only(&self) -> &'static [&'static str] {
        self.create_only
    }

    /// Returns the flag by which the upstream completes a new version itself.
    pub const fn partial_flag(&self) -> Option<PartialFlag> {
        self.partial_flag
    }
}
