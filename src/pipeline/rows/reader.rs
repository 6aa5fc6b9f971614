//! Reads JSON lines as they arrive, compressed or not, and keeps the rows that a query wants.

use std::{collections::BTreeMap, io::Write};

use flate2::write::MultiGzDecoder;
use portkey_operation::JsonMap;
use portkey_policy::PolicyEvaluation;
use serde_json::{Value, json};

use super::{
    RowContext,
    query::{RowQuery, find_text, value_at},
};
use crate::security::{sanitize, secrets::SecretDelivery};

/// Number of bytes that are decompressed and read before other tasks have their turn.
const COMPRESSED_STEP_BYTES: usize = 4 * 1024;
const TEXT_STEP_BYTES: usize = 64 * 1024;
/// Maximum number of bytes of a file, decompressed, and of a line.
const MAX_TEXT_BYTES: usize = 1024 * 1024 * 1024;
const MAX_LINE_BYTES: usize = 4 * 1024 * 1024;
/// Maximum number of bytes of the rows that are returned.
const MAX_ROWS_BYTES: usize = 1024 * 1024;
/// First bytes of a compressed file.
const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];

enum Decoder {
    /// The first bytes, from which the format follows.
    Unknown(Vec<u8>),
    Plain,
    Gzip(Box<MultiGzDecoder<Vec<u8>>>),
}

/// Reads rows, and keeps those that are wanted.
pub(super) struct RowReader<'a> {
    query: &'a RowQuery,
    context: RowContext<'a>,
    /// The text to look for, in lower case.
    contains: Option<String>,
    decoder: Decoder,
    line: Vec<u8>,
    is_line_too_long: bool,
    text_bytes: usize,
    rows: Vec<Value>,
    rows_bytes: usize,
    read: u64,
    matched: u64,
    skipped: u64,
    /// Number of rows without a field that a condition needs.
    without_field: BTreeMap<&'static str, u64>,
    /// True for each requested field that a row had.
    is_field_seen: Vec<bool>,
    is_cut: bool,
    not_seen: Vec<String>,
}

impl<'a> RowReader<'a> {
    pub(super) fn new(query: &'a RowQuery, context: RowContext<'a>) -> Self {
        Self {
            contains: query.contains.as_ref().map(|text| text.to_lowercase()),
            query,
            context,
            decoder: Decoder::Unknown(Vec::new()),
            line: Vec::new(),
            is_line_too_long: false,
            text_bytes: 0,
            rows: Vec::new(),
            rows_bytes: 0,
            read: 0,
            matched: 0,
            skipped: 0,
            without_field: BTreeMap::new(),
            is_field_seen: vec![false; query.fields.len()],
            is_cut: false,
            not_seen: Vec::new(),
        }
    }

    /// Returns true if a row was read.
    pub(super) const fn has_rows(&self) -> bool {
        self.read > 0
    }

    /// Notes why the rest of the file is not read.
    pub(super) fn stop(&mut self, reason: &str) {
        self.not_seen.push(reason.to_owned());
    }

    /// Reads bytes of the file. Returns false if the rest is not to be read.
    pub(super) async fn push(&mut self, chunk: &[u8]) -> bool {
        for piece in chunk.chunks(COMPRESSED_STEP_BYTES) {
            let text = match self.decode(piece) {
                Ok(text) => text,
                Err(_) => {
                    self.stop("the rest of the file: it is not valid gzip");
                    return false;
                }
            };
            for block in text.chunks(TEXT_STEP_BYTES) {
                self.text_bytes += block.len();
                if self.text_bytes > MAX_TEXT_BYTES {
                    self.stop("the file is longer than 1 GiB; the rest was not read");
                    return false;
                }
                self.push_text(block);
                tokio::task::yield_now().await;
            }
        }
        true
    }

    fn decode(&mut self, piece: &[u8]) -> std::io::Result<Vec<u8>> {
        match &mut self.decoder {
            Decoder::Plain => Ok(piece.to_vec()),
            Decoder::Gzip(decoder) => {
                decoder.write_all(piece)?;
                Ok(std::mem::take(decoder.get_mut()))
            }
            Decoder::Unknown(first) => {
                first.extend_from_slice(piece);
                if first.len() < GZIP_MAGIC.len() {
                    return Ok(Vec::new());
                }
                let first = std::mem::take(first);
                self.decoder = match first.starts_with(&GZIP_MAGIC) {
                    true => Decoder::Gzip(Box::new(MultiGzDecoder::new(Vec::new()))),
                    false => Decoder::Plain,
                };
                self.decode(&first)
            }
        }
    }

    /// Ends the file, whose last line may have no line break.
    pub(super) fn end(&mut self) {
        let rest = match &mut self.decoder {
            Decoder::Unknown(first) => std::mem::take(first),
            Decoder::Plain => Vec::new(),
            Decoder::Gzip(decoder) => {
                if decoder.try_finish().is_err() {
                    self.not_seen
                        .push("the end of the file: it is not complete gzip".to_owned());
                }
                match &mut self.decoder {
                    Decoder::Gzip(decoder) => std::mem::take(decoder.get_mut()),
                    _ => Vec::new(),
                }
            }
        };
        self.push_text(&rest);
        self.finish_line();
    }

