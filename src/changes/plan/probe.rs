//! Finds out whether a step took effect, from the state that it leaves.

use std::time::Duration;

use portkey_api::catalog::CatalogEntry;
use portkey_operation::{Effect, JsonMap};
use serde_json::Value;

use super::document::{StepState, digest_state};
use crate::{
    changes::ChangeContext,
    observability::call_record::OutcomeKind,
    pipeline::{CallError, PlanForm, dry_run},
};

/// Arguments that name a resource to create, the most telling first.
const NAME_ARGUMENTS: &[&str] = &["slug", "email", "name", "title"];
/// Fields that identify a listed resource.
const IDENTITY_FIELDS: &[&str] = &["id", "slug"];
/// Maximum number of pages that are read of a list.
const MAX_PAGES: usize = 8;
/// Delays before a step counts as not done. Some reads of Portkey are eventually consistent.
const READ_AGAIN_DELAYS: [Duration; 2] = [Duration::from_millis(250), Duration::from_millis(750)];

/// The outcome of a step, by the state that is there now.
#[derive(Debug)]
pub(super) enum StepOutcome {
    /// The step took effect. The state has what later steps refer to.
    Done(Option<Value>),
    /// The state is that before the step.
    NotDone,
    /// The state does not tell.
    Unclear(String),
}

