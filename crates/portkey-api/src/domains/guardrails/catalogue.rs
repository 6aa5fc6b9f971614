//! The catalogue of guardrail checks, with the parameters of each.

use Takes::{Any, Flag, Number, Object, Share, Text, Texts, Word, Words};

/// A kind of check.
#[derive(Debug)]
pub struct CheckKind {
    /// The id of the check, such as `default.contains`.
    pub id: &'static str,
    /// The parameters of the check. `None` if Portkey validates nothing.
    pub parameters: Option<&'static [Parameter]>,
}

/// A parameter of a check.
#[derive(Debug)]
pub struct Parameter {
    /// The name of the parameter.
    pub name: &'static str,
    /// The kind of value that the parameter takes.
    pub takes: Takes,
    /// True if the check needs the parameter.
    pub required: bool,
}

/// The kind of value that a parameter takes.
#[derive(Clone, Copy, Debug)]
pub enum Takes {
    /// Text.
    Text,
    /// A number.
    Number,
    /// A number from 0 to 1.
    Share,
    /// True or false.
    Flag,
    /// An object.
    Object,
    /// A list of texts.
    Texts,
    /// One of these values, which are separated by spaces.
    Word(&'static str),
    /// A list of these values, which are separated by spaces.
    Words(&'static str),
    /// Anything.
    Any,
}

const fn check(id: &'static str, parameters: &'static [Parameter]) -> CheckKind {
    CheckKind {
        id,
        parameters: Some(parameters),
    }
}

const fn anything(id: &'static str) -> CheckKind {
    CheckKind {
        id,
        parameters: None,
    }
}

const fn need(name: &'static str, takes: Takes) -> Parameter {
    Parameter {
        name,
        takes,
        required: true,
    }
}

const fn may(name: &'static str, takes: Takes) -> Parameter {
    Parameter {
        name,
        takes,
        required: false,
    }
}

const NOT: Parameter = may("not", Flag);
const REDACT: Parameter = may("redact", Flag);
/// The time limit of the check in milliseconds.
const TIMEOUT: Parameter = may("timeout", Number);

const UPPERCASE: &[Parameter] = &[NOT];

const PILLAR: &[Parameter] = &[need("scanners", Words(SCANNERS)), TIMEOUT];

const PARTNER: &[Parameter] = &[REDACT, TIMEOUT];

const CODE_FORMATS: &str = "\
    SQL Python TypeScript JavaScript Java C# C++ C Ruby PHP Swift Kotlin Go Rust Scala R \
    Perl Shell HTML CSS XML JSON YAML Markdown Dockerfile";

const REQUEST_TYPES: &str = "\
    complete chatComplete embed rerank moderate proxy imageGenerate createSpeech \
    createTranscription createTranslation realtime uploadFile listFiles retrieveFile \
    deleteFile retrieveFileContent createBatch retrieveBatch cancelBatch listBatches \
    getBatchOutput listFinetunes createFinetune retrieveFinetune cancelFinetune \
    createModelResponse getModelResponse deleteModelResponse listResponseInputItems messages";

const OPENAI_CATEGORIES: &str = "\
    hate hate/threatening harassment harassment/threatening self-harm self-harm/intent \
    self-harm/instructions sexual sexual/minors violence violence/graphic";

const LANGUAGES: &str = "\
    eng_Latn zho_Hans spa_Latn ara_Arab por_Latn ind_Latn fra_Latn jpn_Jpan rus_Cyrl \
    deu_Latn kor_Hang tur_Latn ita_Latn pes_Arab pol_Latn vie_Latn nld_Latn hin_Deva \
    tha_Thai heb_Hebr ben_Beng swe_Latn ces_Latn ron_Latn ell_Grek ukr_Cyrl dan_Latn \
    fin_Latn nor_Latn hun_Latn cat_Latn bul_Cyrl msa_Latn hrv_Latn arb_Latn slk_Latn \
    lit_Latn lav_Latn srp_Cyrl slv_Latn est_Latn urd_Arab fil_Latn aze_Latn tam_Taml \
    tel_Telu mar_Deva kan_Knda fas_Arab";

const PII: &str = "\
    EMAIL_ADDRESS PHONE_NUMBER LOCATION_ADDRESS NAME IP_ADDRESS CREDIT_CARD SSN";

const SCANNERS: &str = "\
    prompt_injection pii secrets toxic_language invisible_characters";

const MISTRAL_CATEGORIES: &str = "\
    sexual hate_and_discrimination violence_and_threats dangerous_and_criminal_content \
    selfharm health financial law pii";

const ACUVITY_LANGUAGES: &str = "english chinese spanish french german japanese gibberish";

const ACUVITY_PII: &str = "\
    email_address ssn person aba_routing_number address bank_account bitcoin_wallet \
    credit_card driver_license itin_number location medical_license money_amount \
    passport_number phone_number";

const ACUVITY_SECRETS: &str = "\
    credentials aws_secret_key github openai stripe jwt private_key";

/// Every kind of check, in the order of Portkey's console.
pub const CHECKS: &[CheckKind] = &[
    check(
        "default.jwt",
        &[
            need("jwksUri", Text),
            need("headerKey", Text),
            may("cacheMaxAge", Number),
            may("clockTolerance", Number),
            may("maxTokenAge", Text),
            may("algorithms", Texts),
        ],
    ),
    check("default.modelWhitelist", &[need("models", Texts)]),
    check("default.isAllLowerCase", UPPERCASE),
    check("default.regexMatch", &[need("rule", Text), NOT]),
    check(
        "default.sentenceCount",
        &[
            may("minSentences", Number),
            may("maxSentences", Number),
            NOT,
        ],
    ),
    check(
        "default.wordCount",
        &[may("minWords", Number), may("maxWords", Number), NOT],
    ),
    check(
        "default.characterCount",
        &[
            may("minCharacters", Number),
            may("maxCharacters", Number),
            NOT,
        ],
    ),
    check("default.jsonSchema", &[need("schema", Object), NOT]),
    check(
        "default.jsonKeys",
        &[need("keys", Texts), need("operator", Word("any all none"))],
    ),
    check(
        "default.contains",
        &[need("words", Texts), need("operator", Word("any all none"))],
    ),
    check("default.validUrls", &[may("onlyDNS", Flag), NOT]),
    check(
        "default.containsCode",
        &[need("format", Word(CODE_FORMATS)), NOT],
    ),
    check(
        "default.webhook",
        &[
            need("webhookURL", Text),
            may("headers", Object),
            TIMEOUT,
            may("failOnError", Flag),
        ],
    ),
    check("default.endsWith", &[need("suffix", Text), NOT]),
    check("default.alluppercase", UPPERCASE),
    check(
        "default.requiredMetadataKeys",
        &[
            need("metadataKeys", Texts),
            need("operator", Word("all any none")),
        ],
    ),
    // Newer than the published list, and without published types (changelog 1.13.0 and 1.15.0).
    check(
        "default.requiredMetadataKeyPairs",
        &[
            may("metadataPairs", Any),
            may("operator", Word("all any none")),
            may("matchType", Word("exact contains containsAll regex")),
        ],
    ),
    check(
        "default.allowedRequestTypes",
        &[
            may("allowedTypes", Words(REQUEST_TYPES)),
            may("blockedTypes", Words(REQUEST_TYPES)),
        ],
    ),
    check(
        "portkey.moderateContent",
        &[need("categories", Words(OPENAI_CATEGORIES)), TIMEOUT],
    ),
    check(
        "portkey.language",
        &[may("language", Word(LANGUAGES)), NOT, TIMEOUT],
    ),
    check(
        "portkey.pii",
        &[REDACT, need("categories", Words(PII)), TIMEOUT],
    ),
    anything("portkey.gibberish"),
    check(
        "sydelabs.sydeguard",
        &[
            may("prompt_injection_threshold", Share),
            may("toxicity_threshold", Share),
            may("evasion_threshold", Share),
            TIMEOUT,
        ],
    ),
    check(
        "aporia.validateProject",
        &[need("projectID", Text), TIMEOUT],
    ),
    check("pillar.scanPrompt", PILLAR),
    check("pillar.scanResponse", PILLAR),
    check("patronus.phi", PARTNER),
    check("patronus.pii", PARTNER),
    check("patronus.isConcise", PARTNER),
    check("patronus.isHelpful", PARTNER),
    check("patronus.isPolite", PARTNER),
    check("patronus.noApologies", PARTNER),
    check("patronus.noGenderBias", PARTNER),
    check("patronus.noRacialBias", PARTNER),
    check("patronus.retrievalAnswerRelevance", PARTNER),
    check("patronus.toxicity", PARTNER),
    check("patronus.custom", &[need("profile", Text), TIMEOUT]),
    check(
        "mistral.moderateContent",
        &[need("categories", Words(MISTRAL_CATEGORIES)), TIMEOUT],
    ),
    check(
        "bedrock.guard",
        &[
            need("guardrailVersion", Text),
            need("guardrailId", Text),
            REDACT,
            TIMEOUT,
        ],
    ),
    check("promptfoo.guard", PARTNER),
    check("promptfoo.pii", PARTNER),
    check("promptfoo.harm", PARTNER),
    check(
        "acuvity.scan",
        &[
            may("prompt_injection", Flag),
            may("prompt_injection_threshold", Share),
            may("toxic", Flag),
            may("toxic_threshold", Share),
            may("jail_break", Flag),
            may("jail_break_threshold", Share),
            may("malicious_url", Flag),
            may("malicious_url_threshold", Share),
            may("biased", Flag),
            may("biased_threshold", Share),
            may("harmful", Flag),
            may("harmful_threshold", Share),
            may("language", Flag),
            may("language_values", Word(ACUVITY_LANGUAGES)),
            may("pii", Flag),
            may("pii_redact", Flag),
            may("pii_categories", Words(ACUVITY_PII)),
            may("secrets", Flag),
            may("secrets_redact", Flag),
            may("secrets_categories", Words(ACUVITY_SECRETS)),
            TIMEOUT,
        ],
    ),
    anything("lasso.classify"),
    check(
        "azure.contentSafety",
        &[
            may("blocklistNames", Texts),
            may("apiVersion", Text),
            may("severity", Number),
            may("categories", Words("Hate SelfHarm Sexual Violence")),
            TIMEOUT,
        ],
    ),
    check(
        "azure.pii",
        &[
            may("domain", Word("none phi")),
            may("apiVersion", Text),
            may("modelVersion", Text),
            REDACT,
            TIMEOUT,
        ],
    ),
    check(
        "panw-prisma-airs.intercept",
        &[
            need("profile_name", Text),
            may("ai_model", Text),
            may("app_user", Text),
        ],
    ),
    // Newer than the published list (changelog 1.17.0).
    check(
        "cato.analyze",
        &[may("userEmail", Text), may("keyAlias", Text), TIMEOUT],
    ),
];
