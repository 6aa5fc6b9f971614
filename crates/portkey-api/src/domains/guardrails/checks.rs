//! Validation of guardrail checks against the catalogue, before Portkey receives them.
//!
//! Portkey stores a check with invalid parameters, and reports it only when traffic runs into it. A
//! call is therefore the last moment at which its caller can learn of it.

use std::fmt::{self, Display};

use portkey_operation::{Findings, JsonMap, Secret, did_you_mean, is_misspelling_of};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;
use serde_json::Value;

use super::catalogue::{CHECKS, CheckKind, ParameterKind};
/// id*, parameters {} (a wrong one is answered with what the check takes), name, is_enabled (true when
/// left out). Ids: default.{jwt,modelWhitelist,isAllLowerCase,regexMatch,sentenceCount,wordCount,characterCount,jsonSchema,jsonKeys,contains,validUrls,containsCode,webhook,endsWith,alluppercase,requiredMetadataKeys,requiredMetadataKeyPairs,allowedRequestTypes}
/// portkey.{moderateContent,language,pii,gibberish}
/// patronus.{phi,pii,isConcise,isHelpful,isPolite,noApologies,noGenderBias,noRacialBias,retrievalAnswerRelevance,toxicity,custom}
/// pillar.{scanPrompt,scanResponse} promptfoo.{guard,pii,harm} azure.{contentSafety,pii}
/// sydelabs.sydeguard aporia.validateProject mistral.moderateContent bedrock.guard acuvity.scan
/// lasso.classify panw-prisma-airs.intercept cato.analyze
///
/// One check. Its ids are too many for an enum that every client accepts, so the description has them.
#[derive(Deserialize, JsonSchema)]
#[schemars(extend("x-publish" = "omit-fields"))]
#[expect(missing_docs, reason = "the struct says it")]
pub struct Check {
    /// Which check.
    ///
    /// Required: OpenAPI, and its examples all have it.
    #[schemars(schema_with = "id_schema")]
    pub id: String,
    pub parameters: Option<Secret<JsonMap>>,
    pub name: Option<String>,
    pub is_enabled: Option<bool>,
}

/// Ids of gateway checks that differ from ids of the catalogue in case and separators only.
///
/// The list prevents that such an id is mistaken for one of the catalogue.
const SIMILAR_CHECK_IDS: [&str; 2] = ["default.modelwhitelist", "panwPrismaAirs.intercept"];

/// Returns the schema of check ids. Unknown ids pass, because Portkey adds checks.
fn id_schema(_: &mut SchemaGenerator) -> Schema {
    let ids: Vec<_> = CHECKS
        .iter()
        .map(|check| check.id)
        .chain(SIMILAR_CHECK_IDS)
        .collect();
    json_schema!({ "type": "string", "enum": ids, "x-open": true })
}

/// Checks that each known check has its required parameters, each of the right kind.
///
/// Parameters and values that the catalogue lacks pass with a warning.
pub(super) fn validate_checks(args: &JsonMap, findings: &mut Findings) {
    let checks = args.get("checks").and_then(Value::as_array);
    for (i, check) in checks.into_iter().flatten().enumerate() {
        let kind = CHECKS
            .iter()
            .find(|kind| check.get("id").is_some_and(|id| id == kind.id));
        // An unknown id was reported before.
        if let Some(kind) = kind {
            let parameters = check.get("parameters").and_then(Value::as_object);
            validate_check(kind, parameters.unwrap_or(&JsonMap::new()), i, findings);
        }
    }
}

