//! The example of a configuration file, written from the definition of the command line.

use std::fmt::Write;

use clap::{Arg, Command};

use super::{SERVER_COMMAND, configurable_options, is_flag, is_list, is_path, is_secret};

/// Maximum length of a line of the example.
const LINE_CHARS: usize = 100;

const HEAD: &str = "\
# Configuration of portkey-mcp, for --config (PORTKEY_MCP_CONFIG). Remove the sign # before the lines that you need.
#
# An option on the command line takes precedence over its variable, and that over this file. Relative paths begin at
# the folder of this file. A secret may stand here only if nobody else can read the file (chmod 600); better name a
# file with it, such as api-key-file. `portkey-mcp config show --config FILE` prints what is in effect.
";

const TAIL: &str = "
# Settings for one command only, which take precedence over those above.
#[commands.stdio]
#log-level = \"warn\"
";

/// Heading of options that have none.
const DEFAULT_HEADING: &str = "Server";

/// Returns a file with every option, all of them commented out.
pub(super) fn example_file(definition: &Command) -> String {
    let mut text = HEAD.to_owned();
    let options: Vec<_> = configurable_options(definition, Some(SERVER_COMMAND)).collect();
    let mut headings: Vec<&str> = Vec::new();
    for option in &options {
        let heading = heading(option);
        if !headings.contains(&heading) {
            headings.push(heading);
        }
    }
    for name in headings {
        _ = write!(text, "\n### {name} ###\n");
        for option in options.iter().filter(|option| heading(option) == name) {
            push_option(&mut text, option);
        }
    }
    text + TAIL
}

fn heading(option: &Arg) -> &str {
    option.get_help_heading().unwrap_or(DEFAULT_HEADING)
}

fn push_option(text: &mut String, option: &Arg) {
    text.push('\n');
    // Clap removes the full stop at the end.
    let help = option.get_help().map(ToString::to_string);
    let mut help = help.unwrap_or_default().trim_end_matches('.').to_owned() + ".";
    let values: Vec<_> = option
        .get_possible_values()
        .iter()
        .map(|value| value.get_name().to_owned())
        .collect();
    if !is_flag(option) && !values.is_empty() {
        _ = write!(help, " Values: {}.", values.join(", "));
    }
    for line in wrap(&help) {
        _ = writeln!(text, "# {line}");
    }
    let name = option.get_long().unwrap_or_default();
    _ = writeln!(text, "#{name} = {}", example_value(option));
}

/// Returns the default, or a value of the right form.
fn example_value(option: &Arg) -> String {
    if is_flag(option) {
        return "true".to_owned();
    }
    let default = option.get_default_values().first();
    let default = default.map(|value| value.to_string_lossy().into_owned());
    let placeholder = || {
        let names = option.get_value_names().unwrap_or_default();
        names
            .first()
            .map(|name| name.to_string())
            .unwrap_or_default()
    };
    let value = match default {
        Some(value) => value,
        None if is_secret(option) => "…".to_owned(),
        None if is_path(option) => "path".to_owned(),
        None => placeholder(),
    };
    let is_number = value.parse::<f64>().is_ok();
    match (is_list(option), is_number) {
        (true, _) => format!("[{}]", quote(&value)),
        (false, true) => value,
        (false, false) => quote(&value),
    }
}

fn quote(value: &str) -> String {
    toml::Value::String(value.to_owned()).to_string()
}

/// Breaks a text into lines at blanks.
fn wrap(text: &str) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let is_full = lines.last().is_some_and(|line| {
            !line.is_empty() && line.chars().count() + word.chars().count() > LINE_CHARS
        });
        if is_full {
            lines.push(String::new());
        }
        if let Some(line) = lines.last_mut() {
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
    }
    lines
}
