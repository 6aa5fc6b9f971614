//! Checks steps of a plan before anything is read: their operations, references and upstreams.

use std::collections::BTreeSet;

use portkey_api::catalog::{CatalogEntry, find_own_tool};
use portkey_operation::{Effect, InputError, JsonMap, is_same_name};
use serde_json::Value;

use super::{
    document::{ChangePlan, PlannedStep},
    parse::PlanStep,
    references,
};
use crate::{
    changes::ChangeContext,
    pipeline::{CallError, dry_run},
};

/// Fields of an answer that identify the created resource. Others may name one that exists.
const IDENTITY_FIELDS: &[&str] = &["id", "slug", "data.id", "data.slug", "/id", "/slug"];
/// Arguments that locate a resource wherever they are sent.
const LOCATION_ARGUMENTS: &[&str] = &["workspace_id", "organisation_id"];

impl<'a> ChangeContext<'a> {
    /// Returns the base URLs that steps are sent to.
    pub(super) fn upstreams_of(&self, steps: &[PlannedStep]) -> Vec<String> {
        let entries = steps
            .iter()
            .filter_map(|step| self.dispatcher.catalog().find(&step.tool).ok());
        let upstreams = entries.filter_map(|entry| self.dispatcher.upstream_of(entry.operation));
        upstreams.collect::<BTreeSet<_>>().into_iter().collect()
    }

    /// Rejects a plan that was made for another upstream: what has the same ids there is something
    /// else, and what the plan creates would be created here, too.
    pub(super) fn check_upstreams(&self, plan: &ChangePlan) -> Result<(), InputError> {
        let upstreams = self.upstreams_of(&plan.steps);
        if plan.upstreams == upstreams {
            return Ok(());
        }
        let what = format!(
            "was made for {}, and this server calls {}; make a plan for the latter",
            plan.upstreams.join(", "),
            upstreams.join(", ")
        );
        Err(InputError::new("plan", what))
    }

    /// Rejects references to secrets that are shown once. They would be kept with the progress.
    pub(super) fn check_references(&self, steps: &[PlanStep]) -> Result<(), CallError> {
        for step in steps {
            let at = format!("steps.{}.arguments", step.id);
            for reference in references::find(&at, &step.arguments)? {
                let target = steps.iter().find(|other| other.id == reference.step);
                let Some(target) = target else { continue };
                let entry = self.find_write(target)?;
                let operation = entry.operation;
                let mut secrets = operation
                    .one_time_secrets()
                    .iter()
                    .chain(operation.secret_fields());
                if secrets.any(|secret| references::meets_secret(&reference.field, secret)) {
                    let what = format!(
                        "`${{{}.{}}}` is a secret, which no plan keeps; make that step and the call that uses it yourself",
                        reference.step, reference.field
                    );
                    return Err(InputError::new(at, what).into());
                }
            }
        }
        Ok(())
    }

    /// Rejects references that locate a resource which the referenced step does not create. Nothing
    /// would be known about such a resource when the plan is shown.
    pub(super) fn check_locations(&self, steps: &[PlanStep]) -> Result<(), CallError> {
        for step in steps {
            let entry = self.find_write(step)?;
            let is_create = self.creates(entry);
            let mut is_path_referred = false;
            let mut others = None;
            for (name, value) in &step.arguments {
                let Some(own) = self.location_argument(entry, name) else {
                    continue;
                };
                let at = format!("steps.{}.{name}", step.id);
                let found = references::find_in_value(&at, value)?;
                let Some(first) = found.first() else { continue };
                for reference in &found {
                    let target = steps.iter().find(|other| other.id == reference.step);
                    let Some(target) = target else { continue };
                    if !self.creates(self.find_write(target)?) {
                        let what = format!(
                            "refers to `{}`, which creates nothing; give the value itself",
                            reference.step
                        );
                        return Err(InputError::new(at, what).into());
                    }
                }
                let is_identity = references::whole(value)
                    .is_some_and(|whole| IDENTITY_FIELDS.contains(&whole.field.as_str()));
                if !is_identity {
                    let what = format!(
                        "locates a resource; of `{}` it can be only `id` or `slug`, and nothing beside it",
                        first.step
                    );
                    return Err(InputError::new(at, what).into());
                }
                match entry.operation.placeholders().any(|place| place == own) {
                    true => is_path_referred = true,
                    false => others = Some((at, first.step.clone())),
                }
            }
            if let Some((at, other)) = others
                && !is_create
                && !is_path_referred
            {
                let what = format!(
                    "refers to `{other}`, which does not create what this step changes; give the value itself"
                );
                return Err(InputError::new(at, what).into());
            }
        }
        Ok(())
    }