    fn push_text(&mut self, mut text: &[u8]) {
        while let Some(end) = memchr::memchr(b'\n', text) {
            let (line, rest) = text.split_at(end);
            self.extend_line(line);
            self.finish_line();
            text = rest.get(1..).unwrap_or_default();
        }
        self.extend_line(text);
    }

    fn extend_line(&mut self, part: &[u8]) {
        if self.is_line_too_long || self.line.len() + part.len() > MAX_LINE_BYTES {
            self.is_line_too_long = true;
            self.line.clear();
        } else {
            self.line.extend_from_slice(part);
        }
    }

    fn finish_line(&mut self) {
        let line = std::mem::take(&mut self.line);
        if std::mem::take(&mut self.is_line_too_long) {
            self.skipped += 1;
            return;
        }
        if line.trim_ascii().is_empty() {
            return;
        }
        match serde_json::from_slice::<Value>(&line) {
            Ok(row @ Value::Object(_)) => self.read_row(row, &line),
            _ => self.skipped += 1,
        }
        // The space of a long line is given back, that of others is used again.
        if line.capacity() <= TEXT_STEP_BYTES {
            self.line = line;
            self.line.clear();
        }
    }

    fn read_row(&mut self, mut row: Value, line: &[u8]) {
        self.read += 1;
        // Masked and redacted before the conditions: they would tell what is hidden.
        let plain = sanitize::as_clean_ascii(line);
        if plain.is_none() {
            sanitize::sanitize_value(&mut row);
        }
        let RowContext {
            operation, fetched, ..
        } = self.context;
        SecretDelivery::Nothing.mask_and_deliver(operation, fetched, plain, &mut row);
        let row = self.redact(row);
        for condition in &self.query.conditions {
            match condition.matches(&row) {
                Some(true) => {}
                Some(false) => return,
                None => {
                    let name = condition.names.first().copied().unwrap_or_default();
                    *self.without_field.entry(name).or_default() += 1;
                    return;
                }
            }
        }
        let found = match &self.contains {
            None => None,
            Some(wanted) => match find_text(&row, wanted) {
                Some(found) => Some(found),
                None => return,
            },
        };
        self.matched += 1;
        if self.matched > self.query.offset && self.rows.len() < self.query.limit && !self.is_cut {
            self.keep_row(row, found);
        }
    }

    fn redact(&self, row: Value) -> Value {
        if self.context.redactions.is_empty() {
            return row;
        }
        let mut whole = json!({ "rows": [row] });
        PolicyEvaluation::redact(self.context.redactions, &mut whole);
        match whole.pointer_mut("/rows/0") {
            Some(row) => row.take(),
            // The list itself is redacted.
            None => json!({}),
        }
    }

    fn keep_row(&mut self, row: Value, found: Option<String>) {
        let mut shown = JsonMap::new();
        if self.query.fields.is_empty() {
            let Value::Object(map) = row else { return };
            let omitted = self.query.omitted;
            let is_shown = |name: &String| !omitted.contains(&name.as_str());
            shown.extend(map.into_iter().filter(|(name, _)| is_shown(name)));
        } else {
            for (field, is_seen) in self.query.fields.iter().zip(&mut self.is_field_seen) {
                if let Some(value) = value_at(&row, field) {
                    *is_seen = true;
                    shown.insert(field.clone(), value.clone());
                }
            }
        }
        if let Some(found) = found {
            shown.insert("found".to_owned(), found.into());
        }
        let shown = Value::Object(shown);
        self.rows_bytes += shown.to_string().len();
        if self.rows_bytes > MAX_ROWS_BYTES && !self.rows.is_empty() {
            self.is_cut = true;
            let note = "the rows of this answer are limited to 1 MiB: read on with `offset`, or name fewer `fields`";
            self.not_seen.push(note.to_owned());
        } else {
            self.rows.push(shown);
        }
    }

    /// Returns the rows, how many there were, and what is missing.
    pub(super) fn into_report(mut self) -> Value {
        for (name, count) in &self.without_field {
            self.not_seen.push(format!(
                "{count} rows have no `{name}`, which a filter needs"
            ));
        }
        if self.skipped > 0 {
            let note = format!("{} lines are no JSON objects, or too long", self.skipped);
            self.not_seen.push(note);
        }
        if !self.rows.is_empty() {
            let fields = self.query.fields.iter().zip(&self.is_field_seen);
            for (field, _) in fields.filter(|(_, is_seen)| !**is_seen) {
                self.not_seen.push(format!("no row here has `{field}`"));
            }
        }
        if !self.context.redactions.is_empty() {
            let note = "a policy may redact values of the rows, and filters do not see those";
            self.not_seen.push(note.to_owned());
        }
        json!({
            "read": self.read,
            "matched": self.matched,
            "returned": self.rows.len(),
            "skipped": self.skipped,
            "rows": self.rows,
            "not_seen": self.not_seen,
        })
    }
}
