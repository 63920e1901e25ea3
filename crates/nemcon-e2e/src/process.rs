//! A child process that cannot be lost.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::patience::until;

/// How much of a process's output a failed test shows.
const TAIL_LINES: usize = 40;

/// How long a process may take to notice a signal that it cannot refuse.
const SIGNAL_MAX: Duration = Duration::from_secs(5);

/// Held while a child is made, and while a port is looked at.
///
/// Until it has become another program, a child has a copy of every socket of
/// ours. A port that is let go in that moment stays taken a little longer, and
/// whoever was told that it is free finds that it is not.
static FORK: Mutex<()> = Mutex::new(());

/// Keeps children from being made for as long as it is held.
pub(crate) fn no_child_is_made() -> MutexGuard<'static, ()> {
    FORK.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Starts a program: when this returns, the child is that program.
pub(crate) fn spawn(command: &mut Command) -> io::Result<Child> {
    let _guard = no_child_is_made();
    command.spawn()
}

/// What a process can be told. SIGKILL is not among them: see [`Process::kill`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// Freeze. Connections stay open, and nobody answers.
    Stop,
    /// Go on.
    Continue,
    /// End in good order.
    Terminate,
}

impl Signal {
    const fn name(self) -> &'static str {
        match self {
            Self::Stop => "STOP",
            Self::Continue => "CONT",
            Self::Terminate => "TERM",
        }
    }
}

/// A running program, its output in files.
///
/// Dropped, it is killed; and if that is because the test fails, the end of its
/// output is shown.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    stdout: PathBuf,
    stderr: PathBuf,
}

impl Process {
    /// Starts a program. Its output is added to `NAME.out` and `NAME.err` in
    /// `dir`. Of the environment it gets nothing that would change its settings,
    /// but what the command itself says.
    ///
    /// # Panics
    /// If it cannot be started.
    #[must_use]
    pub fn spawn(name: &str, command: &mut Command, dir: &Path) -> Self {
        let stdout = dir.join(format!("{name}.out"));
        let stderr = dir.join(format!("{name}.err"));
        for (key, _) in std::env::vars_os() {
            let is_said = command.get_envs().any(|(said, _)| said == key);
            if key.to_string_lossy().starts_with("NEMCON_") && !is_said {
                command.env_remove(key);
            }
        }
        command
            .stdin(Stdio::null())
            .stdout(append(&stdout))
            .stderr(append(&stderr));
        let child = spawn(command)
            .unwrap_or_else(|error| panic!("cannot start {name}, {command:?}: {error}"));
        Self {
            name: name.to_owned(),
            child,
            stdout,
            stderr,
        }
    }

    /// Kills it with SIGKILL and waits until it is gone. Nothing if it has ended.
    pub fn kill(&mut self) {
        // An error means that it has ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Sends a signal.
    ///
    /// # Panics
    /// If that cannot be done, say because the process has ended.
    pub fn signal(&self, signal: Signal) {
        // By the shell's own kill: the standard library can only send SIGKILL.
        let line = format!("kill -{} {}", signal.name(), self.child.id());
        let status =
            spawn(Command::new("sh").args(["-c", &line])).and_then(|mut shell| shell.wait());
        let sent = status.as_ref().is_ok_and(ExitStatus::success);
        assert!(sent, "{}: {line}: {status:?}", self.name);
    }

    /// Freezes it, and waits until it is frozen.
    ///
    /// # Panics
    /// If that cannot be done.
    pub async fn pause(&self) {
        self.signal(Signal::Stop);
        let tasks = format!("/proc/{}/task", self.child.id());
        let what = format!("{} is frozen", self.name);
        until(&what, SIGNAL_MAX, async || match awake(&tasks) {
            Some(thread) => Err(thread),
            None => Ok(()),
        })
        .await;
    }

    /// Lets it go on.
    ///
    /// # Panics
    /// If that cannot be done.
    pub fn resume(&self) {
        self.signal(Signal::Continue);
    }

    /// How it ended, if it has.
    ///
    /// # Panics
    /// If the operating system does not say.
    pub fn status(&mut self) -> Option<ExitStatus> {
        let status = self.child.try_wait();
        status.unwrap_or_else(|error| panic!("cannot look after {}: {error}", self.name))
    }

    /// Its memory, as far as it is resident.
    ///
    /// # Panics
    /// If it has ended, or the operating system does not say.
    #[must_use]
    pub fn memory_bytes(&self) -> u64 {
        let path = format!("/proc/{}/status", self.child.id());
        let status = fs::read_to_string(&path).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
        kib.map(|kib| kib * 1_024)
            .unwrap_or_else(|| panic!("{}: no VmRSS in {path}: {status:?}", self.name))
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// If it does not end within that time.
    pub async fn ended(&mut self, within: Duration) -> ExitStatus {
        let what = format!("{} has ended", self.name);
        until(&what, within, async || self.status().ok_or("it runs")).await
    }

    /// What it wrote to its standard output, this life and those before.
    #[must_use]
    pub fn stdout(&self) -> String {
        read(&self.stdout)
    }

    /// What it wrote to its standard error, this life and those before.
    #[must_use]
    pub fn stderr(&self) -> String {
        read(&self.stderr)
    }

    /// The end of all it wrote.
    #[must_use]
    pub fn tail(&self) -> String {
        let (out, err) = (self.stdout(), self.stderr());
        let end = |text: &str| {
            let lines: Vec<&str> = text.lines().collect();
            lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n")
        };
        format!("---- {} ----\n{}\n{}", self.name, end(&out), end(&err))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            eprintln!("{}", self.tail());
        }
    }
}

/// A thread that is not frozen, if there is one.
fn awake(tasks: &str) -> Option<String> {
    let threads = fs::read_dir(tasks).into_iter().flatten().flatten();
    threads
        .map(|thread| read(&thread.path().join("stat")))
        // PID (NAME) STATE …; the name may hold anything but the last bracket.
        .find(|stat| {
            !stat
                .rsplit(')')
                .next()
                .unwrap_or_default()
                .starts_with(" T")
        })
}

fn append(path: &Path) -> File {
    let file = OpenOptions::new().create(true).append(true).open(path);
    file.unwrap_or_else(|error| panic!("cannot write {}: {error}", path.display()))
}

/// Lossily: the process may be in the middle of a character.
fn read(path: &Path) -> String {
    String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(flavor = "current_thread")]
    async fn a_process_can_be_frozen_and_asked_to_end() {
        let dir = std::env::temp_dir().join(format!("nemcon-e2e-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        let mut command = Command::new("sh");
        command.args([
            "-c",
            "trap 'echo bye; exit 7' TERM; echo hello; while :; do sleep 0.01; done",
        ]);
        let mut process = Process::spawn("shell", &mut command, &dir);
        let deadline = Duration::from_secs(10);
        until("it speaks", deadline, async || {
            match process.stdout().as_str() {
                "hello\n" => Ok(()),
                other => Err(other.to_owned()),
            }
        })
        .await;
        process.pause().await;
        process.signal(Signal::Terminate);
        assert_eq!(process.status(), None, "it is frozen");
        process.resume();
        assert_eq!(process.ended(deadline).await.code(), Some(7));
        assert_eq!(process.stdout(), "hello\nbye\n");
        assert!(process.tail().contains("---- shell ----\nhello\nbye"));
        fs::remove_dir_all(dir).unwrap();
    }
}
