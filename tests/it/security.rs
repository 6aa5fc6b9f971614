//! What `docs/security.md` says, held against the code.

use std::{fs, path::Path};

use portkey_mcp::app::retention::{markdown_table, retention_rows};

use crate::check_file;

const DOCUMENT: &str = "docs/security.md";
const BEGIN: &str = "<!-- kept: written by UPDATE=1 cargo test -->\n";
const END: &str = "<!-- end of kept -->\n";

#[test]
fn document_has_the_table_of_all_that_is_kept() {
    let text = fs::read_to_string(DOCUMENT).unwrap();
    let (before, rest) = text.split_once(BEGIN).unwrap();
    let (_, after) = rest.split_once(END).unwrap();
    assert!(before.contains("## What is kept\n"), "{before}");
    check_file(
        Path::new(DOCUMENT),
        &format!("{before}{BEGIN}{}{END}{after}", markdown_table()),
    );
}

#[test]
fn each_thing_kept_has_bounds_and_a_time() {
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