fn validate_check(kind: &CheckKind, given: &JsonMap, i: usize, findings: &mut Findings) {
    let Some(parameters) = kind.parameters else {
        return;
    };
    let mut has_unknown = false;
    for (name, value) in given {
        let at = format_args!("checks[{i}].parameters.{name}");
        match parameters.iter().find(|parameter| parameter.name == name) {
            // The error does not repeat the value, which may be a secret.
            Some(parameter) if !parameter.kind.accepts(value) => {
                findings.add_error(at, format_args!("takes {}", parameter.kind));
            }
            Some(parameter) if parameter.kind.has_unknown_values(value) => findings.warn(format_args!(
                "`{at}`: a value is not known to this version and was passed on unchecked; the check takes {}",
                parameter.kind
            )),
            Some(_) => {}
            // Partners take these credentials where the organisation has not stored its own.
            None if kind.is_partner_check() && matches!(name.as_str(), "credentials" | "apiKey") => {}
            None => {
                let lacking = parameters.iter().map(|known| known.name);
                let mut lacking = lacking.filter(|known| !given.contains_key(*known));
                if findings.reserve_comparison() && lacking.any(|known| is_misspelling_of(known, name)) {
                    let hint = did_you_mean(name, parameters.iter().map(|known| known.name));
                    findings.add_error(at, format_args!("no such parameter{hint}; {kind}"));
                } else {
                    has_unknown = true;
                    let text = format_args!(
                        "`{at}` is not known to this version and was passed on unchecked; {kind}"
                    );
                    findings.warn_unknown_part(at, text);
                }
            }
        }
    }
    // An unknown parameter may stand for one of the required ones.
    if has_unknown {
        return;
    }
    let missing = |name: &str| given.get(name).is_none_or(Value::is_null);
    for parameter in parameters.iter().filter(|p| p.required && missing(p.name)) {
        let at = format_args!("checks[{i}].parameters.{}", parameter.name);
        findings.add_error(at, format_args!("is required; {kind}"));
    }
}

impl CheckKind {
    /// Returns true if a company other than Portkey runs the check.
    fn is_partner_check(&self) -> bool {
        !self.id.starts_with("default.") && !self.id.starts_with("portkey.")
    }
}

/// Lists the parameters of a check, as `` `default.contains` takes words* (texts), … ``.
impl Display for CheckKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` takes ", self.id)?;
        for (i, parameter) in self.parameters.unwrap_or_default().iter().enumerate() {
            let comma = if i == 0 { "" } else { ", " };
            let star = if parameter.required { "*" } else { "" };
            write!(f, "{comma}`{}`{star} ({})", parameter.name, parameter.kind)?;
        }
        Ok(())
    }
}

impl ParameterKind {
    fn accepts(self, value: &Value) -> bool {
        let list = |fits: &dyn Fn(&Value) -> bool| {
            value.as_array().is_some_and(|items| items.iter().all(fits))
        };
        match self {
            Self::Any => true,
            Self::Text | Self::OneOf(_) => value.is_string(),
            Self::Number => value.is_number(),
            Self::Fraction => value
                .as_f64()
                .is_some_and(|number| (0.0..=1.0).contains(&number)),
            Self::Bool => value.is_boolean(),
            // The gateway parses text as JSON.
            Self::Object => {
                let is_json = |text: &str| serde_json::from_str::<JsonMap>(text).is_ok();
                value.is_object() || value.as_str().is_some_and(is_json)
            }
            Self::TextList | Self::ValueList(_) => list(&Value::is_string),
        }
    }

    /// Returns true if an accepted value contains unknown words.
    fn has_unknown_values(self, value: &Value) -> bool {
        let (Self::OneOf(words) | Self::ValueList(words)) = self else {
            return false;
        };
        let is_known = |value: &Value| {
            value
                .as_str()
                .is_some_and(|text| words.split(' ').any(|word| word == text))
        };
        match value {
            Value::Array(items) => !items.iter().all(is_known),
            one => !is_known(one),
        }
    }
}

impl Display for ParameterKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("anything"),
            Self::Text => f.write_str("text"),
            Self::Number => f.write_str("a number"),
            Self::Fraction => f.write_str("a number from 0 to 1"),
            Self::Bool => f.write_str("true or false"),
            Self::Object => f.write_str("an object"),
            Self::TextList => f.write_str("a list of texts"),
            Self::OneOf(words) => write!(f, "one of {}", words.replace(' ', ", ")),
            Self::ValueList(words) => write!(f, "a list of {}", words.replace(' ', ", ")),
        }
    }
}
