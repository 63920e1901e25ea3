//! Lists of what a coordinator runs or remembers: of transactions, of sagas.

use clap::{Args, ValueEnum};
use nemcon_proto::convert::{LIST_MAX, Paged, Wanted};
use prost::{Message, Name};
use serde_json::{Value, json};

use crate::failure::{Exit, Failure};
use crate::json::{self, Types};
use crate::out::say;
use crate::table::Table;

/// What to list, by states that the command line calls `S`.
#[derive(Debug, Args)]
pub(crate) struct Listing<S: ValueEnum + Send + Sync + 'static> {
    /// Only those in this state; can be given several times
    #[arg(long = "state", value_name = "STATE", ignore_case = true)]
    states: Vec<S>,
    /// How many
    #[arg(long, value_name = "N", default_value_t = 50,
        value_parser = clap::value_parser!(u32).range(1..=i64::from(LIST_MAX)))]
    limit: u32,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl<S: ValueEnum + Send + Sync + 'static> Listing<S> {
    /// The newest of them.
    pub(crate) fn wanted<T: From<S>, I>(&self) -> Wanted<T, I> {
        Wanted {
            states: self.states.iter().cloned().map(Into::into).collect(),
            below: None,
            max: Some(self.limit),
        }
    }

    /// Prints a page: as JSON a list under a key, or a table of rows.
    pub(crate) fn print<V, I, M: Message + Name + From<V>>(
        self,
        page: Paged<V, I>,
        key: &str,
        table: impl FnOnce(&[V]) -> Table,
    ) -> Result<Exit, Failure> {
        if self.json {
            let types = Types::new()?;
            let views = page.views.into_iter();
            let written: Result<Vec<Value>, _> =
                views.map(|view| types.write(&M::from(view))).collect();
            json::print(&json!({ key: written? }));
            return Ok(Exit::Done);
        }
        say!("{}", table(&page.views));
        if page.below.is_some() {
            eprintln!("There are more; --limit takes up to {LIST_MAX}.");
        }
        Ok(Exit::Done)
    }
}
