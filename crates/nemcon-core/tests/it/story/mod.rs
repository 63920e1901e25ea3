//! Golden scripts: stories that teach the protocol and hold it to what they tell.
//!
//! A story is a file in `stories/`: its lesson, a script, and under `---` the account
//! of what happened. Real machines act it out in the world of these tests, and
//! every invariant is checked after each step. `UPDATE_STORIES=1` writes the
//! accounts anew; read what changed before it is committed.

mod account;
mod sagas;
mod script;
mod stage;
mod words;

use std::fs;
use std::path::{Path, PathBuf};

use script::Cluster;
use stage::Stage;

/// What came of a command stands under it.
const INDENT: &str = "    ";

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/stories")
}

/// All stories, by name.
fn stories() -> Vec<(String, String)> {
    let files = fs::read_dir(directory()).expect("the stories");
    let mut stories: Vec<(String, String)> = files
        .map(|file| file.expect("a story").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "txt"))
        .map(|path| {
            let name = path.file_stem().expect("a name").to_string_lossy();
            let text = fs::read_to_string(&path).expect("a text");
            (name.into_owned(), text)
        })
        .collect();
    stories.sort();
    stories
}

/// What stands above the line, and what below.
fn halves(text: &str) -> (&str, Option<&str>) {
    match text.split_once("\n---\n") {
        Some((script, account)) => (script, Some(account)),
        None => (text, None),
    }
}

/// Acts a script out and gives its account.
///
/// # Errors
/// What is wrong, and in which line.
fn tell(script: &str) -> Result<String, String> {
    let mut stage: Option<(Cluster, Stage)> = None;
    let mut account = String::new();
    let mut say = |line: &str| {
        account.push_str(line);
        account.push('\n');
    };
    for (line, number) in script.lines().zip(1..) {
        let command = line.trim();
        if command.is_empty() || command.starts_with('#') {
            continue;
        }
        let placed = |error: String| format!("{number}: {command}: {error}");
        let Some((cluster, stage)) = &mut stage else {
            let cluster = Cluster::parse(command).map_err(placed)?;
            stage = Some((cluster, Stage::new(cluster)));
            continue;
        };
        let parsed = cluster.command(command).map_err(placed)?;
        say(command);
        for line in stage.perform(parsed).map_err(placed)? {
            say(&format!("{INDENT}{line}"));
        }
    }
    let Some((_, mut stage)) = stage else {
        return Err("1: the script is empty".to_owned());
    };
    say("in the end");
    for line in stage.ending() {
        say(&format!("{INDENT}{line}"));
    }
    Ok(account)
}

#[test]
fn every_story_goes_as_it_is_told() {
    let update = std::env::var_os("UPDATE_STORIES").is_some_and(|value| value == "1");
    let mut wrong = Vec::new();
    for (name, text) in stories() {
        let (script, told) = halves(&text);
        let account = match tell(script) {
            Ok(account) => account,
            Err(error) => {
                wrong.push(format!("stories/{name}.txt:{error}"));
                continue;
            }
        };
        if told == Some(account.as_str()) {
            continue;
        }
        if update {
            let text = format!("{}\n---\n{account}", script.trim_end());
            fs::write(directory().join(format!("{name}.txt")), text).expect("written");
        } else {
            let difference = difference(told.unwrap_or_default(), &account);
            wrong.push(format!("stories/{name}.txt goes otherwise:\n{difference}"));
        }
    }
    assert!(
        wrong.is_empty(),
        "{}\nIf that is as it should be: UPDATE_STORIES=1 cargo test -p nemcon-core story",
        wrong.join("\n")
    );
}

/// The page that leads readers through the stories.
fn guide() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/protocol-by-example.md");
    fs::read_to_string(path).expect("docs/protocol-by-example.md")
}

#[test]
fn the_guide_leads_to_every_story_once() {
    let guide = guide();
    let stories = stories();
    for (name, _) in &stories {
        let link = format!("(../crates/nemcon-core/tests/it/stories/{name}.txt)");
        let links = guide.matches(&link).count();
        assert_eq!(
            links, 1,
            "docs/protocol-by-example.md has {links} links to {name}.txt"
        );
    }
    let links = guide.matches("tests/it/stories/").count();
    let directory = 1;
    assert_eq!(
        links,
        stories.len() + directory,
        "it leads to a story that is not there"
    );
}

