//! README says what the binary does.

use std::fs;

use crate::process::said;

#[test]
fn every_option_is_in_the_readme() {
    let readme = fs::read_to_string("README.md").unwrap();
    for command in [
        &["--help"] as &[&str],
        &["http", "--help"],
        &["sandbox", "--help"],
        &["tools", "--help"],
        &["health", "--help"],
    ] {
        let (ok, help, _) = said(command);
        assert!(ok);
        let options = help.lines().map(str::trim_start).filter(|line| line.starts_with('-'));
        // Lines of `- word: meaning` tell the values of an option.
        let options =
            options.filter_map(|line| line.split([' ', ',']).find(|w| w.starts_with("--")));
        for option in options.filter(|option| !["--help", "--version"].contains(option)) {
            assert!(readme.contains(&format!("`{option}")), "{option} of {command:?} is missing");
        }
        for variable in
            help.split("[env: ").skip(1).filter_map(|rest| rest.split([']', '=']).next())
        {
            assert!(readme.contains(&format!("`{variable}`")), "{variable} is missing");
        }
    }
}
