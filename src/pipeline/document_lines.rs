//! Documents in a body that is not one document: the events of a stream, and JSON line by line.

/// Content of the last event of a stream of completions.
const END_OF_STREAM: &str = "[DONE]";
/// Maximum length of a field name in a stream of events, in bytes.
const MAX_FIELD_NAME_BYTES: usize = 32;

/// A body whose documents were edited.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct EditedLines {
    /// The new body. `None` if no document changed.
    pub(super) changed: Option<String>,
    /// True if all content is in documents, except for what frames them.
    pub(super) is_complete: bool,
    /// True if a line may have fields and cannot be read.
    pub(super) has_unread_fields: bool,
}

/// Passes each document of a body to `edit`, which returns the document in its new form, or `None`
/// if that is the old one. All other bytes stay.
///
/// A document is a line, the data of a line of an event stream, or the data of consecutive lines.
///
/// `edit` returns an error if the text is no document.
pub(super) fn edit_documents<E>(
    body: &str,
    edit: impl FnMut(&str) -> Result<Option<String>, E>,
) -> EditedLines {
    let mut editor = LineEditor {
        edit,
        output: String::with_capacity(body.len()),
        is_changed: false,
        is_complete: true,
        has_unread_fields: false,
        open: None,
    };
    let mut rest = body;
    while !rest.is_empty() {
        let (line, end, after) = split_line(rest);
        editor.add(line, end);
        rest = after;
    }
    editor.close();
    EditedLines {
        changed: editor.is_changed.then_some(editor.output),
        is_complete: editor.is_complete,
        has_unread_fields: editor.has_unread_fields,
    }
}

/// Splits the first line off a text. Returns the line, its end and the rest.
fn split_line(text: &str) -> (&str, &str, &str) {
    let at = text.find(['\n', '\r']).unwrap_or(text.len());
    let (line, rest) = text.split_at(at);
    let length = match rest.as_bytes() {
        [b'\r', b'\n', ..] => 2,
        [] => 0,
        _ => 1,
    };
    let (end, rest) = rest.split_at(length);
    (line, end, rest)
}

/// The parts of a line.
struct Line<'a> {
    /// Text before the content.
    prefix: &'a str,
    /// Field of an event stream. `None` if the line is not of one.
    field: Option<&'a str>,
    content: &'a str,
}

impl<'a> Line<'a> {
    fn parse(line: &'a str) -> Self {
        // A byte order mark and a record separator may precede a document.
        let is_space = |c: char| c.is_whitespace() || matches!(c, '\u{feff}' | '\u{1e}');
        let text = line.trim_start_matches(is_space);
        let is_name = |name: &str| {
            name.len() <= MAX_FIELD_NAME_BYTES
                && name
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b' '))
        };
        let field = text.split_once(':').filter(|(name, _)| is_name(name));
        let (field, content) = match field {
            Some((name, content)) => (Some(name.trim()), content.trim_start_matches(is_space)),
            None => (None, text),
        };
        let prefix = line.strip_suffix(content).unwrap_or_default();
        Self {
            prefix,
            field,
            content,
        }
    }

    fn is_data(&self) -> bool {
        self.field
            .is_some_and(|name| name.eq_ignore_ascii_case("data"))
    }

    /// Returns true if the line frames documents and is none itself.
    fn is_frame(&self) -> bool {
        let content = self.content.trim();
        match self.field {
            _ if content.is_empty() => true,
            Some("" | "event" | "id" | "retry") => !content.contains(['{', '"']),
            _ => self.is_data() && content == END_OF_STREAM,
        }
    }
}

/// Lines of data that are one document together, as far as they are read.
struct OpenDocument<'a> {
    prefix: &'a str,
    /// The data, joined by line breaks, as the clients of event streams do it.
    data: String,
    /// The lines as they came.
    lines: String,
    /// End of the last line.
    end: &'a str,
}

struct LineEditor<'a, F> {
    edit: F,
    output: String,
    is_changed: bool,
    is_complete: bool,
    has_unread_fields: bool,
    open: Option<OpenDocument<'a>>,
}

impl<'a, E, F: FnMut(&str) -> Result<Option<String>, E>> LineEditor<'a, F> {
    fn add(&mut self, text: &'a str, end: &'a str) {
        let line = Line::parse(text);
        if line.is_data()
            && let Some(open) = &mut self.open
        {
            open.data.push('\n');
            open.data.push_str(line.content);
            open.lines.push_str(text);
            open.lines.push_str(end);
            open.end = end;
            return;
        }
        self.close();
        if line.is_frame() {
            self.push(&[text, end]);
            return;
        }
        match (self.edit)(line.content) {
            Ok(None) => self.push(&[text, end]),
            Ok(Some(document)) => {
                self.push(&[line.prefix, &document, end]);
                self.is_changed = true;
            }
            // Further lines may complete it.
            Err(_) if line.is_data() => {
                self.open = Some(OpenDocument {
                    prefix: line.prefix,
                    data: line.content.to_owned(),
                    lines: [text, end].concat(),
                    end,
                });
            }
            Err(_) => {
                self.note_unread(line.content);
                self.push(&[text, end]);
            }
        }
    }

