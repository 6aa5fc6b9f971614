//! Changes of lists in TOML that have comments: the elements that stay keep theirs.
//!
//! A comment behind an element belongs to the text before the next one, or to the text before the bracket.

use serde_json::Value;
use toml_edit::{Array, Item};

use super::{
    changes_of_list,
    toml::{from_value, to_value},
};

/// Returns true if a list is on several lines. Only such a list has comments.
pub(super) fn spans_lines(list: &Array) -> bool {
    list.to_string().trim().contains('\n')
}

/// Changes the elements of a list that differ.
pub(super) fn set(list: &mut Array, wanted: &[Value]) {
    move_last_suffix(list);
    let before: Vec<_> = list
        .iter()
        .map(|element| Some(to_value(&Item::Value(element.clone()))))
        .collect();
    for change in changes_of_list(&before, wanted) {
        let mut at = change.range.start;
        let mut values = change.values.iter().filter_map(from_value);
        for _ in change.range {
            match values.next() {
                // Keeps what is before and behind the element.
                Some(value) => {
                    list.replace(at, value);
                    at += 1;
                }
                None => remove(list, at),
            }
        }
        for value in values {
            insert(list, at, value);
            at += 1;
        }
    }
}

/// Makes the text behind the last element the text before the bracket, where a list with a last comma has it.
fn move_last_suffix(list: &mut Array) {
    let Some(last) = list.iter_mut().last() else {
        return;
    };
    let suffix = text_of(last.decor().suffix());
    if suffix.contains('\n') {
        last.decor_mut().set_suffix("");
        let trailing = suffix + &text_of(Some(list.trailing()));
        list.set_trailing(trailing);
    }
}

/// Returns the text before an element, or before the bracket.
fn text_before(list: &Array, at: usize) -> String {
    match list.get(at) {
        Some(element) => text_of(element.decor().prefix()),
        None => text_of(Some(list.trailing())),
    }
}

fn set_text_before(list: &mut Array, at: usize, text: String) {
    match list.get_mut(at) {
        Some(element) => element.decor_mut().set_prefix(text),
        None => list.set_trailing(text),
    }
}

/// Removes an element with the comment behind it. What is before it stays.
fn remove(list: &mut Array, at: usize) {
    let before = text_before(list, at);
    list.remove(at);
    let behind = text_before(list, at);
    let (_, rest) = split_first_line(&behind);
    set_text_before(list, at, format!("{}{rest}", before.trim_end()));
}

/// Adds an element on a line of its own, behind the comment of the one before.
fn insert(list: &mut Array, at: usize, mut value: toml_edit::Value) {
    let before = text_before(list, at);
    let (comment, rest) = split_first_line(&before);
    let neighbour = match list.is_empty() {
        true => "\n    ".to_owned(),
        false => text_before(list, at.min(list.len().saturating_sub(1))),
    };
    let indent = neighbour.rsplit('\n').next().unwrap_or_default();
    value
        .decor_mut()
        .set_prefix(format!("{}\n{indent}", comment.trim_end()));
    set_text_before(list, at, rest.to_owned());
    list.insert_formatted(at, value);
}

/// Splits a text before its first line break.
fn split_first_line(text: &str) -> (&str, &str) {
    text.split_at(text.find('\n').unwrap_or(text.len()))
}

fn text_of(text: Option<&toml_edit::RawString>) -> String {
    let text = text.and_then(toml_edit::RawString::as_str);
    text.unwrap_or_default().to_owned()
}
