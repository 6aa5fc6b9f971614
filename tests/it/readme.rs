//! README and the reference say what the binary does.

use std::{fs, path::Path};

use portkey_api::domains::DOMAINS;

use crate::process::run_cli;

#[test]
fn readme_lists_every_option() {
    let readme = fs::read_to_string("README.md").unwrap();
    for command in [
        &["--help"] as &[&str],
        &["http", "--help"],
        &["sandbox", "--help"],
        &["tools", "--help"],
        &["health", "--help"],
    ] {
        let (ok, help, _) = run_cli(command);
        assert!(ok);
        let options = help
            .lines()
            .map(str::trim_start)
            .filter(|line| line.starts_with('-'));
        // Lines of `- word: meaning` tell the values of an option.
        let options =
            options.filter_map(|line| line.split([' ', ',']).find(|w| w.starts_with("--")));
        for option in options.filter(|option| !["--help", "--version"].contains(option)) {
            assert!(
                readme.contains(&format!("`{option}")),
                "{option} of {command:?} is missing"
            );
        }
        for variable in help
            .split("[env: ")
            .skip(1)
            .filter_map(|rest| rest.split([']', '=']).next())
        {
            assert!(
                readme.contains(&format!("`{variable}`")),
                "{variable} is missing"
            );
        }
    }
}

#[test]
fn tool_reference_is_up_to_date() {
    let (ok, reference, _) = run_cli(&["tools", "--format", "markdown", "--sandbox"]);
    assert!(ok);
    super::check_generated_file(Path::new("docs/tools.md"), &reference);
}

/// The table between the two marks in README is written from the declarations.
#[test]
fn readme_domain_table_is_up_to_date() {
    let readme = fs::read_to_string("README.md").unwrap();
    let (before, rest) = readme.split_once("<!-- domains -->\n").unwrap();
    let (_, after) = rest.split_once("<!-- end of domains -->").unwrap();
    let mut table = "| Domain | Tools | What for |\n| --- | ---: | --- |\n".to_owned();
    for domain in DOMAINS {
        let (name, count, about) = (domain.name, domain.operations.len(), domain.about);
        table += &format!("| [{name}](docs/tools.md#{name}) | {count} | {about} |\n");
    }
    let fresh = format!("{before}<!-- domains -->\n{table}<!-- end of domains -->{after}");
    super::check_generated_file(Path::new("README.md"), &fresh);
}
