//! The generated parts of the documents: tools, domains and options.

use std::{collections::BTreeMap, fs, path::Path};

use clap::{Arg, ArgAction, Command};
use portkey_api::{
    catalog::Catalog,
    domains::{DOMAINS, Domain},
};
use portkey_operation::Upstream;
use serde_json::{Value, json};

use crate::support::{generated::check_generated_file, process::run_cli};

#[test]
fn tool_reference_is_up_to_date() {
    let (ok, reference, _) = run_cli(&["tools", "--format", "markdown", "--sandbox", "--preview"]);
    assert!(ok);
    check_generated_file(Path::new("docs/tools.md"), &reference);
}

/// Sets the number before a noun: in `189 operations`, the 189.
fn with_count(text: &str, noun: &str, count: usize) -> String {
    let mut words: Vec<_> = text.split(' ').map(str::to_owned).collect();
    for i in 1..words.len() {
        let is_number = words[i - 1].bytes().all(|byte| byte.is_ascii_digit());
        if words[i] == noun && is_number && !words[i - 1].is_empty() {
            words[i - 1] = count.to_string();
        }
    }
    words.join(" ")
}

/// The table of domains in README, and the number of Portkey's operations before it, are generated from the
/// declarations. One test writes the file, so that no change is lost.
#[test]
fn readme_is_up_to_date() {
    let mut table = "| Domain | Tools | What for |\n| --- | ---: | --- |\n".to_owned();
    for domain in DOMAINS {
        let name = domain.name;
        let count = domain.stable_operations().count();
        if count == 0 {
            continue;
        }
        let about = domain.about;
        table += &format!("| [{name}](docs/tools.md#{name}) | {count} | {about} |\n");
    }
    let operations = DOMAINS.iter().flat_map(Domain::stable_operations);
    let count = operations
        .filter(|operation| operation.base().upstream() == Upstream::Portkey)
        .count();
    let readme = replace_block("README.md", "domains", &table);
    let (before, rest) = readme.split_once("<!-- domains -->").unwrap();
    let before = with_count(before, "operations", count);
    let fresh = format!("{before}<!-- domains -->{rest}");
    check_generated_file(Path::new("README.md"), &fresh);
    check_first_question();
}

/// The first question of the README, its answer and its picture are those of the sandbox.
fn check_first_question() {
    let question = [
        "call",
        "report-costs",
        "period=2026-10",
        "by=model",
        "--sandbox",
        "--sandbox-now",
        "2026-11-15T12:00:00Z",
    ];
    let (ok, answer, error) = run_cli(&[&question[..], &["chart=svg"]].concat());
    assert!(ok, "{error}");
    let answer: Value = serde_json::from_str(&answer).unwrap();
    let chart = answer["chart"]["svg"].as_str().unwrap();
    let chart = format!("{}\n", chart.trim_end());
    check_generated_file(Path::new("docs/images/cost-chart.svg"), &chart);

    const FILTER: &str = "{total, previous_total}, (.groups[] | {name, cost, previous})";
    let pick = |from: &Value, fields: &[&str]| {
        let mut picked = json!({});
        for field in fields {
            picked[field] = from[field].clone();
        }
        format!("{picked}\n")
    };
    let mut shown = format!(
        "```console\n$ portkey-mcp {} |\n    jq -c '{FILTER}'\n",
        question.join(" ")
    );
    shown += &pick(&answer, &["total", "previous_total"]);
    for group in answer["groups"].as_array().unwrap() {
        shown += &pick(group, &["name", "cost", "previous"]);
    }
    check_block("README.md", "question", &format!("{shown}```\n"));
}

/// The reference between the two marks in `docs/options.md` is written from the definitions of clap.
#[test]
fn option_reference_is_up_to_date() {
    let command = portkey_mcp::cli::command();
    let mut reference = "\n## Options that commands share\n\n".to_owned();
    push_shared_options(&mut reference);
    push_options(&mut reference, command.get_name(), &command);
    let visible = command.get_subcommands().filter(|sub| !sub.is_hide_set());
    for subcommand in visible {
        push_command(&mut reference, command.get_name(), subcommand);
    }
    reference.push('\n');
    check_block("docs/options.md", "options", &reference);
}

