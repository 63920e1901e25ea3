//! Sagas in stories: their commands, what is done with them, and how it is spoken of.

use nemcon_core::coordinator::event::Reply;
use nemcon_core::id::{SagaId, TransactionId};
use nemcon_core::saga::{
    Compensation, Definition, Ended, Fact, Graph, Resolution, Retry, State, Step, StepName, View,
    Way,
};
use nemcon_core::time::Span;

use super::script::{Cluster, parse_span};
use super::stage::Stage;
use super::words::{Names, counted, refused};
use crate::world::{Asker, Place, SagaOrder, saga_operation};

/// A command about a saga.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum SagaCommand {
    /// A step that it has.
    Step {
        saga: String,
        step: Box<Step>,
    },
    /// Its time limit.
    Limit {
        saga: String,
        limit: Span,
    },
    /// A client starts it, or sends the same once more.
    Start {
        saga: String,
        again: bool,
    },
    Cancel {
        saga: String,
    },
    Resume {
        saga: String,
    },
    Resolve {
        saga: String,
        step: StepName,
        resolution: Resolution,
    },
}

const ON_STEPS: &str = "want `step s1 hotel a-10`, perhaps with `back a+10`, `after flight`, \
                        `tries 2`, `within 10s` and `pivot`";

/// `s1`, `s2` …
pub(super) fn is_saga(word: &str) -> bool {
    let number = word.strip_prefix('s').filter(|number| !number.is_empty());
    number.is_some_and(|number| number.bytes().all(|byte| byte.is_ascii_digit()))
}

fn saga_name(word: &str) -> Result<String, String> {
    match is_saga(word) {
        true => Ok(word.to_owned()),
        false => Err(format!("`{word}`: sagas are called s1, s2 and so on")),
    }
}

fn step_name(word: &str) -> Result<StepName, String> {
    StepName::new(word).map_err(|error| error.to_string())
}

impl Cluster {
    pub(super) fn of_saga(self, command: &str, words: &[&str]) -> Result<SagaCommand, String> {
        let [saga, rest @ ..] = words else {
            return Err("which saga? for example s1".to_owned());
        };
        let saga = saga_name(saga)?;
        Ok(match (command, rest) {
            ("step", rest) => SagaCommand::Step {
                saga,
                step: Box::new(self.step(rest)?),
            },
            ("limit", [span]) => SagaCommand::Limit {
                saga,
                limit: parse_span(span)?,
            },
            ("resolve", [step, resolution]) => SagaCommand::Resolve {
                saga,
                step: step_name(step)?,
                resolution: match *resolution {
                    "done" => Resolution::Done,
                    "compensated" => Resolution::Compensated,
                    "retry" => Resolution::Retry,
                    other => {
                        return Err(format!("`{other}`: want done, compensated or retry"));
                    }
                },
            },
            ("resolve", _) => return Err("want `resolve s1 hotel compensated`".to_owned()),
            ("limit", _) => return Err("how long? for example `limit s1 60s`".to_owned()),
            (_, [_, ..]) => return Err(format!("`{}` is too much", rest.join(" "))),
            ("start", []) => SagaCommand::Start { saga, again: false },
            ("again", []) => SagaCommand::Start { saga, again: true },
            ("cancel", []) => SagaCommand::Cancel { saga },
            _ => SagaCommand::Resume { saga },
        })
    }

    /// `hotel a-10 b+10 back a+10 after flight tries 2 within 10s pivot`
    fn step(self, words: &[&str]) -> Result<Step, String> {
        let [name, rest @ ..] = words else {
            return Err(ON_STEPS.to_owned());
        };
        let mut step = Step {
            name: step_name(name)?,
            depends_on: Vec::new(),
            operations: Vec::new(),
            compensation: None,
            retry: Retry::STEP,
            time_limit: None,
            pivot: false,
        };
        let mut words = rest.iter().copied().peekable();
        let mut after = false;
        while let Some(word) = words.next() {
            let mut next = || words.next().ok_or_else(|| format!("`{word}`: {ON_STEPS}"));
            match word {
                "back" => {
                    step.compensation = Some(Compensation {
                        operations: Vec::new(),
                        retry: Retry::COMPENSATION,
                    });
                }
                "after" => step.depends_on.push(step_name(next()?)?),
                "within" => step.time_limit = Some(parse_span(next()?)?),
                "pivot" => step.pivot = true,
                "tries" => {
                    let number = next()?;
                    let attempts = number
                        .parse()
                        .map_err(|_| format!("`{number}`: {ON_STEPS}"))?;
                    let back = step.compensation.as_mut().map(|it| &mut it.retry);
                    back.unwrap_or(&mut step.retry).attempts = attempts;
                }
                word if after => step.depends_on.push(step_name(word)?),
                word => {
                    let operation = saga_operation(self.operation(word)?);
                    let back = step.compensation.as_mut().map(|it| &mut it.operations);
                    back.unwrap_or(&mut step.operations).push(operation);
                }
            }
            after = word == "after" || after && !matches!(word, "within" | "pivot" | "tries");
        }
        Ok(step)
    }
}

