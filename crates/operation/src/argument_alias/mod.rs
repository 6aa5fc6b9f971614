//! Aliases of arguments: names that other servers for the same API use, and the places they stand
//! for.
//!
//! They are resolved before validation, so that policies, audit and requests see canonical
//! arguments only. They are never published.

mod path_name;
mod place;

use serde_json::Value;

use self::{
    path_name::PathName,
    place::{find_slot, is_given, parse_json},
};
use super::{
    BodyKind, Effect, Findings, JsonMap, MAX_DEPTH, MAX_VALUES, Operation, is_same_name,
    measure_json,
};

/// Maximum number of arguments of a call in which aliases are looked for. No operation has as many, and
/// each unknown name is compared with each alias.
const MAX_ALIASED_ARGUMENTS: usize = 200;

/// The wrapper in which some callers give the fields of a request's body.
const BODY_WRAPPER: &str = "body";

/// Further wrappers, around arguments of any kind: those of clients and models, and the one in
/// Portkey's documents on policies.
const WRAPPERS: [&str; 14] = [
    "arguments",
    "args",
    "body",
    "data",
    "input",
    "json",
    "kwargs",
    "options",
    "params",
    "parameters",
    "payload",
    "policy",
    "request",
    "request_body",
];

/// Problem of a patch or its guard that is not where the server looks for it.
const MISPLACED_PATCH: &str = "is taken in this spelling beside the ids, as `patch` or `expect`, not in a `body`, and \
    by updates only";

/// Arguments of this server that requests do not have, each with what is wrong where one is given.
const SERVER_ARGUMENTS: [(&str, &str); 3] = [
    (
        "dry_run",
        "a single call cannot be run dry; the server can, with `--dry-run` or a policy rule",
    ),
    ("patch", MISPLACED_PATCH),
    ("expect", MISPLACED_PATCH),
];

/// Another name of an argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ArgumentAlias {
    name: &'static str,
    target: &'static str,
    rule: AliasRule,
}

/// What an alias does beside a value that stands at its target already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum AliasRule {
    /// Both must be equal.
    Equal,
    /// The alias is the more precise form, and wins with a warning.
    Preferred,
    /// The alias is an object, whose fields belong into the object at the target.
    Spread,
    /// The alias is JSON, and the target is a text that holds it.
    JsonText,
    /// The target is a part of a document, which an update replaces as a whole.
    Part,
    /// No argument: this text is the value of the target if an alias made its object.
    Default(&'static str),
    /// A default with a warning: the caller may have meant another value.
    Assumed(&'static str),
    /// The target is a slug, for which callers have another name. They may give an id instead.
    Slug,
}

/// Declares another name of the argument at `target`, such as `users[].role`.
///
/// The part before `[]` is a list, which then has one item. Both paths may begin with a list and
/// `[*]`, such as `workspaces[*].credit_limit`: then they are those of each of its items.
pub const fn alias(name: &'static str, target: &'static str) -> ArgumentAlias {
    ArgumentAlias {
        name,
        target,
        rule: AliasRule::Equal,
    }
}

/// Declares a list or an object in place of the text at `target`. It wins if both are given.
pub const fn preferred_alias(name: &'static str, target: &'static str) -> ArgumentAlias {
    ArgumentAlias {
        name,
        target,
        rule: AliasRule::Preferred,
    }
}

/// Declares an object whose fields belong into the one at `target`; the empty path is that of all
/// arguments.
pub const fn spread_alias(name: &'static str, target: &'static str) -> ArgumentAlias {
    ArgumentAlias {
        name,
        target,
        rule: AliasRule::Spread,
    }
}

/// Declares a list or an object that the text at `target` takes as JSON.
pub const fn json_text_alias(name: &'static str, target: &'static str) -> ArgumentAlias {
    ArgumentAlias {
        name,
        target,
        rule: AliasRule::JsonText,
    }
}

/// Declares a part of a document that callers give as an argument of its own.
///
/// An update replaces the whole document. The caller is then warned that nothing else remains.
pub const fn part_alias(name: &'static str, target: &'static str) -> ArgumentAlias {
    ArgumentAlias {
        name,
        target,
        rule: AliasRule::Part,
    }
}

/// Declares the text at `target` where aliases make its object, and warns that it was assumed.
pub const fn assumed_default(target: &'static str, text: &'static str) -> ArgumentAlias {
    ArgumentAlias {
        name: "",
        target,
        rule: AliasRule::Assumed(text),
    }
}

/// Declares the text at `target` where aliases make its object.
pub const fn alias_default(target: &'static str, text: &'static str) -> ArgumentAlias {
    ArgumentAlias {
        name: "",
        target,
        rule: AliasRule::Default(text),
    }
}

/// Returns another name of the `slug` in a path.
const fn slug_alias(name: &'static str) -> ArgumentAlias {
    ArgumentAlias {
        name,
        target: "slug",
        rule: AliasRule::Slug,
    }
}

impl ArgumentAlias {
    /// Returns the other name. It is empty for a default.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Returns the path of the argument, such as `configurations.aws_region`.
    pub fn target(&self) -> &'static str {
        self.target
    }

    /// Returns the list and the alias within each of its items, if it is one of those.
    fn in_items(&self) -> Option<ItemAlias> {
        let (list, target) = self.target.split_once("[*].")?;
        let (_, name) = self.name.split_once("[*].").unwrap_or(("", self.name));
        Some(ItemAlias {
            list,
            alias: Self {
                name,
                target,
                rule: self.rule,
            },
        })
    }

    /// Returns the path of the object that holds the target.
    fn parent(&self) -> &'static str {
        self.target
            .rsplit_once('.')
            .map_or("", |(parent, _)| parent)
    }
}