#[test]
fn the_guide_shows_the_first_story_as_it_is() {
    let guide = guide();
    let (_, first) = stories()
        .into_iter()
        .find(|(name, _)| name == "everyone_says_yes")
        .expect("the first story");
    let quoted = |line: &str| match line {
        "" => "\n".to_owned(),
        line => format!("{INDENT}{line}\n"),
    };
    let quoted: String = first.lines().map(quoted).collect();
    assert!(guide.contains(&quoted), "it should be quoted so:\n{quoted}");
}

#[test]
fn every_story_begins_with_its_lesson() {
    for (name, text) in stories() {
        let lesson = text
            .lines()
            .take_while(|line| line.starts_with("# "))
            .count();
        assert!(
            (2..=5).contains(&lesson),
            "{name}.txt has a lesson of {lesson} lines"
        );
        let (script, _) = halves(&text);
        let widest = script.lines().map(|line| line.chars().count()).max();
        assert!(
            widest <= Some(88),
            "a line of {name}.txt is {widest:?} wide"
        );
    }
}

/// Scripts, and what their author is told. Where no cluster is said it is one of two
/// banks, and the mistake is in the last line.
const MISTAKES: &[(&str, &str)] = &[
    ("", "1: the script is empty"),
    (
        "run t1 a-1",
        "1: run t1 a-1: a script begins with its cluster, such as `cluster banks=2`",
    ),
    (
        "cluster",
        "1: cluster: how many banks? for example `cluster banks=2`",
    ),
    (
        "cluster banks=9",
        "1: cluster banks=9: banks=9: want a number from 1 to 4",
    ),
    (
        "cluster banks",
        "1: cluster banks: banks: want a number from 1 to 4",
    ),
    (
        "cluster bans=1",
        "1: cluster bans=1: bans=1: want banks=, coordinators= or remember=",
    ),
    (
        "deliver vots",
        "`vots` is no kind of message; there are all, hellos",
    ),
    (
        "deliver",
        "which messages? for example `votes`, or `commit to b`",
    ),
    ("deliver votes to", "`to`: want from, to or of"),
    ("deliver votes by b", "`by b`: want from, to or of"),
    ("deliver votes", "no message is on its way"),
    (
        "run t1 a-1 b+1\ndeliver votes",
        "no such message is on its way; there are [coordinator → a: prepare t1]",
    ),
    ("deliver late", "nothing is late"),
    ("flusch a", "no command `flusch`; there are run, again"),
    ("flush", "of which node?"),
    (
        "flush c",
        "no node is called `c`; here are coordinator, a, b",
    ),
    ("resolve coordinator t1 abort", "`coordinator` is no bank"),
    ("resolve a t1 perhaps", "`perhaps`: want commit or abort"),
    ("resolve a t1 abort", "nothing was told of t1 so far"),
    ("run x a-1", "`x`: transactions are called t1, t2 and so on"),
    ("run t1", "and what is it to do? for example a-10 b+10"),
    ("run t1 a-1x", "`a-1x`: want a bank and what to do there"),
    ("run t1 ä+1", "`ä+1`: want a bank and what to do there"),
    (
        "run t1 a+9999999999",
        "`a+9999999999`: want a bank and what to do there",
    ),
    (
        "run t1 a999+1",
        "`a999+1`: want a bank and what to do there",
    ),
    (
        "run t1 a-1\nrun t1 a-1",
        "t1 has been told; `again` repeats it",
    ),
    (
        "run t1 a-1\ncommit t1",
        "t1 is one-shot: it was all in `run`",
    ),
    ("run t1 a-1 at a", "`a` is no coordinator"),
    ("begin t1 a-1", "`a-1` is too much"),
    (
        "begin t1\nagain t1",
        "t1 is interactive: want commit or abort",
    ),
    ("wait", "how long? for example 500ms or 10s"),
    ("wait 10", "`10`: want a time such as 500ms or 10s"),
    (
        "wait 99999999999999999999s",
        "want a time such as 500ms or 10s",
    ),
    ("settle now", "`now` is too much"),
    ("crash coordinator\nrun t1 a-1", "coordinator is down"),
    ("crash a\ncrash a", "a is down"),
    ("crash a keeping some", "`some` is no number"),
    ("restart a", "a is up"),
    ("set-back a", "no copy was made of a"),
    ("remove a please", "`please`: want giving up"),
    ("start", "which saga? for example s1"),
    ("start x", "`x`: sagas are called s1, s2 and so on"),
    ("start s1", "s1 has no steps: want `step s1 hotel a-10`"),
    ("start s1 now", "`now` is too much"),
    ("step s1", "want `step s1 hotel a-10`"),
    (
        "step s1 hotel a-10 tries some",
        "`some`: want `step s1 hotel",
    ),
    ("step s1 hotel a-10 within", "`within`: want `step s1 hotel"),
    (
        "step s1 hotel a-x",
        "`a-x`: want a bank and what to do there",
    ),
    (
        "step s1 hotel a-10\nstart s1",
        "step hotel has no compensation",
    ),
    (
        "step s1 hotel a-10 pivot\nagain s1",
        "s1 has not been started",
    ),
    (
        "step s1 hotel a-10 pivot\nstart s1\nstart s1",
        "s1 has been started; `again` repeats it",
    ),
    ("cancel s1", "s1 has not been started"),
    ("limit s1", "how long? for example `limit s1 60s`"),
    ("resolve s1 hotel", "want `resolve s1 hotel compensated`"),
    (
        "resolve s1 hotel perhaps",
        "`perhaps`: want done, compensated or retry",
    ),
];

