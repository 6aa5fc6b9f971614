//! Computes plans: validates every step, decides about it, and shows what it would change.

use std::collections::BTreeSet;

use portkey_api::{catalog::CatalogEntry, references::Restriction};
use portkey_operation::{Effect, InputError, JsonMap};
use serde_json::Value;

use super::{
    document::{ChangePlan, PlannedStep, StepState, digest_arguments, digest_state},
    parse::{PlanStep, StepInput, with_ids},
    placeholders::{PLACEHOLDER, Placeholders},
    references::{self, StepValues},
    shown::{PlannedChanges, ShownStep},
};
use crate::{
    changes::{ChangeContext, PATCH_ARGUMENT, PreparedChange, take_patch},
    pipeline::{
        CallError, PlanForm, PlannedCall,
        dry_run::{self, ChangePreview},
        usages::Impact,
    },
    security::signed_state::random_bytes,
};

/// Maximum number of changes that are shown of one step.
const MAX_SHOWN_CHANGES: usize = 40;
/// Maximum number of steps whose impact is looked up.
const MAX_IMPACTS: usize = 10;
/// Note of a step whose values are there already. It is not sent.
pub(super) const NOTHING_TO_CHANGE: &str = "nothing to change";
/// Length of an id of a plan, in bytes.
const ID_BYTES: usize = 16;

/// A step whose arguments are known.
pub(super) struct ComputedStep<'a> {
    pub(super) entry: &'a CatalogEntry,
    /// Arguments of the call.
    pub(super) args: JsonMap,
    /// The change, if the step is a patch.
    pub(super) change: Option<PreparedChange<'a>>,
    /// True if an earlier step creates the resource.
    pub(super) is_created: bool,
}

impl<'a> ChangeContext<'a> {
    /// Computes a plan. Nothing is sent but reads, which are the caller's own.
    ///
    /// # Errors
    /// Returns an error that names the step if one is invalid, or the caller may not make it.
    pub async fn plan(&self, steps: Vec<StepInput>) -> Result<PlannedChanges, CallError> {
        let steps = references::order(with_ids(steps)?)?;
        self.check_references(&steps)?;
        self.check_locations(&steps)?;
        self.check_order(&steps)?;
        let id = random_bytes::<ID_BYTES>()
            .map_err(|_| InputError::new("", "the system gives no random numbers"))?;
        let (planned, shown, is_untrusted) = self.survey(&steps, &StepValues::new()).await?;
        let upstreams = self.upstreams_of(&planned);
        let caller = self.principal.name.to_string();
        let plan = ChangePlan::new(hex::encode(id), caller, upstreams, planned);
        Ok(PlannedChanges {
            plan,
            steps: shown,
            is_untrusted,
        })
    }

    /// Decides about steps and describes them, as the state is now. `values` are known answers.
    pub(super) async fn survey(
        &self,
        steps: &[PlanStep],
        values: &StepValues,
    ) -> Result<(Vec<PlannedStep>, Vec<ShownStep>, bool), CallError> {
        let mut impacts = 0;
        let mut touched = BTreeSet::new();
        let mut planned = Vec::with_capacity(steps.len());
        let mut shown = Vec::with_capacity(steps.len());
        let mut is_untrusted = false;
        for step in steps {
            let one = self.survey_step(step, values, &mut impacts, &touched);
            let (step, view, untrusted) = Box::pin(one)
                .await
                .map_err(|error| in_step(&step.id, &error))?;
            if let StepState::Read { address, .. } = &step.state {
                touched.insert(address.clone());
            }
            planned.push(step);
            shown.push(view);
            is_untrusted |= untrusted;
        }
        Ok((planned, shown, is_untrusted))
    }

