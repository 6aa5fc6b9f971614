//! Classifies field names: which of them tell that a value is a secret.

use serde_json::Value;

/// Treatment of a field, by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NameKind {
    /// The name says nothing.
    NotSecret,
    /// The value is a secret: a text, a number, or a list or an object of such.
    Secret,
    /// The value holds several secrets, or several objects with one each. A text or a number in it
    /// is a secret.
    SecretCollection,
    /// A text is a secret unless it is a number. Other values, such as a list of a model's tokens,
    /// are not.
    Text,
    AllSecret,
    /// The value holds labels, whose names and values say nothing about secrets.
    Labels,
}

/// Names that look like a secret's but are harmless: the place of a secret in a secret manager, and
/// the next page of a list.
const HARMLESS_NAMES: &[&str] = &[
    "secret_key",
    "secret_mappings",
    "secret_path",
    "next_page_token",
    "next_token",
    "page_token",
    "continuation_token",
];

/// A word that tells a secret anywhere in a name.
struct TellingWord {
    text: &'static str,
    pairs: u64,
}

const SECRET: TellingWord = telling_word("secret");
const PASSWORD: TellingWord = telling_word("password");
const SERVICE_ACCOUNT: TellingWord = telling_word("serviceaccount");
const PRIVATE_KEY: TellingWord = telling_word("privatekey");
const ACCESS_KEY: TellingWord = telling_word("accesskey");

/// Pairs of letters of all telling words. Nearly all names lack a pair of every one of them.
/// `key` stands for `privatekey` and all other words that hold it.
const TELLING_PAIRS: [u64; 14] = [
    SECRET.pairs,
    letter_pairs("token"),
    letter_pairs("key"),
    letter_pairs("authorization"),
    PASSWORD.pairs,
    letter_pairs("credential"),
    letter_pairs("clientauth"),
    SERVICE_ACCOUNT.pairs,
    letter_pairs("signedurl"),
    letter_pairs("invitelink"),
    letter_pairs("headers"),
    letter_pairs("cookie"),
    letter_pairs("metadata"),
    letter_pairs("conditions"),
];

/// Names that tell a secret where credentials are kept, and are ordinary words elsewhere.
const STRICT_NAMES: [&str; 18] = [
    "key",
    "passwd",
    "pwd",
    "passphrase",
    "authkey",
    "masterkey",
    "signingkey",
    "encryptionkey",
    "subscriptionkey",
    "accountkey",
    "sharedkey",
    "hmackey",
    "functionskey",
    "connectionstring",
    "bearer",
    "jwt",
    "auth",
    "pat",
];

/// A name of labels where credentials are kept.
const STRICT_LABELS: &str = "groupby";

/// Pairs of letters of the names that are only told where credentials are kept, as in
/// [`TELLING_PAIRS`].
const STRICT_PAIRS: [u64; 9] = [
    letter_pairs("passwd"),
    letter_pairs("pwd"),
    letter_pairs("passphrase"),
    letter_pairs("connectionstring"),
    letter_pairs("bearer"),
    letter_pairs("jwt"),
    letter_pairs("auth"),
    letter_pairs("pat"),
    letter_pairs(STRICT_LABELS),
];

/// Endings of names of several secrets. Other names that end with `tokens` are a count, or a text
/// in parts.
const COLLECTION_ENDINGS: [&str; 9] = [
    "apikeys",
    "accesstokens",
    "refreshtokens",
    "authtokens",
    "bearertokens",
    "sessiontokens",
    "apitokens",
    "idtokens",
    "clientsecrets",
];

const fn telling_word(text: &'static str) -> TellingWord {
    TellingWord {
        text,
        pairs: letter_pairs(text),
    }
}

/// Returns the set of pairs of letters that follow each other in a word.
const fn letter_pairs(word: &str) -> u64 {
    match word.as_bytes() {
        [first, rest @ ..] => letter_pairs_after(*first, rest),
        [] => 0,
    }
}

