//! The output of a program as a secret.

use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::AsyncReadExt;
use tokio::process::{Child, Command};
use zeroize::Zeroizing;

use crate::credential::{Cause, SECRET_MAX, trimmed};
use crate::secret::Secret;

/// What the program gets of the gateway's environment. The rest may hold other secrets.
const ENVIRONMENT: [&str; 4] = ["PATH", "HOME", "LANG", "USER"];

/// Kills the program and all it has started, however this ends.
struct Group(Option<Pid>);

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            // It may be gone already.
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

/// Runs `argv` and takes its standard output, without the line ends after it. Its standard
/// error is not looked at: a program may write the secret there.
pub(super) async fn run(argv: &[String], limit: Duration) -> Result<Secret, Cause> {
    let Some((program, arguments)) = argv.split_first() else {
        return Err(Cause::Empty);
    };
    let failed = |what: String| Cause::Fetch {
        brief: "the command that prints its secret failed".to_owned(),
        detail: format!("`{program}` {what}"),
    };
    let kept = ENVIRONMENT
        .iter()
        .filter_map(|name| Some((name, std::env::var_os(name)?)));
    let child = Command::new(program)
        .args(arguments)
        .env_clear()
        .envs(kept)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .process_group(0)
        .kill_on_drop(true)
        .spawn();
    let mut child = child.map_err(|error| {
        failed(format!(
            "cannot be run ({error}): `command` needs a program that this user may execute"
        ))
    })?;
    let id = child.id().and_then(|id| i32::try_from(id).ok());
    let group = Group(id.and_then(Pid::from_raw));
    let ended = tokio::time::timeout(limit, output(&mut child)).await;
    drop(group);
    let (status, output) = ended
        .map_err(|_| {
            failed(format!(
                "did not end within {limit:?} and was killed: run it by hand, or raise `timeout`"
            ))
        })?
        .map_err(|error| failed(format!("could not be read from: {error}")))?;
    if !status.success() {
        return Err(failed(format!(
            "ended with {status}: run it by hand as the gateway's user to see why"
        )));
    }
    trimmed(&output)
}

async fn output(child: &mut Child) -> std::io::Result<(ExitStatus, Zeroizing<Vec<u8>>)> {
    // Room for all that is read, so that no copy is left behind by growing.
    let mut bytes = Zeroizing::new(Vec::with_capacity(SECRET_MAX + 64));
    if let Some(stdout) = child.stdout.take() {
        let limit = u64::try_from(SECRET_MAX + 1).unwrap_or(u64::MAX);
        let mut stdout = stdout.take(limit);
        #[expect(clippy::disallowed_methods, reason = "it has a limit")]
        stdout.read_to_end(&mut bytes).await?;
        if bytes.len() > SECRET_MAX {
            // It may wait for somebody to read on.
            child.start_kill()?;
            return Ok((ExitStatus::default(), bytes));
        }
    }
    Ok((child.wait().await?, bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn shell(script: &str, limit: Duration) -> Result<Secret, Cause> {
        run(&["/bin/sh".into(), "-c".into(), script.into()], limit).await
    }

    const LONG: Duration = Duration::from_secs(60);

    #[tokio::test]
    async fn the_output_is_the_secret() {
        let argv = ["/bin/echo".to_owned(), "$HOME; hunter2".to_owned()];
        let secret = run(&argv, LONG).await.unwrap();
        assert_eq!(secret.expose(), b"$HOME; hunter2", "no shell, no newline");
    }

    #[tokio::test]
    async fn the_environment_is_minimal() {
        let secret = run(&["/usr/bin/env".to_owned()], LONG).await.unwrap();
        let text = String::from_utf8_lossy(secret.expose()).into_owned();
        for line in text.lines() {
            let name = line.split('=').next().unwrap();
            assert!(ENVIRONMENT.contains(&name), "{name}");
        }
    }

    #[tokio::test]
    async fn failures_are_told_without_the_output() {
        for (script, limit, told) in [
            (
                "echo hunter2; echo hunter2 >&2; exit 3",
                LONG,
                "exit status: 3",
            ),
            (
                "echo hunter2; sleep 1000 & wait",
                Duration::from_millis(300),
                "was killed",
            ),
            ("true", LONG, "the secret is empty"),
            ("yes hunter2", LONG, "longer than 64 KiB"),
        ] {
            let cause = shell(script, limit).await.unwrap_err();
            let text = format!("{} {} {cause:?}", cause.in_full(), cause.brief());
            assert!(text.contains(told), "{script}: {text}");
            assert!(!text.contains("hunter2"), "{text}");
        }
        let missing = run(&["/nonexistent/program".to_owned()], LONG).await;
        assert!(missing.unwrap_err().in_full().contains("cannot be run"));
    }

    /// The end of a pipe that the grandchild holds shows that it is gone.
    #[tokio::test]
    async fn what_the_program_started_is_killed_with_it() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        rustix::fs::mknodat(
            rustix::fs::CWD,
            &pipe,
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::from_raw_mode(0o600),
            0,
        )
        .unwrap();
        let reader = pipe.clone();
        let reading = std::thread::spawn(move || std::fs::read(reader).unwrap());
        let script = format!("exec sleep 1000 > {} &\nexit 0", pipe.display());
        let _ = shell(&script, LONG).await;
        tokio::task::spawn_blocking(move || reading.join().unwrap())
            .await
            .unwrap();
    }
}
