//! Computes plans: validates every step, decides about it, and shows what it would change.

use std::collections::BTreeSet;

use portkey_api::{
    catalog::{CatalogEntry, find_own_tool},
    references::Restriction,
};
use portkey_operation::{CallRisk, Effect, InputError, JsonMap, Operation, is_same_name};
use serde_json::{Value, json};

use super::{
    document::{ChangePlan, PlannedStep, StepState, digest_arguments, digest_state},
    parse::{PlanStep, StepInput, with_ids},
    references::{self, StepReference, StepValues},
};
use crate::{
    changes::{ChangeContext, PATCH_ARGUMENT, PreparedChange, take_patch},
    pipeline::{
        CallError, PlanForm, PlannedCall,
        approval::ApprovalRequirement,
        dry_run::{self, ChangePreview},
        usages::{DEFAULT_NAMED_USERS, Impact},
    },
    security::signed_state::random_bytes,
};

/// Maximum number of changes that are shown of one step.
const MAX_SHOWN_CHANGES: usize = 40;
/// Maximum number of steps whose impact is looked up.
const MAX_IMPACTS: usize = 10;
/// Beginning of a value that stands for one that an earlier step will answer. It has the form of a
/// UUID, which every id and slug may have.
const PLACEHOLDER: &str = "00000000-0000-4000-8000-";
/// Fields of an answer that identify the created resource. Others may name one that exists.
const IDENTITY_FIELDS: &[&str] = &["id", "slug", "data.id", "data.slug", "/id", "/slug"];
/// Arguments that locate a resource wherever they are sent.
const LOCATION_ARGUMENTS: &[&str] = &["workspace_id", "organisation_id"];
/// Note of a step whose values are there already. It is not sent.
pub(super) const NOTHING_TO_CHANGE: &str = "nothing to change";
/// Length of an id of a plan, in bytes.
const ID_BYTES: usize = 16;

/// A plan with what it shows.
#[derive(Debug)]
pub struct PlannedChanges {
    /// The plan.
    pub plan: ChangePlan,
    /// Steps, in the order in which they are made.
    pub steps: Vec<ShownStep>,
    /// True if a shown state is untrusted content.
    pub is_untrusted: bool,
}

/// A step as it is shown before it is made.
#[derive(Debug)]
pub struct ShownStep {
    /// Id within the plan.
    pub id: String,
    /// Name of the operation.
    pub tool: String,
    /// Name of the resource, if it exists.
    pub resource: Option<String>,
    /// Effect of the operation.
    pub effect: &'static str,
    /// Method and address of the request, with references where their values are not known yet.
    pub target: String,
    /// Risks of the call.
    pub risks: Vec<CallRisk>,
    /// The operation.
    pub operation: &'static Operation,
    /// Changes, each with `path`, `from` and `to`.
    pub changes: Vec<Value>,
    /// Number of changes that are not shown.
    pub more_changes: usize,
    /// Dependants of the target.
    pub impact: Option<Impact>,
    /// The approval that the step needs.
    pub approval: Option<ApprovalRequirement>,
    /// Notes about the step.
    pub notes: Vec<String>,
}

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

impl PlannedChanges {
    /// Serializes what the plan shows.
    pub fn to_json(&self) -> Value {
        self.steps.iter().map(ShownStep::to_json).collect()
    }

    /// Summarizes the impact of all steps in a line; `None` if no step restricts anything.
    pub fn impact_summary(&self) -> Option<String> {
        let parts: Vec<String> = self
            .steps
            .iter()
            .filter_map(|step| Some(format!("{}: {}", step.id, step.impact.as_ref()?.summary)))
            .collect();
        (!parts.is_empty()).then(|| parts.join("; "))
    }

    /// Returns the rules that demand an approval, without doubles.
    pub fn approval_rules(&self) -> Vec<&ApprovalRequirement> {
        let mut rules: Vec<&ApprovalRequirement> = Vec::new();
        for required in self.steps.iter().filter_map(|step| step.approval.as_ref()) {
            if !rules.contains(&required) {
                rules.push(required);
            }
        }
        rules
    }
}

impl ShownStep {
    /// Serializes the step.
    pub fn to_json(&self) -> Value {
        let mut value = json!({ "id": self.id, "tool": self.tool, "changes": self.changes });
        if let Some(fields) = value.as_object_mut() {
            if let Some(resource) = &self.resource {
                fields.insert("resource".to_owned(), resource.as_str().into());
            }
            if self.more_changes > 0 {
                fields.insert("more_changes".to_owned(), self.more_changes.into());
            }
            if let Some(impact) = &self.impact {
                fields.insert("impact".to_owned(), impact.to_json(DEFAULT_NAMED_USERS));
            }
            if let Some(required) = &self.approval {
                fields.insert("needs_approval".to_owned(), required.rule.as_str().into());
            }
            if !self.notes.is_empty() {
                fields.insert("notes".to_owned(), self.notes.clone().into());
            }
        }
        value
    }

