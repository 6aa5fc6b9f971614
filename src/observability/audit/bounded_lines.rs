//! Reads lines of bounded length, whatever the file contains.

use std::io::{self, BufRead};

use super::MAX_LINE_BYTES;

/// The kind of line that was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BoundedLine {
    /// A line with its line break.
    Complete,
    /// The rest of the text, without a line break.
    Partial,
    /// A line that exceeds the maximum; its beginning was read and the rest skipped.
    TooLong,
    /// The end of the text.
    End,
}

/// Reads the next line, without its line break.
pub(super) fn read_line(text: &mut impl BufRead, line: &mut Vec<u8>) -> io::Result<BoundedLine> {
    line.clear();
    let mut is_empty = true;
    let mut is_too_long = false;
    loop {
        let bytes = match text.fill_buf() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            read => read?,
        };
        if bytes.is_empty() {
            return Ok(match () {
                () if is_empty => BoundedLine::End,
                () if is_too_long => BoundedLine::TooLong,
                () => BoundedLine::Partial,
            });
        }
        is_empty = false;
        let end = bytes.iter().position(|byte| *byte == b'\n');
        let part = bytes.get(..end.unwrap_or(bytes.len())).unwrap_or_default();
        let room = MAX_LINE_BYTES - line.len();
        is_too_long |= part.len() > room;
        line.extend_from_slice(part.get(..room).unwrap_or(part));
        let used = part.len() + usize::from(end.is_some());
        text.consume(used);
        if end.is_some() {
            return Ok(if is_too_long {
                BoundedLine::TooLong
            } else {
                BoundedLine::Complete
            });
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use std::io::{BufReader, Read};

    use super::*;

    #[test]
    fn line_is_read_up_to_the_size_limit() {
        let long = "x".repeat(MAX_LINE_BYTES + 1);
        let text = format!("one\n\n{long}\n{}\ntorn", &long[1..]);
        let mut reader = BufReader::with_capacity(7, text.as_bytes());
        let mut line = Vec::new();
        let mut read = Vec::new();
        loop {
            let found = read_line(&mut reader, &mut line).unwrap();
            read.push((found, line.len()));
            if found == BoundedLine::End {
                break;
            }
        }
        let expected = [
            (BoundedLine::Complete, 3),
            (BoundedLine::Complete, 0),
            (BoundedLine::TooLong, MAX_LINE_BYTES),
            (BoundedLine::Complete, MAX_LINE_BYTES),
            (BoundedLine::Partial, 4),
            (BoundedLine::End, 0),
        ];
        assert_eq!(read, expected);
    }

    #[test]
    fn endless_line_uses_bounded_memory() {
        let endless = io::repeat(0).take(3 * MAX_LINE_BYTES as u64);
        let mut line = Vec::new();
        let found = read_line(&mut BufReader::new(endless), &mut line).unwrap();
        assert_eq!((found, line.len()), (BoundedLine::TooLong, MAX_LINE_BYTES));
        assert!(line.capacity() <= 2 * MAX_LINE_BYTES);
    }
}