    async fn survey_step(
        &self,
        step: &PlanStep,
        values: &StepValues,
        impacts: &mut usize,
        touched: &BTreeSet<String>,
    ) -> Result<(PlannedStep, ShownStep, bool), CallError> {
        let placeholders = Placeholders::new(step, values)?;
        let args =
            references::replace(&step.arguments, &|reference| placeholders.value(reference))?;
        let computed = self.compute_step(step, args).await?;
        let entry = computed.entry;
        let operation = entry.operation;
        let is_restriction = Restriction::of_call(operation.name(), &computed.args).is_some();
        if is_restriction {
            *impacts += 1;
        }
        let form = PlanForm {
            reads_state: !computed.is_created,
            looks_up_impact: *impacts <= MAX_IMPACTS,
            is_patch: computed.change.is_some(),
        };
        let is_no_op = computed
            .change
            .as_ref()
            .is_some_and(PreparedChange::is_empty);
        let call = self.dispatcher.plan_call(
            self.principal,
            self.request_info,
            operation.name(),
            computed.args.clone(),
            form,
        );
        let call = match &computed.change {
            Some(change) => redact_planned(change, call.await),
            None => call.await,
        };
        let call = match call {
            // An update without a field is no valid call, and none is made.
            Err(CallError::InvalidArguments(_)) if is_no_op => {
                self.describe_unchanged(entry, &computed).await
            }
            call => call,
        };
        let PlannedCall {
            report,
            preview,
            approval,
            dry_run_rule,
            warnings,
        } = call?;
        if preview.may_be_known_later {
            return Err(
                unknown_state(preview.unknown_reason.as_deref().unwrap_or_default()).into(),
            );
        }
        let request = report.get("request");
        let text = |name: &str| {
            let text = request.and_then(|request| request.get(name)?.as_str());
            text.unwrap_or_default().to_owned()
        };
        let target = placeholders.restore(format!("{} {}", text("method"), text("url")).into());
        let target = target.as_str().unwrap_or_default().to_owned();
        let is_no_op = is_no_op
            || computed.change.is_none()
                && is_unchanged(entry, &computed.args, &preview)
                && !touched.contains(&self.address_of(entry, &computed.args));
        let approval = approval.filter(|_| !is_no_op);
        let risks = match is_no_op {
            true => Vec::new(),
            false => operation.risks(&computed.args, preview.current.as_ref()),
        };
        let state = match computed.is_created {
            true => StepState::Created,
            false => {
                self.state_of(entry, &computed.args, preview.current.as_ref())
                    .await?
            }
        };
        let mut notes = warnings;
        if let Some(reason) = &preview.unknown_reason {
            notes.push(format!("the current state is not known: {reason}"));
        }
        if let Some(rule) = &dry_run_rule {
            notes.push(format!(
                "`{rule}` wants a dry run of it, so that it would not be sent"
            ));
        }
        if !is_no_op && preview.is_all_hidden() {
            notes.push(dry_run::HIDDEN_CHANGES.to_owned());
        }
        if is_no_op {
            notes.push(NOTHING_TO_CHANGE.to_owned());
        }
        let resource = preview.display_name().map(str::to_owned);
        let impact = match preview.impact {
            None if is_restriction && *impacts > MAX_IMPACTS && !computed.is_created => {
                let what =
                    format!("not looked up: more than {MAX_IMPACTS} steps restrict something");
                Some(Impact::unknown(what))
            }
            impact => impact,
        };
        let changes = match is_no_op {
            true => Vec::new(),
            false => report
                .get("changes")
                .and_then(Value::as_array)
                .cloned()
                .unwrap_or_default(),
        };
        let more_changes = changes.len().saturating_sub(MAX_SHOWN_CHANGES);
        let changes = changes
            .into_iter()
            .take(MAX_SHOWN_CHANGES)
            .map(|change| placeholders.restore(change));
        let shown = ShownStep {
            id: step.id.clone(),
            tool: operation.name().to_owned(),
            resource,
            effect: operation.effect().as_str(),
            target,
            risks,
            operation,
            changes: changes.collect(),
            more_changes,
            impact,
            approval,
            notes,
        };
        let sent =
            (!placeholders.are_used()).then(|| digest_arguments(operation.name(), &computed.args));
        let planned = PlannedStep {
            id: step.id.clone(),
            tool: operation.name().to_owned(),
            args: step.arguments.clone(),
            state,
            sent,
        };
        Ok((planned, shown, preview.is_untrusted))
    }

    /// Describes a step that sends nothing, because its values are there already.
    async fn describe_unchanged(
        &self,
        entry: &CatalogEntry,
        computed: &ComputedStep<'_>,
    ) -> Result<PlannedCall, CallError> {
        let current = self.read_target(entry, &computed.args).await?;
        let change = computed.change.as_ref();
        Ok(PlannedCall {
            report: Value::Null,
            preview: ChangePreview {
                current,
                is_untrusted: change.is_some_and(|change| change.before.is_untrusted),
                ..ChangePreview::default()
            },
            approval: None,
            dry_run_rule: None,
            warnings: Vec::new(),
        })
    }

    /// Reads the resource that a step changes.
    pub(super) async fn read_target(
        &self,
        entry: &CatalogEntry,
        args: &JsonMap,
    ) -> Result<Option<Value>, CallError> {
        let Some(read) = dry_run::find_read(self.dispatcher.catalog(), entry.operation) else {
            return Ok(None);
        };
        let args = dry_run::read_arguments(entry.operation, read, args);
        let current = self.read_now(read.operation.name(), args).await?;
        Ok(Some(current).filter(|current| !current.is_null()))
    }

