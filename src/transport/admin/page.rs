//! HTML pages about calls that wait for approval. They run no script and load nothing.

use http::{HeaderName, HeaderValue, header};

use crate::pipeline::approval::{Ticket, TicketFilter, TicketPage, TicketState};

/// Maximum length of the approver's name, in characters.
pub(super) const MAX_NAME_CHARS: usize = 100;

/// Headers of every response.
pub(super) const RESPONSE_HEADERS: [(HeaderName, HeaderValue); 5] = [
    (
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static(
            "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; base-uri 'none'; \
             frame-ancestors 'none'",
        ),
    ),
    (header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
    (
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    ),
    (
        header::REFERRER_POLICY,
        HeaderValue::from_static("same-origin"),
    ),
    (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
];

/// Entered values of a form that comes back without a decision.
#[derive(Clone, Copy, Default)]
pub(super) struct FormInput<'a> {
    /// Reason why nothing was decided.
    pub(super) note: Option<&'a str>,
    pub(super) by: &'a str,
    pub(super) name: &'a str,
}

/// Renders the page about one call, with a form to decide.
///
/// The Enter key presses the first button of a form (HTML, "implicit submission"), so the first one
/// decides nothing. It is placed outside of the view instead of being `hidden`, because WebKit
/// skips buttons that are not drawn.
pub(super) fn decision_page(ticket: &Ticket, entered: FormInput<'_>) -> String {
    let name = match &ticket.confirm {
        Some(_) => {
            let name = escape_html(entered.name);
            format!(
                "<p><label>Name of what it is about, to approve: <input name=\"name\" \
                 value=\"{name}\" autocomplete=\"off\" autofocus></label></p>"
            )
        }
        None => String::new(),
    };
    let note = entered
        .note
        .map(|note| format!("<p><strong>{}</strong></p>", escape_html(note)));
    let note = note.unwrap_or_default();
    let by = escape_html(entered.by);
    let (text, token) = (escape_html(&ticket.text), escape_html(ticket.form_token()));
    let digest = ticket.digest();
    let minutes = ticket.time_left().as_secs() / 60;
    html_document(&format!(
        "<pre>{text}</pre>{note}<form method=\"post\">\
         <button name=\"decision\" value=\"none\" class=\"unseen\" tabindex=\"-1\" \
         aria-hidden=\"true\" formnovalidate>Not yet</button>\
         <input type=\"hidden\" name=\"token\" value=\"{token}\">\
         <input type=\"hidden\" name=\"digest\" value=\"{digest}\">\
         <p><label>Your name, for the record: <input name=\"by\" value=\"{by}\" \
         maxlength=\"{MAX_NAME_CHARS}\" autocomplete=\"name\" required></label></p>{name}\
         <p><button name=\"decision\" value=\"deny\">Deny</button> \
         <button name=\"decision\" value=\"approve\">Approve</button></p></form>\
         <p>It waits for {minutes} more minutes.</p>"
    ))
}

/// Renders the list of calls that wait or were decided recently, with a form to filter it and one
/// for the next page.
pub(super) fn list_page(key: &str, filter: &TicketFilter, page: &TicketPage) -> String {
    let value = |text: &Option<String>| escape_html(text.as_deref().unwrap_or_default());
    let (caller, tool, state) = (
        value(&filter.caller),
        value(&filter.tool),
        value(&filter.state),
    );
    let mut rows = String::new();
    for ticket in &page.tickets {
        let tool = escape_html(&ticket.tool);
        let caller = escape_html(&ticket.principal);
        let id = escape_html(&ticket.id);
        let minutes = ticket.time_left().as_secs() / 60;
        let call = match ticket.state {
            TicketState::Pending => format!("<a href=\"/waiting/{key}/{id}\">{tool}</a>"),
            TicketState::Approved(_) | TicketState::Denied(_) => tool,
        };
        let (word, by) = ticket.state.as_parts();
        let by = by
            .map(|by| format!(" by {}", escape_html(by)))
            .unwrap_or_default();
        rows.push_str(&format!(
            "<tr><td>{call}</td><td>{caller}</td><td>{word}{by}</td><td>{minutes} min</td>\
             <td><code>{id}</code></td></tr>"
        ));
    }
    let states = ["", "pending", "approved", "denied"].map(|word| {
        let selected = if word == state { " selected" } else { "" };
        format!("<option{selected}>{word}</option>")
    });
    let next = page.next.as_deref().map(|next| {
        format!(
            "<form><input type=\"hidden\" name=\"caller\" value=\"{caller}\">\
             <input type=\"hidden\" name=\"tool\" value=\"{tool}\">\
             <input type=\"hidden\" name=\"state\" value=\"{state}\">\
             <button name=\"after\" value=\"{}\">Next page</button></form>",
            escape_html(next)
        )
    });
    html_document(&format!(
        "<form><label>Caller: <input name=\"caller\" value=\"{caller}\"></label> \
         <label>Tool: <input name=\"tool\" value=\"{tool}\"></label> \
         <label>State: <select name=\"state\">{}</select></label> <button>Show</button></form>\
         <table><tr><th>Call</th><th>Caller</th><th>State</th><th>Left</th><th>Ticket</th></tr>\
         {rows}</table>{}",
        states.concat(),
        next.unwrap_or_default()
    ))
}

/// Renders a page with one sentence.
pub(super) fn message_page(text: &str) -> String {
    html_document(&format!("<p>{}</p>", escape_html(text)))
}

fn html_document(body: &str) -> String {
    format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>Approval</title>\
         <style>body{{font:16px sans-serif;max-width:50em;margin:2em auto;padding:0 1em}}\
         pre{{white-space:pre-wrap;overflow-wrap:anywhere}}button{{font:inherit;padding:.4em 1em}}\
         td,th{{text-align:left;padding:.2em .8em .2em 0}}\
         .unseen{{position:absolute;left:-99em}}\
         </style><h1>Approval</h1>{body}</html>\n"
    )
}

fn escape_html(text: &str) -> String {
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
