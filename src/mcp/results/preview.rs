//! Previews of large values: the same shape, with as much content as fits.

use std::io;

use portkey_operation::JsonMap;
use serde::Serialize;
use serde_json::Value;

/// Minimum that is shown of a large value in an object, in bytes, as long as anything fits.
const LEAST: usize = 160;

/// A value of which only the beginning is shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Cut {
    /// JSON Pointer to the value (RFC 6901).
    pub(super) pointer: String,
    /// Number of items, entries or characters shown.
    pub(super) returned: usize,
    /// Number of items, entries or characters in all.
    pub(super) of: usize,
}

/// Counts bytes up to a limit.
struct Count {
    left: usize,
}

impl io::Write for Count {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let left = self.left.checked_sub(bytes.len());
        self.left = left.ok_or(io::ErrorKind::WriteZero)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Collects bytes up to a limit.
struct Text {
    bytes: Vec<u8>,
    most: usize,
}

impl io::Write for Text {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.len() > self.most - self.bytes.len() {
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

/// Returns the size of a value as compact JSON; `None` if it exceeds `most` bytes.
pub(super) fn size(value: &impl Serialize, most: usize) -> Option<usize> {
    let mut count = Count { left: most };
    serde_json::to_writer(&mut count, value).ok()?;
    Some(most - count.left)
}

/// Returns a value as compact JSON; `None` if it exceeds `most` bytes.
pub(super) fn text(value: &Value, most: usize) -> Option<String> {
    let mut text = Text {
        bytes: Vec::with_capacity(128),
        most,
    };
    serde_json::to_writer(&mut text, value).ok()?;
    String::from_utf8(text.bytes).ok()
}

/// Truncates a value to the available bytes, and returns it with its size.
///
/// Records truncated values in `cuts`, the outermost first. Returns `None` if not even the
/// outermost fits.
pub(super) fn head(
    value: &Value,
    room: usize,
    pointer: &str,
    cuts: &mut Vec<Cut>,
) -> Option<(Value, usize)> {
    if let Some(size) = size(value, room) {
        return Some((value.clone(), size));
    }
    match value {
        Value::Array(items) => list(items, room, pointer, cuts),
        Value::Object(map) => object(map, room, pointer, cuts),
        Value::String(text) => string(text, room, pointer, cuts),
        _ => None,
    }
}

/// Takes whole items as far as they fit. If the first does not fit, takes its beginning.
fn list(
    items: &[Value],
    room: usize,
    pointer: &str,
    cuts: &mut Vec<Cut>,
) -> Option<(Value, usize)> {
    let (mut kept, mut used, place) = (Vec::new(), 2, cuts.len());
    for item in items {
        let left = room.checked_sub(used + usize::from(!kept.is_empty()));
        match left.and_then(|left| size(item, left)) {
            Some(size) => {
                used += size + usize::from(!kept.is_empty());
                kept.push(item.clone());
            }
            None if kept.is_empty() => {
                let part = head(item, left?, &format!("{pointer}/0"), cuts);
                if let Some((part, size)) = part {
                    used += size;
                    kept.push(part);
                }
                break;
            }
            None => break,
        }
    }
    note(cuts, place, pointer, kept.len(), items.len());
    (used <= room).then_some((Value::Array(kept), used))
}

/// Takes the first entries. Small ones stay whole, and large ones share the space left.
fn object(
    map: &JsonMap,
    room: usize,
    pointer: &str,
    cuts: &mut Vec<Cut>,
) -> Option<(Value, usize)> {
    let left = room.checked_sub(2)?;
    // Size of each entry: its name with colon and comma, and its value if that fits.
    let needs = map
        .iter()
        .map(|(name, value)| (quoted(name) + 2, size(value, left)));
    let mut first = Vec::new();
    let mut least = 0;
    for (frame, size) in needs {
        least += frame + size.unwrap_or(left).min(LEAST);
        if least > left {
            break;
        }
        first.push((frame, size));
    }
    let shares = shares(&first, left);
    let (mut kept, mut used, place) = (JsonMap::new(), 2, cuts.len());
    for (((name, value), (frame, _)), share) in map.iter().zip(&first).zip(shares) {
        let pointer = format!("{pointer}/{}", name.replace('~', "~0").replace('/', "~1"));
        let part = share
            .checked_sub(*frame)
            .and_then(|room| head(value, room, &pointer, cuts));
        let Some((part, size)) = part else { break };
        used += frame + size;
        kept.insert(name.clone(), part);
    }
    // The last entry has no comma.
    used -= usize::from(!kept.is_empty());
    note(cuts, place, pointer, kept.len(), map.len());
    Some((Value::Object(kept), used))
}

/// Divides the space: each entry gets what it needs, or an equal share of what smaller entries
/// leave.
fn shares(needs: &[(usize, Option<usize>)], mut left: usize) -> Vec<usize> {
    let need = |(frame, size): &(usize, Option<usize>)| size.map(|size| frame + size);
    let mut order: Vec<(usize, usize)> = needs
        .iter()
        .enumerate()
        .map(|(i, entry)| (need(entry).unwrap_or(usize::MAX), i))
        .collect();
    order.sort_unstable();
    let (mut shares, mut waiting) = (vec![0; needs.len()], needs.len());
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
fn string(text: &str, room: usize, pointer: &str, cuts: &mut Vec<Cut>) -> Option<(Value, usize)> {
    let of = text.chars().count();
    let mark = |more: usize| format!("… ({more} more characters)");
    // The mark with the full count is the longest.
    let left = room.checked_sub(2 + mark(of).len())?;
    let (end, returned) = fitting(text, left);
    let (start, _) = text.split_at_checked(end)?;
    cuts.push(Cut {
        pointer: pointer.to_owned(),
        returned,
        of,
    });
    let shown = format!("{start}{}", mark(of - returned));
    let used = quoted(&shown);
    Some((shown.into(), used))
}

/// Returns how many bytes and characters of a text fit into the available bytes of JSON, quotes
/// excluded.
pub(super) fn fitting(text: &str, room: usize) -> (usize, usize) {
    let (mut used, mut characters) = (0, 0);
    for (at, c) in text.char_indices() {
        used += escaped(c);
        if used > room {
            return (at, characters);
        }
        characters += 1;
    }
    (text.len(), characters)
}

/// Returns the size of a text as JSON with its quotes, in bytes.
fn quoted(text: &str) -> usize {
    text.chars().map(escaped).sum::<usize>() + 2
}

/// Returns the size of a character in a JSON text, in bytes.
const fn escaped(c: char) -> usize {
    match c {
        '"' | '\\' | '\n' | '\r' | '\t' | '\u{8}' | '\u{c}' => 2,
        '\0'..='\u{1f}' => 6,
        c => c.len_utf8(),
    }
}

fn note(cuts: &mut Vec<Cut>, place: usize, pointer: &str, returned: usize, of: usize) {
    if returned < of {
        cuts.insert(
            place,
            Cut {
                pointer: pointer.to_owned(),
                returned,
                of,
            },
        );
    }
}
