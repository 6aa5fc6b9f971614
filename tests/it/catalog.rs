//! Rules that every operation must satisfy.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use portkey_api::{catalog::Catalog, domains::DOMAINS};
use portkey_mcp::mcp::{server, surface::Surface};
use portkey_operation::{
    CompiledOperation, Effect, JsonMap, Operation, Presentation, Profile, UnknownFields,
    ValidationOptions,
};
use serde_json::{Value, json};

use crate::support::generated::check_generated_file;

fn check_each(check: impl Fn(&CompiledOperation) -> Result<(), String>) {
    let catalog = Catalog::full();
    let faults: Vec<_> = catalog
        .iter()
        .map(|entry| entry.compiled())
        .filter_map(|p| {
            check(p)
                .err()
                .map(|fault| format!("{:?}: {fault}", p.operation()))
        })
        .collect();
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

fn ensure(holds: bool, fault: impl Into<String>) -> Result<(), String> {
    if holds { Ok(()) } else { Err(fault.into()) }
}

/// Visits `schema` and every schema below it, with the path to each.
pub(crate) fn visit_schemas<'a>(
    at: &str,
    schema: &'a Value,
    visit: &mut impl FnMut(&str, &'a Value),
) {
    visit(at, schema);
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        visit_schemas(&format!("{at}.{name}"), field, visit);
    }
    for part in ["items", "additionalProperties"] {
        if let Some(inner) = schema.get(part).filter(|inner| inner.is_object()) {
            visit_schemas(&format!("{at}[]"), inner, visit);
        }
    }
}

/// Adds the first field that makes a change to the arguments of an update that lacks one.
pub(crate) fn with_required_change(
    published: &CompiledOperation,
    args: Value,
    value: impl Fn(&str, &Value) -> Value,
) -> Value {
    let names_no_change = |args: &Value| {
        let outcome = published.validate_with_defaults(args.as_object().unwrap().clone());
        outcome.is_err_and(|error| error.to_string().contains("nothing to change is given"))
    };
    if !names_no_change(&args) {
        return args;
    }
    let fields = published.full_schema()["properties"]
        .as_object()
        .into_iter()
        .flatten();
    let mut more = fields
        .filter(|(name, _)| args.get(name.as_str()).is_none())
        .map(|(name, field)| {
            let mut args = args.clone();
            args[name.as_str()] = value(name, field);
            args
        });
    more.find(|args| !names_no_change(args)).unwrap()
}

#[test]
fn names_and_endpoints_are_unique() {
    let operations = || DOMAINS.iter().flat_map(|domain| domain.operations);
    let own_names = |o: &'static Operation| {
        let aliases = o.alias_names().iter().copied();
        let names = [o.name()].into_iter().chain(aliases);
        names.map(|name| (name.to_owned(), o.name()))
    };
    let names: Vec<_> = operations().flat_map(own_names).collect();
    let endpoints = operations().map(|o| {
        let line = format!("{:?} {} {}", o.base(), o.method(), o.path());
        (line, o.name())
    });
    let mut owners: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for (value, tool) in names.iter().cloned().chain(endpoints) {
        owners.entry(value).or_default().push(tool);
    }
    let shared = owners.iter().filter(|(_, tools)| tools.len() > 1);
    let faults: Vec<_> = shared
        .map(|(value, tools)| format!("`{value}`: {}", tools.join(", ")))
        .collect();
    assert!(
        faults.is_empty(),
        "operations in crates/portkey-api/src/domains/ have the same name, alias or endpoint:\n{}",
        faults.join("\n")
    );
    assert!(
        names.iter().all(|(name, _)| !name.contains('_')),
        "aliases are kebab-case too"
    );
}

#[test]
fn tool_names_fit_every_client() {
    check_each(|p| {
        let name = p.operation().name();
        ensure(
            name.len() <= 40,
            format!("{} characters, at most 40", name.len()),
        )?;
        ensure(
            !name.contains("--") && name.starts_with(|c: char| c.is_ascii_lowercase()),
            "odd name",
        )
    });
}