impl Stage {
    pub(super) fn saga(&mut self, command: SagaCommand) -> Result<(), String> {
        match command {
            SagaCommand::Step { saga, step } => {
                self.planned(&saga)?.steps.push(*step);
                Ok(())
            }
            SagaCommand::Limit { saga, limit } => {
                self.planned(&saga)?.time_limit = Some(limit);
                Ok(())
            }
            SagaCommand::Start { saga, again } => {
                let definition = self.sagas.get(&saga).cloned();
                let Some(definition) = definition else {
                    return Err(format!("{saga} has no steps: {ON_STEPS}"));
                };
                Graph::new(definition.clone()).map_err(|invalid| invalid.to_string())?;
                let order = match (self.names.saga_id(&saga), again) {
                    (Some(id), true) => SagaOrder {
                        saga: id,
                        coordinator: 0,
                        definition,
                    },
                    (Some(_), false) => {
                        return Err(format!("{saga} has been started; `again` repeats it"));
                    }
                    (None, true) => return Err(format!("{saga} has not been started")),
                    (None, false) => SagaOrder {
                        saga: self.world.mint_saga(),
                        coordinator: 0,
                        definition,
                    },
                };
                // Named first, so that the account can name it.
                self.names
                    .give_saga_name(order.saga, &saga, &order.definition);
                self.must_be_up(Place::Coordinator(0))?;
                self.act(|world| world.start_saga(&order))
            }
            SagaCommand::Cancel { saga } => {
                let id = self.started(&saga)?;
                self.act(|world| world.cancel_saga(0, id))
            }
            SagaCommand::Resume { saga } => {
                let id = self.started(&saga)?;
                self.act(|world| world.resume_saga(0, id))
            }
            SagaCommand::Resolve {
                saga,
                step,
                resolution,
            } => {
                let id = self.started(&saga)?;
                self.act(|world| world.resolve_saga_step(0, id, step, resolution))
            }
        }
    }

    /// A saga whose steps are being told. What is told after its start is another one
    /// under the same id.
    fn planned(&mut self, saga: &str) -> Result<&mut Definition, String> {
        Ok(self.sagas.entry(saga.to_owned()).or_default())
    }

    fn started(&self, saga: &str) -> Result<SagaId, String> {
        self.must_be_up(Place::Coordinator(0))?;
        let id = self.names.saga_id(saga);
        id.ok_or_else(|| format!("{saga} has not been started"))
    }

    /// How the sagas of a coordinator stand.
    pub(super) fn look_at_sagas(&self) -> Vec<String> {
        let views = self
            .world
            .sagas
            .iter()
            .filter_map(|it| self.world.saga(it.saga));
        views.map(|view| self.names.saga_view(&view)).collect()
    }
}

const fn who(asker: Asker) -> &'static str {
    match asker {
        Asker::Client => "client",
        Asker::Operator => "operator",
    }
}

/// How a story calls the tries of a saga's steps.
#[derive(Clone, Debug)]
pub(super) struct SagaNames {
    name: String,
    steps: Vec<StepName>,
}

impl Names {
    pub(super) fn give_saga_name(&mut self, saga: SagaId, name: &str, definition: &Definition) {
        let steps = definition.steps.iter().map(|step| step.name.clone());
        let names = SagaNames {
            name: name.to_owned(),
            steps: steps.collect(),
        };
        self.sagas.entry(saga).or_insert(names);
    }

    fn saga_id(&self, name: &str) -> Option<SagaId> {
        let mut sagas = self.sagas.iter();
        sagas
            .find(|(_, names)| names.name == name)
            .map(|(id, _)| *id)
    }

