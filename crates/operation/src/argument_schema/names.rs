//! Comparison of names: finds the known field or value that another spelling means.

use super::super::comparison_count;

/// Names that clients add to a tool's arguments at the top level for their own purposes.
///
/// These are call ids, placeholders for tools without arguments, and notes. No field of the API has
/// such a name.
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

/// Returns true if a name is the client's own and not an argument.
pub(super) fn is_client_key(name: &str) -> bool {
    CLIENT_KEYS.contains(&name)
}

/// The maximum length of a name that may mean another one, in bytes. Comparisons take at least
/// linear time.
pub(super) const MAX_NAME_BYTES: usize = 128;

/// A name without case, separators and national spelling, prepared for many comparisons.
pub(super) struct NormalizedName(String);

impl NormalizedName {
    /// Normalizes a name. Returns `None` if the name is too long to mean another one.
    pub(super) fn new(name: &str) -> Option<Self> {
        (name.len() <= MAX_NAME_BYTES).then(|| Self(normalize(name).collect()))
    }

    /// Returns true if a known name is another spelling of the same name.
    pub(super) fn matches(&self, known: &str) -> bool {
        comparison_count::record(1);
        normalize(known).eq(self.0.chars())
    }

    /// Returns true if one of the two names is the plural of the other.
    pub(super) fn is_plural_of(&self, known: &str) -> bool {
        comparison_count::record(1);
        normalize(known)
            .chain(std::iter::once('s'))
            .eq(self.0.chars())
            || normalize(known).eq(self.0.chars().chain(std::iter::once('s')))
    }
}

/// Removes case, separators and the difference of British and American spelling: `onFail`, `on-fail`
/// and `on_fail` become equal, and so do `organisation_id` and `organization_id`.
fn normalize(name: &str) -> impl Iterator<Item = char> + Clone + '_ {
    name.chars()
        .filter(|c| !matches!(c, '_' | '-' | ' '))
        .flat_map(char::to_lowercase)
        .scan(' ', |before, c| {
            let is_american = c == 'z' && *before == 'i';
            *before = c;
            Some(if is_american { 's' } else { c })
        })
}

/// Returns true if two names differ in case, separators and national spelling at most.
pub(super) fn is_same_normalized(a: &str, b: &str) -> bool {
    normalize(a).eq(normalize(b))
}

/// Returns true if two names differ in one letter, or in the order of two.
pub(super) fn is_typo_of(a: &str, b: &str) -> bool {
    // In a name of two letters, one wrong letter can make any other name.
    const MIN_LEN: usize = 3;
    let (a, b): (Vec<char>, Vec<char>) = (normalize(a).collect(), normalize(b).collect());
    let len = |name: &[char]| name.iter().map(|c| c.len_utf8()).sum::<usize>();
    if a.len().abs_diff(b.len()) > 1 || len(&a).min(len(&b)) < MIN_LEN {
        return false;
    }
    comparison_count::record(a.len() + b.len());
    let start = a.iter().zip(&b).take_while(|(a, b)| a == b).count();
    let (a, b) = (
        a.get(start..).unwrap_or_default(),
        b.get(start..).unwrap_or_default(),
    );
    let end = a
        .iter()
        .rev()
        .zip(b.iter().rev())
        .take_while(|(a, b)| a == b)
        .count();
    match (a.get(..a.len() - end), b.get(..b.len() - end)) {
        (Some([_]), Some([_] | [])) | (Some([]), Some([_])) => true,
        (Some([a, b]), Some([c, d])) => a == d && b == c,
        _ => false,
    }
}

/// Returns true if two names are spellings of one name: they differ in case and separators at most.
///
/// Names longer than any API name are the same only if they are equal.
pub fn is_same_name(a: &str, b: &str) -> bool {
    a == b || a.len().max(b.len()) <= MAX_NAME_BYTES && is_same_normalized(a, b)
}

