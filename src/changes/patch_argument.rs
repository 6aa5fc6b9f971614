//! The arguments `patch` and `expect`, which every update accepts beside its own.

use portkey_merge_patch::Patch;
use portkey_operation::{
    CompiledOperation, Effect, InputError, JsonMap, UpdateRules, UpdateSemantics, is_same_name,
};
use serde_json::Value;

/// Argument that holds a patch.
pub const PATCH_ARGUMENT: &str = "patch";
/// Argument that guards a patch.
pub const EXPECT_ARGUMENT: &str = "expect";
/// Maximum number of fields that a guard names.
const MAX_EXPECTED_FIELDS: usize = 50;

/// A patch as the caller gave it.
#[derive(Clone, Debug)]
pub struct PatchRequest {
    /// The patch.
    pub patch: Patch,
    /// Values that must still hold: paths with values, or the version as text.
    pub expect: Option<Value>,
    /// Arguments that locate the resource.
    pub location: JsonMap,
    /// Update rules of the operation.
    pub rules: UpdateRules,
}

/// Returns true if arguments may ask for a change by a patch.
pub fn is_change(args: &JsonMap) -> bool {
    args.contains_key(PATCH_ARGUMENT) || args.contains_key(EXPECT_ARGUMENT)
}

/// Takes the patch and its guard from the arguments of a call. Returns `None` if the call has no
/// patch; its arguments are then unchanged.
///
/// # Errors
/// Returns an error if the operation takes no patch, the patch is invalid, or other changes stand
/// beside it.
pub fn take_patch(
    published: &CompiledOperation,
    args: &mut JsonMap,
) -> Result<Option<PatchRequest>, InputError> {
    let operation = published.operation();
    if operation.effect() != Effect::Update {
        return Ok(None);
    }
    let declares = |name: &str| {
        let properties = published.full_schema().get("properties");
        properties.is_some_and(|properties| properties.get(name).is_some())
    };
    let Some(value) = args.get(PATCH_ARGUMENT) else {
        return match args.contains_key(EXPECT_ARGUMENT) && !declares(EXPECT_ARGUMENT) {
            true => Err(InputError::new(
                EXPECT_ARGUMENT,
                "guards a `patch`, and none is given",
            )),
            false => Ok(None),
        };
    };
    let value = match value {
        // Clients that know no lists or open objects write JSON as text.
        Value::String(text) => serde_json::from_str(text).unwrap_or_else(|_| value.clone()),
        value => value.clone(),
    };
    if declares(PATCH_ARGUMENT) && !value.is_object() && !value.is_array() {
        return Ok(None);
    }
    let rules = match operation.update_semantics() {
        Some(UpdateSemantics::Fields(rules)) => *rules,
        Some(UpdateSemantics::NoPatch(reason)) => {
            let message = format!("`{}` takes none: {reason}", operation.name());
            return Err(InputError::new(PATCH_ARGUMENT, message));
        }
        None => return Ok(None),
    };
    let value = rename_fields(published, value)?;
    let patch = Patch::parse(value).map_err(|error| InputError::new(PATCH_ARGUMENT, error))?;
    let mut location = std::mem::take(args);
    location.shift_remove(PATCH_ARGUMENT);
    let expect = location.shift_remove(EXPECT_ARGUMENT);
    let expect = expect.filter(|expect| !expect.is_null());
    if let Some(Value::Object(fields)) = &expect
        && fields.len() > MAX_EXPECTED_FIELDS
    {
        let message = format!("names more than {MAX_EXPECTED_FIELDS} fields");
        return Err(InputError::new(EXPECT_ARGUMENT, message));
    }
    if expect
        .as_ref()
        .is_some_and(|expect| !expect.is_object() && !expect.is_string())
    {
        let message = "takes an object of paths and the values that they must still have, such as \
                       {\"name\": \"Old\"}, or the version read before as text";
        return Err(InputError::new(EXPECT_ARGUMENT, message));
    }
    Ok(Some(PatchRequest {
        patch,
        expect,
        location: locate(published, location)?,
        rules,
    }))
}

/// Gives the top-level fields of a patch their own names. Under another spelling a field would be new to the state, and
/// what the patch does not name in it would be lost.
///
/// # Errors
/// Returns an error if a field is given in two spellings.
fn rename_fields(published: &CompiledOperation, patch: Value) -> Result<Value, InputError> {
    match patch {
        Value::Object(fields) => {
            let mut renamed = JsonMap::new();
            for (name, value) in fields {
                let own = published.find_meant_argument(&name).unwrap_or(&name);
                if renamed.insert(own.to_owned(), value).is_some() {
                    let at = format!("{PATCH_ARGUMENT}.{own}");
                    return Err(InputError::new(at, "is given in two spellings"));
                }
            }
            Ok(Value::Object(renamed))
        }
        Value::Array(mut operations) => {
            let steps = operations.iter_mut().filter_map(Value::as_object_mut);
            for step in steps {
                for name in ["path", "from"] {
                    if let Some(Value::String(pointer)) = step.get_mut(name) {
                        rename_first_field(published, pointer);
                    }
                }
            }
            Ok(Value::Array(operations))
        }
        other => Ok(other),
    }
}

/// Gives the first field of a JSON Pointer its own name.
fn rename_first_field(published: &CompiledOperation, pointer: &mut String) {
    let Some(rest) = pointer.strip_prefix('/') else {
        return;
    };
    let (first, rest) = match rest.find('/').and_then(|end| rest.split_at_checked(end)) {
        Some((first, rest)) => (first, rest),
        None => (rest, ""),
    };
    // No argument has a name with an escape.
    if let Some(own) = published.find_meant_argument(first) {
        *pointer = format!("/{own}{rest}");
    }
}

/// Returns the arguments beside a patch under their own names.
///
/// # Errors
/// Returns an error if one of them names a change.
fn locate(published: &CompiledOperation, args: JsonMap) -> Result<JsonMap, InputError> {
    let operation = published.operation();
    let mut location = JsonMap::new();
    for (name, value) in args {
        let own = published
            .resolve_argument_alias(&name)
            .or_else(|| {
                operation
                    .placeholders()
                    .chain(operation.query_arguments().iter().copied())
                    .chain(["workspace_id", "organisation_id"])
                    .find(|place| is_same_name(place, &name))
            })
            .map_or_else(|| name.clone(), str::to_owned);
        if operation.is_change(&own) && !value.is_null() {
            let example = serde_json::json!({ &name: "…" });
            let message = format!(
                "cannot stand beside `patch`: put it into the patch, as in {example}, or leave the patch out"
            );
            return Err(InputError::new(name, message));
        }
        if !value.is_null() {
            location.insert(own, value);
        }
    }
    Ok(location)
}
