//! Generated files, compared with the files on disk.

use std::{collections::BTreeSet, fs, path::Path};

/// Command that writes all generated files: it runs the tests with `up_to_date` in their names.
pub(crate) const UPDATE_COMMAND: &str = "UPDATE=1 cargo test --test it up_to_date";

/// Compares a generated file with the file on disk. With `UPDATE=1`, writes it instead.
pub(crate) fn check_generated_file(path: &Path, fresh: &str) {
    let stale = fs::read_to_string(path).unwrap_or_default();
    if stale == fresh {
        return;
    }
    if std::env::var_os("UPDATE").is_some() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, fresh).unwrap();
        return;
    }
    panic!(
        "{} is out of date; run `{UPDATE_COMMAND}`, read the diff and commit it\n{}",
        path.display(),
        describe_difference(&stale, fresh)
    );
}

/// Returns the lines of two texts that differ, without their common beginning and end.
fn describe_difference(stale: &str, fresh: &str) -> String {
    const MAX_LINES: usize = 12;
    let (stale, fresh): (Vec<_>, Vec<_>) = (stale.lines().collect(), fresh.lines().collect());
    let pairs = stale.iter().zip(&fresh);
    let before = pairs.take_while(|(one, other)| one == other).count();
    let stale = &stale[before..];
    let fresh = &fresh[before..];
    let pairs = stale.iter().rev().zip(fresh.iter().rev());
    let after = pairs.take_while(|(one, other)| one == other).count();
    let mut text = format!("from line {}:", before + 1);
    for (mark, lines) in [("-", stale), ("+", fresh)] {
        let lines = &lines[..lines.len() - after];
        for line in lines.iter().take(MAX_LINES) {
            text += &format!("\n{mark} {line}");
        }
        if lines.len() > MAX_LINES {
            text += &format!("\n{mark} and {} lines more", lines.len() - MAX_LINES);
        }
    }
    text
}

/// Asserts that two lists of names are equal, and shows only their difference.
pub(crate) fn assert_same_names(what: &str, got: &[impl AsRef<str>], expected: &[impl AsRef<str>]) {
    let got: Vec<_> = got.iter().map(AsRef::as_ref).collect();
    let expected: Vec<_> = expected.iter().map(AsRef::as_ref).collect();
    if got == expected {
        return;
    }
    let (given, wanted): (BTreeSet<_>, BTreeSet<_>) = (
        got.iter().copied().collect(),
        expected.iter().copied().collect(),
    );
    let missing: Vec<_> = wanted.difference(&given).collect();
    let unexpected: Vec<_> = given.difference(&wanted).collect();
    let order = got
        .iter()
        .zip(&expected)
        .position(|(one, other)| one != other);
    panic!(
        "{what}: missing {missing:?}, unexpected {unexpected:?}; the first difference is at {order:?} of {} and {}",
        got.len(),
        expected.len()
    );
}