/// Minimum percentage of operations with search terms. A new operation may lack them until a maintainer adds
/// them.
const MIN_SEARCH_TERMS_PERCENT: usize = 95;

/// Search terms add words that the name, title and description lack.
#[test]
fn search_terms_are_few_and_new() {
    let catalog = Catalog::full();
    let without: Vec<_> = catalog
        .iter()
        .map(|entry| entry.operation)
        .filter(|operation| operation.search_terms().is_empty())
        .map(Operation::name)
        .collect();
    if !without.is_empty() {
        eprintln!("maintainers: operations without search terms: {without:?}");
    }
    let total = catalog.iter().count();
    assert!(
        (total - without.len()) * 100 >= total * MIN_SEARCH_TERMS_PERCENT,
        "too many operations without search terms: {without:?}. Maintainers add `.with_search_terms(…)` to their \
         rows in crates/portkey-api/src/domains/"
    );
    check_each(|p| {
        let name = p.operation().name();
        let words = p.operation().search_terms();
        ensure(
            words.is_empty() || (3..=6).contains(&words.len()),
            format!("{} search terms, 3 to 6 wanted, or none", words.len()),
        )?;
        let distinct: BTreeSet<_> = words.iter().map(|word| word.to_lowercase()).collect();
        ensure(distinct.len() == words.len(), "a word stands twice")?;
        let text = format!("{name} {} {}", p.title(), p.description()).to_lowercase();
        words.iter().try_for_each(|word| {
            let plain = word.trim() == *word && (2..=40).contains(&word.len());
            ensure(plain, format!("`{word}` is no short phrase"))?;
            ensure(
                word.replace(' ', "-") != name,
                format!("`{word}` is the name"),
            )?;
            ensure(
                !text.contains(&word.to_lowercase()),
                format!("`{word}` is told already"),
            )
        })
    });
}

