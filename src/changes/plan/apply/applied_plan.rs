//! The end of a plan, as callers see it.

use serde_json::{Value, json};

/// Text for a plan of which nothing is left to do.
pub const DONE_ALREADY: &str = "this plan is done already; nothing was sent";

/// Reason why a plan stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopReason {
    /// The state is not that on which the plan builds.
    Drift,
    /// A step failed, and took no effect.
    Failed,
    /// A step was sent, and nothing tells whether it took effect.
    InDoubt,
}

impl StopReason {
    /// Returns the value in answers.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Drift => "drift",
            Self::Failed => "failed",
            Self::InDoubt => "in_doubt",
        }
    }
}

/// The end of a plan.
#[derive(Debug)]
pub struct AppliedPlan {
    /// Id of the plan.
    pub id: String,
    /// Steps that are done, with what this call knows of them.
    pub done: Vec<Value>,
    /// Ids of steps that are not done.
    pub not_done: Vec<String>,
    /// The step at which the plan stopped, the reason and the error.
    pub stopped: Option<(String, StopReason, String)>,
    /// True if an earlier call had begun.
    pub is_resumed: bool,
    /// True if an earlier call has made all steps.
    pub is_done_already: bool,
}

impl AppliedPlan {
    /// Returns true if all steps are done.
    pub const fn is_complete(&self) -> bool {
        self.stopped.is_none()
    }

    /// Serializes the end.
    pub fn to_json(&self) -> Value {
        let status = match self.is_complete() {
            true => "applied",
            false => "stopped",
        };
        let mut value = json!({ "status": status, "done": self.done, "not_done": self.not_done });
        if let Some(fields) = value.as_object_mut() {
            if self.is_resumed {
                fields.insert("resumed".to_owned(), true.into());
            }
            if self.is_done_already {
                fields.insert("note".to_owned(), DONE_ALREADY.into());
            }
            if let Some((step, reason, error)) = &self.stopped {
                let next = match reason {
                    StopReason::Drift => "make a new plan",
                    StopReason::Failed => {
                        "apply the plan again to go on from this step, or make a new one"
                    }
                    StopReason::InDoubt => {
                        "look whether the step took effect, and apply the plan again later; the step is not repeated unless its state shows that it was not done"
                    }
                };
                let stopped = json!({ "step": step, "reason": reason.as_str(), "error": error, "next": next });
                fields.insert("stopped".to_owned(), stopped);
            }
        }
        value
    }
}