/// Returns the set of pairs of letters that follow each other in a text after a letter, regardless
/// of case and of separators between them. A pair has one of 64 bits, so that different pairs may
/// pass for one.
const fn letter_pairs_after(mut before: u8, text: &[u8]) -> u64 {
    let mut pairs = 0;
    let mut rest = text;
    while let [letter, more @ ..] = rest {
        rest = more;
        if !matches!(*letter, b'-' | b'_' | b'.') {
            // The last five bits are the same for both cases of a letter. Of the factors, 33 lets the
            // fewest of the API's names pass for a telling one: 39 of 663.
            let pair = (before as u32 & 31) * 33 + (*letter as u32 & 31);
            pairs |= 1_u64.wrapping_shl(pair);
            before = *letter;
        }
    }
    pairs
}

/// Endings that do not change the kind of a name: `token_value` is a token.
const NEUTRAL_ENDINGS: [&str; 2] = ["values", "value"];

/// Maximum length of a name that is classified without an allocation, in bytes.
const INLINE_NAME_BYTES: usize = 64;

/// Returns `true` if a name is that of an API key, or of the id of one.
pub(super) fn is_api_key_name(name: &str) -> bool {
    let mut bare = name
        .bytes()
        .rev()
        .filter(|byte| !matches!(byte, b'-' | b'_' | b'.'));
    "apikey".bytes().rev().all(|letter| {
        bare.next()
            .is_some_and(|byte| byte.eq_ignore_ascii_case(&letter))
    })
}

/// Words that mark a number of tokens or the price of one: `request_token`,
/// `cache_read_input_token`.
const TOKEN_COUNT_WORDS: [&str; 20] = [
    "request",
    "response",
    "prompt",
    "completion",
    "input",
    "output",
    "cache",
    "cached",
    "reasoning",
    "thinking",
    "audio",
    "image",
    "video",
    "text",
    "per",
    "max",
    "min",
    "avg",
    "total",
    "count",
];

/// Returns `true` if a number of this name, or an object of such numbers, is about tokens of a
/// model. A text of the same name may still be a secret.
pub(super) fn is_token_count(name: &str) -> bool {
    let name = core(name);
    let ends = |ending: &str| {
        let start = name.len().checked_sub(ending.len());
        start
            .and_then(|at| name.get(at..))
            .is_some_and(|end| end.eq_ignore_ascii_case(ending))
    };
    if ends("tokens") {
        return true;
    }
    let Some(kinds) = name
        .len()
        .checked_sub("token".len())
        .and_then(|end| name.get(..end))
    else {
        return false;
    };
    ends("token") && words(kinds).any(is_token_kind)
}

fn is_token_kind(word: &str) -> bool {
    TOKEN_COUNT_WORDS
        .iter()
        .any(|kind| word.eq_ignore_ascii_case(kind))
}

/// The words of a name, as in `max_tokens`, `max-tokens` or `maxTokens`.
fn words(name: &str) -> impl Iterator<Item = &str> {
    name.split(is_separator).flat_map(|part| {
        let mut rest = part;
        std::iter::from_fn(move || {
            let is_new_word = |pair: &[u8]| match pair {
                [before, after] => before.is_ascii_lowercase() && after.is_ascii_uppercase(),
                _ => false,
            };
            let end = rest.as_bytes().windows(2).position(is_new_word);
            // Both bytes are ASCII, so that a character ends between them.
            let (word, more) = rest.split_at_checked(end.map_or(rest.len(), |at| at + 1))?;
            rest = more;
            (!word.is_empty()).then_some(word)
        })
    })
}

const fn is_separator(c: char) -> bool {
    matches!(c, '-' | '_' | '.')
}

/// A name without numbers and neutral words at its end: `api_key` for `api_key_value_2`.
fn core(name: &str) -> &str {
    let mut core = name;
    loop {
        let mut shorter = core.trim_end_matches(|c: char| c.is_ascii_digit() || is_separator(c));
        for ending in NEUTRAL_ENDINGS {
            if let Some((before, end)) = shorter
                .len()
                .checked_sub(ending.len())
                .and_then(|at| shorter.split_at_checked(at))
                && end.eq_ignore_ascii_case(ending)
            {
                shorter = before;
            }
        }
        if shorter.len() == core.len() {
            return core;
        }
        core = shorter;
    }
}

