//! Previews of large values: the same shape, with as much content as fits.

use std::io;

use serde::Serialize;
use serde_json::Value;

use super::text::TextList;
use crate::security::secrets::CleanList;

/// Minimum that is shown of a large value in an object, in bytes, as long as anything fits.
const MIN_VALUE_BYTES: usize = 160;

/// A value of which only the beginning is shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Truncation {
    /// JSON Pointer to the value (RFC 6901).
    pub(super) pointer: String,
    /// Number of items, entries or characters shown.
    pub(super) returned: usize,
    /// Number of items, entries or characters in all.
    pub(super) of: usize,
}

/// Names and shown values of fields, and the size of the object of them.
pub(super) type FieldsPreview<'a, S> = (Vec<(&'a str, S)>, usize);

/// A value of a field that can be truncated.
pub(super) trait FieldValue: Copy {
    /// What is shown of the value.
    type Shown;

    /// Returns the size of the value as compact JSON; `None` if it exceeds `max_bytes`.
    fn size_within(self, max_bytes: usize) -> Option<usize>;

    /// Truncates the value as [`preview_value`] does.
    fn preview(
        self,
        room: usize,
        pointer: &str,
        cuts: &mut Vec<Truncation>,
    ) -> Option<(Self::Shown, usize)>;
}

impl FieldValue for &Value {
    type Shown = Value;

    fn size_within(self, max_bytes: usize) -> Option<usize> {
        json_size_within(self, max_bytes)
    }

    fn preview(
        self,
        room: usize,
        pointer: &str,
        cuts: &mut Vec<Truncation>,
    ) -> Option<(Value, usize)> {
        preview_value(self, room, pointer, cuts)
    }
}

/// A field of a list whose items are text.
#[derive(Clone, Copy)]
enum ListField<'a> {
    Items(&'a CleanList),
    Other(&'a Value),
}

impl FieldValue for ListField<'_> {
    /// JSON.
    type Shown = String;

    fn size_within(self, max_bytes: usize) -> Option<usize> {
        match self {
            Self::Items(items) => Some(items.as_str().len()).filter(|size| *size <= max_bytes),
            Self::Other(value) => json_size_within(value, max_bytes),
        }
    }

    fn preview(
        self,
        room: usize,
        pointer: &str,
        cuts: &mut Vec<Truncation>,
    ) -> Option<(String, usize)> {
        match self {
            Self::Items(items) => preview_items(items, room, pointer, cuts),
            Self::Other(value) => {
                let (shown, size) = preview_value(value, room, pointer, cuts)?;
                Some((shown.to_string(), size))
            }
        }
    }
}

/// Counts bytes up to a limit.
struct ByteCounter {
    bytes_left: usize,
}

impl io::Write for ByteCounter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let left = self.bytes_left.checked_sub(bytes.len());
        self.bytes_left = left.ok_or(io::ErrorKind::WriteZero)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Collects bytes up to a limit.
struct LimitedBuffer {
    bytes: Vec<u8>,
    max_bytes: usize,
}

impl io::Write for LimitedBuffer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.len() > self.max_bytes - self.bytes.len() {
            return Err(io::ErrorKind::WriteZero.into());
        }
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.write(bytes).map(drop)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Returns the size of a value as compact JSON; `None` if it exceeds `max_bytes`.
pub(super) fn json_size_within(value: &impl Serialize, max_bytes: usize) -> Option<usize> {
    let mut count = ByteCounter {
        bytes_left: max_bytes,
    };
    serde_json::to_writer(&mut count, value).ok()?;
    Some(max_bytes - count.bytes_left)
}

/// Returns a value as compact JSON; `None` if it exceeds `max_bytes`.
pub(super) fn json_text_within(value: &Value, max_bytes: usize) -> Option<String> {
    let mut text = LimitedBuffer {
        bytes: Vec::with_capacity(128),
        max_bytes,
    };
    serde_json::to_writer(&mut text, value).ok()?;
    String::from_utf8(text.bytes).ok()
}

