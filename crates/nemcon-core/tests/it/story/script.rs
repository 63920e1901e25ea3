//! The language of the stories: one command a line.
//!
//! `docs/protocol-by-example.md` explains it to readers; this is the grammar.
//! Whatever it does not allow is an error that says what is allowed.

use nemcon_core::message::Outcome;
use nemcon_core::time::Span;

use super::sagas::{SagaCommand, is_saga};
use crate::registers::Action;
use crate::world::Place;

/// More than this and a story is not one any more.
const BANKS_MAX: usize = 4;
/// A day; milliseconds have the same limit.
const SECONDS_MAX: u64 = 86_400;
const COORDINATORS: [&str; 2] = ["north", "south"];

/// The stage of a story.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cluster {
    pub(crate) banks: usize,
    pub(crate) coordinators: usize,
    /// How many outcomes a node remembers.
    pub(crate) remember: usize,
}

/// An action at a participant, and whether the client says that it only reads.
pub(crate) type Operation = (usize, Action, bool);

/// One command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Command {
    Run {
        transaction: String,
        /// Of which one it is another try.
        first: Option<String>,
        operations: Vec<Operation>,
        at: usize,
    },
    /// The same request again, or another one under the same id.
    Again {
        transaction: String,
        operations: Option<Vec<Operation>>,
        at: Option<usize>,
    },
    Begin {
        transaction: String,
        /// It is tried once more what was this.
        first: Option<String>,
        at: usize,
    },
    /// Locks accounts by their names, without doing anything.
    Lock {
        transaction: String,
        accounts: Vec<Operation>,
    },
    Execute {
        transaction: String,
        operations: Vec<Operation>,
    },
    Commit {
        transaction: String,
    },
    Abort {
        transaction: String,
    },
    Deliver(Selector),
    DeliverLate,
    Lose(Selector),
    Double(Selector),
    Delay(Selector),
    Settle,
    Wait(Span),
    /// Time passes, and no message arrives.
    Tick(Span),
    Flush(Vec<Place>),
    Crash {
        node: Place,
        keeping: usize,
    },
    Restart(Vec<Place>),
    Resolve {
        bank: usize,
        transaction: String,
        outcome: Outcome,
    },
    Acknowledge {
        bank: usize,
        transaction: String,
    },
    Remove {
        bank: usize,
        coordinator: usize,
        give_up: bool,
    },
    Checkpoint(Vec<Place>),
    Fill(Vec<Place>),
    Clear(Vec<Place>),
    Drain(Vec<Place>),
    Copy(usize),
    SetBack(usize),
    Look(Vec<Place>),
    Saga(SagaCommand),
}

/// Some of the messages on their way.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Selector {
    pub(crate) kind: Kind,
    pub(crate) transaction: Option<String>,
    pub(crate) from: Option<Place>,
    pub(crate) to: Option<Place>,
}

macro_rules! kinds {
    ($($kind:ident $one:literal $many:literal),* $(,)?) => {
        /// What a message is.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub(crate) enum Kind {
            #[default]
            Any,
            $($kind),*
        }

        const KINDS: &[(Kind, &str, &str)] =
            &[(Kind::Any, "message", "all"), $((Kind::$kind, $one, $many)),*];
    };
}

kinds! {
    Hello "hello" "hellos",
    Welcome "welcome" "welcomes",
    Work "work" "pieces",
    Result "result" "results",
    Prepare "prepare" "prepares",
    Vote "vote" "votes",
    Commit "commit" "commits",
    Abort "abort" "aborts",
    Acknowledgement "acknowledgement" "acknowledgements",
    Release "release" "releases",
    Released "released" "releasings",
    OnePhase "one-phase" "one-phases",
    Decision "decision" "decisions",
    Look "look" "looks",
    Sight "sight" "sights",
    WayOut "way-out" "ways-out",
    WayGiven "way-given" "ways-given",
    Inquiry "inquiry" "inquiries",
    Trace "trace" "traces",
    Refusal "refusal" "refusals",
    Question "question" "questions",
    Verdict "verdict" "verdicts",
    Report "report" "reports",
}

