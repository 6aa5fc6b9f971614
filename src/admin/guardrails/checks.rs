//! Checks of a guardrail, held against the catalogue before Portkey sees them.
//!
//! Portkey stores a check whose parameters make no sense and finds out when traffic runs into it, so
//! this is the last moment at which a caller can be told.

use std::fmt::{self, Display};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;
use serde_json::Value;

use super::catalogue::{CHECKS, CheckKind, Takes};
use portkey_mcp_operation::{Findings, JsonMap, Secret, did_you_mean};

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
#[schemars(extend("x-names-fields" = true))]
#[expect(missing_docs, reason = "the struct says it")]
pub struct Check {
    #[schemars(schema_with = "ids")]
    pub id: String,
    pub parameters: Option<Secret<JsonMap>>,
    pub name: Option<String>,
    pub is_enabled: Option<bool>,
}

fn ids(_: &mut SchemaGenerator) -> Schema {
    let ids: Vec<_> = CHECKS.iter().map(|check| check.id).collect();
    json_schema!({ "type": "string", "enum": ids })
}

/// Every check has the parameters it needs, and no others.
pub(super) fn fit_the_catalogue(args: &JsonMap, findings: &mut Findings) {
    let checks = args.get("checks").and_then(Value::as_array);
    for (i, check) in checks.into_iter().flatten().enumerate() {
        let kind = CHECKS.iter().find(|kind| check.get("id").is_some_and(|id| id == kind.id));
        // An unknown id has been reported by then.
        if let Some(kind) = kind {
            let parameters = check.get("parameters").and_then(Value::as_object);
            fit(kind, parameters.unwrap_or(&JsonMap::new()), i, findings);
        }
    }
}

fn fit(kind: &CheckKind, given: &JsonMap, i: usize, findings: &mut Findings) {
    let Some(parameters) = kind.parameters else { return };
    for (name, value) in given {
        let at = format_args!("checks[{i}].parameters.{name}");
        match parameters.iter().find(|parameter| parameter.name == name) {
            Some(parameter) if parameter.takes.fits(value) => {}
            // What was written is not repeated: it may be a secret.
            Some(parameter) => findings.add(at, format_args!("takes {}", parameter.takes)),
            // Partners are signed in to with these where the organisation has not stored its own.
            None if kind.is_partners() && matches!(name.as_str(), "credentials" | "apiKey") => {}
            None => {
                let hint = did_you_mean(name, parameters.iter().map(|known| known.name));
                findings.add(at, format_args!("no such parameter{hint}; {kind}"));
            }
        }
    }
    let missing = |name: &str| given.get(name).is_none_or(Value::is_null);
    for parameter in parameters.iter().filter(|p| p.required && missing(p.name)) {
        let at = format_args!("checks[{i}].parameters.{}", parameter.name);
        findings.add(at, format_args!("is required; {kind}"));
    }
}

impl CheckKind {
    /// Whether another company carries it out.
    fn is_partners(&self) -> bool {
        !self.id.starts_with("default.") && !self.id.starts_with("portkey.")
    }
}

/// What the check takes, as `` `default.contains` takes words* (texts), … ``.
impl Display for CheckKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` takes ", self.id)?;
        for (i, parameter) in self.parameters.unwrap_or_default().iter().enumerate() {
            let comma = if i == 0 { "" } else { ", " };
            let star = if parameter.required { "*" } else { "" };
            write!(f, "{comma}`{}`{star} ({})", parameter.name, parameter.takes)?;
        }
        Ok(())
    }
}

impl Takes {
    fn fits(self, value: &Value) -> bool {
        let word = |words: &str, value: &Value| {
            value.as_str().is_some_and(|text| words.split(' ').any(|word| word == text))
        };
        let list = |fits: &dyn Fn(&Value) -> bool| {
            value.as_array().is_some_and(|items| items.iter().all(fits))
        };
        match self {
            Self::Any => true,
            Self::Text => value.is_string(),
            Self::Number => value.is_number(),
            Self::Share => value.as_f64().is_some_and(|number| (0.0..=1.0).contains(&number)),
            Self::Flag => value.is_boolean(),
            Self::Object => value.is_object(),
            Self::Texts => list(&Value::is_string),
            Self::Word(words) => word(words, value),
            Self::Words(words) => list(&|value| word(words, value)),
        }
    }
}

impl Display for Takes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("anything"),
            Self::Text => f.write_str("text"),
            Self::Number => f.write_str("a number"),
            Self::Share => f.write_str("a number from 0 to 1"),
            Self::Flag => f.write_str("true or false"),
            Self::Object => f.write_str("an object"),
            Self::Texts => f.write_str("a list of texts"),
            Self::Word(words) => write!(f, "one of {}", words.replace(' ', ", ")),
            Self::Words(words) => write!(f, "a list of {}", words.replace(' ', ", ")),
        }
    }
}