    /// Writes the lines that are one document.
    fn close(&mut self) {
        let Some(open) = self.open.take() else {
            return;
        };
        match (self.edit)(&open.data) {
            Ok(Some(document)) => {
                self.push(&[open.prefix, &document, open.end]);
                self.is_changed = true;
                return;
            }
            Ok(None) => {}
            Err(_) => self.note_unread(&open.data),
        }
        self.push(&[&open.lines]);
    }

    fn note_unread(&mut self, content: &str) {
        self.is_complete = false;
        self.has_unread_fields |= may_have_fields(content);
    }

    fn push(&mut self, texts: &[&str]) {
        texts.iter().for_each(|text| self.output.push_str(text));
    }
}

/// Returns true if a text that is no JSON document has what looks like the fields of one.
fn may_have_fields(text: &str) -> bool {
    // JSON has no NUL, but every second byte of UTF-16 is one.
    let is_name_end = |rest: &str| rest.trim_start().starts_with(':');
    text.starts_with('{') || text.contains('\0') || text.split('"').skip(1).any(is_name_end)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// Blanks the field `a` of every document.
    fn blank(body: &str) -> EditedLines {
        edit_documents(body, |text| {
            let mut document: Value = serde_json::from_str(text)?;
            let field = document.get_mut("a");
            let is_there = field.is_some();
            if let Some(field) = field {
                *field = json!("-");
            }
            Ok::<_, serde_json::Error>(is_there.then(|| document.to_string()))
        })
    }

    fn edited(changed: &str) -> EditedLines {
        EditedLines {
            changed: Some(changed.to_owned()),
            is_complete: true,
            has_unread_fields: false,
        }
    }

    #[test]
    fn documents_are_edited_and_other_bytes_stay() {
        for (body, expected) in [
            ("{\"a\":1}", "{\"a\":\"-\"}"),
            (
                "{ \"b\" : 1 }\r\n{\"a\":1}\n\n",
                "{ \"b\" : 1 }\r\n{\"a\":\"-\"}\n\n",
            ),
            (
                ": note\nevent: x\nid: 1\ndata:{\"a\":1}\n\ndata: { \"b\":1 }\n\ndata: [DONE]\n\n",
                ": note\nevent: x\nid: 1\ndata:{\"a\":\"-\"}\n\ndata: { \"b\":1 }\n\ndata: [DONE]\n\n",
            ),
            (
                "\u{feff}data: {\"a\":1}\r\r",
                "\u{feff}data: {\"a\":\"-\"}\r\r",
            ),
            (
                "data: {\"a\":\ndata: 1\ndata: }\n\n",
                "data: {\"a\":\"-\"}\n\n",
            ),
            ("DATA : {\"a\":1}\n", "DATA : {\"a\":\"-\"}\n"),
            ("event: {\"a\":1}\n", "event: {\"a\":\"-\"}\n"),
            ("\u{1e}{\"a\":1}\n", "\u{1e}{\"a\":\"-\"}\n"),
        ] {
            assert_eq!(blank(body), edited(expected), "{body:?}");
        }
    }

    #[test]
    fn bodies_without_a_change_are_kept() {
        for body in ["", "\n", "{\"b\":1}\n[1]\n2\n", "data: \"a\"\n\n: {\n"] {
            let lines = blank(body);
            assert_eq!(lines.changed, None, "{body:?}");
        }
    }

    #[test]
    fn content_that_is_no_document_is_noticed() {
        for (body, has_unread_fields) in [
            ("some text", false),
            ("<h1>away</h1>", false),
            ("data: some text\n\n", false),
            ("{\"b\":1}\nsome text\n", false),
            ("{\"a\":1", true),
            ("{\"b\":1}{\"a\":1}\n", true),
            ("x{\"a\" :1}\n", true),
            ("data: {\"a\":1\n\n", true),
            ("data: {\"a\":\n\ndata: 1}\n\n", true),
            (": {\"a\":\n", true),
            ("{\0\"\0a\0\"\0:\0", true),
        ] {
            let lines = blank(body);
            assert_eq!(
                (lines.is_complete, lines.has_unread_fields),
                (false, has_unread_fields),
                "{body:?}"
            );
        }
    }
}