/// What commands there are, for who has mistyped one.
const COMMANDS: &str = "run, again, begin, execute, lock, commit, abort, deliver, lose, double, delay, \
                        settle, wait, tick, flush, crash, restart, resolve, acknowledge, remove, \
                        checkpoint, fill, clear, drain, copy, set-back, look, step, limit, start, \
                        cancel, resume";

impl Cluster {
    /// Reads the first line of a script.
    pub(crate) fn parse(line: &str) -> Result<Self, String> {
        let mut words = line.split_whitespace();
        if words.next() != Some("cluster") {
            return Err("a script begins with its cluster, such as `cluster banks=2`".to_owned());
        }
        let mut cluster = Self {
            banks: 0,
            coordinators: 1,
            remember: 50,
        };
        for word in words {
            let (field, number) = word.split_once('=').unwrap_or((word, ""));
            let number = |max: usize| match number.parse() {
                Ok(number) if (1..=max).contains(&number) => Ok(number),
                _ => Err(format!("{word}: want a number from 1 to {max}")),
            };
            match field {
                "banks" => cluster.banks = number(BANKS_MAX)?,
                "coordinators" => cluster.coordinators = number(COORDINATORS.len())?,
                "remember" => cluster.remember = number(50)?,
                _ => {
                    return Err(format!("{word}: want banks=, coordinators= or remember="));
                }
            }
        }
        if cluster.banks == 0 {
            return Err("how many banks? for example `cluster banks=2`".to_owned());
        }
        Ok(cluster)
    }

    /// What a node is called in stories.
    pub(crate) fn name(self, place: Place) -> String {
        match place {
            Place::Coordinator(_) if self.coordinators == 1 => "coordinator".to_owned(),
            Place::Coordinator(at) => COORDINATORS[at].to_owned(),
            Place::Participant(at) => char::from(b'a' + at as u8).to_string(),
        }
    }

    fn places(self) -> impl Iterator<Item = Place> {
        let coordinators = (0..self.coordinators).map(Place::Coordinator);
        coordinators.chain((0..self.banks).map(Place::Participant))
    }

    fn node(self, word: &str) -> Result<Place, String> {
        let mut places = self.places();
        places
            .find(|place| self.name(*place) == word)
            .ok_or_else(|| {
                let names: Vec<String> = self.places().map(|place| self.name(place)).collect();
                format!("no node is called `{word}`; here are {}", names.join(", "))
            })
    }

    fn bank(self, word: &str) -> Result<usize, String> {
        match self.node(word)? {
            Place::Participant(at) => Ok(at),
            Place::Coordinator(_) => Err(format!("`{word}` is no bank")),
        }
    }

    fn coordinator(self, word: &str) -> Result<usize, String> {
        match self.node(word)? {
            Place::Coordinator(at) => Ok(at),
            Place::Participant(_) => Err(format!("`{word}` is no coordinator")),
        }
    }

    fn nodes(self, words: &[&str]) -> Result<Vec<Place>, String> {
        if words.is_empty() {
            return Err("of which node?".to_owned());
        }
        words.iter().map(|word| self.node(word)).collect()
    }

    /// `a-10`, `b2+5`, `a` (read), each with `?` if the client says that it only
    /// reads.
    pub(super) fn operation(self, word: &str) -> Result<Operation, String> {
        let wrong = || {
            format!(
                "`{word}`: want a bank and what to do there, such as a-10, b+10, b2+10 \
                 (account 2) or a (read), and a `?` behind it if it is said to only read"
            )
        };
        let (body, marked) = match word.strip_suffix('?') {
            Some(body) => (body, true),
            None => (word, false),
        };
        let sign = body.find(['+', '-']).unwrap_or(body.len());
        let (account, amount) = body.split_at(sign);
        let (bank, account) = account.split_at_checked(1).ok_or_else(wrong)?;
        let bank = self.bank(bank)?;
        let account = match account {
            "" => 1,
            number => number.parse().map_err(|_| wrong())?,
        };
        let action = match amount {
            "" => Action::Read(account),
            // 32 bits, so that no sum of a story overflows.
            amount => {
                let amount: i32 = amount.parse().map_err(|_| wrong())?;
                Action::Add(account, amount.into())
            }
        };
        Ok((bank, action, marked))
    }

