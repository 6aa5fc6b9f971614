//! The entries of an audit log.

use std::{fs, path::Path};

use serde_json::Value;

pub(crate) fn read_entries(path: impl AsRef<Path>) -> Vec<Value> {
    let text = fs::read_to_string(path).unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}
