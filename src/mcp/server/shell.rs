//! Calls from the shell: the way of every other call, but for who is asked, and that answers come whole.

use portkey_operation::{InputError, JsonMap};
use serde_json::Value;

use super::{Server, own::Reached, pages::Source};
use crate::{
    auth::principal::Principal,
    mcp::{
        results::annotate,
        surface::{self, Does},
    },
    observability::request::Arrival,
    pipeline::{
        Call, CallError, Dispatcher, Record,
        approval::{Answer, Denied, Question, take_ticket},
    },
};

/// What stands in for a part of a result.
const WHOLE: &str = "is good at the server that gave it, and ends with it. From the shell make the call \
    itself: it answers whole, whatever --max-result-bytes says";

impl Server {
    /// Carries out calls.
    pub(crate) fn dispatcher(&self) -> &Dispatcher {
        &self.dispatcher
    }

    /// Makes a call of whoever runs the process, of an operation or of one of our own tools. `ask` puts
    /// a question to a human; where it gives no answer, somebody has decided elsewhere.
    ///
    /// # Errors
    /// See [`CallError`].
    pub(crate) async fn call_from_shell(
        &self,
        principal: &Principal,
        name: &str,
        mut args: JsonMap,
        ask: impl AsyncFnOnce(&Question) -> Result<Option<Answer>, Denied>,
    ) -> Result<Value, CallError> {
        let (arrival, record) = (&Arrival::local(), &mut Record::default());
        let mut answer = None;
        let (name, mut args) = match surface::named(name) {
            None => (name, args),
            Some(own) if own.does == Does::ReadResult => {
                return Err(InputError::one("handle", WHOLE).into());
            }
            Some(own) => {
                answer = take_ticket(&mut args);
                match self.reach(own, principal, arrival, args, record).await? {
                    Reached::Answer(answer) => return Ok(answer.value),
                    Reached::Operation(operation, args) => (operation.name(), args),
                }
            }
        };
        let source = Source {
            client: None,
            principal,
            arrival,
            name,
        };
        let wanted = self.wanted(&source, &mut args, record)?;
        let call = Call {
            principal,
            arrival,
            name,
            args,
            answer,
        };
        let first = match self.dispatcher.recorded(call, record).await {
            Err(CallError::Ask(question)) => {
                let (answer, args) = (ask(&question).await?, question.into_args());
                let call = Call {
                    principal,
                    arrival,
                    name,
                    args,
                    answer,
                };
                match self.dispatcher.recorded(call, record).await {
                    // Asked again: the ticket has expired.
                    Err(CallError::Ask(_)) => return Err(Denied::TimedOut.into()),
                    outcome => outcome?,
                }
            }
            Err(CallError::Unknown(unknown)) => {
                return Err(self.suggested(principal, name, unknown).into());
            }
            outcome => outcome?,
        };
        let answer = match wanted {
            Some(wanted) => self.gather(&source, &wanted, first, record).await,
            None => first,
        };
        let (warnings, times) = (
            std::mem::take(&mut record.warnings),
            std::mem::take(&mut record.times),
        );
        Ok(annotate(answer, warnings, times))
    }
}