#[test]
fn placeholders_are_required_arguments() {
    check_each(|p| {
        let required = p.full_schema()["required"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        p.operation().placeholders().try_for_each(|name| {
            ensure(
                required.contains(&json!(name)),
                format!("`{{{name}}}` is no required argument"),
            )
        })
    });
}

#[test]
fn query_names_are_arguments() {
    check_each(|p| {
        p.operation().query_arguments().iter().try_for_each(|name| {
            let known = p.full_schema()["properties"].get(name).is_some();
            ensure(
                known,
                format!("`.query` names `{name}`, which is no argument"),
            )
        })
    });
}

/// An argument must not set a header that the client itself sets.
#[test]
fn header_arguments_exist_and_set_only_enkrypt_headers() {
    check_each(|p| {
        let headers = p.operation().header_arguments();
        headers.iter().try_for_each(|(argument, header)| {
            let known = p.full_schema()["properties"].get(argument).is_some();
            ensure(
                known,
                format!("`.headers` names `{argument}`, which is no argument"),
            )?;
            let fits = header.starts_with("x-enkrypt-") && *header == header.to_lowercase();
            ensure(
                fits,
                format!("{header} is not a header that a call may set"),
            )
        })
    });
}

/// Some gateways reject descriptions with backticks or semicolons.
#[test]
fn published_texts_have_no_backtick_and_no_semicolon() {
    let mut faults = Vec::new();
    for profile in Profile::ALL {
        let catalog = Catalog::with_presentation(Presentation {
            profile,
            ..Presentation::default()
        });
        for surface in [Surface::Operations, Surface::Compact] {
            for tool in server::build_tools(surface, catalog.presentation(), catalog.iter()) {
                let mut texts = vec![tool.title.clone().unwrap_or_default()];
                texts.extend(tool.description.as_deref().map(str::to_owned));
                let schema = Value::Object(tool.input_schema.as_ref().clone());
                visit_schemas("", &schema, &mut |_, schema| {
                    texts.extend(schema["description"].as_str().map(str::to_owned));
                });
                let odd = texts.iter().filter(|text| text.contains(['`', ';']));
                faults
                    .extend(odd.map(|text| format!("{} {}: {text}", profile.as_str(), tool.name)));
                let annotations = tool.annotations.unwrap();
                assert_eq!(annotations.title, tool.title, "{}", tool.name);
            }
        }
    }
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

#[test]
fn tools_and_fields_are_described() {
    check_each(|p| {
        ensure(
            (1..=48).contains(&p.title().len()),
            "the title is missing or long",
        )?;
        ensure(!p.title().ends_with('.'), "a title is not a sentence")?;
        ensure(
            p.description().ends_with('.'),
            "the description is missing or no sentence",
        )?;
        let mut mute = Vec::new();
        let full = p.full_schema();
        collect_undescribed("", full, &mut mute);
        ensure(
            mute.is_empty(),
            format!("say what these are: {}", mute.join(", ")),
        )
    });
}

/// Collects fields without a description, unless their struct describes them or is in a hidden
/// field, whose own description is enough. `name` says what it is.
fn collect_undescribed(at: &str, schema: &Value, mute: &mut Vec<String>) {
    if schema.get("x-publish").is_some() {
        // At the root, the description of the tool is the one that describes the fields.
        if !at.is_empty() && schema["description"].as_str().is_none_or(str::is_empty) {
            mute.push(at.to_owned());
        }
        return;
    }
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        let at = format!("{at}.{name}");
        if name != "name" && field["description"].as_str().is_none_or(str::is_empty) {
            mute.push(at.clone());
        }
        collect_undescribed(&at, field, mute);
    }
    if let Some(items) = schema.get("items") {
        collect_undescribed(&format!("{at}[]"), items, mute);
    }
}

/// A struct whose description names its fields must name every field. A reference to a field that
/// is described elsewhere counts.
#[test]
fn descriptions_that_name_fields_name_all_of_them() {
    let catalog = Catalog::full();
    let mut descriptions = BTreeMap::new();
    for entry in catalog.iter() {
        for (name, field) in entry.compiled().schema()["properties"].as_object().unwrap() {
            descriptions.insert(
                (entry.operation.name(), name.clone()),
                expand_braces(&field.to_string()),
            );
        }
    }
    check_each(|p| {
        let mut missing = Vec::new();
        for (name, field) in p.full_schema()["properties"]
            .as_object()
            .into_iter()
            .flatten()
        {
            // An unlisted field has no text that could refer elsewhere.
            let Some(mut text) = descriptions
                .get(&(p.operation().name(), name.clone()))
                .cloned()
            else {
                continue;
            };
            // Published texts have no backticks.
            let source = field.to_string();
            // "As in `create-integration`" refers to this field of that tool. "As in `workspaces`"
            // refers to that field of this tool.
            for ((tool, field), other) in &descriptions {
                let there = field == name && source.contains(&format!("`{tool}`"));
                let here = *tool == p.operation().name() && source.contains(&format!("`{field}`"));
                if there || here {
                    text += other;
                }
            }
            visit_schemas(name, field, &mut |at, schema| {
                if schema["x-publish"] != "omit-fields" {
                    return;
                }
                // A list has the mark if its items are named elsewhere.
                let fields = schema["properties"].as_object().into_iter().flatten();
                missing.extend(
                    fields
                        // Accepted, and too rare to be described.
                        .filter(|(_, field)| field["x-publish"] != "hidden")
                        .map(|(f, _)| f)
                        .filter(|f| !text.contains(*f))
                        .map(|f| format!("{at}.{f}")),
                );
            });
        }
        ensure(
            missing.is_empty(),
            format!("not named: {}", missing.join(", ")),
        )
    });
}

/// An unlisted field is optional, and the tool's description names it.
#[test]
fn unlisted_field_is_optional_and_named() {
    check_each(|p| {
        let full = p.full_schema();
        let required = full["required"].as_array().cloned().unwrap_or_default();
        let mut description = expand_braces(p.description());
        // A description may leave the names to another tool that is named.
        if let Some((_, tool)) = p.description().split_once("as in ") {
            let tool = tool.trim_end_matches('.');
            let catalog = Catalog::full();
            let other = catalog
                .find(tool)
                .map_err(|_| format!("there is no `{tool}`"))?;
            description.push_str(&expand_braces(other.compiled().description()));
        }
        full["properties"]
            .as_object()
            .into_iter()
            .flatten()
            .try_for_each(|(name, field)| {
                let unlisted = field["x-publish"] == "hidden";
                let fair = !required.contains(&json!(name)) && description.contains(name);
                ensure(
                    !unlisted || fair,
                    format!("`{name}` is neither listed nor named"),
                )
            })
    });
}

/// Expands `a_{b,c}_d` to `a_b_d a_c_d`, repeatedly.
fn expand_braces(text: &str) -> String {
    let mut words: Vec<String> = text.split_whitespace().map(str::to_owned).collect();
    let mut out = String::new();
    while let Some(word) = words.pop() {
        match word
            .split_once('{')
            .and_then(|(a, rest)| Some((a, rest.split_once('}')?)))
        {
            Some((before, (inner, after))) if inner.contains(',') => {
                words.extend(inner.split(',').map(|one| format!("{before}{one}{after}")));
            }
            _ => {
                out.push_str(&word);
                out.push(' ');
            }
        }
    }
    out
}

/// Tools that pass on any parameter of a chat completion beside their named arguments.
const OPEN_TOOLS: [&str; 2] = ["create-prompt-completion", "render-prompt"];

#[test]
fn unknown_arguments_are_rejected_in_deny_mode() {
    check_each(|p| {
        let mut open = Vec::new();
        visit_schemas("", p.full_schema(), &mut |at, schema| {
            let closed = at.is_empty() && OPEN_TOOLS.contains(&p.operation().name())
                || schema["additionalProperties"] == false;
            if schema.get("properties").is_some() && !closed {
                open.push(at.to_owned());
            }
        });
        ensure(open.is_empty(), format!("open: {}", open.join(", ")))?;
        if OPEN_TOOLS.contains(&p.operation().name()) {
            return Ok(());
        }
        let unknown = JsonMap::from_iter([("no_such_argument".to_owned(), json!(1))]);
        let options = ValidationOptions {
            unknown_fields: UnknownFields::Deny,
            ..Default::default()
        };
        let refusal = p.validate(unknown, &options).err().map(|e| e.to_string());
        ensure(
            refusal.is_some_and(|text| text.contains("no_such_argument")),
            "an unknown argument passes where it is to be denied",
        )
    });
}

/// The argument schema supports one pattern and no formats. Any other keyword would be published
/// without being checked.
#[test]
fn published_constraints_are_checked() {
    let known = [
        "type",
        "description",
        "title",
        "enum",
        "items",
        "properties",
        "required",
        "minimum",
        "maximum",
        "minItems",
        "maxItems",
        "minLength",
        "maxLength",
        "additionalProperties",
        "x-clearable",
        "x-secret",
        "x-publish",
        "x-or-list",
        "x-or-text",
        "x-open",
        "x-time",
        "x-widest",
        "x-at-most-one",
        "x-at-most-one-advised",
        "x-exactly-one",
        "x-at-least-one",
    ];
    check_each(|p| {
        let mut faults = Vec::new();
        visit_schemas("", p.full_schema(), &mut |at, schema| {
            for (key, value) in schema.as_object().into_iter().flatten() {
                let slug = key == "pattern" && value == "^[a-zA-Z0-9_-]+$";
                if !slug && !known.contains(&key.as_str()) {
                    faults.push(format!("{at} says `{key}`, which nothing checks"));
                }
                let is_known = ["types-only", "omit-fields", "hidden"]
                    .iter()
                    .any(|it| value == it);
                if key == "x-publish" && !is_known {
                    faults.push(format!("{at} is published as {value}, which is unknown"));
                }
            }
        });
        ensure(faults.is_empty(), faults.join(", "))
    });
}

/// Fields of creates for which the API's documents allow `null`.
const NULLABLE_IN_CREATES: &[(&str, &[&str])] = &[
    (
        "create-api-key",
        &["rate_limits", "expires_at", "rotation_policy"],
    ),
    ("create-deployment", &["tags"]),
    ("create-feedback", &["weight", "metadata"]),
    ("create-integration", &["pricing_adjustments"]),
    (
        "create-mcp-integration",
        &["description", "secret_mappings"],
    ),
    ("create-mcp-server", &["description"]),
    ("create-prompt", &["parameters"]),
    (
        "create-prompt-completion",
        &[
            "temperature",
            "top_p",
            "max_tokens",
            "max_completion_tokens",
            "frequency_penalty",
            "presence_penalty",
            "n",
            "stop",
            "stream",
            "seed",
        ],
    ),
    ("create-provider", &["note", "tags"]),
    ("create-rate-limits-policy", &["description"]),
    (
        "create-secret-reference",
        &["description", "secret_key", "tags"],
    ),
    (
        "create-usage-limits-policy",
        &[
            "alert_threshold",
            "periodic_reset",
            "periodic_reset_days",
            "next_usage_reset_at",
            "description",
        ],
    ),
    (
        "create-virtual-key",
        &["note", "apiVersion", "resourceName", "deploymentName"],
    ),
    ("create-workspace", &["icon"]),
];

/// `Nullable` means that `null` clears the stored value, and a create has none.
#[test]
fn create_has_no_clearable_field() {
    check_each(|p| {
        let operation = p.operation();
        if operation.effect() != Effect::Create || operation.method() != "POST" {
            return Ok(());
        }
        let fields = p.full_schema()["properties"].as_object();
        let odd: Vec<_> = fields
            .into_iter()
            .flatten()
            .filter(|(_, field)| field.get("x-clearable").is_some())
            .map(|(name, _)| name.as_str())
            .filter(|name| {
                let is_listed = |(tool, fields): &(&str, &[&str])| {
                    *tool == operation.name() && fields.contains(name)
                };
                !NULLABLE_IN_CREATES.iter().any(is_listed)
            })
            .collect();
        ensure(
            odd.is_empty(),
            format!(
                "`Nullable` on a create: {}. Nothing is stored yet that `null` could clear: write \
                 `Option<T>` in the struct. If Portkey's OpenAPI document allows `null` here, a maintainer \
                 adds the field to NULLABLE_IN_CREATES in tests/it/catalog.rs.",
                odd.join(", ")
            ),
        )
    });
}

#[test]
fn hints_fit_the_method() {
    check_each(|p| {
        let hints = p.operation().hints();
        let operation = p.operation();
        let get = operation.method() == "GET";
        ensure(!get || hints.read_only, "a GET that does not read")?;
        ensure(
            operation.method() != "DELETE" || hints.destructive,
            "a DELETE that destroys nothing",
        )?;
        ensure(
            !(hints.read_only && hints.destructive),
            "reads and destroys",
        )?;
        ensure(
            !operation.is_retryable() || hints.idempotent,
            "sent again although not idempotent",
        )
    });
}

/// The tools of the read-only mode are a promise. `UPDATE=1` writes the list, and its diff is reviewed: a
/// tool on it must change nothing, whatever its arguments.
#[test]
fn read_only_list_is_up_to_date() {
    let catalog = Catalog::full();
    let operations = catalog.iter().map(|entry| entry.operation);
    let reads: String = operations
        .filter(|o| o.hints().read_only)
        .map(|o| format!("{}\n", o.name()))
        .collect();
    check_generated_file(Path::new("tests/data/reads.txt"), &reads);
}
