//! Values with which the path of one operation is also the path of another one.
//!
//! `/users/{user_id}` with the id `invites` is `/users/invites`, which belongs to another operation.
//! A rule for that operation would not see such a call, so these values are rejected.

use percent_encoding::percent_decode_str;

use super::{ApiBase, Operation};

/// The values with which the path of an operation is also the path of another one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathOverlap {
    /// Positions among the placeholders, each with the text of the other path.
    texts: Vec<(usize, &'static str)>,
}

impl PathOverlap {
    /// Finds the overlaps of an operation's path with the paths of others, whatever their methods
    /// are. Paths of other hosts do not overlap.
    pub fn find_all<'a>(
        operation: &Operation,
        others: impl Iterator<Item = &'a Operation>,
    ) -> Vec<Self> {
        let mut found: Vec<Self> = Vec::new();
        if operation.placeholders().next().is_none() {
            return found;
        }
        let host = host_of(operation.base());
        for other in others.filter(|other| host_of(other.base()) == host) {
            let overlap = Self::find(operation.path(), other.path());
            found.extend(overlap.filter(|overlap| !found.contains(overlap)));
        }
        found
    }

    /// Finds the values with which `path` is also `other`. `None` if there are none, or if `path`
    /// matches `other` with all values.
    fn find(path: &'static str, other: &'static str) -> Option<Self> {
        let mut texts = Vec::new();
        let mut position = 0;
        let mut segments = path.split('/');
        let mut others = other.split('/');
        // In step, because most paths differ in an early segment.
        loop {
            let (own, theirs) = match (segments.next(), others.next()) {
                (Some(own), Some(theirs)) => (own, theirs),
                (None, None) => return (!texts.is_empty()).then_some(Self { texts }),
                _ => return None,
            };
            match (split_placeholder(own), split_placeholder(theirs)) {
                (None, None) if own != theirs => return None,
                (Some((before, after)), None) => {
                    let text = theirs.strip_prefix(before)?.strip_suffix(after)?;
                    texts.push((position, text));
                }
                // A placeholder takes any text.
                (None, _) | (Some(_), Some(_)) => {}
            }
            position += own.matches('{').count();
        }
    }

    /// Returns the position of the first placeholder whose value makes the path that of another
    /// operation, and the text of that path.
    pub(super) fn first_match(&self, values: &[String]) -> Option<(usize, &'static str)> {
        let matches = |(position, text): &(usize, &str)| {
            values
                .get(*position)
                .is_some_and(|value| is_read_as(value, text))
        };
        let first = self.texts.first().copied()?;
        self.texts.iter().all(matches).then_some(first)
    }
}

/// Returns one base for those that have a host and a version in common.
const fn host_of(base: ApiBase) -> ApiBase {
    match base {
        ApiBase::Gateway => ApiBase::ControlPlane,
        base => base,
    }
}

/// Returns the text before and after the placeholder of a segment. `None` if it has none.
fn split_placeholder(segment: &str) -> Option<(&str, &str)> {
    let (before, rest) = segment.split_once('{')?;
    let (_, after) = rest.split_once('}')?;
    Some((before, after))
}

/// Returns true if a server may read a value as this text of a path. Some routers ignore case, and
/// some servers decode more than once.
fn is_read_as(value: &str, text: &str) -> bool {
    let mut decoded_value = value.to_owned();
    loop {
        if decoded_value.trim().eq_ignore_ascii_case(text) {
            return true;
        }
        let decoded = percent_decode_str(&decoded_value)
            .decode_utf8_lossy()
            .into_owned();
        if decoded == decoded_value {
            return false;
        }
        decoded_value = decoded;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(path: &'static str, other: &'static str) -> Option<Vec<(usize, &'static str)>> {
        PathOverlap::find(path, other).map(|overlap| overlap.texts)
    }

    #[test]
    fn overlaps_are_found_at_every_place() {
        for (path, other, expected) in [
            ("/users/{id}", "/users/invites", Some(vec![(0, "invites")])),
            ("/users/{id}", "/users", None),
            ("/users/{id}", "/logs/invites", None),
            ("/users/{id}", "/users/{other_id}", None),
            ("/users/invites", "/users/{id}", None),
            (
                "/prompts/{id}/versions",
                "/prompts/partials/{id}",
                Some(vec![(0, "partials")]),
            ),
            (
                "/prompts/partials/{id}",
                "/prompts/{id}/versions",
                Some(vec![(0, "versions")]),
            ),
            (
                "/keys/{type}/{sub_type}",
                "/keys/{id}/rotate",
                Some(vec![(1, "rotate")]),
            ),
            ("/a/{b}/{c}", "/a/d/e", Some(vec![(0, "d"), (1, "e")])),
            (
                "/prices/{provider}.json",
                "/prices/all.json",
                Some(vec![(0, "all")]),
            ),
            ("/prices/{provider}.json", "/prices/all", None),
        ] {
            assert_eq!(texts(path, other), expected, "{path} and {other}");
        }
    }

    #[test]
    fn values_are_compared_as_servers_may_read_them() {
        for (value, expected) in [
            ("invites", true),
            ("Invites", true),
            (" invites", true),
            ("%69nvites", true),
            ("%2569nvites", true),
            ("invites2", false),
            ("invite", false),
            ("", false),
        ] {
            assert_eq!(is_read_as(value, "invites"), expected, "{value}");
        }
    }

    #[test]
    fn overlap_needs_all_of_its_values() {
        let overlap = PathOverlap::find("/a/{b}/{c}", "/a/d/e");
        let matched = |b: &str, c: &str| {
            let overlap = overlap.as_ref();
            overlap.and_then(|overlap| overlap.first_match(&[b.to_owned(), c.to_owned()]))
        };
        assert_eq!(matched("d", "e"), Some((0, "d")));
        assert_eq!(matched("d", "x"), None);
        assert_eq!(matched("x", "e"), None);
    }
}
