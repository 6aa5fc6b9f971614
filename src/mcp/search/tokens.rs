//! Splitting of texts into words, and normalization of words.

use std::{collections::HashSet, sync::LazyLock};

/// Maximum number of words of a query that are used, from its beginning.
const MAX_QUERY_WORDS: usize = 48;

/// Maximum number of characters of a query that are read. Scripts without spaces have long words.
const MAX_QUERY_CHARS: usize = 1_000;

/// A word of a query, or a run of text in a script whose words are not split here.
#[derive(Debug)]
pub(super) struct Token {
    /// Lower case, without accents.
    pub(super) text: String,
    /// The text without its English ending.
    pub(super) stem: String,
    /// `true` for a run in a script that is segmented by the lexicon.
    pub(super) is_run: bool,
    /// `true` for a part of an identifier such as `delete_repo`, or of a word such as `read-only`.
    pub(super) is_joined: bool,
    /// `true` for a part of a name in the style of programs.
    pub(super) is_identifier: bool,
    /// `true` for a word that begins a part of a sentence.
    pub(super) starts_clause: bool,
}

/// Returns the terms of an operation's text.
pub(super) fn index_terms(text: &str) -> Vec<String> {
    split_words(text)
        .filter(|word| !is_stop_word(word))
        .map(|word| stem(&word))
        .collect()
}

/// Splits a query into tokens.
pub(super) fn parse_query(text: &str) -> Vec<Token> {
    let end = text
        .char_indices()
        .nth(MAX_QUERY_CHARS)
        .map_or(text.len(), |(at, _)| at);
    let text = text.get(..end).unwrap_or(text);
    let mut tokens: Vec<Token> = Vec::new();
    let mut before = ' ';
    let mut starts_clause = true;
    for piece in split_pieces(text) {
        if piece.separator.is_some() {
            starts_clause |= piece.text.contains([
                ',', ';', ':', '.', '!', '?', '-', '。', '、', '，', '？', '¿', '¡',
            ]) && piece.text.len() > 1;
            before = if piece.text.chars().count() == 1 {
                piece.separator.unwrap_or(' ')
            } else {
                ' '
            };
            continue;
        }
        let joins = matches!(before, '_' | '-' | '.' | '/');
        if joins && let Some(last) = tokens.last_mut() {
            last.is_joined = true;
            last.is_identifier |= before == '_';
        }
        if let Some(last) = tokens.last_mut().filter(|last| piece.is_run && last.is_run) {
            // Spaces mean little there, and not everybody writes them at the same places.
            last.text.push_str(&fold(piece.text));
        } else if piece.is_run {
            let text = fold(piece.text);
            tokens.push(Token {
                stem: text.clone(),
                text,
                is_run: true,
                is_joined: false,
                is_identifier: false,
                starts_clause,
            });
        } else {
            for (at, text) in split_words(piece.text).enumerate() {
                tokens.push(Token {
                    stem: stem(&text),
                    text,
                    is_run: false,
                    is_joined: joins || at > 0,
                    is_identifier: before == '_',
                    starts_clause: starts_clause && at == 0,
                });
            }
        }
        starts_clause = false;
        before = ' ';
        if tokens.len() >= MAX_QUERY_WORDS {
            tokens.truncate(MAX_QUERY_WORDS);
            break;
        }
    }
    tokens
}

/// A part of a text: a word, a run of another script, or what separates them.
struct Piece<'a> {
    text: &'a str,
    is_run: bool,
    separator: Option<char>,
}

/// Class of a character: of a word, of a run, or between them.
#[derive(Clone, Copy, PartialEq, Eq)]
enum CharClass {
    Word,
    Run,
    Separator,
}

fn class_of(c: char) -> CharClass {
    match c {
        _ if is_run_char(c) => CharClass::Run,
        '\u{300}'..='\u{36f}' => CharClass::Word,
        _ if c.is_alphanumeric() => CharClass::Word,
        _ => CharClass::Separator,
    }
}

/// Scripts without spaces, and those whose words begin or end with particles: Hebrew, Arabic, those of
/// India, Thai, Chinese, Japanese, Korean.
const fn is_run_char(c: char) -> bool {
    matches!(c,
        '\u{590}'..='\u{60b}' | '\u{60d}'..='\u{61a}' | '\u{620}'..='\u{6d3}' | '\u{900}'..='\u{963}'
        | '\u{966}'..='\u{e7f}' | '\u{1100}'..='\u{11ff}' | '\u{3005}' | '\u{3041}'..='\u{30fa}'
        | '\u{30fc}'..='\u{30ff}' | '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}'
        | '\u{ac00}'..='\u{d7af}' | '\u{200c}' | '\u{200d}')
}

fn split_pieces(text: &str) -> impl Iterator<Item = Piece<'_>> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let first = rest.chars().next()?;
        let class = class_of(first);
        let end = rest.find(|c| class_of(c) != class).unwrap_or(rest.len());
        let (piece, after) = rest.split_at_checked(end)?;
        rest = after;
        Some(Piece {
            text: piece,
            is_run: class == CharClass::Run,
            separator: (class == CharClass::Separator).then_some(first),
        })
    })
}

/// Splits a text into lower-case words without accents.
///
/// Digits stay with their word, as in `gpt4` or `p99`. A name such as `OpenAI` is one word, and
/// each of its parts is another.
fn split_words(text: &str) -> impl Iterator<Item = String> {
    text.split(|c: char| class_of(c) == CharClass::Separator)
        .filter(|word| !word.is_empty())
        .flat_map(|word| {
            let mut parts: Vec<String> = Vec::new();
            let mut before_is_lower = false;
            for c in word.chars() {
                match parts.last_mut() {
                    Some(part) if !(before_is_lower && c.is_uppercase()) => part.push(c),
                    _ => parts.push(c.into()),
                }
                before_is_lower = c.is_lowercase();
            }
            parts.retain(|part| part.chars().count() > 1 && part.len() < word.len());
            [word.to_owned()]
                .into_iter()
                .chain(parts)
                .map(|word| fold(&word))
        })
        .filter(|word| !word.is_empty())
}