#[test]
fn a_wrong_script_is_told_where_and_what_is_wrong() {
    for (script, wanted) in MISTAKES {
        let script = match *script {
            "" => String::new(),
            script if script.starts_with("cluster") || wanted.starts_with('1') => script.to_owned(),
            script => format!("cluster banks=2\n{script}"),
        };
        let error = tell(&script).expect_err(&script);
        assert!(
            error.contains(wanted),
            "{script:?}: {error:?}, want {wanted:?}"
        );
        let line = script.lines().count().max(1);
        assert!(
            error.starts_with(&format!("{line}: ")),
            "{error:?} is about line {line}"
        );
    }
}

#[test]
fn a_story_that_goes_otherwise_shows_where() {
    let told = "one\ntwo\nthree\nfour\nfive\nsix\nseven\neight\n";
    let went = "one\ntwo\nthree\nfour\n5\nsix\nseven\neight\nnine\n";
    let shown = "  two\n  three\n  four\n- five\n+ 5\n  six\n  seven\n  eight\n+ nine\n";
    assert_eq!(difference(told, went), shown);
    assert_eq!(difference(told, told), "");
}

/// The lines that differ, `-` as told and `+` as it went, with those around them.
fn difference(told: &str, went: &str) -> String {
    let (told, went): (Vec<&str>, Vec<&str>) = (told.lines().collect(), went.lines().collect());
    // Longest common rest of both, from every pair of places.
    let mut common = vec![vec![0_usize; went.len() + 1]; told.len() + 1];
    for a in (0..told.len()).rev() {
        for b in (0..went.len()).rev() {
            common[a][b] = if told[a] == went[b] {
                common[a + 1][b + 1] + 1
            } else {
                common[a + 1][b].max(common[a][b + 1])
            };
        }
    }
    let (mut a, mut b, mut lines) = (0, 0, Vec::new());
    while a < told.len() || b < went.len() {
        if a < told.len() && b < went.len() && told[a] == went[b] {
            lines.push((' ', told[a]));
            (a, b) = (a + 1, b + 1);
        } else if b == went.len() || (a < told.len() && common[a + 1][b] >= common[a][b + 1]) {
            lines.push(('-', told[a]));
            a += 1;
        } else {
            lines.push(('+', went[b]));
            b += 1;
        }
    }
    let near = |at: usize| {
        let around = &lines[at.saturating_sub(3)..lines.len().min(at + 4)];
        around.iter().any(|(sign, _)| *sign != ' ')
    };
    let shown = (0..lines.len()).filter(|at| near(*at));
    shown
        .map(|at| format!("{} {}\n", lines[at].0, lines[at].1))
        .collect()
}