impl ChangeContext<'_> {
    /// Finds the listed resources that are named like the one that a step creates. Returns `None` if
    /// the list does not tell, or is not open to the caller.
    ///
    /// # Errors
    /// Returns the error of a read that may succeed later.
    pub(super) async fn find_named(
        &self,
        entry: &CatalogEntry,
        args: &JsonMap,
    ) -> Result<Option<Vec<Value>>, CallError> {
        let catalog = self.dispatcher.catalog();
        let list = dry_run::find_verification_read(catalog, entry.operation);
        let named = NAME_ARGUMENTS
            .iter()
            .find_map(|name| Some((*name, args.get(*name)?.as_str()?)));
        let (Some(list), Some((field, name))) = (list, named) else {
            return Ok(None);
        };
        let is_named = |row: &Value| {
            // An icon stands before the name of a workspace.
            let text = row.get(field).and_then(Value::as_str);
            text.is_some_and(|text| text == name || text.ends_with(&format!(" {name}")))
        };
        let read_args = dry_run::read_arguments(entry.operation, list, args);
        self.find_listed(list, read_args, &is_named).await
    }

    /// Returns true if the list of such resources shows that the one which a call names is not there.
    async fn is_absent(&self, entry: &CatalogEntry, args: &JsonMap) -> bool {
        let operation = entry.operation;
        let Some(handle) = operation
            .placeholders()
            .last()
            .and_then(|name| args.get(name)?.as_str())
        else {
            return false;
        };
        let Some((parent, _)) = operation.path().rsplit_once('/') else {
            return false;
        };
        let list = self.dispatcher.catalog().iter().find(|other| {
            let list = other.operation;
            list.method() == http::Method::GET
                && list.base() == operation.base()
                && list.path() == parent
        });
        let Some(list) = list else { return false };
        let is_this = |row: &Value| {
            IDENTITY_FIELDS
                .iter()
                .any(|field| row.get(*field).and_then(Value::as_str) == Some(handle))
        };
        let read_args = dry_run::read_arguments(operation, list, args);
        let found = self.find_listed(list, read_args, &is_this).await;
        matches!(found, Ok(Some(found)) if found.is_empty())
    }

    /// Finds rows of a list. Returns `None` if it cannot be read as a whole.
    ///
    /// # Errors
    /// Returns the error of a read that may succeed later.
    async fn find_listed(
        &self,
        list: &CatalogEntry,
        mut read_args: JsonMap,
        is_meant: &(dyn Fn(&Value) -> bool + Sync),
    ) -> Result<Option<Vec<Value>>, CallError> {
        let properties = list.compiled().full_schema().get("properties");
        let takes =
            |name: &str| properties.is_some_and(|properties| properties.get(name).is_some());
        let mut found = Vec::new();
        let mut read = 0;
        for page in 0..MAX_PAGES {
            if page > 0 {
                read_args.insert("current_page".to_owned(), page.into());
            }
            let answer = self
                .read_now(list.operation.name(), read_args.clone())
                .await;
            let answer = match answer {
                Err(error) if error.may_be_temporary() => return Err(error),
                Err(_) => return Ok(None),
                Ok(answer) => answer,
            };
            let Some(rows) = answer.get("data").unwrap_or(&answer).as_array() else {
                return Ok(None);
            };
            if page == 0 && takes("page_size") {
                read_args.insert("page_size".to_owned(), rows.len().into());
            }
            read += rows.len();
            found.extend(rows.iter().filter(|row| is_meant(row)).cloned());
            let total = answer.get("total").and_then(Value::as_u64);
            if rows.is_empty() || total.is_none_or(|total| total <= read as u64) {
                return Ok(Some(found));
            }
            if !takes("current_page") {
                return Ok(None);
            }
        }
        Ok(None)
    }

    pub(super) async fn read_now(
        &self,
        operation: &'static str,
        args: JsonMap,
    ) -> Result<Value, CallError> {
        let read = self
            .dispatcher
            .read_step(self.principal, self.request_info, operation, args);
        let answer = read.await?;
        match answer.outcome {
            OutcomeKind::DryRun => Ok(Value::Null),
            _ => Ok(answer.value),
        }
    }

    /// Finds out whether a step that was sent took effect.
    pub(super) async fn probe(
        &self,
        entry: &CatalogEntry,
        args: &JsonMap,
        before: &StepState,
    ) -> StepOutcome {
        let mut delays = READ_AGAIN_DELAYS.into_iter();
        loop {
            let outcome = match before {
                StepState::Named { count } => self.probe_named(entry, args, *count).await,
                StepState::Read { digest, .. } => self.probe_read(entry, args, Some(digest)).await,
                StepState::Created => self.probe_read(entry, args, None).await,
                StepState::Unknown => {
                    StepOutcome::Unclear("no read shows whether it took effect".to_owned())
                }
            };
            match (outcome, delays.next()) {
                (StepOutcome::NotDone, Some(delay)) => tokio::time::sleep(delay).await,
                (outcome, _) => return outcome,
            }
        }
    }

    async fn probe_named(
        &self,
        entry: &CatalogEntry,
        args: &JsonMap,
        before: usize,
    ) -> StepOutcome {
        match self.find_named(entry, args).await {
            Ok(Some(named)) if named.len() == before => StepOutcome::NotDone,
            Ok(Some(mut named)) if named.len() == 1 && before == 0 => {
                StepOutcome::Done(named.pop())
            }
            Ok(Some(named)) => StepOutcome::Unclear(format!(
                "{} resources are named like the one to create, and {before} were when the plan was made",
                named.len()
            )),
            Ok(None) | Err(_) => {
                StepOutcome::Unclear("the list does not tell whether it was created".to_owned())
            }
        }
    }

    async fn probe_read(
        &self,
        entry: &CatalogEntry,
        args: &JsonMap,
        before: Option<&str>,
    ) -> StepOutcome {
        let unclear = |what: &str| StepOutcome::Unclear(what.to_owned());
        let Some(read) = dry_run::find_read(self.dispatcher.catalog(), entry.operation) else {
            return unclear("no read shows whether it took effect");
        };
        let read_args = dry_run::read_arguments(entry.operation, read, args);
        let is_delete = entry.operation.effect() == Effect::Delete;
        let current = match self.read_now(read.operation.name(), read_args).await {
            Ok(current) => current,
            Err(CallError::Upstream(_, refusal)) if is_delete && refusal.status.as_u16() == 404 => {
                return StepOutcome::Done(None);
            }
            // Portkey answers 403 for some resources that are not there.
            Err(CallError::Upstream(_, refusal)) if is_delete && refusal.is_definite() => {
                return match before.is_some() && self.is_absent(entry, args).await {
                    true => StepOutcome::Done(None),
                    false => StepOutcome::NotDone,
                };
            }
            // Nothing is there that the step could have changed.
            Err(CallError::Upstream(_, refusal)) if refusal.is_definite() => {
                return StepOutcome::NotDone;
            }
            Err(error) => {
                return StepOutcome::Unclear(format!("its state cannot be read: {error}"));
            }
        };
        let is_as_before = before.is_some_and(|before| digest_state(&current) == before);
        if is_as_before {
            return StepOutcome::NotDone;
        }
        if is_delete {
            return match before {
                None => StepOutcome::NotDone,
                Some(_) => unclear("the resource is there, and is not as it was"),
            };
        }
        let form = PlanForm {
            reads_state: true,
            looks_up_impact: false,
            is_patch: false,
        };
        let planned = self.dispatcher.plan_call(
            self.principal,
            self.request_info,
            entry.operation.name(),
            args.clone(),
            form,
        );
        match planned.await {
            Ok(planned) if planned.preview.is_no_op(entry.operation) => {
                StepOutcome::Done(Some(current))
            }
            Ok(_) if before.is_none() => StepOutcome::NotDone,
            Ok(_) => unclear("the state is neither that before the step nor that after it"),
            Err(error) => StepOutcome::Unclear(error.to_string()),
        }
    }
}
