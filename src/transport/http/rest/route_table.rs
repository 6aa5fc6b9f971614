//! The routes of the REST face, made from the declarations of the operations.

use http::Method;
use percent_encoding::percent_decode_str;
use portkey_api::catalog::{Catalog, CatalogEntry};
use portkey_operation::{ApiBase, Operation, is_misspelling_of};

/// Maximum number of segments of a path. No operation has as many.
const MAX_SEGMENTS: usize = 16;
/// Maximum number of similar routes that an error names.
const MAX_SUGGESTIONS: usize = 3;
/// Maximum length of a path that is compared with all routes, in bytes.
const MAX_COMPARED_BYTES: usize = 1_000;

/// Cost of a segment that is missing or added, when paths are compared.
const SEGMENT_COST: usize = 4;
/// Cost of an entirely different segment: less than to remove one and add another.
const DIFFERENT_COST: usize = 6;
/// Cost of a misspelled segment, of a value in the place of a placeholder, and of another method.
const SIMILAR_COST: usize = 1;
/// Maximum cost of a similar route.
const MAX_COST: usize = 2 * SEGMENT_COST;

/// The routes of all operations that have a path of the API.
#[derive(Debug)]
pub(super) struct RouteTable {
    routes: Vec<Route>,
}

/// The method and path of an operation.
#[derive(Debug)]
pub(super) struct Route {
    pub(super) operation: &'static Operation,
    segments: Vec<Segment>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Segment {
    Literal(&'static str),
    Placeholder(&'static str),
}

/// The result of looking up a method and path.
pub(super) enum RouteMatch<'a> {
    /// The operation, and the decoded values of its placeholders in their order.
    Found(&'a Route, Vec<String>),
    /// Operations with this path and other methods. Of several paths, the most specific counts.
    OtherMethods(Vec<&'a Route>),
    /// No operation has this path.
    Unknown,
}

impl RouteTable {
    /// Creates the routes of a catalog's operations.
    pub(super) fn new(catalog: &Catalog) -> Self {
        let routes = catalog.iter().filter_map(Route::new).collect();
        Self { routes }
    }

    /// Finds the operation of a method and an encoded path.
    ///
    /// Of several paths, the one with a literal at the first difference counts, as in the API.
    pub(super) fn find(&self, method: &Method, path: &str) -> RouteMatch<'_> {
        let Some(segments) = decode_segments(path) else {
            return RouteMatch::Unknown;
        };
        let matching: Vec<_> = self
            .routes
            .iter()
            .filter(|route| route.matches(&segments))
            .collect();
        let best = matching
            .iter()
            .filter(|route| route.operation.method() == method)
            .max_by_key(|route| route.literal_places());
        match best {
            Some(route) => RouteMatch::Found(route, route.placeholder_values(segments)),
            None if matching.is_empty() => RouteMatch::Unknown,
            None => {
                // Of the most specific path alone: `invites` is no user, although it could be one.
                let places = matching.iter().map(|route| route.literal_places()).max();
                let is_specific = |route: &&Route| Some(route.literal_places()) == places;
                RouteMatch::OtherMethods(matching.into_iter().filter(is_specific).collect())
            }
        }
    }

    /// Returns the routes that a path most likely means, among those that pass `is_shown`.
    pub(super) fn suggest(
        &self,
        method: &Method,
        path: &str,
        is_shown: impl Fn(&Route) -> bool,
    ) -> Vec<&Route> {
        let segments = Some(path)
            .filter(|path| path.len() <= MAX_COMPARED_BYTES)
            .and_then(decode_segments);
        let Some(segments) = segments else {
            return Vec::new();
        };
        let mut near: Vec<_> = self
            .routes
            .iter()
            .map(|route| (route.cost(method, &segments), route))
            .filter(|(cost, _)| *cost <= MAX_COST)
            .collect();
        near.sort_by_key(|(cost, route)| (*cost, route.operation.name()));
        near.into_iter()
            .map(|(_, route)| route)
            .filter(|route| is_shown(route))
            .take(MAX_SUGGESTIONS)
            .collect()
    }

    /// Iterates over the routes.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Route> {
        self.routes.iter()
    }
}

impl Route {
    /// Returns the route of an operation. `None` if its host is not the API's.
    fn new(entry: &CatalogEntry) -> Option<Self> {
        let operation = entry.operation;
        let version = match operation.base() {
            ApiBase::ControlPlane | ApiBase::Gateway => "v1",
            ApiBase::ControlPlaneV2 => "v2",
            ApiBase::Registry | ApiBase::Catalogue | ApiBase::PriceLists | ApiBase::Enkrypt => {
                return None;
            }
        };
        let path = operation.path().split('/').skip(1).map(|segment| {
            let name = segment.strip_prefix('{');
            match name.and_then(|name| name.strip_suffix('}')) {
                Some(name) => Segment::Placeholder(name),
                None => Segment::Literal(segment),
            }
        });
        Some(Self {
            operation,
            segments: [Segment::Literal(version)]
                .into_iter()
                .chain(path)
                .collect(),
        })
    }

    /// Returns the path with its placeholders, such as `/v1/configs/{slug}`.
    pub(super) fn path(&self) -> String {
        let mut path = String::new();
        for segment in &self.segments {
            path.push('/');
            match segment {
                Segment::Literal(text) => path.push_str(text),
                Segment::Placeholder(name) => {
                    path.push('{');
                    path.push_str(name);
                    path.push('}');
                }
            }
        }
        path
    }

    fn matches(&self, segments: &[String]) -> bool {
        self.segments.len() == segments.len()
            && self
                .segments
                .iter()
                .zip(segments)
                .all(|(own, given)| match own {
                    Segment::Literal(text) => text == given,
                    Segment::Placeholder(_) => true,
                })
    }

    /// Returns for each segment whether it is a literal.
    fn literal_places(&self) -> Vec<bool> {
        let is_literal = |segment: &Segment| matches!(segment, Segment::Literal(_));
        self.segments.iter().map(is_literal).collect()
    }

    fn placeholder_values(&self, segments: Vec<String>) -> Vec<String> {
        let pairs = self.segments.iter().zip(segments);
        pairs
            .filter(|(own, _)| matches!(own, Segment::Placeholder(_)))
            .map(|(_, value)| value)
            .collect()
    }

    /// Returns how different another method and path are: the edit distance of their segments.
    fn cost(&self, method: &Method, segments: &[String]) -> usize {
        let mut row: Vec<usize> = (0..=segments.len()).map(|n| n * SEGMENT_COST).collect();
        for own in &self.segments {
            let mut diagonal = row.first().copied().unwrap_or_default();
            let mut left = diagonal + SEGMENT_COST;
            if let Some(first) = row.first_mut() {
                *first = left;
            }
            for (given, cell) in segments.iter().zip(row.iter_mut().skip(1)) {
                let above = *cell;
                left = (diagonal + own.cost(given))
                    .min(above + SEGMENT_COST)
                    .min(left + SEGMENT_COST);
                diagonal = above;
                *cell = left;
            }
        }
        let path = row.last().copied().unwrap_or_default();
        let is_same_method = self.operation.method() == method;
        path + if is_same_method { 0 } else { SIMILAR_COST }
    }
}

impl Segment {
    fn cost(self, given: &str) -> usize {
        let is_plural = |text: &str| {
            text.strip_suffix('s') == Some(given) || given.strip_suffix('s') == Some(text)
        };
        match self {
            Self::Literal(text) if text == given => 0,
            // Few callers know which operations are in the second version.
            Self::Literal("v1" | "v2") if matches!(given, "v1" | "v2") => SIMILAR_COST,
            Self::Literal(text) if is_plural(text) || is_misspelling_of(text, given) => {
                SIMILAR_COST
            }
            Self::Literal(_) => DIFFERENT_COST,
            Self::Placeholder(_) => SIMILAR_COST,
        }
    }
}

/// Splits a path and decodes its segments, each once. Returns `None` if one is not UTF-8, or if
/// there are too many.
fn decode_segments(path: &str) -> Option<Vec<String>> {
    let segments = path.strip_prefix('/')?.split('/');
    let decoded = segments.map(|segment| {
        let text = percent_decode_str(segment).decode_utf8().ok()?;
        Some(text.into_owned())
    });
    let decoded: Vec<_> = decoded.take(MAX_SEGMENTS + 1).collect::<Option<_>>()?;
    (decoded.len() <= MAX_SEGMENTS).then_some(decoded)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn find_operation(method: &Method, path: &str) -> Option<(&'static str, Vec<String>)> {
        let table = RouteTable::new(&Catalog::full());
        match table.find(method, path) {
            RouteMatch::Found(route, values) => Some((route.operation.name(), values)),
            RouteMatch::OtherMethods(_) | RouteMatch::Unknown => None,
        }
    }

    #[test]
    fn every_operation_of_the_api_has_one_route() {
        let table = RouteTable::new(&Catalog::full());
        let mut patterns = BTreeSet::new();
        for route in table.iter() {
            let path = route.path();
            let method = route.operation.method();
            // A segment is a placeholder as a whole, or none.
            assert_eq!(
                path.matches('{').count(),
                route.operation.placeholders().count()
            );
            assert!(
                patterns.insert(format!("{method} {path}")),
                "{method} {path}"
            );
        }
        let is_served = |operation: &&Operation| {
            matches!(
                operation.base(),
                ApiBase::ControlPlane | ApiBase::ControlPlaneV2 | ApiBase::Gateway
            )
        };
        assert_eq!(
            table.iter().count(),
            Catalog::operations().filter(is_served).count()
        );
    }

    #[test]
    fn paths_are_matched_exactly_and_decoded_once() {
        struct Case {
            method: Method,
            path: &'static str,
            found: Option<(&'static str, &'static [&'static str])>,
        }

        let case = |method, path, found| Case {
            method,
            path,
            found,
        };
        for Case {
            method,
            path,
            found: expected,
        } in [
            case(Method::GET, "/v1/configs", Some(("list-all-configs", &[]))),
            case(
                Method::GET,
                "/v1/c%6fnfigs",
                Some(("list-all-configs", &[])),
            ),
            case(
                Method::GET,
                "/v1/configs/a%20b",
                Some(("get-config", &["a b"])),
            ),
            case(
                Method::GET,
                "/v1/configs/a%252fb",
                Some(("get-config", &["a%2fb"])),
            ),
            case(
                Method::GET,
                "/v1/configs/a%2fb",
                Some(("get-config", &["a/b"])),
            ),
            case(
                Method::GET,
                "/v1/prompts/partials",
                Some(("list-prompt-partials", &[])),
            ),
            case(
                Method::GET,
                "/v1/logs/exports",
                Some(("list-all-log-exports", &[])),
            ),
            case(Method::GET, "/v1/prompts/p", Some(("get-prompt", &["p"]))),
            case(
                Method::GET,
                "/v2/scim/groups",
                Some(("list-scim-groups", &[])),
            ),
            case(Method::GET, "/v1/scim/groups", None),
            case(Method::GET, "/v1/configs/", Some(("get-config", &[""]))),
            case(Method::GET, "/v1//configs", None),
            case(Method::GET, "/v1/CONFIGS", None),
            case(Method::GET, "/configs", None),
            case(Method::GET, "/v1/configs/%ff", None),
            case(Method::PATCH, "/v1/configs", None),
        ] {
            let expected = expected.map(|(name, values)| {
                let values = values.iter().map(|&value| value.to_owned()).collect();
                (name, values)
            });
            assert_eq!(find_operation(&method, path), expected, "{method} {path}");
        }
    }

    #[test]
    fn similar_routes_are_suggested() {
        let table = RouteTable::new(&Catalog::full());
        let suggested = |path: &str| {
            let routes = table.suggest(&Method::GET, path, |_| true);
            routes
                .first()
                .map(|route| format!("{} {}", route.operation.method(), route.path()))
        };
        for (path, expected) in [
            ("/v1/config", Some("GET /v1/configs")),
            ("/v1/workspaces", Some("GET /v1/admin/workspaces")),
            (
                "/v1/integratons/openai",
                Some("GET /v1/integrations/{slug}"),
            ),
            ("/v1/scim/groups", Some("GET /v2/scim/groups")),
            ("/a/b/c/d/e/f/g/h", None),
        ] {
            assert_eq!(suggested(path).as_deref(), expected, "{path}");
        }
    }
}