/// Truncates a value to the available bytes, and returns it with its size.
///
/// Records truncated values in `cuts`, the outermost first. Returns `None` if not even the
/// outermost fits.
pub(super) fn preview_value(
    value: &Value,
    room: usize,
    pointer: &str,
    cuts: &mut Vec<Truncation>,
) -> Option<(Value, usize)> {
    if let Some(size) = json_size_within(value, room) {
        return Some((value.clone(), size));
    }
    match value {
        Value::Array(items) => preview_list(items, room, pointer, cuts),
        Value::Object(map) => {
            let fields = map.iter().map(|(name, value)| (name.as_str(), value));
            let (fields, used) = preview_fields(fields, room, pointer, cuts)?;
            let fields = fields
                .into_iter()
                .map(|(name, value)| (name.to_owned(), value));
            Some((Value::Object(fields.collect()), used))
        }
        Value::String(text) => preview_string(text, room, pointer, cuts),
        _ => None,
    }
}

/// Takes whole items as far as they fit. If the first does not fit, takes its beginning.
fn preview_list(
    items: &[Value],
    room: usize,
    pointer: &str,
    cuts: &mut Vec<Truncation>,
) -> Option<(Value, usize)> {
    let mut taken = Vec::new();
    let mut used = 2;
    let place = cuts.len();
    for item in items {
        let left = room.checked_sub(used + usize::from(!taken.is_empty()));
        match left.and_then(|left| json_size_within(item, left)) {
            Some(size) => {
                used += size + usize::from(!taken.is_empty());
                taken.push(item.clone());
            }
            None if taken.is_empty() => {
                let part = preview_value(item, left?, &format!("{pointer}/0"), cuts);
                if let Some((part, size)) = part {
                    used += size;
                    taken.push(part);
                }
                break;
            }
            None => break,
        }
    }
    record_truncation(cuts, place, pointer, taken.len(), items.len());
    (used <= room).then_some((Value::Array(taken), used))
}

/// Takes whole items as far as they fit, as [`preview_list`] does.
fn preview_items(
    items: &CleanList,
    room: usize,
    pointer: &str,
    cuts: &mut Vec<Truncation>,
) -> Option<(String, usize)> {
    let whole = items.as_str();
    if whole.len() <= room {
        return Some((whole.to_owned(), whole.len()));
    }
    // The items stand in the text as they are taken: with commas between them.
    let mut used = 2;
    let mut taken = 0;
    let mut beginning = None;
    let place = cuts.len();
    for item in items.iter() {
        let comma = usize::from(taken > 0);
        let left = room.checked_sub(used + comma);
        if left.is_some_and(|left| item.len() <= left) {
            used += item.len() + comma;
            taken += 1;
            continue;
        }
        if taken == 0 {
            // The scan has accepted the item, so it is read.
            let item: Value = serde_json::from_str(item).ok()?;
            if let Some((part, size)) = preview_value(&item, left?, &format!("{pointer}/0"), cuts) {
                beginning = Some(format!("[{part}]"));
                used += size;
                taken = 1;
            }
        }
        break;
    }
    record_truncation(cuts, place, pointer, taken, items.len());
    let shown = match beginning {
        Some(beginning) => beginning,
        None => format!("{}]", whole.get(..used - 1)?),
    };
    (used <= room).then_some((shown, used))
}

/// Takes the first fields of a list whose items are text, as for a document. Returns their names
/// and JSON, with the size of the object of them.
pub(super) fn preview_text_list<'a>(
    list: &'a TextList,
    room: usize,
    cuts: &mut Vec<Truncation>,
) -> Option<FieldsPreview<'a, String>> {
    let fields = list.envelope.iter().map(|(name, value)| {
        let value = match *name == list.items_key {
            true => ListField::Items(&list.items),
            false => ListField::Other(value),
        };
        (name.as_str(), value)
    });
    preview_fields(fields, room, "", cuts)
}

