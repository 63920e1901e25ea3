//! `nemcon participants check`: plays a coordinator against a participant, in any
//! language, and says which of its promises it breaks.
//!
//! ```text
//!   rules/ ── stories ──▶ stage ── line ──▶ the participant
//!                           │                     │ in doubt: what became of it?
//!                           └───── oracle ◀───────┘
//! ```
//!
//! - [`subject`]: who is checked, and with which actions;
//! - [`rule`]: what a rule is; [`rules`]: all of them, a chapter to a file;
//! - [`stage`]: the coordinator that is played, and what stories are made of;
//!   [`pieces`]: the same for interactive work and waits;
//! - [`mod@line`]: the calls; [`oracle`]: the answers to one in doubt.
//!
//! Only what a participant says, and what its own data say when they are read, is
//! judged: nothing has to be known of how it is made.

mod line;
mod oracle;
mod pieces;
mod rule;
mod rules;
mod stage;
mod subject;

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use nemcon_client::Address;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::failure::{Exit, Failure};
use crate::out::say;

use self::rule::{Ended, Rule, Told};
use self::rules::{CHAPTERS, RESTART, restart};
use self::stage::Stage;

/// End of the help text.
pub(crate) const HELP: &str = "\
What is checked is written down, rule by rule, in docs/write-a-participant.md. Use a participant \
with data for trying: --write is committed for good, many times. It may be registered at real \
coordinators meanwhile; this one is another.

For the last chapter it asks you to kill the participant and to start it again, with kill -9 and \
the same data. --without-restart leaves that chapter out.

Exit codes: 0 all rules that were tried are kept, 1 one is broken, 4 the participant does not \
answer.

Example, for a bank with an account:
  nemcon participants check http://127.0.0.1:7110 \\
      --write '{\"@type\": \"type.googleapis.com/nemcon.bank.v1.Deposit\", \"account\": \"alice\",
                \"amountMinor\": 1, \"currency\": \"CZK\", \"contra\": \"CONTRA_CASH\"}' \\
      --read '{\"@type\": \"type.googleapis.com/nemcon.bank.v1.Read\", \"account\": \"alice\"}' \\
      --refused '{\"@type\": \"type.googleapis.com/nemcon.bank.v1.Deposit\", \"account\": \"nobody\",
                  \"amountMinor\": 1, \"currency\": \"CZK\"}' \\
      --lock alice";

/// Whom to check, and with what.
#[derive(Debug, Args)]
pub(crate) struct Check {
    /// Where the participant is
    #[arg(value_name = "URL")]
    url: Address,
    /// An action that always commits, and changes what --read gives each time
    #[arg(long, value_name = "JSON")]
    write: String,
    /// An action that reads what --write changes
    #[arg(long, value_name = "JSON")]
    read: String,
    /// An action that is always refused for a reason of the business
    #[arg(long, value_name = "JSON")]
    refused: Option<String>,
    /// The name of a key that --write locks, as clients lock it by name
    #[arg(long, value_name = "NAME")]
    lock: Option<String>,
    /// A descriptor set with the types of the actions (protoc --include_imports
    /// --descriptor_set_out); the bank's are known
    #[arg(long, value_name = "FILE")]
    descriptors: Option<PathBuf>,
    /// The id it registers with [default: the coordinator is asked]
    #[arg(long, value_name = "UUID")]
    participant_id: Option<String>,
    /// Name or address under which the participant reaches this machine
    #[arg(long, value_name = "HOST", default_value = "127.0.0.1")]
    host: String,
    /// How long to wait for the restart
    #[arg(long, value_name = "N", default_value_t = 120, value_parser = clap::value_parser!(u64).range(1..=3_600))]
    restart_wait_seconds: u64,
    /// Leave out the rules that need a restart
    #[arg(long)]
    without_restart: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// How one rule turned out.
struct Finding {
    rule: Rule,
    ended: Told,
}

/// Checks a participant.
pub(crate) async fn run(arguments: Check, coordinator: &Address) -> Result<Exit, Failure> {
    let mut stage = subject::meet(&arguments, coordinator).await?;
    let mut report = Report::new(arguments.json);
    match tried(&arguments, &mut stage, &mut report).await {
        Ok(()) => Ok(report.close()),
        Err(Gone(why)) => Err(subject::silent(&arguments, why)),
    }
}

/// The participant has gone: what comes after would be found of nobody.
struct Gone(String);

/// Tries all rules.
async fn tried(arguments: &Check, stage: &mut Stage, report: &mut Report) -> Result<(), Gone> {
    for (chapter, rules) in CHAPTERS {
        report.begin(chapter);
        for rule in *rules {
            let ended = (rule.story)(stage).await;
            // What a story left is swept up before the next; only silence matters.
            let swept = stage.clear().await;
            report.add(*rule, ended.and(swept))?;
        }
    }
    report.begin(RESTART);
    let set = if arguments.without_restart {
        Err(Ended::Skipped("--without-restart"))
    } else {
        restart::set(stage).await
    };
    if set.is_ok() {
        restarted(arguments, stage).await?;
    }
    for rule in restart::RULES {
        let ended = match &set {
            Ok(()) => (rule.story)(stage).await,
            Err(ended) => Err(ended.clone()),
        };
        report.add(*rule, ended)?;
    }
    // It has answered all that matters.
    let _ = stage.clear().await;
    Ok(())
}

/// Waits until the operator has killed the participant and started it again.
async fn restarted(arguments: &Check, stage: &mut Stage) -> Result<(), Gone> {
    const LOOK_EVERY: Duration = Duration::from_millis(200);
    let seconds = arguments.restart_wait_seconds;
    eprintln!(
        "Now kill the participant at {} (kill -9) and start it again with the same data; waiting \
         {seconds} s.",
        arguments.url
    );
    let until = Instant::now() + Duration::from_secs(seconds);
    loop {
        // While it is down there is no answer, which is what is waited for.
        if let Ok(boot) = stage.hello().await
            && boot != stage.boot
        {
            restart::is_back(stage, boot);
            return Ok(());
        }
        if Instant::now() >= until {
            return Err(Gone(format!(
                "it was not restarted within {seconds} s, or still says boot {}; \
                 --without-restart leaves these rules out",
                stage.boot
            )));
        }
        sleep(LOOK_EVERY).await;
    }
}

/// What has been found, told as it comes.
struct Report {
    json: bool,
    chapter: &'static str,
    findings: Vec<(&'static str, Finding)>,
}

impl Report {
    const fn new(json: bool) -> Self {
        Self {
            json,
            chapter: "",
            findings: Vec::new(),
        }
    }