    /// Renders the step as plain lines.
    pub fn to_lines(&self) -> Vec<String> {
        let resource = self.resource.as_ref().map(|name| format!(" `{name}`"));
        let mut lines = vec![format!(
            "{}: {} ({}){}",
            self.id,
            self.tool,
            self.effect,
            resource.unwrap_or_default()
        )];
        for change in &self.changes {
            let path = change
                .get("path")
                .and_then(Value::as_str)
                .unwrap_or_default();
            let path = if path.is_empty() { "all of it" } else { path };
            lines.push(match (change.get("from"), change.get("to")) {
                (Some(from), Some(to)) => format!("  ~ {path}: {from} -> {to}"),
                (None, Some(to)) => format!("  + {path}: {to}"),
                (Some(from), None) => format!("  - {path}: {from}"),
                (None, None) => format!("  - {path}"),
            });
        }
        if self.more_changes > 0 {
            lines.push(format!("  and {} more changes", self.more_changes));
        }
        if let Some(impact) = &self.impact {
            lines.push(format!("  depends on it: {}", impact.summary));
            let users = impact.to_lines(DEFAULT_NAMED_USERS);
            lines.extend(users.into_iter().skip(1).map(|line| format!("    {line}")));
        }
        if let Some(required) = &self.approval {
            lines.push(format!("  needs approval: {}", required.rule));
        }
        lines.extend(self.notes.iter().map(|note| format!("  note: {note}")));
        lines
    }
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

    /// Returns the base URLs that steps are sent to.
    fn upstreams_of(&self, steps: &[PlannedStep]) -> Vec<String> {
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
    fn check_references(&self, steps: &[PlanStep]) -> Result<(), CallError> {
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
    fn check_locations(&self, steps: &[PlanStep]) -> Result<(), CallError> {
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
                    .await
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
    async fn state_of(
        &self,
        entry: &CatalogEntry,
        args: &JsonMap,
        current: Option<&Value>,
    ) -> StepState {
        match current {
            Some(current) => StepState::Read {
                address: self.address_of(entry, args),
                digest: digest_state(current),
            },
            None if entry.operation.effect() == Effect::Create => {
                match self.find_named(entry, args).await {
                    Some(named) => StepState::Named { count: named.len() },
                    None => StepState::Unknown,
                }
            }
            None => StepState::Unknown,
        }
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

/// Names the step in an error.
pub(super) fn in_step(id: &str, error: &CallError) -> CallError {
    InputError::new(format!("steps.{id}"), error).into()
}

/// Values that stand for answers of steps that are not made yet.
struct Placeholders<'a> {
    unknown: Vec<StepReference>,
    values: &'a StepValues,
}

impl<'a> Placeholders<'a> {
    fn new(step: &PlanStep, values: &'a StepValues) -> Result<Self, InputError> {
        let found = references::find(&format!("steps.{}.arguments", step.id), &step.arguments)?;
        let is_unknown = |reference: &StepReference| {
            let known = values.get(&reference.step);
            known
                .and_then(|fields| fields.get(&reference.field))
                .is_none()
        };
        Ok(Self {
            unknown: found.into_iter().filter(is_unknown).collect(),
            values,
        })
    }

    fn are_used(&self) -> bool {
        !self.unknown.is_empty()
    }

    fn value(&self, reference: &StepReference) -> Result<Value, String> {
        let known = self.values.get(&reference.step);
        if let Some(value) = known.and_then(|fields| fields.get(&reference.field)) {
            return Ok(value.clone());
        }
        let index = self.unknown.iter().position(|other| other == reference);
        Ok(format!("{PLACEHOLDER}{:012x}", index.unwrap_or_default()).into())
    }

    /// Replaces the stand-ins in a value by the references.
    fn restore(&self, value: Value) -> Value {
        match value {
            Value::String(text) if text.contains(PLACEHOLDER) => {
                let mut text = text;
                for (i, StepReference { step, field }) in self.unknown.iter().enumerate() {
                    text = text.replace(
                        &format!("{PLACEHOLDER}{i:012x}"),
                        &format!("${{{step}.{field}}}"),
                    );
                }
                text.into()
            }
            Value::Array(items) => items.into_iter().map(|item| self.restore(item)).collect(),
            Value::Object(fields) => {
                let restored = fields
                    .into_iter()
                    .map(|(name, inner)| (name, self.restore(inner)));
                Value::Object(restored.collect())
            }
            other => other,
        }
    }
}