    /// Rejects a step that changes what an earlier step deletes.
    pub(super) fn check_order(&self, steps: &[PlanStep]) -> Result<(), CallError> {
        let mut deleted: Vec<(&str, String)> = Vec::new();
        for step in steps {
            let entry = self.find_write(step)?;
            let Some(path) = self.resource_path(entry, step) else {
                continue;
            };
            let operation = entry.operation;
            let is_create = operation.effect() == Effect::Create;
            let is_gone = |(_, gone): &&(&str, String)| {
                let below = path.strip_prefix(gone.as_str());
                below.is_some_and(|below| below.starts_with('/') || below.is_empty() && !is_create)
            };
            if let Some((by, _)) = deleted.iter().find(is_gone) {
                let what = format!(
                    "is about a resource that `{by}` deletes; put it before that step, or leave it out"
                );
                return Err(InputError::new(format!("steps.{}", step.id), what).into());
            }
            // Others delete items of a list that stays.
            let is_whole = operation.path().ends_with('}');
            if operation.effect() == Effect::Delete && is_whole {
                deleted.push((&step.id, path));
            }
        }
        Ok(())
    }

    /// Returns the path that a step is sent to, unless a part of it is not known yet.
    fn resource_path(&self, entry: &CatalogEntry, step: &PlanStep) -> Option<String> {
        let mut path = entry.operation.path().to_owned();
        for (name, value) in &step.arguments {
            let text = value.as_str().filter(|text| !text.contains("${"));
            if let (Some(own), Some(text)) = (self.location_argument(entry, name), text) {
                path = path.replace(&format!("{{{own}}}"), text);
            }
        }
        (!path.contains('{')).then_some(path)
    }

    /// Returns true if an operation creates a resource of its own. One that acts on another, such as a
    /// rotation, answers the id of one that exists.
    fn creates(&self, entry: &CatalogEntry) -> bool {
        let operation = entry.operation;
        operation.effect() == Effect::Create
            && !operation.hints().destructive
            && dry_run::find_read(self.dispatcher.catalog(), operation).is_none()
    }

    /// Returns the own name of an argument that locates a resource.
    fn location_argument(&self, entry: &CatalogEntry, name: &str) -> Option<String> {
        let operation = entry.operation;
        let published = entry.compiled();
        let mut places = operation
            .placeholders()
            .chain(operation.query_arguments().iter().copied())
            .chain(operation.header_arguments().iter().map(|(name, _)| *name))
            .chain(LOCATION_ARGUMENTS.iter().copied());
        let own = published.resolve_argument_alias(name);
        let own = own.map(str::to_owned).unwrap_or_else(|| name.to_owned());
        if let Some(place) = places.find(|place| *place == own || is_same_name(place, name)) {
            return Some(place.to_owned());
        }
        let read = dry_run::find_read(self.dispatcher.catalog(), operation)?;
        let args: JsonMap = [(own.clone(), Value::Null)].into_iter().collect();
        let is_read = !dry_run::read_arguments(operation, read, &args).is_empty();
        is_read.then_some(own)
    }

    /// Finds the operation of a step, which has to write.
    pub(super) fn find_write(&self, step: &PlanStep) -> Result<&'a CatalogEntry, CallError> {
        let at = || format!("steps.{}.tool", step.id);
        if let Some((name, what)) = find_own_tool(&step.tool) {
            let what = format!(
                "`{name}` is {what}, which cannot be a step; a plan has operations that write"
            );
            return Err(InputError::new(at(), what).into());
        }
        let entry = self.dispatcher.find_entry(&step.tool);
        let entry = entry.map_err(|error| InputError::new(at(), error))?;
        if entry.operation.effect() == Effect::Read {
            let what = format!("`{}` only reads; a plan has writes", step.tool);
            return Err(InputError::new(at(), what).into());
        }
        Ok(entry)
    }
}