/// An alias within each item of a list.
#[derive(Clone, Copy, Debug)]
struct ItemAlias {
    list: &'static str,
    alias: ArgumentAlias,
}

/// The aliases of one operation, with those that follow from its path.
#[derive(Clone, Debug)]
pub(super) struct ArgumentAliases {
    declared: &'static [ArgumentAlias],
    aliases: Vec<ArgumentAlias>,
    item_aliases: Vec<ItemAlias>,
    path_names: Vec<PathName>,
    /// The argument that a `body` stands for if it is not an object.
    bare_body: Option<&'static str>,
    unwraps_body: bool,
    is_update: bool,
}

impl ArgumentAliases {
    /// Collects the aliases of an operation. `is_argument` tells whether it has an argument of a
    /// name.
    ///
    /// Where a path names one entity, `id` means that one. If it is named by its slug, a UUID is
    /// rejected, because the path would not take it.
    pub(super) fn new(operation: &Operation, is_argument: impl Fn(&str) -> bool) -> Self {
        let declared = operation.argument_aliases;
        let is_of_items = |alias: &&ArgumentAlias| alias.in_items().is_some();
        let mut aliases: Vec<_> = declared
            .iter()
            .filter(|alias| !is_of_items(alias))
            .copied()
            .collect();
        let mut placeholders = operation.placeholders();
        if let (Some(only), None) = (placeholders.next(), placeholders.next())
            && !is_argument("id")
            && !aliases.iter().any(|alias| alias.name == "id")
        {
            if only.ends_with("_id") {
                aliases.push(alias("id", only));
            } else if only == "slug" {
                aliases.push(slug_alias("id"));
            }
        }
        let bare_body = match operation.body {
            BodyKind::Bare(argument) => Some(argument),
            _ => None,
        };
        Self {
            declared,
            aliases,
            item_aliases: declared
                .iter()
                .filter_map(ArgumentAlias::in_items)
                .collect(),
            path_names: PathName::collect(operation, &is_argument),
            bare_body,
            unwraps_body: operation.body != BodyKind::None && !is_argument(BODY_WRAPPER),
            is_update: operation.effect == Effect::Update,
        }
    }

    /// Iterates over the aliases with their targets, without the names of the entity in the path.
    pub(super) fn iter(&self) -> impl Iterator<Item = &ArgumentAlias> {
        let of_items = self
            .declared
            .iter()
            .filter(|alias| alias.in_items().is_some());
        let all = self.aliases.iter().chain(of_items);
        all.filter(|alias| !alias.name.is_empty())
    }

    /// Returns true if items of lists have aliases. They are looked for in calls whose arguments are
    /// all known, too.
    pub(super) fn has_item_aliases(&self) -> bool {
        !self.item_aliases.is_empty()
    }

