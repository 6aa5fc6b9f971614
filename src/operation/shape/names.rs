//! Names of fields and values: which known one a caller means by another spelling.

/// Names that clients put beside a tool's arguments for reasons of their own, at the top level: ids of the
/// call, placeholders for tools without arguments, notes to themselves. No field of the API has such a name.
const CLIENT_KEYS: &[&str] = &[
    "toolCallId",
    "tool_call_id",
    "toolUseId",
    "tool_use_id",
    "sessionId",
    "chatInput",
    "random_string",
    "wait_for_previous",
    "waitForPreviousTools",
    "security_risk",
    "task_progress",
    "request_heartbeat",
    "progressToken",
    "_meta",
    "__arg1",
];

/// Whether a name is the client's own and no argument.
pub(super) fn is_client_key(name: &str) -> bool {
    CLIENT_KEYS.contains(&name)
}

/// A name without case and separators: `onFail`, `on-fail` and `on_fail` are one.
fn folded(name: &str) -> impl Iterator<Item = char> + Clone + '_ {
    name.chars().filter(|c| !matches!(c, '_' | '-' | ' ')).flat_map(char::to_lowercase)
}

/// Whether two names differ in case and separators at most.
pub(super) fn same_folded(a: &str, b: &str) -> bool {
    folded(a).eq(folded(b))
}

/// Whether one name is the plural of the other, whatever the case and the separators.
pub(super) fn is_plural_of(a: &str, b: &str) -> bool {
    let with_s = |name| folded(name).chain(std::iter::once('s'));
    with_s(a).eq(folded(b)) || with_s(b).eq(folded(a))
}

/// Whether two names differ in one letter, or in the order of two.
pub(super) fn is_slip_of(a: &str, b: &str) -> bool {
    // Of two letters one slip makes any other name.
    const MIN_LEN: usize = 3;
    let (a, b): (String, String) = (folded(a).collect(), folded(b).collect());
    let (shorter, longer) = (a.len().min(b.len()), a.len().max(b.len()));
    shorter >= MIN_LEN && longer - shorter <= 4 && strsim::osa_distance(&a, &b) == 1
}

/// Whether one name is the other in another spelling, or with one letter wrong.
pub fn is_misspelling_of(a: &str, b: &str) -> bool {
    same_folded(a, b) || is_slip_of(a, b)
}

/// The only one of some names that fits, if exactly one does.
pub(super) fn only<'a>(mut fitting: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    fitting.next().filter(|_| fitting.next().is_none())
}

/// The closest of some names, as the end of a sentence; nothing where none is close.
pub fn did_you_mean<'a>(given: &str, known: impl Iterator<Item = &'a str>) -> String {
    // Comparing is quadratic in the length, and nobody means a name by a page of text.
    if given.len() > 100 {
        return String::new();
    }
    known
        .map(|name| (strsim::normalized_damerau_levenshtein(given, name), name))
        .filter(|(likeness, _)| *likeness >= 0.6)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, name)| format!(", did you mean `{name}`?"))
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_of_one_name_are_the_same() {
        for (a, b) in
            [("onFail", "on_fail"), ("sub-type", "subType"), ("workspaceId", "workspace_id")]
        {
            assert!(same_folded(a, b), "{a} {b}");
        }
        assert!(!same_folded("on_fail", "on_fails"));
    }

    #[test]
    fn slips_are_one_letter_or_two_exchanged() {
        for (a, b) in [("creditLimt", "credit_limit"), ("naem", "name"), ("tagz", "tags")] {
            assert!(is_slip_of(a, b), "{a} {b}");
        }
        for (a, b) in [("status", "state"), ("id", "is"), ("name", "name"), ("é", "ê")] {
            assert!(!is_slip_of(a, b), "{a} {b}");
        }
    }

    #[test]
    fn plurals_are_told_from_other_endings() {
        assert!(is_plural_of("virtual_key", "virtualKeys") && is_plural_of("tags", "tag"));
        assert!(!is_plural_of("key", "keyed") && !is_plural_of("tags", "tags"));
    }
}