/// The table of other names of arguments in `docs/migrating.md` is written from the declarations.
#[test]
fn alias_reference_is_up_to_date() {
    // More tools with the same alias are only counted.
    const MAX_TOOLS: usize = 3;
    let catalog = Catalog::full();
    let mut tools_by_alias = BTreeMap::<_, Vec<_>>::new();
    for entry in catalog.iter() {
        for alias in entry.compiled().argument_aliases() {
            if alias.name() != "id" {
                let key = (alias.name(), alias.target());
                tools_by_alias
                    .entry(key)
                    .or_default()
                    .push(entry.operation.name());
            }
        }
    }
    let mut table = "| Other name | Argument | Tools |\n| --- | --- | --- |\n".to_owned();
    for ((name, target), tools) in tools_by_alias {
        let argument = match target {
            "" => "each of its fields".to_owned(),
            target => format!("`{target}`"),
        };
        let shown: Vec<_> = tools.iter().map(|tool| format!("`{tool}`")).collect();
        let shown = match shown.get(MAX_TOOLS..) {
            Some(more) if !more.is_empty() => {
                format!("{} and {} more", shown[..MAX_TOOLS].join(", "), more.len())
            }
            _ => shown.join(", "),
        };
        table += &format!("| `{name}` | {argument} | {shown} |\n");
    }
    check_block("docs/migrating.md", "aliases", &table);
}

/// Compares the text between the marks `<!-- name -->` and `<!-- end of name -->` of a document.
fn check_block(document: &str, name: &str, fresh: &str) {
    let whole = replace_block(document, name, fresh);
    check_generated_file(Path::new(document), &whole);
}

/// Returns a document with a new text between the marks `<!-- name -->` and `<!-- end of name -->`.
pub(crate) fn replace_block(document: &str, name: &str, fresh: &str) -> String {
    let text = fs::read_to_string(document).unwrap();
    let (begin, end) = (
        format!("<!-- {name} -->\n"),
        format!("<!-- end of {name} -->"),
    );
    let (before, rest) = text.split_once(&begin).unwrap();
    let (_, after) = rest.split_once(&end).unwrap();
    format!("{before}{begin}{fresh}{end}{after}")
}

/// Writes which command uses which of the options that commands share, as their help shows them.
fn push_shared_options(reference: &mut String) {
    let described = portkey_mcp::cli::described_command();
    let mut commands_by_use: Vec<(String, Vec<String>)> = Vec::new();
    let mut visit = |name: String, command: &Command| {
        let used = describe_shared_options(command);
        match commands_by_use.iter_mut().find(|(known, _)| *known == used) {
            Some((_, commands)) => commands.push(name),
            None => commands_by_use.push((used, vec![name])),
        }
    };
    let visible = described.get_subcommands().filter(|sub| !sub.is_hide_set());
    for command in visible {
        // Clap adds `help` to commands that have others below them.
        let below = command.get_subcommands();
        let below: Vec<_> = below.filter(|leaf| leaf.get_name() != "help").collect();
        if below.is_empty() {
            visit(format!("`{}`", command.get_name()), command);
        }
        for leaf in below {
            visit(
                format!("`{} {}`", command.get_name(), leaf.get_name()),
                leaf,
            );
        }
    }
    *reference += "| Command | Options |\n| --- | --- |\n";
    for (used, commands) in commands_by_use {
        *reference += &format!("| {} | {used} |\n", commands.join(", "));
    }
}

/// Returns the groups of shared options that a command uses, and for parts of a group its options.
fn describe_shared_options(command: &Command) -> String {
    let shared: Vec<_> = command
        .get_arguments()
        .filter(|arg| arg.is_global_set())
        .collect();
    if shared.iter().all(|arg| !arg.is_hide_set()) {
        return "all".to_owned();
    }
    let mut parts = Vec::new();
    let mut done: Vec<&str> = Vec::new();
    for arg in &shared {
        let heading = arg.get_help_heading().unwrap();
        if done.contains(&heading) {
            continue;
        }
        done.push(heading);
        let group = || {
            shared
                .iter()
                .filter(|arg| arg.get_help_heading() == Some(heading))
        };
        let used: Vec<_> = group().filter(|arg| !arg.is_hide_set()).collect();
        if used.len() == group().count() {
            parts.push(heading.to_owned());
        } else {
            parts.extend(
                used.iter()
                    .map(|arg| format!("`--{}`", arg.get_long().unwrap())),
            );
        }
    }
    parts.join(", ")
}

/// Writes a command that runs, or those below it. Commands without options of their own are left to
/// `portkey-mcp help`.
fn push_command(reference: &mut String, parent: &str, command: &Command) {
    let name = format!("{parent} {}", command.get_name());
    if command.get_arguments().next().is_some() {
        let about = command.get_about().unwrap().to_string();
        let about = about.trim_end_matches('.');
        *reference += &format!("\n## `{name}`\n\n{}.\n", markdown(about));
        push_options(reference, &name, command);
    }
    for subcommand in command.get_subcommands() {
        push_command(reference, &name, subcommand);
    }
}

