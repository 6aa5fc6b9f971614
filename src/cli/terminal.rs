//! Writes text and JSON to standard output and standard error. Invisible characters are escaped, because a terminal
//! would interpret them. Protocol messages do not use this module.
//!
//! JSON retains its meaning: an escape character becomes `\u001b`, which parses as the same character. Line breaks are
//! retained. Values within a line are escaped with
//! [`escape_to_one_line`](crate::security::sanitize::escape_to_one_line).

use std::{
    io::{self, IsTerminal, Stderr, StdoutLock, Write},
    mem,
};

use crate::security::sanitize::escape_invisible;

/// Returns a writer for standard output.
pub(super) fn stdout() -> TerminalWriter<StdoutLock<'static>> {
    TerminalWriter::new(io::stdout().lock())
}

/// Returns a writer for standard error.
pub(super) fn stderr() -> TerminalWriter<Stderr> {
    TerminalWriter::new(io::stderr())
}

/// Returns true if standard error is a terminal.
pub(super) fn is_interactive() -> bool {
    io::stderr().is_terminal()
}

/// Tells a person who started the server in a terminal what it waits for. A client has no terminal.
pub(super) fn announce_stdio() {
    if io::stdin().is_terminal() && is_interactive() {
        // An error of writing is ignored: the terminal is gone.
        _ = writeln!(
            stderr(),
            "portkey-mcp waits for an MCP client on standard input; press Ctrl-C to stop it, and run \
             `portkey-mcp --help` or `portkey-mcp doctor` to go on"
        );
    }
}

/// A writer that escapes invisible characters.
pub(super) struct TerminalWriter<W: Write> {
    inner: W,
    /// Beginning of an unfinished line. Whether a character is visible depends on its neighbours.
    line: Vec<u8>,
}

impl<W: Write> TerminalWriter<W> {
    pub(super) const fn new(inner: W) -> Self {
        Self {
            inner,
            line: Vec::new(),
        }
    }

    fn write_line(&mut self) -> io::Result<()> {
        let line = mem::take(&mut self.line);
        let text = String::from_utf8_lossy(&line);
        let escaped = escape_invisible(&text);
        self.inner
            .write_all(escaped.as_deref().unwrap_or(&text).as_bytes())
    }
}

impl<W: Write> Write for TerminalWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let is_plain = |byte: &u8| matches!(byte, b' '..=b'~' | b'\n');
        if self.line.is_empty() && bytes.iter().all(is_plain) {
            self.inner.write_all(bytes)?;
            return Ok(bytes.len());
        }
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            self.line.extend_from_slice(part);
            if part.ends_with(b"\n") {
                self.write_line()?;
            }
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.write_line()?;
        self.inner.flush()
    }
}

impl<W: Write> Drop for TerminalWriter<W> {
    fn drop(&mut self) {
        // Callers that need the error call `flush` first.
        _ = self.flush();
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    fn written_text(parts: &[&[u8]]) -> String {
        let mut screen = Vec::new();
        let mut writer = TerminalWriter::new(&mut screen);
        parts
            .iter()
            .for_each(|part| writer.write_all(part).unwrap());
        drop(writer);
        String::from_utf8(screen).unwrap()
    }

    #[test]
    fn control_characters_are_escaped_for_the_terminal() {
        struct Case {
            parts: Vec<&'static [u8]>,
            shown: &'static str,
        }
        let cases = [
            Case {
                parts: vec![b"plain\n", b"text"],
                shown: "plain\ntext",
            },
            Case {
                parts: vec![b"\x1b[2J", b"\x1b]0;title\x07\n"],
                shown: "\\u001b[2J\\u001b]0;title\\u0007\n",
            },
            Case {
                parts: vec![b"over\rwritten"],
                shown: "over\\u000dwritten",
            },
            // A control sequence in one character, split over two writes.
            Case {
                parts: vec![b"\xc2", b"\x9b31m\n"],
                shown: "\\u009b31m\n",
            },
            Case {
                parts: vec!["a\u{202e}b\u{2066}\n".as_bytes()],
                shown: "a\\u202eb\\u2066\n",
            },
            Case {
                parts: vec!["\u{e0041}".as_bytes()],
                shown: "\\udb40\\udc41",
            },
            Case {
                parts: vec![b"\xff\n"],
                shown: "\u{fffd}\n",
            },
            Case {
                parts: vec!["naïve 日本 👩\u{200d}🚀\n".as_bytes()],
                shown: "naïve 日本 👩\u{200d}🚀\n",
            },
        ];
        for Case {
            parts,
            shown: expected,
        } in cases
        {
            assert_eq!(written_text(&parts), expected);
        }
    }

    #[test]
    fn escaped_json_parses_to_the_same_value() {
        let value = serde_json::json!({ "a\u{9b}": "\u{1b}[31m\u{202e}\u{e0041} é\n" });
        let text = written_text(&[value.to_string().as_bytes()]);
        assert!(
            text.chars().all(|c| !c.is_control() && c != '\u{202e}'),
            "{text}"
        );
        assert_eq!(
            serde_json::from_str::<serde_json::Value>(&text).unwrap(),
            value
        );
    }
}
