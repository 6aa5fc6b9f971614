//! Headers by which a request narrows what it may use. None can widen it.

use std::fmt;

use http::{HeaderMap, HeaderName, StatusCode};

use super::refusal::Refusal;
use crate::{
    catalog::Catalog,
    principal::{AccessModes, By, Tools, Toolsets},
};

const READ_ONLY: HeaderName = HeaderName::from_static("x-portkey-mcp-readonly");
const TOOLSETS: HeaderName = HeaderName::from_static("x-portkey-mcp-toolsets");
const TOOLS: HeaderName = HeaderName::from_static("x-portkey-mcp-tools");

/// What the headers leave on offer; none if there are none.
pub(super) fn narrowing(headers: &HeaderMap) -> Result<Option<AccessModes>, Refusal> {
    let (read_only, toolsets, tools) =
        (only(headers, &READ_ONLY)?, only(headers, &TOOLSETS)?, only(headers, &TOOLS)?);
    if read_only.is_none() && toolsets.is_none() && tools.is_none() {
        return Ok(None);
    }
    let read_only = match read_only {
        None => false,
        Some(text) if text.eq_ignore_ascii_case("true") => true,
        Some(text) if text.eq_ignore_ascii_case("false") => false,
        Some(_) => return Err(bad(&READ_ONLY, "it is to be `true` or `false`")),
    };
    let toolsets = toolsets.map(|text| Toolsets::named(words(text), &Catalog::domains()));
    let tools = tools.map(|text| Tools::named(words(text), Catalog::operations()));
    Ok(Some(AccessModes {
        by: By::Request,
        read_only,
        toolsets: toolsets.transpose().map_err(|error| bad(&TOOLSETS, error))?,
        tools: tools.transpose().map_err(|error| bad(&TOOLS, error))?,
        ..AccessModes::default()
    }))
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim)
}

/// The one value of a header.
fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a str>, Refusal> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (_, Some(_)) => Err(bad(name, "it is given twice")),
        (None, _) => Ok(None),
        (Some(value), None) => {
            value.to_str().map(Some).map_err(|_| bad(name, "it is no plain text"))
        }
    }
}

fn bad(name: &HeaderName, why: impl fmt::Display) -> Refusal {
    Refusal::new(StatusCode::BAD_REQUEST, format!("the header {name}: {why}"))
}