    fn saga_name(&self, saga: SagaId) -> String {
        let name = self.sagas.get(&saga);
        name.map_or_else(|| saga.to_string(), |names| names.name.clone())
    }

    fn step(&self, saga: SagaId, step: u32) -> String {
        let names = self.sagas.get(&saga);
        let step_name = names.and_then(|names| names.steps.get(step as usize));
        step_name.map_or_else(|| format!("step {step}"), ToString::to_string)
    }

    /// Learns the name of a try from the record that it begins: it is called like its
    /// step, with `-back` behind it if that is taken back; later tries are numbered.
    pub(super) fn learn_try(&mut self, saga: SagaId, fact: &Fact) {
        let Fact::Tried {
            step,
            way,
            transaction,
            ..
        } = fact
        else {
            return;
        };
        if self.is_known(*transaction) {
            return;
        }
        let back = match way {
            Way::Forward => "",
            Way::Back => "-back",
        };
        let name = format!("{}{back}", self.step(saga, *step));
        let numbered = |number: usize| match number {
            1 => name.clone(),
            number => format!("{name}/{number}"),
        };
        let free = (1..)
            .map(numbered)
            .find(|name| self.transaction_called(name).is_none());
        self.give_name(*transaction, &free.expect("there are numbers enough"));
    }

    pub(super) fn fact(&self, saga: SagaId, fact: &Fact) -> String {
        let name = self.saga_name(saga);
        let tried = |step: &u32, way: &Way| match way {
            Way::Forward => self.step(saga, *step),
            Way::Back => format!("{}-back", self.step(saga, *step)),
        };
        match fact {
            Fact::Started { definition, .. } => {
                let steps = counted(definition.steps.len(), "step");
                format!("SagaStarted({name}: {steps})")
            }
            Fact::Tried { transaction, .. } => format!("Tried({})", self.transaction(*transaction)),
            Fact::Failed {
                step, way, cause, ..
            } => format!("Failed({}: {})", tried(step, way), cause.refusal.reason),
            Fact::Turned { cause, .. } => format!("Turned({name}: {})", cause.refusal.reason),
            Fact::ByHand(hand) => match (hand.step, hand.resolution) {
                (Some(step), Some(what)) => format!("ByHand({}: {what})", self.step(saga, step)),
                (None, _) | (_, None) => format!("ByHand({name}: resumed)"),
            },
            Fact::Ended { ended, .. } => format!("SagaEnded({name}: {})", self.ended(*ended)),
            Fact::Forgotten => format!("SagaForgotten({name})"),
            Fact::Kept(_) => format!("SagaKept({name})"),
        }
    }

    const fn ended(&self, ended: Ended) -> &'static str {
        match ended {
            Ended::Completed => "completed",
            Ended::Compensated => "compensated",
        }
    }

    /// What whoever watches a saga hears.
    pub(super) fn saga_changed(&self, saga: SagaId, state: State) -> String {
        format!("{} is {state}", self.saga_name(saga))
    }

    /// That nobody answers any more.
    pub(super) fn no_saga_answer(&self, saga: SagaId, asker: Asker) -> String {
        format!("{}: no answer for {}", who(asker), self.saga_name(saga))
    }

    /// An answer about a saga.
    pub(super) fn saga_reply(&self, saga: SagaId, asker: Asker, reply: &Reply) -> (String, String) {
        let said = match reply {
            Reply::Saga(view) => self.saga_changed(saga, view.state),
            Reply::Refused(refusal) => refused(refusal),
            other => format!("{other:?}"),
        };
        (who(asker).to_owned(), said)
    }

    /// A saga as it stands, with its steps.
    fn saga_view(&self, view: &View) -> String {
        let steps = view
            .steps
            .iter()
            .map(|step| format!("{} {}", step.name, step.state));
        let steps = Vec::from_iter(steps).join(", ");
        format!("{} ({steps})", self.saga_changed(view.saga, view.state))
    }

    /// The transaction of this name, be it a client's or a try of a step.
    pub(super) fn transaction_called(&self, name: &str) -> Option<TransactionId> {
        let mut all = self.transactions.iter();
        all.find(|(_, called)| *called == name).map(|(id, _)| *id)
    }
}
