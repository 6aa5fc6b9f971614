//! The catalogue of guardrail checks, with the parameters of each.

use ParameterKind::{Any, Bool, Fraction, Number, Object, OneOf, Text, TextList, ValueList};

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
    pub kind: ParameterKind,
    /// True if the check needs the parameter.
    pub required: bool,
}

/// The kind of value that a parameter takes.
#[derive(Clone, Copy, Debug)]
pub enum ParameterKind {
    /// Text.
    Text,
    /// A number.
    Number,
    /// A number from 0 to 1.
    Fraction,
    /// True or false.
    Bool,
    /// An object.
    Object,
    /// A list of texts.
    TextList,
    /// One of these values, which are separated by spaces.
    OneOf(&'static str),
    /// A list of these values, which are separated by spaces.
    ValueList(&'static str),
    /// Anything.
    Any,
}

const fn check(id: &'static str, parameters: &'static [Parameter]) -> CheckKind {
    CheckKind {
        id,
        parameters: Some(parameters),
    }
}

const fn unchecked(id: &'static str) -> CheckKind {
    CheckKind {
        id,
        parameters: None,
    }
}

const fn required(name: &'static str, takes: ParameterKind) -> Parameter {
    Parameter {
        name,
        kind: takes,
        required: true,
    }
}

const fn optional(name: &'static str, takes: ParameterKind) -> Parameter {
    Parameter {
        name,
        kind: takes,
        required: false,
    }
}

const NOT_PARAMETER: Parameter = optional("not", Bool);
const REDACT_PARAMETER: Parameter = optional("redact", Bool);
/// The time limit of the check in milliseconds.
const TIMEOUT_PARAMETER: Parameter = optional("timeout", Number);

const UPPERCASE_PARAMETERS: &[Parameter] = &[NOT_PARAMETER];

const PILLAR_PARAMETERS: &[Parameter] = &[
    required("scanners", ValueList(PILLAR_SCANNERS)),
    TIMEOUT_PARAMETER,
];

const PARTNER_PARAMETERS: &[Parameter] = &[REDACT_PARAMETER, TIMEOUT_PARAMETER];

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

const PORTKEY_LANGUAGES: &str = "\
    eng_Latn zho_Hans spa_Latn ara_Arab por_Latn ind_Latn fra_Latn jpn_Jpan rus_Cyrl \
    deu_Latn kor_Hang tur_Latn ita_Latn pes_Arab pol_Latn vie_Latn nld_Latn hin_Deva \
    tha_Thai heb_Hebr ben_Beng swe_Latn ces_Latn ron_Latn ell_Grek ukr_Cyrl dan_Latn \
    fin_Latn nor_Latn hun_Latn cat_Latn bul_Cyrl msa_Latn hrv_Latn arb_Latn slk_Latn \
    lit_Latn lav_Latn srp_Cyrl slv_Latn est_Latn urd_Arab fil_Latn aze_Latn tam_Taml \
    tel_Telu mar_Deva kan_Knda fas_Arab";

const PORTKEY_PII: &str = "\
    EMAIL_ADDRESS PHONE_NUMBER LOCATION_ADDRESS NAME IP_ADDRESS CREDIT_CARD SSN";

const PILLAR_SCANNERS: &str = "\
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
            required("jwksUri", Text),
            required("headerKey", Text),
            optional("cacheMaxAge", Number),
            optional("clockTolerance", Number),
            optional("maxTokenAge", Text),
            optional("algorithms", TextList),
        ],
    ),
    check("default.modelWhitelist", &[required("models", TextList)]),
    check("default.isAllLowerCase", UPPERCASE_PARAMETERS),
    check(
        "default.regexMatch",
        &[required("rule", Text), NOT_PARAMETER],
    ),
    check(
        "default.sentenceCount",
        &[
            optional("minSentences", Number),
            optional("maxSentences", Number),
            NOT_PARAMETER,
        ],
    ),
    check(
        "default.wordCount",
        &[
            optional("minWords", Number),
            optional("maxWords", Number),
            NOT_PARAMETER,
        ],
    ),
    check(
        "default.characterCount",
        &[
            optional("minCharacters", Number),
            optional("maxCharacters", Number),
            NOT_PARAMETER,
        ],
    ),
    check(
        "default.jsonSchema",
        &[required("schema", Object), NOT_PARAMETER],
    ),
    check(
        "default.jsonKeys",
        &[
            required("keys", TextList),
            required("operator", OneOf("any all none")),
        ],
    ),
    check(
        "default.contains",
        &[
            required("words", TextList),
            required("operator", OneOf("any all none")),
        ],
    ),
    check(
        "default.validUrls",
        &[optional("onlyDNS", Bool), NOT_PARAMETER],
    ),
    check(
        "default.containsCode",
        &[required("format", OneOf(CODE_FORMATS)), NOT_PARAMETER],
    ),
    check(
        "default.webhook",
        &[
            required("webhookURL", Text),
            optional("headers", Object),
            TIMEOUT_PARAMETER,
            optional("failOnError", Bool),
        ],
    ),
    check(
        "default.endsWith",
        &[required("suffix", Text), NOT_PARAMETER],
    ),
    check("default.alluppercase", UPPERCASE_PARAMETERS),
    check(
        "default.requiredMetadataKeys",
        &[
            required("metadataKeys", TextList),
            required("operator", OneOf("all any none")),
        ],
    ),
    // Newer than the published list, and without published types (changelog 1.13.0 and 1.15.0).
    check(
        "default.requiredMetadataKeyPairs",
        &[
            optional("metadataPairs", Any),
            optional("operator", OneOf("all any none")),
            optional("matchType", OneOf("exact contains containsAll regex")),
        ],
    ),
    check(
        "default.allowedRequestTypes",
        &[
            optional("allowedTypes", ValueList(REQUEST_TYPES)),
            optional("blockedTypes", ValueList(REQUEST_TYPES)),
        ],
    ),
    check(
        "portkey.moderateContent",
        &[
            required("categories", ValueList(OPENAI_CATEGORIES)),
            TIMEOUT_PARAMETER,
        ],
    ),
    check(
        "portkey.language",
        &[
            optional("language", OneOf(PORTKEY_LANGUAGES)),
            NOT_PARAMETER,
            TIMEOUT_PARAMETER,
        ],
    ),
    check(
        "portkey.pii",
        &[
            REDACT_PARAMETER,
            required("categories", ValueList(PORTKEY_PII)),
            TIMEOUT_PARAMETER,
        ],
    ),
    unchecked("portkey.gibberish"),
    check(
        "sydelabs.sydeguard",
        &[
            optional("prompt_injection_threshold", Fraction),
            optional("toxicity_threshold", Fraction),
            optional("evasion_threshold", Fraction),
            TIMEOUT_PARAMETER,
        ],
    ),
    check(
        "aporia.validateProject",
        &[required("projectID", Text), TIMEOUT_PARAMETER],
    ),
    check("pillar.scanPrompt", PILLAR_PARAMETERS),
    check("pillar.scanResponse", PILLAR_PARAMETERS),
    check("patronus.phi", PARTNER_PARAMETERS),
    check("patronus.pii", PARTNER_PARAMETERS),
    check("patronus.isConcise", PARTNER_PARAMETERS),
    check("patronus.isHelpful", PARTNER_PARAMETERS),
    check("patronus.isPolite", PARTNER_PARAMETERS),
    check("patronus.noApologies", PARTNER_PARAMETERS),
    check("patronus.noGenderBias", PARTNER_PARAMETERS),
    check("patronus.noRacialBias", PARTNER_PARAMETERS),
    check("patronus.retrievalAnswerRelevance", PARTNER_PARAMETERS),
    check("patronus.toxicity", PARTNER_PARAMETERS),
    check(
        "patronus.custom",
        &[required("profile", Text), TIMEOUT_PARAMETER],
    ),
    check(
        "mistral.moderateContent",
        &[
            required("categories", ValueList(MISTRAL_CATEGORIES)),
            TIMEOUT_PARAMETER,
        ],
    ),
    check(
        "bedrock.guard",
        &[
            required("guardrailVersion", Text),
            required("guardrailId", Text),
            REDACT_PARAMETER,
            TIMEOUT_PARAMETER,
        ],
    ),
    check("promptfoo.guard", PARTNER_PARAMETERS),
    check("promptfoo.pii", PARTNER_PARAMETERS),
    check("promptfoo.harm", PARTNER_PARAMETERS),
    check(
        "acuvity.scan",
        &[
            optional("prompt_injection", Bool),
            optional("prompt_injection_threshold", Fraction),
            optional("toxic", Bool),
            optional("toxic_threshold", Fraction),
            optional("jail_break", Bool),
            optional("jail_break_threshold", Fraction),
            optional("malicious_url", Bool),
            optional("malicious_url_threshold", Fraction),
            optional("biased", Bool),
            optional("biased_threshold", Fraction),
            optional("harmful", Bool),
            optional("harmful_threshold", Fraction),
            optional("language", Bool),
            optional("language_values", OneOf(ACUVITY_LANGUAGES)),
            optional("pii", Bool),
            optional("pii_redact", Bool),
            optional("pii_categories", ValueList(ACUVITY_PII)),
            optional("secrets", Bool),
            optional("secrets_redact", Bool),
            optional("secrets_categories", ValueList(ACUVITY_SECRETS)),
            TIMEOUT_PARAMETER,
        ],
    ),
    unchecked("lasso.classify"),
    check(
        "azure.contentSafety",
        &[
            optional("blocklistNames", TextList),
            optional("apiVersion", Text),
            optional("severity", Number),
            optional("categories", ValueList("Hate SelfHarm Sexual Violence")),
            TIMEOUT_PARAMETER,
        ],
    ),
    check(
        "azure.pii",
        &[
            optional("domain", OneOf("none phi")),
            optional("apiVersion", Text),
            optional("modelVersion", Text),
            REDACT_PARAMETER,
            TIMEOUT_PARAMETER,
        ],
    ),
    check(
        "panw-prisma-airs.intercept",
        &[
            required("profile_name", Text),
            optional("ai_model", Text),
            optional("app_user", Text),
        ],
    ),
    // Newer than the published list (changelog 1.17.0).
    check(
        "cato.analyze",
        &[
            optional("userEmail", Text),
            optional("keyAlias", Text),
            TIMEOUT_PARAMETER,
        ],
    ),
];