/// Writes a table for each heading, in the order of their first options.
fn push_options(reference: &mut String, path: &str, command: &Command) {
    let mut headings: Vec<Option<&str>> = Vec::new();
    for arg in command.get_arguments() {
        if !headings.contains(&arg.get_help_heading()) {
            headings.push(arg.get_help_heading());
        }
    }
    for heading in headings {
        if let Some(heading) = heading {
            *reference += &format!("\n### {heading}\n");
        }
        *reference += "\n| Option | Variable | Default | Bounds | Meaning |\n";
        *reference += "| --- | --- | --- | --- | --- |\n";
        let args = command.get_arguments();
        for arg in args.filter(|arg| arg.get_help_heading() == heading) {
            let cells = [
                usage(arg),
                variable(arg),
                default(arg),
                bounds(path, arg),
                meaning(arg),
            ];
            *reference += "|";
            for cell in cells {
                // A table ends its cells at a `|` in code, too.
                let cell = cell.replace('|', "\\|");
                *reference += &format!(" {cell} |").replace("  ", " ");
            }
            reference.push('\n');
        }
    }
}

/// Returns the option with its values, such as `--listen <LISTEN>`.
fn usage(arg: &Arg) -> String {
    let mut words: Vec<_> = arg
        .get_long()
        .map(|long| format!("--{long}"))
        .into_iter()
        .collect();
    if takes_value(arg) {
        let required = arg.get_num_args().map_or(1, |range| range.min_values());
        let names = arg.get_value_names().unwrap_or_default();
        words.extend(
            names
                .iter()
                .enumerate()
                .map(|(index, name)| match index < required {
                    true => format!("<{name}>"),
                    false => format!("[{name}]"),
                }),
        );
    }
    format!("`{}`", words.join(" "))
}

fn takes_value(arg: &Arg) -> bool {
    matches!(arg.get_action(), ArgAction::Set | ArgAction::Append)
}

fn variable(arg: &Arg) -> String {
    let variable = arg.get_env().map(|name| format!("`{}`", name.display()));
    variable.unwrap_or_default()
}

fn default(arg: &Arg) -> String {
    let values = arg.get_default_values();
    if arg.is_required_set() {
        "required".to_owned()
    } else if !takes_value(arg) {
        "off".to_owned()
    } else if values.is_empty() || arg.is_hide_default_value_set() {
        String::new()
    } else {
        let values = values.iter().map(|value| format!("`{}`", value.display()));
        values.collect::<Vec<_>>().join(", ")
    }
}

/// Returns the range that the parser of an option of `command` tells when it rejects a number.
fn bounds(path: &str, arg: &Arg) -> String {
    let (Some(long), true) = (arg.get_long(), takes_value(arg)) else {
        return String::new();
    };
    // The first error is that of the value, whatever else is missing.
    let rejected = |number: &str| {
        let given = format!("{path} --{long}={number}");
        let parsed = portkey_mcp::cli::command().try_get_matches_from(given.split(' '));
        parsed.err()?.to_string().lines().next().map(str::to_owned)
    };
    for error in ["0", "9999999999"].into_iter().filter_map(rejected) {
        if error.ends_with("above zero") {
            return "above 0".to_owned();
        }
        let Some((_, range)) = error.split_once(" is not in ") else {
            continue;
        };
        // Such as `1..=255` or `1..18446744073709551615`.
        let (min, max) = range.split_once("..").unwrap();
        return match max.trim_start_matches('=').parse::<u64>() {
            Ok(max) if max < u64::from(u16::MAX) => format!("{min} to {max}"),
            _ => format!("at least {min}"),
        };
    }
    String::new()
}

/// Returns the help text of an option, followed by the values that it takes.
fn meaning(arg: &Arg) -> String {
    let help = arg.get_help().unwrap().to_string();
    let mut meaning = format!("{}.", markdown(help.trim_end_matches('.')));
    let values: Vec<_> = arg
        .get_possible_values()
        .iter()
        .filter(|_| takes_value(arg))
        .map(|value| match value.get_help() {
            Some(help) => format!("`{}`: {}", value.get_name(), markdown(&help.to_string())),
            None => format!("`{}`", value.get_name()),
        })
        .collect();
    if !values.is_empty() {
        meaning += &format!(" Values: {}.", values.join("; "));
    }
    meaning
}

/// Escapes what Markdown reads as markup outside of code, and links to the documents that are named.
fn markdown(help: &str) -> String {
    let escape = |text: &str| {
        let text = text.replace('<', "\\<").replace('*', "\\*");
        let words = text.split(' ').map(|word| {
            let path = word.trim_end_matches(['.', ',', ';']);
            match path.strip_prefix("docs/") {
                Some(page) => word.replace(path, &format!("[{page}]({page})")),
                None => word.to_owned(),
            }
        });
        words.collect::<Vec<_>>().join(" ")
    };
    let parts = help.split('`').enumerate();
    let parts = parts.map(|(index, part)| match index % 2 {
        0 => escape(part),
        _ => part.to_owned(),
    });
    parts.collect::<Vec<_>>().join("`")
}
