//! Request filters: headers and paths by which a request restricts the tools that it may use. No
//! request can extend its rights.

use std::fmt;

use http::{HeaderMap, HeaderName, StatusCode};
use percent_encoding::percent_decode_str;
use portkey_api::catalog::Catalog;

use super::error_response::ErrorResponse;
use crate::auth::principal::{FilterSource, ToolFilter, ToolSelection, Toolsets};

/// Prefix of the three filter headers.
const HEADER_PREFIX: &str = "x-portkey-mcp-";
const READ_ONLY: HeaderName = HeaderName::from_static("x-portkey-mcp-readonly");
const TOOLSETS: HeaderName = HeaderName::from_static("x-portkey-mcp-toolsets");
const TOOLS: HeaderName = HeaderName::from_static("x-portkey-mcp-tools");

/// Path of MCP with all tools.
pub(super) const MCP_PATH: &str = "/mcp";
/// Path of MCP and its variants: read-only tools, some toolsets, and both combined.
pub(super) const MCP_PATHS: [&str; 4] = [
    MCP_PATH,
    "/mcp/readonly",
    "/mcp/x/{toolsets}",
    "/mcp/x/{toolsets}/readonly",
];

/// Reads the tool filter from path and headers. Returns `None` if neither restricts anything.
pub(super) fn read_request_filter(
    path: &str,
    headers: &HeaderMap,
) -> Result<Option<ToolFilter>, ErrorResponse> {
    // Some clients end every address with a slash.
    let path = path.strip_suffix('/').unwrap_or(path);
    // Few requests have one of the headers. Scanning the names in the request is less work than
    // three look-ups.
    if path == MCP_PATH
        && !headers
            .keys()
            .any(|name| name.as_str().starts_with(HEADER_PREFIX))
    {
        return Ok(None);
    }
    let (read_only, toolsets, tools) = (
        single_value(headers, &READ_ONLY)?,
        single_value(headers, &TOOLSETS)?,
        single_value(headers, &TOOLS)?,
    );
    if path == MCP_PATH && read_only.is_none() && toolsets.is_none() && tools.is_none() {
        return Ok(None);
    }
    let path = filter_from_path(path)?;
    let read_only = match read_only {
        None => false,
        Some(text) if text.eq_ignore_ascii_case("true") => true,
        Some(text) if text.eq_ignore_ascii_case("false") => false,
        Some(_) => return Err(invalid_header(&READ_ONLY, "it is to be `true` or `false`")),
    };
    let toolsets =
        toolsets.map(|text| Toolsets::from_names(split_names(text), &Catalog::domains()));
    let toolsets = toolsets
        .transpose()
        .map_err(|error| invalid_header(&TOOLSETS, error))?;
    let toolsets = match (toolsets, path.toolsets) {
        (Some(one), Some(other)) => Some(one.intersect(other)),
        (one, other) => one.or(other),
    };
    let tools =
        tools.map(|text| ToolSelection::from_patterns(split_names(text), Catalog::operations()));
    Ok(Some(ToolFilter {
        source: FilterSource::Request,
        read_only: read_only || path.read_only,
        toolsets,
        tools: tools
            .transpose()
            .map_err(|error| invalid_header(&TOOLS, error))?,
        ..ToolFilter::default()
    }))
}

/// Reads the tool filter from a path below [`MCP_PATH`].
fn filter_from_path(path: &str) -> Result<ToolFilter, ErrorResponse> {
    let rest = path.strip_prefix(MCP_PATH).unwrap_or_default();
    let (rest, read_only) = match rest.strip_suffix("/readonly") {
        Some(rest) => (rest, true),
        None => (rest, false),
    };
    let names = rest
        .strip_prefix("/x/")
        .map(|names| percent_decode_str(names).decode_utf8_lossy());
    let toolsets =
        names.map(|names| Toolsets::from_names(split_names(&names), &Catalog::domains()));
    let toolsets = toolsets.transpose().map_err(|unknown| {
        ErrorResponse::new(
            StatusCode::NOT_FOUND,
            format!("the path names no toolsets: {unknown}"),
        )
    })?;
    Ok(ToolFilter {
        source: FilterSource::Request,
        read_only,
        toolsets,
        ..ToolFilter::default()
    })
}

fn split_names(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim)
}

/// Returns the value of a header that may occur once.
fn single_value<'a>(
    headers: &'a HeaderMap,
    name: &HeaderName,
) -> Result<Option<&'a str>, ErrorResponse> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (_, Some(_)) => Err(invalid_header(name, "it is given twice")),
        (None, _) => Ok(None),
        (Some(value), None) => value
            .to_str()
            .map(Some)
            .map_err(|_| invalid_header(name, "it is no plain text")),
    }
}

fn invalid_header(name: &HeaderName, why: impl fmt::Display) -> ErrorResponse {
    ErrorResponse::new(StatusCode::BAD_REQUEST, format!("the header {name}: {why}"))
}