/// Returns `true` if a text under this name may be a secret.
pub fn is_secret_name(name: &str) -> bool {
    matches!(
        classify(name, true),
        NameKind::Secret | NameKind::SecretCollection | NameKind::AllSecret | NameKind::Text
    )
}

/// Returns `true` if the value at a declared place of this name is a credential as a whole, not a
/// document that may hold some.
pub(super) fn is_credential(name: &str) -> bool {
    is_secret_name(name) || name.ends_with("_key")
}

/// Returns `true` if a value is a secret under a name classified as [`NameKind::Text`].
pub(super) fn is_secret_text(value: &Value) -> bool {
    value.as_str().is_some_and(|text| !is_number(text))
}

/// Returns `true` if a text is a number.
pub(super) fn is_number(text: &str) -> bool {
    text.trim().parse::<f64>().is_ok()
}

/// Returns `true` if an undeclared field of this name may hold a secret.
///
/// Wider than [`classify`], which knows the names of the API. Blanking the id of a key costs less than
/// showing a key.
pub(super) fn may_be_secret(name: &str) -> bool {
    const ENDINGS: [&str; 22] = [
        "key",
        "keys",
        "token",
        "tokens",
        "pass",
        "passwd",
        "passphrase",
        "passcode",
        "pwd",
        "auth",
        "creds",
        "jwt",
        "bearer",
        "pat",
        "pin",
        "otp",
        "session",
        "dsn",
        "hmac",
        "sas",
        "connectionstring",
        "header",
    ];
    let bare: String = core(name)
        .chars()
        .filter(|c| c.is_ascii_alphanumeric())
        .collect();
    let bare = bare.to_ascii_lowercase();
    ENDINGS.iter().any(|ending| bare.ends_with(ending)) || bare.ends_with("headers")
}

/// Classifies a name. `strict` where credentials are kept, so that even `key` names a secret.
pub(super) fn classify(name: &str, strict: bool) -> NameKind {
    let found = letter_pairs_after(0, name.as_bytes());
    let missing = !found;
    let tells = |telling: &u64| missing & telling == 0;
    if !(TELLING_PAIRS.iter().any(tells) || strict && STRICT_PAIRS.iter().any(tells)) {
        return NameKind::NotSecret;
    }
    classify_by_words(name, found, strict)
}

/// Classifies a name whose pairs of letters do not rule out a secret.
fn classify_by_words(name: &str, found: u64, strict: bool) -> NameKind {
    // `apiKey`, `api-key` and `api_key` are one name.
    let letters = name.bytes().filter(|byte| !is_separator(char::from(*byte)));
    let (mut buffer, long);
    let bare = if name.len() <= INLINE_NAME_BYTES {
        buffer = [0; INLINE_NAME_BYTES];
        let mut length = 0;
        for (slot, byte) in buffer.iter_mut().zip(letters) {
            *slot = byte.to_ascii_lowercase();
            length += 1;
        }
        buffer.get(..length).unwrap_or_default()
    } else {
        long = letters
            .map(|byte| byte.to_ascii_lowercase())
            .collect::<Vec<u8>>();
        &long
    };
    // Dropping ASCII separators keeps the text valid UTF-8, so this does not happen.
    let Ok(bare) = str::from_utf8(bare) else {
        return NameKind::Secret;
    };
    match classify_normalized(name, bare, found, strict) {
        NameKind::NotSecret => read_variant(name, bare, found, strict),
        read => read,
    }
}