/// Returns `true` if a text is written in a script that is segmented by the lexicon.
pub(super) fn is_run(text: &str) -> bool {
    text.chars().any(is_run_char)
}

/// Returns a text in lower case and without accents, as the lexicon and the index have it.
pub(super) fn fold(word: &str) -> String {
    let mut folded = String::with_capacity(word.len());
    for c in word.chars().flat_map(char::to_lowercase) {
        match c {
            'à'..='å' | 'ā' | 'ă' | 'ą' | 'ạ'..='ặ' => folded.push('a'),
            'ç' | 'ć' | 'č' => folded.push('c'),
            'đ' | 'ď' => folded.push('d'),
            'è'..='ë' | 'ē' | 'ę' | 'ě' | 'ẹ'..='ệ' => folded.push('e'),
            'ğ' => folded.push('g'),
            'ì'..='ï' | 'ī' | 'ı' | 'ỉ' | 'ị' => folded.push('i'),
            'ł' => folded.push('l'),
            'ñ' | 'ń' => folded.push('n'),
            'ò'..='ö' | 'ø' | 'ő' | 'ơ' | 'ọ'..='ợ' => folded.push('o'),
            'ś' | 'ş' | 'š' => folded.push('s'),
            'ù'..='ü' | 'ū' | 'ů' | 'ű' | 'ư' | 'ụ'..='ự' => folded.push('u'),
            'ý' | 'ÿ' | 'ỳ' | 'ỹ' => folded.push('y'),
            'ź' | 'ż' | 'ž' => folded.push('z'),
            'ß' => folded.push_str("ss"),
            'æ' => folded.push_str("ae"),
            'œ' => folded.push_str("oe"),
            'ё' => folded.push('е'),
            // Letters that Arabic keyboards and habits exchange.
            'آ' | 'أ' | 'إ' => folded.push('ا'),
            'ة' => folded.push('ه'),
            'ى' => folded.push('ي'),
            // The nukta is written as a letter of its own, too.
            '\u{95c}' => folded.push('\u{921}'),
            '\u{95d}' => folded.push('\u{922}'),
            '\u{9dc}' => folded.push('\u{9a1}'),
            '\u{9df}' => folded.push('\u{9af}'),
            // Accents, vowel points and joiners that stand by themselves.
            '\u{300}'..='\u{36f}'
            | '\u{640}'
            | '\u{64b}'..='\u{652}'
            | '\u{93c}'
            | '\u{9bc}'
            | '\u{200c}'
            | '\u{200d}' => {}
            c => folded.push(c),
        }
    }
    folded
}

/// Removes the ending of an English word.
///
/// This does far less than Porter's stemmer: it only has to unify the forms of one word and leave
/// German words distinct.
pub(super) fn stem(word: &str) -> String {
    if word.len() < 4 || word.bytes().all(|byte| byte.is_ascii_digit()) {
        return word.to_owned();
    }
    let mut stem = word.to_owned();
    if word.len() > 4 && word.ends_with("ies") {
        stem.truncate(word.len() - 3);
        stem.push('y');
    } else if ["sses", "xes", "ches", "shes"]
        .iter()
        .any(|end| word.ends_with(end))
    {
        stem.truncate(word.len() - 2);
    } else if word.ends_with('s') && !["ss", "us", "is"].iter().any(|end| word.ends_with(end)) {
        stem.pop();
    }
    // A noun here, unrelated to the verb `set`.
    if stem == "setting" {
        return stem;
    }
    let verb = ["ing", "ed"]
        .iter()
        .find_map(|end| stem.strip_suffix(end))
        .filter(|rest| rest.len() >= 3 && rest.contains(['a', 'e', 'i', 'o', 'u', 'y']));
    if let Some(length) = verb.map(str::len) {
        stem.truncate(length);
        if let [.., a, b] = stem.as_bytes()
            && stem.len() > 3
            && a == b
            && b.is_ascii_alphabetic()
            && !b"lsz".contains(b)
        {
            stem.pop();
        }
    }
    if stem.len() > 4 && stem.ends_with('e') {
        stem.pop();
    }
    stem
}

/// Words that do not tell operations apart. A question word may still tell their kind.
const STOP_WORDS: &str = "a an the of to in on for and or is are was were be been it its this that these those with by \
    from at as our my your we i me us you they do does did has have had can may not no please per into out up off so if \
    there s which who what when where how whose one der die das den dem des ein eine einen einem einer eines und oder \
    ist sind von vom zu zum zur im mit fur auf wie hoch ich wir uns unser unsere mein meine nach aus bei ab welche wer \
    wann wo he she his her him them their all any each than then just now some too very more much many want need get \
    got will would could should about after before while again still ever let only el la los las un una unos unas de \
    del al en con por para y o que se su sus mi le les du au aux et ou dans sur avec pour par ce cette nos notre os as \
    um uma do da dos das no na nos nas em ao com e il lo gli i uno di nel della и в во на с со по для не что это из у \
    к от за yang di ke dan untuk dengan dari ini itu";

/// Returns `true` if a word does not tell operations apart.
pub(super) fn is_stop_word(word: &str) -> bool {
    static WORDS: LazyLock<HashSet<&str>> =
        LazyLock::new(|| STOP_WORDS.split_ascii_whitespace().collect());
    WORDS.contains(word)
}
