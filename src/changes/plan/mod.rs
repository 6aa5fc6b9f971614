//! Plans: several changes that are validated, decided and shown together, and then made one by one.
//!
//! [`ChangeContext::plan`] computes a plan and sends nothing but reads. [`ChangeContext::apply_plan`]
//! makes exactly its steps, each a call of its own, and stops where the state is no longer that of the
//! plan. A step is recorded before it is sent, so that an interrupted plan goes on without doubling it.
//!
//! [`ChangeContext::plan`]: super::ChangeContext::plan
//! [`ChangeContext::apply_plan`]: super::ChangeContext::apply_plan

mod apply;
mod check;
mod document;
mod parse;
mod placeholders;
mod planner;
mod probe;
mod progress;
mod references;
mod shown;
mod store;

pub use self::{
    apply::{AppliedPlan, ApplyObserver, DONE_ALREADY, StopReason},
    document::{ChangePlan, PLAN_TTL, PlannedStep, StepState},
    parse::{MAX_PLAN_BYTES, MAX_PLAN_STEPS, StepInput, parse_document, parse_value},
    progress::{
        FileProgress, PlanProgress, ProgressError, ProgressKeeper, StepProgress, StoreProgress,
        write_private,
    },
    shown::{PlannedChanges, ShownStep},
    store::{MAX_TOKEN_BYTES, PlanStore},
};