    /// Returns the path that a name stands for.
    pub(super) fn target(&self, name: &str) -> Option<&'static str> {
        self.find(name).map(|alias| alias.target)
    }

    /// Returns a list and the path that a name stands for within each of its items.
    pub(super) fn target_in_items(
        &self,
        list: &str,
        name: &str,
    ) -> Option<(&'static str, &'static str)> {
        self.item_aliases
            .iter()
            .filter(|item| is_same_name(item.list, list) && !item.alias.name.is_empty())
            .find(|item| is_same_name(item.alias.name, name))
            .map(|item| (item.list, item.alias.target))
    }

    fn find(&self, name: &str) -> Option<&ArgumentAlias> {
        let of_path = || self.path_names.iter().find_map(|known| known.find(name));
        find_alias(&self.aliases, name).or_else(of_path)
    }

    /// Moves every alias to the place it stands for. `is_argument` tells whether a name is declared, and
    /// `is_spelling` whether it is so in any spelling.
    pub(super) fn resolve(
        &self,
        args: &mut JsonMap,
        is_argument: impl Fn(&str) -> bool,
        is_spelling: impl Fn(&str) -> bool,
        findings: &mut Findings,
    ) {
        self.unwrap_arguments(args, is_spelling, findings);
        if self.unwraps_body && args.contains_key(BODY_WRAPPER) {
            self.unwrap_body(args, findings);
        }
        reject_server_arguments(args, &is_argument, findings);
        // A call with more unknown names is rejected.
        if args.len() > MAX_ALIASED_ARGUMENTS {
            return;
        }
        let found: Vec<_> = args
            .keys()
            .filter(|name| !is_argument(name))
            .filter_map(|name| Some((name.clone(), *self.find(name)?)))
            .collect();
        self.warn_of_replaced_document(args, &found, findings);
        place_all(&self.aliases, &found, "", args, findings);
        // An object whose fields are arguments may hold one as well.
        if !found.is_empty() {
            reject_server_arguments(args, &is_argument, findings);
        }
        self.resolve_in_items(args, findings);
    }

    /// Moves the aliases in the items of lists to the places they stand for, within the item.
    fn resolve_in_items(&self, args: &mut JsonMap, findings: &mut Findings) {
        for group in self
            .item_aliases
            .chunk_by(|one, next| one.list == next.list)
        {
            let Some(list) = group.first().map(|first| first.list) else {
                continue;
            };
            let aliases: Vec<_> = group.iter().map(|item| item.alias).collect();
            let given = args.iter_mut().find(|(name, _)| is_same_name(name, list));
            let Some((_, value)) = given else { continue };
            if let Value::String(text) = value
                && let Some(parsed @ Value::Array(_)) = parse_json(text, findings)
            {
                *value = parsed;
            }
            for (i, item) in value.as_array_mut().into_iter().flatten().enumerate() {
                let Some(fields) = item.as_object_mut() else {
                    continue;
                };
                if fields.len() > MAX_ALIASED_ARGUMENTS {
                    continue;
                }
                let found: Vec<_> = fields
                    .keys()
                    .filter_map(|name| Some((name.clone(), *find_alias(&aliases, name)?)))
                    .collect();
                place_all(&aliases, &found, &format!("{list}[{i}]."), fields, findings);
            }
        }
    }

    /// Warns if an update consists of parts of a document, which it replaces as a whole.
    fn warn_of_replaced_document(
        &self,
        args: &JsonMap,
        found: &[(String, ArgumentAlias)],
        findings: &mut Findings,
    ) {
        let is_part = |alias: &ArgumentAlias| alias.rule == AliasRule::Part;
        let part = found.iter().find(|(_, alias)| is_part(alias));
        let document = part.and_then(|(_, alias)| alias.target.split('.').next());
        if let Some(document) = document
            && self.is_update
            && !args.contains_key(document)
        {
            findings.warn(format_args!(
                "`{document}` was replaced as a whole; of the former one nothing remains but what this call gives"
            ));
        }
    }

    /// Moves arguments out of wrappers. A wrapper that has other fields, too, is an unknown argument.
    fn unwrap_arguments(
        &self,
        args: &mut JsonMap,
        is_spelling: impl Fn(&str) -> bool,
        findings: &mut Findings,
    ) {
        for wrapper in WRAPPERS {
            if is_spelling(wrapper) || self.find(wrapper).is_some() {
                continue;
            }
            let given = args
                .keys()
                .find(|name| is_same_name(name, wrapper))
                .cloned();
            let Some(given) = given else { continue };
            let Some((fields, values)) = args.get(&given).and_then(read_wrapper) else {
                continue;
            };
            // Those of this server are unwrapped, too, and then rejected by name.
            let is_own = |name: &str| {
                let mut own = SERVER_ARGUMENTS.iter();
                own.any(|(own, _)| is_same_name(own, name))
            };
            let is_known =
                |name: &String| is_spelling(name) || self.find(name).is_some() || is_own(name);
            // A text that is left as it is does not count as JSON.
            if !fields.is_empty()
                && fields.keys().all(is_known)
                && findings.reserve_json_values(values)
            {
                args.shift_remove(&given);
                add_unwrapped(&given, fields, args, findings);
            }
        }
    }

    /// Moves the fields of a `body` to the other arguments.
    fn unwrap_body(&self, args: &mut JsonMap, findings: &mut Findings) {
        let fields = match args.get(BODY_WRAPPER) {
            Some(Value::Object(_)) => true,
            Some(Value::String(text)) => text.trim_start().starts_with('{'),
            _ => false,
        };
        if !fields {
            if let Some(argument) = self.bare_body
                && !args.contains_key(argument)
                && let Some(value) = args.shift_remove(BODY_WRAPPER)
            {
                args.insert(argument.to_owned(), value);
            }
            return;
        }
        let fields = match args.shift_remove(BODY_WRAPPER) {
            Some(Value::Object(fields)) => fields,
            Some(Value::String(text)) => match parse_json(&text, findings) {
                Some(Value::Object(fields)) => fields,
                _ => return findings.add_error(BODY_WRAPPER, "is no valid JSON object"),
            },
            _ => return,
        };
        add_unwrapped(BODY_WRAPPER, fields, args, findings);
    }
}

