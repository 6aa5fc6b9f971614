//! Tokens of the expressions of other gateways: the part that Cedar and CEL have in common.

/// A token with the line that it begins on.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Token {
    pub(super) kind: TokenKind,
    pub(super) line: u64,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum TokenKind {
    Ident(String),
    Text(String),
    Number(i64),
    Sign(&'static str),
}

const SIGNS: [&str; 23] = [
    "==", "!=", "<=", ">=", "&&", "||", "::", "(", ")", "{", "}", "[", "]", ",", ";", ".", "!",
    "<", ">", "@", "=", ":", "?",
];

/// Splits a text into tokens. Comments begin with `//`.
///
/// # Errors
/// Returns the line and the reason if the text has anything else.
pub(super) fn tokenize(text: &str, first_line: u64) -> Result<Vec<Token>, (u64, String)> {
    let mut tokens = Vec::new();
    let mut line = first_line;
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        if first == '\n' {
            line += 1;
        }
        if first.is_whitespace() {
            rest = rest.get(first.len_utf8()..).unwrap_or_default();
            continue;
        }
        if rest.starts_with("//") {
            rest = rest
                .find('\n')
                .and_then(|end| rest.get(end..))
                .unwrap_or_default();
            continue;
        }
        let (kind, length) = read_token(rest).map_err(|reason| (line, reason))?;
        tokens.push(Token { kind, line });
        let (taken, after) = rest.split_at(length);
        line += taken.bytes().filter(|byte| *byte == b'\n').count() as u64;
        rest = after;
    }
    Ok(tokens)
}

/// Reads the token at the beginning of a text, and returns its length in bytes.
fn read_token(text: &str) -> Result<(TokenKind, usize), String> {
    let first = text.chars().next().unwrap_or_default();
    if first == '"' || first == '\'' {
        return read_text(text, first);
    }
    let length_while =
        |is_part: fn(char) -> bool| text.find(|letter| !is_part(letter)).unwrap_or(text.len());
    if first.is_ascii_digit() {
        let length = length_while(|letter| letter.is_ascii_digit());
        let digits = text.get(..length).unwrap_or_default();
        let number = digits
            .parse()
            .map_err(|_| "a number is too large".to_owned())?;
        return Ok((TokenKind::Number(number), length));
    }
    if first.is_ascii_alphabetic() || first == '_' {
        let length = length_while(|letter| letter.is_ascii_alphanumeric() || letter == '_');
        let name = text.get(..length).unwrap_or_default();
        return Ok((TokenKind::Ident(name.to_owned()), length));
    }
    let sign = SIGNS.into_iter().find(|sign| text.starts_with(sign));
    let sign = sign.ok_or_else(|| format!("`{first}` is not understood"))?;
    Ok((TokenKind::Sign(sign), sign.len()))
}

/// Reads a text in quotes. Escapes that differ between the languages are rejected.
fn read_text(text: &str, quote: char) -> Result<(TokenKind, usize), String> {
    let mut read = String::new();
    let mut letters = text.char_indices().skip(1);
    while let Some((at, letter)) = letters.next() {
        match letter {
            letter if letter == quote => return Ok((TokenKind::Text(read), at + 1)),
            '\\' => match letters.next() {
                Some((_, escaped @ ('"' | '\'' | '\\'))) => read.push(escaped),
                _ => return Err("an escape in a text is not understood".to_owned()),
            },
            letter => read.push(letter),
        }
    }
    Err("a text is not closed".to_owned())
}