    fn operations(self, words: &[&str]) -> Result<Vec<Operation>, String> {
        if words.is_empty() {
            return Err("and what is it to do? for example a-10 b+10".to_owned());
        }
        words.iter().map(|word| self.operation(word)).collect()
    }

    /// Splits `… at north` off.
    fn place<'a>(self, words: &'a [&'a str]) -> Result<(&'a [&'a str], Option<usize>), String> {
        match words {
            [rest @ .., "at", coordinator] => Ok((rest, Some(self.coordinator(coordinator)?))),
            words => Ok((words, None)),
        }
    }

    fn selector(self, words: &[&str]) -> Result<Selector, String> {
        let [kind, rest @ ..] = words else {
            return Err("which messages? for example `votes`, or `commit to b`".to_owned());
        };
        let known = KINDS
            .iter()
            .find(|(_, one, many)| [*one, *many].contains(kind));
        let Some((kind, ..)) = known else {
            let kinds: Vec<&str> = KINDS.iter().map(|(.., many)| *many).collect();
            return Err(format!(
                "`{kind}` is no kind of message; there are {}",
                kinds.join(", ")
            ));
        };
        let mut selector = Selector {
            kind: *kind,
            ..Selector::default()
        };
        for pair in rest.chunks(2) {
            match *pair {
                ["from", node] => selector.from = Some(self.node(node)?),
                ["to", node] => selector.to = Some(self.node(node)?),
                ["of", transaction] => selector.transaction = Some((*transaction).to_owned()),
                _ => return Err(format!("`{}`: want from, to or of", pair.join(" "))),
            }
        }
        Ok(selector)
    }

    /// Reads one line.
    pub(crate) fn command(self, line: &str) -> Result<Command, String> {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [command, rest @ ..] = words.as_slice() else {
            return Err("an empty command".to_owned());
        };
        match *command {
            "step" | "limit" | "start" | "cancel" | "resume" => {
                Ok(Command::Saga(self.of_saga(command, rest)?))
            }
            "again" | "resolve" if rest.first().is_some_and(|word| is_saga(word)) => {
                Ok(Command::Saga(self.of_saga(command, rest)?))
            }
            "run" | "again" | "begin" | "execute" | "lock" | "commit" | "abort" => {
                self.of_client(command, rest)
            }
            "deliver" | "lose" | "double" | "delay" | "settle" | "wait" | "tick" => {
                self.of_network(command, rest)
            }
            "resolve" | "acknowledge" | "remove" => self.of_operator(command, rest),
            "flush" => Ok(Command::Flush(self.nodes(rest)?)),
            "crash" => self.crash(rest),
            "restart" => Ok(Command::Restart(self.nodes(rest)?)),
            "checkpoint" => Ok(Command::Checkpoint(self.nodes(rest)?)),
            "fill" => Ok(Command::Fill(self.nodes(rest)?)),
            "clear" => Ok(Command::Clear(self.nodes(rest)?)),
            "drain" => Ok(Command::Drain(self.nodes(rest)?)),
            "look" => Ok(Command::Look(self.nodes(rest)?)),
            "copy" | "set-back" => match rest {
                [bank] if *command == "copy" => Ok(Command::Copy(self.bank(bank)?)),
                [bank] => Ok(Command::SetBack(self.bank(bank)?)),
                _ => Err("of which bank?".to_owned()),
            },
            unknown => Err(format!("no command `{unknown}`; there are {COMMANDS}")),
        }
    }

    fn of_client(self, command: &str, words: &[&str]) -> Result<Command, String> {
        let [transaction, rest @ ..] = words else {
            return Err("which transaction? for example t1".to_owned());
        };
        let transaction = name(transaction)?;
        let (rest, at) = self.place(rest)?;
        Ok(match command {
            "run" => {
                let (first, rest) = match rest {
                    ["for", first, rest @ ..] => (Some(name(first)?), rest),
                    rest => (None, rest),
                };
                Command::Run {
                    transaction,
                    first,
                    operations: self.operations(rest)?,
                    at: at.unwrap_or(0),
                }
            }
            "again" => Command::Again {
                transaction,
                operations: match rest {
                    [] => None,
                    rest => Some(self.operations(rest)?),
                },
                at,
            },
            "execute" => Command::Execute {
                transaction,
                operations: self.operations(rest)?,
            },
            "lock" => Command::Lock {
                transaction,
                accounts: self.operations(rest)?,
            },
            "begin" => Command::Begin {
                transaction,
                first: match rest {
                    [] => None,
                    ["for", first] => Some(name(first)?),
                    rest => return Err(format!("`{}` is too much", rest.join(" "))),
                },
                at: at.unwrap_or(0),
            },
            _ if !rest.is_empty() => return Err(format!("`{}` is too much", rest.join(" "))),
            "commit" => Command::Commit { transaction },
            _ => Command::Abort { transaction },
        })
    }

    fn of_network(self, command: &str, words: &[&str]) -> Result<Command, String> {
        Ok(match (command, words) {
            ("deliver", ["late"]) => Command::DeliverLate,
            ("deliver", words) => Command::Deliver(self.selector(words)?),
            ("lose", words) => Command::Lose(self.selector(words)?),
            ("double", words) => Command::Double(self.selector(words)?),
            ("delay", words) => Command::Delay(self.selector(words)?),
            ("settle", []) => Command::Settle,
            ("wait", [span]) => Command::Wait(parse_span(span)?),
            ("tick", [span]) => Command::Tick(parse_span(span)?),
            ("wait" | "tick", _) => return Err("how long? for example 500ms or 10s".to_owned()),
            (_, words) => return Err(format!("`{}` is too much", words.join(" "))),
        })
    }

    fn of_operator(self, command: &str, words: &[&str]) -> Result<Command, String> {
        Ok(match (command, words) {
            ("resolve", [bank, transaction, outcome]) => Command::Resolve {
                bank: self.bank(bank)?,
                transaction: name(transaction)?,
                outcome: match *outcome {
                    "commit" => Outcome::Committed,
                    "abort" => Outcome::Aborted,
                    other => return Err(format!("`{other}`: want commit or abort")),
                },
            },
            ("acknowledge", ["damage", "of", transaction, "at", bank]) => Command::Acknowledge {
                bank: self.bank(bank)?,
                transaction: name(transaction)?,
            },
            ("remove", [bank, rest @ ..]) => {
                let (rest, at) = self.place(rest)?;
                Command::Remove {
                    bank: self.bank(bank)?,
                    coordinator: at.unwrap_or(0),
                    give_up: match rest {
                        [] => false,
                        ["giving", "up"] => true,
                        other => return Err(format!("`{}`: want giving up", other.join(" "))),
                    },
                }
            }
            ("resolve", _) => return Err("want `resolve b t1 commit` or abort".to_owned()),
            ("acknowledge", _) => return Err("want `acknowledge damage of t1 at b`".to_owned()),
            _ => return Err("want `remove b`, perhaps `giving up`".to_owned()),
        })
    }

    fn crash(self, words: &[&str]) -> Result<Command, String> {
        match words {
            [node] => Ok(Command::Crash {
                node: self.node(node)?,
                keeping: 0,
            }),
            [node, "keeping", count] => Ok(Command::Crash {
                node: self.node(node)?,
                keeping: count
                    .parse()
                    .map_err(|_| format!("`{count}` is no number"))?,
            }),
            _ => {
                Err("want `crash b`, perhaps `keeping 1` of the records not yet flushed".to_owned())
            }
        }
    }
}

/// `t1`, `t2` …
fn name(word: &str) -> Result<String, String> {
    let number = word.strip_prefix('t').filter(|number| !number.is_empty());
    match number {
        Some(number) if number.bytes().all(|byte| byte.is_ascii_digit()) => Ok(word.to_owned()),
        _ => Err(format!(
            "`{word}`: transactions are called t1, t2 and so on"
        )),
    }
}

pub(super) fn parse_span(word: &str) -> Result<Span, String> {
    let (number, unit) = match word.strip_suffix("ms") {
        Some(number) => (number, 1),
        None => (word.strip_suffix('s').unwrap_or(word), 1_000),
    };
    match number.parse::<u64>() {
        Ok(number) if word.ends_with('s') && (1..=SECONDS_MAX).contains(&number) => {
            Ok(Span(number * unit))
        }
        _ => Err(format!("`{word}`: want a time such as 500ms or 10s")),
    }
}