/// Reads a name that tells nothing as it is, without what stands at its end: `api_key_2`, `token_value`,
/// `tokens`.
fn read_variant(name: &str, bare: &str, found: u64, strict: bool) -> NameKind {
    let is_variant = bare.ends_with(|c: char| c.is_ascii_digit() || c == 's');
    if !is_variant && !bare.ends_with("value") {
        return NameKind::NotSecret;
    }
    let name = core(name);
    let bare = core(bare);
    let Some(singular) = bare.strip_suffix('s') else {
        return match classify_normalized(name, bare, found, strict) {
            // What is shown by its name is shown by that name alone.
            NameKind::Labels => NameKind::NotSecret,
            read => read,
        };
    };
    match classify_normalized(name, bare, found, strict) {
        NameKind::NotSecret | NameKind::Labels => {}
        read => return read,
    }
    match classify_normalized(name, singular, found, strict) {
        NameKind::Secret if singular.ends_with("token") => {
            // `max_tokens` may be `auto`.
            if words(name).any(is_token_kind) {
                NameKind::NotSecret
            } else {
                NameKind::Text
            }
        }
        // Names of fields, as of a guardrail that looks for them.
        NameKind::Secret if singular == "key" => NameKind::Text,
        NameKind::Secret => NameKind::SecretCollection,
        NameKind::AllSecret => NameKind::AllSecret,
        _ => NameKind::NotSecret,
    }
}

