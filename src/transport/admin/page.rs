//! The page about one call that waits: plain HTML that runs nothing and loads nothing.

use http::{HeaderName, HeaderValue, header};

use crate::approval::Ticket;

/// Bound on the name of whoever decides, in characters.
pub(super) const LONGEST_NAME: usize = 100;

/// What browsers are told with every answer.
pub(super) const HEADERS: [(HeaderName, HeaderValue); 5] = [
    (
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static(
            "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; base-uri 'none'; \
             frame-ancestors 'none'",
        ),
    ),
    (header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
    (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (header::REFERRER_POLICY, HeaderValue::from_static("same-origin")),
    (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
];

/// What somebody entered before the form came back undecided.
#[derive(Clone, Copy, Default)]
pub(super) struct Entered<'a> {
    /// Why nothing was decided.
    pub(super) note: Option<&'a str>,
    pub(super) by: &'a str,
    pub(super) name: &'a str,
}

/// The question, with a form to decide.
///
/// The Enter key presses the first button of a form (HTML, "implicit submission"), so the first one decides
/// nothing. It stands outside of the view instead of being `hidden`, because WebKit passes over buttons that
/// are not drawn.
pub(super) fn question(ticket: &Ticket, entered: Entered<'_>) -> String {
    let name = match &ticket.confirm {
        Some(_) => {
            let name = escaped(entered.name);
            format!(
                "<p><label>Name of what it is about, to approve: <input name=\"name\" \
                 value=\"{name}\" autocomplete=\"off\" autofocus></label></p>"
            )
        }
        None => String::new(),
    };
    let note = entered.note.map(|note| format!("<p><strong>{}</strong></p>", escaped(note)));
    let (note, by) = (note.unwrap_or_default(), escaped(entered.by));
    let (text, token) = (escaped(&ticket.text), escaped(ticket.form_token()));
    let minutes = ticket.left().as_secs() / 60;
    document(&format!(
        "<pre>{text}</pre>{note}<form method=\"post\">\
         <button name=\"decision\" value=\"none\" class=\"unseen\" tabindex=\"-1\" \
         aria-hidden=\"true\" formnovalidate>Not yet</button>\
         <input type=\"hidden\" name=\"token\" value=\"{token}\">\
         <p><label>Your name, for the record: <input name=\"by\" value=\"{by}\" \
         maxlength=\"{LONGEST_NAME}\" autocomplete=\"name\" required></label></p>{name}\
         <p><button name=\"decision\" value=\"deny\">Deny</button> \
         <button name=\"decision\" value=\"approve\">Approve</button></p></form>\
         <p>It waits for {minutes} more minutes.</p>"
    ))
}

/// A sentence.
pub(super) fn message(text: &str) -> String {
    document(&format!("<p>{}</p>", escaped(text)))
}

fn document(body: &str) -> String {
    format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>Approval</title>\
         <style>body{{font:16px sans-serif;max-width:50em;margin:2em auto;padding:0 1em}}\
         pre{{white-space:pre-wrap;overflow-wrap:anywhere}}button{{font:inherit;padding:.4em 1em}}\
         .unseen{{position:absolute;left:-99em}}\
         </style><h1>Approval</h1>{body}</html>\n"
    )
}

fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            c => safe.push(c),
        }
    }
    safe
}
