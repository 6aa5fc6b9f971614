//! `docs/security.md`, compared with the code.

use std::{fs, path::Path};

use portkey_mcp::app::retention::{markdown_table, retention_rows};

use crate::support::generated::check_generated_file;

const DOCUMENT: &str = "docs/security.md";
const BEGIN_MARKER: &str = "<!-- retention: written by UPDATE=1 cargo test -->\n";
const END_MARKER: &str = "<!-- end of retention -->\n";

#[test]
fn stored_data_in_the_security_document_is_up_to_date() {
    let text = fs::read_to_string(DOCUMENT).unwrap();
    let (before, rest) = text.split_once(BEGIN_MARKER).unwrap();
    let (_, after) = rest.split_once(END_MARKER).unwrap();
    assert!(before.contains("## Data retention\n"), "{before}");
    check_generated_file(
        Path::new(DOCUMENT),
        &format!(
            "{before}{BEGIN_MARKER}{}{END_MARKER}{after}",
            markdown_table()
        ),
    );
}

#[test]
fn all_stored_data_has_limits_and_a_lifetime() {
    for one in retention_rows() {
        let texts = [
            one.data,
            &one.per_caller,
            &one.in_total,
            &one.duration,
            one.at_limit,
        ];
        assert!(
            texts
                .iter()
                .all(|text| !text.is_empty() && !text.contains('|')),
            "{one:?}"
        );
    }
}