    fn begin(&mut self, chapter: &'static str) {
        self.chapter = chapter;
        if !self.json {
            say!("{chapter}");
        }
    }

    /// Takes a finding down.
    fn add(&mut self, rule: Rule, ended: Told) -> Result<(), Gone> {
        if let Err(Ended::Silent(why)) = &ended {
            return Err(Gone(format!("in the story of {}: {why}", rule.name)));
        }
        let finding = Finding { rule, ended };
        if !self.json {
            say!("{}", finding.line());
        }
        self.findings.push((self.chapter, finding));
        Ok(())
    }

    fn count(&self, which: impl Fn(&Told) -> bool) -> usize {
        let findings = self.findings.iter();
        findings
            .filter(|(_, finding)| which(&finding.ended))
            .count()
    }

    fn close(self) -> Exit {
        let kept = self.count(Result::is_ok);
        let broken = self.count(|ended| matches!(ended, Err(Ended::Broken(_))));
        let skipped = self.findings.len() - kept - broken;
        if self.json {
            let rules: Vec<Value> = self.findings.iter().map(written).collect();
            crate::json::print(&json!({
                "rules": rules, "kept": kept, "broken": broken, "not_tried": skipped,
            }));
        } else {
            say!("\n{kept} kept, {broken} broken, {skipped} not tried");
        }
        if broken == 0 {
            Exit::Done
        } else {
            Exit::Refused
        }
    }
}

impl Finding {
    /// A line for people, and what went wrong below it.
    fn line(&self) -> String {
        let Rule { name, says, .. } = self.rule;
        match &self.ended {
            Ok(()) => format!("  kept    {name:<24} {says}"),
            Err(Ended::Skipped(why)) => format!("  -       {name:<24} not tried: {why}"),
            Err(Ended::Broken(how) | Ended::Silent(how)) => {
                format!("  BROKEN  {name:<24} {says}\n          {how}")
            }
        }
    }
}

/// A finding for programs.
fn written((chapter, Finding { rule, ended }): &(&str, Finding)) -> Value {
    let (result, why) = match ended {
        Ok(()) => ("kept", None),
        Err(Ended::Skipped(why)) => ("not tried", Some((*why).to_owned())),
        Err(Ended::Broken(how) | Ended::Silent(how)) => ("broken", Some(how.clone())),
    };
    json!({
        "chapter": chapter, "rule": rule.name, "says": rule.says, "result": result, "why": why,
    })
}
