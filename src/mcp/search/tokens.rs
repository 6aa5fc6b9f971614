//! Splitting of texts into search terms.

use super::OperationKind;

/// Verbs and question words for each kind of operation, in English and German, without umlauts.
const VERBS: [(OperationKind, &str); 5] = [
    (
        OperationKind::List,
        "list which who all show every overview exist existing alle welche zeige zeigen anzeigen \
         auflisten",
    ),
    (
        OperationKind::Get,
        "get show inspect details one view see display read fetch look zeige zeigen anzeigen ansehen",
    ),
    (
        OperationKind::Create,
        "create add new make build register set store connect issue give neu neue neuen anlegen \
         erstellen hinzufugen einrichten hinterlegen anbinden",
    ),
    (
        OperationKind::Update,
        "update change edit modify rename alter raise increase lower set turn switch enable disable \
         reset replace andern bearbeiten umbenennen aktivieren deaktivieren erhohen setzen",
    ),
    (
        OperationKind::Delete,
        "delete remove drop erase revoke destroy bin kill rid unregister take loschen entfernen",
    ),
];

/// Maximum number of words of a query that are used, from its beginning.
const MAX_QUERY_WORDS: usize = 32;

/// Returns each verb as a term.
pub(super) fn verb_terms() -> impl Iterator<Item = (String, OperationKind)> {
    VERBS
        .iter()
        .flat_map(|(kind, verbs)| verbs.split(' ').map(|verb| (stem(verb), *kind)))
}

/// A term of a query.
pub(super) struct QueryTerm {
    /// Normalized word.
    pub(super) word: String,
    /// `true` if the word means little by itself.
    pub(super) is_stop_word: bool,
    /// `true` if the word is a plural.
    pub(super) is_plural: bool,
}

/// Returns the terms of an operation's text.
pub(super) fn index_terms(text: &str) -> Vec<String> {
    split_words(text)
        .filter(|word| !is_stop_word(word))
        .map(|word| stem(&word))
        .collect()
}

/// Returns the terms of a query, each once.
///
/// Two words that form one known term, such as "guard rail", are joined.
pub(super) fn parse_query(text: &str, is_known: impl Fn(&str) -> bool) -> Vec<QueryTerm> {
    let words: Vec<_> = split_words(text).take(MAX_QUERY_WORDS).collect();
    let mut words = words.into_iter().peekable();
    let mut asked = Vec::<QueryTerm>::new();
    while let Some(mut written) = words.next() {
        let pair = words.peek().map(|next| format!("{written}{next}"));
        if let Some(pair) = pair.filter(|pair| is_known(&stem(pair))) {
            words.next();
            written = pair;
        }
        let word = stem(&written);
        if asked.iter().any(|before| before.word == word) {
            continue;
        }
        let is_plural = written.ends_with('s') && !written.ends_with("ss") && written != word;
        asked.push(QueryTerm {
            is_stop_word: is_stop_word(&written),
            is_plural,
            word,
        });
    }
    asked
}

/// Splits a text into lower-case words without accents.
///
/// Digits stay with their word, as in `gpt4` or `p99`. A name such as `OpenAI` is one word, and
/// each of its parts is another.
fn split_words(text: &str) -> impl Iterator<Item = String> {
    text.split(|c: char| !c.is_alphanumeric())
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
                .map(|word| fold_accents(&word))
        })
}

fn fold_accents(word: &str) -> String {
    let mut folded = String::with_capacity(word.len());
    for c in word.chars().flat_map(char::to_lowercase) {
        match c {
            'ä' | 'à' | 'á' | 'â' => folded.push('a'),
            'é' | 'è' | 'ê' => folded.push('e'),
            'ö' | 'ô' => folded.push('o'),
            'ü' | 'û' => folded.push('u'),
            'ß' => folded.push_str("ss"),
            c => folded.push(c),
        }
    }
    folded
}

/// Removes the ending of an English word.
///
/// This does far less than Porter's stemmer: it only has to unify the forms of one word and leave
/// German words distinct.
fn stem(word: &str) -> String {
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

/// Returns `true` if a word does not tell operations apart. A question word may still tell their
/// kind.
fn is_stop_word(word: &str) -> bool {
    matches!(
        word,
        "a" | "an"
            | "the"
            | "of"
            | "to"
            | "in"
            | "on"
            | "for"
            | "and"
            | "or"
            | "is"
            | "are"
            | "was"
            | "were"
            | "be"
            | "been"
            | "it"
            | "its"
            | "this"
            | "that"
            | "these"
            | "those"
            | "with"
            | "by"
            | "from"
            | "at"
            | "as"
            | "our"
            | "my"
            | "your"
            | "we"
            | "i"
            | "me"
            | "us"
            | "you"
            | "they"
            | "do"
            | "does"
            | "did"
            | "has"
            | "have"
            | "had"
            | "can"
            | "may"
            | "not"
            | "no"
            | "please"
            | "per"
            | "into"
            | "out"
            | "up"
            | "off"
            | "so"
            | "if"
            | "there"
            | "s"
            | "which"
            | "who"
            | "what"
            | "when"
            | "where"
            | "how"
            | "whose"
            | "one"
            | "der"
            | "die"
            | "das"
            | "den"
            | "dem"
            | "des"
            | "ein"
            | "eine"
            | "einen"
            | "einem"
            | "einer"
            | "eines"
            | "und"
            | "oder"
            | "ist"
            | "sind"
            | "von"
            | "vom"
            | "zu"
            | "zum"
            | "zur"
            | "im"
            | "mit"
            | "fur"
            | "auf"
            | "wie"
            | "hoch"
            | "ich"
            | "wir"
            | "uns"
            | "unser"
            | "unsere"
            | "mein"
            | "meine"
            | "nach"
            | "aus"
            | "bei"
            | "ab"
            | "welche"
            | "wer"
            | "wann"
            | "wo"
    )
}