/// Takes the first fields. Small ones stay whole, and large ones share the space left.
fn preview_fields<'a, V: FieldValue>(
    fields: impl ExactSizeIterator<Item = (&'a str, V)> + Clone,
    room: usize,
    pointer: &str,
    cuts: &mut Vec<Truncation>,
) -> Option<FieldsPreview<'a, V::Shown>> {
    let left = room.checked_sub(2)?;
    let count = fields.len();
    // Size of each entry: its name with colon and comma, and its value if that fits.
    let needs = fields
        .clone()
        .map(|(name, value)| (quoted_json_size(name) + 2, value.size_within(left)));
    let mut first = Vec::new();
    let mut least = 0;
    for (frame, size) in needs {
        least += frame + size.unwrap_or(left).min(MIN_VALUE_BYTES);
        if least > left {
            break;
        }
        first.push((frame, size));
    }
    let shares = share_budget(&first, left);
    let mut taken = Vec::new();
    let mut used = 2;
    let place = cuts.len();
    for (((name, value), (frame, _)), share) in fields.zip(&first).zip(shares) {
        let pointer = format!("{pointer}/{}", name.replace('~', "~0").replace('/', "~1"));
        let part = share
            .checked_sub(*frame)
            .and_then(|room| value.preview(room, &pointer, cuts));
        let Some((part, size)) = part else { break };
        used += frame + size;
        taken.push((name, part));
    }
    // The last entry has no comma.
    used -= usize::from(!taken.is_empty());
    record_truncation(cuts, place, pointer, taken.len(), count);
    Some((taken, used))
}

/// Divides the space: each entry gets what it needs, or an equal share of what smaller entries
/// leave.
fn share_budget(needs: &[(usize, Option<usize>)], mut left: usize) -> Vec<usize> {
    let need = |(frame, size): &(usize, Option<usize>)| size.map(|size| frame + size);
    let mut order: Vec<(usize, usize)> = needs
        .iter()
        .enumerate()
        .map(|(i, entry)| (need(entry).unwrap_or(usize::MAX), i))
        .collect();
    order.sort_unstable();
    let mut shares = vec![0; needs.len()];
    let mut waiting = needs.len();
    for (need, i) in order {
        let share = need.min(left / waiting.max(1));
        if let Some(place) = shares.get_mut(i) {
            *place = share;
        }
        left -= share;
        waiting -= 1;
    }
    shares
}

/// Takes the first characters, and appends the number of omitted ones.
fn preview_string(
    text: &str,
    room: usize,
    pointer: &str,
    cuts: &mut Vec<Truncation>,
) -> Option<(Value, usize)> {
    let of = text.chars().count();
    let mark = |more: usize| format!("… ({more} more characters)");
    // The mark with the full count is the longest.
    let left = room.checked_sub(2 + mark(of).len())?;
    let (end, returned) = fitting_prefix(text, left);
    let (start, _) = text.split_at_checked(end)?;
    cuts.push(Truncation {
        pointer: pointer.to_owned(),
        returned,
        of,
    });
    let shown = format!("{start}{}", mark(of - returned));
    let used = quoted_json_size(&shown);
    Some((shown.into(), used))
}

/// Returns how many bytes and characters of a text fit into the available bytes of JSON, quotes
/// excluded.
pub(super) fn fitting_prefix(text: &str, room: usize) -> (usize, usize) {
    let mut used = 0;
    let mut characters = 0;
    for (at, c) in text.char_indices() {
        used += json_char_size(c);
        if used > room {
            return (at, characters);
        }
        characters += 1;
    }
    (text.len(), characters)
}

/// Returns the size of a text as JSON with its quotes, in bytes.
fn quoted_json_size(text: &str) -> usize {
    text.chars().map(json_char_size).sum::<usize>() + 2
}

/// Returns the size of a character in a JSON text, in bytes.
const fn json_char_size(c: char) -> usize {
    match c {
        '"' | '\\' | '\n' | '\r' | '\t' | '\u{8}' | '\u{c}' => 2,
        '\0'..='\u{1f}' => 6,
        c => c.len_utf8(),
    }
}

fn record_truncation(
    cuts: &mut Vec<Truncation>,
    place: usize,
    pointer: &str,
    returned: usize,
    of: usize,
) {
    if returned < of {
        cuts.insert(
            place,
            Truncation {
                pointer: pointer.to_owned(),
                returned,
                of,
            },
        );
    }
}