/// Classifies a name, given also in lower case without separators, and with its pairs of
/// letters.
fn classify_normalized(name: &str, bare: &str, found: u64, strict: bool) -> NameKind {
    match bare {
        "metadata" | "conditions" => return NameKind::Labels,
        // Elsewhere `key` names no secret anyway.
        STRICT_LABELS if strict => return NameKind::Labels,
        "headers" | "customheaders" | "requestheaders" | "responseheaders" | "portkeyheaders"
        | "cookie" | "setcookie" | "clientauth" => return NameKind::AllSecret,
        "signedurl" | "invitelink" => return NameKind::Secret,
        bare if strict && STRICT_NAMES.contains(&bare) => return NameKind::Secret,
        _ => {}
    }
    if bare == "secrets"
        || COLLECTION_ENDINGS
            .iter()
            .any(|ending| bare.ends_with(ending))
    {
        return NameKind::SecretCollection;
    }
    let has = |word: &TellingWord| found & word.pairs == word.pairs && bare.contains(word.text);
    let all_secret = bare.starts_with("credential")
        || has(&SERVICE_ACCOUNT)
        || has(&PRIVATE_KEY)
        || has(&PASSWORD)
        || has(&ACCESS_KEY);
    let secret = bare.ends_with("token")
        || bare.ends_with("apikey")
        || bare.ends_with("authorization")
        || has(&SECRET);
    let refers = bare.starts_with("secretreference") || bare.starts_with("secrets");
    match (all_secret, secret) {
        (true, _) => NameKind::AllSecret,
        (false, true) if !refers && !HARMLESS_NAMES.contains(&name) => NameKind::Secret,
        _ => NameKind::NotSecret,
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection, prelude::*, sample};

    use super::*;

    /// Parts of telling names, and of names that look like one.
    const PARTS: [&str; 30] = [
        "secret",
        "token",
        "api",
        "key",
        "authorization",
        "pass",
        "word",
        "credential",
        "client",
        "auth",
        "service",
        "account",
        "private",
        "access",
        "signed",
        "url",
        "invite",
        "link",
        "headers",
        "set",
        "cookie",
        "metadata",
        "conditions",
        "group_by",
        "jwt",
        "pat",
        "s",
        "_value",
        "-",
        "_2",
    ];

    #[test]
    fn names_of_any_length_are_classified() {
        for length in [0, 1, 50, 58, 59, 60, 63, 64, 65, 200, 10_000] {
            for filler in ["x", "_", "é"] {
                let long = filler.repeat(length);
                for (ending, read_as) in [
                    ("api_key", NameKind::Secret),
                    ("client_secret", NameKind::Secret),
                    ("db_password", NameKind::AllSecret),
                    ("name", NameKind::NotSecret),
                ] {
                    let name = format!("{long}{ending}");
                    assert_eq!(classify(&name, true), read_as, "{length} {filler} {ending}");
                }
            }
        }
    }

    #[test]
    fn name_that_only_begins_like_a_secret_is_not_secret() {
        for name in [
            "headers[0].note",
            "headers[",
            "z.headers.note",
            "api_key/x",
            "secrets_manager",
        ] {
            assert_eq!(classify(name, true), NameKind::NotSecret, "{name}");
        }
    }

    #[test]
    fn variants_of_secret_names_are_classified_alike() {
        struct Case {
            names: &'static [&'static str],
            /// The class inside a place that holds credentials, and elsewhere.
            read_as: [NameKind; 2],
        }
        use NameKind::{AllSecret, NotSecret, Secret, SecretCollection, Text};
        let cases = [
            Case {
                names: &[
                    "api_key_2",
                    "apikey1",
                    "apiKey10",
                    "API-KEY-3",
                    "x_api_key_value",
                    "api_key_values",
                    "apiKeyValue",
                    "token_value",
                    "token_2_value",
                    "access_token_1",
                    "authorization_value",
                    "client_secret_2",
                    "signed_url_2",
                ],
                read_as: [Secret, Secret],
            },
            Case {
                names: &["key_value", "key2", "jwt_1", "auth_value", "pwd1"],
                read_as: [Secret, NotSecret],
            },
            Case {
                names: &[
                    "headers_2",
                    "headers_value",
                    "cookie1",
                    "cookies",
                    "credentials2",
                    "password_2",
                ],
                read_as: [AllSecret, AllSecret],
            },
            Case {
                names: &["api_keys_2", "authorizations", "signedUrls", "invite_links"],
                read_as: [SecretCollection, SecretCollection],
            },
            Case {
                names: &["passphrases", "auth_keys", "signing_keys", "jwts"],
                read_as: [SecretCollection, NotSecret],
            },
            Case {
                names: &[
                    "tokens",
                    "tokens_2",
                    "admin_tokens",
                    "myTokens",
                    "personal-tokens",
                ],
                read_as: [Text, Text],
            },
            Case {
                names: &["keys"],
                read_as: [Text, NotSecret],
            },
            Case {
                names: &[
                    "max_tokens",
                    "maxTokens",
                    "MAX_TOKENS",
                    "total_tokens",
                    "prompt_tokens_2",
                    "next_page_token",
                    "next_token_2",
                    "secret_path",
                    "metadata_2",
                    "metadataKeys",
                    "conditions_value",
                    "group_by_2",
                    "status",
                    "value",
                    "values",
                    "monkeys",
                    "v2",
                    "2",
                    "",
                    "é2",
                    "éé_value",
                ],
                read_as: [NotSecret, NotSecret],
            },
        ];
        for Case { names, read_as } in cases {
            for name in names {
                assert_eq!(
                    [classify(name, true), classify(name, false)],
                    read_as,
                    "{name}"
                );
            }
        }
    }

    proptest! {
        #[test]
        fn name_ruled_out_by_its_pairs_is_not_secret(
            parts in collection::vec(
                prop_oneof![
                    sample::select(PARTS.as_slice()).prop_map(str::to_owned),
                    "[a-zA-Z0-9é._-]{0,3}",
                ],
                0..6,
            ),
            upper_case: bool,
            strict: bool,
        ) {
            let mut name = parts.concat();
            if upper_case {
                name = name.to_ascii_uppercase();
            }
            let found = letter_pairs_after(0, name.as_bytes());
            prop_assert_eq!(classify(&name, strict), classify_by_words(&name, found, strict));
            // Every word is looked for.
            prop_assert_eq!(classify(&name, strict), classify_by_words(&name, u64::MAX, strict));
        }
    }

    #[test]
    fn numeric_text_is_not_a_secret() {
        for (value, is_secret) in [
            (Value::from("abc"), true),
            (Value::from("12ab"), true),
            (Value::from(""), true),
            (Value::from("4096"), false),
            (Value::from(" -1.5"), false),
            (Value::from(7), false),
            (Value::from(vec!["abc"]), false),
        ] {
            assert_eq!(is_secret_text(&value), is_secret, "{value}");
        }
    }

    #[test]
    fn token_counts_are_distinguished_from_tokens() {
        for name in [
            "request_token",
            "cache_read_input_token",
            "max_tokens",
            "price-per-token",
            "requestToken",
            "prompt_token_value",
            "total_tokens_2",
        ] {
            assert!(is_token_count(name), "{name}");
        }
        for name in [
            "token",
            "access_token",
            "id_token",
            "superToken",
            "api_key",
            "é_token",
        ] {
            assert!(!is_token_count(name), "{name}");
        }
    }
}