    /// Computes the arguments of a step's call. A patch is applied to the current state, unless an
    /// earlier step creates the resource: its fields then stand for the change.
    pub(super) async fn compute_step(
        &self,
        step: &PlanStep,
        mut args: JsonMap,
    ) -> Result<ComputedStep<'a>, CallError> {
        let entry = self.find_write(step)?;
        let patch = args.get(PATCH_ARGUMENT).cloned();
        let Some(request) = take_patch(entry.compiled(), &mut args)? else {
            let is_created = self.reads_placeholder(entry, &args);
            return Ok(ComputedStep {
                entry,
                args,
                change: None,
                is_created,
            });
        };
        if !self.reads_placeholder(entry, &request.location) {
            let change = self.prepare(entry, request).await?;
            return Ok(ComputedStep {
                entry,
                args: change.arguments(),
                change: Some(change),
                is_created: false,
            });
        }
        let Some(Value::Object(fields)) = patch else {
            let what =
                "a list of operations needs a resource that exists; give the fields themselves";
            return Err(InputError::new(PATCH_ARGUMENT, what).into());
        };
        let mut args = request.location;
        args.extend(fields);
        Ok(ComputedStep {
            entry,
            args,
            change: None,
            is_created: true,
        })
    }

    /// Returns true if the resource is found by a value that an earlier step will answer.
    fn reads_placeholder(&self, entry: &CatalogEntry, args: &JsonMap) -> bool {
        let is_placeholder = |value: &Value| {
            value
                .as_str()
                .is_some_and(|text| text.contains(PLACEHOLDER))
        };
        match dry_run::find_read(self.dispatcher.catalog(), entry.operation) {
            Some(read) => dry_run::read_arguments(entry.operation, read, args)
                .values()
                .any(is_placeholder),
            None => entry
                .operation
                .placeholders()
                .any(|name| args.get(name).is_some_and(is_placeholder)),
        }
    }

    /// Returns the state on which a step builds.
    ///
    /// # Errors
    /// Returns an error if it is not known now, and may be later: applied then, the plan would build on
    /// another state than it shows.
    async fn state_of(
        &self,
        entry: &CatalogEntry,
        args: &JsonMap,
        current: Option<&Value>,
    ) -> Result<StepState, InputError> {
        Ok(match current {
            Some(current) => StepState::Read {
                address: self.address_of(entry, args),
                digest: digest_state(current),
            },
            None if entry.operation.effect() == Effect::Create => {
                match self.find_named(entry, args).await {
                    Ok(Some(named)) => StepState::Named { count: named.len() },
                    Ok(None) => StepState::Unknown,
                    Err(error) => return Err(unknown_state(&error.to_string())),
                }
            }
            None => StepState::Unknown,
        })
    }

    /// Returns a digest of the read by which the resource of a step is found.
    pub(super) fn address_of(&self, entry: &CatalogEntry, args: &JsonMap) -> String {
        let read = dry_run::find_read(self.dispatcher.catalog(), entry.operation);
        read.map_or_else(String::new, |read| {
            let args = dry_run::read_arguments(entry.operation, read, args);
            digest_arguments(read.operation.name(), &args)
        })
    }
}

/// Returns true if an update of fields is known to change none of them.
pub(super) fn is_unchanged(entry: &CatalogEntry, args: &JsonMap, preview: &ChangePreview) -> bool {
    let operation = entry.operation;
    operation.update_rules().is_some()
        && args.keys().any(|name| operation.is_change(name))
        && preview.is_no_op(operation)
}

/// Removes the hidden values that a patch sends again from what a plan shows of its call.
fn redact_planned(
    change: &PreparedChange<'_>,
    call: Result<PlannedCall, CallError>,
) -> Result<PlannedCall, CallError> {
    let (mut planned, mut result) = match call {
        Ok(mut planned) => {
            let report = std::mem::take(&mut planned.report);
            (Some(planned), Ok(report))
        }
        Err(error) => (None, Err(error)),
    };
    change.redact(&mut result);
    let report = result?;
    if let Some(planned) = &mut planned {
        planned.report = report;
    }
    planned.ok_or_else(|| InputError::new("", "the call was not planned").into())
}

/// Explains that the state on which a step builds cannot be read now.
fn unknown_state(reason: &str) -> InputError {
    let what = format!(
        "the state that it changes cannot be read now, so that there is nothing to build on: {reason}. Try again later"
    );
    InputError::new("", what)
}

/// Names the step in an error.
pub(super) fn in_step(id: &str, error: &CallError) -> CallError {
    InputError::new(format!("steps.{id}"), error).into()
}