/// Returns the fields of a wrapper, and the number of JSON values that its text adds to the arguments. `None` for
/// anything else.
fn read_wrapper(given: &Value) -> Option<(JsonMap, usize)> {
    match given {
        Value::Object(fields) => Some((fields.clone(), 0)),
        Value::String(text) if text.trim_start().starts_with('{') => {
            let (values, depth) = measure_json(text.as_bytes(), MAX_VALUES);
            let fits = depth <= MAX_DEPTH && values <= MAX_VALUES;
            let fields = fits.then(|| serde_json::from_str(text).ok()).flatten()?;
            Some((fields, values))
        }
        _ => None,
    }
}

/// Adds the fields of a wrapper to the other arguments.
fn add_unwrapped(wrapper: &str, fields: JsonMap, args: &mut JsonMap, findings: &mut Findings) {
    for (name, value) in fields {
        match args.get(&name) {
            Some(given) if *given != value => findings.add_error(
                &name,
                format_args!("is given twice with different values, in `{wrapper}` and beside it"),
            ),
            Some(_) => {}
            None => {
                args.insert(name, value);
            }
        }
    }
}

fn find_alias<'a>(aliases: &'a [ArgumentAlias], name: &str) -> Option<&'a ArgumentAlias> {
    let is_meant =
        |alias: &&ArgumentAlias| !alias.name.is_empty() && is_same_name(alias.name, name);
    aliases.iter().find(is_meant)
}

/// Moves the values of these aliases to their targets, and adds the defaults of the objects that they
/// fill. `prefix` is the path of the arguments, for errors.
fn place_all(
    aliases: &[ArgumentAlias],
    found: &[(String, ArgumentAlias)],
    prefix: &str,
    args: &mut JsonMap,
    findings: &mut Findings,
) {
    // An object that the caller wrote stays as it is.
    let is_missing = |alias: &&ArgumentAlias| {
        matches!(alias.rule, AliasRule::Default(_) | AliasRule::Assumed(_))
            && !is_given(args, alias.parent())
    };
    let defaults: Vec<_> = aliases.iter().filter(is_missing).collect();
    for (name, alias) in found {
        let Some(value) = args.shift_remove(name) else {
            continue;
        };
        if let Err(problem) = alias.place(args, name, value, findings) {
            findings.add_error(format_args!("{prefix}{name}"), problem);
        }
    }
    let is_filled = |default: &ArgumentAlias| {
        found
            .iter()
            .any(|(_, alias)| alias.parent() == default.parent())
    };
    for default in defaults.into_iter().filter(|alias| is_filled(alias)) {
        if let AliasRule::Default(text) | AliasRule::Assumed(text) = default.rule
            && let Ok(slot) = find_slot(args, default.target, findings)
            && slot.is_null()
        {
            *slot = text.into();
            if matches!(default.rule, AliasRule::Assumed(_)) {
                let target = default.target;
                findings.warn(format_args!(
                    "`{prefix}{target}` was not given and is `{text}`"
                ));
            }
        }
    }
}

/// Rejects arguments, in any spelling, that ask something of this server and that only other places
/// take. Sent as unknown arguments, they would change something else than the caller wants.
fn reject_server_arguments(
    args: &mut JsonMap,
    is_argument: impl Fn(&str) -> bool,
    findings: &mut Findings,
) {
    for (own, problem) in SERVER_ARGUMENTS {
        if is_argument(own) {
            continue;
        }
        let asked: Vec<_> = args
            .keys()
            .filter(|name| is_same_name(name, own))
            .cloned()
            .collect();
        for name in asked {
            let is_off = match args.shift_remove(&name) {
                None | Some(Value::Null | Value::Bool(false)) => true,
                Some(Value::String(text)) => text.trim().eq_ignore_ascii_case("false"),
                Some(_) => false,
            };
            if !is_off {
                findings.add_error(name, problem);
            }
        }
    }
}