/// Returns true if a name is another spelling of a second name, or has one letter wrong.
pub fn is_misspelling_of(a: &str, b: &str) -> bool {
    a.len().max(b.len()) <= MAX_NAME_BYTES && (is_same_normalized(a, b) || is_typo_of(a, b))
}

/// Returns the only name of an iterator, or `None` if there are several.
pub(super) fn single_match<'a>(mut fitting: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    fitting.next().filter(|_| fitting.next().is_none())
}

/// Suggests the closest of some names, as the end of a sentence. Returns an empty text if none is
/// close.
pub fn did_you_mean<'a>(given: &str, known: impl Iterator<Item = &'a str>) -> String {
    // Comparison takes quadratic time, and no caller means a name by a page of text.
    if given.len() > 100 {
        return String::new();
    }
    // Names that differ more in length cannot be similar, so they are not compared.
    const MIN_SIMILARITY: f64 = 0.6;
    let given_len = given.chars().count();
    let is_near = |name: &&str| {
        let len = name.chars().count();
        let shorter = len.min(given_len);
        let longer = len.max(given_len);
        shorter * 10 >= longer * 6
    };
    known
        .filter(is_near)
        .inspect(|name| comparison_count::record(given.len() * name.len()))
        .map(|name| (strsim::normalized_damerau_levenshtein(given, name), name))
        .filter(|(likeness, _)| *likeness >= MIN_SIMILARITY)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, name)| format!(", did you mean `{name}`?"))
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_of_one_name_compare_equal() {
        for (a, b) in [
            ("onFail", "on_fail"),
            ("sub-type", "subType"),
            ("workspaceId", "workspace_id"),
        ] {
            assert!(is_same_normalized(a, b), "{a} {b}");
        }
        assert!(!is_same_normalized("on_fail", "on_fails"));
    }

    #[test]
    fn typos_are_one_letter_or_two_exchanged() {
        for (a, b) in [
            ("creditLimt", "credit_limit"),
            ("naem", "name"),
            ("tagz", "tags"),
            ("aaa", "aaaa"),
            ("aaaa", "aaa"),
            ("ttags", "tags"),
        ] {
            assert!(is_typo_of(a, b), "{a} {b}");
        }
        let others = [
            ("status", "state"),
            ("id", "is"),
            ("name", "name"),
            ("é", "ê"),
            ("abcd", "badc"),
            ("aab", "aaaab"),
            ("", "a"),
        ];
        for (a, b) in others {
            assert!(!is_typo_of(a, b), "{a} {b}");
        }
    }

    #[test]
    fn long_names_match_no_other_name() {
        let long = |len| format!("{}name", "_".repeat(len - 4));
        assert!(
            NormalizedName::new(&long(MAX_NAME_BYTES)).is_some_and(|name| name.matches("name"))
        );
        assert!(NormalizedName::new(&long(MAX_NAME_BYTES + 1)).is_none());
        assert!(!is_misspelling_of(&long(MAX_NAME_BYTES + 1), "name"));
    }

    /// Names that differ in length by two fifths cannot be similar, so the length check loses
    /// nothing.
    #[test]
    fn similar_names_are_suggested_whatever_their_lengths() {
        let known = ["abcdef", "abcdefghij", "abcdefghijklmnop"];
        for (given, expected) in [("abcdefxxxx", "abcdefghij"), ("abcdefghijxx", "abcdefghij")] {
            let hint = did_you_mean(given, known.into_iter());
            assert_eq!(hint, format!(", did you mean `{expected}`?"), "{given}");
        }
        assert_eq!(did_you_mean("abc", ["abcdefghij"].into_iter()), "");
    }

    #[test]
    fn plurals_differ_from_other_endings() {
        let is_plural_of = |a: &str, b| NormalizedName::new(a).is_some_and(|a| a.is_plural_of(b));
        assert!(is_plural_of("virtual_key", "virtualKeys") && is_plural_of("tags", "tag"));
        assert!(!is_plural_of("key", "keyed") && !is_plural_of("tags", "tags"));
    }
}
